//! The turn loop: post what was seen, hear what stands, for ever.
//!
//! One turn is in flight at a time, so that an answer that was held cannot overtake a newer one. A report that comes
//! up while the daemon holds the answer cuts the wait short.

use super::desk::Desk;
use super::http::Poster;
use super::key::{Key, random};
use crate::error::chain;
use crate::{Error, Result};
use muster_names::BootId;
use muster_wire::{
    AgentConfig, KEY_HEADER, MAY_PROCEED_PATH, MayProceed, Mode, Permission, Reply, SIGNATURE_HEADER, SPEAKS,
    TURN_PATH, Turn,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the daemon may hold a turn while nothing runs here.
const HOLD: Duration = Duration::from_secs(25);
/// While something runs a turn carries its progress.
const HOLD_BUSY: Duration = Duration::from_secs(1);
/// The resident agent asks often while its machine is being checked, then once a minute.
const ATTENTIVE: Duration = Duration::from_secs(300);
const AT_REST: Duration = Duration::from_secs(60);
/// No two turns start closer together than this, whatever the daemon says.
const LEAST: Duration = Duration::from_millis(200);
const GRACE: Duration = Duration::from_secs(10);

/// Who speaks, and to whom.
pub struct Line {
    pub config: AgentConfig,
    pub key: Key,
    pub boot_id: BootId,
    pub mode: Mode,
}

impl Line {
    pub fn poster(&self) -> Result<Poster> {
        Poster::new(&self.config.server, &self.config.ca_pem)
    }

    fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        poster: &mut Poster,
        path: &str,
        question: &Q,
        silence: Duration,
        opened: &mut dyn FnMut(Option<TcpStream>),
    ) -> Result<A> {
        let body = serde_json::to_vec(question).map_err(|source| Error::Message { source })?;
        let bearer = format!("Bearer {}", self.config.token);
        let (public, signature) = (self.key.public(), self.key.sign(path, &body));
        let lines = [("authorization", bearer.as_str()), (KEY_HEADER, &public), (SIGNATURE_HEADER, &signature)];
        let answer = poster.post(path, &lines, &body, silence, opened)?;
        serde_json::from_slice(&answer).map_err(|source| Error::Answer { to: self.config.server.clone(), source })
    }

    pub fn may_proceed(&self, question: &MayProceed) -> Result<Permission> {
        self.post(&mut self.poster()?, MAY_PROCEED_PATH, question, GRACE, &mut |_| {})
    }

    fn turn(&self, poster: &mut Poster, desk: &Desk, attentive: bool) -> Result<Reply> {
        let (reports, doing, busy) = desk.turn();
        let hold = match (busy, attentive) {
            (true, _) => HOLD_BUSY,
            (false, true) => HOLD,
            (false, false) => Duration::ZERO,
        };
        let wait_ms = u64::try_from(hold.as_millis()).unwrap_or(0);
        let version = crate::VERSION.to_owned();
        let turn = Turn { boot_id: self.boot_id, speaks: SPEAKS, version, mode: self.mode, reports, doing, wait_ms };
        self.post(poster, TURN_PATH, &turn, hold + GRACE, &mut |line| desk.in_flight(line))
    }
}

/// Waits between failed attempts: 0.5 s, doubled up to 10 s, a fifth more or less so that a rack does not ask in step.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// The wait after one more failure.
    pub fn after(&mut self) -> Duration {
        let base = 500_u64.saturating_mul(1 << self.0.min(5)).min(10_000);
        self.0 = self.0.saturating_add(1);
        Duration::from_millis(jitter(base))
    }

    /// Has nothing failed yet?
    pub fn first(&self) -> bool {
        self.0 == 0
    }

    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

fn jitter(millis: u64) -> u64 {
    let [random] = random::<1>().unwrap_or([128]);
    millis * (800 + u64::from(random) * 400 / 255) / 1000
}

/// How long to rest after a good answer.
fn pause(attentive: bool, busy: bool, ask_again_ms: u64, took: Duration) -> Duration {
    let asked = Duration::from_millis(ask_again_ms).min(AT_REST);
    let least = LEAST.saturating_sub(took);
    if attentive || busy || ask_again_ms > 0 {
        return asked.max(least);
    }
    Duration::from_millis(jitter(u64::try_from(AT_REST.as_millis()).unwrap_or(60_000)))
}

/// Takes turns until the desk is closed.
pub fn run(line: &Line, desk: &Desk) -> Result<()> {
    let started = Instant::now();
    let mut poster = line.poster()?;
    let mut backoff = Backoff::default();
    let mut away = false;
    while !desk.is_closed() {
        let attentive = line.mode == Mode::Ram || started.elapsed() < ATTENTIVE;
        let asked = Instant::now();
        let answer = line.turn(&mut poster, desk, attentive);
        let cut = desk.landed();
        match answer {
            Ok(reply) => {
                if std::mem::take(&mut away) {
                    crate::say!("the daemon at {} answers again", line.config.server);
                }
                backoff.reset();
                desk.heard(&reply);
                let busy = desk.is_busy();
                desk.rest(pause(attentive, busy, reply.ask_again_ms, asked.elapsed()));
            }
            Err(_) if cut => {}
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    crate::say!("{}; trying again until it answers", chain(&error));
                    crate::syslog::tell(crate::syslog::ERROR, &chain(&error));
                }
                std::thread::sleep(backoff.after());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
