//! The hand that reaches real BMCs: passwords are read at each use, from the vault or else from their files, so that a
//! changed one is taken at once and none stays in memory longer than its call.

use crate::adoption::{FindHand, Met};
use crate::hand::{BmcOf, ConsoleHand, FirmwareHand, Hand, HandError, Lead, Login, PasswordHand};
use crate::passwords::Vault;
use crate::probing::ProbeHand;
use crate::subscribing::EventHand;
use crate::watching::{Heard, Hearing, Listening, Shown, Visit, WatchHand};
use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bmc::{
    Authority, Bmcs, BootDevice, BootOrder, Console, Error, Hail, Kind, LogMark, PaceTold, PowerAction, Running,
    Secret, Subscription, Target, Trust, WriteHabit,
};
use muster_catalog::{BiosTold, BmcAccess, BmcSigns, Catalog, Placed, Protocol, Quirk};
use muster_names::{FirmwareMode, Power};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const GOODBYE: Duration = Duration::from_secs(5);
/// Between two events of a BMC.
const BREATH: Duration = Duration::from_secs(1);

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
    pub fn new(
        vault: Arc<Vault>,
        secrets: PathBuf,
        catalog: Arc<ArcSwap<Catalog>>,
        authority: Option<Authority>,
    ) -> Self {
        let settings = muster_bmc::Settings { authority, ..muster_bmc::Settings::default() };
        Self { bmcs: Bmcs::new(settings), vault, secrets, catalog }
    }

    /// Every session is given back, as far as that goes quickly: at the end.
    pub async fn close(&self) {
        if tokio::time::timeout(GOODBYE, self.bmcs.close_all()).await.is_err() {
            tracing::info!("some BMCs keep a session of ours until it runs out");
        }
    }

    /// What its profile says of the BMC, or the layout's model of the BMC at this address.
    fn quirks(&self, bmc: &BmcAccess) -> Vec<Quirk> {
        let catalog = self.catalog.load();
        if let Some(profile) = bmc.profile.as_deref().and_then(|id| catalog.bmc_profile(id)) {
            return profile.quirks_in_force();
        }
        let behind = |placed: &Placed<'_>| placed.machine.bmc.as_ref().is_some_and(|one| one.address == bmc.address);
        let model = catalog.machines().find(behind).and_then(|placed| catalog.model(&placed.machine.model));
        model.and_then(|model| catalog.bmc_of(model)).map(|profile| profile.quirks).unwrap_or_default()
    }

    async fn target(&self, bmc: &BmcOf) -> Result<Target, HandError> {
        self.of(bmc, self.vault.in_use(bmc).await?).await
    }

    /// With the key that is known of it.
    async fn of(&self, bmc: &BmcOf, own: Option<Secret>) -> Result<Target, HandError> {
        let mut target = self.with(&bmc.access, own).await?;
        if bmc.access.protocol == Protocol::Redfish && target.trust != Trust::Plain {
            target.trust = self.vault.pin_of(bmc.machine).await?.map_or(Trust::FirstUse, Trust::Pinned);
        }
        if bmc.access.protocol == Protocol::Redfish {
            target.quirks = corrected(target.quirks, &self.vault.learnt_of(bmc.machine).await?.quirks());
        }
        Ok(target)
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
        let Some(name) = &bmc.password_file else {
            let reason = "no password of its BMC is known: name its password-file in the rack layout, or enter it with \
                          `muster bmc manifest`";
            return Err(HandError { reason: reason.into(), may_have_happened: false, later: false });
        };
        let file = self.secrets.join(name);
        let text = tokio::fs::read_to_string(&file).await.map_err(|error| HandError {
            reason: format!("its password file {} does not read: {error}", file.display()),
            may_have_happened: false,
            later: false,
        })?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }
}

impl BmcHand {
    /// The key of a BMC that is not known by one yet, and whose it says it is.
    async fn shown(&self, target: &Target) -> Option<Shown> {
        let identity = self.bmcs.identify(target).await.ok()?;
        let serials = [identity.serial, identity.sku].into_iter().flatten().collect();
        Some(Shown { pin: identity.tls_pin?, serials, uuids: identity.uuids })
    }
}

