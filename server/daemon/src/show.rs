//! Views for people: a machine on one page, and the site at a glance. A program takes `--output json` instead.

use crate::ask::{raw, since};
use crate::cli::Output;
use crate::client::Api;
use crate::table::{bytes, cell, clock, count, items, place, span, text};
use anyhow::Result;
use muster_names::Way;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The rail that holds its act back goes before what its state waits for.
pub fn waits(line: &Value) -> String {
    match cell(line, "rail").as_str() {
        "-" => cell(line, "waits-for"),
        rail => rail.to_string(),
    }
}

/// `10.0.0.5, its own password for 3 d`
fn bmc(found: &Value) -> String {
    let address = cell(found, "bmc");
    let Some(password) = found.get("bmc-password").filter(|told| told.is_object()) else { return address };
    let told = match cell(password, "state").as_str() {
        "own" => format!("a password of its own for {}", since(password, "since")),
        "changing" => match cell(password, "waits-for").as_str() {
            "-" => "its password is being changed".to_owned(),
            rail => format!("its password is being changed: {rail}"),
        },
        "unsettled" => "nobody knows its password: see `muster tickets`".to_owned(),
        _ => "the password of its file".to_owned(),
    };
    format!("{address}, {told}")
}

pub fn tickets(found: &Value, output: Output) -> Result<()> {
    if output == Output::Json {
        return raw(found);
    }
    let rows: Vec<Vec<String>> = found
        .as_array()
        .map(|all| {
            all.iter()
                .map(|one| {
                    let about = match cell(one, "name").as_str() {
                        "-" => cell(one, "subject"),
                        name => name.to_string(),
                    };
                    vec![about, since(one, "opened"), cell(one, "cause"), cell(one, "title")]
                })
                .collect()
        })
        .unwrap_or_default();
    print!("{}", text(&["about", "open for", "cause", "what to do"], &rows));
    Ok(())
}

pub fn conflicts(found: &Value, output: Output) -> Result<()> {
    if output == Output::Json {
        return raw(found);
    }
    let row = |one: &Value| {
        let port = one.get("port").map(|port| format!("{} {}", cell(port, "switch"), cell(port, "port")));
        vec![
            cell(one, "kind"),
            cell(one, "network"),
            cell(one, "address"),
            cell(one, "mac"),
            port.filter(|port| port != "- -").unwrap_or_else(|| "-".into()),
            since(one, "first"),
            cell(one, "words"),
        ]
    };
    let rows: Vec<Vec<String>> = found.as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
    print!("{}", text(&["what", "network", "address", "mac", "port", "seen for", "what to do"], &rows));
    Ok(())
}

pub async fn status(api: &Api, output: Output) -> Result<()> {
    let freeze = api.get("/api/v1/freeze").await?;
    let tickets = api.get("/api/v1/tickets").await?;
    let orders = api.get("/api/v1/orders").await?;
    let metrics = api.text("/metrics").await?;
    let states = states(&metrics);
    let events = api.newest().await?;
    if output == Output::Json {
        return raw(&json!({ "server": api.server(), "freeze": freeze, "machines": states, "orders": orders,
            "tickets": tickets, "events": events }));
    }
    let number = |value: &Value| value.as_array().map_or(0, Vec::len);
    let total: u64 = states.values().sum();
    let told: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    println!("{:<12}{}", "daemon", api.server());
    println!(
        "{:<12}{}",
        "frozen",
        match freeze.get("frozen") == Some(&Value::Bool(true)) {
            true => format!(
                "YES, by {} for {}: {}; nothing new goes out until `muster unfreeze`",
                cell(&freeze, "by"),
                since(&freeze, "at"),
                cell(&freeze, "why")
            ),
            false => "no".into(),
        }
    );
    println!("{:<12}{total}{}{}", "machines", if told.is_empty() { "" } else { ": " }, told.join(", "));
    println!("{:<12}{}", "orders", count(number(&orders), "open install order"));
    println!("{:<12}{events}", "events");
    println!(
        "{:<12}{}",
        "tickets",
        match number(&tickets) {
            1 => "1 thing waits for a person".to_string(),
            waiting => format!("{waiting} things wait for a person"),
        }
    );
    if number(&tickets) > 0 {
        println!();
        self::tickets(&tickets, output)?;
    }
    Ok(())
}

