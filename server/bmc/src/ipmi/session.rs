//! A session that stands: numbered, encrypted requests, and the replies that belong to them.
//!
//! A reply is taken when its check code is right, its session sequence number was not seen before, and it answers one
//! of the sendings of *this* request: a reply that comes late must not pass for the next request's. Dropping a
//! session closes it at the BMC with one datagram that may be lost; [`Session::close`] waits for the answer.

use super::crypto::Keys;
use super::packet::{self, Packet, Reply};
use super::socket::Mailbox;
use crate::{Fault, Secret, Settings, Target};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;
use tokio::time::Instant;

/// A command: network function, command byte and data.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    pub net_fn: u8,
    /// Logical unit: zero, except for sensors and FRUs of boards with more than 255 of them.
    pub lun: u8,
    pub command: u8,
    pub data: &'a [u8],
    /// Whether it does no harm when the BMC carries it out twice. If not it is sent once.
    pub repeatable: bool,
}

impl<'a> Command<'a> {
    pub const fn new(net_fn: u8, command: u8, data: &'a [u8]) -> Self {
        Self { net_fn, lun: 0, command, data, repeatable: true }
    }

    pub const fn at(self, lun: u8) -> Self {
        Self { lun, ..self }
    }
}

pub struct Session {
    mailbox: Mailbox,
    managed: u32,
    keys: Keys,
    /// Of the next packet out.
    sequence: u32,
    seen: Window,
    request: u8,
    used: Instant,
    /// A sending of the last command got no reply: it may have been carried out all the same.
    unclear: bool,
    user: String,
    password: Secret,
    open: bool,
}

impl Session {
    pub fn new(mailbox: Mailbox, managed: u32, keys: Keys, target: &Target) -> Self {
        Self {
            mailbox,
            managed,
            keys,
            sequence: 0,
            seen: Window::default(),
            request: 0,
            used: Instant::now(),
            unclear: false,
            user: target.user.clone(),
            password: target.password.clone(),
            open: true,
        }
    }

    /// Whether it was opened with this credential.
    pub fn fits(&self, target: &Target) -> bool {
        self.user == target.user && self.password == target.password
    }

    pub fn unclear(&self) -> bool {
        self.unclear
    }

    pub fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Sends the command and, if that does no harm, sends it again with new numbers until a reply comes.
    pub async fn ask(&mut self, settings: &Settings, command: Command<'_>) -> Result<Reply, Fault> {
        let (sends, wait) = match command.repeatable {
            true => (settings.sends, settings.answer),
            false => (1, settings.answer * settings.sends),
        };
        let mut mine = Vec::new();
        self.unclear = false;
        for _ in 0..sends {
            let (datagram, number) = self.seal(command)?;
            mine.push(number);
            self.mailbox.send(&datagram).await;
            self.used = Instant::now();
            let (keys, seen) = (&self.keys, &mut self.seen);
            let answer = self.mailbox.wait(wait, |datagram| {
                let reply = open(datagram, keys, seen)?;
                let fits = reply.net_fn == command.net_fn | 1 && reply.command == command.command;
                (fits && mine.contains(&reply.sequence)).then_some(reply)
            });
            if let Some(reply) = answer.await {
                return Ok(reply);
            }
            self.unclear = true;
        }
        Err(Fault::NoAnswer(wait * sends))
    }

    /// The id that the BMC gave it.
    pub fn managed(&self) -> u32 {
        self.managed
    }

    /// Sends a command once; its reply comes out of [`Session::next`].
    pub async fn tell(&mut self, command: Command<'_>) -> Result<(), Fault> {
        let (datagram, _) = self.seal(command)?;
        self.mailbox.send(&datagram).await;
        Ok(())
    }

