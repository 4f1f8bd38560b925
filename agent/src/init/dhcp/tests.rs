//! The DHCP client against answers good and bad; no packet panics it.

use super::*;
use proptest::prelude::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 1, 2, 3]);

/// A server's packet with these options.
fn answer(options: &[u8]) -> Vec<u8> {
    let mut dhcp = vec![0; 240];
    put(&mut dhcp, 0, &[2, 1, 6, 0, 0, 0, 0, 9]);
    put(&mut dhcp, 16, &[10, 0, 0, 5]);
    put(&mut dhcp, 28, &MAC.0);
    put(&mut dhcp, 236, &COOKIE);
    dhcp.extend(options);
    let mut packet = wrap(&dhcp, Ipv4Addr::new(10, 0, 0, 1));
    put(&mut packet, 20, &[0, 67, 0, 68]);
    packet
}

const GOOD: [u8; 28] =
    [0, 53, 1, 5, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 254, 51, 4, 0, 0, 14, 16, 54, 4, 10, 0, 0, 1];

#[test]
fn an_answer_is_read_with_padding_and_without_an_end() {
    let lease = Lease {
        address: [10, 0, 0, 5].into(),
        mask: [255, 255, 255, 0].into(),
        gateway: Some([10, 0, 0, 254].into()),
        server: [10, 0, 0, 1].into(),
        seconds: 3600,
    };
    assert_eq!(read(&answer(&GOOD), MAC, 9), Some(Answer::Ack(lease)));
}

#[test]
fn somebody_elses_answer_is_not_ours() {
    assert_eq!(read(&answer(&GOOD), MAC, 8), None);
    assert_eq!(read(&answer(&GOOD), Mac([9; 6]), 9), None);
    let mut fragment = answer(&GOOD);
    fragment[6] = 0x20;
    assert_eq!(read(&fragment, MAC, 9), None);
    assert_eq!(read(&answer(&[53, 1, 5]), MAC, 9), None, "a lease without mask and server is none");
    assert_eq!(read(&answer(&[53, 1, 6, 255]), MAC, 9), Some(Answer::Nak));
}

#[test]
fn both_checksums_of_what_is_sent_are_right() {
    let packet = packet(Ask::Discover, MAC, 1, 0);
    assert_eq!(checksum(&packet[..20], 0), 0);
    let udp = &packet[20..];
    let pseudo = [&packet[12..20], &[0, 17], &(udp.len() as u16).to_be_bytes()[..]].concat();
    assert_eq!(checksum(udp, partial(&pseudo, 0)), 0);
}

#[test]
fn b1_20_the_client_id_is_the_one_ipxe_used() {
    let packet = packet(Ask::Request { address: [1, 2, 3, 4].into(), server: [5, 6, 7, 8].into() }, MAC, 1, 0);
    let dhcp = &packet[28..];
    assert_eq!(option(dhcp, 61), Some(&[1, 0x52, 0x54, 0, 1, 2, 3][..]));
    assert_eq!(option(dhcp, 50), Some(&[1, 2, 3, 4][..]));
    assert_eq!(option(dhcp, 57), Some(&[5, 0xc0][..]));
    assert!(dhcp.len() >= 300, "some relays drop shorter ones");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, options: Vec<u8>, cut in 0usize..400) {
        let _ = read(&bytes, MAC, 9);
        let mut packet = answer(&options);
        let _ = read(&packet, MAC, 9);
        packet.truncate(cut);
        let _ = read(&packet, MAC, 9);
    }
}
