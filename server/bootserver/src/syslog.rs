//! Receives the system logs of booting kernels and installers (UDP 514): only from addresses that `Listener` vouches
//! for, so many lines a second from each, nothing answered, nothing written to disk here.
//!
//! UDP sources can be forged, so a line is evidence for a person and moves nothing. TCP and TLS are turned down: what
//! runs in an initramfs speaks neither.

use muster_netboot::syslog::{Allowance, Line, NoLine, parse};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What a datagram may be long; the rest of a longer one is cut.
const LONGEST: usize = 2_048;
/// Sources whose allowance is remembered; more at once are not heard.
const MOST_SOURCES: usize = 16_384;

/// Who takes the lines. Asked between two datagrams: must not block.
pub trait Listener: Send + Sync {
    /// Whether this address is a machine's of ours.
    fn may_log(&self, from: IpAddr) -> bool;
    fn logged(&self, from: IpAddr, line: Line);
}

#[derive(Debug, Default)]
pub struct Counters {
    pub kept: AtomicU64,
    /// From addresses that have no lease of ours.
    pub foreign: AtomicU64,
    /// Over its source's allowance.
    pub too_many: AtomicU64,
    pub empty: AtomicU64,
    pub bad_priority: AtomicU64,
    pub socket_failed: AtomicU64,
}

impl Counters {
    /// (reason, count), in a fixed order.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        [
            ("kept", &self.kept),
            ("foreign", &self.foreign),
            ("too_many", &self.too_many),
            ("empty", &self.empty),
            ("bad_priority", &self.bad_priority),
            ("socket_failed", &self.socket_failed),
        ]
        .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
        .into()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// # Errors
/// The port is taken, or the right to it is missing.
pub fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Listens until cancelled.
///
/// # Errors
/// A socket that cannot be handed to the runtime.
pub async fn serve(
    socket: UdpSocket,
    listener: Arc<dyn Listener>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
) -> io::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut desk = Desk { listener, counters, sources: BTreeMap::new(), origin: Instant::now() };
    let mut buffer = vec![0; LONGEST];
    loop {
        let got = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            got = socket.recv_from(&mut buffer) => got,
        };
        match got {
            Ok((length, from)) => desk.received(buffer.get(..length).unwrap_or_default(), from.ip()),
            Err(_) => {
                count(&desk.counters.socket_failed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

struct Desk {
    listener: Arc<dyn Listener>,
    counters: Arc<Counters>,
    sources: BTreeMap<IpAddr, Allowance>,
    origin: Instant,
}

impl Desk {
    fn received(&mut self, bytes: &[u8], from: IpAddr) {
        if !self.listener.may_log(from) {
            return count(&self.counters.foreign);
        }
        if !self.may_say(from) {
            return count(&self.counters.too_many);
        }
        match parse(bytes) {
            Ok(line) => {
                count(&self.counters.kept);
                self.listener.logged(from, line);
            }
            Err(NoLine::Empty) => count(&self.counters.empty),
            Err(NoLine::Priority) => count(&self.counters.bad_priority),
        }
    }

    fn may_say(&mut self, from: IpAddr) -> bool {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&from) {
            self.sources.retain(|_, allowance| !allowance.is_full(now));
            if self.sources.len() >= MOST_SOURCES {
                return false;
            }
        }
        self.sources.entry(from).or_insert_with(|| Allowance::new(now)).take(now)
    }
}
