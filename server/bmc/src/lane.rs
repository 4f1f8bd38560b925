//! What all operations on one BMC share: its queue, its sessions, its circuit breaker and its count of failed logins.
//!
//! The queue lets one IPMI operation at a time through, and for Redfish one mutation beside two readings (B7.12).
//! The breaker counts silence only: a BMC that refuses is alive. Failed logins are counted apart and not forgiven by
//! the breaker's rest, because the account they lock is needed by people too (A5.6).

use crate::{Fault, Inner, Protocol, Secret, Target, ipmi, redfish};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How patient the engine is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For one operation, from its turn in the queue to its result.
    pub deadline: Duration,
    /// How long an operation waits for its turn.
    pub queue: Duration,
    /// For one IPMI packet, before it is sent again.
    pub answer: Duration,
    /// How often one IPMI packet is sent.
    pub sends: u32,
    /// Between the two readings of [`crate::Bmcs::confirm_power`].
    pub confirm_gap: Duration,
    /// A session unused for so long is closed.
    pub idle_close: Duration,
    /// Between two looks whether an open console is ours still; they keep its session alive.
    pub console_look: Duration,
    /// So many operations without an answer in a row, and the BMC is left alone.
    pub rest_after: u32,
    /// For so long, doubled with each failed probe, at most sixteen times.
    pub rest: Duration,
    /// A BMC that was restarted may be away for so long, and not know its users for a while when it is back.
    pub restart: Duration,
    /// So many BMCs are read at once at most, however well that goes: one takes a file descriptor or two.
    pub most_at_once: usize,
    /// Whose word is taken for a BMC's key, beside its pin (Redfish).
    pub authority: Option<redfish::Authority>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(45),
            queue: Duration::from_secs(60),
            answer: Duration::from_secs(1),
            sends: 4,
            confirm_gap: Duration::from_secs(1),
            idle_close: Duration::from_secs(20),
            console_look: Duration::from_secs(15),
            rest_after: 5,
            rest: Duration::from_secs(15),
            restart: Duration::from_secs(300),
            most_at_once: 2048,
            authority: None,
        }
    }
}

/// Logins that a BMC may refuse because it is still starting.
const MOST_EXCUSED: usize = 2;
/// Two failures within the hour, and nobody tries a third.
const MOST_FAILED_LOGINS: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);

/// Whether a mutation's bytes left this host and no answer has denied it since.
#[derive(Debug, Default)]
pub struct Sent(AtomicBool);

