//! Makes lease changes durable in batches, then lets the ACKs leave. One batch at a time: while one is being synced,
//! the next gathers, so the store's sync rate does not bound the answer rate.

use super::counters::Counters;
use super::ports::{Outgoing, Ports};
use super::queue::{BATCH, Job, News, Queue};
use crate::{Commit, Watch};
use muster_netboot::{LeaseChange, Outcome, Said};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Under load one more millisecond makes the batch many times larger.
const GATHER: Duration = Duration::from_millis(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub struct Committer {
    pub queue: Arc<Queue>,
    pub ports: Arc<Ports>,
    pub commit: Arc<dyn Commit>,
    pub watch: Arc<dyn Watch>,
    pub counters: Arc<Counters>,
    pub cancel: CancellationToken,
}

impl Committer {
    /// Runs until cancelled; a commit under way is finished first.
    pub async fn run(&self) {
        while !self.cancel.is_cancelled() {
            let mut waiting = self.queue.len();
            if waiting == 0 {
                tokio::select! {
                    () = self.queue.ready.notified() => {}
                    () = self.cancel.cancelled() => return,
                }
                waiting = self.queue.len();
            }
            if (2..BATCH).contains(&waiting) {
                tokio::time::sleep(GATHER).await;
            }
            let (stale, batch): (Vec<Job>, Vec<Job>) = self.queue.take().into_iter().partition(Job::is_stale);
            for job in stale {
                self.give_up(job, "too-old", "it waited over two seconds for the lease store");
            }
            if !batch.is_empty() {
                self.write(batch).await;
            }
        }
    }

    /// Writes a batch; after an error nobody knows what was written, so the same batch is sent again.
    async fn write(&self, batch: Vec<Job>) {
        let mut pause = FIRST_PAUSE;
        let mut away = false;
        let outcomes = loop {
            let changes: Vec<LeaseChange> = batch.iter().map(|job| job.change.clone()).collect();
            match self.commit.commit(changes).await {
                Ok(outcomes) if outcomes.len() == batch.len() => break outcomes,
                Ok(outcomes) => {
                    self.counters.failed("commit");
                    tracing::error!(asked = batch.len(), told = outcomes.len(), "the lease store miscounted a batch");
                }
                Err(error) => {
                    self.counters.failed("commit");
                    let cause: &dyn std::error::Error = &error;
                    tracing::warn!(error = %error, cause = ?cause.source(), "leases were not written; no new ones until they are");
                }
            }
            if !away {
                away = true;
                self.queue.tell([News::StoreAway(true)]);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.cancel.cancelled() => return,
            }
        };
        if away {
            tracing::info!("the lease store is back");
            self.queue.tell([News::StoreAway(false)]);
        }
        self.counters.committed(outcomes.len());
        self.finish(batch, outcomes);
    }

    fn finish(&self, batch: Vec<Job>, outcomes: Vec<Outcome>) {
        let mut replies: Vec<Outgoing> = Vec::new();
        let mut sightings = Vec::new();
        let mut news = Vec::new();
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            let stale = job.is_stale();
            let Job { exchange, change, reply, mut sighting, .. } = job;
            match outcome {
                Outcome::Taken => {
                    self.counters.failed("address-taken");
                    sighting.said = Said::Dropped("another server of ours leased the address to another machine first");
                }
                Outcome::Done if stale => {
                    self.counters.dropped("too-old");
                    sighting.said = Said::Dropped("the lease was written too late for an answer");
                }
                Outcome::Done => replies.extend(reply),
            }
            sightings.push(sighting);
            news.push(News::Settled(exchange, change, outcome));
        }
        self.ports.send(replies, &self.counters);
        self.queue.tell(news);
        for sighting in sightings {
            self.watch.saw(sighting);
        }
    }

    fn give_up(&self, job: Job, label: &'static str, words: &'static str) {
        self.counters.dropped(label);
        let mut sighting = job.sighting;
        sighting.said = Said::Dropped(words);
        self.queue.tell([News::GivenUp(job.exchange)]);
        self.watch.saw(sighting);
    }
}
