//! `muster bmc`: what a BMC tells, asked from here and without a daemon. Nothing is ever changed.

use crate::cli::Output;
use crate::data;
use crate::table::{bytes, plain_text, print_told};
use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, Hardware, Kind, Pin, Protocol, Secret, Settings, Target, Trust};
use muster_catalog::Catalog;
use muster_names::Power;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The profiles as this tree had them when it was built.
const PROFILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/bmc_profiles.rs"));

/// So many gaps are told one by one.
const GAPS_SHOWN: usize = 5;

#[derive(clap::Subcommand)]
pub enum BmcCommand {
    /// Read a machine whole through its BMC: identity, power, every part with its place and serial number
    ///
    /// It needs no daemon and changes nothing. What the BMC does not tell is null; what could not be read is named under
    /// `gaps` and on standard error.
    ///
    /// Exit codes: 0 read; 1 refused, the message says why; 3 no answer, the same again may work later.
    Inspect(Inspect),
}

#[derive(clap::Args)]
pub struct Inspect {
    /// `redfish://HOST` or `https://HOST`, `http://HOST` without encryption, `ipmi://HOST`; each with `:PORT` if need be
    url: String,
    /// The user to log in as
    #[arg(long)]
    user: String,
    /// A file with the password on its first line; - reads it from standard input
    #[arg(long)]
    password_file: PathBuf,
    /// Serial number or UUID of the system meant, where the BMC serves several
    #[arg(long)]
    system: Option<String>,
    /// SHA-256 of the BMC's public key, as an earlier look printed it; with another key no credential is sent
    #[arg(long, value_name = "SHA256")]
    pin: Option<String>,
    /// BMC profiles to use instead of those built in: a folder with firmware-profiles/bmcs below it
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
}

pub fn run(command: BmcCommand, output: Output, runtime: &tokio::runtime::Runtime) -> Result<ExitCode> {
    match command {
        BmcCommand::Inspect(asked) => runtime.block_on(inspect(&asked, output)),
    }
}

async fn inspect(asked: &Inspect, output: Output) -> Result<ExitCode> {
    let catalog = profiles(asked.files.as_deref())?;
    let mut target = target(&asked.url, &asked.user, password(&asked.password_file)?)?;
    target.system = asked.system.clone();
    if let Some(pin) = &asked.pin {
        let pin = Pin::read(pin).context("--pin is no SHA-256: 64 hexadecimal digits are expected")?;
        if target.trust == Trust::Plain || target.protocol == Protocol::Ipmi {
            bail!("--pin holds for https:// alone");
        }
        target.trust = Trust::Pinned(pin);
    }
    let bmcs = Bmcs::new(Settings::default());
    let shown = std::io::stderr().is_terminal();
    let progress = move |reads: usize| {
        if shown {
            eprint!("\r{reads} resources read ");
        }
    };
    let found = bmcs.inspect(&target, &catalog, &progress).await;
    bmcs.close_all().await;
    if shown {
        eprint!("\r\x1b[K");
    }
    match found {
        Ok(hardware) => {
            tell(&hardware, output)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if matches!(error.kind(), Kind::Later | Kind::Unreachable) => {
            eprintln!("muster: {:#}", anyhow::Error::from(error));
            Ok(ExitCode::from(crate::AWAY))
        }
        Err(error) => Err(error.into()),
    }
}

fn profiles(files: Option<&Path>) -> Result<Catalog> {
    let texts = match files {
        Some(files) => data::bmc_profiles(files)?,
        None => PROFILES.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect(),
    };
    muster_catalog::read(&texts).map_err(|slips| crate::config::Mistakes(slips).into())
}

/// The first line of a file: editors end it with a line break that is no part of the password.
fn password(file: &Path) -> Result<Secret> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("the password does not read from standard input")?;
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("the password file {} does not read", file.display()))?;
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => bail!("the password file {} is empty; the password stands on its first line", file.display()),
    }
}

fn target(url: &str, user: &str, password: Secret) -> Result<Target> {
    let expected = "expected redfish://HOST, https://HOST, http://HOST or ipmi://HOST, each with :PORT if need be";
    let (scheme, rest) = url.split_once("://").with_context(|| format!("{url:?} names no protocol; {expected}"))?;
    if rest.contains('@') {
        bail!("{url:?} carries a user; credentials go into --user and --password-file");
    }
    let host = rest.trim_end_matches('/').trim_end_matches("/redfish/v1").trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '?', '#']) {
        bail!("{url:?} is more than a host and a port; {expected}");
    }
    let (protocol, address, trust) = match scheme {
        "redfish" | "https" => (Protocol::Redfish, format!("https://{host}"), Trust::FirstUse),
        "http" => (Protocol::Redfish, format!("http://{host}"), Trust::Plain),
        "ipmi" => (Protocol::Ipmi, host.to_string(), Trust::FirstUse),
        _ => bail!("{scheme:?} is no protocol of a BMC; {expected}"),
    };
    let mut target = Target::new(protocol, address, user, password);
    target.trust = trust;
    Ok(target)
}

