//! The users of the simulated BMC: numbers, names and the forms in which it takes a password.
//!
//! Written from tables 22-32 to 22-35 of IPMI 2.0, beside the product's and without a look at them. Real ones refuse
//! the 20-byte form, keep 16 bytes of it, or answer and do nothing; each can be had here.

use std::collections::BTreeMap;

const DONE: u8 = 0x00;
const WRONG_LENGTH: u8 = 0xc7;
const BAD_FIELD: u8 = 0xcc;
const UNKNOWN: u8 = 0xc1;
const NOT_THE_PASSWORD: u8 = 0x80;

/// What a BMC does with 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    Twenty,
    /// Takes 20, keeps 16, leaves what stood behind them and says nothing.
    SixteenOfTwenty,
    /// Refuses them.
    Sixteen,
}

#[derive(Clone)]
pub struct Users {
    /// How many numbers there are, and what Get User Access says of it.
    pub most: u8,
    /// The number of the user that [`super::Traits`] names.
    pub number: u8,
    /// The names of others.
    pub others: BTreeMap<u8, String>,
    pub keeps: Keeps,
    /// Knows "test password".
    pub tests: bool,
    /// Answers a new password with success and keeps the one before.
    pub forgets: bool,
    /// Sets the new password, forgets every session and answers nothing.
    pub changing_ends_sessions: bool,
    /// Lengths of the passwords that were sent to be set, by form.
    pub sent: Vec<usize>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            most: 16,
            number: 3,
            others: BTreeMap::from([(2, "root".to_string())]),
            keeps: Keeps::Twenty,
            tests: true,
            forgets: false,
            changing_ends_sessions: false,
            sent: Vec::new(),
        }
    }
}

impl Users {
    /// Completion code and data.
    pub fn answer(&mut self, command: u8, data: &[u8], user: &str, password: &mut String) -> (u8, Vec<u8>) {
        match (command, data) {
            (0x44, [0x0e | 0x01, number]) if (1..=self.most).contains(number) => (DONE, vec![self.most, 0x42, 0, 0x34]),
            (0x46, [number]) if *number == self.number => (DONE, name(user)),
            (0x46, [number]) if self.others.contains_key(number) => (DONE, name(&self.others[number])),
            // The first has no name, and what has no user is an error with some and empty with others.
            (0x46, [number]) if *number == 1 || number % 2 == 0 && *number <= self.most => (DONE, vec![0; 16]),
            (0x44 | 0x46, _) => (BAD_FIELD, Vec::new()),
            (0x47, [number, operation, given @ ..]) => {
                (self.password(*number, *operation, given, password), Vec::new())
            }
            _ => (UNKNOWN, Vec::new()),
        }
    }

    fn password(&mut self, number: u8, operation: u8, given: &[u8], password: &mut String) -> u8 {
        let length = if number & 0x80 == 0 { 16 } else { 20 };
        if given.len() != length || (length == 20 && self.keeps == Keeps::Sixteen) {
            return WRONG_LENGTH;
        }
        if number & 0x3f != self.number {
            return BAD_FIELD;
        }
        let kept = if self.keeps == Keeps::Twenty { length } else { 16 };
        let given = given[..kept].split(|byte| *byte == 0).next().unwrap_or_default();
        match operation & 0x03 {
            0x02 => {
                self.sent.push(length);
                if !self.forgets {
                    let behind = if length == 20 { password.get(kept..).unwrap_or_default() } else { "" };
                    *password = format!("{}{behind}", String::from_utf8_lossy(given));
                }
                DONE
            }
            0x03 if self.tests => {
                let held = password.as_bytes();
                if given == &held[..held.len().min(kept)] { DONE } else { NOT_THE_PASSWORD }
            }
            _ => BAD_FIELD,
        }
    }
}

fn name(text: &str) -> Vec<u8> {
    let mut name = text.as_bytes().to_vec();
    name.resize(16, 0);
    name
}
