//! What a caller says of a BMC, and what it asks for.

use muster_names::{FirmwareMode, Power};
use serde::{Serialize, Serializer};
use std::fmt;

pub use muster_catalog::{Protocol, Quirk};

/// A password. It has no `Display` and no `Serialize`, and its `Debug` is three stars, so that it cannot reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself: only for the wire.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The SHA-256 of a BMC's public key (its SubjectPublicKeyInfo): the certificate around it may be renewed, the key stays.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// From 64 hexadecimal digits.
    pub fn read(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// Whom to believe behind an address (Redfish; IPMI proves the password both ways by itself).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Take the key seen first and hold on to it for as long as the engine lives; [`crate::Identity::tls_pin`] tells
    /// it, so that the caller keeps it and says [`Trust::Pinned`] from then on.
    /// What the site's authority vouches for ([`crate::Settings::authority`]) is taken with a new key too.
    #[default]
    FirstUse,
    /// This key and no other. With another one the handshake ends before a credential is sent.
    Pinned(Pin),
    /// `http://`: no encryption. For simulators, and where a site says so.
    Plain,
}

/// One BMC, as the caller knows it. Calls with the same `address` share one queue, one breaker and one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub protocol: Protocol,
    /// IPMI: `host` or `host:port` (623). Redfish: `host`, `host:port` or a URL.
    pub address: String,
    pub user: String,
    pub password: Secret,
    pub quirks: Vec<Quirk>,
    pub trust: Trust,
    /// Serial number or UUID of the system meant, where one BMC serves several (Redfish).
    pub system: Option<String>,
}

impl Target {
    pub fn new(protocol: Protocol, address: impl Into<String>, user: impl Into<String>, password: Secret) -> Self {
        Self {
            protocol,
            address: address.into(),
            user: user.into(),
            password,
            quirks: Vec::new(),
            trust: Trust::default(),
            system: None,
        }
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

/// What may be done to a machine's power. A cycle that must be certain is not here: it is Off, two Off readings and
/// On, and its phases belong to the caller, who writes down each one.
///
/// [`Quirk::RestartByOffOn`] is the exception: there no command restarts, so that Cycle and Reset are those three within
/// one operation. Broken off in the middle it leaves the machine off, and the error says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerAction {
    On,
    /// At once, without asking the operating system.
    Off,
    /// Asks the operating system to stop; nothing says that it will.
    Graceful,
    /// Off and on by the BMC in one command. Sent once, never repeated.
    Cycle,
    /// Warm reset. Sent once, never repeated.
    Reset,
}

impl PowerAction {
    /// The power state in which this act has nothing left to do.
    pub fn ends_in(self) -> Option<Power> {
        match self {
            Self::On => Some(Power::On),
            Self::Off | Self::Graceful => Some(Power::Off),
            Self::Cycle | Self::Reset => None,
        }
    }
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Graceful => "graceful shutdown",
            Self::Cycle => "cycle",
            Self::Reset => "reset",
        })
    }
}

/// What came of a power act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerSet {
    /// The BMC took the command. That the power followed is for readings to say.
    Taken,
    /// The machine was in that state already; nothing was sent.
    AlreadySo,
}

/// Where the firmware shall look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootDevice {
    Pxe,
    Disk,
    /// UEFI HTTP boot (Redfish only; IPMI has no word for it).
    Http,
    /// A CD or DVD drive, real or the BMC's own (virtual media).
    Cd,
    /// No override: the firmware's own order.
    None,
}

impl fmt::Display for BootDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pxe => "PXE",
            Self::Disk => "disk",
            Self::Http => "HTTP",
            Self::Cd => "CD",
            Self::None => "no override",
        })
    }
}

/// A boot override as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootOrder {
    pub device: BootDevice,
    pub mode: FirmwareMode,
    /// For the next boot only.
    pub once: bool,
}

/// A boot override as the BMC tells it. What it does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSet {
    /// `None`: a device this crate has no name for; `said` has the BMC's own word.
    pub device: Option<BootDevice>,
    pub mode: Option<FirmwareMode>,
    pub once: Option<bool>,
    /// The BMC's own words, for a person.
    pub said: String,
}

/// Who the BMC and the machine behind it say they are. What was not told is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    /// The maker's own number of it (Redfish). With some makers that is what the machine itself calls its serial number.
    pub sku: Option<String>,
    /// The machine's UUID in lower case. IPMI leaves the byte order open, so that one GUID has up to three readings;
    /// the machine's SMBIOS UUID is among them.
    pub uuids: Vec<String>,
    /// The BMC's own firmware version.
    pub firmware: Option<String>,
    /// IANA enterprise number of the BMC's maker (IPMI).
    pub maker_number: Option<u32>,
    /// The key behind the address (Redfish over TLS): what to pin.
    pub tls_pin: Option<Pin>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let target = Target::new(Protocol::Ipmi, "10.0.0.1", "admin", Secret::new("hunter2"));
        let shown = format!("{target:?}");
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_pin_reads_back_what_it_prints() {
        let pin = Pin(std::array::from_fn(|at| at as u8 * 7));
        assert_eq!(Pin::read(&pin.to_string()), Some(pin));
        for bad in ["", "00", "zz", &"g".repeat(64), &"0".repeat(63), &"ä".repeat(32)] {
            assert_eq!(Pin::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cycle_ends_in_no_state_that_could_excuse_it() {
        assert_eq!(PowerAction::Cycle.ends_in(), None);
        assert_eq!(PowerAction::Reset.ends_in(), None);
    }
}
