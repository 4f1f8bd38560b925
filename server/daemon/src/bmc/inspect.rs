//! What `muster bmc inspect` prints: one machine, part by part.

use super::{number, text};
use crate::cli::Output;
use crate::table::{bytes, plain_text, print_told};
use anyhow::Result;
use muster_bmc::Hardware;
use muster_names::Power;

/// So many gaps are told one by one.
const GAPS_SHOWN: usize = 5;

pub fn tell(hardware: &Hardware, output: Output) -> Result<()> {
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