impl Sent {
    /// Call it before the first byte.
    pub fn mark(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// The BMC said that it did not do it.
    pub fn denied(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    pub fn maybe(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// By what a BMC's lane is found: one for all forms that its address may be written in, so that its failed logins are
/// counted together. The protocols have one each: a BMC may be deaf for one of them and well otherwise.
pub fn key(protocol: Protocol, address: &str) -> String {
    let address = address.trim().to_ascii_lowercase();
    let (scheme, host) = address.split_once("://").unwrap_or(("", &address));
    let (word, port) = match (protocol, scheme) {
        (Protocol::Ipmi, _) => ("ipmi", ":623"),
        (Protocol::Redfish, "http") => ("redfish", ":80"),
        (Protocol::Redfish, _) => ("redfish", ":443"),
    };
    let host = host.trim_end_matches('/');
    // The end of an IPv6 address without brackets is no port.
    let has_port = host.starts_with('[') || host.matches(':').count() == 1;
    let host = host.strip_suffix(port).filter(|_| has_port).unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    format!("{word}/{bare}")
}

pub struct Lane {
    ipmi: tokio::sync::Mutex<Option<ipmi::Session>>,
    redfish: tokio::sync::Mutex<Option<redfish::Connection>>,
    mutation: tokio::sync::Mutex<()>,
    readings: Semaphore,
    health: Mutex<Health>,
    /// The key behind the address, for as long as the engine lives.
    pub seen: Arc<redfish::Seen>,
    /// What sensors and parts there are, for as long as the BMC says that this has not changed.
    pub records: ipmi::Kept,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            ipmi: Default::default(),
            redfish: Default::default(),
            mutation: Default::default(),
            readings: Semaphore::new(2),
            health: Default::default(),
            seen: Default::default(),
            records: Default::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Health {
    /// Operations without an answer, in a row.
    silent: u32,
    rests_until: Option<Instant>,
    /// One operation finds out whether a resting BMC is back; the others wait for what it finds.
    probing: bool,
    failed_logins: Vec<Instant>,
    heard: Option<Instant>,
    /// A user and the password that was changed, or may have been.
    superseded: Option<(String, Secret)>,
    restarted: Option<Restarted>,
}

/// A restart of the BMC that we asked for.
#[derive(Debug)]
struct Restarted {
    /// Who asked: the BMC took this credential just before.
    by: (String, Secret),
    until: Instant,
    rest: Duration,
    excused: usize,
}

impl Lane {
    /// Runs one operation under the breaker and the deadline.
    pub async fn run<T>(
        &self,
        settings: &Settings,
        operation: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut pass = self.pass(settings)?;
        let limit = settings.deadline + settings.queue;
        let outcome = match tokio::time::timeout(limit, operation).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::NoAnswer(limit)),
        };
        pass.settle(settings, outcome.as_ref().err());
        outcome
    }

    /// The IPMI queue's head: one operation at a time, readings too.
    pub async fn ipmi<'a>(&'a self, engine: &'a Inner, target: &'a Target) -> Result<ipmi::Turn<'a>, Fault> {
        let session = in_time(&engine.settings, self.ipmi.lock()).await?;
        self.is_current(target)?;
        Ok(ipmi::Turn::new(session, engine, self, target))
    }

    /// One of two readings at a time.
    pub async fn redfish_read<'a>(&'a self, engine: &'a Inner, target: &'a Target) -> Result<redfish::Turn<'a>, Fault> {
        let permit = in_time(&engine.settings, self.readings.acquire()).await?;
        let permit = permit.map_err(|_| Fault::Broken("the queue is closed".into()))?;
        let connection = self.connection(engine, target).await?;
        Ok(redfish::Turn::reading(connection, self, target, permit))
    }

    /// The one mutation at a time.
    pub async fn redfish_write<'a>(
        &'a self,
        engine: &'a Inner,
        target: &'a Target,
    ) -> Result<redfish::Turn<'a>, Fault> {
        let guard = in_time(&engine.settings, self.mutation.lock()).await?;
        let connection = self.connection(engine, target).await?;
        Ok(redfish::Turn::mutation(connection, self, target, guard))
    }

    pub async fn connection(&self, engine: &Inner, target: &Target) -> Result<redfish::Connection, Fault> {
        self.is_current(target)?;
        redfish::Connection::shared(&self.redfish, engine, self, target).await
    }

    /// A session beside the one that stands. It waits for its turn, so that no two logins fail before one of them is counted.
    pub async fn log_in_apart(&self, engine: &Inner, target: &Target) -> Result<ipmi::Session, Fault> {
        let _turn = in_time(&engine.settings, self.ipmi.lock()).await?;
        ipmi::log_in(engine, self, target).await
    }

    /// A login of its own over IPMI. The session that stood is given back first: some BMCs have no second one.
    pub async fn try_ipmi(&self, engine: &Inner, target: &Target) -> Result<bool, Fault> {
        let mut session = in_time(&engine.settings, self.ipmi.lock()).await?;
        *session = None;
        match ipmi::log_in(engine, self, target).await {
            Ok(fresh) => {
                fresh.close().await;
                Ok(true)
            }
            Err(Fault::Login) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// A login of its own over Redfish, beside the session that stands.
    pub async fn try_redfish(&self, engine: &Inner, target: &Target) -> Result<bool, Fault> {
        let permit = in_time(&engine.settings, self.readings.acquire()).await?;
        let _permit = permit.map_err(|_| Fault::Broken("the queue is closed".into()))?;
        let fresh = redfish::Connection::apart(engine, self, target)?;
        let taken = fresh.logs_in(self).await;
        fresh.close().await;
        taken
    }

    /// Gives back the Redfish session that was had with this credential.
    pub async fn leave(&self, target: &Target) {
        let old = self.redfish.lock().await.take_if(|connection| connection.fits(target));
        if let Some(old) = old {
            old.close().await;
        }
    }

    pub async fn close(&self) {
        if let Some(session) = self.ipmi.lock().await.take() {
            session.close().await;
        }
        let connection = self.redfish.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// Leaves alone what is in use at this moment.
    pub async fn close_if_idle(&self, limit: Duration) {
        if let Ok(mut session) = self.ipmi.try_lock()
            && session.as_ref().is_some_and(|session| session.idle() >= limit)
            && let Some(session) = session.take()
        {
            session.close().await;
        }
        let idle = match self.redfish.try_lock() {
            Ok(mut slot) if slot.as_ref().is_some_and(|connection| connection.idle() >= limit) => slot.take(),
            _ => None,
        };
        if let Some(connection) = idle {
            connection.close().await;
        }
    }

    /// Asked before every login.
    pub fn may_log_in(&self) -> Result<(), Fault> {
        self.may_log_in_at(Instant::now())
    }

    fn may_log_in_at(&self, now: Instant) -> Result<(), Fault> {
        let mut health = self.health();
        health.failed_logins.retain(|at| now.duration_since(*at) < HOUR);
        match health.failed_logins.first() {
            Some(first) if health.failed_logins.len() >= MOST_FAILED_LOGINS => {
                Err(Fault::LoginsHeld(HOUR.saturating_sub(now.duration_since(*first))))
            }
            _ => Ok(()),
        }
    }

    /// What a refused login is: a failure that counts, or the word of a BMC that is still starting. Only a credential that
    /// held before the restart is excused, and twice at most, because the account may be one that locks.
    pub fn login_failed(&self, target: &Target) -> Fault {
        let (mut health, now) = (self.health(), Instant::now());
        if let Some(restarted) = health.restarted.as_mut()
            && now < restarted.until
            && is_of(&restarted.by, target)
            && restarted.excused < MOST_EXCUSED
        {
            restarted.excused += 1;
            let rest = restarted.rest;
            health.rests_until = Some(now + rest);
            return Fault::Resting(rest);
        }
        health.failed_logins.push(now);
        Fault::Login
    }

    pub fn login_worked(&self) {
        let mut health = self.health();
        health.failed_logins.clear();
        health.restarted = None;
    }

    /// The BMC was told to restart, or may have been: what was had of it is void, and it is left alone for a while. A
    /// session is dropped and not closed, since nobody is there to close it.
    pub async fn restarts(&self, settings: &Settings, target: &Target) {
        {
            let (mut health, now) = (self.health(), Instant::now());
            let by = (target.user.clone(), target.password.clone());
            health.restarted = Some(Restarted { by, until: now + settings.restart, rest: settings.rest, excused: 0 });
            health.silent = settings.rest_after;
            health.rests_until = Some(now + settings.rest);
        }
        self.records.forget();
        self.redfish.lock().await.take();
    }

    /// Asked before an operation, and before every login it makes: whether nobody has changed this password since.
    pub fn is_current(&self, target: &Target) -> Result<(), Fault> {
        match self.health().superseded.as_ref().is_some_and(|old| is_of(old, target)) {
            true => Err(Fault::Superseded),
            false => Ok(()),
        }
    }

    /// Begins to change the target's password: see [`Change`].
    pub fn change<'a>(&'a self, target: &'a Target, sent: &'a Sent) -> Change<'a> {
        self.health().superseded = Some((target.user.clone(), target.password.clone()));
        Change { lane: self, target, sent }
    }

    /// The BMC takes this credential: it was not changed after all.
    pub fn holds(&self, target: &Target) {
        self.health().superseded.take_if(|old| is_of(old, target));
    }

    /// Its last operation had no answer.
    pub fn was_silent(&self) -> bool {
        self.health().silent > 0
    }

    /// It answered something just now.
    pub fn hears(&self) {
        self.health().heard = Some(Instant::now());
    }

    /// When it last did.
    pub fn heard(&self) -> Option<Instant> {
        self.health().heard
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, settings: &Settings) -> Result<Pass<'_>, Fault> {
        let mut health = self.health();
        if let Some(until) = health.rests_until {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(Fault::Resting(left));
            }
            if health.probing {
                return Err(Fault::Resting(settings.answer));
            }
            health.probing = true;
        }
        Ok(Pass { lane: self, probe: health.rests_until.is_some() })
    }
}

