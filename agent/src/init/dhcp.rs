//! A DHCP client (RFC 2131) for the boot image: one address for one port, renewed while the agent runs.
//!
//! Debian's kernel has no autoconfiguration, and a client of Debian's would bring a shell and scripts into the image.
//! The identity is the one iPXE used a moment ago (client-id = type and MAC), so that the server gives the same
//! address. Messages are built and read by pure functions; [`Client`] is the socket.

use crate::bytes::{array, be16, be32, byte, put};
use crate::{Error, Result};
use muster_names::Mac;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub mask: Ipv4Addr,
    pub gateway: Option<Ipv4Addr>,
    pub server: Ipv4Addr,
    pub seconds: u32,
}

/// What the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Discover,
    Request {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// Broadcast, so that any server may extend it.
    Renew {
        address: Ipv4Addr,
    },
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Offer(Lease),
    Ack(Lease),
    Nak,
}

/// The message in a whole IPv4 packet, broadcast from the client's port.
pub fn packet(ask: Ask, mac: Mac, xid: u32, secs: u16) -> Vec<u8> {
    let mut dhcp = vec![0; 240];
    put(&mut dhcp, 0, &[1, 1, 6, 0]);
    put(&mut dhcp, 4, &xid.to_be_bytes());
    put(&mut dhcp, 8, &secs.to_be_bytes());
    put(&mut dhcp, 28, &mac.0);
    put(&mut dhcp, 236, &COOKIE);
    let kind = if ask == Ask::Discover { 1 } else { 3 };
    dhcp.extend([53, 1, kind, 61, 7, 1]);
    dhcp.extend(mac.0);
    dhcp.extend([57, 2, 5, 0xc0, 55, 5, 1, 3, 6, 51, 54]);
    match ask {
        Ask::Discover => {}
        Ask::Request { address, server } => {
            dhcp.extend([50, 4]);
            dhcp.extend(address.octets());
            dhcp.extend([54, 4]);
            dhcp.extend(server.octets());
        }
        Ask::Renew { address } => put(&mut dhcp, 12, &address.octets()),
    }
    dhcp.push(255);
    dhcp.resize(dhcp.len().max(300), 0);
    let from = if let Ask::Renew { address } = ask { address } else { Ipv4Addr::UNSPECIFIED };
    wrap(&dhcp, from)
}

fn wrap(payload: &[u8], from: Ipv4Addr) -> Vec<u8> {
    let length = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
    let mut ip = vec![0; 20];
    put(&mut ip, 0, &[0x45, 0x10]);
    put(&mut ip, 2, &length(payload.len() + 28));
    put(&mut ip, 8, &[64, 17]);
    put(&mut ip, 12, &from.octets());
    put(&mut ip, 16, &[255; 4]);
    let sum = checksum(&ip, 0);
    put(&mut ip, 10, &sum.to_be_bytes());
    let mut udp = [CLIENT_PORT.to_be_bytes(), SERVER_PORT.to_be_bytes(), length(payload.len() + 8), [0, 0]].concat();
    udp.extend(payload);
    let pseudo = [ip.get(12..20).unwrap_or_default(), &[0, 17], &length(udp.len())].concat();
    let sum = checksum(&udp, partial(&pseudo, 0));
    put(&mut udp, 6, &if sum == 0 { [0xff; 2] } else { sum.to_be_bytes() });
    ip.extend(udp);
    ip
}

fn partial(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| match pair {
        [a, b] => sum + u32::from(u16::from_be_bytes([*a, *b])),
        [a] => sum + u32::from(*a) * 256,
        _ => sum,
    })
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = partial(bytes, start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Reads a whole IPv4 packet; `None` unless it is an answer to this client. Checksums are not looked at: between
/// virtual machines they are often left to the hardware.
pub fn read(packet: &[u8], mac: Mac, xid: u32) -> Option<Answer> {
    let header = usize::from(byte(packet, 0)? & 15) * 4;
    let plain = byte(packet, 0)? >> 4 == 4 && byte(packet, 9)? == 17 && be16(packet, 6)? & 0x3fff == 0;
    let udp = packet.get(header.max(20)..)?;
    if !plain || be16(udp, 0)? != SERVER_PORT || be16(udp, 2)? != CLIENT_PORT {
        return None;
    }
    let length = usize::from(be16(udp, 4)?);
    let dhcp = udp.get(8..length.min(udp.len()))?;
    let ours = byte(dhcp, 0)? == 2 && be32(dhcp, 4)? == xid && array(dhcp, 28).map(Mac)? == mac;
    (ours && array(dhcp, 236)? == COOKIE).then_some(())?;
    let address = |code: u8| option(dhcp, code).and_then(|value| array::<4>(value, 0)).map(Ipv4Addr::from);
    if option(dhcp, 53)? == [6] {
        return Some(Answer::Nak);
    }
    let lease = Lease {
        address: Ipv4Addr::from(array::<4>(dhcp, 16)?),
        mask: address(1)?,
        gateway: address(3).filter(|gateway| !gateway.is_unspecified()),
        server: address(54)?,
        seconds: option(dhcp, 51).and_then(|value| be32(value, 0))?,
    };
    (!lease.address.is_unspecified() && !lease.address.is_broadcast()).then_some(())?;
    match option(dhcp, 53)? {
        [2] => Some(Answer::Offer(lease)),
        [5] => Some(Answer::Ack(lease)),
        _ => None,
    }
}

/// The first option of that code.
fn option(dhcp: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = dhcp.get(240..)?;
    loop {
        match rest {
            [0, after @ ..] => rest = after,
            [255, ..] | [] | [_] => return None,
            [code, len, after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(*len))?;
                if *code == wanted {
                    return Some(value);
                }
                rest = after;
            }
        }
    }
}

