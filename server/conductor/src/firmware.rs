//! Which firmware machines run and what it is set to, read from their BMCs at the moment somebody asks, against what their
//! models want.
//!
//! Nothing is kept: a version that was read yesterday is no ground for a plan today. A BMC that does not answer costs its
//! own line.

use crate::error::store;
use crate::facts::known;
use crate::hand::{FirmwareHand, HandError};
use crate::{BmcBody, BmcOf, Conductor, Error, body};
use muster_bmc::Running;
use muster_catalog::{BiosTold, Catalog, Model};
use muster_diagnosis::{FirmwarePlan, ModelOutlook, ReportedFirmware, bios_aims, by_model, judge_bios, judge_firmware};
use muster_names::MachineId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// So many BMCs are read at one moment, whoever asks.
pub(crate) const AT_ONCE: usize = 16;
/// For all that is read of one BMC.
const PATIENCE: Duration = Duration::from_secs(240);

/// One machine, or why it could not be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineFirmware {
    pub id: MachineId,
    pub name: String,
    pub state: String,
    pub model: Option<String>,
    pub plan: Option<FirmwarePlan>,
    /// Why there is no plan.
    pub error: Option<String>,
    /// Whether asking again may help.
    pub later: bool,
    /// What else a reader should know: what could not be read, a BMC of another kind than the model's.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FirmwareReport {
    /// In the order in which they were asked for.
    pub machines: Vec<MachineFirmware>,
    pub models: Vec<ModelOutlook>,
}

impl FirmwareReport {
    pub fn of(machines: Vec<MachineFirmware>) -> Self {
        let rows = machines.iter().filter_map(|one| Some((one.model.as_deref()?, one.plan.as_ref())));
        let models = by_model(rows);
        Self { machines, models }
    }
}

/// What was read of a machine against its model. `running` is `None` where the model wants no firmware.
pub fn weigh(
    catalog: &Catalog,
    model: &Model,
    running: Option<&Running>,
    bios: Result<&BiosTold, &str>,
) -> (FirmwarePlan, Vec<String>) {
    let mut notes = Vec::new();
    let mut reported = Vec::new();
    if let Some(running) = running {
        // What stands by and does not run is nobody's version.
        let runs = running.firmware.iter().filter(|one| one.state.is_none());
        reported.extend(runs.filter_map(|one| {
            Some(ReportedFirmware { component: one.component.clone()?, version: one.version.clone()? })
        }));
        if let Some(other) = running.profile.as_ref().filter(|profile| **profile != model.bmc.profile) {
            notes.push(format!(
                "its BMC is known as {other}, its model {} names {}: names of attributes are those of {}",
                model.id, model.bmc.profile, model.bmc.profile
            ));
        }
        let gaps = running.gaps.iter().take(3).map(|gap| format!("not read: {}: {}", gap.at, gap.reason));
        notes.extend(gaps);
    }
    if model.firmware.is_empty() && model.bios.is_empty() {
        notes.push(format!("its model {} wants no firmware and no BIOS attributes", model.id));
    }
    let aims = bios_aims(&model.bios, catalog.bmc_profile(&model.bmc.profile));
    let plan = FirmwarePlan {
        firmware: judge_firmware(&model.firmware, &reported),
        bios: judge_bios(&aims, &model.bios.boot_order, bios),
    };
    (plan, notes)
}

/// Reads what the model has a wish about, and weighs it.
async fn read(
    hand: &dyn FirmwareHand,
    bmc: &BmcOf,
    catalog: &Catalog,
    model: &Model,
) -> Result<(FirmwarePlan, Vec<String>), HandError> {
    let running = match model.firmware.is_empty() {
        true => None,
        false => Some(hand.firmware(bmc).await?),
    };
    let bios = match model.bios.is_empty() {
        true => Ok(BiosTold::default()),
        false => hand.bios(bmc, !model.bios.boot_order.is_empty()).await,
    };
    let bios = match bios {
        Ok(bios) => Ok(bios),
        // Where nothing could be read there is no plan.
        Err(error) if running.is_none() && error.later => return Err(error),
        Err(error) => Err(error.reason),
    };
    Ok(weigh(catalog, model, running.as_ref(), bios.as_ref().map_err(String::as_str)))
}

impl Conductor {
    /// Reads these machines, some at a time. It changes nothing, so that nothing has to be asked for leave.
    pub async fn firmware(self: &Arc<Self>, ids: Vec<MachineId>) -> Result<FirmwareReport, Error> {
        let mut looks = JoinSet::new();
        let mut machines = Vec::with_capacity(ids.len());
        for (at, id) in ids.into_iter().enumerate() {
            let (machine, look) = self.ask_about(id).await?;
            machines.push(machine);
            let Some((bmc, model)) = look else { continue };
            let me = self.clone();
            looks.spawn(async move {
                let _permit = me.looks.acquire().await;
                let catalog = me.catalog();
                let read = read(me.firmware.as_ref(), &bmc, &catalog, &model);
                (at, tokio::time::timeout(PATIENCE, read).await)
            });
        }
        while let Some(ended) = looks.join_next().await {
            let Ok((at, read)) = ended else { continue };
            let Some(machine) = machines.get_mut(at) else { continue };
            match read {
                Ok(Ok((plan, notes))) => (machine.plan, machine.error, machine.notes) = (Some(plan), None, notes),
                Ok(Err(error)) => (machine.error, machine.later) = (Some(error.reason), error.later),
                Err(_) => {
                    let why = format!("its BMC was not read whole within {PATIENCE:?}; ask for it alone");
                    (machine.error, machine.later) = (Some(why), true);
                }
            }
        }
        Ok(FirmwareReport::of(machines))
    }

    /// The machine's line before its BMC is asked, and what to ask; `None` with the reason in the line.
    async fn ask_about(&self, id: MachineId) -> Result<(MachineFirmware, Option<(BmcOf, Model)>), Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let catalog = self.catalog();
        let machine = known(&mut tx, &catalog, id).await?;
        let model = machine.record.model.or(machine.kept.expected_model);
        let found = model.as_deref().and_then(|model| catalog.model(model)).cloned();
        let asked = match (machine.record.ours, machine.record.bmc, found) {
            (false, ..) => Err("it is not ours: claim it first"),
            (_, None, _) => Err("nobody named its BMC"),
            (.., None) => Err("no hardware model fits it: discover it first"),
            (_, Some(text), Some(model)) => {
                let access: BmcBody = body::read("bmc", &id, &text)?;
                Ok((BmcOf { machine: id, access }, model))
            }
        };
        let why =
            asked.as_ref().err().copied().unwrap_or("its BMC was not read: a fault of ours, the daemon's log has it");
        let line = MachineFirmware {
            id,
            name: machine.record.name,
            state: machine.state.label().into(),
            model,
            plan: None,
            error: Some(why.into()),
            later: false,
            notes: Vec::new(),
        };
        Ok((line, asked.ok()))
    }
}
