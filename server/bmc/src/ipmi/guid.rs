//! A BMC's GUID and the machine's UUID: the same sixteen bytes, in an order that the specification left open for long.

/// The three byte orders in use: as SMBIOS 2.6 and later, as RFC 4122, and as the IPMI specification (reversed).
fn orders(guid: [u8; 16]) -> [[u8; 16]; 3] {
    let mut swapped = guid;
    for field in [0..4, 4..6, 6..8] {
        if let Some(bytes) = swapped.get_mut(field) {
            bytes.reverse();
        }
    }
    let mut reversed = guid;
    reversed.reverse();
    [swapped, guid, reversed]
}

fn text(bytes: [u8; 16]) -> String {
    let text = format!("{:032x}", u128::from_be_bytes(bytes));
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| text.get(part).unwrap_or_default()).join("-")
}

/// Every reading, each once; none of a GUID that was never set.
pub fn readings(guid: [u8; 16]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in orders(guid).map(text) {
        if guid != [0; 16] && guid != [0xff; 16] && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The likely one: SMBIOS's, unless only another one makes it a UUID of a version and variant that exist.
pub fn likely(guid: [u8; 16]) -> Option<String> {
    let told = readings(guid);
    let real = |text: &&String| {
        let digit = |at: usize| text.as_bytes().get(at).copied().unwrap_or(b'0');
        matches!(digit(14), b'1'..=b'8') && matches!(digit(19), b'8' | b'9' | b'a' | b'b')
    };
    told.iter().find(real).or(told.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMBIOS: [u8; 16] = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0xc7, 0x46, 0x88, 9, 10, 11, 12, 13, 14, 15];
    const UUID: &str = "00112233-4455-46c7-8809-0a0b0c0d0e0f";

    #[test]
    fn a_guid_has_the_uuid_among_its_readings() {
        assert!(readings(SMBIOS).contains(&UUID.to_string()));
        assert!(readings([0; 16]).is_empty() && readings([0xff; 16]).is_empty());
        assert_eq!(readings([7; 16]).len(), 1);
    }

    #[test]
    fn whatever_order_a_bmc_sends_a_real_uuid_is_found() {
        let [plain, _, _] = orders(SMBIOS);
        let [_, _, reversed] = orders(plain);
        for sent in [SMBIOS, plain, reversed] {
            assert_eq!(likely(sent).as_deref(), Some(UUID), "{sent:02x?}");
        }
        let of_no_version = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x06, 0, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(likely(of_no_version).as_deref(), Some("00112233-4455-0677-0009-0a0b0c0d0e0f"));
        assert_eq!(likely([0; 16]), None);
    }
}
