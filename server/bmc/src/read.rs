//! What is read of a BMC beyond power and boot: its machine's parts, its sensors and its event log.

use crate::{Bmcs, Error, Fault, Hardware, Log, LogMark, Protocol, Reading, Target, ipmi, redfish};

impl Bmcs {
    /// The machine behind the BMC, as far as the BMC tells of it.
    pub async fn inspect(&self, target: &Target) -> Result<Hardware, Error> {
        let lane = self.lane(target);
        let inspected = match target.protocol {
            Protocol::Ipmi => ipmi::inspect(ipmi::Visit::new(&self.inner, &lane, target)).await,
            Protocol::Redfish => Err(over_redfish("its inventory")),
        };
        inspected.map_err(|source| Error::Inspect { bmc: target.address.clone(), source })
    }

    /// Every sensor, once. What gives no reading is told with unknown health, and is no error.
    pub async fn sensors(&self, target: &Target) -> Result<Vec<Reading>, Error> {
        let lane = self.lane(target);
        let read = match target.protocol {
            Protocol::Ipmi => ipmi::sensors(ipmi::Visit::new(&self.inner, &lane, target)).await,
            Protocol::Redfish => {
                let reading = async { redfish::sensors(&lane.redfish_read(&self.inner, target).await?).await };
                lane.run(&self.inner.settings, reading).await
            }
        };
        read.map_err(|source| Error::ReadSensors { bmc: target.address.clone(), source })
    }

    /// Each log from the mark that `after` has for it, or from its beginning. Reading takes nothing out of a log.
    pub async fn event_log(&self, target: &Target, after: &[LogMark]) -> Result<Vec<Log>, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => {
                    let mut turn = lane.ipmi(&self.inner, target).await?;
                    Ok(vec![ipmi::event_log(&mut turn, after).await?])
                }
                Protocol::Redfish => Err(over_redfish("its event log")),
            }
        };
        lane.run(&self.inner.settings, reading)
            .await
            .map_err(|source| Error::ReadLog { bmc: target.address.clone(), source })
    }
}

fn over_redfish(what: &str) -> Fault {
    Fault::NotOffered(format!("{what} over Redfish through this version of Muster; ask it over IPMI"))
}
