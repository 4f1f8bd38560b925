//! What the answering thread and the committer tell each other: jobs one way, news the other.

use super::gate::Exchange;
use super::ports::Outgoing;
use super::sys;
use muster_netboot::{LeaseChange, LeaseState, Outcome, Sighting};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Changes in one commit.
pub const BATCH: usize = 512;
/// More waiting jobs than this, and the oldest goes: its client asks again anyway.
const LONGEST: usize = 8192;
/// An answer older than this is of no use to the one who asked.
pub const STALE: Duration = Duration::from_secs(2);

/// A change to be made durable, and what follows from it.
pub struct Job {
    pub at: Instant,
    pub exchange: Exchange,
    pub change: LeaseChange,
    pub reply: Option<Outgoing>,
    pub sighting: Sighting,
}

impl Job {
    /// A grant nobody waits for any more. A release or decline never ages: nobody repeats it.
    pub fn is_stale(&self) -> bool {
        self.change.lease.state == LeaseState::Bound && self.at.elapsed() > STALE
    }
}

/// From the committer to the thread.
pub enum News {
    Settled(Exchange, LeaseChange, Outcome),
    GivenUp(Exchange),
    StoreAway(bool),
    Stop,
}

pub struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    news: Mutex<Vec<News>>,
    pub ready: Notify,
    bell: OwnedFd,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub fn new() -> io::Result<Self> {
        let bell = sys::event()?;
        Ok(Self { jobs: Mutex::default(), news: Mutex::default(), ready: Notify::new(), bell })
    }

    /// Adds jobs; returns those that had to go for them.
    pub fn push(&self, new: Vec<Job>) -> Vec<Job> {
        if new.is_empty() {
            return Vec::new();
        }
        let mut jobs = locked(&self.jobs);
        jobs.extend(new);
        let over = jobs.len().saturating_sub(LONGEST);
        let gone = jobs.drain(..over).collect();
        drop(jobs);
        self.ready.notify_one();
        gone
    }

    /// The next batch: in order, at most [`BATCH`], and no address twice, so that one statement can write it.
    pub fn take(&self) -> Vec<Job> {
        let mut jobs = locked(&self.jobs);
        let mut keys = BTreeSet::new();
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(next) = jobs.front() else { break };
            if !keys.insert((next.change.lease.network.clone(), next.change.lease.address)) {
                break;
            }
            batch.extend(jobs.pop_front());
        }
        batch
    }

    pub fn len(&self) -> usize {
        locked(&self.jobs).len()
    }

    pub fn tell(&self, news: impl IntoIterator<Item = News>) {
        locked(&self.news).extend(news);
        sys::ring(self.bell.as_fd());
    }

    pub fn hear(&self) -> Vec<News> {
        sys::silence(self.bell.as_fd());
        std::mem::take(&mut *locked(&self.news))
    }

    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
