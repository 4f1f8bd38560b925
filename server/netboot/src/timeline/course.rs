//! Where one boot ends and the next begins.

use super::entry::{Entry, Got, Led, Packet, What};
use crate::choice::Client;
use crate::sighting::SightingKind;
use muster_names::Millis;
use serde::{Deserialize, Serialize};

/// Firmware repeats its question for about a minute; after this long it is another try.
const RETRY_MS: i64 = 120_000;
/// After this long without a word an ordinary system that asks anew has been started anew.
const LONG_MS: i64 = 600_000;
/// Firmware that was told what to load, and asks this soon without saying what it is, is still firmware (B12).
const ASIDE_MS: i64 = 5_000;

/// How far a boot has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    #[default]
    Dark,
    Firmware,
    Loader,
    Ipxe,
    Script,
    Kernel,
    System,
    Agent,
}

/// One boot so far: as much of it as tells whether the next entry still belongs to it. Kept beside the entries, so that
/// they can be bounded by boots as they come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Course {
    reach: Reach,
    /// When something was last seen.
    newest: Option<Millis>,
    agent: Option<String>,
    /// The system has its address.
    bound: bool,
    /// Firmware that was last told what to load, and when.
    #[serde(default)]
    firmware: Option<(Millis, Client)>,
}

impl Course {
    /// Whether this entry is the first of another boot. A boot begins when we switch the machine on, when firmware asks
    /// although a loader ran, when a loader asks although it had its script, and when an agent of another boot speaks.
    pub fn ends_before(&self, entry: &Entry) -> bool {
        let Some(newest) = self.newest else { return false };
        let quiet = entry.at.0.saturating_sub(newest.0);
        match &entry.what {
            What::Power { on, .. } => *on,
            What::Agent(agent) => self.agent.as_ref().is_some_and(|known| *known != agent.boot),
            What::Packet(packet) if packet.kind.begins() => match packet.client {
                Client::Pxe | Client::Http | Client::BareIpxe | Client::Other => {
                    self.reach >= Reach::Loader || (self.reach == Reach::Firmware && quiet > RETRY_MS)
                }
                Client::Ipxe => self.reach >= Reach::Script || (self.reach == Reach::Ipxe && quiet > RETRY_MS),
                Client::Plain => self.agent.is_some() || (self.reach > Reach::Dark && quiet > LONG_MS),
            },
            _ => false,
        }
    }

    /// Names the speaker of a packet that does not. Over IPv6 firmware asks for a second address in a system's words.
    pub fn attribute(&self, entry: &mut Entry) {
        let at = entry.at;
        if let (What::Packet(packet), Some((told, client))) = (&mut entry.what, self.firmware)
            && (packet.client, self.reach) == (Client::Plain, Reach::Firmware)
            && at.0.saturating_sub(told.0) <= ASIDE_MS
        {
            packet.client = client;
        }
    }

    /// A system that has its address and renews it: true for ever, and no news.
    pub fn is_renewal(&self, entry: &Entry) -> bool {
        matches!(&entry.what, What::Packet(packet) if self.bound && is_bind(packet))
    }

    pub fn take(&mut self, entry: &Entry) {
        self.newest = self.newest.max(Some(entry.at));
        self.reach = self.reach.max(reach(entry));
        match &entry.what {
            What::Agent(agent) => self.agent = Some(agent.boot.clone()),
            What::Packet(packet) => {
                self.bound |= is_bind(packet);
                if matches!(packet.led, Led::Loader { .. }) {
                    self.firmware = Some((entry.at, packet.client));
                }
            }
            _ => {}
        }
    }
}

fn is_bind(packet: &Packet) -> bool {
    packet.client == Client::Plain && packet.kind == SightingKind::Request && packet.got == Got::Ack
}

fn reach(entry: &Entry) -> Reach {
    match &entry.what {
        What::Packet(packet) => match packet.client {
            Client::Pxe | Client::Http | Client::BareIpxe | Client::Other => Reach::Firmware,
            Client::Ipxe => Reach::Ipxe,
            Client::Plain if packet.kind.wants_address() => Reach::System,
            Client::Plain => Reach::Dark,
        },
        What::Fetch(fetch) => match fetch.file.stage() {
            Some(super::Stage::Loader) => Reach::Loader,
            Some(super::Stage::Kernel) => Reach::Kernel,
            _ => Reach::Dark,
        },
        What::Script { .. } => Reach::Script,
        What::Agent(_) => Reach::Agent,
        What::Power { .. } | What::Log(_) | What::Event { .. } | What::Unknown => Reach::Dark,
    }
}
