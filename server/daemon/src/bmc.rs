//! `muster bmc`: what a BMC tells, asked from here and without a daemon, its machine's console, locate light and discs, and its
//! own restart; no setting is ever changed that way. And, by way of the daemon, which BMCs there are and which of them are ours.

mod console;
mod hand;
mod inspect;
mod log;
mod power;
mod sensors;
pub mod site;

use crate::cli::Output;
use crate::data;
use crate::table::plain_text;
use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, Kind, Pin, Protocol, Quirk, Secret, Settings, Target, Trust};
use muster_catalog::Catalog;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The profiles as this tree had them when it was built.
pub const PROFILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/bmc_profiles.rs"));

#[derive(clap::Subcommand)]
pub enum BmcCommand {
    #[command(flatten)]
    Here(HereCommand),
    #[command(flatten)]
    Site(site::SiteCommand),
}

/// What is asked from here.
#[derive(clap::Subcommand)]
pub enum HereCommand {
    /// Read a machine whole through its BMC: identity, power, every part with its place and serial number
    ///
    /// It needs no daemon and changes nothing. What the BMC does not tell is null; what could not be read is named under
    /// `gaps` and on standard error.
    ///
    /// Exit codes: 0 read; 1 refused, the message says why; 3 no answer, the same again may work later.
    Inspect(Inspect),
    /// Say of many BMCs whether their machines are on
    ///
    /// It needs no daemon and changes nothing. All are asked at once, as many as this host and the network bear; a dead one
    /// does not hold up the others. Power that could not be read is unknown, with the reason beside it.
    ///
    /// Exit codes: 0 every one answered; 1 some refused; 3 some gave no answer, the same again may work later.
    Power(power::ReadPower),
    /// Read every sensor of a machine through its BMC: value, thresholds, state and health
    ///
    /// It needs no daemon and changes nothing. A sensor without a reading has no value and unknown health.
    ///
    /// Exit codes: 0 read, whatever the health; 1 refused, the message says why; 3 no answer, the same again may work later.
    Sensors(At),
    /// Read the event logs that a BMC keeps, the newest entry last
    ///
    /// It needs no daemon, changes nothing and clears nothing. Times are in UTC by the BMC's clock; how far that is off is
    /// said. What could not be read is named under `gap` and on standard error.
    ///
    /// Exit codes: 0 read; 1 refused, the message says why; 3 no answer, the same again may work later.
    Log(ReadLog),
    /// Be at a machine's serial console; ~. at the beginning of a line leaves, ~? helps
    ///
    /// It needs no daemon, changes no setting and records nothing; `muster console` does. A console that another session
    /// has is left to it without --take-over.
    ///
    /// Exit codes: 0 left; 1 refused or ended by the BMC, the message says why; 3 no answer or in other hands, the same
    /// again may work later.
    Console(console::OpenConsole),
    /// Switch the light by which a machine is found in its rack, or say how it is
    ///
    /// It needs no daemon and is not recorded by one. What was switched is read back.
    ///
    /// Exit codes: 0 done; 1 refused, the message says why; 3 no answer, the same again may work later.
    Locate(hand::Locate),
    /// Say what a BMC shows its machine as discs, insert an image or eject one
    ///
    /// It needs no daemon and is not recorded by one. What was changed is read back. Another server's image is never ejected.
    ///
    /// Exit codes: 0 done; 1 refused, the message says why; 3 no answer, the same again may work later.
    Media(hand::Media),
    /// Restart a BMC itself; its machine runs on
    ///
    /// It needs no daemon and is not recorded by one. It is sent once. Whatever has a session or a console at the BMC loses it.
    ///
    /// Exit codes: 0 it restarts; 1 refused, the message says why; 3 no answer: look before it is sent again.
    Reset(hand::Restart),
}

/// A BMC and how to get in.
#[derive(clap::Args)]
pub struct At {
    /// `redfish://HOST` or `https://HOST`, `http://HOST` without encryption, `ipmi://HOST`; each with `:PORT` if need be
    pub url: String,
    /// The user to log in as
    #[arg(long)]
    pub user: String,
    /// A file with the password on its first line; - reads it from standard input
    #[arg(long)]
    pub password_file: PathBuf,
    /// Serial number or UUID of the system meant, where the BMC serves several
    #[arg(long)]
    pub system: Option<String>,
    /// SHA-256 of the BMC's public key, as an earlier look printed it; with another key no credential is sent
    #[arg(long, value_name = "SHA256")]
    pub pin: Option<String>,
    /// The BMC's kind, by the name of one of the profiles built in: its workarounds are used
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
}

