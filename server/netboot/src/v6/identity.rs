//! Which machine speaks (B4.3). A DUID names a piece of software: firmware, loader and system have one each, and with
//! it one machine would take three addresses. The card's own address is the same through the whole boot.

use super::request::{Ingress, Request};
use muster_names::Mac;
use std::net::Ipv6Addr;

const ETHERNET: u16 = 1;

/// The machine's hardware address, from the surest witness: the relay that heard the client (RFC 6939), the frame
/// itself, the interface identifier made of it, what the DUID says. `known` is asked last, for a DUID that says
/// nothing, such as one made of a UUID: it was heard before beside an address.
pub fn identify(request: &Request, ingress: Ingress<'_>, known: &dyn Fn(&[u8]) -> Option<Mac>) -> Option<Mac> {
    let heard = match request.relays.last() {
        Some(nearest) => {
            let told = request.relays.iter().rev().find_map(|relay| relay.link_layer.as_ref());
            told.and_then(|(kind, address)| ethernet(*kind, address)).or_else(|| eui64(nearest.peer))
        }
        None => ingress.heard.filter(|mac| mac.is_unicast()).or_else(|| eui64(ingress.source)),
    };
    let duid = request.client_id.as_deref();
    heard.or_else(|| link_layer(duid?)).or_else(|| known(duid?))
}

/// The address inside a DUID-LLT or DUID-LL.
pub fn link_layer(duid: &[u8]) -> Option<Mac> {
    match duid {
        [0, 1, high, low, _, _, _, _, address @ ..] | [0, 3, high, low, address @ ..] => {
            ethernet(u16::from_be_bytes([*high, *low]), address)
        }
        _ => None,
    }
}

/// The address inside a link-local one that was made of it (RFC 4291, appendix A).
pub fn eui64(address: Ipv6Addr) -> Option<Mac> {
    match address.octets() {
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f] => {
            Some(Mac([a ^ 2, b, c, d, e, f])).filter(|mac| mac.is_unicast())
        }
        _ => None,
    }
}

fn ethernet(kind: u16, address: &[u8]) -> Option<Mac> {
    let mac = Mac(address.try_into().ok()?);
    (kind == ETHERNET && mac.is_unicast()).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v6::request::{Kind, Relay};

    const NIC: Mac = Mac([0x52, 0x54, 0, 0x77, 1, 1]);
    const OTHER: Mac = Mac([0x52, 0x54, 0, 0x77, 1, 9]);
    const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe77, 0x101);
    const PRIVATE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1234, 0x5678, 0x9abc, 0xdef0);
    const UUID: [u8; 18] = [0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    fn from(source: Ipv6Addr, heard: Option<Mac>) -> Ingress<'static> {
        Ingress { interface: "eth0", source, source_port: 546, unicast: false, heard }
    }

    fn with(duid: &[u8]) -> Request {
        Request { client_id: Some(duid.to_vec()), ..Request::of(Kind::Solicit, 1) }
    }

    fn nobody(_: &[u8]) -> Option<Mac> {
        None
    }

    #[test]
    fn b4_3_on_our_own_link_the_frame_says_who_speaks_whatever_the_duid_says() {
        let foreign = [&[0, 3, 0, 1][..], &OTHER.0].concat();
        for duid in [&UUID[..], &foreign, &[0, 1, 0, 1, 9, 9, 9, 9, 1, 2]] {
            assert_eq!(identify(&with(duid), from(PRIVATE, Some(NIC)), &nobody), Some(NIC));
        }
        assert_eq!(identify(&with(&foreign), from(LOCAL, None), &nobody), Some(NIC), "its link-local address");
        assert_eq!(identify(&with(&foreign), from(PRIVATE, None), &nobody), Some(OTHER), "its DUID, at last");
    }

    #[test]
    fn b4_3_behind_a_relay_option_79_goes_before_everything_and_the_relays_own_frame_is_nobody() {
        let link = "fd00:77::1".parse().unwrap();
        let mut request = with(&UUID);
        request.relays = vec![Relay::new(link, PRIVATE), Relay::new(link, LOCAL)];
        assert_eq!(identify(&request, from(PRIVATE, Some(OTHER)), &nobody), Some(NIC), "the peer it heard");
        request.relays[1].link_layer = Some((1, OTHER.0.to_vec()));
        assert_eq!(identify(&request, from(PRIVATE, None), &nobody), Some(OTHER));
        request.relays[1].link_layer = Some((32, vec![0; 20]));
        assert_eq!(identify(&request, from(PRIVATE, None), &nobody), Some(NIC), "no Ethernet address");
        request.relays = vec![Relay::new(link, PRIVATE)];
        assert_eq!(identify(&request, from(PRIVATE, Some(OTHER)), &nobody), None);
        let known = |duid: &[u8]| (duid == UUID).then_some(NIC);
        assert_eq!(identify(&request, from(PRIVATE, None), &known), Some(NIC), "a UUID that was heard before");
    }

    #[test]
    fn b4_3_a_duid_gives_an_address_only_if_it_was_made_of_one() {
        let llt = [&[0, 1, 0, 1, 1, 2, 3, 4][..], &NIC.0].concat();
        let ll = [&[0, 3, 0, 1][..], &NIC.0].concat();
        assert_eq!((link_layer(&llt), link_layer(&ll)), (Some(NIC), Some(NIC)));
        for none in [&UUID[..], &[], &[0], &[0, 3, 0, 1], &[0, 3, 0, 1, 1, 2, 3, 4, 5], &[0, 3, 0, 6, 2, 0, 0, 0, 0, 1]]
        {
            assert_eq!(link_layer(none), None, "{none:?}");
        }
        assert_eq!(link_layer(&[0, 3, 0, 1, 1, 0, 0, 0, 0, 1]), None, "a group's address is no card's");
    }

    #[test]
    fn b4_3_a_link_local_address_that_was_drawn_by_lot_gives_no_hardware_address() {
        assert_eq!((eui64(LOCAL), eui64(PRIVATE)), (Some(NIC), None));
        assert_eq!(eui64("2001:db8::5054:ff:fe77:101".parse().unwrap()), None, "not of the link");
    }

    #[test]
    fn b4_3_the_bit_that_marks_an_interface_identifier_is_turned_whatever_it_was() {
        let of = |text: &str| eui64(text.parse().unwrap());
        assert_eq!(of("fe80::5054:ff:fe77:101"), Some(NIC));
        assert_eq!(of("fe80::277:1ff:fe01:203"), Some(Mac([0, 0x77, 1, 1, 2, 3])));
        assert_eq!(of("fe80::377:1ff:fe01:203"), None, "a group's address");
        assert_eq!(ethernet(1, &[2, 0, 0, 0, 0, 1]), Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!([ethernet(6, &[2, 0, 0, 0, 0, 1]), ethernet(1, &[1; 6]), ethernet(1, &[2; 5])], [None; 3]);
    }
}
