//! What a BMC tells anybody who asks, before any login: whether one is there at all, whose it is, and what it leaves open.
//!
//! This is how a range of addresses is looked through, most of which belong to nobody. So a stranger gets little patience,
//! no queue and no breaker, and nothing of it stays in memory. No credential exists here that could be sent, and nothing
//! here can count as a failed login.

use crate::{Bmcs, Error, Fault, Pin, Protocol, ipmi, redfish};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::Semaphore;

/// For one stranger, from its turn on. A BMC that shakes hands slowly takes three seconds.
const DEADLINE: Duration = Duration::from_secs(8);
/// A connection takes a file descriptor, and known BMCs want some too.
const SHARE: usize = 2;

/// What a BMC tells anybody who asks, before any login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hail {
    pub protocol: Protocol,
    pub vendor: Option<String>,
    pub product: Option<String>,
    /// Of the BMC or its machine, in lower case. IPMI leaves the byte order open, so that there are up to three readings.
    pub uuids: Vec<String>,
    /// Of the protocol, as spoken there.
    pub version: Option<String>,
    /// IANA enterprise number of whoever made its authentication, which is mostly its maker (IPMI).
    pub maker_number: Option<u32>,
    /// The key that it proved (Redfish over TLS).
    pub tls_pin: Option<Pin>,
    /// In the order of [`Exposure`].
    pub exposures: Vec<Exposure>,
}

impl Hail {
    pub(crate) fn of(protocol: Protocol) -> Self {
        Self {
            protocol,
            vendor: None,
            product: None,
            uuids: Vec::new(),
            version: None,
            maker_number: None,
            tls_pin: None,
            exposures: Vec::new(),
        }
    }
}

/// What a BMC leaves open to whoever reaches it (A5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposure {
    /// Cipher suite 0 is offered: whoever knows a user's name logs in with any password.
    CipherZero,
    /// Somebody without a name and without a password may log in.
    AnonymousLogin,
    /// There is a user without a name, so that a password alone logs in.
    NullUser,
    /// Sessions of IPMI 1.5 are taken, which are not encrypted.
    Ipmi15,
    /// Authentication type NONE is offered: a session without any proof.
    NoAuthentication,
}

/// How many strangers are asked at once.
pub struct Places(Semaphore);

impl Places {
    pub fn new(most_at_once: usize) -> Self {
        Self(Semaphore::new((most_at_once / SHARE).clamp(1, Semaphore::MAX_PERMITS)))
    }
}

impl Bmcs {
    /// Whether a BMC is at this address, and what it tells without a login. Nobody there is [`crate::Kind::Unreachable`],
    /// somebody else [`Fault::NoBmc`]. Over Redfish any key is taken, since nothing secret is said; `http://` is spoken
    /// where the address says so. Call it for as many addresses as there are: it waits for its turn by itself.
    pub async fn hail(&self, protocol: Protocol, address: &str) -> Result<Hail, Error> {
        let failed = |source| Error::Hail { bmc: address.to_string(), source };
        let closed = |_| failed(Fault::Broken("the engine is closed".into()));
        let _place = self.inner.strangers.0.acquire().await.map_err(closed)?;
        let limit = DEADLINE.min(self.inner.settings.deadline);
        let ask = async {
            match protocol {
                Protocol::Ipmi => ipmi::hail(&self.inner, address).await,
                Protocol::Redfish => redfish::hail(&self.inner, address).await,
            }
        };
        let told = tokio::time::timeout(limit, ask).await;
        told.unwrap_or(Err(Fault::NoAnswer(limit))).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Settings};

    #[tokio::test]
    async fn a_stranger_leaves_nothing_in_memory() {
        let bmcs = Bmcs::new(Settings { answer: Duration::from_millis(10), most_at_once: 2, ..Settings::default() });
        for (protocol, address) in [(Protocol::Ipmi, "127.9.0.1:1"), (Protocol::Redfish, "127.9.0.1:1")] {
            let error = bmcs.hail(protocol, address).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "{error:?}");
        }
        assert!(bmcs.inner.all().is_empty(), "a lane was made");
        assert_eq!(bmcs.inner.strangers.0.available_permits(), 1, "its place came back");
    }
}
