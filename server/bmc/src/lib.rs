//! The only Redfish and IPMI in the house: reads and switches power, sets boot overrides, asks who is there.
//!
//! [`Bmcs`] is the engine. It offers small operations, each with a deadline, and no procedure: a power cycle is Off,
//! two Off readings and On, and which phase a machine is in belongs into the database, not into a future here.
//! Per BMC there is one queue, because many BMCs lose their way when asked two things at once; a breaker, because a
//! dead one must not hold up the fleet; and a count of failed logins, because many lock an account after three.
//!
//! Every operation may be dropped at any time: sessions stay usable or are closed. What a dropped *mutation* did is
//! then unknown, as after [`Error::may_have_happened`].

mod accounts;
mod console;
mod error;
mod firmware;
mod hail;
mod hardware;
mod ipmi;
mod lane;
mod locate;
mod log;
mod media;
mod pace;
mod probe;
mod push;
mod read;
mod reading;
mod redfish;
mod restart;
mod target;

pub use console::{Console, ConsoleEnd, Heard, Keys, Mark};
pub use error::{Error, Fault, Kind};
pub use firmware::{BiosSet, Running};
pub use hail::{Exposure, Hail};
pub use hardware::{Controller, Drive, Fan, Firmware, Gap, Hardware, Memory, Nic, Other, PowerSupply, Processor};
pub use ipmi::parse;
pub use lane::Settings;
pub use log::{Log, LogEntry, LogMark, LogTime, SelEvent, Since};
pub use media::{Inserted, Medium};
pub use pace::PaceTold;
pub use probe::{Learnt, WriteHabit};
pub use push::{Pushes, Subscription};
pub use reading::{Health, Reading, ReadingKind, Thresholds};
pub use redfish::{Authority, parse_tree};
pub use target::{
    BootDevice, BootOrder, BootSet, Identity, Pin, PowerAction, PowerSet, Protocol, Quirk, Secret, Target, Trust,
};

use lane::{Lane, Sent};
use muster_names::Power;
use pace::Pace;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// All BMCs that this process talks to. Cheap to clone; needs a tokio runtime.
#[derive(Clone)]
pub struct Bmcs {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    sockets: ipmi::Sockets,
    records: ipmi::Alike,
    pace: Arc<Pace>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    strangers: hail::Places,
}

impl Bmcs {
    /// Binds nothing and asks nothing before the first operation. Call it inside a tokio runtime: a task closes idle
    /// sessions until the last clone is gone.
    pub fn new(settings: Settings) -> Self {
        let sockets = ipmi::Sockets::default();
        let pace = Arc::new(Pace::new(settings.most_at_once));
        let strangers = hail::Places::new(settings.most_at_once);
        let inner =
            Inner { settings, sockets, records: Default::default(), pace, lanes: Default::default(), strangers };
        let inner = Arc::new(inner);
        tokio::spawn(close_idle(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// One reading. What is not clearly on or off is [`Power::Unknown`], and so is every error to a careful caller.
    pub async fn power(&self, target: &Target) -> Result<Power, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::power(&mut lane.ipmi(&self.inner, target).await?).await,
                Protocol::Redfish => redfish::power(&lane.redfish_read(&self.inner, target).await?).await,
            }
        };
        lane.run(&self.inner.settings, reading)
            .await
            .map_err(|source| Error::ReadPower { bmc: target.address.clone(), source })
    }

    /// Runs a reading of one BMC among many when there is room for it: as many at once as this host and the network turn
    /// out to bear. What must not wait, a mutation or a person's question, does not go this way.
    pub async fn among_many<T>(&self, target: &Target, reading: impl Future<Output = T>) -> T {
        self.inner.pace.run(&self.lane(target), self.inner.settings.answer, reading).await
    }

    /// How it goes with [`Bmcs::among_many`].
    pub fn pace(&self) -> PaceTold {
        self.inner.pace.told()
    }

    /// Two equal readings, [`Settings::confirm_gap`] apart. False when one differs; Unknown is never confirmed.
    pub async fn confirm_power(&self, target: &Target, wanted: Power) -> Result<bool, Error> {
        if wanted == Power::Unknown || self.power(target).await? != wanted {
            return Ok(false);
        }
        tokio::time::sleep(self.inner.settings.confirm_gap).await;
        Ok(self.power(target).await? == wanted)
    }

