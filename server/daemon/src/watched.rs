//! `muster machine bmc`, `bmc-log` and `readings`: what the watch over the BMCs knows of one machine.

use crate::ask::{raw, since};
use crate::cli::Output;
use crate::client::{Api, escaped};
use crate::table::{cell, clock, count, items, print};
use anyhow::Result;
use serde_json::Value;

pub async fn bmc(api: &Api, machine: &str, output: Output) -> Result<()> {
    let id = api.machine(machine).await?;
    let found = api.get(&format!("/api/v1/machines/{id}/bmc")).await?;
    if output == Output::Json {
        return raw(&found);
    }
    let reach = match cell(&found, "why").as_str() {
        "-" => cell(&found, "reach"),
        why => format!("{}: {why}", cell(&found, "reach")),
    };
    println!("{:<12}{}", "BMC", cell(&found, "address"));
    println!("{:<12}{reach}", "reach");
    println!("{:<12}{} ago, last answer {} ago", "visited", since(&found, "visited"), since(&found, "answered"));
    println!("{:<12}{}", "power", cell(&found, "power"));
    println!("{:<12}{}", "health", cell(&found, "health"));
    if let Some(seconds) = found.get("clock-offset-seconds").and_then(Value::as_i64) {
        println!("{:<12}{seconds:+} s against this site's", "its clock");
    }
    for gap in found.get("gaps").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        println!("{:<12}{}", "not read", crate::table::plain_text(gap));
    }
    let unwell = found.get("unwell").and_then(Value::as_object);
    let rows: Vec<Vec<String>> = unwell
        .into_iter()
        .flatten()
        .map(|(name, one)| {
            let states: Vec<&str> =
                one.get("state").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            vec![crate::table::plain_text(name), cell(one, "health"), crate::table::plain_text(&states.join(", "))]
        })
        .collect();
    println!("{:<12}{}", "sensors", count(items(&found, "sensors").len(), "sensor"));
    if !rows.is_empty() {
        println!();
        print(&["not well", "health", "state"], &rows);
    }
    Ok(())
}

pub async fn log(api: &Api, machine: &str, after: i64, output: Output) -> Result<()> {
    let id = api.machine(machine).await?;
    let (mut all, mut after) = (Vec::new(), after);
    loop {
        let page = api.get(&format!("/api/v1/machines/{id}/bmc/log?after={after}&limit=1000")).await?;
        let page = page.as_array().cloned().unwrap_or_default();
        let Some(last) = page.last().and_then(|one| one.get("n")?.as_i64()) else { break };
        after = last;
        all.extend(page);
    }
    if output == Output::Json {
        return raw(&Value::Array(all));
    }
    let row = |one: &Value| {
        let entry = one.get("entry").cloned().unwrap_or_default();
        vec![cell(one, "n"), time(&entry), cell(&entry, "health"), cell(&entry, "component"), cell(&entry, "message")]
    };
    print(&["n", "by its clock", "health", "about", "message"], &all.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn time(entry: &Value) -> String {
    let told = entry.get("time");
    let seconds = |key: &str| told.and_then(|told| told.get(key)).and_then(Value::as_i64);
    match (seconds("clock"), seconds("since-start")) {
        (Some(at), _) => clock(at.saturating_mul(1000)),
        (_, Some(at)) => format!("{at} s after its start"),
        _ => "-".into(),
    }
}

pub async fn readings(
    api: &Api,
    machine: &str,
    (grain, hours): (&str, u32),
    sensor: Option<&str>,
    output: Output,
) -> Result<()> {
    let id = api.machine(machine).await?;
    let from = muster_conductor::now().0.saturating_sub(i64::from(hours).saturating_mul(3_600_000));
    let mut path = format!("/api/v1/machines/{id}/bmc/readings?grain={grain}&from={from}");
    if let Some(sensor) = sensor {
        path.push_str(&format!("&sensor={}", escaped(sensor)));
    }
    let found = api.get(&path).await?;
    if output == Output::Json {
        return raw(&found);
    }
    let number =
        |one: &Value, key: &str| one.get(key).and_then(Value::as_f64).map_or("-".into(), |n| format!("{n:.1}"));
    let row = |one: &Value| {
        let at = one.get("at").and_then(Value::as_i64).map_or("-".into(), clock);
        vec![
            at,
            cell(one, "sensor"),
            number(one, "least"),
            number(one, "mean"),
            number(one, "most"),
            cell(one, "readings"),
        ]
    };
    let rows: Vec<Vec<String>> = found.as_array().into_iter().flatten().map(row).collect();
    print(&["from", "sensor", "least", "mean", "most", "readings"], &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_tells_its_time_by_the_bmcs_clock_or_since_its_start() {
        assert_eq!(time(&json!({"time": {"clock": 1_718_082_780}})), clock(1_718_082_780_000));
        assert_eq!(time(&json!({"time": {"since-start": 9}})), "9 s after its start");
        assert_eq!(time(&json!({"time": "untold"})), "-");
    }
}
