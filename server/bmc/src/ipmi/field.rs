//! Text fields of SDR and FRU records: four encodings, told by two bits before the length (IPMI 2.0, section 43.15;
//! FRU Information Storage Definition 1.2, section 13).
//!
//! The fifth encoding is what vendors do: UTF-8 where Latin 1 belongs, text that ends at a NUL, memory that was never
//! written. A field that says nothing is `None`.

/// An SDR's id string: type and length in one byte, then the text. The length may promise more than there is.
pub fn id_string(bytes: &[u8]) -> Option<String> {
    let (kind, value) = bytes.split_first()?;
    let value = value.get(..usize::from(kind & 0x1f)).unwrap_or(value);
    match kind >> 6 {
        0b00 => tidy(&unicode(value)),
        other => text(other, value),
    }
}

/// A FRU field with the two bits before its length. Kind 0 is binary there, and no text.
pub fn text(kind: u8, value: &[u8]) -> Option<String> {
    match kind {
        0b01 => tidy(&digits(value)),
        0b10 => tidy(&sixes(value)),
        0b11 => tidy(&latin(value)),
        _ => None,
    }
}

/// Two bytes a character, low byte first; where that cannot be, as [`latin`].
pub fn unicode(value: &[u8]) -> String {
    let (pairs, rest) = value.as_chunks::<2>();
    let wide = rest.is_empty() && !pairs.is_empty() && pairs.iter().any(|[_, high]| *high == 0);
    match wide {
        true => String::from_utf16_lossy(&pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect::<Vec<_>>()),
        false => latin(value),
    }
}

pub fn latin(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_string(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// BCD plus: two digits a byte, high one first.
fn digits(value: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ' ', '-', '.', ':', ',', '_'];
    let digit = |at: u8| DIGITS.get(usize::from(at)).copied().unwrap_or(' ');
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

/// Four characters in three bytes, lowest bits first, counted from the space.
fn sixes(value: &[u8]) -> String {
    let mut out = String::new();
    for chunk in value.chunks(3) {
        let bits = chunk.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for at in 0..chunk.len() * 8 / 6 {
            out.push(char::from(b' ' + (bits >> (6 * at) & 0x3f) as u8));
        }
    }
    out
}

/// What is meant to be read of it: up to the first NUL, without control characters, filler and outer space.
pub fn tidy(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\0');
    let text = text.split('\0').next().unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{ff}' || c == '\u{fffd}');
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_of_the_four_encodings_is_read() {
        assert_eq!(id_string(b"\xc8CPUTEMP1").as_deref(), Some("CPUTEMP1"));
        assert_eq!(id_string(&[0x83, 0x29, 0xdc, 0xa6]).as_deref(), Some("IPMI"));
        assert_eq!(id_string(&[0x43, 0x12, 0xab, 0x3d]).as_deref(), Some("12 -3:"));
        assert_eq!(id_string(b"\x06F\0a\0n\0").as_deref(), Some("Fan"));
        assert_eq!(id_string(b"\x03Fan").as_deref(), Some("Fan"));
    }

    #[test]
    fn what_vendors_write_is_read_as_it_was_meant() {
        assert_eq!(text(0b11, b"PSU\0\0\0\0").as_deref(), Some("PSU"));
        assert_eq!(text(0b11, b"  SN 1 \x1b[2J").as_deref(), Some("SN 1 [2J"));
        assert_eq!(text(0b11, &[0xff; 8]), None);
        assert_eq!(text(0b11, b"    "), None);
        assert_eq!(text(0b11, "µ-ATX".as_bytes()).as_deref(), Some("µ-ATX"));
        assert_eq!(text(0b11, &[0xb5, b'-']).as_deref(), Some("µ-"));
        assert_eq!(text(0b00, b"\x01\x02\x03"), None);
        assert_eq!(id_string(b"\xdfshort").as_deref(), Some("short"), "a length beyond the record");
    }

    proptest! {
        #[test]
        fn no_field_panics_and_none_has_control_characters(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for found in [id_string(&bytes), text(1, &bytes), text(2, &bytes), text(3, &bytes)].into_iter().flatten() {
                prop_assert!(!found.chars().any(char::is_control));
                prop_assert_eq!(found.trim(), &found);
            }
        }
    }
}
