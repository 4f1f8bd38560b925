//! `muster boot`: why a machine does not boot, and how long the stages of its boots took.

use crate::ask::{raw, since};
use crate::cli::{BootCommand, Output};
use crate::client::{Api, escaped};
use crate::show;
use crate::table::{bytes, cell, clock, items, place, print, print_told, span};
use anyhow::Result;
use serde_json::Value;

pub async fn boot(api: &Api, command: BootCommand, output: Output) -> Result<()> {
    let (word, query) = match &command {
        BootCommand::Explain { machine, boots } => (machine, format!("boots={boots}")),
        BootCommand::List { machine } => (machine, "brief=true".to_owned()),
        BootCommand::Conflicts => return show::conflicts(&api.get("/api/v1/conflicts").await?, output),
    };
    let found = api.get(&format!("/api/v1/boot/{}?{query}", escaped(word))).await?;
    if output == Output::Json {
        return raw(&found);
    }
    if let BootCommand::List { .. } = command {
        list(&found);
        return Ok(());
    }
    let known = match found.get("machine").and_then(Value::as_str) {
        Some(id) => api.get(&format!("/api/v1/machines/{id}")).await.ok(),
        None => None,
    };
    match known.as_ref().and_then(|machine| machine.get("summary")) {
        Some(one) => println!(
            "{word} is {} at {}, {} for {}; it waits for: {}",
            cell(one, "name"),
            place(one),
            cell(one, "state"),
            since(one, "since"),
            cell(one, "waits-for")
        ),
        None => println!("{word} belongs to no known machine"),
    }
    let diagnosis = found.get("diagnosis").cloned().unwrap_or_default();
    println!("{}", verdict(&diagnosis));
    for one in items(&found, "running") {
        println!("{}", running(&one));
    }
    for boot in items(&found, "boots").iter().rev() {
        print!("{}", whole(boot));
    }
    // First and last, for a long list scrolls the beginning away.
    println!("\n{}", verdict(&diagnosis));
    let next = cell(&diagnosis, "next");
    if next != "-" {
        println!("Next: {next}.");
    }
    Ok(())
}

fn verdict(diagnosis: &Value) -> String {
    let sign = match cell(diagnosis, "grade").as_str() {
        "well" => "OK",
        "going" => "UNDER WAY",
        _ => "WRONG",
    };
    format!("{sign}: {}", cell(diagnosis, "words"))
}

