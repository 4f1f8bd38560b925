//! What a BMC tells by itself: a hint that something happened, and no more. What happened is read from its log (B7.14).

use crate::lane::Sent;
use crate::{Bmcs, Error, Fault, Protocol, Target, redfish};

/// An open stream of events. [`Pushes::close`] gives the BMC its session back; one that is dropped keeps it until it runs out.
pub struct Pushes(redfish::Stream);

impl Pushes {
    /// Waits for the next event. `None`: the stream has ended, by the BMC's wish or after an hour, which also ends one whose
    /// other end has gone without a word.
    pub async fn next(&mut self) -> Option<()> {
        self.0.next().await
    }

    pub async fn close(self) {
        self.0.close().await;
    }
}

/// Where a BMC without a stream shall send its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// By this ours are told from those of others.
    pub context: String,
    /// `None`: none of this context shall be there.
    pub destination: Option<String>,
}

impl Bmcs {
    /// Opens the BMC's stream of events, by a session beside the one that stands. `None`: it has none.
    pub async fn pushes(&self, target: &Target) -> Result<Option<Pushes>, Error> {
        if target.protocol == Protocol::Ipmi {
            return Ok(None);
        }
        let lane = self.lane(target);
        let open = redfish::listen(&self.inner, &lane, target);
        let opened = lane.run(&self.inner.settings, open).await;
        let opened = opened.map_err(|source| Error::Listen { bmc: target.address.clone(), source })?;
        Ok(opened.map(Pushes))
    }

    /// Whether exactly this subscription of its context is there.
    pub async fn subscribed(&self, target: &Target, wanted: &Subscription) -> Result<bool, Error> {
        if target.protocol == Protocol::Ipmi {
            return Ok(wanted.destination.is_none());
        }
        let lane = self.lane(target);
        let reading = async { redfish::subscribed(&lane.redfish_read(&self.inner, target).await?, wanted).await };
        let read = lane.run(&self.inner.settings, reading).await;
        read.map_err(|source| Error::Listen { bmc: target.address.clone(), source })
    }

    /// Leaves exactly this subscription of its context there, and touches no other. To do so twice does no harm.
    pub async fn subscribe(&self, target: &Target, wanted: &Subscription) -> Result<(), Error> {
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => Err(Fault::NotOffered("subscriptions to its events: it speaks IPMI".into())),
                Protocol::Redfish => {
                    redfish::subscribe(&lane.redfish_write(&self.inner, target).await?, wanted, &sent).await
                }
            }
        };
        let outcome = lane.run(&self.inner.settings, act).await;
        outcome.map_err(|source| Error::Subscribe { bmc: target.address.clone(), sent: sent.maybe(), source })
    }
}
