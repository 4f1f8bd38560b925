//! DHCPv4: bytes in, bytes out, and the lease durable before its ACK.
//!
//! One thread answers ([`desk`]), one task commits ([`committer`]); between them a bounded queue. A second thread listens
//! for other servers and asks after addresses ([`ear`]). What is answered is decided in `netboot`; here are sockets,
//! bytes, rates and the order of things.

mod arp;
mod committer;
mod counters;
mod desk;
mod ear;
mod frame;
mod gate;
mod ports;
mod queue;
mod read;
mod sys;
mod write;

pub use counters::Counters;
pub use read::{Malformed, parse, parse_reply};
pub use write::encode;

pub(crate) use desk::Clock;
pub(crate) use gate::{Exchange, Gate, Shut};
pub(crate) use sys::{interface_index, wait};

use crate::{Commit, Error, View, Watch};
use arc_swap::ArcSwap;
use committer::Committer;
use desk::Desk;
use ear::{Ear, Wishes, With};
use muster_netboot::{Leases, Networks};
use ports::Ports;
use queue::{News, Queue};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the server runs on.
pub struct Config {
    /// Swapped as a whole when the configuration changes; picked up before the next packet.
    pub networks: Arc<ArcSwap<Networks>>,
    /// Interfaces to listen on. A network that only relays reach needs none of its own; fixed until a restart.
    pub interfaces: Vec<String>,
    pub counters: Arc<Counters>,
}

/// Serves until cancelled. Returns early only when it cannot serve at all.
///
/// Cancel-safety: cancel by the token, not by dropping; a commit under way is finished and its ACKs leave.
pub async fn serve(
    config: Config,
    view: Arc<dyn View>,
    commit: Arc<dyn Commit>,
    watch: Arc<dyn Watch>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let rows = commit.load().await.map_err(|source| Error::Load { source })?;
    let ports = Arc::new(Ports::open(&config.interfaces)?);
    let queue = Arc::new(Queue::new().map_err(|source| Error::Frames { source })?);
    let wishes = Arc::new(Wishes::default());
    let with = With {
        networks: config.networks.clone(),
        queue: queue.clone(),
        wishes: wishes.clone(),
        watch: watch.clone(),
        counters: config.counters.clone(),
    };
    let ear = Ear::open(&config.interfaces, with)?;
    let deaf = cancel.child_token();
    // However this function ends, the ear ends with it.
    let _deaf = deaf.clone().drop_guard();
    let (silent, mut silence) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("dhcp-ear".to_owned());
    thread
        .spawn(move || {
            ear.run(&deaf);
            let _ = silent.send(());
        })
        .map_err(|source| Error::Thread { source })?;
    let desk = Desk {
        leases: Leases::restore(rows),
        gate: Gate::default(),
        networks: config.networks,
        ports: ports.clone(),
        queue: queue.clone(),
        view,
        watch: watch.clone(),
        counters: config.counters.clone(),
        wishes,
        clock: Clock::new(),
        named: desk::named(),
    };
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("dhcp".to_owned());
    thread
        .spawn(move || {
            // A panic drops the sender, which the other side reads as the thread's end.
            let _ = ended.send(desk.run());
        })
        .map_err(|source| Error::Thread { source })?;
    let stopping = cancel.child_token();
    let committer =
        Committer { queue: queue.clone(), ports, commit, watch, counters: config.counters, cancel: stopping.clone() };
    let mut heard = None;
    let ended = {
        let mut run = std::pin::pin!(committer.run());
        tokio::select! {
            () = &mut run => None,
            ended = &mut end => {
                stopping.cancel();
                run.await;
                Some(ended)
            }
            // Cancelled, or panicked.
            ear = &mut silence => {
                heard = Some(ear);
                stopping.cancel();
                run.await;
                None
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            queue.tell([News::Stop]);
            end.await
        }
    };
    if matches!(heard, Some(Err(_))) {
        return Err(Error::Panicked);
    }
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(Error::Receive { source }),
        Err(_) => Err(Error::Panicked),
    }
}
