//! The hand that reaches real BMCs: passwords are read at each use, from the vault or else from their files, so that a
//! changed one is taken at once and none stays in memory longer than its call.

use crate::hand::{BmcOf, ConsoleHand, FirmwareHand, Hand, HandError, Lead, Login, PasswordHand};
use crate::passwords::Vault;
use crate::watching::{Visit, WatchHand};
use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bmc::{
    Bmcs, BootDevice, BootOrder, Console, Error, Kind, LogMark, PaceTold, PowerAction, Running, Secret, Target, Trust,
};
use muster_catalog::{BiosTold, BmcAccess, Catalog, Placed, Protocol, Quirk};
use muster_names::{FirmwareMode, Power};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// BMCs by the protocols of `muster-bmc`.
pub struct BmcHand {
    bmcs: Bmcs,
    vault: Arc<Vault>,
    /// Where the layouts' password files lie.
    secrets: PathBuf,
    /// The data files in force: they tell a BMC's quirks.
    catalog: Arc<ArcSwap<Catalog>>,
}

impl BmcHand {
    /// Call inside a tokio runtime.
    pub fn new(vault: Arc<Vault>, secrets: PathBuf, catalog: Arc<ArcSwap<Catalog>>) -> Self {
        Self { bmcs: Bmcs::new(muster_bmc::Settings::default()), vault, secrets, catalog }
    }

    /// What the layout's model says of the BMC at this address.
    fn quirks(&self, bmc: &BmcAccess) -> Vec<Quirk> {
        let catalog = self.catalog.load();
        let behind = |placed: &Placed<'_>| placed.machine.bmc.as_ref().is_some_and(|one| one.address == bmc.address);
        let model = catalog.machines().find(behind).and_then(|placed| catalog.model(&placed.machine.model));
        model.and_then(|model| catalog.bmc_of(model)).map(|profile| profile.quirks).unwrap_or_default()
    }

    async fn target(&self, bmc: &BmcOf) -> Result<Target, HandError> {
        self.with(&bmc.access, self.vault.in_use(bmc).await?).await
    }

    /// With this password, or with that of its file.
    async fn with(&self, bmc: &BmcAccess, own: Option<Secret>) -> Result<Target, HandError> {
        let secret = match own {
            Some(secret) => secret,
            None => self.file(bmc).await?,
        };
        let mut target = Target::new(bmc.protocol, bmc.address.clone(), bmc.user.clone(), secret);
        target.quirks = self.quirks(bmc);
        if bmc.protocol == Protocol::Redfish && bmc.address.starts_with("http://") {
            target.trust = Trust::Plain;
        }
        Ok(target)
    }

    async fn file(&self, bmc: &BmcAccess) -> Result<Secret, HandError> {
        let file = self.secrets.join(&bmc.password_file);
        let text = tokio::fs::read_to_string(&file).await.map_err(|error| HandError {
            reason: format!("its password file {} does not read: {error}", file.display()),
            may_have_happened: false,
            later: false,
        })?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }
}

fn told(error: &Error) -> HandError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    HandError {
        reason,
        may_have_happened: error.may_have_happened(),
        later: matches!(error.kind(), Kind::Later | Kind::Unreachable),
    }
}

impl Hand for BmcHand {
    fn power<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Power, HandError>> {
        Box::pin(async move {
            let target = self.target(bmc).await?;
            self.bmcs.power(&target).await.map_err(|error| told(&error))
        })
    }

    fn set_power<'a>(&'a self, bmc: &'a BmcOf, power: Power) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let action = match power {
                Power::On => PowerAction::On,
                Power::Off => PowerAction::Off,
                Power::Unknown => {
                    let reason = "nothing can be switched to unknown".into();
                    return Err(HandError { reason, may_have_happened: false, later: false });
                }
            };
            let target = self.target(bmc).await?;
            self.bmcs.set_power(&target, action).await.map(drop).map_err(|error| told(&error))
        })
    }

    fn set_boot<'a>(
        &'a self,
        bmc: &'a BmcOf,
        lead: &'a Lead,
        mode: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let (device, uri) = match lead {
                Lead::Disk => (BootDevice::Disk, None),
                Lead::Pxe => (BootDevice::Pxe, None),
                Lead::Http(uri) => (BootDevice::Http, Some(uri.as_str())),
                Lead::Disc(_) => (BootDevice::Cd, None),
            };
            // Servers of the last ten years are UEFI first; a model or an inventory that says BIOS goes before this.
            let mode = match lead {
                Lead::Http(_) => FirmwareMode::Uefi,
                _ => mode.unwrap_or(FirmwareMode::Uefi),
            };
            let order = BootOrder { device, mode, once: true };
            let at = self.target(bmc).await?;
            if let Lead::Disc(image) = lead {
                self.bmcs.insert(&at, image).await.map_err(|error| told(&error))?;
            }
            self.bmcs.set_boot_from(&at, order, uri).await.map(drop).map_err(|error| told(&error))
        })
    }

    fn eject<'a>(&'a self, bmc: &'a BmcOf, disc: &'a str) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let at = self.target(bmc).await?;
            self.bmcs.eject(&at, disc).await.map(drop).map_err(|error| told(&error))
        })
    }
}

