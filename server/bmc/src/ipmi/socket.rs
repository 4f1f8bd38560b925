//! One UDP socket per address family for all BMCs, and who gets which datagram.
//!
//! A socket a BMC would be ten thousand of them for a fleet. A datagram goes to the mailbox with its sender's address
//! and its console session id; what fits no mailbox (late, forged, of a session given up) is dropped here.

use super::packet::{self, Packet};
use crate::{Fault, Settings};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::AbortHandle;

/// Replies come one at a time; more is a flood.
const MAILBOX: usize = 16;
const RECEIVE_BUFFER: usize = 4 << 20;

/// Bound at first use, one per family, gone with the engine.
#[derive(Default)]
pub struct Sockets {
    v4: OnceCell<Open>,
    v6: OnceCell<Open>,
}

struct Open {
    link: Arc<Link>,
    receiver: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

impl Sockets {
    /// A mailbox for one session with one BMC.
    pub async fn mailbox(&self, peer: SocketAddr, console: u32) -> Result<Mailbox, Fault> {
        let cell = if peer.is_ipv4() { &self.v4 } else { &self.v6 };
        let open = cell.get_or_try_init(|| async { Link::open(peer.is_ipv4()) }).await.map_err(Fault::Socket)?;
        let (sender, receiver) = mpsc::channel(MAILBOX);
        open.link.routes().entry(peer).or_default().push((console, sender));
        Ok(Mailbox { link: open.link.clone(), peer, console, receiver })
    }
}

type Route = (u32, mpsc::Sender<Vec<u8>>);

struct Link {
    socket: UdpSocket,
    routes: Mutex<HashMap<SocketAddr, Vec<Route>>>,
}

impl Link {
    fn open(v4: bool) -> std::io::Result<Open> {
        let any: SocketAddr = if v4 { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = socket2::Socket::new(socket2::Domain::for_address(any), socket2::Type::DGRAM, None)?;
        if !v4 {
            socket.set_only_v6(true)?;
        }
        // A wish: the kernel gives what its limit allows.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&any.into())?;
        let link = Arc::new(Self { socket: UdpSocket::from_std(socket.into())?, routes: Mutex::default() });
        let receiver = tokio::spawn(receive(link.clone())).abort_handle();
        Ok(Open { link, receiver })
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Vec<Route>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, peer: SocketAddr, datagram: &[u8]) {
        let addressee = match packet::parse(datagram) {
            Some(Packet::Plus(plus)) => plus.addressee(),
            Some(Packet::Bare { .. }) => None,
            None => return,
        };
        if let Some(routes) = self.routes().get(&peer) {
            for (console, sender) in routes {
                if addressee.is_none_or(|addressee| addressee == *console) {
                    let _ = sender.try_send(datagram.to_vec());
                }
            }
        }
    }
}

async fn receive(link: Arc<Link>) {
    let mut buffer = [0_u8; 1500];
    loop {
        match link.socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => link.deliver(peer, buffer.get(..length).unwrap_or_default()),
            Err(error) => {
                tracing::debug!(%error, "IPMI socket");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

pub struct Mailbox {
    link: Arc<Link>,
    peer: SocketAddr,
    console: u32,
    receiver: mpsc::Receiver<Vec<u8>>,
}

impl Mailbox {
    pub fn console(&self) -> u32 {
        self.console
    }

    /// A failed send (no route, a full neighbour table) is to us the same as a lost datagram.
    pub async fn send(&self, datagram: &[u8]) {
        if let Err(error) = self.link.socket.send_to(datagram, self.peer).await {
            tracing::debug!(%error, peer = %self.peer, "IPMI datagram not sent");
        }
    }

    /// Without waiting, for a destructor. It may be lost.
    pub fn send_now(&self, datagram: &[u8]) {
        let _ = self.link.socket.try_send_to(datagram, self.peer);
    }

    /// The next datagram, however long that takes.
    pub async fn next(&mut self) -> Vec<u8> {
        match self.receiver.recv().await {
            Some(datagram) => datagram,
            // The sender lies in the routes for as long as this mailbox lives.
            None => std::future::pending().await,
        }
    }

    /// The first datagram that `accept` takes before the time is up.
    pub async fn wait<T>(&mut self, wait: Duration, mut accept: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let datagram = tokio::time::timeout_at(until, self.receiver.recv()).await.ok()??;
            if let Some(taken) = accept(&datagram) {
                return Some(taken);
            }
        }
    }

    /// Sends the same bytes until an answer comes that `accept` takes: for the key exchange, whose messages have no
    /// effect twice.
    pub async fn exchange<T>(
        &mut self,
        settings: &Settings,
        datagram: &[u8],
        mut accept: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        for _ in 0..settings.sends {
            self.send(datagram).await;
            if let Some(taken) = self.wait(settings.answer, &mut accept).await {
                return Ok(taken);
            }
        }
        Err(Fault::NoAnswer(settings.answer * settings.sends))
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut routes = self.link.routes();
        if let Some(at_peer) = routes.get_mut(&self.peer) {
            at_peer.retain(|(console, _)| *console != self.console);
            if at_peer.is_empty() {
                routes.remove(&self.peer);
            }
        }
    }
}
