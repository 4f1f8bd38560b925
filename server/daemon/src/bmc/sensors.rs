//! What `muster bmc sensors` prints: every sensor with its value, what it is held against, and how it is.

use super::text;
use crate::cli::Output;
use crate::table::{plain_text, print_told};
use anyhow::Result;
use muster_bmc::{Bmcs, Health, Reading, Target};

const HEAD: [&str; 11] = [
    "sensor",
    "value",
    "unit",
    "health",
    "state",
    "low fatal",
    "low critical",
    "low warning",
    "high warning",
    "high critical",
    "high fatal",
];

pub async fn look(bmcs: &Bmcs, target: &Target, output: Output) -> Result<()> {
    let readings = sorted(bmcs.sensors(target).await?);
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&readings)?),
        Output::Table => {
            println!("{}", summary(&readings));
            print_told(&HEAD, &readings.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// By what they look at, and then as people count: FAN2 before FAN10.
fn sorted(mut readings: Vec<Reading>) -> Vec<Reading> {
    readings.sort_by_cached_key(|one| (one.kind, counted(&one.name)));
    readings
}

/// A name in pieces, its numbers as numbers.
fn counted(name: &str) -> Vec<(String, u64)> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(letters);
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (number, behind) = behind.split_at(digits);
        pieces.push((word.to_lowercase(), number.parse().unwrap_or(0)));
        rest = behind;
    }
    pieces
}

/// `13 sensors: 1 critical, 2 warning, 4 unknown`
fn summary(readings: &[Reading]) -> String {
    let told = [Health::Critical, Health::Warning, Health::Unknown].map(|health| {
        let number = readings.iter().filter(|one| one.health == health).count();
        (number > 0).then(|| format!("{number} {}", health.word()))
    });
    let told: Vec<String> = told.into_iter().flatten().collect();
    let all = crate::table::count(readings.len(), "sensor");
    if told.is_empty() { all } else { format!("{all}: {}", told.join(", ")) }
}

fn row(one: &Reading) -> Vec<String> {
    let limits = &one.thresholds;
    let mut row = vec![
        plain_text(&one.name),
        rounded(one.value),
        text(&one.unit),
        one.health.word().into(),
        if one.state.is_empty() { "-".into() } else { plain_text(&one.state.join(", ")) },
    ];
    let limits = [
        limits.lower_fatal,
        limits.lower_critical,
        limits.lower_warning,
        limits.upper_warning,
        limits.upper_critical,
        limits.upper_fatal,
    ];
    row.extend(limits.map(rounded));
    row
}

/// With three digits behind the point at most, and none that says nothing.
fn rounded(number: Option<f64>) -> String {
    let Some(number) = number else { return "-".into() };
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_bmc::{ReadingKind, Thresholds};

    fn reading(name: &str, kind: ReadingKind, value: Option<f64>, health: Health) -> Reading {
        let thresholds = Thresholds { upper_critical: Some(95.0), ..Thresholds::default() };
        Reading { name: name.into(), kind, value, unit: Some("rpm".into()), state: vec![], health, thresholds }
    }

    #[test]
    fn sensors_are_sorted_by_what_they_look_at_and_counted_as_people_count() {
        let names = ["Fan10", "Fan2", "CPU", "fan1"];
        let readings = names.map(|name| {
            let kind = if name == "CPU" { ReadingKind::Temperature } else { ReadingKind::Fan };
            reading(name, kind, None, Health::Ok)
        });
        let sorted: Vec<String> = sorted(readings.to_vec()).into_iter().map(|one| one.name).collect();
        assert_eq!(sorted, ["CPU", "fan1", "Fan2", "Fan10"]);
    }

    #[test]
    fn a_sensor_is_a_row_with_its_thresholds_and_no_orders_to_the_terminal() {
        let one = reading("F\u{1b}1", ReadingKind::Fan, Some(5400.25), Health::Critical);
        assert_eq!(row(&one)[..5], ["F\u{fffd}1", "5400.25", "rpm", "critical", "-"]);
        assert_eq!(row(&one)[5..], ["-", "-", "-", "-", "95", "-"]);
        assert_eq!(
            (rounded(Some(0.1 + 0.2)), rounded(Some(-0.0)), rounded(Some(100.0))),
            ("0.3".into(), "0".into(), "100".into())
        );
    }

    #[test]
    fn what_is_not_well_is_counted_before_the_list() {
        let all =
            [Health::Ok, Health::Critical, Health::Unknown].map(|health| reading("x", ReadingKind::Fan, None, health));
        assert_eq!(summary(&all), "3 sensors: 1 critical, 1 unknown");
        assert_eq!(summary(&all[..1]), "1 sensor");
    }
}
