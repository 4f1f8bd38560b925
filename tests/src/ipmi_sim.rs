//! A BMC that speaks IPMI 2.0 over RMCP+ with cipher suites 17 and 3, and misbehaves on demand.
//!
//! Debian's `ipmi_sim` and pyghmi's server refuse suite 17, so this one exists. It was written from the specification's
//! tables beside the product's client and shares no line with it; `ipmitool` is the judge between the two
//! (`tests/bmc_ipmi.rs`). It answers on a loopback port of its own until it is dropped.

// A simulator is test code in a library's clothes: it may fall over.
#![allow(clippy::indexing_slicing, clippy::expect_used)]

mod hail;
mod server;
mod sol;
mod store;
mod users;

pub use hail::Hail;
pub use server::{Factors, compact, controller, ddr4, event, fru, fru_locator, full, store};
pub use sol::Sol;
pub use store::Store;
pub use users::{Keeps, Users};

use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ring::hmac;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What this BMC is, and what is wrong with it.
#[derive(Clone)]
pub struct Traits {
    pub user: String,
    pub password: String,
    /// Cipher suites it takes: 17, 3.
    pub suites: Vec<u8>,
    pub slots: usize,
    /// Says nothing at all to a suite it does not take.
    pub silent_about_suites: bool,
    /// Answers Get Channel Authentication Capabilities.
    pub tells_capabilities: bool,
    /// Refuses boot option 3.
    pub refuses_boot_timeout: bool,
    /// Takes a boot override and does nothing with it.
    pub forgets_boot: bool,
    /// What it tells without a login.
    pub hail: Hail,
    /// What of the key exchange it has its own way of.
    pub exchange: Exchange,
    /// Loses a boot option that follows another one within a second.
    pub loses_hasty_settings: bool,
}

/// Key exchanges as some firmware has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    #[default]
    Plain,
    /// Hashes with the privilege of Open Session, whatever RAKP 1 asks for.
    OpenedPrivilege,
    /// Knows names of sixteen bytes alone, and no lookup by name alone.
    PaddedNames,
    /// Answers no RAKP 1 but one of full length.
    WholeNameField,
    /// Sends so many bytes behind the proof of RAKP 2.
    MoreBytes(usize),
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            user: "admin".into(),
            password: "secret".into(),
            suites: vec![17, 3],
            slots: 4,
            silent_about_suites: false,
            tells_capabilities: true,
            refuses_boot_timeout: false,
            forgets_boot: false,
            hail: Hail::default(),
            exchange: Exchange::Plain,
            loses_hasty_settings: false,
        }
    }
}

/// What befalls the next commands inside a session, one entry a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It never arrives.
    LoseRequest,
    /// It is carried out, its reply is lost.
    LoseReply,
    /// Its reply arrives three times.
    Triple,
    /// Its reply arrives after the reply to the next command.
    Late,
    /// It is answered with this completion code instead.
    Code(u8),
    /// The reply's last byte is bent.
    Bend,
    /// Nothing is wrong with this one.
    Fine,
}

pub struct State {
    pub traits: Traits,
    pub on: bool,
    /// Boot option 5 as set last.
    pub boot: [u8; 5],
    /// The locate light: off, on for a while, on.
    pub light: u8,
    /// What it keeps of sensors, parts and events.
    pub store: Store,
    /// Who has which number, and what becomes of their passwords.
    pub users: Users,
    /// The machine's serial console.
    pub sol: Sol,
    pub mishaps: VecDeque<Mishap>,
    /// (network function, command, data) as carried out, session housekeeping included.
    pub done: Vec<(u8, u8, Vec<u8>)>,
    pub logins: usize,
    pub rakp1: usize,
    /// Whether anything is answered at all.
    pub dead: bool,
    sessions: HashMap<u32, Session>,
    late: Option<Vec<u8>>,
    last_setting: Option<Instant>,
    next: u32,
}

impl State {
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The BMC restarts: what was open is forgotten.
    pub fn restart(&mut self) {
        self.sessions.clear();
        self.sol.active = None;
    }

    pub fn carried_out(&self, net_fn: u8, command: u8) -> usize {
        self.done.iter().filter(|(f, c, _)| (*f, *c) == (net_fn, command)).count()
    }
}