fn number(object: &Value, key: &str) -> i64 {
    object.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn running(one: &Value) -> String {
    let count = |key: &str| one.get(key).and_then(Value::as_u64).unwrap_or_default();
    let percent = count("bytes").saturating_mul(100) / count("size").max(1);
    format!(
        "Fetching now: {}, {} of {} ({percent} %), {}/s",
        cell(one, "path"),
        bytes(count("bytes")),
        bytes(count("size")),
        bytes(count("bytes-per-second"))
    )
}

/// `power 9.1 s, address 3.0 s, loader ...`
fn stages(boot: &Value) -> String {
    let one = |stage: &Value| match stage.get("millis").and_then(Value::as_i64) {
        Some(millis) => format!("{} {}", cell(stage, "stage"), muster_netboot::timeline::span(millis)),
        None => cell(stage, "stage"),
    };
    items(boot, "stages").iter().map(one).collect::<Vec<_>>().join(", ")
}

fn whole(boot: &Value) -> String {
    let mut text = format!("\nBoot of {} (UTC)\n", clock(number(boot, "began")));
    let row = |entry: &Value| {
        vec![
            seconds(number(entry, "after")),
            cell(entry, "kind"),
            cell(entry, "asked"),
            cell(entry, "mac"),
            cell(entry, "answer"),
        ]
    };
    let rows: Vec<Vec<String>> = items(boot, "entries").iter().map(row).collect();
    text.push_str(&crate::table::text(&["after", "what", "asked", "port", "answer"], &rows));
    let stages = stages(boot);
    if !stages.is_empty() {
        text.push_str(&format!("Stages: {stages}\n"));
    }
    if let Some(console) = boot.get("console").filter(|console| console.is_object()) {
        text.push_str(&recorded(console));
    }
    text
}

/// What was recorded of the console, and its last lines where the boot went wrong.
fn recorded(console: &Value) -> String {
    let size = bytes(console.get("bytes").and_then(Value::as_u64).unwrap_or_default());
    let (first, last) = (clock(number(console, "first")), clock(number(console, "last")));
    let mut text = format!("Console: {size} recorded, {first} to {last}; `muster console --recorded` prints it\n");
    for line in items(console, "lines") {
        text.push_str("  ");
        text.push_str(&crate::console::entry(&line));
    }
    text
}

/// `12.345 s`, aligned to the right up to the hour.
fn seconds(millis: i64) -> String {
    format!("{:>5}.{:03} s", millis / 1000, millis.unsigned_abs() % 1000)
}

fn list(found: &Value) {
    let row = |boot: &Value| {
        let ended = boot.get("ended").and_then(Value::as_i64);
        let until = ended.unwrap_or_else(|| number(found, "now"));
        let diagnosis = boot.get("diagnosis").cloned().unwrap_or_default();
        vec![
            clock(number(boot, "began")),
            span(until.saturating_sub(number(boot, "began"))),
            cell(&diagnosis, "grade"),
            stages(boot),
            cell(&diagnosis, "words"),
        ]
    };
    let boots: Vec<Vec<String>> = items(found, "boots").iter().map(row).collect();
    if boots.is_empty() {
        let diagnosis = found.get("diagnosis").cloned().unwrap_or_default();
        print(&["boots"], &[vec![cell(&diagnosis, "words")]]);
    } else {
        print_told(&["began (UTC)", "lasted", "came", "stages", "what it came to"], &boots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_boot_is_one_list_with_aligned_times_and_its_stages() {
        let boot = json!({
            "began": 0,
            "stages": [{ "stage": "power", "millis": 9_100 }, { "stage": "address", "millis": null }],
            "entries": [
                { "after": 0, "kind": "power", "asked": "on", "answer": "the BMC was told to switch it on" },
                { "after": 129_050, "kind": "discover", "asked": "firmware, PXE", "answer": "no answer: x" },
            ],
        });
        assert_eq!(
            whole(&boot),
            "\nBoot of 1970-01-01 00:00:00 (UTC)\n\
             AFTER        WHAT      ASKED          PORT  ANSWER\n    \
             0.000 s  power     on             -     the BMC was told to switch it on\n  \
             129.050 s  discover  firmware, PXE  -     no answer: x\n\
             Stages: power 9.1 s, address\n"
        );
    }

    #[test]
    fn the_last_words_of_a_console_stand_below_the_boot_that_went_wrong() {
        let line = json!({ "at": 61_000, "text": "No bootable device", "note": false });
        let console = json!({ "first": 1_000, "last": 61_000, "bytes": 1_500, "lines": [line] });
        let told = whole(&json!({ "began": 0, "entries": [], "console": console }));
        assert!(
            told.ends_with(
                "Console: 1.5 kB recorded, 1970-01-01 00:00:01 to 1970-01-01 00:01:01; `muster console --recorded` prints it\n  \
                 1970-01-01 00:01:01  No bootable device\n"
            ),
            "{told}"
        );
        assert!(!whole(&json!({ "began": 0, "entries": [], "console": null })).contains("Console"));
    }

    #[test]
    fn a_verdict_says_at_once_whether_something_is_wrong() {
        let said = |grade: &str| verdict(&json!({ "grade": grade, "words": "it is so" }));
        assert_eq!(
            [said("well"), said("going"), said("wrong")],
            ["OK: it is so", "UNDER WAY: it is so", "WRONG: it is so"]
        );
        let one =
            json!({ "path": "/boot/vmlinuz", "bytes": 4_300_000, "size": 10_000_000, "bytes-per-second": 2_150_000 });
        assert_eq!(running(&one), "Fetching now: /boot/vmlinuz, 4.3 MB of 10.0 MB (43 %), 2.1 MB/s");
    }
}
