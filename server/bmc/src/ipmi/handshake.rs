//! From nothing to a session: capabilities, Open Session, RAKP 1 to 4 (IPMI 2.0, sections 13.15 to 13.24; B8.1, B8.2).
//!
//! The BMC proves that it knows the password (RAKP 2) before we prove it (RAKP 3). When its proof is wrong we say so
//! with an error status in RAKP 3, which frees its session slot, and count a failed login: a wrong password shows
//! here, and the account may be one that locks.

use super::crypto::{Keys, Suite, same};
use super::packet::{self, Packet, Reply, array};
use super::session::Session;
use super::socket::Mailbox;
use crate::lane::Lane;
use crate::{Fault, Inner, Quirk, Settings, Target};
use ring::rand::{SecureRandom, SystemRandom};
use std::net::SocketAddr;
use tokio::time::Instant;

const ADMINISTRATOR: u8 = 0x04;
/// RAKP 1: look the user up by name alone.
const NAME_ONLY: u8 = 0x10;
/// Of messages that a login takes.
const EXCHANGES: u32 = 4;
const LONGEST_USER: usize = 16;
/// RAKP 1 with a name of that length.
const WHOLE_RAKP_1: usize = 28 + LONGEST_USER;
const LONGEST_PASSWORD: usize = 20;
const BAD_CHECK_VALUE: u8 = 0x0f;

/// A new session with administrator's privilege.
pub async fn log_in(engine: &Inner, lane: &Lane, target: &Target) -> Result<Session, Fault> {
    let (sockets, settings) = (&engine.sockets, &engine.settings);
    let hears = |since: Instant| {
        lane.hears();
        engine.pace.answered(since.elapsed() / EXCHANGES, since.elapsed() >= settings.answer);
    };
    let user = target.user.as_bytes();
    if user.len() > LONGEST_USER || target.password.reveal().len() > LONGEST_PASSWORD {
        return Err(Fault::NotOffered("users longer than 16 or passwords longer than 20 bytes over IPMI".into()));
    }
    lane.may_log_in()?;
    let peer = resolve(&target.address).await?;
    if !target.has(Quirk::SkipAuthCapabilities) {
        let asked = Instant::now();
        capabilities(&mut sockets.mailbox(peer, random()?).await?, settings).await?;
        hears(asked);
    }
    let suites: &[Suite] =
        if target.has(Quirk::SuiteThreeOnly) { &[Suite::Three] } else { &[Suite::Seventeen, Suite::Three] };
    let mut last = Fault::Broken("no cipher suite was tried".into());
    for suite in suites {
        let mailbox = sockets.mailbox(peer, random()?).await?;
        let asked = Instant::now();
        match exchange_keys(mailbox, settings, target, *suite).await {
            Ok(session) => {
                hears(asked);
                lane.login_worked();
                return Ok(session);
            }
            Err(Failed::Suite(fault)) => last = fault,
            Err(Failed::Login) => return Err(lane.login_failed(target)),
            Err(Failed::Other(fault)) => return Err(fault),
        }
    }
    Err(last)
}

enum Failed {
    /// Not with this cipher suite, or not a word about it.
    Suite(Fault),
    Login,
    Other(Fault),
}

pub async fn resolve(address: &str) -> Result<SocketAddr, Fault> {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<std::net::IpAddr>() {
        return Ok((ip, 623).into());
    }
    let named = if address.contains(':') { address.to_string() } else { format!("{address}:623") };
    let found = tokio::net::lookup_host(&named).await;
    found.ok().and_then(|mut found| found.next()).ok_or_else(|| Fault::NoAddress(address.into()))
}

pub fn random<T: Random>() -> Result<T, Fault> {
    T::random().ok_or_else(|| Fault::Broken("no random numbers".into()))
}

pub trait Random: Sized {
    fn random() -> Option<Self>;
}