struct Session {
    suite: u8,
    console: u32,
    console_random: [u8; 16],
    role: u8,
    user: Vec<u8>,
    established: bool,
    sik: Vec<u8>,
    k1: Vec<u8>,
    k2: Vec<u8>,
    out: u32,
    /// Where its last packet came from.
    peer: Option<SocketAddr>,
}

const MANAGED_RANDOM: [u8; 16] = *b"chosen by nobody";
pub const GUID: [u8; 16] = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x46, 0x88, 9, 10, 11, 12, 13, 14, 15];

/// A running simulator.
pub struct IpmiSim {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    socket: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl IpmiSim {
    pub async fn start(traits: Traits) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), traits).await
    }

    /// At a given address: for a whole row of them.
    pub async fn start_at(at: SocketAddr, traits: Traits) -> Self {
        let socket = Arc::new(UdpSocket::bind(at).await.expect("a loopback port"));
        let address = socket.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            traits,
            on: false,
            boot: [0; 5],
            light: 0,
            store: Store::default(),
            users: Users::default(),
            sol: Sol::default(),
            mishaps: VecDeque::new(),
            done: Vec::new(),
            logins: 0,
            rakp1: 0,
            dead: false,
            sessions: HashMap::new(),
            late: None,
            last_setting: None,
            next: 0x0100_0000,
        }));
        let (shared, ours) = (state.clone(), socket.clone());
        let task = tokio::spawn(async move {
            let socket = ours;
            let mut buffer = [0_u8; 2048];
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tokio::select! {
                    Ok((length, peer)) = socket.recv_from(&mut buffer) => {
                        let replies = lock(&shared).datagram(&buffer[..length], peer).unwrap_or_default();
                        for reply in replies {
                            let _ = socket.send_to(&reply, peer).await;
                        }
                    }
                    _ = tick.tick() => {
                        let said = lock(&shared).said();
                        if let Some((peer, packet)) = said {
                            let _ = socket.send_to(&packet, peer).await;
                        }
                    }
                }
            }
        });
        Self { address, state, socket, task }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Another session takes the console from whoever has it.
    pub async fn take_console(&self) {
        let told = self.state().taken_away();
        let Some((peer, packet)) = told else { return };
        let _ = self.socket.send_to(&packet, peer).await;
    }

    /// What befalls the next commands, in order.
    pub fn plan(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.state().mishaps.extend(mishaps);
    }
}

impl Drop for IpmiSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn mac(suite: u8, key: &[u8], data: &[u8]) -> Vec<u8> {
    let algorithm = if suite == 17 { hmac::HMAC_SHA256 } else { hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY };
    hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
}

fn code_length(suite: u8) -> usize {
    if suite == 17 { 16 } else { 12 }
}

fn plus(kind: u8, session: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0xff, 7, 6, kind];
    out.extend(session.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend((payload.len() as u16).to_le_bytes());
    out.extend(payload);
    out
}

impl State {
    fn datagram(&mut self, bytes: &[u8], peer: SocketAddr) -> Option<Vec<Vec<u8>>> {
        if self.dead || !bytes.starts_with(&[6, 0, 0xff, 7]) {
            return None;
        }
        if *bytes.get(4)? == 0 {
            let (request, data) = bytes.get(14..bytes.len() - 1)?.split_at_checked(6)?;
            return self.hailed(request, data).map(|reply| vec![reply]);
        }
        let kind = *bytes.get(5)?;
        let length = usize::from(u16::from_le_bytes([*bytes.get(14)?, *bytes.get(15)?]));
        let payload = bytes.get(16..16 + length)?;
        match kind & 0x3f {
            0x10 => self.open(payload),
            0x12 => self.rakp1(payload),
            0x14 => self.rakp3(payload),
            kind @ (0x00 | 0x01) => {
                let managed = word(bytes, 6)?;
                let message = self.unsealed(managed, bytes, payload, peer)?;
                match kind {
                    0x00 => self.request(managed, &message),
                    _ => self.typed(managed, &message),
                }
            }
            _ => None,
        }
    }

