//! Serial over LAN as a state machine (IPMI 2.0, section 15): packets and the time go in, packets and text come out.
//!
//! Each side has one packet with text in flight, numbered 1 to 15, and sends it with the same number until the other
//! side has acknowledged it. An acknowledgement says how many characters were taken: what was not is sent again, under a
//! new number. A number that comes twice is text that was heard already, and some BMCs add what has come since to the
//! packet that they repeat. Nothing here waits or sends: that is `console.rs`.

use std::collections::VecDeque;
use std::time::Duration;

/// Number, acknowledged number, accepted characters, operation or status.
const HEAD: usize = 4;
const NUMBER: u8 = 0x0f;
/// What a BMC says beside text.
const NACK: u8 = 0x40;
const UNAVAILABLE: u8 = 0x20;
const INACTIVE: u8 = 0x10;
const OVERRUN: u8 = 0x08;
const BREAK_SEEN: u8 = 0x04;
/// What we ask for beside text.
const BREAK: u8 = 0x10;

/// Characters that may wait for a machine that takes none.
const ROOM: usize = 4096;
const LONGEST_TEXT: usize = 255;

/// How both sides have agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Characters in one packet of ours.
    pub most: usize,
    /// A packet that nobody acknowledged is sent again after this.
    pub again: Duration,
    /// So often in all.
    pub sends: u32,
    /// [`crate::Quirk::ConsoleTakesAll`]: no character taken means all of them.
    pub none_is_all: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { most: 32, again: Duration::from_millis(500), sends: 8, none_is_all: false }
    }
}

impl Terms {
    /// From the reply to Activate Payload (table 24-2). Some BMCs swap the bytes of a size or leave it at zero.
    pub fn agreed(activated: &[u8], again: Option<Duration>) -> Self {
        let usual = Self::default();
        let size = match activated {
            [_, _, _, _, low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        };
        let most = if size > HEAD { (size - HEAD).clamp(1, 64) } else { usual.most };
        Self { most, again: again.unwrap_or(usual.again), ..usual }
    }

    /// The BMC's own pause before it repeats a packet (parameter 4, in units of 10 ms), within reason.
    pub fn pause(units: u8) -> Duration {
        Duration::from_millis(u64::from(units) * 10).clamp(Duration::from_millis(100), Duration::from_secs(2))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typed {
    Byte(u8),
    Break,
}

#[derive(Debug)]
struct Flight {
    number: u8,
    /// None is a break.
    bytes: Option<Vec<u8>>,
    sends: u32,
    again: Duration,
}

/// What came of one packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// Text that was not heard before.
    pub text: &'a [u8],
    /// Characters of the machine were lost on the way to the BMC.
    pub overrun: bool,
    pub broke: bool,
    /// The BMC takes no characters any more (false), or again (true): a machine that is off, or in reset.
    pub takes: Option<bool>,
    /// It is over: somebody else deactivated it.
    pub over: bool,
    /// To be sent at once.
    pub ack: Option<[u8; HEAD]>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Send(Vec<u8>),
    /// Until then, or until something else happens.
    Wait(Option<Duration>),
    /// What we send is acknowledged by nobody.
    Unheard,
}

/// One console. All times are counted from any one moment.
#[derive(Debug)]
pub struct Line {
    terms: Terms,
    typed: VecDeque<Typed>,
    flight: Option<Flight>,
    /// Of our last packet with text.
    number: u8,
    /// Of the BMC's last one, and how much of its text was taken.
    heard: Option<(u8, usize)>,
    /// The BMC took less than it was given: it is not pressed.
    rests_until: Duration,
    takes: bool,
}

impl Line {
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            typed: VecDeque::new(),
            flight: None,
            number: 0,
            heard: None,
            rests_until: Duration::ZERO,
            takes: true,
        }
    }

    /// How many characters may be typed now.
    pub fn room(&self) -> usize {
        ROOM.saturating_sub(self.typed.len())
    }

    /// Takes what there is room for.
    pub fn type_in(&mut self, bytes: &[u8]) {
        self.typed.extend(bytes.iter().take(self.room()).map(|byte| Typed::Byte(*byte)));
    }

