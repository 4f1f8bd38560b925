//! What can go wrong with a BMC, and what it means for the caller: try later, ask a person, or look whether the act
//! happened all the same.
//!
//! An [`Error`] is the operation that failed, a [`Fault`] is why. Two levels, because each of some twenty causes can
//! befall each operation, and the caller asks two separate things: what was I doing (and may it have happened), and
//! what now.

use crate::{BootDevice, Pin, PowerAction};
use std::time::Duration;
use thiserror::Error as ThisError;

/// What a caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Busy or short of something: the same call may work in a while.
    Later,
    /// It will not work until a person or a setting changes something.
    Refused,
    /// No answer, or no way to it.
    Unreachable,
    /// We are at fault, or the BMC breaks its protocol.
    Bug,
}

/// An operation on a BMC that failed. The cause is in `source`.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("BMC {bmc}: the power state could not be read")]
    ReadPower {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: power {action} failed{}", maybe(*.sent))]
    SetPower {
        bmc: String,
        action: PowerAction,
        /// The command left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: the boot override could not be read")]
    ReadBoot {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: boot override to {device} failed{}", maybe(*.sent))]
    SetBoot {
        bmc: String,
        device: BootDevice,
        /// The command left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its password could not be changed{}", in_doubt(*.sent))]
    SetPassword {
        bmc: String,
        /// The new password left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: whether it takes the password could not be found out")]
    TryLogin {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its accounts could not be read")]
    ReadAccounts {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: it could not be asked who it is")]
    Identify {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("{bmc}: whether a BMC is there could not be found out")]
    Hail {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: how it tells of events could not be found out")]
    Listen {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: where it sends its events could not be set{}", maybe(*.sent))]
    Subscribe {
        bmc: String,
        /// The order left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its locate light could not be read")]
    ReadLocate {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its locate light could not be switched{}", maybe(*.sent))]
    SetLocate {
        bmc: String,
        /// The order left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: it could not be restarted{}", maybe(*.sent))]
    ResetBmc {
        bmc: String,
        /// The order left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: how it wants to be written to could not be found out")]
    ProbeWrite {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: which keys it does not show could not be found out")]
    Missing {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: the sensors could not be read")]
    ReadSensors {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: the event log could not be read")]
    ReadLog {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its machine's console could not be opened")]
    OpenConsole {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its BIOS attributes could not be read")]
    ReadBios {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its BIOS attributes could not be set{}", maybe(*.sent))]
    SetBios {
        bmc: String,
        /// The values left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its virtual media could not be read")]
    ReadMedia {
        bmc: String,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: {image} could not be inserted as virtual media{}", maybe(*.sent))]
    InsertMedium {
        bmc: String,
        image: String,
        /// The order left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: {image} could not be ejected from its virtual media{}", maybe(*.sent))]
    EjectMedium {
        bmc: String,
        image: String,
        /// The order left this host and no refusal came back.
        sent: bool,
        #[source]
        source: Fault,
    },
    #[error("BMC {bmc}: its machine's inventory could not be read")]
    Inspect {
        bmc: String,
        #[source]
        source: Fault,
    },
}

fn maybe(sent: bool) -> &'static str {
    if sent { ", though it may have happened: look before sending it again" } else { "" }
}

fn in_doubt(sent: bool) -> &'static str {
    if sent { ", though it may have been: try both passwords before it is sent again" } else { "" }
}

impl Error {
    pub fn fault(&self) -> &Fault {
        match self {
            Self::ReadPower { source, .. }
            | Self::SetPower { source, .. }
            | Self::ReadBoot { source, .. }
            | Self::SetBoot { source, .. }
            | Self::SetPassword { source, .. }
            | Self::TryLogin { source, .. }
            | Self::ReadAccounts { source, .. }
            | Self::Identify { source, .. }
            | Self::Hail { source, .. }
            | Self::Listen { source, .. }
            | Self::Subscribe { source, .. }
            | Self::ReadLocate { source, .. }
            | Self::SetLocate { source, .. }
            | Self::ResetBmc { source, .. }
            | Self::ProbeWrite { source, .. }
            | Self::Missing { source, .. }
            | Self::ReadSensors { source, .. }
            | Self::ReadLog { source, .. }
            | Self::ReadBios { source, .. }
            | Self::SetBios { source, .. }
            | Self::OpenConsole { source, .. }
            | Self::ReadMedia { source, .. }
            | Self::InsertMedium { source, .. }
            | Self::EjectMedium { source, .. }
            | Self::Inspect { source, .. } => source,
        }
    }

    pub fn kind(&self) -> Kind {
        self.fault().kind()
    }

    /// A fixed word for metrics.
    pub fn label(&self) -> &'static str {
        self.fault().label()
    }

    /// Whether the act may have been carried out although no good answer came. Always false for readings.
    pub fn may_have_happened(&self) -> bool {
        let doubtful = matches!(self, Self::SetPower { sent: true, .. } | Self::SetBoot { sent: true, .. });
        let of_settings = matches!(self, Self::SetPassword { sent: true, .. } | Self::SetBios { sent: true, .. });
        let media = matches!(self, Self::InsertMedium { sent: true, .. } | Self::EjectMedium { sent: true, .. });
        doubtful
            || of_settings
            || media
            || matches!(
                self,
                Self::SetLocate { sent: true, .. }
                    | Self::ResetBmc { sent: true, .. }
                    | Self::Subscribe { sent: true, .. }
            )
    }
}

/// Why it failed.
#[derive(Debug, ThisError)]
pub enum Fault {
    #[error("no answer within {0:?}; check that the BMC has power and that UDP 623 or HTTPS reaches it")]
    NoAnswer(Duration),
    #[error("{0} is no address this host can resolve; expected host, host:port or, for Redfish, a URL")]
    NoAddress(String),
    #[error("it is left alone for another {0:?}: it failed too often in a row, or was restarted and is not back")]
    Resting(Duration),
    #[error(
        "it does not take this user and password. This was one failed login, and many BMCs lock the account after three: \
         check the credential before anybody tries again"
    )]
    Login,
    #[error("it says that the account is locked ({0}); wait until it is free, and let nobody try before that")]
    Locked(String),
    #[error("its password was changed, or may have been; take the new one, or find out by a login which one holds")]
    Superseded,
    #[error("it wants its password changed before it does anything else; set a new one")]
    WantsNewPassword(Option<String>),
    #[error("the new password cannot be used: {0}")]
    UnfitPassword(String),
    #[error("two logins failed within the hour; none is tried for another {0:?}, so that the account is not locked")]
    LoginsHeld(Duration),
    #[error(
        "the key behind the address is {found}, expected {expected}; no credential was sent. If the BMC was replaced, pin its new key"
    )]
    ForeignKey { expected: Pin, found: Pin },
    #[error("what is at this address is no BMC that is known here: {0}; look whether the address is a BMC's own")]
    NoBmc(String),
    #[error("the address says http://, but plain HTTP was not allowed for this BMC; use https:// or allow it")]
    PlainHttp,
    #[error("all its session slots are taken; they free themselves within minutes, or close one in its web page")]
    NoSlot,
    #[error("the console is with {0}; ask them to leave it, or take it over")]
    ConsoleTaken(String),
    #[error("it answers that it is busy ({0}); ask again in a minute")]
    Busy(String),
    #[error("it refuses: {0}")]
    Declined(String),
    #[error("it does not offer {0}")]
    NotOffered(String),
    #[error("after setting, it reads back {found}; expected {wanted}")]
    BootDiffers { wanted: String, found: String },
    #[error(
        "it says that it took the BIOS settings, and does not hold them for the next boot: {found}; expected {wanted}. Look \
         in its web page whether a setting of it locks the configuration"
    )]
    BiosDiffers { wanted: String, found: String },
    #[error(
        "its answer breaks the protocol: {0}. Ask again, and if it stays so restart the BMC or update its firmware"
    )]
    Garbled(String),
    #[error("the local socket failed")]
    Socket(#[source] std::io::Error),
    #[error(
        "no HTTP exchange with it; check that the address is its own, that it has power and that its web server is on"
    )]
    Http(#[source] reqwest::Error),
    #[error("{0}")]
    Broken(String),
}

impl Fault {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSlot | Self::ConsoleTaken(_) | Self::Busy(_) | Self::Locked(_) | Self::Superseded => Kind::Later,
            Self::NoAnswer(_) | Self::Resting(_) | Self::Http(_) | Self::NoAddress(_) => Kind::Unreachable,
            Self::Login
            | Self::LoginsHeld(_)
            | Self::WantsNewPassword(_)
            | Self::UnfitPassword(_)
            | Self::ForeignKey { .. }
            | Self::PlainHttp
            | Self::NoBmc(_)
            | Self::Declined(_)
            | Self::NotOffered(_)
            | Self::BiosDiffers { .. }
            | Self::BootDiffers { .. } => Kind::Refused,
            Self::Garbled(_) | Self::Socket(_) | Self::Broken(_) => Kind::Bug,
        }
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "no-answer",
            Self::NoAddress(_) => "no-address",
            Self::Resting(_) => "resting",
            Self::Login => "login",
            Self::LoginsHeld(_) => "logins-held",
            Self::Locked(_) => "locked",
            Self::Superseded => "superseded",
            Self::WantsNewPassword(_) => "wants-new-password",
            Self::UnfitPassword(_) => "unfit-password",
            Self::ForeignKey { .. } => "foreign-key",
            Self::PlainHttp => "plain-http",
            Self::NoBmc(_) => "no-bmc",
            Self::NoSlot => "no-slot",
            Self::ConsoleTaken(_) => "console-taken",
            Self::Busy(_) => "busy",
            Self::Declined(_) => "declined",
            Self::NotOffered(_) => "not-offered",
            Self::BootDiffers { .. } => "boot-differs",
            Self::BiosDiffers { .. } => "bios-differs",
            Self::Garbled(_) => "garbled",
            Self::Socket(_) => "socket",
            Self::Http(_) => "http",
            Self::Broken(_) => "broken",
        }
    }

    /// Whether the BMC itself answered: what the circuit breaker counts as life. `None` where nobody asked it.
    pub(crate) fn answered(&self) -> Option<bool> {
        match self {
            Self::NoAnswer(_) | Self::Http(_) => Some(false),
            Self::NoAddress(_) | Self::Resting(_) | Self::LoginsHeld(_) | Self::PlainHttp => None,
            Self::Socket(_) | Self::Broken(_) | Self::Superseded | Self::UnfitPassword(_) => None,
            _ => Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mutation_that_left_this_host_may_have_happened() {
        let bmc = || "10.0.0.1".to_string();
        let lost = || Fault::NoAnswer(Duration::from_secs(4));
        let action = PowerAction::Off;
        assert!(Error::SetPower { bmc: bmc(), action, sent: true, source: lost() }.may_have_happened());
        assert!(!Error::SetPower { bmc: bmc(), action, sent: false, source: lost() }.may_have_happened());
        assert!(!Error::ReadPower { bmc: bmc(), source: lost() }.may_have_happened());
        assert!(Error::SetPassword { bmc: bmc(), sent: true, source: lost() }.may_have_happened());
        assert!(!Error::SetPassword { bmc: bmc(), sent: false, source: lost() }.may_have_happened());
        assert!(!Error::TryLogin { bmc: bmc(), source: lost() }.may_have_happened());
    }

    #[test]
    fn a_wrong_password_is_for_a_person_and_a_taken_slot_for_later() {
        assert_eq!(Fault::Login.kind(), Kind::Refused);
        assert_eq!(Fault::NoSlot.kind(), Kind::Later);
        assert_eq!(Fault::NoAnswer(Duration::ZERO).kind(), Kind::Unreachable);
    }
}
