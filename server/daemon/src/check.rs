//! `muster check`: the configuration and every data file, all mistakes at once; nothing is changed and nobody is asked.
//!
//! A mistake makes it fail. What only this machine lacks (an interface, a built image, a loader's package) is a note: the
//! same configuration may be checked where it is kept, and served elsewhere.

use crate::config::{Config, Mistakes};
use crate::table::count;
use crate::{data, here, https, program};
use anyhow::{Context as _, Result};
use muster_catalog::{Catalog, Slip};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// What was found.
#[derive(Default)]
struct Found {
    slips: Vec<Slip>,
    /// Mistakes outside of any text: a missing password file.
    wrong: Vec<String>,
    notes: Vec<String>,
    told: Vec<String>,
}

pub fn check(file: &Path, as_json: bool) -> Result<ExitCode> {
    let found = look(file)?;
    let right = found.slips.is_empty() && found.wrong.is_empty();
    if as_json {
        let answer = json!({ "config": file, "right": right, "slips": found.slips, "wrong": found.wrong,
            "notes": found.notes, "found": found.told });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        found.slips.iter().for_each(|slip| println!("{slip}"));
        found.wrong.iter().for_each(|line| println!("wrong: {line}"));
        found.notes.iter().for_each(|line| println!("note: {line}"));
        found.told.iter().for_each(|line| println!("{line}"));
        match found.slips.len() + found.wrong.len() {
            0 => println!("{} is right", file.display()),
            1 => println!("1 mistake"),
            mistakes => println!("{mistakes} mistakes"),
        }
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(file: &Path) -> Result<Found> {
    let mut found = Found::default();
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(error) => {
            let Mistakes(slips) = error.downcast::<Mistakes>()?;
            found.slips = slips;
            return Ok(found);
        }
    };
    match data::read(&config).context("the data files cannot be checked")? {
        Ok(catalog) => whole(&config, &catalog, &mut found),
        Err(slips) => found.slips = slips,
    }
    found.notes.extend(here::missing(&config).into_iter().map(|line| format!("on this machine {line}")));
    Ok(found)
}

fn whole(config: &Config, catalog: &Catalog, found: &mut Found) {
    let (built, told) = data::images(config, catalog);
    found.notes.extend(told);
    found.notes.extend(data::entries(config, catalog, &built).1);
    found.notes.extend(program::entry(config).err());
    found.wrong = data::passwords(config, catalog);
    found.wrong.extend(https::wrong(config));
    if config.networks.is_empty() {
        found.notes.push("no [[network]] is there: no machine can boot from this daemon".into());
    }
    let numbers = [
        (config.networks.len(), "network"),
        (catalog.models.len(), "model"),
        (catalog.bmcs.len(), "BMC profile"),
        (catalog.loaders.len(), "loader"),
        (catalog.clients.len(), "boot client"),
        (catalog.images.len(), "image"),
        (catalog.racks.len(), "rack"),
        (catalog.machines().count(), "machine"),
    ];
    let numbers: Vec<String> = numbers.iter().map(|(number, noun)| count(*number, noun)).collect();
    found.told.push(format!("{}; {} of the images built", numbers.join(", "), built.len()));
    let tally = catalog.tally();
    found.told.push(format!(
        "they rest on: {} captured, {} documented, {} declared by the site, {} synthetic (read-only)",
        tally.captured, tally.documented, tally.declared, tally.synthetic
    ));
}
