//! What the agent does as the first and only process of the boot image: mounts, modules, links, an address, the clock.
//!
//! It never exits. What cannot go on is told on the console, and a minute later the machine resets: the server then
//! decides afresh where it boots.

pub mod dhcp;
pub mod interface;
pub mod modules;

use crate::error::chain;
use crate::inventory::{Roots, names, number, word};
use crate::{Error, Result, syslog};
use dhcp::{Client, Lease};
use modules::Loader;
use muster_names::Mac;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the boot port may take to show up, and then to get an address.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells a person at the console how far the boot is, in seconds since the kernel's start.
pub fn stage(name: &str) {
    crate::say!("STAGE {name} {:.2}", uptime().as_secs_f64());
}

pub fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Runs `work` for ever; on its end, or on a panic, says why, waits a minute and resets the machine.
pub fn run(work: impl FnOnce() -> Result<()>) -> ! {
    std::panic::set_hook(Box::new(|info| {
        crate::say!("muster-agent broke: {info}");
        syslog::tell_failure(&format!("muster-agent broke: {info}"));
        last_resort();
    }));
    let end = prepare().and_then(|()| work());
    match end {
        Ok(()) => crate::say!("muster-agent has nothing more to do"),
        Err(error) => {
            crate::say!("muster-agent cannot go on: {}", chain(&error));
            syslog::tell_error("muster-agent cannot go on", &error);
        }
    }
    last_resort()
}

fn last_resort() -> ! {
    crate::say!("this machine resets in 60 seconds");
    std::thread::sleep(Duration::from_secs(60));
    loop {
        reset(RebootMode::RB_AUTOBOOT);
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// Flushes and resets or powers off, without asking anybody.
pub fn reset(how: RebootMode) {
    // SAFETY: sync() takes and returns nothing.
    unsafe { libc::sync() };
    let Err(error) = reboot(how);
    crate::say!("the kernel refuses to reset: {error}");
}

fn prepare() -> Result<()> {
    mounts()?;
    console();
    // Children are the kernel's own helpers; nobody waits for them.
    // SAFETY: SIG_IGN is a valid disposition for SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    stage("init");
    let roots = Roots::real();
    // The kernel asks this very program for modules: see `main`.
    let _ = fs::write("/proc/sys/kernel/modprobe", "/init\n");
    let mut loader = Loader::new(&roots);
    for module in ["af_packet", "efivarfs", "ipmi_si", "ipmi_devintf"] {
        loader.load(module);
    }
    loader.coldplug(&roots);
    let _ = mount_one("efivarfs", "/sys/firmware/efi/efivars", "efivarfs");
    stage("modules");
    let port = boot_port(&roots, &mut loader)?;
    std::thread::spawn(move || late_devices(loader));
    stage("link");
    let lease = address(&port)?;
    crate::say!("{} has {} from {}", port.name, lease.address, lease.server);
    stage("network");
    let kernel = uptime().as_secs_f64();
    syslog::tell(syslog::NOTICE, &format!("the boot image has its network, {kernel:.1} s after its kernel began"));
    Ok(())
}

fn mounts() -> Result<()> {
    for (kind, place) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]
    {
        mount_one(kind, place, kind)?;
    }
    Ok(())
}

fn mount_one(source: &str, place: &str, kind: &str) -> Result<()> {
    let failed = |source| Error::Mount { path: place.into(), source };
    if !Path::new(place).exists() {
        fs::create_dir_all(place).map_err(failed)?;
    }
    match mount(Some(source), place, Some(kind), MsFlags::MS_NOSUID, None::<&str>) {
        Ok(()) | Err(nix::errno::Errno::EBUSY) => Ok(()),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// An initramfs without `/dev/console` starts its init without open files.
fn console() {
    let Ok(path) = std::ffi::CString::new("/dev/console") else { return };
    // SAFETY: a valid C string; dup2 and close on numbers that are descriptors or not, without memory.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        if fd >= 0 {
            for target in 0..3 {
                libc::dup2(fd, target);
            }
            if fd > 2 {
                libc::close(fd);
            }
        }
    }
}

/// Controllers that take their time (SAS, USB) show their devices later.
fn late_devices(mut loader: Loader) {
    let roots = Roots::real();
    for wait in [1, 1, 2, 4, 8, 16, 30] {
        std::thread::sleep(Duration::from_secs(wait));
        loader.coldplug(&roots);
        raise_all(&roots);
    }
}

/// The port the machine booted from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    mac: Mac,
}

/// `BOOTIF=01-52-54-00-aa-bb-cc` on the kernel's command line (PROTOCOLS B6.8).
pub fn boot_mac(cmdline: &str) -> Option<Mac> {
    let value = cmdline.split_whitespace().find_map(|word| word.strip_prefix("BOOTIF="))?;
    let pairs: Vec<&str> = value.split(['-', ':']).collect();
    match pairs.as_slice() {
        ["01", mac @ ..] if mac.len() == 6 => mac.join(":").parse().ok(),
        mac if mac.len() == 6 => mac.join(":").parse().ok(),
        _ => None,
    }
}