    /// Reads the power first and sends nothing when the machine is already where the act leads (some BMCs answer
    /// "off" with an error when it is off). On and Off are sent again when no reply comes, the others are not.
    pub async fn set_power(&self, target: &Target, action: PowerAction) -> Result<PowerSet, Error> {
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::set_power(&mut lane.ipmi(&self.inner, target).await?, action, &sent).await,
                Protocol::Redfish => {
                    redfish::set_power(&lane.redfish_write(&self.inner, target).await?, action, &sent).await
                }
            }
        };
        lane.run(&self.inner.settings, act).await.map_err(|source| Error::SetPower {
            bmc: target.address.clone(),
            action,
            sent: sent.maybe(),
            source,
        })
    }

    /// The override in force.
    pub async fn get_boot(&self, target: &Target) -> Result<BootSet, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::get_boot(&mut lane.ipmi(&self.inner, target).await?).await,
                Protocol::Redfish => redfish::get_boot(&lane.redfish_read(&self.inner, target).await?).await,
            }
        };
        lane.run(&self.inner.settings, reading)
            .await
            .map_err(|source| Error::ReadBoot { bmc: target.address.clone(), source })
    }

    /// Sets the override, reads it back and compares. It is a BMC's claim still: what the machine booted shows at the
    /// boot server. Setting the same override twice does no harm, so that a lost one may simply be set again.
    pub async fn set_boot(&self, target: &Target, order: BootOrder) -> Result<BootSet, Error> {
        self.set_boot_from(target, order, None).await
    }

    /// [`Bmcs::set_boot`] with the address that UEFI HTTP boot fetches its loader from. A BMC that has no room for an
    /// address is given none: firmware then boots from what the network's DHCP server names.
    pub async fn set_boot_from(&self, target: &Target, order: BootOrder, uri: Option<&str>) -> Result<BootSet, Error> {
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::set_boot(&mut lane.ipmi(&self.inner, target).await?, order, &sent).await,
                Protocol::Redfish => {
                    redfish::set_boot(&lane.redfish_write(&self.inner, target).await?, order, uri, &sent).await
                }
            }
        };
        lane.run(&self.inner.settings, act).await.map_err(|source| Error::SetBoot {
            bmc: target.address.clone(),
            device: order.device,
            sent: sent.maybe(),
            source,
        })
    }

    /// Who the BMC and its machine say they are.
    pub async fn identify(&self, target: &Target) -> Result<Identity, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::identify(&mut lane.ipmi(&self.inner, target).await?).await,
                Protocol::Redfish => redfish::identify(&lane.redfish_read(&self.inner, target).await?).await,
            }
        };
        lane.run(&self.inner.settings, reading)
            .await
            .map_err(|source| Error::Identify { bmc: target.address.clone(), source })
    }

    /// What was proved behind an address counts no more: without a pin the next key is as good as the first.
    pub fn forget_key(&self, address: &str) {
        let lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&lane::key(Protocol::Redfish, address)) {
            lane.seen.forget();
        }
    }

    /// Gives the BMC its session slot back. The next operation logs in again.
    pub async fn close(&self, target: &Target) {
        let lane = self.lane(target);
        lane.close().await;
    }

    /// [`Bmcs::close`] for every BMC: at shutdown.
    pub async fn close_all(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for lane in self.inner.all() {
            closing.spawn(async move { lane.close().await });
        }
        while closing.join_next().await.is_some() {}
    }

    fn lane(&self, target: &Target) -> Arc<Lane> {
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(lane::key(target.protocol, &target.address)).or_default().clone()
    }
}

impl Inner {
    fn all(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// BMCs have four or five session slots and people want some too: what we do not use, we give back.
async fn close_idle(engine: Weak<Inner>) {
    loop {
        let Some(period) = engine.upgrade().map(|inner| inner.settings.idle_close) else { return };
        tokio::time::sleep(period / 3).await;
        let Some(inner) = engine.upgrade() else { return };
        for lane in inner.all() {
            lane.close_if_idle(period).await;
        }
    }
}
