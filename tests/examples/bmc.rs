//! `bmc URL VERB`: one act of the engine on one BMC, for a scenario that has no daemon do it.
//!
//!     bmc URL power on|off|cycle|reset
//!     bmc URL boot pxe|disk|none once|lasting
//!     bmc URL boot
//!
//! URL is `ipmi://HOST` or `http://HOST:PORT`. BMC_USER, BMC_PASSWORD and BMC_PROFILE (a file of firmware-profiles/bmcs) come
//! from the environment. Prints a line of JSON; exits 1 with the reason where the BMC does not do it.

#![allow(clippy::print_stdout, reason = "a program for scenarios")]

use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, BootDevice, BootOrder, PowerAction, Protocol, Secret, Settings, Target, Trust};
use muster_names::FirmwareMode;
use serde_json::json;

const USAGE: &str = "usage: bmc URL power on|off|cycle|reset | boot [pxe|disk|none once|lasting]";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [url, act @ ..] = words.as_slice() else { bail!("{USAGE}") };
    let target = target(url)?;
    let bmcs = Bmcs::new(Settings::default());
    let told = match act {
        ["power", word] => bmcs.set_power(&target, action(word)?).await.map(|set| json!({"power": format!("{set:?}")})),
        ["boot"] => bmcs.get_boot(&target).await.map(|set| json!({"boot": set.said})),
        ["boot", device, lasts] => {
            let order = BootOrder { device: self::device(device)?, mode: FirmwareMode::Uefi, once: *lasts == "once" };
            bmcs.set_boot(&target, order).await.map(|set| json!({"boot": set.said}))
        }
        _ => bail!("{USAGE}"),
    };
    bmcs.close_all().await;
    println!("{}", told?);
    Ok(())
}

fn target(url: &str) -> Result<Target> {
    let word = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (protocol, address) = match url.strip_prefix("ipmi://") {
        Some(host) => (Protocol::Ipmi, host),
        None => (Protocol::Redfish, url),
    };
    let mut target = Target::new(protocol, address, word("BMC_USER")?, Secret::new(word("BMC_PASSWORD")?));
    target.trust = Trust::Plain;
    if let Ok(profile) = word("BMC_PROFILE") {
        let texts = muster_tests::data_files::data_files();
        let texts: Vec<_> = texts.into_iter().filter(|(name, _)| name.contains("bmcs/")).collect();
        let catalog = muster_catalog::read(&texts).map_err(|slips| anyhow::anyhow!("{slips:?}"))?;
        let profile = catalog.bmcs.iter().find(|one| one.id == profile).context("there is no such profile")?;
        target.quirks = profile.quirks_in_force();
    }
    Ok(target)
}

fn action(word: &str) -> Result<PowerAction> {
    Ok(match word {
        "on" => PowerAction::On,
        "off" => PowerAction::Off,
        "cycle" => PowerAction::Cycle,
        "reset" => PowerAction::Reset,
        _ => bail!("{USAGE}"),
    })
}

fn device(word: &str) -> Result<BootDevice> {
    Ok(match word {
        "pxe" => BootDevice::Pxe,
        "disk" => BootDevice::Disk,
        "none" => BootDevice::None,
        _ => bail!("{USAGE}"),
    })
}
