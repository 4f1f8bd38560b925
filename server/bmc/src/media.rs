//! Virtual media: an image at an address of ours, shown to the machine as a disc. Told and changed over Redfish alone.
//!
//! A BMC may hold a medium that somebody else needs just now, a person who installs by hand among them. What may be ejected is
//! therefore only what comes from the same server as the image meant; anything else is an error that names it.

use crate::lane::Sent;
use crate::{Bmcs, Error, Fault, Protocol, Target, redfish};

/// One slot for virtual media, as the BMC tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Its name there: `Cd`, `UsbCd`, `EXT1`.
    pub slot: String,
    /// Whether it takes discs.
    pub disc: bool,
    /// What is in it, as far as that is told.
    pub image: Option<String>,
    /// What the BMC says of that. Believed alone it is not: it may be late (B7.11).
    pub inserted: Option<bool>,
}

/// Which slot holds the image now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inserted {
    pub slot: String,
}

impl Bmcs {
    /// Every slot.
    pub async fn media(&self, target: &Target) -> Result<Vec<Medium>, Error> {
        let failed = |source| Error::ReadMedia { bmc: target.address.clone(), source };
        over_redfish(target).map_err(failed)?;
        let lane = self.lane(target);
        let reading = async { redfish::media(&lane.redfish_read(&self.inner, target).await?).await };
        lane.run(&self.inner.settings, reading).await.map_err(failed)
    }

    /// Inserts the image as a disc and reads that back. What came from the same server before is ejected first, so that the
    /// same call may be made again whatever became of an earlier one.
    pub async fn insert(&self, target: &Target, image: &str) -> Result<Inserted, Error> {
        let sent = Sent::default();
        let failed = |source| Error::InsertMedium {
            bmc: target.address.clone(),
            image: image.to_string(),
            sent: sent.maybe(),
            source,
        };
        over_redfish(target).map_err(failed)?;
        let lane = self.lane(target);
        let act = async { redfish::insert(&lane.redfish_write(&self.inner, target).await?, image, &sent).await };
        lane.run(&self.inner.settings, act).await.map_err(failed)
    }

    /// Ejects whatever came from the same server as this image. `false`: there was nothing to eject.
    pub async fn eject(&self, target: &Target, image: &str) -> Result<bool, Error> {
        let sent = Sent::default();
        let failed = |source| Error::EjectMedium {
            bmc: target.address.clone(),
            image: image.to_string(),
            sent: sent.maybe(),
            source,
        };
        over_redfish(target).map_err(failed)?;
        let lane = self.lane(target);
        let act = async { redfish::eject(&lane.redfish_write(&self.inner, target).await?, image, &sent).await };
        lane.run(&self.inner.settings, act).await.map_err(failed)
    }
}

fn over_redfish(target: &Target) -> Result<(), Fault> {
    match target.protocol {
        Protocol::Redfish => Ok(()),
        Protocol::Ipmi => Err(Fault::NotOffered("virtual media over IPMI; name the BMC with protocol redfish".into())),
    }
}
