//! Words of a file and where they stand: places, MACs, addresses, names and times as the formats write them.

use muster_names::{Mac, Millis};
use std::fmt;
use std::net::Ipv4Addr;

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Spot {
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place after this byte. Bytes within a character of UTF-8 take no column of their own.
    pub fn after(self, byte: u8) -> Self {
        match byte {
            b'\n' => Self { line: self.line.saturating_add(1), column: 1 },
            0x80..=0xbf => self,
            _ => Self { column: self.column.saturating_add(1), ..self },
        }
    }

    /// The place after these bytes.
    pub fn past(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |spot, byte| spot.after(*byte))
    }
}

/// The lines of a file with their numbers; `\r` before the end is no part of them.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..)
        .zip(bytes.split(|byte| *byte == b'\n'))
        .map(|(number, line)| (number, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// Bytes as a person may see them in a message: short, and without what a terminal would obey.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 48;
    let text = String::from_utf8_lossy(bytes);
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = text.chars().map(clean).take(MOST + 1).collect();
    if text.chars().count() > MOST {
        text = text.chars().take(MOST).chain(std::iter::once('…')).collect();
    }
    text
}

/// A word as text, where it is text.
pub fn word(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(str::trim)
}

/// A hardware address in the forms that DHCP servers take: pairs of digits, single digits between colons, dotted fours,
/// twelve digits in a row.
pub fn mac(bytes: &[u8]) -> Result<Mac, String> {
    let wrong = || format!("{:?} is no MAC address; expected one like 52:54:00:aa:bb:cc", shown(bytes));
    let text = word(bytes).ok_or_else(wrong)?;
    let parts: Vec<&str> = text.split([':', '-']).take(7).collect();
    let mac = match <[&str; 6]>::try_from(parts) {
        Ok(parts) => {
            let mut octets = [0; 6];
            for (octet, part) in octets.iter_mut().zip(parts) {
                let digits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
                *octet = digits.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(wrong)?;
            }
            Mac(octets)
        }
        Err(_) => text.parse().map_err(|_| wrong())?,
    };
    if !mac.is_unicast() {
        return Err(format!("{mac} names no single machine; expected a MAC address of a network card"));
    }
    Ok(mac)
}

pub fn address(bytes: &[u8]) -> Result<Ipv4Addr, String> {
    let parsed = word(bytes).and_then(|text| text.parse::<Ipv4Addr>().ok());
    let parsed =
        parsed.filter(|address| !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast());
    parsed.ok_or_else(|| format!("{:?} is no IPv4 address of a machine; expected one like 10.0.4.17", shown(bytes)))
}

/// A host name: letters, digits, `-`, `_` and dots, at most 64, a letter or digit at both ends.
pub fn name(bytes: &[u8]) -> Result<String, String> {
    let wrong = || {
        format!(
            "{:?} is no host name; expected letters, digits, dashes and dots, at most 64; the machine goes without it",
            shown(bytes)
        )
    };
    let text = word(bytes).map(|text| text.strip_suffix('.').unwrap_or(text)).ok_or_else(wrong)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let ends = [text.bytes().next(), text.bytes().last()];
    let ends = ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()));
    if plain && ends && text.len() <= 64 && !text.contains("..") { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// Seconds since 1970.
pub fn epoch(bytes: &[u8]) -> Option<Millis> {
    let seconds: i64 = word(bytes)?.parse().ok()?;
    (0..=super::FOREVER.0 / 1000).contains(&seconds).then(|| Millis(seconds.saturating_mul(1000)))
}

/// `2026/11/26` and `20:00:00`, in UTC.
pub fn date(day: &[u8], clock: &[u8]) -> Option<Millis> {
    let [year, month, day] = numbers(day, b'/')?;
    let [hour, minute, second] = numbers(clock, b':')?;
    let calendar = (1970..=2099).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !calendar || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(Millis((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
}

fn numbers(bytes: &[u8], between: u8) -> Option<[i64; 3]> {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == between).take(4).collect();
    let [a, b, c] = <[&[u8]; 3]>::try_from(parts).ok()?.map(number);
    Some([a?, b?, c?])
}

fn number(bytes: &[u8]) -> Option<i64> {
    let digits = (1..=4).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    digits.then(|| word(bytes)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_a_dhcp_server_writes_a_mac_is_read() {
        let mac_is = Mac([0x52, 0x54, 0, 0xaa, 0xb, 0xc]);
        for text in ["52:54:0:aa:b:c", "52-54-00-AA-0B-0C", "5254.00aa.0b0c", "525400aa0b0c", " 52:54:00:aa:0b:0c "] {
            assert_eq!(mac(text.as_bytes()), Ok(mac_is), "{text}");
        }
        for wrong in ["", "52:54:00:aa:0b", "52:54:00:aa:0b:0c:0d", "52:54:00:aa:0b:123", "52:54:00:aa:0b:+c", "x"] {
            assert!(mac(wrong.as_bytes()).unwrap_err().contains("no MAC address"), "{wrong}");
        }
        for group in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
            assert!(mac(group.as_bytes()).unwrap_err().contains("no single machine"), "{group}");
        }
        assert!(mac(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn only_an_address_a_machine_may_have_is_one() {
        assert_eq!(address(b"10.0.4.17"), Ok(Ipv4Addr::new(10, 0, 4, 17)));
        for wrong in ["", "10.0.4", "10.0.4.256", "0.0.0.0", "255.255.255.255", "224.0.0.1", "fe80::1", "a.example"] {
            assert!(address(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_carries_nothing_but_a_name() {
        assert_eq!(name(b"node1.example.org.").as_deref(), Ok("node1.example.org"));
        assert_eq!(name(b"a_b-1").as_deref(), Ok("a_b-1"));
        let long = "n".repeat(65);
        for wrong in ["", "-a", "a-", "a b", "a..b", "a;b", "a\u{1b}[2J", "n\u{e4}me", long.as_str()] {
            assert!(name(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(!name(b"a\x1b[2J").unwrap_err().contains('\u{1b}'), "no message carries an order to a terminal");
    }

    #[test]
    fn times_are_those_of_the_calendar_in_utc() {
        assert_eq!(date(b"2026/11/26", b"20:00:00"), Some(Millis(1_795_723_200_000)));
        assert_eq!(date(b"2000/02/29", b"00:00:00"), Some(Millis(951_782_400_000)));
        assert_eq!(date(b"1970/01/01", b"00:00:01"), Some(Millis(1_000)));
        for (day, clock) in
            [("2026/13/01", "00:00:00"), ("2026/01/01", "24:00:00"), ("2026-01-01", "00:00:00"), ("9/9", "1")]
        {
            assert_eq!(date(day.as_bytes(), clock.as_bytes()), None, "{day} {clock}");
        }
        assert_eq!(epoch(b"1795723200"), Some(Millis(1_795_723_200_000)));
        assert_eq!((epoch(b"-1"), epoch(b"99999999999999"), epoch(b"x")), (None, None, None));
    }

    #[test]
    fn columns_count_characters_and_lines_forget_their_end() {
        let spot = Spot::START.past("é\u{1f600}x".as_bytes());
        assert_eq!((spot.line, spot.column), (1, 4));
        let spot = spot.past(b"\nab");
        assert_eq!(spot.to_string(), "2:3");
        let found: Vec<_> = lines(b"a\r\nb\n").collect();
        assert_eq!(found, [(1, &b"a"[..]), (2, b"b"), (3, b"")]);
    }

    #[test]
    fn every_day_of_the_calendar_from_1970_on_is_a_day_after_the_one_before() {
        let mut days = 0;
        for year in 1970..=2099 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, length) in (1..).zip(months) {
                for day in 1..=length {
                    let text = format!("{year}/{month:02}/{day:02}");
                    assert_eq!(date(text.as_bytes(), b"00:00:00"), Some(Millis(days * 86_400_000)), "{text}");
                    days += 1;
                }
            }
        }
        assert_eq!(date(b"1970/01/02", b"03:04:05"), Some(Millis(97_445_000)));
    }

    #[test]
    fn a_time_is_read_up_to_its_last_second_and_not_beyond() {
        for (day, clock, sound) in [
            ("2026/01/31", "23:59:60", true),
            ("2026/01/01", "00:00:61", false),
            ("2026/01/01", "00:60:00", false),
            ("2026/01/01", "24:00:00", false),
            ("2026/01/32", "00:00:00", false),
            ("2026/01/00", "00:00:00", false),
            ("2026/00/01", "00:00:00", false),
            ("2026/12/31", "00:00:00", true),
            ("2026/13/01", "00:00:00", false),
            ("1969/12/31", "00:00:00", false),
            ("2100/01/01", "00:00:00", false),
            ("02026/1/1", "00:00:00", false),
            ("2026/+1/1", "00:00:00", false),
            ("2026/1/1/1", "00:00:00", false),
            ("2026/1/1", "0:0:0", true),
            ("2026/1/1", "0:0:", false),
        ] {
            assert_eq!(date(day.as_bytes(), clock.as_bytes()).is_some(), sound, "{day} {clock}");
        }
        assert_eq!((epoch(b"0"), epoch(b"4102444800")), (Some(Millis(0)), Some(super::super::FOREVER)));
        assert_eq!(epoch(b"4102444801"), None);
    }

    #[test]
    fn what_is_shown_is_short_and_whole_up_to_forty_eight_signs() {
        assert_eq!(shown("é".repeat(48).as_bytes()), "é".repeat(48));
        for length in [49, 60] {
            assert_eq!(shown("é".repeat(length).as_bytes()), format!("{}…", "é".repeat(48)));
        }
        assert_eq!(shown(b"a\x1b\nb\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!((word(b" a b\t"), word(b"\xff")), (Some("a b"), None));
    }

    #[test]
    fn a_part_of_a_mac_has_two_digits_and_a_name_sixty_four_signs_at_most() {
        for wrong in ["52:54:00:aa:0b:00c", "52:54:00:aa:0b:", "52:54:00:aa:0b:0g"] {
            assert_eq!(
                mac(wrong.as_bytes()),
                Err(format!("{wrong:?} is no MAC address; expected one like 52:54:00:aa:bb:cc"))
            );
        }
        let longest = "n".repeat(64);
        assert_eq!(name(longest.as_bytes()), Ok(longest));
        assert_eq!(name(b"1").as_deref(), Ok("1"));
        for wrong in ["_a", ".a", "a_", "."] {
            assert!(name(wrong.as_bytes()).unwrap_err().contains(&format!("{wrong:?} is no host name")), "{wrong}");
        }
    }
}