#[derive(clap::Args)]
pub struct Inspect {
    #[command(flatten)]
    at: At,
    /// BMC profiles to use instead of those built in: a folder with firmware-profiles/bmcs below it
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct ReadLog {
    #[command(flatten)]
    at: At,
    /// Only what follows this entry: its id in the log of the hardware, which is the first; LOG=ID means another log. It may
    /// be given once for each log, and a log without it is not shown then
    #[arg(long, value_name = "ID")]
    since: Vec<String>,
}

pub fn run(command: HereCommand, output: Output, runtime: &tokio::runtime::Runtime) -> Result<ExitCode> {
    runtime.block_on(async {
        let bmcs = Bmcs::new(Settings::default());
        let done = |()| ExitCode::SUCCESS;
        let read = match &command {
            HereCommand::Inspect(asked) => look(&bmcs, asked, output).await.map(done),
            HereCommand::Power(asked) => power::look(&bmcs, asked, output).await,
            HereCommand::Sensors(at) => sensors::look(&bmcs, &at.target()?, output).await.map(done),
            HereCommand::Log(asked) => log::look(&bmcs, &asked.at.target()?, &asked.since, output).await.map(done),
            HereCommand::Console(asked) => console::show(&bmcs, asked).await.map(done),
            HereCommand::Locate(asked) => hand::locate(&bmcs, asked, output).await.map(done),
            HereCommand::Media(asked) => hand::media(&bmcs, asked, output).await.map(done),
            HereCommand::Reset(asked) => hand::restart(&bmcs, asked, output).await.map(done),
        };
        bmcs.close_all().await;
        ended(read)
    })
}

/// The exit code of a look: what did not answer may be asked again later.
pub fn ended(looked: Result<ExitCode>) -> Result<ExitCode> {
    match looked {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast_ref::<muster_bmc::Error>().map(muster_bmc::Error::kind) {
            Some(Kind::Later | Kind::Unreachable) => {
                eprintln!("muster: {}", plain_text(&format!("{error:#}")));
                Ok(ExitCode::from(crate::AWAY))
            }
            Some(_) => bail!("{}", plain_text(&format!("{error:#}"))),
            None => Err(error),
        },
    }
}

/// How many resources were read, for somebody who waits at a terminal.
pub fn progress() -> impl Fn(usize) + Send + Sync {
    let shown = std::io::stderr().is_terminal();
    move |reads: usize| {
        if shown {
            eprint!("\r{reads} resources read ");
        }
    }
}

/// Takes that line away.
pub fn progressed() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

async fn look(bmcs: &Bmcs, asked: &Inspect, output: Output) -> Result<()> {
    let catalog = profiles(asked.files.as_deref())?;
    let target = asked.at.target()?;
    let found = bmcs.inspect(&target, &catalog, &progress()).await;
    progressed();
    inspect::tell(&found?, output)
}

impl At {
    pub fn target(&self) -> Result<Target> {
        let mut target = target(&self.url, &self.user, password(&self.password_file)?)?;
        target.system = self.system.clone();
        target.quirks = quirks(self.profile.as_deref())?;
        if let Some(pin) = &self.pin {
            let pin = Pin::read(pin).context("--pin is no SHA-256: 64 hexadecimal digits are expected")?;
            if target.trust == Trust::Plain || target.protocol == Protocol::Ipmi {
                bail!("--pin holds for https:// alone");
            }
            target.trust = Trust::Pinned(pin);
        }
        Ok(target)
    }
}

fn profiles(files: Option<&Path>) -> Result<Catalog> {
    let texts = match files {
        Some(files) => data::bmc_profiles(files)?,
        None => PROFILES.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect(),
    };
    muster_catalog::read(&texts).map_err(|slips| crate::config::Mistakes(slips).into())
}

/// What a kind of BMC has to be asked in another way, by the name of its profile. A BMC tells its kind only after a login, and
/// how to log in is what some of it is about; so it is said, not guessed.
fn quirks(profile: Option<&str>) -> Result<Vec<Quirk>> {
    let Some(name) = profile else { return Ok(Vec::new()) };
    let catalog = profiles(None)?;
    match catalog.bmc_profile(name) {
        Some(profile) => Ok(profile.quirks_in_force()),
        None => {
            let known: Vec<&str> = catalog.bmcs.iter().map(|profile| profile.id.as_str()).collect();
            bail!("no profile of a BMC is called {name:?}; there are: {}", known.join(", "))
        }
    }
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

/// What was told, for a terminal; `-` for nothing.
fn text(told: &Option<String>) -> String {
    told.as_deref().map_or("-".into(), plain_text)
}

fn number(told: Option<impl ToString>) -> String {
    told.map_or("-".into(), |number| number.to_string())
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
    fn a_profile_that_is_named_brings_its_workarounds_and_an_unknown_one_the_names_there_are() {
        assert!(quirks(Some("openipmi-sim")).unwrap().contains(&Quirk::SuiteThreeOnly));
        assert_eq!(quirks(None).unwrap(), []);
        let said = quirks(Some("openipmi")).unwrap_err().to_string();
        assert!(said.contains("\"openipmi\"") && said.contains("openipmi-sim"), "{said}");
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
