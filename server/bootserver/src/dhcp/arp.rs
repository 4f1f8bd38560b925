//! ARP as far as it is needed: to ask after an address in nobody's name (RFC 5227), and to hear who uses one.

use muster_names::Mac;
use std::net::Ipv4Addr;

/// Ethernet header and ARP for IPv4.
const LENGTH: usize = 42;
/// Ethernet, IPv4, and the lengths of both kinds of address.
const FORM: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// A probe: who has this address? Its sender's address is 0.0.0.0, so that nobody learns a wrong one from it.
pub fn probe(from: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut out = Vec::with_capacity(60);
    out.extend([0xff; 6]);
    out.extend(from.0);
    out.extend([8, 6]);
    out.extend(FORM);
    out.extend([0, 1]);
    out.extend(from.0);
    out.extend([0; 4]);
    out.extend([0; 6]);
    out.extend(address.octets());
    out.resize(60, 0);
    out
}

/// Who says in this frame that it uses which address. A probe of another host says nothing of the kind.
pub fn claim(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let (_, rest) = frame.get(..LENGTH)?.split_at_checked(12)?;
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let (form, rest) = rest.split_first_chunk::<6>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (address, _) = rest.split_first_chunk::<4>()?;
    let (address, mac) = (Ipv4Addr::from(*address), Mac(*mac));
    let sound = *kind == [8, 6] && *form == FORM && matches!(operation, [0, 1 | 2]);
    (sound && mac.is_unicast() && !address.is_unspecified()).then_some((address, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    /// A reply as a host sends it.
    fn reply(operation: u8, address: Ipv4Addr) -> Vec<u8> {
        let mut frame = probe(MAC, Ipv4Addr::new(10, 0, 4, 1));
        frame[21] = operation;
        frame[28..32].copy_from_slice(&address.octets());
        frame
    }

    #[test]
    fn b1_21_a_probe_teaches_nobody_a_wrong_address_and_a_reply_says_who_is_there() {
        let address = Ipv4Addr::new(10, 0, 4, 9);
        let bytes = probe(MAC, address);
        assert_eq!((bytes.len(), claim(&bytes)), (60, None));
        assert_eq!((&bytes[28..32], &bytes[38..42]), (&[0; 4][..], &[10, 0, 4, 9][..]));
        for operation in [1, 2] {
            assert_eq!(claim(&reply(operation, address)), Some((address, MAC)));
        }
        assert_eq!(claim(&reply(3, address)), None);
    }

    #[test]
    fn what_is_no_arp_of_ethernet_and_ipv4_claims_nothing() {
        let whole = reply(2, Ipv4Addr::new(10, 0, 4, 9));
        for (at, wrong) in [(12, 0x86), (15, 6), (16, 0x86), (18, 8), (19, 16), (20, 1), (22, 1)] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            assert_eq!(claim(&bytes), None, "{at}");
        }
        assert_eq!(claim(&whole[..41]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = claim(&bytes);
        }
    }
}