/// What was tried goes before what a profile says of the same.
fn corrected(mut quirks: Vec<Quirk>, learnt: &[Quirk]) -> Vec<Quirk> {
    if !learnt.is_empty() {
        quirks.retain(|quirk| !matches!(quirk, Quirk::NoIfMatch | Quirk::NeedsIfMatch));
        quirks.extend(learnt);
    }
    quirks
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
            let device = device_of(lead);
            let uri = if let Lead::Http(uri) = lead { Some(uri.as_str()) } else { None };
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

    fn holds_boot<'a>(&'a self, bmc: &'a BmcOf, lead: &'a Lead) -> BoxFuture<'a, Result<Option<bool>, HandError>> {
        Box::pin(async move {
            let set = self.bmcs.get_boot(&self.target(bmc).await?).await.map_err(|error| told(&error))?;
            Ok(set.device.map(|device| device == device_of(lead)))
        })
    }

    fn eject<'a>(&'a self, bmc: &'a BmcOf, disc: &'a str) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let at = self.target(bmc).await?;
            self.bmcs.eject(&at, disc).await.map(drop).map_err(|error| told(&error))
        })
    }
}

fn device_of(lead: &Lead) -> BootDevice {
    match lead {
        Lead::Disk => BootDevice::Disk,
        Lead::Pxe => BootDevice::Pxe,
        Lead::Http(_) => BootDevice::Http,
        Lead::Disc(_) => BootDevice::Cd,
    }
}

/// Parts of a long log that one visit reads; the next one goes on.
const MOST_PARTS: usize = 8;

impl WatchHand for BmcHand {
    fn visit<'a>(&'a self, bmc: &'a BmcOf, after: &'a [LogMark]) -> BoxFuture<'a, Visit> {
        Box::pin(async move {
            let failed = |error: HandError| Visit {
                power: Err(error.clone()),
                readings: Err(error.clone()),
                logs: Err(error),
                shown: None,
            };
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
                let shown = match target.trust {
                    Trust::FirstUse if bmc.access.protocol == Protocol::Redfish => self.shown(&target).await,
                    Trust::FirstUse | Trust::Pinned(_) | Trust::Plain => None,
                };
                Visit { power: Ok(power), readings, logs, shown }
            };
            self.bmcs.among_many(&target, visit).await
        })
    }

    fn listen<'a>(&'a self, bmc: &'a BmcOf, listening: Listening<'a>) -> Hearing<'a> {
        Box::pin(async move {
            let Listening { pushed, places, cancel } = listening;
            let target = self.target(bmc).await?;
            let Some(mut pushes) = self.bmcs.pushes(&target).await.map_err(|error| told(&error))? else {
                return Ok(Heard::NoStream);
            };
            let Ok(_place) = places.try_acquire() else {
                pushes.close().await;
                return Ok(Heard::NoPlace);
            };
            while let Some(Some(())) = cancel.run_until_cancelled(pushes.next()).await {
                pushed();
                // More of it says no more.
                cancel.run_until_cancelled(tokio::time::sleep(BREATH)).await;
            }
            pushes.close().await;
            Ok(Heard::Ended)
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
            let target = self.of(bmc, self.vault.before(bmc).await?).await?;
            self.bmcs.password_limit(&target).await.map_err(|error| told(&error))
        })
    }

    fn set_password<'a>(&'a self, bmc: &'a BmcOf, next: &'a Secret) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move {
            let target = self.of(bmc, self.vault.before(bmc).await?).await?;
            self.bmcs.set_password(&target, next).await.map_err(|error| told(&error))
        })
    }

    fn logs_in<'a>(&'a self, bmc: &'a BmcOf, with: Login<'a>) -> BoxFuture<'a, Result<bool, HandError>> {
        Box::pin(async move {
            let secret = match with {
                Login::With(secret) => Some(secret.clone()),
                Login::InForce => self.vault.before(bmc).await?,
            };
            let target = self.of(bmc, secret).await?;
            self.bmcs.may_log_in(&target).await.map_err(|error| told(&error))
        })
    }

    fn of_file<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Secret, HandError>> {
        Box::pin(self.file(&bmc.access))
    }
}