fn ports(roots: &Roots) -> Vec<Port> {
    let folder = roots.path("sys/class/net");
    let port = |name: String| {
        let device = folder.join(&name);
        (device.join("device").exists() && number(&device.join("type")) == Some(1)).then_some(())?;
        Some(Port { mac: word(&device.join("address"))?.parse().ok()?, name })
    };
    names(&folder).into_iter().filter_map(port).collect()
}

fn raise_all(roots: &Roots) {
    for port in ports(roots) {
        if let Err(error) = interface::up(&port.name) {
            crate::say!("{}", chain(&error));
        }
    }
}

fn has_carrier(roots: &Roots, port: &Port) -> bool {
    number(&roots.path("sys/class/net").join(&port.name).join("carrier")) == Some(1)
}

/// Waits for the port that `BOOTIF` names, or for any port with a link where it names none.
fn boot_port(roots: &Roots, loader: &mut Loader) -> Result<Port> {
    let wanted = boot_mac(&fs::read_to_string(roots.path("proc/cmdline")).unwrap_or_default());
    let until = Instant::now() + PATIENCE;
    let _ = interface::up("lo");
    while Instant::now() < until {
        raise_all(roots);
        let found = ports(roots);
        let fitting = found.iter().filter(|port| wanted.is_none_or(|mac| mac == port.mac));
        if let Some(port) = fitting.clone().find(|port| has_carrier(roots, port)) {
            return Ok(port.clone());
        }
        std::thread::sleep(Duration::from_millis(if found.is_empty() { 300 } else { 50 }));
        if found.is_empty() {
            loader.coldplug(roots);
        }
    }
    let found: Vec<String> = ports(roots).into_iter().map(|port| format!("{} {}", port.name, port.mac)).collect();
    let wanted = wanted.map_or("any".to_owned(), |mac| mac.to_string());
    Err(Error::Dhcp { reason: format!("no link on the boot port {wanted}; ports here: {}", found.join(", ")) })
}

/// Gets an address and keeps it for as long as the agent runs.
fn address(port: &Port) -> Result<Lease> {
    let client = Client::open(&port.name, port.mac)?;
    let lease = client.lease(PATIENCE)?;
    apply(port, &lease)?;
    let port = port.clone();
    let keep = move || keep(&client, &port, lease);
    std::thread::Builder::new().name("dhcp".into()).spawn(keep).map_err(|source| Error::Thread { source })?;
    Ok(lease)
}

fn apply(port: &Port, lease: &Lease) -> Result<()> {
    interface::set_address(&port.name, lease.address, lease.mask)?;
    match lease.gateway {
        Some(gateway) => interface::set_gateway(&port.name, gateway),
        None => Ok(()),
    }
}

fn keep(client: &Client, port: &Port, mut lease: Lease) {
    loop {
        std::thread::sleep(Duration::from_secs(u64::from(lease.seconds.max(20)) / 2));
        let renewed = client.renew(&lease).map_or_else(|| client.lease(PATIENCE), Ok);
        match renewed {
            Ok(next) => {
                if let Err(error) = apply(port, &next) {
                    crate::say!("{}", chain(&error));
                }
                lease = next;
            }
            // The address stays in use: nothing else speaks on this machine, and a server that forgot it will answer.
            Err(error) => crate::say!("{}", chain(&error)),
        }
    }
}

/// A clock that stands before the configuration was made is wrong, and TLS would refuse every certificate.
pub fn mend_clock(config: &Path) {
    let Ok(made) = fs::metadata(config).and_then(|meta| meta.modified()) else { return };
    if made <= std::time::SystemTime::now() {
        return;
    }
    let Ok(since) = made.duration_since(std::time::UNIX_EPOCH) else { return };
    let Ok(seconds) = since.as_secs().try_into() else { return };
    let time = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    // SAFETY: one timeval that outlives the call; no time zone.
    if unsafe { libc::settimeofday(&raw const time, std::ptr::null()) } == 0 {
        crate::say!("the clock was behind the configuration and was set to its time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b6_8_the_boot_port_is_named_on_the_command_line() {
        let mac = Some(Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]));
        assert_eq!(boot_mac("console=ttyS0 BOOTIF=01-52-54-00-aa-bb-cc quiet\n"), mac);
        assert_eq!(boot_mac("BOOTIF=52:54:00:AA:BB:CC"), mac);
        assert_eq!(boot_mac("BOOTIF=20-52-54-00-aa-bb-cc"), None, "20 is not Ethernet");
        assert_eq!(boot_mac("quiet"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = boot_mac(&format!("BOOTIF={text}"));
        }
    }
}
