//! Plan, show, ask, execute: how every verb that changes machines goes.

use crate::ask::raw;
use crate::cli::{Install, Output, Targets};
use crate::client::Api;
use crate::table::{cell, count, items, place, print_told};
use crate::watch;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

/// Carries a verb through, and follows the machines if that was asked.
pub async fn carry(api: &Api, targets: &Targets, what: Value, output: Output) -> Result<ExitCode> {
    let mut ids = Vec::new();
    for word in &targets.machines {
        ids.push(api.machine(word).await?);
    }
    let planned = api.post("/api/v1/plans", &json!({ "what": what, "targets": ids })).await?;
    let executable = planned.get("executable") == Some(&Value::Bool(true));
    if output == Output::Table {
        tell(&planned, &frozen(api).await);
    }
    if targets.dry_run {
        match output {
            Output::Json => raw(&json!({ "plan": planned, "executed": null }))?,
            Output::Table => println!("nothing was changed (--dry-run)"),
        }
        return Ok(if executable { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Err(error) = may_go(&planned, executable, targets.yes) {
        if output == Output::Json {
            raw(&json!({ "plan": planned, "executed": null }))?;
        }
        return Err(error);
    }
    let executed = api.post(&format!("/api/v1/plans/{}/execute", cell(&planned, "digest")), &json!({})).await?;
    if output == Output::Json {
        raw(&json!({ "plan": planned, "executed": executed }))?;
    }
    match &targets.until {
        Some(until) => watch::watch(api, &targets.machines, until, None).await,
        None => {
            // What changes no state is nothing to watch.
            let action = planned.get("what").map(|what| cell(what, "action")).unwrap_or_default();
            if output == Output::Table && action == "apply-bios" {
                println!(
                    "begun on {}; it takes effect at the next boot, which is not caused from here. `muster firmware plan {}` \
                     tells what waits for it",
                    count(ids.len(), "machine"),
                    targets.machines.join(" ")
                );
            } else if output == Output::Table && !action.ends_with("-bmc-password") {
                println!(
                    "begun on {}; `muster watch {}` follows",
                    count(ids.len(), "machine"),
                    targets.machines.join(" ")
                );
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Every reason not to go on, the person's word included.
fn may_go(planned: &Value, executable: bool, yes: bool) -> Result<()> {
    if !executable {
        bail!("nothing was changed: mend or leave out the machines that are refused");
    }
    if planned.get("needs-approval") == Some(&Value::Bool(true)) {
        let (digest, machines) = (cell(planned, "digest"), cell(planned, "count"));
        bail!(
            "nothing was changed: a second person has to approve it within 15 minutes: `muster plan approve {digest} --count {machines}`, then `muster plan execute {digest}`"
        );
    }
    go_on(yes)
}

/// A person's word, by `--yes` or on a terminal.
pub fn go_on(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("nothing was changed: there is no terminal to ask on; say --yes to carry it out");
    }
    eprint!("Carry it out? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

/// Why nothing would go out now; empty when it would.
async fn frozen(api: &Api) -> String {
    match api.get("/api/v1/freeze").await {
        Ok(found) if found.get("frozen") == Some(&Value::Bool(true)) => {
            format!("frozen by {} ({}): it is refused until `muster unfreeze`", cell(&found, "by"), cell(&found, "why"))
        }
        _ => String::new(),
    }
}

fn tell(planned: &Value, frozen: &str) {
    println!("{}", heading(planned));
    let targets = items(planned, "targets");
    if targets.iter().any(|target| !items(target, "sets").is_empty()) {
        let rows: Vec<Vec<String>> = targets.iter().map(settings_row).collect();
        print_told(&["machine", "state", "place", "refused", "wanted, and set where it differs"], &rows);
    } else {
        let rows: Vec<Vec<String>> = targets.iter().map(row).collect();
        print_told(&["machine", "state", "leads to", "place", "disk", "holds", "refused"], &rows);
    }
    if !frozen.is_empty() {
        println!("{frozen}");
    }
}

/// `plan 9d94926f1a21: release 3 machines in 2 racks; destroys data; 1 holds an owner's data`
fn heading(planned: &Value) -> String {
    let number =
        |key: &str| planned.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let digest: String = cell(planned, "digest").chars().take(12).collect();
    let action = planned.get("what").map(|what| cell(what, "action")).unwrap_or_default();
    let mut text = format!("plan {digest}: {action} {}", count(number("count"), "machine"));
    let racks = planned.get("per-rack").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if racks > 1 {
        text = format!("{text} in {racks} racks");
    }
    if planned.get("destructive") == Some(&Value::Bool(true)) {
        text.push_str("; overwrites disks");
    }
    match number("data-bearing") {
        0 => {}
        1 => text.push_str("; 1 holds an owner's data"),
        holding => text.push_str(&format!("; {holding} hold an owner's data")),
    }
    text
}

fn settings_row(one: &Value) -> Vec<String> {
    let sets: Vec<String> =
        items(one, "sets").iter().map(|word| word.as_str().unwrap_or_default().to_string()).collect();
    vec![cell(one, "name"), cell(one, "state"), place(one), cell(one, "refused"), sets.join(", ")]
}

fn row(one: &Value) -> Vec<String> {
    let disk = one.get("disk").filter(|disk| !disk.is_null()).map_or("-".into(), |disk| {
        let serial = cell(disk, "serial");
        if serial == "-" { cell(disk, "wwn") } else { serial }
    });
    let data = if one.get("data-bearing") == Some(&Value::Bool(true)) { "owner's data" } else { "-" };
    vec![
        cell(one, "name"),
        cell(one, "state"),
        cell(one, "leads-to"),
        place(one),
        disk,
        data.into(),
        cell(one, "refused"),
    ]
}

/// `muster install`: what the options say, as the API takes it.
pub async fn install(api: &Api, mut install: Install, output: Output) -> Result<ExitCode> {
    let mut users = Vec::new();
    for told in &install.users {
        users.push(user(told)?);
    }
    let network = match &install.network {
        Some(file) => network(file)?,
        None => json!({}),
    };
    let user_data = match &install.user_data {
        Some(file) => read(file)?,
        None => String::new(),
    };
    let what = json!({ "action": "install", "image": install.image, "users": users, "network": network,
        "user_data": user_data, "reimage": install.reimage });
    if install.watch && install.targets.until.is_none() {
        install.targets.until = Some("in-service".into());
    }
    carry(api, &install.targets, what, output).await
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} does not read", file.display()))
}

fn network(file: &Path) -> Result<Value> {
    let text = read(file)?;
    let wrong =
        || format!("{} is not a network; expected TOML, or JSON in a file that ends with .json", file.display());
    if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).with_context(wrong)
    } else {
        toml::from_str(&text).with_context(wrong)
    }
}

/// `NAME`, `NAME!`, `NAME=FILE`, `NAME!=FILE`
fn user(told: &str) -> Result<Value> {
    let (name, file) = told.split_once('=').map_or((told, None), |(name, file)| (name, Some(file)));
    let (name, sudo) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let first = name.chars().next();
    let plain = name.len() <= 32
        && first.is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if !plain {
        bail!("--user {told}: {name:?} is no name of a user; a-z, 0-9, `-` and `_`, at most 32, a letter first");
    }
    let keys = match file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("--user {told}: the key file {file} does not read"))?,
        None => String::new(),
    };
    let keys: Vec<&str> =
        keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if file.is_some() && keys.is_empty() {
        bail!("--user {told}: the key file holds no key; expected lines like `ssh-ed25519 AAAA... name`");
    }
    if let Some(private) = keys.iter().find(|line| line.contains("PRIVATE KEY")) {
        bail!("--user {told}: the key file holds a private key ({private}); name the file that ends with .pub");
    }
    Ok(json!({ "name": name, "ssh_authorized_keys": keys, "sudo": sudo }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_headed_by_what_it_costs() {
        let planned = json!({ "digest": "9d94926f1a215d29", "what": { "action": "release" }, "count": 3,
            "per-rack": { "a/1": 2, "a/2": 1 }, "data-bearing": 1, "destructive": true });
        assert_eq!(
            heading(&planned),
            "plan 9d94926f1a21: release 3 machines in 2 racks; overwrites disks; 1 holds an owner's data"
        );
    }

    #[test]
    fn a_plan_that_is_refused_or_wants_a_second_person_goes_nowhere_even_with_yes() {
        assert!(may_go(&json!({}), false, true).is_err());
        let large = json!({ "needs-approval": true, "digest": "ab12", "count": 11 });
        let said = may_go(&large, true, true).unwrap_err().to_string();
        assert!(said.contains("muster plan approve ab12 --count 11"), "{said}");
        assert!(may_go(&json!({}), true, true).is_ok());
    }

    #[test]
    fn a_user_is_a_plain_name_with_public_keys() {
        assert_eq!(user("ops!").unwrap(), json!({ "name": "ops", "ssh_authorized_keys": [], "sudo": true }));
        for wrong in ["BAD NAME", "", "!", "-x", "röot", "x=/nonexistent/keys"] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
        let file = std::env::temp_dir().join(format!("muster-keys-{}", std::process::id()));
        std::fs::write(&file, "# mine\n\nssh-ed25519 AAAA me\n").unwrap();
        let made = user(&format!("ops={}", file.display())).unwrap();
        assert_eq!(items(&made, "ssh_authorized_keys"), ["ssh-ed25519 AAAA me"]);
        std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        let said = user(&format!("ops={}", file.display())).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(said.contains(".pub"), "{said}");
    }
}
