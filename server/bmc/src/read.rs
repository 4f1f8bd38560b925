//! What is read of a BMC beyond power and boot: its machine's parts, its sensors and its event log.

use crate::{Bmcs, Error, Hardware, Log, LogMark, Protocol, Reading, Target, ipmi, log, redfish};
use muster_catalog::{BmcSigns, Catalog};

impl Bmcs {
    /// Everything the BMC tells of its machine, and which of the catalog's profiles knows it. `progress` hears how many
    /// reads were done. What single resources lack is in [`Hardware::gaps`].
    pub async fn inspect(
        &self,
        target: &Target,
        catalog: &Catalog,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Hardware, Error> {
        let lane = self.lane(target);
        let inspected = match target.protocol {
            Protocol::Ipmi => ipmi::inspect(ipmi::Visit::new(&self.inner, &lane, target)).await.map(|mut hardware| {
                let profile = catalog.recognise(&ipmi_signs(&hardware));
                hardware.bmc.profile = profile.map(|profile| profile.id.clone());
                hardware
            }),
            Protocol::Redfish => {
                redfish::inspect(redfish::Visit::new(&self.inner, &lane, target), catalog, progress).await
            }
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
        let read = match target.protocol {
            Protocol::Ipmi => {
                let reading = async { ipmi::event_log(&mut lane.ipmi(&self.inner, target).await?, after).await };
                lane.run(&self.inner.settings, reading).await.map(|log| vec![log])
            }
            Protocol::Redfish => redfish::event_log(redfish::Visit::new(&self.inner, &lane, target), after).await,
        };
        read.map_err(|source| Error::ReadLog { bmc: target.address.clone(), source })
    }

    /// [`Bmcs::event_log`] with what follows of long logs, in so many parts at most. Where a later part does not read, what
    /// was read stands, with the gap.
    pub async fn event_log_on(&self, target: &Target, after: &[LogMark], parts: usize) -> Result<Vec<Log>, Error> {
        let mut logs = self.event_log(target, after).await?;
        for _ in 1..parts {
            if !logs.iter().any(|log| log.more) {
                break;
            }
            let known: Vec<LogMark> = logs.iter().filter_map(|log| log.mark.clone()).collect();
            match self.event_log(target, &known).await {
                Ok(more) => {
                    if !log::grow(&mut logs, more) {
                        break;
                    }
                }
                Err(error) => {
                    let why = format!("what follows: {}", error.fault());
                    logs.iter_mut().filter(|log| log.more).for_each(|log| log.gap = Some(why.clone()));
                    break;
                }
            }
        }
        Ok(logs)
    }
}

fn ipmi_signs(hardware: &Hardware) -> BmcSigns {
    BmcSigns {
        system_manufacturer: hardware.manufacturer.clone(),
        system_model: hardware.model.clone(),
        firmware: hardware.bmc.firmware.clone(),
        maker_number: hardware.bmc.maker_number,
        product_number: hardware.bmc.product_number,
        ..BmcSigns::default()
    }
}
