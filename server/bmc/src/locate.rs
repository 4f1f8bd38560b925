//! The locate light: by it a person in front of a row of racks finds the machine that is meant.

use crate::lane::Sent;
use crate::{Bmcs, Error, Protocol, Target, ipmi, redfish};

impl Bmcs {
    /// Whether the light is on. `None`: the machine has none, or its BMC does not tell.
    pub async fn locate(&self, target: &Target) -> Result<Option<bool>, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::locate(&mut lane.ipmi(&self.inner, target).await?).await,
                Protocol::Redfish => redfish::locate(&lane.redfish_read(&self.inner, target).await?).await,
            }
        };
        let read = lane.run(&self.inner.settings, reading).await;
        read.map_err(|source| Error::ReadLocate { bmc: target.address.clone(), source })
    }

    /// Switches it on for good or off, and reads it back where the BMC tells. To do so twice does no harm.
    pub async fn set_locate(&self, target: &Target, on: bool) -> Result<(), Error> {
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::set_locate(&mut lane.ipmi(&self.inner, target).await?, on, &sent).await,
                Protocol::Redfish => {
                    redfish::set_locate(&lane.redfish_write(&self.inner, target).await?, on, &sent).await
                }
            }
        };
        let outcome = lane.run(&self.inner.settings, act).await;
        outcome.map_err(|source| Error::SetLocate { bmc: target.address.clone(), sent: sent.maybe(), source })
    }
}
