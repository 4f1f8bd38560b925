//! BMCs that are found, met and tried: how the bed's BMCs play them.

use crate::bed::{Bmcs, silence};
use futures_core::future::BoxFuture;
use muster_bmc::{Hail, Identity, Pin};
use muster_catalog::{BmcAccess, Protocol};
use muster_conductor::{BmcOf, FindHand, HandError, Met, ProbeHand, Secret, WriteHabit};

/// A BMC that is nobody's yet.
#[derive(Clone, Debug)]
pub struct Greets {
    pub protocol: Protocol,
    pub serial: Option<String>,
    pub sku: Option<String>,
    pub pin: Option<Pin>,
}

impl FindHand for Bmcs {
    fn hail<'a>(&'a self, protocol: Protocol, address: &'a str) -> BoxFuture<'a, Result<Hail, HandError>> {
        let greets = self.at(address).filter(|fake| !fake.silent).and_then(|fake| fake.greets);
        let greets = greets.filter(|greets| greets.protocol == protocol).ok_or_else(silence);
        Box::pin(async move {
            let Greets { pin, .. } = greets?;
            Ok(Hail {
                protocol,
                vendor: Some("Acme".into()),
                product: None,
                uuids: vec![],
                version: None,
                maker_number: None,
                tls_pin: pin,
                exposures: vec![],
            })
        })
    }

    fn forget_key(&self, _: &str) {}

    fn meet<'a>(
        &'a self,
        access: &'a BmcAccess,
        secret: &'a Secret,
        _: &'a Hail,
    ) -> BoxFuture<'a, Result<Met, HandError>> {
        let met = self.of(&access.address, |fake| {
            let Some(greets) = fake.greets.clone().filter(|_| !fake.silent) else { return Err(silence()) };
            if fake.password != secret.reveal() {
                fake.refused += 1;
                return Err(HandError {
                    reason: "the password is wrong".into(),
                    may_have_happened: false,
                    later: false,
                });
            }
            let identity =
                Identity { serial: greets.serial, sku: greets.sku, tls_pin: greets.pin, ..Identity::default() };
            Ok(Met { identity, profile: None })
        });
        Box::pin(async move { met })
    }
}

/// A BMC's peculiarities, where a test has some.
#[derive(Clone, Debug, Default)]
pub struct Peculiar {
    pub hides: Vec<String>,
    /// Looks that come to nothing after its restart.
    pub away: u32,
    pub habit: Option<WriteHabit>,
}

impl ProbeHand for Bmcs {
    fn kind<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<String, HandError>> {
        Box::pin(async move { Ok("Acme/One/1.0".to_owned()) })
    }

    fn missing<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Vec<String>, HandError>> {
        let told = self.of(&bmc.access.address, |fake| {
            if fake.peculiar.away > 0 {
                fake.peculiar.away -= 1;
                return Err(silence());
            }
            Ok(fake.peculiar.hides.clone())
        });
        Box::pin(async move { told })
    }

    fn write_habit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<WriteHabit, HandError>> {
        let habit = self.of(&bmc.access.address, |fake| {
            fake.log.push("probe-write".into());
            fake.peculiar.habit
        });
        Box::pin(async move { habit.ok_or_else(silence) })
    }

    fn restart<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<(), HandError>> {
        self.of(&bmc.access.address, |fake| {
            fake.log.push("restart-bmc".into());
            fake.peculiar.hides.retain(|key| key == "Never");
            fake.peculiar.away = 1;
        });
        Box::pin(async move { Ok(()) })
    }
}