impl Random for [u8; 16] {
    fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Random for u32 {
    /// Never 0: that is the id of "no session".
    fn random() -> Option<Self> {
        <[u8; 16]>::random().and_then(|bytes| array(&bytes, 0)).map(|bytes| Self::from_le_bytes(bytes) | 1)
    }
}

/// Asks, in IPMI 1.5 framing, whether IPMI 2.0 is spoken on this channel.
async fn capabilities(mailbox: &mut Mailbox, settings: &Settings) -> Result<(), Fault> {
    let question = packet::bare(&packet::request(0x06 << 2, 0x38, 0, &[0x8e, ADMINISTRATOR]));
    let reply = mailbox
        .exchange(settings, &question, |datagram| match packet::parse(datagram) {
            Some(Packet::Bare { message }) => {
                Reply::read(message).filter(|reply| (reply.net_fn, reply.command) == (0x07, 0x38))
            }
            _ => None,
        })
        .await?;
    let extended = reply.data.get(1).is_some_and(|types| types & 0x80 != 0);
    if reply.completion != 0 || (extended && reply.data.get(3).is_some_and(|caps| caps & 0x02 == 0)) {
        return Err(Fault::NotOffered("IPMI 2.0 (it answers for 1.5 only, which has no safe login)".into()));
    }
    Ok(())
}

async fn exchange_keys(
    mut mailbox: Mailbox,
    settings: &Settings,
    target: &Target,
    suite: Suite,
) -> Result<Session, Failed> {
    let managed = open_session(&mut mailbox, settings, suite).await?;
    let (role, user) = named_as(target);
    let password = target.password.reveal().as_bytes();
    let named = [&[role, user.len() as u8], &user[..]].concat();
    let ours: [u8; 16] = random().map_err(Failed::Other)?;
    let mut ask = [&[1, 0, 0, 0], &managed.to_le_bytes()[..], &ours, &[role, 0, 0, user.len() as u8], &user].concat();
    if target.has(Quirk::WholeNameField) {
        ask.resize(WHOLE_RAKP_1, 0);
    }
    let two = rakp_1(&mut mailbox, settings, &ask).await?;

    let console = mailbox.console().to_le_bytes();
    let expected = suite.mac(password, &[&console, &managed.to_le_bytes(), &ours, &two.random, &two.guid, &named]);
    // Some firmware sends one byte more, which belongs to nothing.
    let proof = two.proof.split_at_checked(expected.len()).filter(|(_, rest)| rest.len() <= 1).map(|(proof, _)| proof);
    if !proof.is_some_and(|proof| same(&expected, proof)) {
        mailbox.send(&rakp_3(managed, BAD_CHECK_VALUE, &[])).await;
        return Err(Failed::Login);
    }
    let proof = suite.mac(password, &[&two.random, &console, &named]);
    let four = mailbox
        .exchange(settings, &rakp_3(managed, 0, &proof), |datagram| payload(datagram, packet::RAKP_4, 2))
        .await
        .map_err(Failed::Other)?;
    check(&four, suite)?;
    let keys = Keys::derive(suite, password, &ours, &two.random, role, &user);
    if !keys.proves(&ours, managed, &two.guid, four.get(8..).unwrap_or_default()) {
        return Err(Failed::Other(Fault::Garbled("RAKP 4 proves another session key".into())));
    }
    Ok(Session::new(mailbox, managed, keys, target))
}

/// The role that RAKP 1 asks for, and the user's name as it goes into the key exchange.
fn named_as(target: &Target) -> (u8, Vec<u8>) {
    let mut user = target.user.as_bytes().to_vec();
    let padded = target.has(Quirk::PadUserName);
    if padded {
        user.resize(LONGEST_USER, 0);
    }
    let bare = padded || target.has(Quirk::OpenSessionPrivilege);
    (if bare { ADMINISTRATOR } else { ADMINISTRATOR | NAME_ONLY }, user)
}

async fn open_session(mailbox: &mut Mailbox, settings: &Settings, suite: Suite) -> Result<u32, Failed> {
    let mut ask = vec![0, ADMINISTRATOR, 0, 0];
    ask.extend(mailbox.console().to_le_bytes());
    for (kind, algorithm) in (0_u8..).zip(suite.algorithms()) {
        ask.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    let datagram = packet::open_payload(packet::OPEN_SESSION, &ask);
    let opened = mailbox
        .exchange(settings, &datagram, |datagram| payload(datagram, packet::OPENED, 0))
        .await
        // Some BMCs do not answer at all about a suite they do not know.
        .map_err(Failed::Suite)?;
    check(&opened, suite)?;
    let chosen = [opened.get(16), opened.get(24), opened.get(32)];
    if chosen != suite.algorithms().each_ref().map(Some) {
        return Err(Failed::Suite(Fault::Garbled("Open Session was answered with other algorithms".into())));
    }
    let managed = array(&opened, 8).map(u32::from_le_bytes);
    managed.ok_or_else(|| Failed::Other(Fault::Garbled("Open Session was answered without a session id".into())))
}

struct Rakp2 {
    random: [u8; 16],
    guid: [u8; 16],
    proof: Vec<u8>,
}

async fn rakp_1(mailbox: &mut Mailbox, settings: &Settings, ask: &[u8]) -> Result<Rakp2, Failed> {
    let two = mailbox
        .exchange(settings, &packet::open_payload(packet::RAKP_1, ask), |datagram| payload(datagram, packet::RAKP_2, 1))
        .await
        .map_err(Failed::Other)?;
    check(&two, Suite::Seventeen)?;
    match (array(&two, 8), array(&two, 24), two.get(40..)) {
        (Some(random), Some(guid), Some(proof)) => Ok(Rakp2 { random, guid, proof: proof.to_vec() }),
        _ => Err(Failed::Other(Fault::Garbled("RAKP 2 is too short".into()))),
    }
}

fn rakp_3(managed: u32, status: u8, proof: &[u8]) -> Vec<u8> {
    let body = [&[2, status, 0, 0], &managed.to_le_bytes()[..], proof].concat();
    packet::open_payload(packet::RAKP_3, &body)
}

/// The payload, if it is of this kind and answers the message with this tag.
fn payload(datagram: &[u8], kind: u8, tag: u8) -> Option<Vec<u8>> {
    match packet::parse(datagram)? {
        Packet::Plus(plus) if plus.kind == kind && plus.payload.first() == Some(&tag) => Some(plus.payload.to_vec()),
        _ => None,
    }
}

/// The status codes of table 13-15.
fn check(answer: &[u8], suite: Suite) -> Result<(), Failed> {
    let status = *answer.get(1).ok_or_else(|| Failed::Other(Fault::Garbled("an answer without a status".into())))?;
    let fault = |what: &str| Fault::Declined(format!("{what} (RMCP+ status {status:02x}h, {suite:?})"));
    Err(match status {
        0x00 => return Ok(()),
        0x01 | 0x0b => Failed::Other(Fault::NoSlot),
        0x02 | 0x08 => Failed::Other(Fault::Busy(format!("the half-open session is gone, status {status:02x}h"))),
        0x04..=0x07 | 0x10 | 0x11 => Failed::Suite(Fault::NotOffered(format!("cipher suite {suite:?} or better"))),
        0x09 | 0x0a => Failed::Other(fault("the user has no administrator privilege")),
        0x0c | 0x0d | BAD_CHECK_VALUE => Failed::Login,
        _ => Failed::Other(fault("the key exchange failed")),
    })
}

/// For the fuzzer: every reader of this file on any bytes.
pub fn parse(datagram: &[u8]) {
    for kind in [packet::OPENED, packet::RAKP_2, packet::RAKP_4] {
        if let Some(payload) = payload(datagram, kind, 0) {
            let _ = check(&payload, Suite::Three);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_without_a_port_means_623() {
        assert_eq!(resolve("127.0.0.9").await.unwrap().to_string(), "127.0.0.9:623");
        assert_eq!(resolve("127.0.0.9:6230").await.unwrap().to_string(), "127.0.0.9:6230");
        assert_eq!(resolve("fe80::1").await.unwrap().port(), 623);
        assert_eq!(resolve("[::1]:1623").await.unwrap().port(), 1623);
        assert!(matches!(resolve("no such host").await, Err(Fault::NoAddress(_))));
    }

    #[test]
    fn b8_2_a_refused_suite_is_no_refused_login() {
        for status in [0x04, 0x05, 0x10, 0x11] {
            assert!(matches!(check(&[0, status], Suite::Seventeen), Err(Failed::Suite(_))), "{status:02x}");
        }
        assert!(matches!(check(&[0, 0x0d], Suite::Seventeen), Err(Failed::Login)));
        assert!(matches!(check(&[0, 0x01], Suite::Seventeen), Err(Failed::Other(Fault::NoSlot))));
        assert!(matches!(check(&[0], Suite::Three), Err(Failed::Other(Fault::Garbled(_)))));
    }
}
