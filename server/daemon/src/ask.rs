//! The client verbs: one question to the API each, and its answer as a table or as the API's own JSON.

use crate::bmc::BmcCommand;
use crate::cli::{
    Command, LogCommand, MachineCommand, ModelCommand, Output, PlanCommand, RackCommand, Targets, TokenCommand,
};
use crate::client::{Api, escaped};
use crate::table::{ago, bytes, cell, clock, items, place, print};
use crate::{console, explain, plan, rack, show, watch, watched};
use anyhow::Result;
use clap::ValueEnum as _;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Prints an answer as the API gave it.
pub fn raw(value: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

pub async fn ask(api: &Api, command: Command, output: Output) -> Result<ExitCode> {
    match command {
        Command::Status => show::status(api, output).await?,
        Command::Machine(command) => return machine(api, command, output).await,
        Command::Firmware(command) => return crate::firmware::ask(api, command, output).await,
        Command::Bmc(BmcCommand::Site(command)) => return crate::bmc::site::ask(api, command, output).await,
        Command::Install(install) => return plan::install(api, install, output).await,
        Command::Import(import) => return crate::import::import(api, &import, output).await,
        Command::Watch { machines, until, timeout } => return watch::watch(api, &machines, &until, timeout).await,
        Command::Console(sit) => return console::console(api, &sit, output).await,
        Command::Model(command) => model(api, command, output).await?,
        Command::Images => images(api, output).await?,
        Command::Rack(RackCommand::List) => rack::list(api, output).await?,
        Command::Rack(RackCommand::Show { rack }) => rack::show(api, &rack, output).await?,
        Command::Orders => orders(api, output).await?,
        Command::Tickets => show::tickets(&api.get("/api/v1/tickets").await?, output)?,
        Command::Boot(command) => explain::boot(api, command, output).await?,
        Command::Freeze { why } => freeze(api, true, &why, output).await?,
        Command::Unfreeze { why } => freeze(api, false, &why, output).await?,
        Command::Plan(PlanCommand::Approve { digest, count }) => {
            let path = format!("/api/v1/plans/{}/approve", escaped(&digest));
            let answer = api.post(&path, &json!({ "count": count })).await?;
            told(&answer, output, &format!("approved; `muster plan execute {digest}` carries it out"))?;
        }
        Command::Plan(PlanCommand::Execute { digest }) => {
            let answer = api.post(&format!("/api/v1/plans/{}/execute", escaped(&digest)), &json!({})).await?;
            let machines = items(&answer, "machines").len();
            told(&answer, output, &format!("begun on {}", crate::table::count(machines, "machine")))?;
        }
        Command::Log(LogCommand::Follow { after }) => watch::follow(api, after, output).await?,
        Command::Log(LogCommand::Verify) => return verify(api, output).await,
        Command::Token(command) => token(api, command, output).await?,
        Command::Reload => {
            let answer = api.post("/api/v1/reload", &json!({})).await?;
            if output == Output::Table {
                cell(&answer, "read").lines().filter(|line| *line != "-").for_each(|line| println!("note: {line}"));
            }
            told(
                &answer,
                output,
                &format!("the data files are in force; new machines: {}", cell(&answer, "new-machines")),
            )?;
        }
        Command::Serve { .. }
        | Command::Check { .. }
        | Command::Dhcp(_)
        | Command::Bmc(BmcCommand::Here(_))
        | Command::ExampleConfig
        | Command::Schema
        | Command::Completions { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer for a program, one sentence for a person.
pub fn told(answer: &Value, output: Output, sentence: &str) -> Result<()> {
    if output == Output::Json {
        return raw(answer);
    }
    println!("{sentence}");
    Ok(())
}

/// A list of the API with some of its fields as columns.
fn list(found: &Value, output: Output, head: &[&str], row: impl Fn(&Value) -> Vec<String>) -> Result<()> {
    if output == Output::Json {
        return raw(found);
    }
    let rows: Vec<Vec<String>> = found.as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
    print(head, &rows);
    Ok(())
}

/// A time of the answer, as how long ago it was.
pub fn since(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_i64).map_or_else(|| "-".into(), ago)
}

/// A time of the answer, by the clock.
fn at(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_i64).map_or_else(|| "-".into(), clock)
}

async fn model(api: &Api, command: ModelCommand, output: Output) -> Result<()> {
    match command {
        ModelCommand::List => {
            let found = api.get("/api/v1/models").await?;
            let evidence = |model: &Value| match model.get("evidence") {
                Some(Value::String(word)) => word.clone(),
                Some(Value::Object(object)) => object.keys().next().cloned().unwrap_or_default(),
                _ => "-".into(),
            };
            list(&found, output, &["id", "role", "evidence", "title"], |one| {
                vec![cell(one, "id"), cell(one, "role"), evidence(one), cell(one, "title")]
            })
        }
        ModelCommand::Learn { machine, id, title, role, bmc_profile } => {
            let machine = api.machine(&machine).await?;
            let mut path = format!("/api/v1/machines/{machine}/model?role={}", escaped(&role));
            for (key, value) in [("id", id), ("title", title), ("bmc-profile", bmc_profile)] {
                if let Some(value) = value {
                    path = format!("{path}&{key}={}", escaped(&value));
                }
            }
            let text = api.text(&path).await?;
            if output == Output::Json {
                return raw(&json!({ "model": text }));
            }
            print!("{text}");
            Ok(())
        }
    }
}

async fn images(api: &Api, output: Output) -> Result<()> {
    let size = |one: &Value, key: &str| one.get(key).and_then(Value::as_u64).map_or_else(|| "-".into(), bytes);
    let found = api.get("/api/v1/images").await?;
    let none = found.as_array().is_none_or(Vec::is_empty);
    list(&found, output, &["id", "version", "download", "on disk", "title", "digest"], |one| {
        let digest: String = cell(one, "digest").chars().take(12).collect();
        vec![
            cell(one, "id"),
            cell(one, "version"),
            size(one, "bytes"),
            size(one, "raw-bytes"),
            cell(one, "title"),
            digest,
        ]
    })?;
    if none && output == Output::Table {
        eprintln!("no image is built; the daemon's log and `muster check` say what each lacks");
    }
    Ok(())
}

async fn orders(api: &Api, output: Output) -> Result<()> {
    list(&api.get("/api/v1/orders").await?, output, &["machine", "image", "permit", "by", "ordered", "id"], |one| {
        vec![
            cell(one, "name"),
            cell(one, "image"),
            cell(one, "permit"),
            cell(one, "by"),
            format!("{} ago", since(one, "created")),
            cell(one, "id"),
        ]
    })
}

async fn token(api: &Api, command: TokenCommand, output: Output) -> Result<()> {
    match command {
        TokenCommand::List => {
            let columns = ["name", "role", "made", "expires", "revoked", "id"];
            list(&api.get("/api/v1/tokens").await?, output, &columns, |one| {
                vec![
                    cell(one, "name"),
                    cell(one, "role"),
                    at(one, "created"),
                    at(one, "expires"),
                    at(one, "revoked"),
                    cell(one, "id"),
                ]
            })
        }
        TokenCommand::Make { name, role, days } => {
            let made = api.post("/api/v1/tokens", &json!({ "name": name, "role": role, "days": days })).await?;
            if output == Output::Json {
                return raw(&made);
            }
            // The token alone on standard output, so that it can go straight into a file.
            eprintln!("{name}, {role}, id {}; the token is shown this once:", cell(&made, "id"));
            println!("{}", cell(&made, "token"));
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            let answer = api.delete(&format!("/api/v1/tokens/{}", escaped(&id))).await?;
            told(&answer, output, &format!("token {id} is not valid any more"))
        }
    }
}

async fn freeze(api: &Api, frozen: bool, why: &str, output: Output) -> Result<()> {
    let answer = api.put("/api/v1/freeze", &json!({ "frozen": frozen, "why": why })).await?;
    let sentence = match frozen {
        true => "frozen: nothing new goes out; what was sent already ends by itself. `muster unfreeze WHY` ends it",
        false => "not frozen any more: what waited goes on",
    };
    told(&answer, output, sentence)
}

async fn verify(api: &Api, output: Output) -> Result<ExitCode> {
    let verified = api.get("/api/v1/log/verify").await?;
    let whole = verified.get("whole") == Some(&Value::Bool(true));
    let rows = cell(&verified, "rows");
    let sentence = match whole {
        true => format!("the log is whole: {rows} events, every one as it was written"),
        false => format!("THE LOG WAS ALTERED after {rows} good events: {}", cell(&verified, "broken")),
    };
    told(&verified, output, &sentence)?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn machine(api: &Api, command: MachineCommand, output: Output) -> Result<ExitCode> {
    let (targets, what) = match command {
        MachineCommand::List { state } => {
            machines(api, state, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Show { machine } => {
            let id = api.machine(&machine).await?;
            let found = api.get(&format!("/api/v1/machines/{id}")).await?;
            match output {
                Output::Json => raw(&found)?,
                Output::Table => print!("{}", show::machine(&found)),
            }
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Events { machine } => {
            watch::print_events(api, &api.machine(&machine).await?, output == Output::Json).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Bmc { machine } => {
            watched::bmc(api, &machine, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::BmcLog { machine, after } => {
            watched::log(api, &machine, after, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Readings { machine, sensor, grain, hours } => {
            watched::readings(api, &machine, (&grain, hours), sensor.as_deref(), output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Claim(targets) => (targets, json!({ "action": "claim" })),
        MachineCommand::Discover(targets) => (targets, json!({ "action": "discover" })),
        MachineCommand::Adopt(targets) => (targets, json!({ "action": "adopt" })),
        MachineCommand::Release(targets) => (targets, json!({ "action": "release" })),
        MachineCommand::Retire(targets) => (targets, json!({ "action": "retire" })),
        MachineCommand::Hold { targets, why } => (targets, json!({ "action": "hold", "why": why })),
        MachineCommand::Resume { targets, to } => {
            let to = to.to_possible_value().map(|value| value.get_name().to_string());
            (targets, json!({ "action": "resume", "to": to }))
        }
        MachineCommand::Drained(targets) => (targets, json!({ "action": "acknowledge-drain" })),
        MachineCommand::CancelInstall(targets) => (targets, json!({ "action": "cancel-install" })),
        MachineCommand::ChangeBmcPassword(targets) => {
            return password(api, &targets, "change-bmc-password", output).await;
        }
        MachineCommand::RestoreBmcPassword(targets) => {
            return password(api, &targets, "restore-bmc-password", output).await;
        }
        MachineCommand::ProbeBmc(targets) => (targets, json!({ "action": "probe-bmc" })),
        MachineCommand::Fault { targets, text } => (targets, json!({ "action": "report-fault", "text": text })),
    };
    plan::carry(api, &targets, what, output).await
}

async fn password(api: &Api, targets: &Targets, action: &str, output: Output) -> Result<ExitCode> {
    let code = plan::carry(api, targets, json!({ "action": action }), output).await?;
    match targets.dry_run || targets.until.is_some() || output == Output::Json {
        true => Ok(code),
        false => watch::passwords(api, &targets.machines).await,
    }
}

async fn machines(api: &Api, state: Option<String>, output: Output) -> Result<()> {
    let all = Value::Array(api.machines(state.as_deref()).await?);
    let head = ["name", "state", "since", "place", "model", "serial", "waits for"];
    list(&all, output, &head, |one| {
        vec![
            cell(one, "name"),
            cell(one, "state"),
            since(one, "since"),
            place(one),
            cell(one, "model"),
            cell(one, "serial"),
            show::waits(one),
        ]
    })
}
