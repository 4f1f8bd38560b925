//! Restarting a BMC itself. Its machine runs on.

use crate::lane::Sent;
use crate::{Bmcs, Error, Protocol, Target, ipmi, redfish};

impl Bmcs {
    /// Restarts the BMC: gracefully where it offers that. Sent once, never repeated. From then on everything that was had
    /// of it is void, and until it is back it counts as resting ([`crate::Settings::restart`]): for whoever asks
    /// meanwhile it is unreachable, and a login that it refuses while it starts is no failed one.
    pub async fn reset_bmc(&self, target: &Target) -> Result<(), Error> {
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::reset_bmc(&mut lane.ipmi(&self.inner, target).await?, &sent).await,
                Protocol::Redfish => redfish::reset_bmc(&lane.redfish_write(&self.inner, target).await?, &sent).await,
            }
        };
        let outcome = lane.run(&self.inner.settings, act).await;
        if sent.maybe() {
            lane.restarts(&self.inner.settings, target).await;
        }
        outcome.map_err(|source| Error::ResetBmc { bmc: target.address.clone(), sent: sent.maybe(), source })
    }
}