/// Machines by state, from the metrics: counted by the database, however many there are.
fn states(metrics: &str) -> BTreeMap<String, u64> {
    let state = |line: &str| {
        let (label, number) = line.strip_prefix("muster_machines{state=\"")?.split_once("\"} ")?;
        Some((label.to_string(), number.trim().parse().ok()?))
    };
    metrics.lines().filter_map(state).filter(|(_, number)| *number > 0).collect()
}

/// One machine on one page.
pub fn machine(found: &Value) -> String {
    let line = found.get("summary").cloned().unwrap_or_default();
    let mut page = String::new();
    let _ = writeln!(page, "{}  {} for {}", cell(&line, "name"), cell(&line, "state"), since(&line, "since"));
    let mut fact = |key: &str, value: String| {
        if !value.is_empty() && value != "-" {
            let _ = writeln!(page, "  {key:<14}{value}");
        }
    };
    fact("waits for", waits(&line));
    if let Some(progress) = line.get("progress").filter(|progress| !progress.is_null()) {
        let number = |key: &str| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
        let percent = number("done").min(number("total")) * 100 / number("total").max(1);
        fact("progress", format!("{} {percent} %", cell(progress, "step")));
    }
    fact("deadline", deadline(&line));
    fact("place", format!("{}{}", place(&line), witnesses(found)));
    fact("model", cell(&line, "model"));
    fact("serial", cell(&line, "serial"));
    fact("uuid", cell(found, "uuid"));
    fact("id", cell(&line, "id"));
    fact("MACs", strings(found, "macs").join(", "));
    fact("BMC", bmc(found));
    fact("boots by", way(found));
    fact("boot disc", medium(found));
    fact("agent", agent(found));
    fact("ours", if line.get("ours") == Some(&Value::Bool(true)) { "yes".into() } else { "no, only watched".into() });
    fact(
        "holds",
        if found.get("data-bearing") == Some(&Value::Bool(true)) { "an owner's data".into() } else { String::new() },
    );
    fact("order", cell(found, "order"));
    fact("held for", cell(found, "hold"));
    fact(
        "fault",
        found.get("fault").map_or(String::new(), |fault| match cell(fault, "text").as_str() {
            "-" => String::new(),
            said => format!("{said} (reported by {})", cell(fault, "by")),
        }),
    );
    differences(&mut page, "differs from its model", found, "differences");
    differences(&mut page, "differed from its order", found, "quality");
    if let Some(inventory) = found.get("inventory").filter(|inventory| !inventory.is_null()) {
        hardware(&mut page, inventory);
    }
    figures(&mut page, found);
    acts(&mut page, found);
    page
}

/// `HTTP: it came in by it`
fn way(found: &Value) -> String {
    let Some(tried) = found.get("way").filter(|tried| tried.is_object()) else { return String::new() };
    let word = cell(tried, "way");
    let named = serde_json::from_value::<Way>(json!(word)).map_or(word, |way| way.to_string());
    let came = match cell(tried, "came").as_str() {
        "arrived" => "it came in by it".to_string(),
        "missed" => "it was not seen, the next boot goes by the next way".to_string(),
        _ => format!("ordered {} ago, not seen yet", since(tried, "since")),
    };
    format!("{named}: {came}")
}

fn medium(found: &Value) -> String {
    let Some(medium) = found.get("medium").filter(|medium| medium.is_object()) else { return String::new() };
    match cell(medium, "left").as_str() {
        "-" => format!("{} in its BMC's virtual media", cell(medium, "image")),
        why => format!("{} was not ejected from its BMC's virtual media: {why}", cell(medium, "image")),
    }
}

fn deadline(line: &Value) -> String {
    let Some(at) = line.get("deadline").and_then(Value::as_i64) else { return String::new() };
    let left = at - muster_conductor::now().0;
    match left > 0 {
        true => format!("in {}, then it moves on by itself", span(left)),
        false => format!("passed {} ago", span(-left)),
    }
}

fn witnesses(found: &Value) -> String {
    let Some(located) = found.get("located").and_then(Value::as_object) else { return String::new() };
    let Some((word, spot)) = located.iter().next() else { return String::new() };
    match word.as_str() {
        "verified" => format!(", verified by {}", strings(spot, "witnesses").join(" and ")),
        "single" => format!(", by {} alone", strings(spot, "witnesses").join(" and ")),
        "conflict" => format!(", IN CONFLICT: {}", spot.as_str().map_or_else(|| spot.to_string(), Into::into)),
        _ => String::new(),
    }
}

