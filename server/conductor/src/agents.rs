//! The agent's side of the house: who calls, what it reports, what stands for it.
//!
//! A report is one event with the cause `boot/<boot id>/<number>`, so that a repeated turn changes nothing. What stands
//! is computed anew for every answer; nothing is queued for an agent.

use crate::apply::{self, Happened};
use crate::error::store;
use crate::scribe::Write;
use crate::standing::standing;
use crate::{AgentSeen, Conductor, Error, body, reports};
use muster_lifecycle::machine::Event;
use muster_names::{BootId, Digest, Epoch, MachineId, Millis};
use muster_store::{AgentMode, Bound, boot_tokens, machines};
use muster_wire::{Doing, Mode, Numbered, Reply, SPEAKS, Standing, Turn};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// An agent whose request's signature was verified with `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// SHA-256 of the bearer token.
    pub token: Digest,
    /// Ed25519 public key.
    pub key: Vec<u8>,
}

/// Why an agent is turned away.
#[derive(Debug, thiserror::Error)]
pub enum TurnedAway {
    #[error("this token is not known or has expired; the next ordered boot brings a new one")]
    Token,
    /// The token was used with another key first: a security event.
    #[error("this token belongs to another key")]
    OtherKey,
    #[error("agent and daemon have no protocol version in common")]
    Version,
    #[error("the daemon cannot serve now")]
    Later {
        #[source]
        source: Error,
    },
}

/// What is known of a token's agent while the daemon runs; all of it can be read again from the database.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub key: Vec<u8>,
    pub machine: Option<MachineId>,
    /// What the token was made for, whatever its bearer says of itself: only an agent in RAM is ever told to write.
    pub mode: AgentMode,
    pub ports: Vec<(muster_catalog::Witness, muster_names::SwitchPort)>,
    /// The epoch for which this boot was ordered.
    pub boot_epoch: Option<Epoch>,
    pub boot_id: Option<BootId>,
    pub acked: u64,
}

/// What an agent is at just now: for people's eyes, kept in memory only.
#[derive(Clone, Debug)]
pub struct Live {
    pub doing: Doing,
    pub mode: Mode,
    pub version: String,
    pub boot_id: BootId,
    pub at: Millis,
}

#[derive(Default)]
pub(crate) struct Agents {
    sessions: Mutex<HashMap<Digest, Session>>,
    live: Mutex<HashMap<MachineId, Live>>,
    bells: Mutex<HashMap<MachineId, Arc<Notify>>>,
}

impl Agents {
    fn session(&self, token: &Digest) -> Option<Session> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn keep(&self, token: Digest, session: Session) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(token, session);
    }

    pub fn live(&self, id: MachineId) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn saw(&self, id: MachineId, live: Live) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, live);
    }

    fn drop_token(&self, token: &Digest) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn bell(&self, id: MachineId) -> Arc<Notify> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone()
    }

    /// Wakes the long polls of machines that changed.
    pub fn ring<'a>(&self, ids: impl IntoIterator<Item = &'a MachineId>) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().filter_map(|id| bells.get(id)).for_each(|bell| bell.notify_waiters());
    }
}

/// A daemon holds a turn at most this long.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// A resident agent calls this often; the daemon spreads them by the boot id.
const RESIDENT_MS: u64 = 60_000;
/// One turn carries at most this many reports.
pub const MOST_REPORTS: usize = 100;

impl Conductor {
    /// One turn of an agent. Cancel-safe: reports are recorded once, whatever the caller heard.
    pub async fn turn(self: &Arc<Self>, caller: Caller, turn: Turn) -> Result<Reply, TurnedAway> {
        if SPEAKS.common(turn.speaks).is_none() {
            return Err(TurnedAway::Version);
        }
        let later = |source| TurnedAway::Later { source };
        let mut session = self.admit(&caller).await?;
        let turn = Turn { mode: mode_of(session.mode), ..turn };
        if session.boot_id != Some(turn.boot_id) {
            session.boot_id = Some(turn.boot_id);
            session.acked = 0;
        }
        let fresh: Vec<Numbered> =
            turn.reports.iter().filter(|report| report.seq > session.acked).take(MOST_REPORTS).cloned().collect();
        let first_sight = session.machine.and_then(|id| self.agents.live(id)).is_none_or(|l| l.boot_id != turn.boot_id);
        if !fresh.is_empty() || first_sight {
            session = self.take_in(&caller, session, &turn, fresh).await.map_err(later)?;
        }
        self.agents.keep(caller.token, session.clone());
        let Some(id) = session.machine else {
            let standing = Standing::Discover { epoch: Epoch(0) };
            return Ok(Reply { acked: session.acked, standing, ask_again_ms: 1_000 });
        };
        let at = crate::rim::now();
        let live = Live {
            doing: turn.doing.clone(),
            mode: turn.mode,
            version: turn.version.clone(),
            boot_id: turn.boot_id,
            at,
        };
        self.agents.saw(id, live);
        let standing = self.standing_when_new(id, &session, &turn).await.map_err(later)?;
        let ask_again_ms = match (turn.mode, &standing) {
            (Mode::Resident, Standing::Idle) => RESIDENT_MS,
            _ => 0,
        };
        Ok(Reply { acked: session.acked, standing, ask_again_ms })
    }

