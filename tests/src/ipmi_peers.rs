//! Programs that speak IPMI and know nothing of us: `ipmitool` as a judge, OpenIPMI's `ipmi_sim` as another BMC.

// Test code in a library's clothes: it may fall over.
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A missing peer is no reason to pass.
pub fn needs(tool: &str, package: &str) {
    let found = Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found, "{tool} is not there; it comes with Debian's package {package}");
}

/// What `ipmitool` prints of a BMC on this port of the loopback, errors included.
pub async fn ipmitool(suite: &'static str, port: u16, words: &'static str) -> String {
    tokio::task::spawn_blocking(move || {
        let out = Command::new("ipmitool")
            .args(["-I", "lanplus", "-C", suite, "-H", "127.0.0.1", "-p", &port.to_string()])
            .args(["-U", "admin", "-P", "secret", "-N", "2", "-R", "2"])
            .args(words.split(' '))
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    })
    .await
    .unwrap()
}

/// OpenIPMI's simulator with a chassis made of files.
pub struct OpenIpmi {
    process: Child,
    pub port: u16,
    _folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for OpenIpmi {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const CHASSIS: &str = r#"#!/bin/sh
# get ITEM... | set ITEM VALUE...: a chassis whose state is one file an item.
cd "$(dirname "$0")"
verb=$1; shift
if [ "$verb" = get ]; then
  for item in "$@"; do echo "$item:$(cat "$item" 2>/dev/null || echo 0)"; done
else
  while [ $# -ge 2 ]; do echo "$2" >"$1"; shift 2; done
fi
"#;

fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl OpenIpmi {
    /// With more lines for its emulator's file. It takes a moment until it answers.
    pub fn start(emulation: &str) -> Self {
        Self::start_with(emulation, "")
    }

    /// And with more lines for the file of its channels: a serial console.
    pub fn start_with(emulation: &str, channels: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let (port, serial) = (free_port(), free_port());
        let folder = std::env::temp_dir().join(format!("muster-openipmi-{}-{port}", std::process::id()));
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::create_dir_all(folder.join("state")).unwrap();
        std::fs::write(path("chassis.sh"), CHASSIS).unwrap();
        std::fs::set_permissions(Path::new(&path("chassis.sh")), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(path("boot"), "none\n").unwrap();
        let lan = format!(
            "name \"test\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
             allowed_auths_callback none md2 md5 straight\n    allowed_auths_user none md2 md5 straight\n    \
             allowed_auths_operator none md2 md5 straight\n    allowed_auths_admin none md2 md5 straight\n    \
             guid a123456789abcdefa123456789000001\n  endlan\n  chassis_control \"{}\"\n  serial 15 127.0.0.1 {serial} codec VM\n  \
             user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n{channels}",
            path("chassis.sh")
        );
        std::fs::write(path("lan.conf"), lan).unwrap();
        let emulation = format!(
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\n{emulation}mc_enable 0x20\n"
        );
        std::fs::write(path("bmc.emu"), emulation).unwrap();
        let process = Command::new("ipmi_sim")
            .args(["-n", "-c", &path("lan.conf"), "-f", &path("bmc.emu"), "-s", &path("state")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port, _folder: Folder(folder) }
    }
}