    fn open(&mut self, ask: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (tag, console) = (*ask.first()?, word(ask, 4)?);
        let suite = match [*ask.get(12)?, *ask.get(20)?, *ask.get(28)?] {
            [3, 4, 1] => 17,
            [1, 1, 1] => 3,
            _ => 0,
        };
        if !self.traits.suites.contains(&suite) {
            let refusal = [&[tag, 0x11, 0, 0], &console.to_le_bytes()[..]].concat();
            return (!self.traits.silent_about_suites).then(|| vec![plus(0x11, 0, 0, &refusal)]);
        }
        if self.sessions.len() >= self.traits.slots {
            return Some(vec![plus(0x11, 0, 0, &[&[tag, 0x01, 0, 0], &console.to_le_bytes()[..]].concat())]);
        }
        self.next += 1;
        let managed = self.next;
        self.sessions.insert(
            managed,
            Session {
                suite,
                console,
                console_random: [0; 16],
                role: 0,
                user: Vec::new(),
                established: false,
                sik: Vec::new(),
                k1: Vec::new(),
                k2: Vec::new(),
                out: 0,
                peer: None,
            },
        );
        let mut answer = vec![tag, 0, 4, 0];
        answer.extend(console.to_le_bytes());
        answer.extend(managed.to_le_bytes());
        answer.extend(&ask[8..32]);
        Some(vec![plus(0x11, 0, 0, &answer)])
    }

    fn rakp1(&mut self, ask: &[u8]) -> Option<Vec<Vec<u8>>> {
        self.rakp1 += 1;
        let managed = word(ask, 4)?;
        let Traits { user, password, exchange, .. } = self.traits.clone();
        if exchange == Exchange::WholeNameField && ask.len() != 44 {
            return None;
        }
        let session = self.sessions.get_mut(&managed)?;
        session.console_random = ask.get(8..24)?.try_into().ok()?;
        session.role = *ask.get(24)?;
        session.user = ask.get(28..28 + usize::from(*ask.get(27)?))?.to_vec();
        let mut answer = vec![*ask.first()?, 0, 0, 0];
        answer.extend(session.console.to_le_bytes());
        let mut known = user.into_bytes();
        match exchange {
            Exchange::PaddedNames => known.resize(16, 0),
            // What Open Session was asked for, and is told to have got.
            Exchange::OpenedPrivilege => session.role = 4,
            _ => {}
        }
        if session.user != known || (exchange == Exchange::PaddedNames && session.role & 0x10 != 0) {
            answer[1] = 0x0d;
            self.sessions.remove(&managed);
            return Some(vec![plus(0x13, 0, 0, &answer)]);
        }
        let mut covered = session.console.to_le_bytes().to_vec();
        covered.extend(managed.to_le_bytes());
        covered.extend(session.console_random);
        covered.extend(MANAGED_RANDOM);
        covered.extend(GUID);
        covered.extend([session.role, session.user.len() as u8]);
        covered.extend(&session.user);
        answer.extend(MANAGED_RANDOM);
        answer.extend(GUID);
        answer.extend(mac(session.suite, password.as_bytes(), &covered));
        if let Exchange::MoreBytes(more) = exchange {
            answer.extend(vec![0xee; more]);
        }
        Some(vec![plus(0x13, 0, 0, &answer)])
    }

    fn rakp3(&mut self, ask: &[u8]) -> Option<Vec<Vec<u8>>> {
        let managed = word(ask, 4)?;
        if *ask.get(1)? != 0 {
            self.sessions.remove(&managed);
            return None;
        }
        let password = self.traits.password.clone().into_bytes();
        let session = self.sessions.get_mut(&managed)?;
        let tail = [&[session.role, session.user.len() as u8], &session.user[..]].concat();
        let covered = [&MANAGED_RANDOM[..], &session.console.to_le_bytes(), &tail].concat();
        let mut answer = vec![*ask.first()?, 0, 0, 0];
        answer.extend(session.console.to_le_bytes());
        if ask.get(8..)? != mac(session.suite, &password, &covered) {
            answer[1] = 0x0f;
            self.sessions.remove(&managed);
            return Some(vec![plus(0x15, 0, 0, &answer)]);
        }
        let ours = [&session.console_random[..], &MANAGED_RANDOM, &tail].concat();
        session.sik = mac(session.suite, &password, &ours);
        session.k1 = mac(session.suite, &session.sik, &[1; 20]);
        session.k2 = mac(session.suite, &session.sik, &[2; 20]);
        session.established = true;
        self.logins += 1;
        let proof = [&session.console_random[..], &managed.to_le_bytes(), &GUID].concat();
        answer.extend(&mac(session.suite, &session.sik, &proof)[..code_length(session.suite)]);
        Some(vec![plus(0x15, 0, 0, &answer)])
    }

