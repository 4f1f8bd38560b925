//! What a courier asks of a BMC, and no more. Procedures are written against these few words, so that they can be broken
//! in every place by a test.

use crate::adoption::FindHand;
use crate::passwords::Vault;
use crate::probing::ProbeHand;
use crate::subscribing::EventHand;
use crate::watching::WatchHand;
use futures_core::future::BoxFuture;
use muster_bmc::{Console, Running, Secret};
use muster_catalog::{BiosTold, BmcAccess};
use muster_names::{FirmwareMode, MachineId, Power, Way};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A machine's BMC and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BmcOf {
    pub machine: MachineId,
    pub access: BmcAccess,
}

/// Why a BMC did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandError {
    pub reason: String,
    /// The order may have been carried out all the same: a lost answer.
    pub may_have_happened: bool,
    /// Trying again later may help.
    pub later: bool,
}

impl std::fmt::Display for HandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Where the next boot leads, and by which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Its own disk.
    Disk,
    Pxe,
    /// UEFI HTTP boot of the loader at this address.
    Http(String),
    /// The boot disc at this address, shown by the BMC as virtual media.
    Disc(String),
}

impl Lead {
    /// The way into the agent that it is.
    pub fn way(&self) -> Option<Way> {
        match self {
            Self::Disk => None,
            Self::Pxe => Some(Way::Pxe),
            Self::Http(_) => Some(Way::Http),
            Self::Disc(_) => Some(Way::VirtualMedia),
        }
    }
}

/// A BMC's capabilities for power and boot. Cancelling a call leaves open whether it was carried out: the caller reads
/// the power again before it acts again.
pub trait Hand: Send + Sync {
    /// One reading. What is not clearly On or Off is Unknown.
    fn power<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Power, HandError>>;
    /// Asks for On or Off; [`Power::Unknown`] is refused.
    fn set_power<'a>(&'a self, bmc: &'a BmcOf, power: Power) -> BoxFuture<'a, Result<(), HandError>>;
    /// Sets where the next boot leads and reads it back; a disc is inserted first. Whoever calls again does no harm.
    fn set_boot<'a>(
        &'a self,
        bmc: &'a BmcOf,
        lead: &'a Lead,
        mode: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>>;
    /// Whether it still holds this for the next boot; `None` where it does not say.
    fn holds_boot<'a>(&'a self, bmc: &'a BmcOf, lead: &'a Lead) -> BoxFuture<'a, Result<Option<bool>, HandError>>;
    /// Ejects the disc at this address, and what else came from its server.
    fn eject<'a>(&'a self, bmc: &'a BmcOf, disc: &'a str) -> BoxFuture<'a, Result<(), HandError>>;
}

/// What a login is tried with.
#[derive(Clone, Copy, Debug)]
pub enum Login<'a> {
    With(&'a Secret),
    /// The password in force.
    InForce,
}

/// A BMC's own password.
pub trait PasswordHand: Send + Sync {
    /// Longest password that it takes.
    fn password_limit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<usize, HandError>>;
    /// Sets the password of the account that we use there. The one in force logs in for it.
    fn set_password<'a>(&'a self, bmc: &'a BmcOf, next: &'a Secret) -> BoxFuture<'a, Result<(), HandError>>;
    /// Whether a fresh login succeeds.
    fn logs_in<'a>(&'a self, bmc: &'a BmcOf, with: Login<'a>) -> BoxFuture<'a, Result<bool, HandError>>;
    /// What its password file says.
    fn of_file<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Secret, HandError>>;
}

/// A machine's firmware: read whole, and of its settings those that take effect at the next boot written. There is no word
/// for writing firmware itself.
pub trait FirmwareHand: Send + Sync {
    fn firmware<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Running, HandError>>;
    fn bios<'a>(&'a self, bmc: &'a BmcOf, boot_order: bool) -> BoxFuture<'a, Result<BiosTold, HandError>>;
    /// Sets attributes by the BMC's names, and reads back that they are held for the next boot. Looks before it sends.
    fn set_bios<'a>(
        &'a self,
        bmc: &'a BmcOf,
        values: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<(), HandError>>;
}

/// A BMC's serial console.
pub trait ConsoleHand: Send + Sync {
    /// Takes the console of the BMC's machine; from another session only if `take_over`.
    fn console<'a>(&'a self, bmc: &'a BmcOf, take_over: bool) -> BoxFuture<'a, Result<Console, HandError>>;
}

/// How BMCs are reached.
pub struct Hands {
    pub power: Arc<dyn Hand>,
    pub passwords: Arc<dyn PasswordHand>,
    pub watch: Arc<dyn WatchHand>,
    pub firmware: Arc<dyn FirmwareHand>,
    pub consoles: Arc<dyn ConsoleHand>,
    pub finder: Arc<dyn FindHand>,
    pub probes: Arc<dyn ProbeHand>,
    pub events: Arc<dyn EventHand>,
    pub vault: Arc<Vault>,
}

impl Hands {
    /// One hand for everything.
    pub fn of<H>(hand: Arc<H>, vault: Arc<Vault>) -> Self
    where
        H: Hand + PasswordHand + WatchHand + FirmwareHand + ConsoleHand + FindHand + ProbeHand + EventHand + 'static,
    {
        Self {
            power: hand.clone(),
            passwords: hand.clone(),
            watch: hand.clone(),
            firmware: hand.clone(),
            consoles: hand.clone(),
            finder: hand.clone(),
            probes: hand.clone(),
            events: hand,
            vault,
        }
    }
}