    /// Binds the key at first use; a second key for one token is a security event of the machine.
    pub(crate) async fn admit(self: &Arc<Self>, caller: &Caller) -> Result<Session, TurnedAway> {
        let later = |source| TurnedAway::Later { source };
        // Read first, so that a stranger's token costs no write, and a token that was revoked, here or by another daemon,
        // is turned away at once whatever is remembered of it.
        let mut tx = self.db.read().await.map_err(|source| later(store(source)))?;
        let row = boot_tokens::lookup(&mut tx, caller.token).await.map_err(|source| later(store(source)))?;
        drop(tx);
        if row.is_none_or(|row| row.revoked.is_some()) {
            self.agents.drop_token(&caller.token);
            return Err(TurnedAway::Token);
        }
        if let Some(session) = self.agents.session(&caller.token)
            && session.key == caller.key
        {
            return Ok(session);
        }
        let (caller, me) = (caller.clone(), self.clone());
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let bound = boot_tokens::bind_key(w.tx, caller.token, &caller.key, w.now).await.map_err(store)?;
                    let row = boot_tokens::lookup(w.tx, caller.token).await.map_err(store)?;
                    if let (Bound::Other, Some(id)) = (&bound, row.as_ref().and_then(|row| row.machine)) {
                        let cause = format!("other-key/{}/{}", caller.token, crate::rim::sha256(&caller.key));
                        let detail = serde_json::json!({ "why": "a second key used this machine's token" });
                        let event = Happened { cause, actor: "agent", event: Event::ImpostorSeen, detail };
                        apply::apply(&mut w, &me.catalog(), id, event).await?;
                    }
                    Ok(match (bound, row) {
                        (Bound::New | Bound::Same, Some(row)) => Ok(Session {
                            key: caller.key,
                            machine: row.machine,
                            mode: row.mode,
                            ports: Vec::new(),
                            boot_epoch: row.epoch,
                            boot_id: None,
                            acked: 0,
                        }),
                        (Bound::Other, _) => Err(TurnedAway::OtherKey),
                        _ => Err(TurnedAway::Token),
                    })
                })
            })
            .await
            .map_err(later)?
    }

    async fn take_in(
        self: &Arc<Self>,
        caller: &Caller,
        session: Session,
        turn: &Turn,
        fresh: Vec<Numbered>,
    ) -> Result<Session, Error> {
        let (me, token, turn) = (self.clone(), caller.token, turn.clone());
        self.scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let mut session = session;
                    for numbered in fresh {
                        let seq = numbered.seq;
                        reports::take(&mut w, &me, &mut session, token, &turn, numbered).await?;
                        session.acked = session.acked.max(seq);
                    }
                    remember(&mut w, &session, &turn).await?;
                    Ok(session)
                })
            })
            .await
    }

    /// Answers at once when something stands that the agent is not at; else waits for a change.
    async fn standing_when_new(&self, id: MachineId, session: &Session, turn: &Turn) -> Result<Standing, Error> {
        let wait = Duration::from_millis(turn.wait_ms).min(LONGEST_WAIT);
        let until = tokio::time::Instant::now() + wait;
        let bell = self.agents.bell(id);
        loop {
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let now = standing(self, id, session, turn.mode).await?;
            let known = now.epoch().is_none() || now.epoch() == turn.doing.epoch;
            if !known || tokio::time::Instant::now() >= until {
                return Ok(now);
            }
            let _ = tokio::time::timeout_at(until, rung).await;
        }
    }
}

fn mode_of(token: AgentMode) -> Mode {
    match token {
        AgentMode::Ram => Mode::Ram,
        AgentMode::Resident => Mode::Resident,
    }
}

async fn remember(w: &mut Write<'_>, session: &Session, turn: &Turn) -> Result<(), Error> {
    let Some(id) = session.machine else { return Ok(()) };
    let Some(mut record) = machines::get(w.tx, id).await.map_err(store)? else { return Ok(()) };
    let seen = AgentSeen { boot_id: turn.boot_id, mode: turn.mode, version: turn.version.clone(), at: w.now };
    record.agent = Some(body::write("agent", &id, &seen)?);
    machines::put(w.tx, &record).await.map_err(store)
}
