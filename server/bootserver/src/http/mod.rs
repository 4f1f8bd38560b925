//! The boot HTTP server: loaders, kernels, boot scripts and disk images for firmware and agents.
//!
//! Own HTTP/1.1 on the plain socket instead of a framework, because only so can a disk image go from the page cache to
//! the wire by sendfile(2), and because what firmware needs is little: GET, HEAD, one range, exact lengths, keep-alive
//! (decision record 0005); under TLS, for firmware, a file is copied (decision record 0015). `httparse` reads the head;
//! what is not understood is refused and the connection closed.
//!
//! Files and scripts come through [`Content`]; a path is a key and never joined to a directory.

mod answer;
mod body;
mod connection;
mod counters;
mod ffdhe;
mod files;
mod head;
mod stream;
mod tls;

pub use body::{Body, Content, content_type};
pub use counters::Counters;
pub use files::{Entry, Files, FilesError, IN_MEMORY_MAX};
pub use head::{BadHead, HEAD_MAX, Head, Method, Parsed, Ranged, parse_head};
pub use tls::secured;

use crate::transfers::TransferWatch;
use connection::Site;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How much one client, and all of them, may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections: usize,
    pub connections_per_ip: u32,
    /// Files sent from disk at once. Above it the answer is 503 with Retry-After, which spreads a hall's images after a
    /// power loss; what lies in memory (loaders, kernels, scripts) is always served.
    pub files: usize,
    /// For a request's head to be complete, from the moment the server waits for it; before it, for a TLS handshake.
    pub head: Duration,
    /// For the content to be found: edk2 gives up after 5 s without a byte (B3.4).
    pub open: Duration,
    /// Without one byte taken by the client.
    pub stall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 4096,
            connections_per_ip: 32,
            files: 512,
            head: Duration::from_secs(20),
            open: Duration::from_secs(3),
            stall: Duration::from_secs(30),
        }
    }
}

pub struct Config {
    /// Bound and listening.
    pub listeners: Vec<TcpListener>,
    /// The same content under TLS, within the same bounds.
    pub secured: Option<Secured>,
    pub bounds: Bounds,
    pub counters: Arc<Counters>,
}

/// Listeners that speak TLS, and as whom: [`secured`].
pub struct Secured {
    pub listeners: Vec<TcpListener>,
    pub tls: Arc<rustls::ServerConfig>,
}

impl Config {
    pub fn new(listeners: Vec<TcpListener>) -> Config {
        Config { listeners, secured: None, bounds: Bounds::default(), counters: Arc::default() }
    }
}

/// Serves until cancelled. Cancel-safe: dropping it closes all connections.
///
/// # Errors
/// A listener that cannot be handed to the runtime, or a panic in a task.
pub async fn serve(
    config: Config,
    content: Arc<dyn Content>,
    watch: Arc<dyn TransferWatch>,
    cancel: CancellationToken,
) -> io::Result<()> {
    let site = Arc::new(Site {
        content,
        watch,
        bounds: config.bounds,
        counters: config.counters,
        places: Arc::new(Semaphore::new(config.bounds.connections)),
        files: Arc::new(Semaphore::new(config.bounds.files)),
        per_ip: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    let plain = config.listeners.into_iter().map(|listener| (listener, None));
    let under_tls = config.secured.into_iter().flat_map(|Secured { listeners, tls }| {
        let tls = TlsAcceptor::from(tls);
        listeners.into_iter().map(move |listener| (listener, Some(tls.clone())))
    });
    for (listener, tls) in plain.chain(under_tls) {
        listener.set_nonblocking(true)?;
        tasks.spawn(accept(tokio::net::TcpListener::from_std(listener)?, tls, site.clone()));
    }
    tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(io::Error::other(panic)),
            None => Ok(()),
        },
    }
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, site: Arc<Site>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        // A place first: when all are taken, new clients wait in the kernel's queue.
        let place = site.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => break accepted,
                    // Out of descriptors, or a client that left: neither is cured by hurry.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
                Some(ended) = connections.join_next() => ended.map_err(io::Error::other)?,
            }
        };
        counters::count(&site.counters.connections);
        let Some(seat) = Seat::take(&site, peer.ip()) else {
            counters::count(&site.counters.full_address);
            continue;
        };
        let (site, tls) = (site.clone(), tls.clone());
        connections.spawn(async move {
            connection::run(&site, tls.as_ref(), stream, peer).await;
            drop((seat, place));
        });
    }
}

/// One of the connections an address may hold; given back when dropped.
struct Seat {
    site: Arc<Site>,
    ip: IpAddr,
}

impl Seat {
    fn take(site: &Arc<Site>, ip: IpAddr) -> Option<Seat> {
        let mut table: std::sync::MutexGuard<'_, BTreeMap<IpAddr, u32>> =
            site.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let held = table.entry(ip).or_insert(0);
        if *held >= site.bounds.connections_per_ip {
            return None;
        }
        *held += 1;
        Some(Seat { site: site.clone(), ip })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.site.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = table.get_mut(&self.ip) {
            *held -= 1;
            if *held == 0 {
                table.remove(&self.ip);
            }
        }
    }
}

/// Opens a listener that a restarted daemon can open again at once.
///
/// # Errors
/// The kernel's: no such address, the port taken.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
