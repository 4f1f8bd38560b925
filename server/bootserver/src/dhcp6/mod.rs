//! DHCPv6: bytes in, bytes out, and the lease durable before its REPLY.
//!
//! Tasks where IPv4 has a thread of its own (decision record 0014): IPv6 boots few machines, and one task that owns the
//! leases and never waits for the store is short. What is answered is decided in `netboot`.

mod desk;
mod ports;
mod read;
mod sys;
mod write;

pub use read::{Malformed, parse};
pub use write::encode;

use crate::dhcp::{Clock, Counters, Gate};
use crate::{Commit6, Error, View, Watch};
use arc_swap::ArcSwap;
use desk::{Desk, Store};
use muster_netboot::Networks;
use muster_netboot::v6::{Leases, Silence};
use ports::{Heard, Port, Senders};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Datagrams between the sockets and the desk; what comes beyond them is dropped, and its client asks again.
const INBOX: usize = 1024;

/// What the server runs on.
pub struct Config {
    /// Swapped as a whole when the configuration changes; picked up before the next message.
    pub networks: Arc<ArcSwap<Networks>>,
    /// Interfaces to listen on; fixed until a restart.
    pub interfaces: Vec<String>,
    pub counters: Arc<Counters>,
}

/// The counters of this server, all at zero.
pub fn counters() -> Counters {
    Counters::of(&[
        (
            "received",
            &[
                "solicit",
                "request",
                "confirm",
                "renew",
                "rebind",
                "release",
                "decline",
                "information-request",
                "other",
                "truncated",
            ],
        ),
        ("sent", &["advertise", "reply"]),
        ("silent", &Silence::LABELS),
        (
            "dropped",
            &[
                "short",
                "relays",
                "empty",
                "identifier",
                "repeat",
                "machine-rate",
                "relay-rate",
                "flood",
                "queue-full",
                "too-old",
                "inbox-full",
            ],
        ),
        ("failed", &["send", "receive", "commit", "address-taken"]),
        ("committed", &["batches", "changes"]),
    ])
}

/// Serves until cancelled. Returns early only when it cannot serve at all.
///
/// Cancel-safety: cancel by the token, not by dropping; a commit under way is finished and its replies leave.
pub async fn serve(
    config: Config,
    view: Arc<dyn View>,
    commit: Arc<dyn Commit6>,
    watch: Arc<dyn Watch>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let rows = commit.load6().await.map_err(|source| Error::Load { source })?;
    let ports = config.interfaces.iter().map(|interface| Port::open(interface)).collect::<Result<Vec<_>, _>>()?;
    let (inbox, mut heard) = mpsc::channel(INBOX);
    let mut listeners = JoinSet::new();
    for (at, port) in ports.iter().enumerate() {
        listeners.spawn(listen(at, port.clone(), inbox.clone(), config.counters.clone()));
    }
    let mut desk = Desk {
        leases: Leases::restore(rows),
        gate: Gate::default(),
        current: config.networks.load_full(),
        networks: config.networks,
        ports,
        view,
        commit,
        watch,
        counters: config.counters,
        clock: Clock::new(),
        waiting: VecDeque::new(),
        store: Store::default(),
    };
    let ended = loop {
        tokio::select! {
            () = cancel.cancelled() => break Ok(()),
            Some(message) = heard.recv() => desk.packet(message),
            written = Desk::written(&mut desk.store) => desk.settle(written),
            Some(ended) = listeners.join_next() => break match ended {
                Ok(source) => Err(Error::Receive { source }),
                Err(_) => Err(Error::Panicked),
            },
        }
    };
    listeners.abort_all();
    desk.close().await;
    ended
}

/// Calls to the kernel that fail in a row before a socket is given up.
const PATIENCE: u32 = 100;

/// Reads one interface until its socket fails for good.
async fn listen(at: usize, port: Arc<Port>, inbox: mpsc::Sender<Heard>, counters: Arc<Counters>) -> std::io::Error {
    let mut senders = Senders::default();
    let mut failures = 0;
    loop {
        match port.receive(at, &mut senders).await {
            Ok(heard) => {
                failures = 0;
                if inbox.try_send(heard).is_err() {
                    counters.add("dropped", "inbox-full", 1);
                }
            }
            Err(error) => {
                // A link that went down says so once on its socket; only what stays broken ends the server.
                counters.add("failed", "receive", 1);
                failures += 1;
                if failures > PATIENCE {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
