//! The scribe: the one writer of this daemon. It takes up to 64 wishes, runs each in a savepoint of one transaction and
//! commits once, so that a thousand reports a second cost a dozen syncs.
//!
//! A wish that fails is rolled back alone. When the commit fails nobody is told of success; causes are recorded once, so
//! asking again is safe.

use crate::error::store;
use crate::{Error, rim};
use futures_core::future::BoxFuture;
use muster_names::{MachineId, Millis, Seq};
use muster_store::{Store, Tx};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

const MOST: usize = 64;

/// The transaction a wish runs in, and what it touched.
pub struct Write<'t> {
    pub tx: &'t mut Tx,
    pub now: Millis,
    /// Machines whose state or record changed: their view, agent and couriers are told after the commit.
    pub touched: &'t mut BTreeSet<MachineId>,
}

type Ran = Box<dyn FnOnce(Result<(), Error>) + Send>;
type Wish = Box<dyn for<'t> FnOnce(Write<'t>) -> BoxFuture<'t, Result<Ran, (Error, Refuse)>> + Send>;
type Refuse = Box<dyn FnOnce(Error) + Send>;

/// Told after each commit.
pub type Told = Box<dyn Fn(Seq, &BTreeSet<MachineId>) + Send + Sync>;

#[derive(Clone)]
pub struct Scribe {
    wishes: mpsc::Sender<Wish>,
}

impl Scribe {
    /// The scribe and its task; the task ends when `cancel` is called and all wishes are written.
    pub fn new(db: Store, told: Told, cancel: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (wishes, queue) = mpsc::channel(1024);
        (Self { wishes }, run(db, queue, told, cancel))
    }

    /// Runs `work` in the next transaction and answers after its commit. Cancel-safe: a dropped caller's wish is
    /// written all the same.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(Write<'t>) -> BoxFuture<'t, Result<T, Error>> + Send + 'static,
    {
        let (answer, reply) = oneshot::channel::<Result<T, Error>>();
        let wish: Wish = Box::new(move |write| {
            let running = work(write);
            Box::pin(async move {
                match running.await {
                    Ok(value) => {
                        let ran: Ran = Box::new(move |committed| drop(answer.send(committed.map(|()| value))));
                        Ok(ran)
                    }
                    Err(error) => {
                        let refuse: Refuse = Box::new(move |error| drop(answer.send(Err(error))));
                        Err((error, refuse))
                    }
                }
            })
        });
        self.wishes.send(wish).await.map_err(|_| Error::Unwritten)?;
        reply.await.map_err(|_| Error::Unwritten)?
    }
}

async fn run(db: Store, mut queue: mpsc::Receiver<Wish>, told: Told, cancel: CancellationToken) {
    loop {
        let mut batch = Vec::with_capacity(MOST);
        tokio::select! {
            biased;
            count = queue.recv_many(&mut batch, MOST) => if count == 0 { return },
            () = cancel.cancelled(), if queue.is_empty() => return,
        }
        write_batch(&db, batch, &told).await;
    }
}

async fn write_batch(db: &Store, batch: Vec<Wish>, told: &Told) {
    let mut tx = match db.write().await {
        Ok(tx) => tx,
        Err(error) => {
            // Dropping the wishes answers `Unwritten`: ask again. The reason is in the log.
            tracing::error!(error = %error, label = error.label(), "no transaction for {} wishes", batch.len());
            return;
        }
    };
    let now = rim::now();
    let mut touched = BTreeSet::new();
    let mut ran = Vec::with_capacity(batch.len());
    for wish in batch {
        let mut mine = BTreeSet::new();
        if let Err(error) = tx.savepoint().await {
            tracing::error!(error = %error, "no savepoint");
            return;
        }
        match wish(Write { tx: &mut tx, now, touched: &mut mine }).await {
            Ok(done) => match tx.release().await {
                Ok(()) => {
                    touched.append(&mut mine);
                    ran.push(done);
                }
                Err(error) => {
                    done(Err(store(error)));
                    if tx.rollback_to().await.is_err() {
                        return;
                    }
                }
            },
            Err((error, refuse)) => {
                let undone = tx.rollback_to().await;
                refuse(error);
                if let Err(error) = undone {
                    tracing::error!(error = %error, "no rollback to the savepoint");
                    return;
                }
            }
        }
    }
    match tx.commit(now).await {
        Ok(committed) => {
            told(committed.last, &touched);
            ran.into_iter().for_each(|done| done(Ok(())));
        }
        Err(error) => {
            tracing::error!(error = %error, label = error.label(), "the commit failed; {} wishes are asked again", ran.len());
            ran.into_iter().for_each(|done| done(Err(Error::Unwritten)));
        }
    }
}
