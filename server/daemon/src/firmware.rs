//! `muster firmware`: what differs from the models, and BIOS attributes set for the next boot. No verb here writes firmware.

use crate::bmc::{self, At};
use crate::cli::{Output, Targets};
use crate::client::Api;
use crate::table::{count, plain_text, print_told};
use crate::{AWAY, data, plan};
use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, Settings};
use muster_catalog::{BiosTold, Catalog, Model, Rack};
use muster_conductor::{FirmwareReport, MachineFirmware, weigh};
use muster_diagnosis::{BiosVerdict, FirmwarePlan, FirmwareVerdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The models as this tree had them when it was built.
const MODELS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/models.rs"));
/// Machines in one request: the daemon reads so many at a time.
const BATCH: usize = 16;

#[derive(clap::Subcommand)]
pub enum FirmwareCommand {
    /// What differs from the models, firmware and BIOS attributes, and what would happen; changes nothing
    ///
    /// Everything is read from the BMCs now. Without machines it asks about all whose model wants something. With --bmc it
    /// needs no daemon and asks that BMC from here. Muster writes no firmware: a plan is for whoever does.
    ///
    /// Exit codes: 0 every machine was read, whatever differs; 1 some could not be, the message says why; 3 some did not
    /// answer, the same again may work later.
    Plan(Plan),
    /// Set the BIOS attributes that the model wants, for the next boot; restarts nothing
    ///
    /// Only on machines that serve nobody: ready, or held without an owner's data. What differs is shown first. It takes
    /// effect at the machine's next boot, whenever that is.
    ApplyBios(Targets),
}

#[derive(clap::Args)]
pub struct Plan {
    /// Names, ids, serials or MACs
    machines: Vec<String>,
    /// All machines of this model; with --bmc, the model that it is compared with
    #[arg(long, conflicts_with = "machines")]
    model: Option<String>,
    /// Ask this BMC from here, without a daemon: redfish://HOST, https://HOST, http://HOST or ipmi://HOST
    #[arg(long, value_name = "URL", requires_all = ["model", "user", "password_file"])]
    bmc: Option<String>,
    /// The user to log in to it as
    #[arg(long, requires = "bmc")]
    user: Option<String>,
    /// A file with its password on the first line; - reads it from standard input
    #[arg(long, requires = "bmc")]
    password_file: Option<PathBuf>,
    /// Serial number or UUID of the system meant, where the BMC serves several
    #[arg(long, requires = "bmc")]
    system: Option<String>,
    /// SHA-256 of the BMC's public key; with another key no credential is sent
    #[arg(long, value_name = "SHA256", requires = "bmc")]
    pin: Option<String>,
    /// Models and BMC profiles to use instead of those built in: a folder with firmware-profiles below it
    #[arg(long, value_name = "FOLDER", requires = "bmc")]
    files: Option<PathBuf>,
}

impl FirmwareCommand {
    /// Asks a BMC from here, where that was said.
    pub fn here(&self) -> Option<(&Plan, At)> {
        let Self::Plan(asked) = self else { return None };
        let at = At {
            url: asked.bmc.clone()?,
            user: asked.user.clone().unwrap_or_default(),
            password_file: asked.password_file.clone().unwrap_or_default(),
            system: asked.system.clone(),
            pin: asked.pin.clone(),
            profile: None,
        };
        Some((asked, at))
    }
}

pub async fn ask(api: &Api, command: FirmwareCommand, output: Output) -> Result<ExitCode> {
    match command {
        FirmwareCommand::Plan(asked) => {
            let ids = match asked.machines.is_empty() {
                true => wanting(api, asked.model.as_deref()).await?,
                false => named(api, &asked.machines).await?,
            };
            if ids.is_empty() {
                bail!(
                    "there is nothing to compare: no machine of ours has a model with [[firmware]] or [bios] in its file"
                );
            }
            tell(&report(api, &ids).await?, output)
        }
        FirmwareCommand::ApplyBios(targets) => {
            if output == Output::Table {
                let ids = named(api, &targets.machines).await?;
                tell(&report(api, &ids).await?, output)?;
                println!();
            }
            plan::carry(api, &targets, json!({ "action": "apply-bios" }), output).await
        }
    }
}

async fn named(api: &Api, words: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for word in words {
        ids.push(api.machine(word).await?);
    }
    Ok(ids)
}

/// The machines of a model, or of all models that want something.
async fn wanting(api: &Api, model: Option<&str>) -> Result<Vec<String>> {
    let models: Vec<Model> = serde_json::from_value(api.get("/api/v1/models").await?)?;
    if let Some(model) = model
        && !models.iter().any(|known| known.id == model)
    {
        let known: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
        bail!("no model is called {model:?}; known are: {}", known.join(", "));
    }
    let wants = |model: &Model| !model.firmware.is_empty() || !model.bios.is_empty();
    let meant = |id: &str| match model {
        Some(model) => model == id,
        None => models.iter().any(|model| model.id == id && wants(model)),
    };
    let racks: Vec<Rack> = serde_json::from_value(api.get("/api/v1/racks").await?)?;
    let placed: BTreeMap<&str, &str> =
        racks.iter().flat_map(|rack| &rack.machines).map(|one| (one.name.as_str(), one.model.as_str())).collect();
    let text = |machine: &Value, key: &str| machine.get(key).and_then(Value::as_str).map(str::to_owned);
    // One that nobody looked at yet is what its layout says.
    let model_of = |machine: &Value| {
        let layout = text(machine, "name").and_then(|name| placed.get(name.as_str()).copied());
        text(machine, "model").or_else(|| layout.map(str::to_owned))
    };
    let machines = api.machines(None).await?;
    let of = machines.iter().filter(|machine| model_of(machine).is_some_and(|model| meant(&model)));
    Ok(of.filter_map(|machine| text(machine, "id")).collect())
}

/// A batch at a time, so that somebody who waits sees how far it is.
async fn report(api: &Api, ids: &[String]) -> Result<FirmwareReport> {
    let shown = std::io::stderr().is_terminal() && ids.len() > 1;
    let mut machines: Vec<MachineFirmware> = Vec::with_capacity(ids.len());
    for batch in ids.chunks(BATCH) {
        if shown {
            eprint!("\r{} of {} read ", machines.len(), count(ids.len(), "machine"));
        }
        let answer = api.get(&format!("/api/v1/firmware?machines={}", batch.join(","))).await;
        if shown {
            eprint!("\r\x1b[K");
        }
        let read: FirmwareReport =
            serde_json::from_value(answer?).context("the daemon's answer is of another version")?;
        machines.extend(read.machines);
    }
    Ok(FirmwareReport::of(machines))
}

fn tell(report: &FirmwareReport, output: Output) -> Result<ExitCode> {
    let alone = report.machines.len() == 1;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
        Output::Table => {
            let rows: Vec<Vec<String>> =
                report.machines.iter().flat_map(|machine| machine_rows(machine, alone)).collect();
            print_told(&HEAD, &rows);
            println!();
            report
                .models
                .iter()
                .for_each(|model| println!("{}: {}", plain_text(&model.model), plain_text(&model.words)));
            println!("{CLOSING}");
        }
    }
    for machine in &report.machines {
        let notes = machine.notes.iter().map(|note| plain_text(&format!("{}: {note}", machine.name)));
        notes.for_each(|note| eprintln!("muster: {note}"));
    }
    let unread: Vec<&MachineFirmware> = report.machines.iter().filter(|machine| machine.plan.is_none()).collect();
    Ok(match unread.as_slice() {
        [] => ExitCode::SUCCESS,
        unread if unread.iter().all(|machine| machine.later) => ExitCode::from(AWAY),
        _ => ExitCode::FAILURE,
    })
}

