//! The serial console of the simulated BMC, written from sections 15 and 24 of IPMI 2.0 beside the product's.
//!
//! It has one packet of text in flight, takes what is typed in pieces of the size it likes, and on demand answers
//! nothing, nacks, or is in somebody else's hands.

use std::collections::VecDeque;

const DONE: u8 = 0x00;
const TAKEN: u8 = 0x80;

pub struct Sol {
    /// Parameter 1.
    pub enabled: bool,
    /// Completion code of Activate Payload, whatever is asked.
    pub refuses: Option<u8>,
    /// Somebody from outside has it: a session of this id.
    pub foreign: Option<u32>,
    /// Acknowledges nothing that is typed.
    pub deaf: bool,
    /// Takes no more than this of one packet.
    pub takes: usize,
    /// Nacks so many packets whole, saying that the machine takes nothing.
    pub nacks: u32,
    /// Says of every packet that it took nothing of it, and took all.
    pub says_none: bool,
    /// Sends back what is typed.
    pub echoes: bool,
    /// Swallows every so many-th packet in both directions; 0 none.
    pub loses: u32,
    /// What the machine says and the console has not acknowledged.
    pub says: VecDeque<u8>,
    /// Status bits of the next packet of text.
    pub status: u8,
    pub typed: Vec<u8>,
    pub breaks: usize,
    /// The session that has it.
    pub active: Option<u32>,
    /// Commands of this session that were no text: what keeps it alive.
    pub activated: usize,
    flight: Option<(u8, Vec<u8>)>,
    number: u8,
    last: Option<(u8, u8)>,
    packets: u32,
}

impl Default for Sol {
    fn default() -> Self {
        Self {
            enabled: true,
            refuses: None,
            foreign: None,
            deaf: false,
            takes: 255,
            nacks: 0,
            says_none: false,
            echoes: false,
            loses: 0,
            says: VecDeque::new(),
            status: 0,
            typed: Vec::new(),
            breaks: 0,
            active: None,
            activated: 0,
            flight: None,
            number: 0,
            last: None,
            packets: 0,
        }
    }
}

impl Sol {
    pub fn say(&mut self, text: &[u8]) {
        self.says.extend(text);
    }

    fn lost(&mut self) -> bool {
        self.packets += 1;
        self.loses > 0 && self.packets.is_multiple_of(self.loses)
    }

    /// Completion code and data of a command of session `by`, or `None` for what belongs to other parts of the BMC.
    pub fn answer(&mut self, net_fn: u8, command: u8, data: &[u8], by: u32) -> Option<(u8, Vec<u8>)> {
        Some(match (net_fn, command, data) {
            (0x0c, 0x22, [_, 1, _, _]) => (DONE, vec![0x11, u8::from(self.enabled)]),
            (0x0c, 0x22, [_, 2, _, _]) => (DONE, vec![0x11, 0xc4]),
            (0x0c, 0x22, [_, 4, _, _]) => (DONE, vec![0x11, 7, 10]),
            (0x0c, 0x22, _) => (0x80, Vec::new()),
            (0x06, 0x48, [1, 1, flags, ..]) => self.activate(*flags, by),
            (0x06, 0x49, [1, 1, ..]) if self.active.is_none() && self.foreign.is_none() => (0x80, Vec::new()),
            (0x06, 0x49, [1, 1, ..]) => {
                (self.active, self.foreign) = (None, None);
                (DONE, Vec::new())
            }
            (0x06, 0x4b, [1, 1]) => {
                let id = self.active.or(self.foreign).unwrap_or(0);
                (DONE, [&id.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat())
            }
            (0x06, 0x3d, [0xff, id @ ..]) if id.len() == 4 => {
                // Handle, 16 sessions possible, one active, user 7, administrator, channel 1 over RMCP+, address.
                (DONE, vec![1, 16, 1, 7, 4, 0x11, 10, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x6f, 2])
            }
            _ => return None,
        })
    }

    fn activate(&mut self, flags: u8, by: u32) -> (u8, Vec<u8>) {
        if let Some(code) = self.refuses {
            return (code, Vec::new());
        }
        if self.active.is_some() || self.foreign.is_some() {
            return (TAKEN, Vec::new());
        }
        if flags & 0xc0 != 0xc0 {
            return (0x84, Vec::new());
        }
        self.active = Some(by);
        self.activated += 1;
        (self.flight, self.number, self.last) = (None, 0, None);
        // No test mode; 24 characters of payload to it, 68 from it; port 623, no VLAN.
        (DONE, vec![0, 0, 0, 0, 24, 0, 68, 0, 0x6f, 0x02, 0xff, 0xff])
    }

    /// A packet of the console; its answer, where it draws one.
    pub fn packet(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let [number, acked, accepted, operation, text @ ..] = packet else { return None };
        if self.lost() {
            return None;
        }
        if let Some((_, bytes)) = self.flight.take_if(|(number, _)| *number == *acked) {
            assert_eq!(usize::from(*accepted), bytes.len(), "the console takes all of it");
            self.says.drain(..bytes.len());
        }
        if *number == 0 || self.deaf {
            return None;
        }
        if self.nacks > 0 {
            self.nacks -= 1;
            return Some(vec![0, *number, 0, 0x60]);
        }
        let taken = match self.last {
            Some((last, taken)) if last == *number => taken,
            _ => self.take(text, *operation),
        };
        self.last = Some((*number, taken));
        if self.says_none {
            return Some(vec![0, *number, 0, 0x40]);
        }
        let nack = if usize::from(taken) < text.len() { 0x40 } else { 0 };
        Some(vec![0, *number, taken, nack])
    }

    fn take(&mut self, text: &[u8], operation: u8) -> u8 {
        let taken = &text[..text.len().min(self.takes)];
        self.typed.extend(taken);
        self.breaks += usize::from(operation & 0x10 != 0);
        if self.echoes {
            self.says.extend(taken);
        }
        taken.len() as u8
    }

    /// What it sends by itself: the packet in flight again, or the next.
    pub fn tick(&mut self) -> Option<Vec<u8>> {
        self.active?;
        if self.flight.is_none() && (!self.says.is_empty() || self.status != 0) {
            self.number = self.number % 15 + 1;
            self.flight = Some((self.number, self.says.iter().take(64).copied().collect()));
        }
        let (number, bytes) = self.flight.as_ref()?;
        let packet = [&[*number, 0, 0, self.status], &bytes[..]].concat();
        if bytes.is_empty() {
            self.status = 0;
        }
        (!self.lost()).then_some(packet)
    }

    /// Somebody else takes it.
    pub fn take_away(&mut self) -> Vec<u8> {
        (self.active, self.foreign) = (None, Some(0x0900_0009));
        vec![0, 0, 0, 0x10]
    }
}
