//! Which of two firmware versions is the newer one, or that nobody can tell.
//!
//! [`crate::Version`] claims put any two texts into some order, which is enough to say "not what the model claims". Here
//! the answer decides what a machine would be flashed with, so that a form that can be read in two ways has no order
//! unless both readings agree: makers count in decimal, in hexadecimal of fixed width, with a letter behind and with a word
//! before. Turned down: semantic versioning, which none of them follows.

use std::cmp::Ordering;

/// How `a` stands to `b`; `None` where the two cannot be compared.
///
/// Everything before the last blank is the family and has to be the same: `U46 v2.42` and `U58 v2.44` are firmware of two
/// boards. Behind it pieces are compared from the left, numbers as numbers; a piece that is missing is zero.
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    let ((family, a), (other, b)) = (split(a), split(b));
    if !family.eq_ignore_ascii_case(&other) {
        return None;
    }
    let (mut a, mut b) = (pieces(a).into_iter(), pieces(b).into_iter());
    loop {
        let order = match (a.next(), b.next()) {
            (Some((before, one)), Some((between, two))) if before == between => piece(one, two)?,
            (Some((".", one)), None) => piece(one, "0")?,
            (None, Some((".", two))) => piece("0", two)?,
            (None, None) => return Some(Ordering::Equal),
            _ => return None,
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
}

/// The family, and the version without the `v` that some put before it.
fn split(text: &str) -> (String, &str) {
    let text = text.trim();
    let (family, version) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
    let bare = version.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (family.split_whitespace().collect::<Vec<_>>().join(" "), bare.unwrap_or(version))
}

/// Runs of letters and digits, each with what stands before it.
fn pieces(mut text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (before, rest) = text.split_at(text.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(text.len()));
        let (piece, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()));
        found.push((before, piece));
        text = rest;
    }
    found
}

fn piece(a: &str, b: &str) -> Option<Ordering> {
    if a.eq_ignore_ascii_case(b) {
        return Some(Ordering::Equal);
    }
    if let (Some(one), Some(two)) = (marked_hex(a), marked_hex(b)) {
        return Some(number(one, two));
    }
    let plain = match (lettered(a), lettered(b), tagged(a), tagged(b)) {
        (Some((one, letter)), Some((two, other)), ..) => number(one, two).then(letter.cmp(&other)),
        (_, _, Some((word, one)), Some((other, two))) if word.eq_ignore_ascii_case(other) => number(one, two),
        _ => return None,
    };
    let hex = |text: &str| text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let letters = |text: &str| text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let two_readings = a.len() == b.len() && hex(a) && hex(b) && (letters(a) || letters(b));
    let as_hex = a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
    (!two_readings || as_hex == plain).then_some(plain)
}

/// The digits of `0x16`.
fn marked_hex(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

/// `10`, `4b`: digits, and at most one letter behind them.
fn lettered(text: &str) -> Option<(&str, Option<char>)> {
    let letter = text.chars().last().filter(char::is_ascii_alphabetic);
    let digits = if letter.is_some() { text.get(..text.len() - 1)? } else { text };
    let fits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| (digits, letter.map(|letter| letter.to_ascii_lowercase())))
}

/// `A00`, `rev4`: a word and its number.
fn tagged(text: &str) -> Option<(&str, &str)> {
    let (word, digits) = text.split_at(text.find(|c: char| c.is_ascii_digit())?);
    let fits = !word.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some((word, digits))
}

/// Of any length: no number is too long to be compared.
fn number(a: &str, b: &str) -> Ordering {
    let plain = |digits: &str| digits.trim_start_matches('0').to_ascii_lowercase();
    let (a, b) = (plain(a), plain(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_their_makers_count() {
        for (older, newer) in [
            ("1.9", "1.10"),
            ("1.8.2", "1.9.2"),
            ("4.40.29.00", "5.00.10.20"),
            ("01.02.0003", "1.02.4"),
            ("U46 v2.42", "U46 v2.44"),
            ("iLO 5 v2.72", "iLO  5 v2.100"),
            ("1.0", "1.0b"),
            ("3.4b", "3.8"),
            ("2.1a", "2.1b"),
            ("A00", "A11"),
            ("0x9", "0x16"),
            ("00.2A.2B", "00.2A.3B"),
            ("2.1", "2.1.1"),
            ("1.45-rev4", "1.45-rev10"),
            ("99999999999999999999999", "100000000000000000000000"),
        ] {
            assert_eq!(compare(older, newer), Some(Ordering::Less), "{older} {newer}");
            assert_eq!(compare(newer, older), Some(Ordering::Greater), "{newer} {older}");
        }
        for (one, same) in
            [("1.2", "01.02"), ("2.0", "2"), ("v2.42", "2.42"), ("P79 v1.45", "p79 1.45"), ("abc", "ABC")]
        {
            assert_eq!(compare(one, same), Some(Ordering::Equal), "{one} {same}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_not_at_all_has_no_order() {
        for (a, b) in [
            ("U46 v2.42", "U58 v2.44"),
            ("2.44", "U58 v2.44"),
            ("00.9A", "00.10"),
            ("A05", "B01"),
            ("0x16", "16"),
            ("1.45.455b66", "1.45.466a01"),
            ("2.1", "2.1-rc1"),
            ("2.1-3", "2.1.3"),
            ("2.1", "2.1-3"),
            ("alpha", "beta"),
            ("", "1"),
            ("1.66 Dec 13 2024", "1.67 Jan 20 2025"),
        ] {
            assert_eq!((compare(a, b), compare(b, a)), (None, None), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_two_texts_are_compared_the_same_from_both_sides(a in "\\PC{0,12}", b in "\\PC{0,12}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).map(Ordering::reverse));
            prop_assert_eq!(compare(&a, &a), Some(Ordering::Equal));
        }

        #[test]
        fn what_has_an_order_is_never_ordered_in_a_circle(
            a in "[v]?[0-9]{1,2}(\\.[0-9a-c]{1,3}){0,3}",
            b in "[v]?[0-9]{1,2}(\\.[0-9a-c]{1,3}){0,3}",
            c in "[v]?[0-9]{1,2}(\\.[0-9a-c]{1,3}){0,3}",
        ) {
            if let (Some(one), Some(two), Some(three)) = (compare(&a, &b), compare(&b, &c), compare(&a, &c))
                && one.is_le()
                && two.is_le()
            {
                prop_assert!(three.is_le(), "{a} {b} {c}");
                prop_assert!(three.is_lt() || (one.is_eq() && two.is_eq()), "{a} {b} {c}");
            }
        }

        #[test]
        fn dotted_numbers_always_have_an_order(a in proptest::collection::vec(0_u32..300, 1..5), b in proptest::collection::vec(0_u32..300, 1..5)) {
            let text = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            let longest = a.len().max(b.len());
            let filled = |numbers: &[u32]| { let mut all = numbers.to_vec(); all.resize(longest, 0); all };
            prop_assert_eq!(compare(&text(&a), &text(&b)), Some(filled(&a).cmp(&filled(&b))));
        }
    }
}
