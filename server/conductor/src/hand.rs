//! What a courier asks of a BMC, and no more. The procedures below it are written against these four words, so that they
//! can be broken in every place by a test.

use futures_core::future::BoxFuture;
use muster_catalog::BmcAccess;
use muster_names::{BootTarget, FirmwareMode, Power};

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

/// A BMC's capabilities for power and boot. Cancelling a call leaves open whether it was carried out: the caller reads
/// the power again before it acts again.
pub trait Hand: Send + Sync {
    /// One reading. What is not clearly On or Off is Unknown.
    fn power<'a>(&'a self, bmc: &'a BmcAccess) -> BoxFuture<'a, Result<Power, HandError>>;
    /// Asks for On or Off; [`Power::Unknown`] is refused.
    fn set_power<'a>(&'a self, bmc: &'a BmcAccess, power: Power) -> BoxFuture<'a, Result<(), HandError>>;
    /// Sets the next boot's device and reads it back.
    fn set_boot<'a>(
        &'a self,
        bmc: &'a BmcAccess,
        target: BootTarget,
        mode: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>>;
}
