//! Tables and times for people.

use serde_json::Value;

/// Columns as wide as they must be; the last one runs free.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(&head.iter().map(|cell| cell.to_uppercase()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
}

/// A value of a JSON object as text; nothing for null.
pub fn cell(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
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
    let now = muster_conductor::now().0;
    let seconds = now.saturating_sub(millis).max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
