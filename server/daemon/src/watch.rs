//! A live timeline: what happens to machines, with progress and the time of each stage.

use crate::client::Api;
use crate::table::cell;
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
            after: newest(api).await?,
            state: String::new(),
            since: 0,
            stages: Vec::new(),
            told: String::new(),
        });
    }
    loop {
        let (mut done, mut held) = (0, false);
        for one in &mut all {
            // A daemon that restarts is waited for.
            if let Err(error) = look(api, one, begun).await {
                line(begun, &one.name, &format!("{error:#}"));
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            done += usize::from(one.state == until);
            held |= one.state == "held";
        }
        if done == all.len() || held {
            clear();
            all.iter().for_each(|one| summary(one, begun));
            return Ok(if held { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        if timeout.is_some_and(|seconds| begun.elapsed() > Duration::from_secs(seconds)) {
            clear();
            bail!("not {until} within {} s; `muster machine events NAME` tells why", timeout.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn newest(api: &Api) -> Result<i64> {
    // The head's number stands in the metrics; reading the log from its end needs no paging.
    let text = api.text("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix("muster_events_total "));
    Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
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
    progress(one, &summary);
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
    println!("{}: {} after {:.1} s ({})", one.name, one.state, begun.elapsed().as_secs_f64(), stages.join(", "));
}

/// An event in a person's words; nothing for what only a program wants to know.
fn sentence(event: &Value) -> String {
    let body = event.get("body").cloned().unwrap_or_default();
    let detail = body.get("detail").cloned().unwrap_or_default();
    let inner = body.get("event").cloned().unwrap_or_default();
    match cell(event, "kind").as_str() {
        "entered" => {
            let to = body.get("to").and_then(|to| to.get("at")).cloned().unwrap_or_default();
            let why =
                to.get("why").map(|why| format!(" ({})", why.as_str().map_or_else(|| why.to_string(), Into::into)));
            format!("=> {}{}", cell(&to, "state"), why.unwrap_or_default())
        }
        "identified" => {
            let differences: Vec<String> = detail
                .get("differences")
                .and_then(Value::as_array)
                .map(|all| {
                    all.iter()
                        .map(|d| {
                            format!(
                                "{}: expected {}, found {}",
                                cell(d, "path"),
                                cell(d, "expected"),
                                cell(d, "actual")
                            )
                        })
                        .collect()
                })
                .unwrap_or_default();
            let place = located(&detail);
            match detail.get("model").and_then(Value::as_str) {
                Some(model) => format!("is a {model}: {}{place}", cell(&detail, "summary")),
                None => format!("fits no model: {}{place}", differences.join("; ")),
            }
        }
        "seen" => "asked for its boot script".into(),
        "agent-started" => format!("agent {} runs ({})", cell(&detail, "version"), cell(&detail, "mode")),
        "act-phase" => match cell(&detail, "phase").as_str() {
            "set-boot" => "BMC: setting the boot device".into(),
            "off" => "BMC: powering off".into(),
            "on" => "BMC: powering on".into(),
            other => format!("BMC: {other}"),
        },
        "act-failed" => format!("BMC: {}", cell(&detail, "why")),
        "write-permitted" => "the first write is permitted".into(),
        "write-denied" => format!("the write is denied: {}", cell(&detail, "reason")),
        "install-reported" => {
            let outcome = cell(&inner, "outcome");
            match detail.get("failure") {
                Some(failure) => format!("install {outcome}: {failure}"),
                None => {
                    let installed = detail.get("installed").cloned().unwrap_or_default();
                    format!(
                        "image written: {} bytes, {} skipped, {} s",
                        cell(&installed, "bytes_written"),
                        cell(&installed, "bytes_skipped"),
                        cell(&installed, "seconds")
                    )
                }
            }
        }
        "check-judged" => {
            let found = detail.get("differences").and_then(Value::as_array).cloned().unwrap_or_default();
            if found.is_empty() {
                "passes its quality check".into()
            } else {
                let words: Vec<String> = found
                    .iter()
                    .map(|d| {
                        format!("{}: expected {}, found {}", cell(d, "path"), cell(d, "expected"), cell(d, "actual"))
                    })
                    .collect();
                format!("does not pass its quality check: {}", words.join("; "))
            }
        }
        "order-closed" => format!("order closed: {}", cell(&detail, "outcome")),
        "agent-refused" => format!("the agent refused: {}", cell(&detail, "reason")),
        "impostor-seen" => format!("IMPOSTOR: {}", cell(&detail, "why")),
        "deadline-passed" => "the deadline passed".into(),
        "wipe-reported" => format!("wipe reported: {}", cell(&inner, "ok")),
        _ => String::new(),
    }
}

fn located(detail: &Value) -> String {
    let Some(located) = detail.get("located") else { return String::new() };
    for (word, said) in [("verified", "verified at"), ("single", "seen at")] {
        if let Some(spot) = located.get(word) {
            return format!(", {said} {}", crate::table::place(spot));
        }
    }
    match located.get("conflict").and_then(Value::as_str) {
        Some(text) => format!(", PLACE CONFLICT: {text}"),
        None => String::new(),
    }
}

/// A machine's whole log.
pub async fn print_events(api: &Api, id: &str, as_json: bool) -> Result<()> {
    let mut after = 0;
    loop {
        let page = api.get(&format!("/api/v1/machines/{id}/events?after={after}&limit=1000")).await?;
        let rows = page.as_array().cloned().unwrap_or_default();
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.get("seq").and_then(Value::as_i64).unwrap_or(i64::MAX);
        for row in &rows {
            if as_json {
                println!("{row}");
            } else {
                let at = row.get("at").and_then(Value::as_i64).unwrap_or_default();
                let text = sentence(row);
                let kind = cell(row, "kind");
                let text = if text.is_empty() { kind } else { format!("{kind}: {text}") };
                println!(
                    "{:>8}  {:>8} ago  {:<10} {text}",
                    cell(row, "seq"),
                    crate::table::ago(at),
                    cell(row, "actor")
                );
            }
        }
    }
}

/// Prints the site's log and follows it.
pub async fn follow(api: &Api, after: i64) -> Result<()> {
    let mut response = api.stream(after).await?;
    let mut rest = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(data) = String::from_utf8_lossy(&line).trim_end().strip_prefix("data: ") {
                println!("{data}");
            }
        }
    }
    Ok(())
}
