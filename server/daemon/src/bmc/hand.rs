//! `muster bmc locate`, `media` and `reset`: the light by which a machine is found, the discs that its BMC shows it, and the
//! restart of the BMC itself.

use super::{At, text};
use crate::cli::Output;
use crate::plan::go_on;
use crate::table::{self, plain_text};
use anyhow::Result;
use muster_bmc::{Bmcs, Identity, Medium};
use serde_json::json;

#[derive(clap::Args)]
pub struct Locate {
    #[command(flatten)]
    at: At,
    /// What the light shall be; `state` only asks
    #[arg(value_enum)]
    light: Light,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Light {
    On,
    Off,
    State,
}

#[derive(clap::Args)]
pub struct Restart {
    #[command(flatten)]
    at: At,
    /// Do it; without, it says what it would do and asks where there is a terminal
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct Media {
    #[command(flatten)]
    at: At,
    /// Show the machine this image as a disc: an address that the BMC reaches. What came from the same server before is ejected
    #[arg(long, value_name = "URL", conflicts_with = "eject")]
    insert: Option<String>,
    /// Eject whatever came from the same server as this image, and nothing else
    #[arg(long, value_name = "URL")]
    eject: Option<String>,
}

/// What was asked for, and then how all slots are.
pub async fn media(bmcs: &Bmcs, asked: &Media, output: Output) -> Result<()> {
    let target = asked.at.target()?;
    if let Some(image) = &asked.insert {
        let slot = bmcs.insert(&target, image).await?.slot;
        eprintln!("{}: {} shows {}", plain_text(&asked.at.url), plain_text(&slot), plain_text(image));
    }
    if let Some(image) = &asked.eject {
        let ejected = bmcs.eject(&target, image).await?;
        eprintln!("{}: {}", plain_text(&asked.at.url), if ejected { "ejected" } else { "there was nothing to eject" });
    }
    let slots = bmcs.media(&target).await?;
    match output {
        Output::Json => {
            let slot = |one: &Medium| json!({"slot": one.slot, "disc": one.disc, "image": one.image, "inserted": one.inserted});
            println!("{:#}", json!(slots.iter().map(slot).collect::<Vec<_>>()));
        }
        Output::Table => {
            table::print(&["slot", "takes", "inserted", "image"], &slots.iter().map(row).collect::<Vec<_>>())
        }
    }
    Ok(())
}

fn row(slot: &Medium) -> Vec<String> {
    let inserted = match slot.inserted {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let takes = if slot.disc { "discs" } else { "others" };
    vec![text(&Some(slot.slot.clone())), takes.into(), inserted.into(), text(&slot.image)]
}

pub async fn locate(bmcs: &Bmcs, asked: &Locate, output: Output) -> Result<()> {
    let target = asked.at.target()?;
    let light = match asked.light {
        Light::State => bmcs.locate(&target).await?,
        Light::On | Light::Off => {
            let on = asked.light == Light::On;
            bmcs.set_locate(&target, on).await?;
            Some(on)
        }
    };
    match output {
        Output::Json => println!("{:#}", json!({"bmc": asked.at.url, "locate": light})),
        Output::Table => println!("{}: the locate light is {}", plain_text(&asked.at.url), word(light)),
    }
    Ok(())
}

fn word(light: Option<bool>) -> &'static str {
    match light {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown: there is none, or the BMC does not tell",
    }
}

pub async fn restart(bmcs: &Bmcs, asked: &Restart, output: Output) -> Result<()> {
    let target = asked.at.target()?;
    let identity = bmcs.identify(&target).await?;
    eprintln!("restarts the BMC {} of {}", plain_text(&asked.at.url), whose(&identity));
    eprintln!("its machine runs on; the BMC is away for some minutes, and every session and console at it ends");
    go_on(asked.yes)?;
    bmcs.reset_bmc(&target).await?;
    match output {
        Output::Json => println!("{:#}", json!({"bmc": asked.at.url, "restarts": true})),
        Output::Table => println!("{}: the BMC restarts", plain_text(&asked.at.url)),
    }
    Ok(())
}

/// `ACME R-2, serial SN-1, firmware 4.2`
fn whose(identity: &Identity) -> String {
    let of = |name: &str, told: &Option<String>| format!(", {name} {}", text(told));
    let said = format!(
        "{} {}{}{}",
        text(&identity.manufacturer),
        text(&identity.model),
        of("serial", &identity.serial),
        of("firmware", &identity.firmware)
    );
    // On it a person decides: no line of a BMC's own may stand below.
    said.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_bmc_it_is_stands_on_one_line() {
        let identity =
            Identity { model: Some("R-2\n\u{1b}[2J".into()), serial: Some("SN-1".into()), ..Identity::default() };
        let said = whose(&identity);
        assert!(said.starts_with("- R-2") && said.contains("serial SN-1, firmware -"), "{said}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
}
