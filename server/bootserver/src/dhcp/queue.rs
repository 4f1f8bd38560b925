//! What the answering thread and the committer tell each other: jobs one way, news the other.

use super::gate::Exchange;
use super::ports::Outgoing;
use super::sys;
use muster_names::Mac;
use muster_netboot::{LeaseChange, LeaseState, Outcome, Sighting};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;
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

/// From the committer and the ear to the thread.
pub enum News {
    /// What came of asking after an address: who answered, or nobody.
    Probed(Ipv4Addr, Option<Mac>),
    /// A host was heard using an address.
    Claimed(Ipv4Addr, Mac),
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

#[cfg(test)]
mod tests {
    use super::*;
    use muster_names::Millis;
    use muster_netboot::{Lease, Said, SightingKind};

    fn job(address: u32) -> Job {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let lease = Lease {
            network: "rack".to_owned(),
            address: Ipv4Addr::from_bits(address),
            mac,
            state: LeaseState::Bound,
            until: Millis(1),
            relay: None,
        };
        Job {
            at: Instant::now(),
            exchange: Exchange { mac, xid: address, kind: 3 },
            change: LeaseChange { at: Millis(0), lease },
            reply: None,
            sighting: Sighting::of(Millis(0), mac, SightingKind::Request, Said::Noted),
        }
    }

    fn addresses(batch: &[Job]) -> Vec<u32> {
        batch.iter().map(|job| job.change.lease.address.to_bits()).collect()
    }

    #[test]
    fn a_batch_is_in_order_bounded_and_names_no_address_twice() {
        let queue = Queue::new().unwrap();
        queue.push([1, 2, 1, 3].map(job).into());
        assert_eq!(addresses(&queue.take()), [1, 2]);
        assert_eq!(addresses(&queue.take()), [1, 3]);
        queue.push((0..600).map(job).collect());
        assert_eq!((queue.take().len(), queue.take().len(), queue.take().len()), (BATCH, 88, 0));
    }

    #[test]
    fn a1_6_over_its_bound_the_queue_drops_the_oldest() {
        let queue = Queue::new().unwrap();
        let bound = u32::try_from(LONGEST).unwrap();
        assert!(queue.push((0..bound).map(job).collect()).is_empty());
        assert_eq!(addresses(&queue.push((bound..bound + 3).map(job).collect())), [0, 1, 2]);
        assert_eq!(queue.len(), LONGEST);
    }

    #[test]
    fn a_grant_ages_and_a_release_does_not() {
        let mut old = job(1);
        assert!(!old.is_stale());
        old.at = Instant::now().checked_sub(STALE + Duration::from_millis(10)).unwrap();
        assert!(old.is_stale());
        old.change.lease.state = LeaseState::Released;
        assert!(!old.is_stale());
    }
}