    pub fn type_break(&mut self) {
        if self.room() > 0 {
            self.typed.push_back(Typed::Break);
        }
    }

    /// `None` is no packet of this protocol.
    pub fn arrived<'a>(&mut self, payload: &'a [u8], now: Duration) -> Option<Arrived<'a>> {
        let [number, acked, accepted, status, text @ ..] = payload else { return None };
        let (number, acked) = (number & NUMBER, acked & NUMBER);
        if acked != 0 {
            self.acked(acked, usize::from(*accepted), status & NACK != 0, now);
        }
        let text = text.get(..LONGEST_TEXT).unwrap_or(text);
        let known = match self.heard {
            Some((last, length)) if number != 0 && last == number => Some(length),
            _ => None,
        };
        let fresh = text.get(known.unwrap_or(0)..).unwrap_or_default();
        if number != 0 {
            self.heard = Some((number, text.len().max(known.unwrap_or(0))));
        }
        let takes = status & UNAVAILABLE == 0;
        let turned = takes != self.takes;
        self.takes = takes;
        let ack = [0, number, u8::try_from(text.len()).unwrap_or(u8::MAX), 0];
        Some(Arrived {
            text: fresh,
            overrun: known.is_none() && status & OVERRUN != 0,
            broke: known.is_none() && status & BREAK_SEEN != 0,
            takes: turned.then_some(takes),
            over: status & INACTIVE != 0,
            ack: (number != 0).then_some(ack),
        })
    }

    fn acked(&mut self, number: u8, accepted: usize, refused: bool, now: Duration) {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else { return };
        match flight.bytes {
            None if refused => self.typed.push_front(Typed::Break),
            None => return,
            Some(_) if accepted == 0 && self.terms.none_is_all => return,
            Some(bytes) => {
                let rest = bytes.get(accepted..).unwrap_or_default();
                if rest.is_empty() {
                    return;
                }
                rest.iter().rev().for_each(|byte| self.typed.push_front(Typed::Byte(*byte)));
            }
        }
        self.rests_until = now.saturating_add(self.terms.again);
    }

    pub fn due(&mut self, now: Duration) -> Due {
        if let Some(flight) = &mut self.flight {
            if now < flight.again {
                return Due::Wait(Some(flight.again));
            }
            if flight.sends >= self.terms.sends {
                return Due::Unheard;
            }
            flight.sends += 1;
            flight.again = now.saturating_add(self.terms.again);
            return Due::Send(packet(flight));
        }
        if self.typed.is_empty() {
            return Due::Wait(None);
        }
        if now < self.rests_until {
            return Due::Wait(Some(self.rests_until));
        }
        self.number = self.number % NUMBER + 1;
        let (again, bytes) = (now.saturating_add(self.terms.again), self.next());
        let flight = self.flight.insert(Flight { number: self.number, bytes, sends: 1, again });
        Due::Send(packet(flight))
    }

    /// Characters up to the next break or the size of a packet; a break alone.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < self.terms.most {
            match self.typed.front() {
                Some(Typed::Byte(byte)) => bytes.push(*byte),
                Some(Typed::Break) if bytes.is_empty() => {
                    self.typed.pop_front();
                    return None;
                }
                _ => break,
            }
            self.typed.pop_front();
        }
        Some(bytes)
    }
}

fn packet(flight: &Flight) -> Vec<u8> {
    match &flight.bytes {
        Some(bytes) => [&[flight.number, 0, 0, 0], &bytes[..]].concat(),
        None => vec![flight.number, 0, 0, BREAK],
    }
}

/// For the fuzzer: any packets in a row.
pub fn parse(bytes: &[u8]) {
    let mut line = Line::new(Terms::agreed(bytes, None));
    line.type_in(bytes);
    for (at, packet) in bytes.chunks(7).enumerate() {
        let now = Duration::from_millis(at as u64 * 100);
        let _ = line.arrived(packet, now);
        let _ = line.due(now);
    }
}

#[cfg(test)]
mod tests;