    fn unsealed(&mut self, managed: u32, bytes: &[u8], payload: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
        let session = self.sessions.get_mut(&managed).filter(|session| session.established)?;
        let (covered, code) = bytes.get(4..)?.split_at_checked(bytes.len() - 4 - code_length(session.suite))?;
        if session.sign(covered) != code {
            return None;
        }
        session.peer = Some(peer);
        session.decrypt(payload)
    }

    fn typed(&mut self, managed: u32, packet: &[u8]) -> Option<Vec<Vec<u8>>> {
        if self.sol.active != Some(managed) {
            return None;
        }
        let answer = self.sol.packet(packet)?;
        Some(vec![self.sessions.get_mut(&managed)?.seal(0x01, &answer)])
    }

    /// What the console's machine says by itself, and to whom.
    fn said(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let managed = self.sol.active.filter(|_| !self.dead)?;
        let packet = self.sol.tick()?;
        let session = self.sessions.get_mut(&managed)?;
        Some((session.peer?, session.seal(0x01, &packet)))
    }

    /// Somebody else takes the console; what its holder is told.
    fn taken_away(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let managed = self.sol.active?;
        let packet = self.sol.take_away();
        let session = self.sessions.get_mut(&managed)?;
        Some((session.peer?, session.seal(0x01, &packet)))
    }

    fn request(&mut self, managed: u32, request: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mishap = self.mishaps.pop_front().unwrap_or(Mishap::Fine);
        if mishap == Mishap::LoseRequest {
            return None;
        }
        let (head, data) = request.get(..request.len() - 1)?.split_at_checked(6)?;
        let (net_fn, command) = (head[1] >> 2, head[5]);
        let (completion, answer) = match mishap {
            Mishap::Code(code) => (code, Vec::new()),
            _ => {
                self.done.push((net_fn, command, data.to_vec()));
                let told = self.sol.answer(net_fn, command, data, managed);
                told.unwrap_or_else(|| self.carry_out(net_fn, command, data))
            }
        };
        if (net_fn, command, completion) == (6, 0x47, 0) && self.users.changing_ends_sessions {
            self.sessions.clear();
            return Some(Vec::new());
        }
        let session = self.sessions.get_mut(&managed)?;
        let mut reply = session.seal(0x00, &message(head, completion, &answer));
        if (net_fn, command) == (6, 0x3c) {
            self.sessions.remove(&managed);
            self.sol.active.take_if(|active| *active == managed);
        }
        if (net_fn, command, completion) == (6, 0x02, 0) {
            self.restart();
        }
        let mut replies = match mishap {
            Mishap::LoseReply => Vec::new(),
            Mishap::Triple => vec![reply; 3],
            Mishap::Bend => {
                *reply.last_mut()? ^= 0x40;
                vec![reply]
            }
            Mishap::Late => {
                self.late = Some(reply);
                return Some(Vec::new());
            }
            _ => vec![reply],
        };
        replies.splice(0..0, self.late.take());
        Some(replies)
    }