fn agent(found: &Value) -> String {
    let Some(agent) = found.get("agent").filter(|agent| !agent.is_null()) else { return String::new() };
    let mode = match cell(agent, "mode").as_str() {
        "ram" => "in the boot image".to_string(),
        "resident" => "on the installed system".to_string(),
        other => other.to_string(),
    };
    format!("{} {mode}, since {} ago", cell(agent, "version"), since(agent, "at"))
}

fn strings(object: &Value, key: &str) -> Vec<String> {
    items(object, key).iter().map(|one| one.as_str().map_or_else(|| one.to_string(), Into::into)).collect()
}

fn block(page: &mut String, title: &str, head: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        let _ = writeln!(page, "\n{title}");
        for line in text(head, rows).lines() {
            let _ = writeln!(page, "  {line}");
        }
    }
}

fn differences(page: &mut String, title: &str, found: &Value, key: &str) {
    let rows: Vec<Vec<String>> = items(found, key)
        .iter()
        .map(|one| vec![cell(one, "path"), cell(one, "expected"), cell(one, "actual")])
        .collect();
    block(page, title, &["what", "expected", "found"], &rows);
}

/// Every part, with its name or slot, and whatever else it tells.
fn hardware(page: &mut String, inventory: &Value) {
    let size = |one: &Value, key: &str, scale: u64| {
        one.get(key).and_then(Value::as_u64).map(|number| bytes(number.saturating_mul(scale)))
    };
    let with = |value: &Value, key: &str, unit: &str| {
        value.get(key).filter(|number| !number.is_null()).map(|number| format!("{number} {unit}"))
    };
    let named = |value: &Value, key: &str, word: &str| match cell(value, key).as_str() {
        "-" => None,
        found => Some(format!("{word}{found}")),
    };
    let mut rows = Vec::new();
    let mut part = |kind: &str, name: String, told: Vec<Option<String>>| {
        let told: Vec<String> = told.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        rows.push(vec![kind.to_string(), name, told.join(", ")]);
    };
    if let Some(system) = inventory.get("system") {
        let told = vec![named(system, "product", ""), named(system, "asset-tag", "asset tag ")];
        part("system", cell(system, "manufacturer"), told);
    }
    for one in items(inventory, "cpus") {
        let told = vec![named(&one, "model", ""), with(&one, "cores", "cores"), with(&one, "threads", "threads")];
        part("cpu", cell(&one, "socket"), told);
    }
    for one in items(inventory, "dimms") {
        let told = vec![
            with(&one, "size-mib", "MiB"),
            named(&one, "kind", ""),
            with(&one, "speed-mts", "MT/s"),
            named(&one, "part-number", ""),
            named(&one, "serial", "serial "),
        ];
        part("dimm", cell(&one, "slot"), told);
    }
    for one in items(inventory, "disks") {
        let told = vec![
            size(&one, "size-bytes", 1),
            named(&one, "kind", ""),
            named(&one, "model", ""),
            named(&one, "serial", "serial "),
            named(&one, "bay", "bay "),
            named(&one, "in-use", ""),
        ];
        part("disk", cell(&one, "name"), told);
    }
    for one in items(inventory, "nics") {
        let link = if one.get("link") == Some(&Value::Bool(true)) { "link" } else { "NO LINK" };
        let neighbor = one.get("neighbor").filter(|neighbor| !neighbor.is_null());
        let neighbor = neighbor.and_then(Value::as_object).map(|told: &Map<String, Value>| {
            let words: Vec<String> = told.values().filter_map(Value::as_str).map(Into::into).collect();
            format!("on {}", words.join(" "))
        });
        let told = vec![
            named(&one, "mac", ""),
            Some(link.into()),
            with(&one, "speed-mbps", "Mbit/s"),
            named(&one, "model", ""),
            neighbor,
        ];
        part("nic", cell(&one, "name"), told);
    }
    for one in items(inventory, "firmware") {
        part("firmware", cell(&one, "component"), vec![named(&one, "version", "")]);
    }
    let signed = match inventory.get("secure-boot").and_then(Value::as_bool) {
        Some(true) => Some("Secure Boot".to_owned()),
        Some(false) => Some("Secure Boot off".to_owned()),
        None => None,
    };
    let told = vec![named(inventory, "architecture", ""), signed, named(inventory, "tpm", "TPM ")];
    part("boots", cell(inventory, "firmware-mode"), told);
    block(page, "hardware", &["part", "name", "what"], &rows);
}