/// Parts of a long log that one visit reads; the next one goes on.
const MOST_PARTS: usize = 8;

impl WatchHand for BmcHand {
    fn visit<'a>(&'a self, bmc: &'a BmcOf, after: &'a [LogMark]) -> BoxFuture<'a, Visit> {
        Box::pin(async move {
            let failed =
                |error: HandError| Visit { power: Err(error.clone()), readings: Err(error.clone()), logs: Err(error) };
            let target = match self.target(bmc).await {
                Ok(target) => target,
                Err(error) => return failed(error),
            };
            let visit = async {
                let power = match self.bmcs.power(&target).await {
                    Ok(power) => power,
                    Err(error) => return failed(told(&error)),
                };
                let readings = self.bmcs.sensors(&target).await.map_err(|error| told(&error));
                let logs = self.bmcs.event_log_on(&target, after, MOST_PARTS).await.map_err(|error| told(&error));
                Visit { power: Ok(power), readings, logs }
            };
            self.bmcs.among_many(&target, visit).await
        })
    }

    fn pace(&self) -> PaceTold {
        self.bmcs.pace()
    }
}

impl ConsoleHand for BmcHand {
    fn console<'a>(&'a self, bmc: &'a BmcOf, take_over: bool) -> BoxFuture<'a, Result<Console, HandError>> {
        Box::pin(async move {
            let target = self.target(bmc).await?;
            self.bmcs.console(&target, take_over).await.map_err(|error| told(&error))
        })
    }
}

impl PasswordHand for BmcHand {
    fn password_limit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<usize, HandError>> {
        Box::pin(async move {
            let target = self.with(&bmc.access, self.vault.before(bmc).await?).await?;
            self.bmcs.password_limit(&target).await.map_err(|error| told(&error))
        })
    }

    fn set_password<'a>(&'a self, bmc: &'a BmcOf, next: &'a Secret) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let target = self.with(&bmc.access, self.vault.before(bmc).await?).await?;
            self.bmcs.set_password(&target, next).await.map_err(|error| told(&error))
        })
    }

    fn logs_in<'a>(&'a self, bmc: &'a BmcOf, with: Login<'a>) -> BoxFuture<'a, Result<bool, HandError>> {
        Box::pin(async move {
            let secret = match with {
                Login::With(secret) => Some(secret.clone()),
                Login::InForce => self.vault.before(bmc).await?,
            };
            let target = self.with(&bmc.access, secret).await?;
            self.bmcs.may_log_in(&target).await.map_err(|error| told(&error))
        })
    }

    fn of_file<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Secret, HandError>> {
        Box::pin(self.file(&bmc.access))
    }
}

impl FirmwareHand for BmcHand {
    fn firmware<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Running, HandError>> {
        Box::pin(async move {
            let target = self.target(bmc).await?;
            let catalog = self.catalog.load_full();
            self.bmcs.firmware(&target, &catalog, &|_| {}).await.map_err(|error| told(&error))
        })
    }

    fn bios<'a>(&'a self, bmc: &'a BmcOf, boot_order: bool) -> BoxFuture<'a, Result<BiosTold, HandError>> {
        Box::pin(async move {
            let target = self.target(bmc).await?;
            self.bmcs.bios(&target, boot_order).await.map_err(|error| told(&error))
        })
    }

    fn set_bios<'a>(
        &'a self,
        bmc: &'a BmcOf,
        values: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let target = self.target(bmc).await?;
            self.bmcs.set_bios(&target, values).await.map(drop).map_err(|error| told(&error))
        })
    }
}
