//! The sockets, a pair an interface: one for datagrams, one for the frames they came in.

use super::sys;
use crate::Error;
use muster_names::Mac;
use muster_netboot::v6::ReplyKind;
use socket2::{SockAddr, Socket};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;

pub const SERVER: u16 = 547;
/// Larger than any DHCPv6 message; what is longer arrives marked as truncated.
const SIZE: usize = 4096;
/// Senders whose frames are remembered until their datagrams are read.
const SENDERS: usize = 1024;

/// A datagram, and all that is known of its way.
pub struct Heard {
    pub port: usize,
    pub bytes: Vec<u8>,
    pub source: SocketAddrV6,
    pub unicast: bool,
    pub truncated: bool,
    /// The card it came from, when the frame was heard.
    pub mac: Option<Mac>,
}

/// A reply in bytes, and its way.
pub struct Outgoing {
    pub port: usize,
    pub bytes: Vec<u8>,
    pub kind: ReplyKind,
    pub to: SocketAddrV6,
}

pub struct Port {
    pub interface: String,
    index: u32,
    socket: AsyncFd<Socket>,
    tap: OwnedFd,
}

impl Port {
    pub fn open(interface: &str) -> Result<Arc<Self>, Error> {
        let fail = |source| Error::Open { interface: interface.to_owned(), port: SERVER, source };
        let index = crate::dhcp::interface_index(interface).map_err(fail)?;
        let socket = sys::listen(interface, index, SERVER).map_err(fail)?;
        let tap = sys::tap(index, SERVER).map_err(|source| Error::Frames { source })?;
        // SAFETY: the socket owns its descriptor, tells the same one for ever and is closed only with the `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(|error| fail(error.into()))?;
        Ok(Arc::new(Self { interface: interface.to_owned(), index, socket, tap }))
    }

    /// Waits for a datagram.
    ///
    /// Cancel-safety: what was not returned was not taken.
    pub async fn receive(&self, port: usize, senders: &mut Senders) -> io::Result<Heard> {
        let mut buffer = vec![0; SIZE];
        loop {
            let mut ready = self.socket.readable().await?;
            let Ok(origin) = ready.try_io(|socket| sys::receive(socket.get_ref().as_fd(), &mut buffer)) else {
                continue;
            };
            let origin = origin?;
            buffer.truncate(origin.length);
            senders.listen(&self.tap);
            let sys::Origin { source, unicast, truncated, .. } = origin;
            let mac = senders.heard.get(source.ip()).copied();
            return Ok(Heard { port, bytes: buffer, source, unicast, truncated, mac });
        }
    }

    pub fn send(&self, reply: &Outgoing) -> io::Result<()> {
        // What is of the link is told apart by the link it is on.
        let scope = if reply.to.ip().is_unicast_link_local() { self.index } else { 0 };
        let to = SocketAddrV6::new(*reply.to.ip(), reply.to.port(), 0, scope);
        self.socket.get_ref().send_to(&reply.bytes, &SockAddr::from(to)).map(|_| ())
    }
}

/// Whose frames were heard on one interface lately.
#[derive(Default)]
pub struct Senders {
    heard: BTreeMap<Ipv6Addr, Mac>,
}

impl Senders {
    /// Takes all frames that wait. The last word of an address counts.
    fn listen(&mut self, tap: &OwnedFd) {
        while let Ok(frame) = sys::hear(tap.as_fd()) {
            let Some((source, mac)) = frame else { continue };
            if self.heard.len() >= SENDERS {
                // Their datagrams were read long ago, but for the newest.
                self.heard.clear();
            }
            self.heard.insert(source, mac);
        }
    }
}
