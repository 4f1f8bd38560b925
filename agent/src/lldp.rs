//! Who is at the other end of each cable: a listener for LLDP (IEEE 802.1AB) frames. It sends nothing.
//!
//! Switches speak every 30 s or so, and soon after a link comes up; the first inventory does not wait for them.

use crate::bytes::{array, be16, byte, text};
use crate::init::interface;
use muster_names::{Mac, Neighbor};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const ETHERTYPE: u16 = 0x88cc;
/// Nearest bridge, nearest non-TPMR bridge, nearest customer bridge.
const GROUPS: [[u8; 6]; 3] = [[1, 0x80, 0xc2, 0, 0, 0x0e], [1, 0x80, 0xc2, 0, 0, 0x03], [1, 0x80, 0xc2, 0, 0, 0x00]];

/// Reads a whole frame, Ethernet header first. `None` unless chassis and port are both told.
pub fn read(frame: &[u8]) -> Option<Neighbor> {
    let mut rest = match be16(frame, 12)? {
        ETHERTYPE => frame.get(14..)?,
        0x8100 if be16(frame, 16)? == ETHERTYPE => frame.get(18..)?,
        _ => return None,
    };
    let mut found = Neighbor::default();
    while let Some(head) = be16(rest, 0) {
        let (kind, len) = (head >> 9, usize::from(head & 0x1ff));
        let value = rest.get(2..2 + len)?;
        rest = rest.get(2 + len..)?;
        match kind {
            0 => break,
            1 => found.chassis = identity(value, 4, 5)?,
            2 => found.port = identity(value, 3, 4)?,
            4 => found.port_description = text(value),
            5 => found.system_name = text(value),
            _ => {}
        }
    }
    (!found.chassis.is_empty() && !found.port.is_empty()).then_some(found)
}

/// An id by its subtype: an address in its own spelling, else text, else hex. Chassis and port number the address
/// subtypes differently (PROTOCOLS B9.4).
fn identity(value: &[u8], mac: u8, network: u8) -> Option<String> {
    let subtype = byte(value, 0)?;
    let id = value.get(1..)?;
    if subtype == mac
        && let Ok(octets) = id.try_into()
    {
        return Some(Mac(octets).to_string());
    }
    if subtype == network {
        let address = match (byte(id, 0)?, id.len()) {
            (1, 5) => array::<4>(id, 1).map(|octets| Ipv4Addr::from(octets).to_string()),
            (2, 17) => array::<16>(id, 1).map(|octets| Ipv6Addr::from(octets).to_string()),
            _ => None,
        };
        return address.or_else(|| Some(crate::bytes::hex(id)));
    }
    let printable = id.iter().all(|b| matches!(b, 0 | 0x20..=0x7e)) || std::str::from_utf8(id).is_ok();
    let words = if printable { text(id) } else { Some(crate::bytes::hex(id)) };
    // Some agents send an address as text.
    words.map(|words| match words.parse::<Mac>() {
        Ok(address) if subtype == mac => address.to_string(),
        _ => words,
    })
}

/// A socket for one port's LLDP frames.
pub struct Ear {
    pub name: String,
    socket: OwnedFd,
}

impl Ear {
    pub fn open(name: &str) -> io::Result<Self> {
        let index = interface::index(name).map_err(io::Error::other)?;
        let protocol = ETHERTYPE.to_be();
        // SAFETY: socket() with constants.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol)) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: `sockaddr_ll` is plain data for which zeros are valid.
        let mut port: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        port.sll_family = libc::AF_PACKET as u16;
        port.sll_protocol = protocol;
        port.sll_ifindex = index;
        // SAFETY: address and size belong together and outlive the call.
        if unsafe { libc::bind(fd, (&raw const port).cast(), size_of::<libc::sockaddr_ll>() as u32) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for group in GROUPS {
            // SAFETY: as above.
            let mut join: libc::packet_mreq = unsafe { std::mem::zeroed() };
            join.mr_ifindex = index;
            join.mr_type = libc::PACKET_MR_MULTICAST as u16;
            join.mr_alen = 6;
            crate::bytes::put(&mut join.mr_address, 0, &group);
            let size = size_of::<libc::packet_mreq>() as u32;
            // SAFETY: option value and size belong together and outlive the call.
            let joined = unsafe {
                let value = (&raw const join).cast();
                libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, value, size)
            };
            if joined != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self { name: name.into(), socket })
    }

    fn hear(&self) -> Option<Neighbor> {
        let mut frame = [0; 2048];
        // SAFETY: the kernel writes at most the buffer's length.
        let got =
            unsafe { libc::recv(self.socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
        read(frame.get(..usize::try_from(got).ok()?)?)
    }
}

/// Waits up to `wait` and gives what was heard on each port, by the port's name.
pub fn listen(ears: &[Ear], wait: Duration) -> Vec<(String, Neighbor)> {
    let poll = |ear: &Ear| libc::pollfd { fd: ear.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut polls: Vec<libc::pollfd> = ears.iter().map(poll).collect();
    let millis = i32::try_from(wait.as_millis()).unwrap_or(1000);
    // SAFETY: a slice of pollfds and its length, which outlive the call.
    let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) };
    if ready < 1 {
        return Vec::new();
    }
    ears.iter().filter_map(|ear| Some((ear.name.clone(), ear.hear()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(kind: u16, value: &[u8]) -> Vec<u8> {
        [&(kind << 9 | u16::try_from(value.len()).unwrap()).to_be_bytes()[..], value].concat()
    }

    fn frame(tlvs: &[Vec<u8>]) -> Vec<u8> {
        [&[1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc][..], &tlvs.concat(), &[0, 0]].concat()
    }

    #[test]
    fn b9_4_ids_are_read_by_their_subtype() {
        let mac = [4, 0, 1, 2, 3, 4, 5];
        for (chassis, port, told) in [
            (&mac[..], &b"\x05swp12"[..], ("00:01:02:03:04:05", "swp12")),
            (b"\x0400:01:02:03:04:05", b"\x03\0\x01\x02\x03\x04\x05", ("00:01:02:03:04:05", "00:01:02:03:04:05")),
            (b"\x05\x01\x0a\0\0\x01", b"\x07Eth 1/1 \0", ("10.0.0.1", "Eth 1/1")),
            (b"\x07tor-a", b"\x04\x01\x0a\0\0\x02", ("tor-a", "10.0.0.2")),
            (b"\x01\xff\xfe", b"\x06\x01\x80", ("fffe", "0180")),
        ] {
            let found = read(&frame(&[tlv(1, chassis), tlv(2, port), tlv(3, &[0, 120])])).unwrap();
            assert_eq!((found.chassis.as_str(), found.port.as_str()), told);
        }
    }

    #[test]
    fn names_are_taken_and_what_lacks_an_id_is_nothing() {
        let ids = [tlv(1, b"\x07tor"), tlv(2, b"\x05p1")];
        let found = read(&frame(&[&ids[..], &[tlv(5, b"tor-a"), tlv(4, b"to node 3")]].concat())).unwrap();
        assert_eq!(found.system_name.as_deref(), Some("tor-a"));
        assert_eq!(found.switch_port().to_string(), "tor-a port p1");
        assert_eq!(read(&frame(&ids[..1])), None);
        let mut torn = frame(&ids);
        torn.truncate(20);
        assert_eq!(read(&torn), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, kind in 0u16..128, value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&frame(&[tlv(kind, &value)]));
        }
    }
}
