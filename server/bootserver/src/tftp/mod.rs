//! The TFTP server: sockets, places and bytes around the pure rules of `netboot::tftp`.
//!
//! One task per listening socket reads requests and decides who gets in ([`desk`]); one task per transfer carries the
//! file ([`courier`]) from memory over a socket of its own, bound to the address that was asked. There is no directory
//! here: a name is a key, its content bytes.
//!
//! They run on threads of their own, and a transfer stays on the one it began on: a block is answered in microseconds
//! and then waited for, and tasks that wander between threads lose half their speed to the wandering.

mod burst;
mod counters;
mod courier;
mod desk;
mod sys;

pub use counters::Counters;
pub use sys::listen;

use crate::transfers::TransferWatch;
use bytes::Bytes;
use desk::Desk;
use futures_core::future::BoxFuture;
use muster_netboot::tftp::{Caps, Names, Rollover, WINDOW_CAP};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The files, in memory; asked once a request. `name` is normalised: no leading slash, no `..`.
pub trait Source: Send + Sync {
    /// What is there already; must not block.
    fn find(&self, name: &str, from: SocketAddr) -> Option<Bytes>;

    /// Whether a file that is not there is made when it is asked for, as a boot script is.
    fn is_made(&self, _name: &str) -> bool {
        false
    }

    /// Makes it. Dropping the future leaves nothing half-made behind.
    fn make<'a>(&'a self, _name: &'a str, _from: SocketAddr) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(None))
    }
}

/// Whether an address may be answered at all: a live lease, a known host or a configured subnet (A2.2). Asked for every
/// packet; must not block.
pub type Allow = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

pub struct Config {
    /// Bound by [`listen`].
    pub sockets: Vec<UdpSocket>,
    pub names: Names,
    pub caps: Caps,
    /// Most blocks in flight, at most 32.
    pub window: u16,
    pub rollover: Rollover,
    /// Everything from port 69 itself, for sites whose firewalls know no TFTP (B5.12). A forged ACK 0 is then as good
    /// as a real one: for networks where addresses cannot be forged.
    pub single_port: bool,
    pub counters: Arc<Counters>,
}

impl Config {
    pub fn new(sockets: Vec<UdpSocket>) -> Config {
        Config {
            sockets,
            names: Names::default(),
            caps: Caps::default(),
            window: WINDOW_CAP,
            rollover: Rollover::ToZero,
            single_port: false,
            counters: Arc::default(),
        }
    }
}

/// More threads than this never had more to do than the network brought.
const THREADS_MOST: usize = 4;

/// Serves until cancelled. Cancel-safe: dropping it ends all transfers.
///
/// # Errors
/// A socket that cannot be handed to the runtime, no threads, or a panic in a task.
pub async fn serve(
    config: Config,
    source: Arc<dyn Source>,
    allow: Allow,
    watch: Arc<dyn TransferWatch>,
    cancel: CancellationToken,
) -> io::Result<()> {
    let stop = cancel.child_token();
    let _dropped = stop.clone().drop_guard();
    let count = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MOST);
    let threads = (0..count).map(|_| thread(&stop)).collect::<io::Result<Vec<Handle>>>()?;
    let first = threads.first().cloned().ok_or_else(|| io::Error::other("there is no thread for TFTP"))?;
    match first.spawn(attend(config, threads, source, allow, watch, stop.clone())).await {
        Ok(ended) => ended,
        // The thread may end before the task that it runs.
        Err(_) if stop.is_cancelled() => Ok(()),
        Err(panic) => Err(io::Error::other(panic)),
    }
}

/// A thread that runs what it is given until `stop`.
fn thread(stop: &CancellationToken) -> io::Result<Handle> {
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (handle, stop) = (own.handle().clone(), stop.clone());
    std::thread::Builder::new().name("tftp".to_owned()).spawn(move || own.block_on(stop.cancelled()))?;
    Ok(handle)
}

async fn attend(
    config: Config,
    threads: Vec<Handle>,
    source: Arc<dyn Source>,
    allow: Allow,
    watch: Arc<dyn TransferWatch>,
    cancel: CancellationToken,
) -> io::Result<()> {
    let mut sockets = Vec::new();
    for socket in &config.sockets {
        socket.set_nonblocking(true)?;
        sockets.push(Arc::new(tokio::net::UdpSocket::from_std(socket.try_clone()?)?));
    }
    let desk = Arc::new(Desk::new(config, threads, source, allow, watch));
    let mut tasks = JoinSet::new();
    for socket in sockets {
        tasks.spawn(desk.clone().attend(socket));
    }
    tokio::select! {
        // First, for the end of the threads ends their tasks too.
        biased;
        () = cancel.cancelled() => Ok(()),
        ended = tasks.join_next() => match ended {
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(io::Error::other(panic)),
            None => Ok(()),
        },
    }
}
