//! Tables: the one an operator writes by hand or exports from an inventory, and the cells that Kea's lease file has.

use super::text::{self, Spot, lines, shown};
use super::{Entry, Given, Notes};

/// One cell and its place.
pub struct Cell {
    pub at: Spot,
    pub bytes: Vec<u8>,
}

/// Splits a line into cells. `Err` is the place of a quote that is not closed on its line.
pub fn cells(number: usize, line: &[u8], between: u8) -> Result<Vec<Cell>, Spot> {
    let mut cells = Vec::new();
    let (mut rest, mut spot) = (line, Spot { line: number, column: 1 });
    loop {
        let at = spot;
        let (bytes, taken) = match rest {
            [b'"', quoted @ ..] => {
                let (bytes, length) = unquoted(quoted).ok_or(at)?;
                // What stands between the closing quote and the next separator is no part of the cell.
                let behind = quoted.get(length..).unwrap_or_default();
                let gap = behind.iter().position(|byte| *byte == between).unwrap_or(behind.len());
                (bytes, 1 + length + gap)
            }
            rest => {
                let length = rest.iter().position(|byte| *byte == between).unwrap_or(rest.len());
                (rest.get(..length).unwrap_or_default().to_vec(), length)
            }
        };
        cells.push(Cell { at, bytes: bytes.trim_ascii().to_vec() });
        let (gone, left) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
        let Some((separator, behind)) = left.split_first() else { return Ok(cells) };
        spot = spot.past(gone).after(*separator);
        rest = behind;
    }
}

