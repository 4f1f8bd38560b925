//! IPv4 and UDP headers for a reply to a machine that has no address yet (B1.4): the kernel would ask by ARP who has
//! the address, and nobody would answer.

use std::net::Ipv4Addr;

/// The IP packet for an `AF_PACKET` datagram socket. DF is clear (B1.28). None when the payload is too long for IP.
pub fn packet(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let length = udp_length.checked_add(20)?;
    let mut header = Vec::with_capacity(20);
    header.extend_from_slice(&[0x45, 0x10]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend_from_slice(&from.0.octets());
    header.extend_from_slice(&to.0.octets());
    let sum = checksum(&[&header]);
    let mut out = Vec::with_capacity(usize::from(length));
    for (at, byte) in header.iter().enumerate() {
        out.push(match at {
            10 => sum.to_be_bytes()[0],
            11 => sum.to_be_bytes()[1],
            _ => *byte,
        });
    }
    let mut udp = Vec::with_capacity(8);
    udp.extend_from_slice(&from.1.to_be_bytes());
    udp.extend_from_slice(&to.1.to_be_bytes());
    udp.extend_from_slice(&udp_length.to_be_bytes());
    let pseudo: Vec<u8> = [&from.0.octets()[..], &to.0.octets()[..], &[0, 17], &udp_length.to_be_bytes()[..]].concat();
    let sum = match checksum(&[&pseudo, &udp, &[0, 0], payload]) {
        0 => 0xffff,
        sum => sum,
    };
    udp.extend_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&udp);
    out.extend_from_slice(payload);
    Some(out)
}

/// RFC 1071. Every part but the last is of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        let (pairs, odd) = part.as_chunks::<2>();
        for pair in pairs {
            sum += u32::from(u16::from_be_bytes(*pair));
        }
        if let [last] = odd {
            sum += u32::from(*last) << 8;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FROM: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 4, 1), 67);
    const TO: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 4, 10), 68);

    #[test]
    fn b1_28_df_is_clear() {
        let bytes = packet(FROM, TO, &[1; 300]).unwrap();
        assert_eq!((bytes.len(), bytes[6] & 0x40), (328, 0));
    }

    #[test]
    fn a_payload_longer_than_ip_carries_is_refused() {
        assert!(packet(FROM, TO, &[0; 65507]).is_some());
        assert!(packet(FROM, TO, &[0; 65508]).is_none());
    }

    proptest! {
        /// A sum over a right checksum is all ones: both headers hold.
        #[test]
        fn both_checksums_hold(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let bytes = packet(FROM, TO, &payload).unwrap();
            prop_assert_eq!(checksum(&[&bytes[..20]]), 0);
            let length = u16::try_from(bytes.len() - 20).unwrap().to_be_bytes();
            let pseudo = [&bytes[12..20], &[0, 17], &length].concat();
            prop_assert_eq!(checksum(&[&pseudo, &bytes[20..]]), 0);
        }
    }
}