    fn carry_out(&mut self, net_fn: u8, command: u8, data: &[u8]) -> (u8, Vec<u8>) {
        match (net_fn, command, data) {
            (0x06, 0x01, _) => (0, vec![0x20, 0x81, 0x03, 0x47, 0x02, 0x8f, 0x57, 0x01, 0x00, 0x34, 0x12, 0, 0, 0, 0]),
            (0x06, 0x37, _) => (0, GUID.to_vec()),
            (0x06, 0x3b, [level, ..]) => (0, vec![(*level).max(4)]),
            (0x06, 0x3c, _) => (0, Vec::new()),
            (0x06, 0x44..=0x47, _) => {
                let Traits { user, password, .. } = &mut self.traits;
                self.users.answer(command, data, user, password)
            }
            (0x00, 0x01, _) => (0, vec![u8::from(self.on) | 0x60, 0x10, 0x40 | self.light << 4]),
            (0x00, 0x04, [seconds, rest @ ..]) => {
                self.light = if rest.first() == Some(&1) { 2 } else { u8::from(*seconds > 0) };
                (0, Vec::new())
            }
            (0x06, 0x02, _) => (0, Vec::new()),
            // Some BMCs call it an error to switch off what is off.
            (0x00, 0x02, [0x00 | 0x05, ..]) if !self.on => (0xd5, Vec::new()),
            (0x00, 0x02, [0x02 | 0x03, ..]) if !self.on => (0xd5, Vec::new()),
            (0x00, 0x02, [control, ..]) => {
                self.on = !matches!(control, 0x00 | 0x05);
                (0, Vec::new())
            }
            (0x00, 0x08, [0x03, _, ..]) if self.traits.refuses_boot_timeout => (0x80, Vec::new()),
            (0x00, 0x08, _) if self.is_hasty() => (0, Vec::new()),
            (0x00, 0x08, [0x05, flags @ ..]) if flags.len() == 5 => {
                if !self.traits.forgets_boot {
                    self.boot.copy_from_slice(flags);
                }
                (0, Vec::new())
            }
            (0x00, 0x08, _) => (0, Vec::new()),
            (0x00, 0x09, [0x05, ..]) => (0, [&[0x01, 0x05], &self.boot[..]].concat()),
            (0x00, 0x09, [number, ..]) => (0, vec![0x01, *number, 0]),
            _ => self.store.answer(net_fn, command, data).unwrap_or((0xc1, Vec::new())),
        }
    }
}

impl State {
    /// Whether this setting follows the one before too soon for this BMC.
    fn is_hasty(&mut self) -> bool {
        let before = self.last_setting.replace(Instant::now());
        self.traits.loses_hasty_settings && before.is_some_and(|before| before.elapsed() < Duration::from_secs(1))
    }
}

/// The reply to a request with this head: addresses swapped, function one up.
fn message(request: &[u8], completion: u8, data: &[u8]) -> Vec<u8> {
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    let mut out = vec![request[3], ((request[1] >> 2) | 1) << 2];
    out.push(sum(&out));
    let tail = [&[0x20, request[4], request[5], completion], data].concat();
    out.extend(&tail);
    out.push(sum(&tail));
    out
}

impl Session {
    fn sign(&self, covered: &[u8]) -> Vec<u8> {
        mac(self.suite, &self.k1, covered)[..code_length(self.suite)].to_vec()
    }

    fn cipher(&self) -> aes::Aes128 {
        aes::Aes128::new_from_slice(&self.k2[..16]).expect("16 bytes")
    }

    fn decrypt(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let cipher = self.cipher();
        let mut plain = Vec::new();
        for pair in payload.chunks(16).collect::<Vec<_>>().windows(2) {
            let mut block = aes::Block::clone_from_slice(pair[1]);
            cipher.decrypt_block(&mut block);
            plain.extend(block.iter().zip(pair[0]).map(|(a, b)| a ^ b));
        }
        let pad = usize::from(*plain.last()?);
        let counted = plain.iter().rev().skip(1).take(pad).rev().copied().eq(1..=pad as u8);
        plain.truncate(plain.len().checked_sub(pad + 1)?);
        counted.then_some(plain)
    }

    fn seal(&mut self, kind: u8, message: &[u8]) -> Vec<u8> {
        self.out += 1;
        let pad = (16 - (message.len() + 1) % 16) % 16;
        let mut plain = message.to_vec();
        plain.extend((1..=pad).map(|at| at as u8));
        plain.push(pad as u8);
        let cipher = self.cipher();
        let mut sealed = vec![self.out as u8; 16];
        for block in plain.chunks(16) {
            let before = sealed[sealed.len() - 16..].to_vec();
            let mut block = aes::Block::from_iter(block.iter().zip(before).map(|(a, b)| a ^ b));
            cipher.encrypt_block(&mut block);
            sealed.extend(block);
        }
        let mut packet = plus(0xc0 | kind, self.console, self.out, &sealed);
        while !(packet.len() - 2).is_multiple_of(4) {
            packet.push(0xff);
        }
        let pad = (packet.len() - 16 - sealed.len()) as u8;
        packet.extend([pad, 7]);
        let code = self.sign(&packet[4..]);
        packet.extend(code);
        packet
    }
}