/// The text up to the closing quote, doubled ones halved, and how many bytes it took with that quote.
fn unquoted(quoted: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    loop {
        match (quoted.get(at)?, quoted.get(at + 1)) {
            (b'"', Some(b'"')) => {
                bytes.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some((bytes, at + 1)),
            (byte, _) => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
}

/// What a column of the table is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Mac,
    Address,
    Name,
    Running,
    Unknown,
}

fn column(head: &[u8]) -> Column {
    let head: Vec<u8> =
        head.iter().map(|byte| if matches!(byte, b' ' | b'_') { b'-' } else { byte.to_ascii_lowercase() }).collect();
    match head.as_slice() {
        b"mac" | b"mac-address" | b"hwaddr" | b"hw-address" => Column::Mac,
        b"address" | b"ip" | b"ip-address" | b"ipv4" => Column::Address,
        b"name" | b"hostname" | b"host-name" | b"host" => Column::Name,
        b"running" | b"in-service" => Column::Running,
        _ => Column::Unknown,
    }
}

pub fn read(bytes: &[u8], notes: &mut Notes) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut head: Option<(u8, Vec<Column>)> = None;
    for (number, line) in lines(bytes) {
        let blank = line.trim_ascii().is_empty() || line.starts_with(b"#");
        if blank {
            continue;
        }
        match &head {
            None => match header(number, line, notes) {
                Some(found) => head = Some(found),
                None => return entries,
            },
            Some((between, columns)) => match cells(number, line, *between) {
                Ok(cells) => entries.extend(entry(&cells, columns, notes)),
                Err(at) => notes.broken(at, "the quote is not closed; expected a \" before the end of the line"),
            },
        }
    }
    if head.is_none() {
        notes.broken(Spot::START, EXPECTED);
    }
    entries
}

const EXPECTED: &str = "the table has no column for MAC addresses; expected a first line like mac,address,name,running";

fn header(number: usize, line: &[u8], notes: &mut Notes) -> Option<(u8, Vec<Column>)> {
    let between = [b',', b';', b'\t'].into_iter().max_by_key(|mark| line.iter().filter(|byte| *byte == mark).count());
    // Of equals the last is taken, so a line without any is one column whatever it is split by.
    let between = between.unwrap_or(b',');
    let cells = cells(number, line, between).unwrap_or_default();
    let mut columns = Vec::with_capacity(cells.len());
    for cell in &cells {
        let found = column(&cell.bytes);
        if found == Column::Unknown {
            notes.skipped(cell.at, format!("column {:?}: it was skipped", shown(&cell.bytes)));
        } else if columns.contains(&found) {
            notes.broken(cell.at, format!("column {:?} says what an earlier one says", shown(&cell.bytes)));
        }
        columns.push(found);
    }
    if columns.contains(&Column::Mac) {
        return Some((between, columns));
    }
    notes.broken(Spot { line: number, column: 1 }, EXPECTED);
    None
}

fn entry(cells: &[Cell], columns: &[Column], notes: &mut Notes) -> Option<Entry> {
    let of = |wanted: Column| {
        let cell = columns.iter().position(|column| *column == wanted).and_then(|at| cells.get(at));
        cell.filter(|cell| !cell.bytes.is_empty())
    };
    let start = cells.first().map_or(Spot::START, |cell| cell.at);
    if cells.len() > columns.len() {
        let text = format!("{} cells; expected {}, as many as the first line has", cells.len(), columns.len());
        notes.broken(start, text);
        return None;
    }
    let Some(mac) = of(Column::Mac) else {
        notes.broken(start, "the row has no MAC address; expected one, by which Muster knows machines");
        return None;
    };
    let at = mac.at;
    let mac = text::mac(&mac.bytes).map_err(|why| notes.broken(at, why)).ok()?;
    let address = match of(Column::Address) {
        Some(cell) => Some(text::address(&cell.bytes).map_err(|why| notes.broken(cell.at, why)).ok()?),
        None => None,
    };
    let name = of(Column::Name).and_then(|cell| text::name(&cell.bytes).map_err(|why| notes.broken(cell.at, why)).ok());
    let running = match of(Column::Running) {
        None => false,
        Some(cell) => match cell.bytes.to_ascii_lowercase().as_slice() {
            b"yes" | b"true" | b"1" => true,
            b"no" | b"false" | b"0" => false,
            other => {
                notes.broken(cell.at, format!("running {:?}; expected yes or no", shown(other)));
                return None;
            }
        },
    };
    Some(Entry { at: start, mac, address, name, given: Given::Reservation, running })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, String> {
        let shown = |cell: &Cell| format!("{} {}", cell.at.column, String::from_utf8_lossy(&cell.bytes));
        let cells = cells(3, line.as_bytes(), b',').map_err(|at| at.to_string())?;
        Ok(cells.iter().map(shown).collect())
    }

    #[test]
    fn a_line_is_split_at_separators_outside_of_quotes_and_each_cell_has_its_place() {
        for (line, expected) in [
            ("", vec!["1 "]),
            ("a, b ,", vec!["1 a", "3 b", "7 "]),
            ("\"a\"\"b\" x,c,,\" d \"", vec!["1 a\"b", "10 c", "12 ", "13 d"]),
            ("\"a,b\",\"\"", vec!["1 a,b", "7 "]),
            ("a\"b,c", vec!["1 a\"b", "5 c"]),
        ] {
            assert_eq!(split(line), Ok(expected.into_iter().map(str::to_owned).collect()), "{line}");
        }
        for (line, at) in [("\"a", "3:1"), ("a,\"b\"\"", "3:3"), ("a,\"", "3:3")] {
            assert_eq!(split(line), Err(at.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_column_is_known_by_each_of_its_names_in_any_case() {
        let is = |names: &[&str], wanted: Column| names.iter().all(|name| column(name.as_bytes()) == wanted);
        assert!(is(&["mac", "MAC Address", "hwaddr", "hw_address"], Column::Mac));
        assert!(is(&["Address", "ip", "IP address", "ipv4"], Column::Address));
        assert!(is(&["name", "HostName", "host_name", "host"], Column::Name));
        assert!(is(&["running", "in service"], Column::Running));
        assert!(is(&["", "macs", "rack"], Column::Unknown));
    }

    #[test]
    fn a_row_says_whether_its_machine_runs_and_may_leave_out_what_comes_last() {
        for between in [",", ";", "\t"] {
            for (word, running) in
                [("yes", true), ("TRUE", true), ("1", true), ("No", false), ("false", false), ("0", false)]
            {
                let mut notes = Notes::default();
                let text =
                    ["#c", " ", "name,mac,running", &format!("n,52:54:00:00:00:01,{word}"), ",52:54:00:00:00:02"];
                let entries = read(text.join("\n").replace(',', between).as_bytes(), &mut notes);
                let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_deref(), entry.running)).collect();
                assert_eq!(found, [(Some("n"), running), (None, false)], "{word}");
                assert_eq!(notes.told(), []);
            }
        }
    }
}