/// A packet socket on one port.
pub struct Client {
    socket: OwnedFd,
    port: libc::sockaddr_ll,
    mac: Mac,
    started: Instant,
}

impl Client {
    pub fn open(name: &str, mac: Mac) -> Result<Self> {
        let what = |source| Error::Interface { name: name.into(), what: "open a packet socket", source };
        let protocol = (libc::ETH_P_IP as u16).to_be();
        // SAFETY: socket() with constants.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, i32::from(protocol)) };
        if fd < 0 {
            return Err(what(io::Error::last_os_error()));
        }
        // SAFETY: `fd` was just opened and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: `sockaddr_ll` is plain data for which zeros are valid.
        let mut port: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        port.sll_family = libc::AF_PACKET as u16;
        port.sll_protocol = protocol;
        port.sll_ifindex = super::interface::index(name)?;
        port.sll_halen = 6;
        port.sll_addr = [255, 255, 255, 255, 255, 255, 0, 0];
        let size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address and its size belong together and outlive the call.
        if unsafe { libc::bind(socket.as_raw_fd(), (&raw const port).cast(), size) } != 0 {
            return Err(what(io::Error::last_os_error()));
        }
        Ok(Self { socket, port, mac, started: Instant::now() })
    }

    fn send(&self, ask: Ask, xid: u32) {
        let secs = u16::try_from(self.started.elapsed().as_secs()).unwrap_or(u16::MAX);
        let packet = packet(ask, self.mac, xid, secs);
        let size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: buffer and address outlive the call. A packet that is not sent is like one that is lost.
        unsafe {
            let to = (&raw const self.port).cast();
            libc::sendto(self.socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), 0, to, size)
        };
    }

    fn wait<T>(&self, xid: u32, wait: Duration, pick: impl Fn(Answer) -> Option<T>) -> Option<T> {
        let until = Instant::now() + wait;
        let mut packet = [0; 2048];
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let millis = i32::try_from(left.as_millis()).unwrap_or(1000).saturating_add(1);
            // SAFETY: one pollfd that outlives the call.
            if unsafe { libc::poll(&raw mut poll, 1, millis) } < 1 {
                continue;
            }
            // SAFETY: the kernel writes at most the buffer's length.
            let got = unsafe {
                libc::recv(self.socket.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), libc::MSG_DONTWAIT)
            };
            let got = usize::try_from(got).ok().and_then(|got| packet.get(..got));
            if let Some(found) = got.and_then(|got| read(got, self.mac, xid)).and_then(&pick) {
                return Some(found);
            }
        }
    }

    /// Four-way exchange, tried anew with growing waits until `patience` is over.
    pub fn lease(&self, patience: Duration) -> Result<Lease> {
        let until = Instant::now() + patience;
        let mut wait = Duration::from_secs(1);
        let mut heard = "no server offered one";
        while Instant::now() < until {
            let xid = u32::from_be_bytes(crate::link::key::random()?);
            self.send(Ask::Discover, xid);
            let offer = self.wait(xid, wait, |answer| match answer {
                Answer::Offer(lease) => Some(lease),
                _ => None,
            });
            wait = (wait * 2).min(Duration::from_secs(16));
            let Some(offer) = offer else { continue };
            heard = "a server offered one and did not confirm it";
            for _ in 0..3 {
                self.send(Ask::Request { address: offer.address, server: offer.server }, xid);
                match self.wait(xid, Duration::from_secs(3), final_answer) {
                    Some(Some(lease)) => return Ok(lease),
                    Some(None) => break,
                    None => {}
                }
            }
        }
        Err(Error::Dhcp { reason: heard.into() })
    }

    /// `None`: the server took the address back or does not answer.
    pub fn renew(&self, lease: &Lease) -> Option<Lease> {
        let xid = u32::from_be_bytes(crate::link::key::random().ok()?);
        (0..3).find_map(|_| {
            self.send(Ask::Renew { address: lease.address }, xid);
            self.wait(xid, Duration::from_secs(4), final_answer)
        })?
    }
}

fn final_answer(answer: Answer) -> Option<Option<Lease>> {
    match answer {
        Answer::Ack(lease) => Some(Some(lease)),
        Answer::Nak => Some(None),
        Answer::Offer(_) => None,
    }
}

#[cfg(test)]
mod tests;
