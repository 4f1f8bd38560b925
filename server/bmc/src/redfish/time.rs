//! What a timestamp of Redfish says, as seconds since 1970 in UTC (ISO 8601, as DSP0266 narrows it).
//!
//! A BMC whose clock was never set writes 1970, or a date that no calendar has. Such a time is unknown: taken for a time
//! it would sort an event of today before all others. One without a zone is read by the zone that the BMC tells beside it,
//! and is unknown without one, since it is hours off and nobody can say by how many.

/// 1987: no BMC that speaks Redfish was set to anything before it.
const FIRST: i64 = 0x2000_0000;

/// `2024-06-11T00:13:00-05:00`, with a fraction or a blank instead of the T if need be. `zone` is what stands in for a
/// missing one, as [`offset`] reads it.
pub fn seconds(text: &str, zone: Option<i64>) -> Option<u32> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?.strip_prefix(['T', 't', ' '])?);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(rest.get(..8)?, ':', [2, 2, 2])?;
    let mut tail = rest.get(8..)?;
    if let Some(fraction) = tail.strip_prefix('.') {
        tail = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match tail.trim() {
        "" => zone?,
        tail => offset(tail)?,
    };
    // 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let clock = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second - offset;
    (clock >= FIRST).then(|| u32::try_from(clock).ok())?
}

/// Seconds east of Greenwich: `Z`, `+05:30`, `-0500`.
pub fn offset(text: &str) -> Option<i64> {
    let text = text.trim();
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let [hours, minutes] = match digits.len() {
        5 => numbers(digits, ':', [2, 2])?,
        4 => [number(digits.get(..2)?)?, number(digits.get(2..)?)?],
        _ => return None,
    };
    (hours <= 14 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn numbers<const N: usize>(text: &str, divider: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(divider);
    for (place, length) in found.iter_mut().zip(lengths) {
        *place = number(parts.next().filter(|part| part.len() == length)?)?;
    }
    parts.next().is_none().then_some(found)
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days since 1970, of a date that the calendar has; by years that begin in March, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = 365 * year + year / 4 - year / 100 + year / 400;
    Some(before + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b7_13_a_timestamp_is_read_in_the_zone_it_names() {
        for (text, at) in [
            ("2024-06-11T00:13:00-05:00", 1_718_082_780),
            ("2024-06-11T05:13:00Z", 1_718_082_780),
            ("2024-06-11t05:13:00.123456z", 1_718_082_780),
            ("2024-06-11 10:43:00+0530", 1_718_082_780),
            ("2000-02-29T12:00:00+00:00", 951_825_600),
            ("2025-12-31T23:59:60Z", 1_767_225_600),
        ] {
            assert_eq!(seconds(text, None), Some(at), "{text}");
        }
    }

    #[test]
    fn b7_13_a_time_that_no_clock_was_set_for_is_unknown_and_not_1970() {
        for text in [
            "0000-00-00T00:00:00Z",
            "1970-01-01T00:00:42Z",
            "1969-12-31T23:59:59Z",
            "1986-12-31T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-06-31T00:00:00Z",
            "2024-06-11T24:00:00Z",
            "2024-06-11T05:13Z",
            "2024-06-11T05:13:00+25:00",
            "2024-06-11T05:13:00 CET",
            "2200-01-01T00:00:00Z",
            "Tue Jun 11 05:13:00 2024",
            "",
        ] {
            assert_eq!(seconds(text, Some(0)), None, "{text}");
        }
    }

    #[test]
    fn b7_13_a_time_without_a_zone_has_the_bmcs_or_is_unknown() {
        assert_eq!(seconds("2024-06-11T00:13:00", None), None);
        assert_eq!(seconds("2024-06-11T00:13:00", offset("-05:00")), Some(1_718_082_780));
        assert_eq!((offset("+05:30"), offset("-0500"), offset("Z")), (Some(19_800), Some(-18_000), Some(0)));
        for odd in ["", "05:00", "+5", "+05:60", "+15:00", "UTC"] {
            assert_eq!(offset(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_timestamp_panics_and_none_is_before_1987(text in "\\PC*", year in 0_u32..9999, rest in "[-0-9T:+Z. ]{0,24}") {
            let _ = (seconds(&text, None), offset(&text));
            let told = seconds(&format!("{year:04}{rest}"), Some(0));
            prop_assert!(told.is_none_or(|at| at >= 0x2000_0000));
        }
    }
}
