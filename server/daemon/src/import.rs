//! `muster import`: the files of another DHCP server, read here, planned and carried out by the daemon.
//!
//! The files stay with the operator: what goes to the daemon are explicit rows, some hundreds a plan, so that a long
//! import holds up nobody and one can watch it. All plans are made and shown before the first is carried out. What was
//! broken off is done again: what is there already stays as it is.

use crate::ask::raw;
use crate::cli::{Format, Import, Output};
use crate::client::Api;
use crate::plan::go_on;
use crate::table::{cell, count, items, print_told};
use anyhow::{Context as _, Result, bail};
use muster_netboot::import::{Entry, Note, Reading, Row, Weight, clashes, read, rows};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;

/// Rows of one plan.
const AT_ONCE: usize = 250;
/// Larger than any site's file; what is longer is something else.
const LONGEST: u64 = 256 << 20;
/// Rows of one kind that a table shows; JSON has all.
const SHOWN: usize = 200;

pub async fn import(api: &Api, asked: &Import, output: Output) -> Result<ExitCode> {
    let mut files = Vec::new();
    for file in &asked.files {
        files.push((file.display().to_string(), reading(file, asked.format)?));
    }
    let read: Vec<(&str, &[Entry])> =
        files.iter().map(|(name, found)| (name.as_str(), found.entries.as_slice())).collect();
    let mut found = rows(read);
    for row in &mut found {
        row.machine |= asked.leases_are_machines;
        row.running |= asked.running && row.machine;
    }
    let notes: Vec<Value> =
        files.iter().flat_map(|(name, found)| found.notes.iter().map(|note| told(name, note))).collect();
    let broken = notes.iter().filter(|note| note.get("weight") == Some(&json!("broken"))).count();
    if output == Output::Table {
        tell_notes(&notes);
    }
    if found.is_empty() {
        bail!("nothing to import: no reservation and no running lease was found in {}", names(asked));
    }
    let (planned, left_out) = plan(api, found, asked, output).await?;
    let summed = sum(&planned);
    if output == Output::Table {
        tell(&planned, &left_out, &summed);
    }
    let whole = json!({ "notes": notes, "left-out": left_out, "plans": planned, "executed": null });
    if asked.dry_run {
        match output {
            Output::Json => raw(&whole)?,
            Output::Table => println!("nothing was changed (--dry-run)"),
        }
        let clean = summed.conflict == 0 && (broken == 0 || asked.leave_out);
        return Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let may = if broken > 0 && !asked.leave_out {
        Err(anyhow::anyhow!(
            "nothing was changed: {} that should be imported did not read; mend the files, or say --leave-out",
            count(broken, "place")
        ))
    } else if summed.conflict > 0 {
        Err(anyhow::anyhow!(
            "nothing was changed: {} with what is known; mend them, or say --leave-out",
            if summed.conflict == 1 { "1 row conflicts".into() } else { format!("{} rows conflict", summed.conflict) }
        ))
    } else if summed.new + summed.change == 0 {
        Ok(())
    } else {
        go_on(asked.yes)
    };
    if let Err(why) = may {
        if output == Output::Json {
            raw(&whole)?;
        }
        return Err(why);
    }
    // What is there already is not carried out again: the same files a second time leave no trace.
    let changing =
        |plan: &&Value| ["new", "change"].iter().any(|key| plan.get(*key).and_then(Value::as_u64) != Some(0));
    let going: Vec<&Value> = planned.iter().filter(changing).collect();
    let executed = execute(api, &going).await?;
    match output {
        Output::Json => raw(&json!({ "notes": notes, "left-out": left_out, "plans": planned, "executed": executed }))?,
        Output::Table if executed.is_empty() => println!("nothing to do: everything is known already"),
        Output::Table => println!("{}", said(&executed)),
    }
    Ok(ExitCode::SUCCESS)
}

fn names(asked: &Import) -> String {
    asked.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn reading(file: &Path, format: Format) -> Result<Reading> {
    let opened = std::fs::File::open(file).with_context(|| format!("{} does not open", file.display()))?;
    let mut bytes = Vec::new();
    opened.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("{} does not read", file.display()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LONGEST {
        bail!("{} is longer than {} MiB: no file of reservations or leases is", file.display(), LONGEST >> 20);
    }
    let format = match format {
        Format::Csv => muster_netboot::import::Format::Csv,
        Format::Isc => muster_netboot::import::Format::Isc,
        Format::Kea => muster_netboot::import::Format::Kea,
        Format::Dnsmasq => muster_netboot::import::Format::Dnsmasq,
    };
    Ok(read(format, &bytes, muster_conductor::now()))
}

fn told(file: &str, note: &Note) -> Value {
    let weight = match note.weight {
        Weight::Broken => "broken",
        Weight::Skipped => "skipped",
    };
    json!({ "file": file, "line": note.at.line, "column": note.at.column, "weight": weight, "text": note.text,
        "times": note.times })
}

fn tell_notes(notes: &[Value]) {
    for note in notes {
        let times = note.get("times").and_then(Value::as_u64).unwrap_or(1);
        let more = if times > 1 { format!(" ({times} times)") } else { String::new() };
        let weight = cell(note, "weight");
        println!(
            "{}:{}:{}: {weight}: {}{more}",
            cell(note, "file"),
            cell(note, "line"),
            cell(note, "column"),
            cell(note, "text")
        );
    }
    if !notes.is_empty() {
        println!();
    }
}

/// A row as the API takes it.
fn sent(row: &Row) -> Value {
    json!({ "source": row.source, "mac": row.mac, "address": row.address, "name": row.name, "reserved": row.reserved,
        "until": row.until, "machine": row.machine, "running": row.running })
}

/// Plans for all rows; with `--leave-out` again for those that do not conflict. Also what was left out, and why.
async fn plan(api: &Api, all: Vec<Row>, asked: &Import, output: Output) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut left_out = Vec::new();
    let clash = clashes(&all);
    let mut going = Vec::with_capacity(all.len());
    for (at, row) in all.into_iter().enumerate() {
        match clash.get(&at) {
            // Rows that contradict each other may lie in two plans, so it is seen here.
            Some(why) => {
                left_out.push(json!({ "source": row.source, "mac": row.mac, "address": row.address, "words": why }))
            }
            None => going.push(row),
        }
    }
    if !left_out.is_empty() && !asked.leave_out {
        let first = left_out.first().cloned().unwrap_or_default();
        if output == Output::Table {
            print_told(
                &["mac", "address", "from", "why it conflicts"],
                &left_out.iter().map(cells).collect::<Vec<_>>(),
            );
        }
        bail!(
            "nothing was changed: {} contradict each other in the files (first: {}: {}); mend them, or say --leave-out",
            count(left_out.len(), "row"),
            cell(&first, "source"),
            cell(&first, "words")
        );
    }
    let mut planned = Vec::new();
    let (mut done, total) = (0, going.len());
    for batch in going.chunks(AT_ONCE) {
        let rows: Vec<Value> = batch.iter().map(sent).collect();
        let mut plan = api.post("/api/v1/imports", &json!({ "rows": rows })).await?;
        if asked.leave_out && plan.get("executable") != Some(&Value::Bool(true)) {
            let judged = items(&plan, "rows");
            let conflicts = |one: &Value| one.get("verdict") == Some(&json!("conflict"));
            left_out.extend(judged.iter().filter(|one| conflicts(one)).cloned());
            let rest: Vec<&Value> =
                rows.iter().zip(&judged).filter(|(_, one)| !conflicts(one)).map(|(row, _)| row).collect();
            done += batch.len();
            if rest.is_empty() {
                continue;
            }
            plan = api.post("/api/v1/imports", &json!({ "rows": rest })).await?;
        } else {
            done += batch.len();
        }
        progress("planned", done, total);
        planned.push(plan);
    }
    Ok((planned, left_out))
}

/// On a terminal, where there is something to wait for.
fn progress(word: &str, done: usize, total: usize) {
    if total > AT_ONCE && std::io::stderr().is_terminal() {
        eprint!("\r{word} {done} of {total} rows ");
        if done >= total {
            eprintln!();
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    new: usize,
    change: usize,
    same: usize,
    conflict: usize,
}

fn sum(planned: &[Value]) -> Sum {
    let of = |key: &str| {
        let each = planned.iter().filter_map(|plan| plan.get(key)?.as_u64());
        usize::try_from(each.sum::<u64>()).unwrap_or(usize::MAX)
    };
    Sum { new: of("new"), change: of("change"), same: of("same"), conflict: of("conflict") }
}

fn cells(one: &Value) -> Vec<String> {
    vec![cell(one, "mac"), cell(one, "address"), cell(one, "source"), cell(one, "words")]
}

fn tell(planned: &[Value], left_out: &[Value], summed: &Sum) {
    let mut kinds: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for row in planned.iter().flat_map(|plan| items(plan, "rows")) {
        let line = vec![
            cell(&row, "mac"),
            cell(&row, "address"),
            cell(&row, "machine"),
            cell(&row, "source"),
            cell(&row, "words"),
        ];
        kinds.entry(cell(&row, "verdict")).or_default().push(line);
    }
    for (kind, words) in [("new", "New machines"), ("change", "Changes"), ("conflict", "Conflicts")] {
        let rows = kinds.remove(kind).unwrap_or_default();
        if !rows.is_empty() {
            println!("{words}: {}", rows.len());
            print_told(&["mac", "address", "machine", "from", "what"], rows.get(..SHOWN).unwrap_or(&rows));
            if rows.len() > SHOWN {
                println!("and {} more; --output json has all", rows.len() - SHOWN);
            }
            println!();
        }
    }
    if !left_out.is_empty() {
        println!("Left out: {}", left_out.len());
        print_told(&["mac", "address", "from", "why"], &left_out.iter().map(cells).collect::<Vec<_>>());
        println!();
    }
    println!(
        "{} new, {} changed, {} as they are, {} in conflict, {} left out",
        summed.new,
        summed.change,
        summed.same,
        summed.conflict,
        left_out.len()
    );
}

async fn execute(api: &Api, planned: &[&Value]) -> Result<Vec<Value>> {
    let mut executed = Vec::new();
    let total: usize = planned.iter().map(|plan| items(plan, "rows").len()).sum();
    let mut done = 0;
    for plan in planned {
        let begun = api.post(&format!("/api/v1/imports/{}/execute", cell(plan, "digest")), &json!({})).await;
        executed.push(begun.with_context(|| {
            format!("after {done} of {total} rows; import the same files again: what was done stays as it is")
        })?);
        done += items(plan, "rows").len();
        progress("imported", done, total);
    }
    Ok(executed)
}

/// `imported: 3 machines new, 3 in service, 4 reservations, 2 leases`
fn said(executed: &[Value]) -> String {
    let of = |key: &str| executed.iter().map(|one| items(one, key).len()).sum::<usize>();
    let number = |key: &str| executed.iter().filter_map(|one| one.get(key)?.as_u64()).sum::<u64>();
    let taken: Vec<Value> = executed.iter().flat_map(|one| items(one, "leases-taken")).collect();
    let mut text = format!(
        "imported: {} new, {} taken over in service, {} reservations, {} leases",
        count(of("new"), "machine"),
        of("adopted"),
        number("reservations"),
        number("leases")
    );
    if !taken.is_empty() {
        let taken: Vec<String> = taken.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect();
        text.push_str(&format!("; leased to others meanwhile, so not written: {}", taken.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_summed_over_all_plans() {
        let plans = [json!({ "new": 2, "change": 1, "same": 0, "conflict": 0 }), json!({ "new": 1, "same": 4 })];
        assert_eq!(sum(&plans), Sum { new: 3, change: 1, same: 4, conflict: 0 });
        let done = [
            json!({ "new": ["a", "b"], "adopted": ["a"], "reservations": 2, "leases": 1, "leases-taken": ["10.0.0.9"] }),
        ];
        assert_eq!(
            said(&done),
            "imported: 2 machines new, 1 taken over in service, 2 reservations, 1 leases; leased to others meanwhile, so not written: 10.0.0.9"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = reading(Path::new("/nonexistent/dhcpd.conf"), Format::Isc).unwrap_err().to_string();
        assert!(said.contains("/nonexistent/dhcpd.conf"), "{said}");
    }
}