fn is_of((user, password): &(String, Secret), target: &Target) -> bool {
    (user, password) == (&target.user, &target.password)
}

async fn in_time<T>(settings: &Settings, turn: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::time::timeout(settings.queue, turn)
        .await
        .map_err(|_| Fault::Busy("an earlier operation of ours has not ended".into()))
}

/// A password that is being changed. From here on nobody logs in with it; once the BMC has said that it did nothing,
/// everybody may again. Dropped while that is open, it leaves the credential to whoever asks whether it may log in.
pub struct Change<'a> {
    lane: &'a Lane,
    target: &'a Target,
    sent: &'a Sent,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.sent.maybe() {
            self.lane.holds(self.target);
        }
    }
}

/// Leave to run one operation. Dropped without a result, it frees the probe's place.
struct Pass<'a> {
    lane: &'a Lane,
    probe: bool,
}

impl Pass<'_> {
    fn settle(&mut self, settings: &Settings, fault: Option<&Fault>) {
        let mut health = self.lane.health();
        match fault.map_or(Some(true), Fault::answered) {
            Some(true) => {
                health.silent = 0;
                health.rests_until = None;
            }
            Some(false) => {
                health.silent = health.silent.saturating_add(1);
                if health.silent >= settings.rest_after {
                    let doublings = health.silent.saturating_sub(settings.rest_after).min(4);
                    health.rests_until = Some(Instant::now() + settings.rest * (1 << doublings));
                }
            }
            None => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.lane.health().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    fn silence() -> Fault {
        Fault::NoAnswer(Duration::from_secs(1))
    }

    async fn fails(lane: &Lane, settings: &Settings, fault: Fault) -> Fault {
        lane.run(settings, async { Err::<(), _>(fault) }).await.unwrap_err()
    }

    fn brisk() -> Settings {
        Settings { rest: Duration::from_millis(40), ..Settings::default() }
    }

    #[tokio::test]
    async fn a_silent_bmc_is_left_alone_and_then_probed_by_one() {
        let (lane, settings) = (Lane::default(), brisk());
        for _ in 0..settings.rest_after {
            assert!(matches!(fails(&lane, &settings, silence()).await, Fault::NoAnswer(_)));
        }
        assert!(matches!(fails(&lane, &settings, silence()).await, Fault::Resting(_)));
        tokio::time::sleep(settings.rest).await;
        let probe = lane.pass(&settings).unwrap();
        assert!(lane.pass(&settings).is_err(), "a second probe beside the first");
        drop(probe);
        assert!(lane.run(&settings, async { Ok(()) }).await.is_ok());
        assert!(lane.run(&settings, async { Ok(()) }).await.is_ok(), "open again for all");
    }

    #[test]
    fn a5_6_however_its_address_is_written_a_bmc_has_one_lane_a_protocol() {
        let redfish = |address: &str| key(Protocol::Redfish, address);
        for same in ["10.0.0.5", "https://10.0.0.5", "HTTPS://10.0.0.5:443/", " 10.0.0.5:443", "http://10.0.0.5:80"] {
            assert_eq!(redfish(same), "redfish/10.0.0.5", "{same}");
        }
        for same in ["fe80::443", "[fe80::443]", "https://[fe80::443]:443"] {
            assert_eq!(redfish(same), "redfish/fe80::443", "{same}");
        }
        for other in ["10.0.0.5:8443", "http://10.0.0.5:443", "10.0.0.50"] {
            assert_ne!(redfish(other), "redfish/10.0.0.5", "{other}");
        }
        assert_eq!(
            (key(Protocol::Ipmi, "BMC-5:623"), key(Protocol::Ipmi, "bmc-5")),
            ("ipmi/bmc-5".into(), "ipmi/bmc-5".into())
        );
    }

    #[tokio::test]
    async fn a_bmc_that_refuses_is_alive() {
        let (lane, settings) = (Lane::default(), brisk());
        for _ in 0..50 {
            assert!(matches!(fails(&lane, &settings, Fault::Declined("no".into())).await, Fault::Declined(_)));
        }
    }

    #[tokio::test]
    async fn the_rest_grows_with_each_failed_probe() {
        let (lane, settings) = (Lane::default(), brisk());
        let left = |fault| match fault {
            Fault::Resting(left) => left,
            other => panic!("{other:?}"),
        };
        for _ in 0..settings.rest_after {
            fails(&lane, &settings, silence()).await;
        }
        assert!(left(fails(&lane, &settings, silence()).await) <= settings.rest);
        tokio::time::sleep(settings.rest).await;
        fails(&lane, &settings, silence()).await;
        assert!(left(fails(&lane, &settings, silence()).await) > settings.rest);
    }

    #[test]
    fn a5_6_a_password_under_change_is_used_by_nobody_until_the_bmc_has_said_no() {
        let (lane, sent) = (Lane::default(), Sent::default());
        let old = Target::new(Protocol::Ipmi, "10.0.0.1", "admin", Secret::new("before"));
        let new = Target { password: Secret::new("after"), ..old.clone() };
        let other = Target { user: "other".into(), ..old.clone() };
        let held = |lane: &Lane| [&old, &new, &other].map(|target| lane.is_current(target).is_err());
        let change = lane.change(&old, &sent);
        assert_eq!(held(&lane), [true, false, false], "before its first byte");
        sent.mark();
        sent.denied();
        drop(change);
        assert_eq!(held(&lane), [false; 3], "the BMC said no");
        let change = lane.change(&old, &sent);
        sent.mark();
        drop(change);
        assert_eq!(held(&lane), [true, false, false], "nobody knows");
        lane.holds(&new);
        assert_eq!(held(&lane), [true, false, false]);
        lane.holds(&old);
        assert_eq!(held(&lane), [false; 3]);
    }

    #[test]
    fn a5_6_two_failed_logins_hold_the_third_for_the_hour() {
        let (lane, start) = (Lane::default(), Instant::now());
        let target = Target::new(Protocol::Ipmi, "10.0.0.1", "admin", Secret::new("wrong"));
        lane.login_failed(&target);
        assert!(lane.may_log_in().is_ok());
        lane.login_failed(&target);
        let later = start + Duration::from_secs(1800);
        assert!(matches!(lane.may_log_in_at(later), Err(Fault::LoginsHeld(left)) if left <= Duration::from_secs(1801)));
        assert!(lane.may_log_in_at(Instant::now() + HOUR).is_ok());
    }

    #[tokio::test]
    async fn a5_6_a_bmc_that_is_starting_is_excused_twice_and_for_the_credential_that_held_before_alone() {
        let (lane, settings) = (Lane::default(), Settings { rest: Duration::ZERO, ..Settings::default() });
        let held = Target::new(Protocol::Redfish, "10.0.0.1", "admin", Secret::new("secret"));
        let wrong = Target { password: Secret::new("wrong"), ..held.clone() };
        lane.restarts(&settings, &held).await;
        assert!(matches!(lane.login_failed(&wrong), Fault::Login));
        let told: Vec<bool> = (0..3).map(|_| matches!(lane.login_failed(&held), Fault::Resting(_))).collect();
        assert_eq!(told, [true, true, false]);
        assert!(lane.may_log_in().is_err(), "one of the wrong password, one of the other");
        lane.login_worked();
        assert!(matches!(lane.login_failed(&held), Fault::Login), "once it is back nothing is excused");
        let late = Settings { restart: Duration::ZERO, ..settings };
        lane.restarts(&late, &held).await;
        assert!(matches!(lane.login_failed(&held), Fault::Login), "nor when it was long ago");
    }

    #[tokio::test]
    async fn a_bmc_that_was_restarted_rests_and_is_then_probed_by_one() {
        let (lane, settings) = (Lane::default(), brisk());
        lane.restarts(&settings, &Target::new(Protocol::Ipmi, "10.0.0.1", "admin", Secret::new("x"))).await;
        assert!(matches!(lane.run(&settings, async { Ok(()) }).await, Err(Fault::Resting(_))));
        tokio::time::sleep(settings.rest).await;
        assert!(matches!(fails(&lane, &settings, silence()).await, Fault::NoAnswer(_)));
        assert!(matches!(fails(&lane, &settings, silence()).await, Fault::Resting(_)), "one silence is enough");
    }
}
