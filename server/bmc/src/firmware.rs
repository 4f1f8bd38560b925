//! The firmware that runs, and what it is set to. Settings are told and taken over Redfish alone; firmware is only read.
//!
//! [`Bmcs::set_bios`] sets what takes effect at the next boot and looks whether the BMC holds it then. It restarts nothing.

use crate::lane::Sent;
use crate::{Bmcs, Error, Fault, Firmware, Gap, Protocol, Target, redfish};
use muster_catalog::{BiosTold, Catalog};
use std::collections::BTreeMap;

/// Which firmware runs on a machine, as its BMC tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The id of the profile that knows this kind of BMC; `None` where none does.
    pub profile: Option<String>,
    pub firmware: Vec<Firmware>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
}

/// What came of setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiosSet {
    /// The BMC holds the values now, for the next boot.
    Taken,
    /// It held them already; nothing was sent.
    AlreadySo,
}

impl Bmcs {
    /// The part of [`Bmcs::inspect`] that tells of firmware: some dozen reads in place of hundreds.
    pub async fn firmware(
        &self,
        target: &Target,
        catalog: &Catalog,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Running, Error> {
        if target.protocol == Protocol::Ipmi {
            let hardware = self.inspect(target, catalog, progress).await?;
            return Ok(Running { profile: hardware.bmc.profile, firmware: hardware.firmware, gaps: hardware.gaps });
        }
        let lane = self.lane(target);
        let visit = redfish::Visit::new(&self.inner, &lane, target);
        let read = redfish::firmware(visit, catalog, progress).await;
        read.map_err(|source| Error::Inspect { bmc: target.address.clone(), source })
    }

    /// Every setting with its value now and after the next boot; the boot order where it is asked for.
    pub async fn bios(&self, target: &Target, boot_order: bool) -> Result<BiosTold, Error> {
        let failed = |source| Error::ReadBios { bmc: target.address.clone(), source };
        over_redfish(target).map_err(failed)?;
        let lane = self.lane(target);
        redfish::bios(redfish::Visit::new(&self.inner, &lane, target), boot_order).await.map_err(failed)
    }

    /// Sets attributes by the BMC's own names, for the next boot, and reads them back. It looks first, so that the same
    /// call may be made again whatever became of an earlier one.
    pub async fn set_bios(&self, target: &Target, values: &BTreeMap<String, String>) -> Result<BiosSet, Error> {
        let failed = |sent, source| Error::SetBios { bmc: target.address.clone(), sent, source };
        over_redfish(target).map_err(|source| failed(false, source))?;
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async { redfish::set_bios(&lane.redfish_write(&self.inner, target).await?, values, &sent).await };
        lane.run(&self.inner.settings, act).await.map_err(|source| failed(sent.maybe(), source))
    }
}

fn over_redfish(target: &Target) -> Result<(), Fault> {
    match target.protocol {
        Protocol::Redfish => Ok(()),
        Protocol::Ipmi => {
            Err(Fault::NotOffered("BIOS attributes over IPMI; name the BMC with protocol redfish".into()))
        }
    }
}
