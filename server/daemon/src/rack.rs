//! Racks as one stands before them: who is where, from top to bottom, and in which state.

use crate::ask::{raw, since};
use crate::cli::Output;
use crate::client::Api;
use crate::show::waits;
use crate::table::{cell, items, print, text};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `SITE/RACK`
fn name(rack: &Value) -> String {
    format!("{}/{}", cell(rack, "site"), cell(rack, "rack"))
}

async fn known(api: &Api) -> Result<(Vec<Value>, BTreeMap<String, Value>)> {
    let racks = api.get("/api/v1/racks").await?.as_array().cloned().unwrap_or_default();
    let machines = api.machines(None).await?;
    Ok((racks, machines.into_iter().map(|one| (cell(&one, "name"), one)).collect()))
}

pub async fn list(api: &Api, output: Output) -> Result<()> {
    let (racks, machines) = known(api).await?;
    if output == Output::Json {
        return raw(&Value::Array(racks));
    }
    let rows: Vec<Vec<String>> = racks
        .iter()
        .map(|rack| {
            let planned = items(rack, "machine");
            let mut states: BTreeMap<String, usize> = BTreeMap::new();
            for one in &planned {
                let state = machines.get(&cell(one, "name")).map_or("unknown".into(), |known| cell(known, "state"));
                *states.entry(state).or_default() += 1;
            }
            let states: Vec<String> = states.into_iter().map(|(state, number)| format!("{number} {state}")).collect();
            vec![name(rack), cell(rack, "units"), planned.len().to_string(), states.join(", ")]
        })
        .collect();
    print(&["rack", "units", "machines", "states"], &rows);
    Ok(())
}

pub async fn show(api: &Api, wanted: &str, output: Output) -> Result<()> {
    let (racks, machines) = known(api).await?;
    let Some(rack) = racks.iter().find(|rack| name(rack) == wanted || cell(rack, "rack") == wanted) else {
        let known: Vec<String> = racks.iter().map(name).collect();
        bail!("there is no rack {wanted:?}; known are: {}", known.join(", "));
    };
    if output == Output::Json {
        let here: Vec<&Value> =
            items(rack, "machine").iter().filter_map(|one| machines.get(&cell(one, "name"))).collect();
        return raw(&json!({ "rack": rack, "machines": here }));
    }
    println!("{}, {} U", name(rack), cell(rack, "units"));
    print!("{}", elevation(rack, &machines));
    Ok(())
}

/// From the top unit to the bottom one; free units that follow each other share a line.
fn elevation(rack: &Value, machines: &BTreeMap<String, Value>) -> String {
    let number = |object: &Value, key: &str| object.get(key).and_then(Value::as_u64);
    let mut planned = items(rack, "machine");
    planned.sort_by_key(|one| std::cmp::Reverse(number(one, "u").unwrap_or(0)));
    let mut top = number(rack, "units").unwrap_or(0);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let units = |low: u64, high: u64| if low == high { format!("U{low}") } else { format!("U{high}-U{low}") };
    let free = |rows: &mut Vec<Vec<String>>, low: u64, high: u64| {
        if low <= high {
            rows.push(vec![units(low, high), "free".into()]);
        }
    };
    for one in &planned {
        let low = number(one, "u").unwrap_or(1);
        let high = low + number(one, "height").unwrap_or(1).max(1) - 1;
        free(&mut rows, high + 1, top);
        let known = machines.get(&cell(one, "name")).cloned().unwrap_or_default();
        rows.push(vec![
            units(low, high),
            cell(one, "name"),
            cell(&known, "state"),
            since(&known, "since"),
            cell(one, "model"),
            cell(one, "serial"),
            one.get("bmc").map_or("-".into(), |bmc| cell(bmc, "address")),
            waits(&known),
        ]);
        top = low.saturating_sub(1);
    }
    free(&mut rows, 1, top);
    text(&["units", "machine", "state", "since", "model", "serial", "bmc", "waits for"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_is_drawn_from_its_top_with_its_free_units() {
        let rack = json!({ "site": "s", "rack": "r", "units": 42, "machine": [
            { "name": "low", "u": 1, "height": 2, "model": "m" },
            { "name": "high", "u": 42, "model": "m", "serial": "X" } ] });
        let machines = BTreeMap::from([("low".to_string(), json!({ "name": "low", "state": "ready" }))]);
        let drawn = elevation(&rack, &machines);
        let lines: Vec<Vec<&str>> = drawn.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
        assert_eq!(
            lines.get(1..).unwrap(),
            [vec!["U42", "high", "-"], vec!["U41-U3", "free"], vec!["U2-U1", "low", "ready"]]
        );
    }
}
