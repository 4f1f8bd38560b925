//! Reading numbers out of bytes that come from firmware, disks and the network: every read is bounded and total.

/// `N` bytes at `at`, if they are there.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Copies `value` to `at`; what does not fit is left out. Callers write into buffers whose size they chose.
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Text of a field that firmware and switches pad with NULs and blanks; `None` when nothing is left.
pub fn text(bytes: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether all bytes are zero; looks at 64 at a time so that the compiler makes vector code of it.
pub fn is_zero(bytes: &[u8]) -> bool {
    // What equals itself moved by one is one byte over and over; comparing is the C library's, and quick in a program
    // that was compiled to be small.
    match bytes.split_first() {
        Some((first, rest)) => *first == 0 && bytes.get(..rest.len()) == Some(rest),
        None => true,
    }
}

/// The 16 bytes of a GUID as GPT, EFI and SMBIOS store it (first three fields little-endian) <-> in reading order.
pub fn swap_guid(guid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// `8-4-4-4-12` of 16 bytes in reading order.
pub fn dashed(id: [u8; 16]) -> String {
    let hex = hex(&id);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!(le32(&[1, 2, 3], 0), None);
        assert_eq!(le16(&[1, 2, 3], usize::MAX), None);
        assert_eq!(be16(&[1, 2, 3], 1), Some(0x0203));
    }

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0; 1000];
        assert!(is_zero(&bytes));
        for at in [0, 63, 64, 500, 999] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }

    #[test]
    fn a_guid_swapped_twice_is_itself() {
        let guid: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(swap_guid(swap_guid(guid)), guid);
        assert_eq!(dashed(swap_guid(guid)), "03020100-0504-0706-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn padding_is_no_text() {
        assert_eq!(text(b"  SN1 \0\0"), Some("SN1".into()));
        assert_eq!(text(b" \0 "), None);
    }
}
