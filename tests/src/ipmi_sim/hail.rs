//! What the simulated BMC answers outside of any session, in IPMI 1.5 framing.

use super::{GUID, State, message};

/// What it tells of itself to anybody.
#[derive(Clone, Debug)]
pub struct Hail {
    /// Authentication types with 80h for the extension, logins, connections, maker, maker's own byte.
    pub capabilities: [u8; 7],
    /// Records of cipher suites as told, sixteen bytes a time; empty: the command is unknown.
    pub suites: Vec<u8>,
    /// It knows nothing of IPMI 2.0 and refuses to be asked about it.
    pub is_old: bool,
}

impl Default for Hail {
    fn default() -> Self {
        // IPMI 2.0 data present, users have names; 2.0 and 1.5 connections; suites 3 and 17.
        Self {
            capabilities: [0x80 | 0x14, 0x04, 0x03, 0, 0, 0, 0],
            suites: vec![0xc0, 3, 0x01, 0x41, 0x81, 0xc0, 17, 0x03, 0x44, 0x81],
            is_old: false,
        }
    }
}

impl State {
    pub(super) fn hailed(&self, request: &[u8], data: &[u8]) -> Option<Vec<u8>> {
        let hail = &self.traits.hail;
        let (completion, answer) = match (request[1] >> 2, request[5], data) {
            (0x06, 0x38, [channel, ..]) if self.traits.tells_capabilities => match hail.is_old && channel & 0x80 != 0 {
                true => (0xcc, Vec::new()),
                false => (0, [&[0x01], &hail.capabilities[..]].concat()),
            },
            (0x06, 0x37, _) => (0, GUID.to_vec()),
            (0x06, 0x54, [_, 0x00, piece]) if !hail.suites.is_empty() => {
                let from = hail.suites.len().min(usize::from(piece & 0x3f) * 16);
                let to = hail.suites.len().min(from + 16);
                (0, [&[0x01], &hail.suites[from..to]].concat())
            }
            (0x06, 0x38, _) => return None,
            _ => (0xc1, Vec::new()),
        };
        let message = message(request, completion, &answer);
        Some([&[6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, message.len() as u8], &message[..]].concat())
    }
}