fn figures(page: &mut String, found: &Value) {
    let rows: Vec<Vec<String>> = items(found, "figures")
        .iter()
        .map(|one| {
            let value = one.get("value").and_then(Value::as_f64).unwrap_or_default();
            vec![cell(one, "name"), format!("{value:.1} {}", cell(one, "unit"))]
        })
        .collect();
    block(page, "measured at commissioning", &["what", "figure"], &rows);
}

fn acts(page: &mut String, found: &Value) {
    let all = items(found, "acts");
    // The newest tell what goes on; the rest stands in the events.
    let rows: Vec<Vec<String>> = all
        .iter()
        .skip(all.len().saturating_sub(5))
        .map(|one| {
            let begun = one.get("created").and_then(Value::as_i64).map_or_else(|| "-".into(), clock);
            vec![begun, cell(one, "slot"), cell(one, "state"), cell(one, "phase"), cell(one, "attempts")]
        })
        .collect();
    block(page, "last acts", &["begun (UTC)", "act", "state", "phase", "attempts"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_which_nothing_is_known_has_a_page() {
        let page = machine(&json!({ "summary": { "name": "n1", "state": "expected", "since": 0, "ours": true,
            "waits-for": "its first boot" } }));
        assert!(page.starts_with("n1  expected for "), "{page}");
        assert!(page.contains("waits for     its first boot") && !page.contains("hardware"), "{page}");
        assert!(!machine(&json!({})).is_empty());
    }

    #[test]
    fn what_holds_a_machine_stands_on_its_page() {
        let page = machine(&json!({
            "summary": { "name": "n1", "state": "held", "since": 0, "ours": true, "waits-for": "a person", "rail": "frozen" },
            "hold": "fan is loud", "fault": { "text": "fan 3", "by": "ann" }, "data-bearing": true,
            "located": { "conflict": "port says U3, serial says U4" },
            "quality": [{ "path": "users", "expected": "ops", "actual": "none" }],
            "inventory": { "disks": [{ "name": "sda", "size-bytes": 8_000_000_000_u64, "serial": "S1" }],
                "nics": [{ "name": "lan0", "mac": "02:00:00:00:00:01", "link": false }] },
            "figures": [{ "name": "memory.copy", "unit": "MiB/s", "value": 1166.659 }]
        }));
        for word in [
            "waits for     frozen",
            "held for      fan is loud",
            "fan 3 (reported by ann)",
            "an owner's data",
            "IN CONFLICT: port says U3",
            "users  ops       none",
            "8.0 GB, serial S1",
            "NO LINK",
            "1166.7 MiB/s",
        ] {
            assert!(page.contains(word), "{word}\n{page}");
        }
    }

    #[test]
    fn the_way_in_and_a_disc_that_was_left_stand_on_its_page() {
        let page = |came: &str| {
            machine(&json!({ "summary": { "name": "n1", "state": "ready", "since": 0 },
                "way": { "way": "virtual-media", "epoch": 4, "since": 0, "came": came },
                "medium": { "image": "http://10.0.0.1/boot/ipxe.iso", "since": 0, "left": "the drive is stuck" } }))
        };
        assert!(page("arrived").contains("boots by      virtual media: it came in by it"), "{}", page("arrived"));
        assert!(page("missed").contains("the next boot goes by the next way"));
        assert!(page("awaited").contains("not seen yet"));
        assert!(page("awaited").contains("ipxe.iso was not ejected from its BMC's virtual media: the drive is stuck"));
    }

    #[test]
    fn machines_are_counted_by_the_metrics() {
        let text = "# TYPE\nmuster_machines{state=\"held\"} 2\nmuster_machines{state=\"ready\"} 0\nmuster_frozen 1\n";
        assert_eq!(states(text), BTreeMap::from([("held".to_string(), 2)]));
    }
}
