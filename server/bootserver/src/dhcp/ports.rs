//! The sockets, one set an interface, and the way a reply takes through them.

use super::counters::Counters;
use super::{frame, sys};
use crate::Error;
use muster_netboot::{Destination, ReplyKind};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub const SERVER: u16 = 67;
pub const BOOT_SERVER: u16 = 4011;
const CLIENT: u16 = 68;

/// One listening socket.
pub struct Port {
    pub interface: String,
    pub number: u16,
    index: u32,
    socket: Socket,
}

/// All sockets of the server.
pub struct Ports {
    pub all: Vec<Port>,
    frames: OwnedFd,
}

/// A reply in bytes, and its way.
pub struct Outgoing {
    pub port: usize,
    pub bytes: Vec<u8>,
    pub kind: ReplyKind,
    pub destination: Destination,
    pub source: Ipv4Addr,
}

impl Ports {
    /// Opens 67 and 4011 on each interface. Another DHCP server on one of them is an error: two would answer.
    pub fn open(interfaces: &[String]) -> Result<Self, Error> {
        let mut all = Vec::new();
        for interface in interfaces {
            for number in [SERVER, BOOT_SERVER] {
                let opened = Port::open(interface, number);
                all.push(opened.map_err(|source| Error::Open {
                    interface: interface.clone(),
                    port: number,
                    source,
                })?);
            }
        }
        let frames = sys::packet_socket().map_err(|source| Error::Frames { source })?;
        Ok(Self { all, frames })
    }

    /// Sends all; refusals are counted and logged, for the client asks again.
    pub fn send(&self, replies: Vec<Outgoing>, counters: &Counters) {
        let mut batches: Vec<Vec<sys::Datagram>> = self.all.iter().map(|_| Vec::new()).collect();
        for Outgoing { port, bytes, kind, destination, source } in replies {
            let (Some(batch), Some(way)) = (batches.get_mut(port), self.all.get(port)) else { continue };
            counters.sent(match kind {
                ReplyKind::Offer => "offer",
                ReplyKind::Ack => "ack",
                ReplyKind::Nak => "nak",
            });
            let to = match destination {
                Destination::Relay(to) | Destination::Source(to) => to,
                Destination::Client(address) => SocketAddrV4::new(address, CLIENT),
                Destination::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT),
                Destination::Hardware(address, mac) => {
                    let packet = frame::packet((source, way.number), (address, CLIENT), &bytes);
                    let sent = packet.map(|packet| sys::send_frame(self.frames.as_fd(), way.index, mac.0, &packet));
                    if let Some(Err(error)) = sent {
                        counters.failed("send");
                        tracing::warn!(interface = way.interface, %mac, %address, %error, "a reply frame was refused");
                    }
                    continue;
                }
            };
            batch.push(sys::Datagram { bytes, to, from: source });
        }
        for (port, batch) in self.all.iter().zip(&batches) {
            let (refused, why) = sys::send(port.socket.as_fd(), batch);
            for _ in 0..refused {
                counters.failed("send");
            }
            if let Some(error) = why {
                tracing::warn!(interface = port.interface, refused, %error, "replies were refused by the kernel");
            }
        }
    }
}

impl Port {
    fn open(interface: &str, number: u16) -> std::io::Result<Self> {
        let index = sys::interface_index(interface)?;
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_broadcast(true)?;
        sys::prepare(socket.as_fd())?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, number).into())?;
        Ok(Self { interface: interface.to_owned(), number, index, socket })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