fn tell(hardware: &Hardware, output: Output) -> Result<()> {
    let systems = &hardware.systems;
    if systems.len() > 1 {
        let named: Vec<&str> = systems.iter().filter_map(|one| one.serial.as_deref().or(one.uuid.as_deref())).collect();
        let mine = hardware.serial.as_deref().or(hardware.uuid.as_deref()).unwrap_or("the first");
        eprintln!(
            "muster: the BMC serves {} systems ({}); this is {mine}, --system takes another",
            systems.len(),
            plain_text(&named.join(", "))
        );
    }
    for gap in hardware.gaps.iter().take(GAPS_SHOWN) {
        eprintln!("muster: not read: {}: {}", plain_text(&gap.at), plain_text(&gap.reason));
    }
    if let Some(more) = hardware.gaps.len().checked_sub(GAPS_SHOWN).filter(|more| *more > 0) {
        eprintln!("muster: {more} more were not read; --output json lists them under `gaps`");
    }
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(hardware)?),
        Output::Table => show(hardware),
    }
    Ok(())
}

fn text(told: &Option<String>) -> String {
    told.as_deref().map_or("-".into(), plain_text)
}

fn number(told: Option<impl ToString>) -> String {
    told.map_or("-".into(), |number| number.to_string())
}

fn show(hardware: &Hardware) {
    let power = match hardware.power {
        Some(Power::On) => "on",
        Some(Power::Off) => "off",
        Some(Power::Unknown) => "unknown",
        None => "-",
    };
    let bmc = &hardware.bmc;
    let rows = [
        ("manufacturer", text(&hardware.manufacturer)),
        ("model", text(&hardware.model)),
        ("serial", text(&hardware.serial)),
        ("SKU", text(&hardware.sku)),
        ("UUID", text(&hardware.uuid)),
        ("power", power.into()),
        ("BMC", format!("{} {}", text(&bmc.model), text(&bmc.firmware))),
        ("BMC profile", text(&bmc.profile)),
        ("BMC MAC", number(bmc.mac)),
        ("BMC key", text(&bmc.tls_pin)),
    ];
    rows.iter().filter(|(_, told)| told != "-").for_each(|(name, told)| println!("{name:<14}{told}"));
    section("processors", &["slot", "kind", "model", "cores", "serial", "health"], &hardware.processors, |one| {
        vec![
            text(&one.slot),
            text(&one.kind),
            text(&one.model),
            number(one.cores),
            text(&one.serial),
            text(&one.health),
        ]
    });
    section("memory", &["slot", "MiB", "part number", "serial", "health"], &hardware.memory, |one| {
        vec![text(&one.slot), number(one.size_mib), text(&one.part_number), text(&one.serial), text(&one.health)]
    });
    section("drives", &["bay", "size", "model", "serial", "firmware", "health"], &hardware.drives, |one| {
        let size = one.size_bytes.map_or("-".into(), bytes);
        vec![text(&one.bay), size, text(&one.model), text(&one.serial), text(&one.firmware), text(&one.health)]
    });
    section("NICs", &["MAC", "port", "slot", "model", "Mbit/s", "serial"], &hardware.nics, |one| {
        vec![
            number(one.mac),
            text(&one.port),
            text(&one.slot),
            text(&one.model),
            number(one.speed_mbps),
            text(&one.serial),
        ]
    });
    section("power supplies", &["slot", "W", "model", "serial", "health"], &hardware.power_supplies, |one| {
        vec![text(&one.slot), number(one.watts), text(&one.model), text(&one.serial), text(&one.health)]
    });
    section("fans", &["slot", "rpm", "%", "health"], &hardware.fans, |one| {
        vec![text(&one.slot), number(one.rpm), number(one.percent), text(&one.health)]
    });
    section("firmware", &["component", "version", "state"], &hardware.firmware, |one| {
        vec![text(&one.component), text(&one.version), text(&one.state)]
    });
}

fn section<T>(title: &str, head: &[&str], all: &[T], row: impl Fn(&T) -> Vec<String>) {
    println!("\n{title}: {}", all.len());
    if !all.is_empty() {
        print_told(head, &all.iter().map(row).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_its_protocol_and_carries_no_credential() {
        let read = |url: &str| target(url, "u", Secret::new("p"));
        for (url, protocol, address, trust) in [
            ("redfish://10.0.0.1", Protocol::Redfish, "https://10.0.0.1", Trust::FirstUse),
            ("https://bmc:8443/", Protocol::Redfish, "https://bmc:8443", Trust::FirstUse),
            ("http://127.0.0.1:8000/redfish/v1/", Protocol::Redfish, "http://127.0.0.1:8000", Trust::Plain),
            ("ipmi://10.0.0.1:6230", Protocol::Ipmi, "10.0.0.1:6230", Trust::FirstUse),
        ] {
            let target = read(url).unwrap();
            assert_eq!((target.protocol, target.address.as_str(), target.trust), (protocol, address, trust), "{url}");
        }
        for bad in ["10.0.0.1", "ftp://x", "https://", "https://root:calvin@x", "https://x/y"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_profiles_built_in_read() {
        let catalog = profiles(None).unwrap();
        assert!(!catalog.bmcs.is_empty());
    }

    #[test]
    fn a_password_is_the_first_line_without_its_break() {
        let file = std::env::temp_dir().join(format!("muster-password-{}", std::process::id()));
        std::fs::write(&file, "s3cret\r\nrest\n").unwrap();
        assert_eq!(password(&file).unwrap().reveal(), "s3cret");
        std::fs::write(&file, "\n").unwrap();
        assert!(password(&file).is_err());
        std::fs::remove_file(&file).unwrap();
    }
}
