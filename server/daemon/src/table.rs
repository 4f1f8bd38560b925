//! Tables and times for people.

use serde_json::Value;

/// Columns as wide as they must be; the last one runs free.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    print!("{}", text(head, rows));
}

/// As [`print()`], without the columns that say nothing in any row.
pub fn print_told(head: &[&str], rows: &[Vec<String>]) {
    let told: Vec<bool> = (0..head.len())
        .map(|at| at == 0 || rows.iter().any(|row| row.get(at).is_some_and(|cell| cell != "-" && !cell.is_empty())))
        .collect();
    let pick = |cells: &[String]| -> Vec<String> {
        cells.iter().zip(&told).filter(|(_, told)| **told).map(|(cell, _)| cell.clone()).collect()
    };
    let head: Vec<&str> = head.iter().zip(&told).filter(|(_, told)| **told).map(|(cell, _)| *cell).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| pick(row)).collect();
    print!("{}", text(&head, &rows));
}

pub fn text(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&head.iter().map(|cell| cell.to_uppercase()).collect::<Vec<_>>());
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// What machines say of themselves ends here on a terminal, which obeys control characters: none comes through.
pub fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) => *text = plain_text(text),
        Value::Array(list) => list.iter_mut().for_each(|one| *one = plain(one.take())),
        Value::Object(map) => map.values_mut().for_each(|one| *one = plain(one.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    value
}

pub fn plain_text(text: &str) -> String {
    let foul =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if foul(c) { '\u{fffd}' } else { c }).collect()
}

/// A value of a JSON object as text; `-` for nothing.
pub fn cell(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) if text.is_empty() => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The elements of a list; none where there is no list.
pub fn items(object: &Value, key: &str) -> Vec<Value> {
    object.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// `demo/r1/U14`
pub fn place(object: &Value) -> String {
    match object.get("place") {
        Some(Value::Object(place)) => {
            let part = |key: &str| {
                place.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into)).unwrap_or_default()
            };
            format!("{}/{}/U{}", part("site"), part("rack"), part("u"))
        }
        _ => "-".into(),
    }
}

/// `3 s`, `4 min`, `2 h`, `5 d` since a time in milliseconds.
pub fn ago(millis: i64) -> String {
    span(muster_conductor::now().0.saturating_sub(millis))
}

/// A length of time; of a time that is over, nothing is left.
pub fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `2026-11-20 15:00:23`, in UTC.
pub fn clock(millis: i64) -> String {
    let (days, second) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000) / 1000);
    // Days since 1970 as a date, by eras of 400 years that begin in March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// `1 machine`, `3 machines`
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `8.6 GB`, in powers of ten, as disks are sold.
pub fn bytes(number: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, one)| number >= *one) {
        Some((unit, one)) => format!("{}.{} {unit}", number / one, number % one * 10 / one),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_gives_orders_to_the_operators_terminal() {
        let told = plain(serde_json::json!({ "serial": ["S\u{1b}[2J\u{7}\u{202e}1"], "n": 1 }));
        assert_eq!(told, serde_json::json!({ "serial": ["S\u{fffd}[2J\u{fffd}\u{fffd}1"], "n": 1 }));
    }
    use serde_json::json;

    #[test]
    fn columns_line_up_and_the_last_runs_free() {
        let rows =
            [vec!["a".to_string(), "long value".into(), "x".into()], vec!["bcd".into(), "-".into(), "yy".into()]];
        assert_eq!(text(&["n", "v", "w"], &rows), "N    V           W\na    long value  x\nbcd  -           yy\n");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (millis, said) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399_000, "2000-02-28 23:59:59"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_795_186_823_516, "2026-11-20 15:00:23"),
            (4_102_444_799_999, "2099-12-31 23:59:59"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            assert_eq!(clock(millis), said);
        }
    }

    #[test]
    fn nothing_is_a_dash_and_sizes_are_in_powers_of_ten() {
        let object = json!({ "a": null, "b": "", "c": 3, "place": { "site": "s", "rack": "r", "u": 7 } });
        assert_eq!(["a", "b", "c", "d"].map(|key| cell(&object, key)), ["-", "-", "3", "-"]);
        assert_eq!(place(&object), "s/r/U7");
        assert_eq!([bytes(8_589_934_592), bytes(999), bytes(1_000)], ["8.5 GB", "999 B", "1.0 kB"]);
        assert_eq!([span(1_000), span(-5), span(200_000), span(10_000_000)], ["1 s", "0 s", "3 min", "2 h"]);
        assert_eq!([count(1, "rack"), count(0, "rack")], ["1 rack", "0 racks"]);
    }
}