    /// Sends a payload that is no command, once.
    pub async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), Fault> {
        let datagram = self.seal_payload(kind, payload)?;
        self.mailbox.send(&datagram).await;
        Ok(())
    }

    /// Sends a command without waiting for anything, for a destructor. It may be lost.
    pub fn tell_now(&mut self, command: Command<'_>) {
        if let Ok((datagram, _)) = self.seal(command) {
            self.mailbox.send_now(&datagram);
        }
    }

    /// The next payload that is the BMC's for certain, with its kind. Nothing is lost when it is dropped while it waits.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let datagram = self.mailbox.next().await;
            if let Some(opened) = opened(&datagram, &self.keys, &mut self.seen) {
                return opened;
            }
        }
    }

    /// The command in the next numbers, and its request number.
    fn seal(&mut self, command: Command<'_>) -> Result<(Vec<u8>, u8), Fault> {
        self.request = (self.request + 1) & 0x3f;
        let message =
            packet::request(command.net_fn << 2 | command.lun & 0x03, command.command, self.request, command.data);
        Ok((self.seal_payload(packet::IPMI, &message)?, self.request))
    }

    fn seal_payload(&mut self, kind: u8, payload: &[u8]) -> Result<Vec<u8>, Fault> {
        // 0 is reserved for packets outside of a session.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let mut iv = [0; 16];
        SystemRandom::new().fill(&mut iv).map_err(|_| Fault::Broken("no random numbers".into()))?;
        Ok(packet::sealed(&self.keys, (self.managed, self.sequence), iv, kind, payload))
    }

    /// Gives the slot back and waits until the BMC says so, or does not.
    pub async fn close(mut self) {
        let managed = self.managed.to_le_bytes();
        let settings = Settings { sends: 2, answer: Duration::from_millis(500), ..Settings::default() };
        let closed = self.ask(&settings, close_command(&managed)).await.is_ok();
        self.open = !closed;
    }
}

fn close_command(managed: &[u8; 4]) -> Command<'_> {
    Command::new(0x06, 0x3c, managed)
}

impl Drop for Session {
    fn drop(&mut self) {
        let managed = self.managed.to_le_bytes();
        if self.open
            && let Ok((datagram, _)) = self.seal(close_command(&managed))
        {
            self.mailbox.send_now(&datagram);
        }
    }
}

fn open(datagram: &[u8], keys: &Keys, seen: &mut Window) -> Option<Reply> {
    match opened(datagram, keys, seen)? {
        (packet::IPMI, message) => Reply::read(&message),
        _ => None,
    }
}

fn opened(datagram: &[u8], keys: &Keys, seen: &mut Window) -> Option<(u8, Vec<u8>)> {
    let Packet::Plus(plus) = packet::parse(datagram)? else { return None };
    if !matches!(plus.kind, packet::IPMI | packet::SOL) {
        return None;
    }
    let message = plus.open(keys)?;
    // Only after the check code: nobody else may move the window.
    seen.admit(plus.sequence).then_some((plus.kind, message))
}

/// The sequence numbers that came in: the highest, and which of the 64 below it. A recorded "power is off" must not
/// be believed a second time.
#[derive(Default)]
struct Window {
    highest: u32,
    below: u64,
}

impl Window {
    fn admit(&mut self, number: u32) -> bool {
        if number > self.highest {
            let ahead = number - self.highest;
            self.below = match ahead {
                1..64 => self.below << ahead | 1 << (ahead - 1),
                64 => 1 << 63,
                _ => 0,
            };
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        if behind == 0 || behind > 64 {
            return false;
        }
        let bit = 1 << (behind - 1);
        let new = self.below & bit == 0;
        self.below |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn no_number_is_admitted_twice(numbers in proptest::collection::vec(1_u32..300, 1..400)) {
            let (mut window, mut seen) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let highest = seen.last().copied().unwrap_or(0);
                let admitted = window.admit(number);
                prop_assert!(!(admitted && seen.contains(&number)), "{number} twice");
                let recent = number + 64 >= highest;
                prop_assert!(admitted || seen.contains(&number) || !recent, "{number} was new, highest {highest}");
                if admitted {
                    seen.insert(number);
                }
            }
        }
    }
}
