//! The agent's side of the house: who calls, what it reports, what stands for it.
//!
//! A report is one event with the cause `boot/<boot id>/<number>`, so that a repeated turn changes nothing. What stands
//! is computed anew for every answer; nothing is queued for an agent.

use crate::apply::{self, Happened};
use crate::error::store;
use crate::scribe::Write;
use crate::session::{Caller, Room, Session, TurnedAway};
use crate::standing::{permit, standing};
use crate::{AgentSeen, Conductor, Error, body, clean, reports, ways};
use muster_lifecycle::machine::Event;
use muster_names::{BootId, Digest, Epoch, MachineId, Millis};
use muster_store::{AgentMode, Bound, boot_tokens, machines};
use muster_wire::{Doing, MayProceed, Mode, Numbered, Permission, Reply, SPEAKS, Standing, Turn};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

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

    /// Takes room for one word of this agent, if there is any.
    pub fn room(&self, token: &Digest, now: Millis) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get_mut(token).is_none_or(|session| session.room.take(1, now) == 1)
    }

    pub fn live(&self, id: MachineId) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn saw(&self, id: MachineId, live: Live) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, live);
    }

    /// Forgets who has not called for long: whatever counts of them is in the database.
    pub fn tidy(&self, before: Millis) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.room.at > before);
        drop(sessions);
        self.live.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, live| live.at > before);
        // A bell that nobody else holds wakes nobody.
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, bell| Arc::strong_count(bell) > 1);
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
/// An agent that has said too much calls again after this.
const FULL_MS: u64 = 5_000;
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
        let turn = clean::cleaned("turn", &turn).map_err(later)?;
        let turn = Turn { mode: mode_of(session.mode), ..turn };
        if session.boot_id != Some(turn.boot_id) {
            session.boot_id = Some(turn.boot_id);
            session.acked = 0;
        }
        let fresh = || turn.reports.iter().filter(|report| report.seq > session.acked);
        let wanted = fresh().count();
        let room = { session.room }.take(wanted.min(MOST_REPORTS), crate::rim::now());
        let fresh: Vec<Numbered> = fresh().take(room).cloned().collect();
        session.room.take(room, crate::rim::now());
        let full = fresh.len() < wanted.min(MOST_REPORTS);
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
            _ if full => FULL_MS,
            _ => 0,
        };
        Ok(Reply { acked: session.acked, standing, ask_again_ms })
    }

    /// Asked by an agent immediately before its first write.
    pub async fn may_proceed(self: &Arc<Self>, caller: Caller, ask: MayProceed) -> Result<Permission, TurnedAway> {
        let session = self.admit(&caller).await?;
        let ask: MayProceed = clean::cleaned("question", &ask).map_err(|source| TurnedAway::Later { source })?;
        if !self.agents.room(&caller.token, crate::rim::now()) {
            return Err(TurnedAway::Later { source: Error::TooOften });
        }
        let Some(id) = session.machine else {
            return Ok(Permission::Denied { reason: "this boot belongs to no machine of ours".into() });
        };
        let me = self.clone();
        self.scribe
            .write(move |mut w| Box::pin(async move { permit(&mut w, &me, id, &session, &ask).await }))
            .await
            .map_err(|source| TurnedAway::Later { source })
    }

    /// Whether a token may speak at all; looked at before anything of its bearer's body is read.
    pub async fn knows_token(&self, token: &Digest) -> Result<bool, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let row = boot_tokens::lookup(&mut tx, *token).await.map_err(store)?;
        Ok(row.is_some_and(|row| row.revoked.is_none()))
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
        let session = match self.agents.session(&caller.token) {
            Some(session) if session.key == caller.key => session,
            _ => self.bind(caller).await?,
        };
        self.alone(caller, session).await
    }

    /// A machine is in one boot at a time: when the token of an earlier boot still speaks after a later one has called,
    /// there are two machines, and nobody can tell which of them is the one meant.
    async fn alone(self: &Arc<Self>, caller: &Caller, mut session: Session) -> Result<Session, TurnedAway> {
        let later = |source| TurnedAway::Later { source };
        if session.doubted || session.mode != AgentMode::Ram {
            return Ok(session);
        }
        let mut tx = self.db.read().await.map_err(|source| later(store(source)))?;
        let overtaken = boot_tokens::overtaken(&mut tx, caller.token).await.map_err(|source| later(store(source)))?;
        drop(tx);
        if let (true, Some(id)) = (overtaken, session.machine) {
            session.doubted = true;
            let (token, me) = (caller.token, self.clone());
            self.scribe
                .write(move |mut w| {
                    Box::pin(async move {
                        let why = "an earlier boot of this machine still speaks after a later one has called";
                        let detail = serde_json::json!({ "why": why });
                        let cause = format!("overtaken/{token}");
                        let event = Happened { cause, actor: "agent", event: Event::ImpostorSeen, detail };
                        apply::apply(&mut w, &me.catalog(), id, event).await.map(drop)
                    })
                })
                .await
                .map_err(later)?;
            self.agents.keep(caller.token, session.clone());
        }
        Ok(session)
    }

    async fn bind(self: &Arc<Self>, caller: &Caller) -> Result<Session, TurnedAway> {
        let later = |source| TurnedAway::Later { source };
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
                    if let (Bound::New, Some(row)) = (&bound, &row) {
                        // It has come where it was meant to: nobody fetches it again.
                        me.drop_boot_file(&row.nonce);
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
                            doubted: false,
                            room: Room::new(w.now),
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
                    if let (Some(id), Mode::Ram) = (session.machine, turn.mode) {
                        ways::spoke(&mut w, &me.catalog(), id, token).await?;
                    }
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
