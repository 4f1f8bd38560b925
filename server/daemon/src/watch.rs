//! A live timeline: what happens to machines, with progress and the time of each stage.

use crate::cli::Output;
use crate::client::{Api, Away};
use crate::table::{cell, clock, items, plain};
use crate::words::sentence;
use anyhow::{Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One machine that is watched.
struct Watched {
    id: String,
    name: String,
    after: i64,
    state: String,
    /// When it entered this state, in milliseconds.
    since: i64,
    stages: Vec<(String, f64)>,
    told: String,
    waits: String,
    /// Why the daemon was not reached when it was last asked.
    away: String,
    /// What was last told of its boot, and when that was asked for.
    boot: String,
    looked: Option<Instant>,
}

/// A BMC that is well is done within a few seconds; one that is silent is asked again by the daemon alone.
const PASSWORDS: Duration = Duration::from_secs(120);

/// Follows the change of BMC passwords to its end.
pub async fn passwords(api: &Api, words: &[String]) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut failed = false;
    for word in words {
        let id = api.machine(word).await?;
        loop {
            let found = api.get(&format!("/api/v1/machines/{id}")).await?;
            let told = found.get("bmc-password").cloned().unwrap_or_default();
            if cell(&told, "state") != "changing" {
                let well = cell(&told, "ended") == "done";
                failed |= !well;
                let why = cell(&told, "why");
                line(begun, word, if well { "done: it logged in" } else { &why });
                break;
            }
            if begun.elapsed() > PASSWORDS {
                let waits = cell(&told, "waits-for");
                let said = format!("waits still ({waits}); `muster machine show {word}` tells how it ended");
                line(begun, word, &said);
                failed = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Follows until every machine is `until`; a held one ends it with a failure.
pub async fn watch(api: &Api, words: &[String], until: &str, timeout: Option<u64>) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut all = Vec::new();
    for word in words {
        let id = api.machine(word).await?;
        all.push(Watched {
            id,
            name: word.clone(),
            after: api.newest().await?,
            state: String::new(),
            since: 0,
            stages: Vec::new(),
            told: String::new(),
            waits: String::new(),
            away: String::new(),
            boot: String::new(),
            looked: None,
        });
    }
    loop {
        let (mut done, mut held) = (0, false);
        for one in &mut all {
            // A daemon that restarts is waited for.
            match look(api, one, begun).await {
                Ok(()) => one.away.clear(),
                Err(error) if error.is::<Away>() => {
                    let said = format!("{error:#}");
                    // Once, however long it lasts.
                    if said != one.away {
                        clear();
                        line(begun, &one.name, &said);
                        one.away = said;
                    }
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                Err(error) => return Err(error),
            }
            done += usize::from(one.state == until);
            held |= one.state == "held";
        }
        if done == all.len() || held {
            clear();
            all.iter().for_each(|one| summary(one, begun));
            let held = held && until != "held";
            return Ok(if held { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        if timeout.is_some_and(|seconds| begun.elapsed() > Duration::from_secs(seconds)) {
            clear();
            let late: Vec<String> = all
                .iter()
                .filter(|one| one.state != until)
                .map(|one| format!("{} is {} and waits for: {}", one.name, one.state, one.waits))
                .collect();
            bail!(
                "not {until} within {} s: {}; `muster machine events NAME` tells more",
                timeout.unwrap_or_default(),
                late.join("; ")
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn look(api: &Api, one: &mut Watched, begun: Instant) -> Result<()> {
    let events = api.get(&format!("/api/v1/machines/{}/events?after={}&limit=200", one.id, one.after)).await?;
    for event in events.as_array().cloned().unwrap_or_default() {
        one.after = event.get("seq").and_then(Value::as_i64).unwrap_or(one.after);
        let text = sentence(&event);
        if !text.is_empty() {
            clear();
            line(begun, &one.name, &text);
        }
    }
    let machine = api.get(&format!("/api/v1/machines/{}", one.id)).await?;
    let summary = machine.get("summary").cloned().unwrap_or_default();
    let (state, since) = (cell(&summary, "state"), summary.get("since").and_then(Value::as_i64).unwrap_or_default());
    if state != one.state {
        if !one.state.is_empty() {
            // Seconds as the daemon counted them, not as we looked.
            #[allow(clippy::cast_precision_loss, reason = "a stage lasts hours at most")]
            one.stages.push((one.state.clone(), (since - one.since) as f64 / 1000.0));
        }
        one.state = state;
        one.since = since;
    }
    one.waits = crate::show::waits(&summary);
    progress(one, &summary);
    boot(api, one, begun).await
}

/// How its boot goes, told once for each word of it; asked for less often than the rest, for it is read from many rows.
async fn boot(api: &Api, one: &mut Watched, begun: Instant) -> Result<()> {
    if one.looked.is_some_and(|looked| looked.elapsed() < Duration::from_secs(2)) {
        return Ok(());
    }
    one.looked = Some(Instant::now());
    let found = api.get(&format!("/api/v1/boot/{}?boots=1&brief=true", one.id)).await?;
    let diagnosis = found.get("diagnosis").cloned().unwrap_or_default();
    let newest = found.get("boots").and_then(|boots| boots.get(0)).cloned().unwrap_or_default();
    let stage = items(&newest, "stages").last().map(|stage| cell(stage, "stage")).unwrap_or_default();
    let wrong = cell(&diagnosis, "grade") == "wrong";
    // What was there before we looked is not news, and seconds that count up are no other word.
    let word =
        format!("{} {stage} {}", cell(&newest, "began"), if wrong { cell(&diagnosis, "label") } else { String::new() });
    let first = one.boot.is_empty();
    if std::mem::replace(&mut one.boot, word.clone()) != word && (!first || wrong) {
        clear();
        match wrong {
            true => {
                line(begun, &one.name, &format!("boot: {}; {}", cell(&diagnosis, "words"), cell(&diagnosis, "next")))
            }
            false => line(begun, &one.name, &format!("boot: {stage}")),
        }
    }
    Ok(())
}

fn progress(one: &mut Watched, summary: &Value) {
    let Some(progress) = summary.get("progress").filter(|progress| !progress.is_null()) else { return };
    let number = |key: &str| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (done, total) = (number("done"), number("total").max(1));
    let percent = (done.min(total) * 100) / total;
    let text = format!("{} {percent} %", cell(progress, "step"));
    if std::io::stdout().is_terminal() {
        let full = usize::try_from(percent / 4).unwrap_or(25);
        print!(
            "\r\x1b[K           {}  {:<9} [{}{}] {percent:>3} %",
            one.name,
            cell(progress, "step"),
            "#".repeat(full),
            ".".repeat(25 - full)
        );
        let _ = std::io::stdout().flush();
    } else if percent % 20 == 0 && one.told != text {
        println!("           {}  {text}", one.name);
        one.told = text;
    }
}

fn clear() {
    if std::io::stdout().is_terminal() {
        print!("\r\x1b[K");
    }
}

fn line(begun: Instant, name: &str, text: &str) {
    println!("{:>7.1} s  {name}  {text}", begun.elapsed().as_secs_f64());
}

fn summary(one: &Watched, begun: Instant) {
    let mut times: BTreeMap<&str, f64> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (state, seconds) in &one.stages {
        if !times.contains_key(state.as_str()) {
            order.push(state);
        }
        *times.entry(state).or_default() += seconds;
    }
    let stages: Vec<String> =
        order.iter().map(|state| format!("{state} {:.1} s", times.get(state).copied().unwrap_or_default())).collect();
    let stages = if stages.is_empty() { String::new() } else { format!(" ({})", stages.join(", ")) };
    println!("{}: {} after {:.1} s{stages}", one.name, one.state, begun.elapsed().as_secs_f64());
    if one.state == "held" {
        println!("{}: {}", one.name, one.waits);
        println!(
            "{0}: look with `muster machine show {0}` and `muster machine events {0}`; `muster machine resume {0} --to ...` sends it on",
            one.name
        );
    }
}

/// One event on one line.
fn told(event: &Value, about: &str) -> String {
    let at = event.get("at").and_then(Value::as_i64).unwrap_or_default();
    let (kind, text) = (cell(event, "kind"), sentence(event));
    let text = if text.is_empty() { kind } else { format!("{kind}: {text}") };
    format!("{:>8}  {}  {about}{:<12} {text}", cell(event, "seq"), clock(at), cell(event, "actor"))
}

/// A machine's whole log; an event a line, as the table or as JSON.
pub async fn print_events(api: &Api, id: &str, as_json: bool) -> Result<()> {
    let mut after = 0;
    if !as_json {
        println!("{:>8}  {:<19}  {:<12} WHAT", "EVENT", "WHEN (UTC)", "WHO");
    }
    loop {
        let page = api.get(&format!("/api/v1/machines/{id}/events?after={after}&limit=1000")).await?;
        let rows = page.as_array().cloned().unwrap_or_default();
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.get("seq").and_then(Value::as_i64).unwrap_or(i64::MAX);
        for row in &rows {
            if as_json {
                println!("{row}");
            } else {
                println!("{}", told(row, ""));
            }
        }
    }
}

/// Prints the site's log and follows it; when the daemon goes away it is asked again from the last number seen.
pub async fn follow(api: &Api, after: Option<i64>, output: Output) -> Result<()> {
    let mut after = match after {
        Some(after) => after,
        None => api.newest().await?,
    };
    let mut names = BTreeMap::new();
    loop {
        let mut response = match api.stream(after).await {
            Ok(response) => response,
            Err(error) if error.is::<Away>() => {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_secs(3)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut rest = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                let Some(data) = text.trim_end().strip_prefix("data: ") else { continue };
                let event: Value = plain(serde_json::from_str(data)?);
                after = event.get("seq").and_then(Value::as_i64).unwrap_or(after);
                if output == Output::Json {
                    println!("{data}");
                } else {
                    let about = about(api, &event, &mut names).await;
                    println!("{}", told(&event, &format!("{about:<12} ")));
                }
            }
        }
    }
}

/// The name of what an event is about, asked for once.
async fn about(api: &Api, event: &Value, names: &mut BTreeMap<String, String>) -> String {
    let subject = cell(event, "subject");
    let Some(id) = subject.strip_prefix("machine/") else { return subject };
    if let Some(name) = names.get(id) {
        return name.clone();
    }
    let found = api.get(&format!("/api/v1/machines/{id}")).await.unwrap_or_default();
    let name = found.get("summary").map_or_else(|| id.to_string(), |line| cell(line, "name"));
    names.insert(id.to_string(), name.clone());
    name
}