impl FindHand for BmcHand {
    fn hail<'a>(&'a self, protocol: Protocol, address: &'a str) -> BoxFuture<'a, Result<Hail, HandError>> {
        Box::pin(async move { self.bmcs.hail(protocol, address).await.map_err(|error| told(&error)) })
    }

    fn forget_key(&self, address: &str) {
        self.bmcs.forget_key(address);
    }

    fn meet<'a>(
        &'a self,
        access: &'a BmcAccess,
        secret: &'a Secret,
        hail: &'a Hail,
    ) -> BoxFuture<'a, Result<Met, HandError>> {
        Box::pin(async move {
            let signs = BmcSigns {
                root_vendor: hail.vendor.clone(),
                root_product: hail.product.clone(),
                maker_number: hail.maker_number,
                ..BmcSigns::default()
            };
            let profile = self.catalog.load().recognise(&signs).map(|profile| profile.id.clone());
            let known = BmcAccess { profile: profile.or(access.profile.clone()), ..access.clone() };
            let mut target = self.with(&known, Some(secret.clone())).await?;
            if let (Trust::FirstUse, Some(pin)) = (target.trust, hail.tls_pin) {
                // Whoever answered the greeting, and nobody else.
                target.trust = Trust::Pinned(pin);
            }
            let mut identity = self.bmcs.identify(&target).await.map_err(|error| told(&error))?;
            self.bmcs.close(&target).await;
            let catalog = self.catalog.load();
            let profile = known.profile.as_deref().and_then(|id| catalog.bmc_profile(id));
            if profile.is_some_and(|profile| profile.serial_in_sku) && identity.sku.is_some() {
                std::mem::swap(&mut identity.serial, &mut identity.sku);
            }
            Ok(Met { identity, profile: known.profile })
        })
    }
}

impl ProbeHand for BmcHand {
    fn kind<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<String, HandError>> {
        Box::pin(async move {
            let identity = self.bmcs.identify(&self.target(bmc).await?).await.map_err(|error| told(&error))?;
            let part = |text: Option<String>| {
                let text = text.map(|text| text.trim().replace('/', "-")).filter(|text| !text.is_empty())?;
                Some(text.chars().take(80).collect::<String>())
            };
            let (maker, model, firmware) = (part(identity.manufacturer), part(identity.model), part(identity.firmware));
            let (Some(maker), Some(model), Some(firmware)) = (maker, model, firmware) else {
                let reason = "it does not tell maker, model and firmware, so that nothing is learnt of its kind";
                return Err(HandError { reason: reason.into(), may_have_happened: false, later: false });
            };
            let protocol = if bmc.access.protocol == Protocol::Ipmi { "ipmi" } else { "redfish" };
            Ok(format!("{protocol}/{maker}/{model}/{firmware}"))
        })
    }

    fn missing<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<Vec<String>, HandError>> {
        Box::pin(async move {
            let missing = self.bmcs.missing(&self.target(bmc).await?).await.map_err(|error| told(&error))?;
            Ok(missing.into_iter().map(str::to_owned).collect())
        })
    }

    fn write_habit<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<WriteHabit, HandError>> {
        Box::pin(async move { self.bmcs.probe_write(&self.target(bmc).await?).await.map_err(|error| told(&error)) })
    }

    fn restart<'a>(&'a self, bmc: &'a BmcOf) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async move { self.bmcs.reset_bmc(&self.target(bmc).await?).await.map_err(|error| told(&error)) })
    }
}

impl EventHand for BmcHand {
    fn subscribed<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<bool, HandError>> {
        Box::pin(
            async move { self.bmcs.subscribed(&self.target(bmc).await?, wanted).await.map_err(|error| told(&error)) },
        )
    }

    fn subscribe<'a>(&'a self, bmc: &'a BmcOf, wanted: &'a Subscription) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(
            async move { self.bmcs.subscribe(&self.target(bmc).await?, wanted).await.map_err(|error| told(&error)) },
        )
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