const HEAD: [&str; 6] = ["machine", "what", "at the BMC", "found", "wanted", "verdict"];
const CLOSING: &str =
    "nothing was changed. Muster writes no firmware; BIOS attributes are set with `muster firmware apply-bios`";

fn machine_rows(machine: &MachineFirmware, whole: bool) -> Vec<Vec<String>> {
    match &machine.plan {
        Some(plan) => rows(&machine.name, plan, whole),
        None => {
            let why = format!("not read: {}", machine.error.as_deref().unwrap_or_default());
            vec![[machine.name.as_str(), "-", "-", "-", "-", &why].map(plain_text).to_vec()]
        }
    }
}

/// The lines of one machine: all of them, or those that differ.
fn rows(name: &str, plan: &FirmwarePlan, whole: bool) -> Vec<Vec<String>> {
    let line = |what: &str, there: Option<&str>, found: Option<&str>, wanted: &str, words: &str| {
        [name, what, there.unwrap_or("-"), found.unwrap_or("-"), wanted, words].map(plain_text).to_vec()
    };
    let firmware = plan.firmware.iter().filter(|one| whole || one.verdict != FirmwareVerdict::AsWanted);
    let bios = plan.bios.iter().filter(|one| whole || one.verdict != BiosVerdict::AsWanted);
    let firmware =
        firmware.map(|one| line(&one.name, one.component.as_deref(), one.reported.as_deref(), &one.wanted, &one.words));
    let bios = bios.map(|one| line(&one.attribute, one.name.as_deref(), one.found.as_deref(), &one.wanted, &one.words));
    let rows: Vec<Vec<String>> = firmware.chain(bios).collect();
    if rows.is_empty() { vec![line("-", None, None, "-", "as wanted")] } else { rows }
}

/// `muster firmware plan --bmc URL`.
pub fn here(asked: &Plan, at: &At, output: Output, runtime: &tokio::runtime::Runtime) -> Result<ExitCode> {
    runtime.block_on(async {
        let bmcs = Bmcs::new(Settings::default());
        let looked = look(&bmcs, asked, at, output).await;
        bmcs.close_all().await;
        bmc::ended(looked.map(|()| ExitCode::SUCCESS))
    })
}

async fn look(bmcs: &Bmcs, asked: &Plan, at: &At, output: Output) -> Result<()> {
    let catalog = catalog(asked.files.as_deref())?;
    let name = asked.model.as_deref().unwrap_or_default();
    let model = catalog.model(name).with_context(|| {
        let known: Vec<&str> = catalog.models.iter().map(|model| model.id.as_str()).collect();
        format!("no model is called {name:?}; known are: {} (--files names a folder with others)", known.join(", "))
    })?;
    let target = at.target()?;
    let progress = bmc::progress();
    let running = match model.firmware.is_empty() {
        true => Ok(None),
        false => bmcs.firmware(&target, &catalog, &progress).await.map(Some),
    };
    bmc::progressed();
    let running = running?;
    let bios = match model.bios.is_empty() {
        true => Ok(BiosTold::default()),
        false => bmcs.bios(&target, !model.bios.boot_order.is_empty()).await,
    };
    let bios = match bios {
        Ok(bios) => Ok(bios),
        Err(error) if running.is_none() => return Err(error.into()),
        Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
    };
    let (plan, notes) = weigh(&catalog, model, running.as_ref(), bios.as_ref().map_err(String::as_str));
    show(&at.url, plan, &notes, output)
}

fn show(url: &str, plan: FirmwarePlan, notes: &[String], output: Output) -> Result<()> {
    notes.iter().for_each(|note| eprintln!("muster: {}", plain_text(note)));
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    print_told(&HEAD, &rows(url, &plan, true));
    println!("\nnothing was changed. Muster writes no firmware");
    Ok(())
}

fn catalog(files: Option<&Path>) -> Result<Catalog> {
    let texts = match files {
        Some(files) => data::models(files)?,
        None => MODELS.iter().chain(bmc::PROFILES).map(|(name, text)| (name.to_string(), text.to_string())).collect(),
    };
    muster_catalog::read(&texts).map_err(|slips| crate::config::Mistakes(slips).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_catalog::Reset;
    use muster_diagnosis::FirmwareLine;

    #[test]
    fn the_models_built_in_read_and_one_of_them_wants_firmware() {
        let catalog = catalog(None).unwrap();
        assert!(catalog.models.iter().any(|model| !model.firmware.is_empty() && !model.bios.is_empty()));
    }

    fn line(verdict: FirmwareVerdict) -> FirmwareLine {
        FirmwareLine {
            name: "bios".into(),
            component: Some("BIOS\u{1b}[2J".into()),
            reported: Some("2.1".into()),
            found: Some("2.1".into()),
            wanted: "2.4".into(),
            via: None,
            order: 1,
            reset: Reset::Machine,
            verdict,
            words: "words".into(),
        }
    }

    #[test]
    fn among_many_machines_only_what_differs_has_a_line_and_none_is_left_out() {
        let plan = |verdicts: &[FirmwareVerdict]| {
            let firmware = verdicts.iter().map(|verdict| line(*verdict)).collect();
            FirmwarePlan { firmware, bios: Vec::new() }
        };
        let mixed = plan(&[FirmwareVerdict::AsWanted, FirmwareVerdict::Differs]);
        assert_eq!((rows("n1", &mixed, false).len(), rows("n1", &mixed, true).len()), (1, 2));
        assert!(!rows("n1", &mixed, false)[0][2].contains('\u{1b}'), "no BMC gives orders to a terminal");
        assert_eq!(rows("n1", &plan(&[FirmwareVerdict::AsWanted]), false)[0][5], "as wanted");
    }
}
