//! The command line: `serve` and `check` work on this machine, everything else asks the API.

use crate::client::{Access, Api, escaped};
use crate::config::{self, Config};
use crate::table::{ago, cell, place, print};
use crate::{data, serve, watch};
use anyhow::{Context as _, Result, bail};
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Takes a fleet of servers from bare metal to "passes muster", and keeps it there.
///
/// Start: `muster example-config > /etc/muster/muster.toml`, then `muster check`, then `muster serve`.
/// From then on: `muster machine list`, `muster machine discover NAME`, `muster install IMAGE NAME`, `muster watch NAME`.
/// Every change is planned first: `--dry-run` shows the plan and changes nothing.
#[derive(Parser)]
#[command(name = "muster", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    access: Access,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Serve {
        #[arg(long, env = "MUSTER_CONFIG", default_value = config::USUAL)]
        config: PathBuf,
    },
    /// Check the configuration and every data file; changes nothing
    Check {
        #[arg(long, env = "MUSTER_CONFIG", default_value = config::USUAL)]
        config: PathBuf,
    },
    /// Print a configuration to start from
    ExampleConfig,
    /// Print the configuration's JSON schema
    Schema,
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Machines: list, look, and what may be done with them
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Install an image on machines that are Ready
    Install(Install),
    /// Follow machines until they are in service, or held
    Watch {
        #[arg(required = true)]
        machines: Vec<String>,
        /// The state that ends the watch well
        #[arg(long, default_value = "in-service")]
        until: String,
        /// Give up after so many seconds
        #[arg(long)]
        timeout: Option<u64>,
    },
    /// Hardware models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Images that can be installed
    Images,
    /// Rack layouts
    Racks,
    /// Install orders that are open
    Orders,
    /// What waits for a person
    Tickets,
    /// The boot path
    #[command(subcommand)]
    Boot(BootCommand),
    /// The red button: nothing new goes out until `unfreeze`
    Freeze { why: String },
    /// Let things go on
    Unfreeze { why: String },
    /// Plans that wait
    #[command(subcommand)]
    Plan(PlanCommand),
    /// The event log
    #[command(subcommand)]
    Log(LogCommand),
    /// API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Read the data files again; on any slip the old set stays in force
    Reload,
}

#[derive(clap::Args)]
struct Targets {
    /// Names, ids, serials or MACs; there is no word for "all"
    #[arg(required = true)]
    machines: Vec<String>,
    /// Show the plan, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Subcommand)]
enum MachineCommand {
    /// All machines, a line each
    List {
        #[arg(long)]
        state: Option<String>,
    },
    /// One machine, whole
    Show { machine: String },
    /// What happened to a machine
    Events { machine: String },
    /// Mark as ours
    Claim(Targets),
    /// Power on into the boot image and look; writes nothing on its disks
    Discover(Targets),
    /// Take over a machine as it runs
    Adopt(Targets),
    /// Wipe, and make ready for the next owner
    Release(Targets),
    /// Take out of the fleet; wiped first if it holds an owner's data
    Retire(Targets),
    /// Touch nothing until it is resumed
    Hold {
        #[command(flatten)]
        targets: Targets,
        #[arg(long)]
        why: String,
    },
    /// Send a held machine on
    Resume {
        #[command(flatten)]
        targets: Targets,
        #[arg(long, value_enum)]
        to: Onward,
    },
    /// The owner has left a draining machine
    Drained(Targets),
    /// Break off an install
    CancelInstall(Targets),
    /// Report a fault that a person saw
    Fault {
        #[command(flatten)]
        targets: Targets,
        #[arg(long)]
        text: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Onward {
    Discover,
    Check,
    Serve,
    Repair,
    Release,
}

#[derive(clap::Args)]
struct Install {
    /// An image of `muster images`
    image: String,
    #[command(flatten)]
    targets: Targets,
    /// A user to make: NAME or NAME=FILE with authorized keys; an administrator with NAME!
    #[arg(long = "user")]
    users: Vec<String>,
    /// Network of the installed system, TOML or JSON; DHCP on the booting port without it
    #[arg(long)]
    network: Option<PathBuf>,
    /// Cloud-config of the site
    #[arg(long)]
    user_data: Option<PathBuf>,
    /// Overwrite an owner's data on a machine in service, after its drain
    #[arg(long)]
    reimage: bool,
    /// Follow until it is in service
    #[arg(long)]
    watch: bool,
}

#[derive(Subcommand)]
enum ModelCommand {
    /// All models
    List,
    /// Write a model file from a known-good machine
    Learn { machine: String },
}

#[derive(Subcommand)]
enum BootCommand {
    /// Why did this MAC get no answer?
    Explain { mac: String },
}

#[derive(Subcommand)]
enum PlanCommand {
    /// Be the second person for a plan
    Approve {
        digest: String,
        /// The number of machines, typed by hand
        #[arg(long)]
        count: usize,
    },
    /// Carry out a plan that was approved
    Execute { digest: String },
}

#[derive(Subcommand)]
enum LogCommand {
    /// Print the log from a number on, and follow it
    Follow {
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Prove that nothing was altered
    Verify,
}

#[derive(Subcommand)]
enum TokenCommand {
    List,
    /// Make a token; it is shown once
    Make {
        name: String,
        /// auditor, tech, operator, approver or admin
        #[arg(long)]
        role: String,
        #[arg(long)]
        days: Option<u32>,
    },
    Revoke {
        id: String,
    },
}

pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Serve { config } => {
            logging();
            let config = Config::read(&config)?;
            runtime()?.block_on(serve::serve(config))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { config } => check(&config),
        Command::ExampleConfig => {
            print!("{}", config::EXAMPLE);
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(Config))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "muster", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        command => {
            let api = Api::new(&cli.access)?;
            runtime()?.block_on(ask(&api, command, cli.output))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MUSTER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn check(file: &Path) -> Result<ExitCode> {
    let config = Config::read(file)?;
    let catalog = data::catalog(&config)?;
    let (built, mut told) = data::images(&config, &catalog);
    told.extend(data::entries(&config, &catalog, &built).1);
    println!(
        "{} is right: {} networks, {} models, {} loaders, {} images ({} built), {} racks",
        file.display(),
        config.networks.len(),
        catalog.models.len(),
        catalog.loaders.len(),
        catalog.images.len(),
        built.len(),
        catalog.racks.len()
    );
    let tally = catalog.tally();
    println!(
        "they rest on: {} captured, {} documented, {} declared by the site, {} synthetic (read-only)",
        tally.captured, tally.documented, tally.declared, tally.synthetic
    );
    told.iter().for_each(|line| println!("note: {line}"));
    Ok(ExitCode::SUCCESS)
}

async fn ask(api: &Api, command: Command, output: Output) -> Result<ExitCode> {
    match command {
        Command::Machine(command) => return machine(api, command, output).await,
        Command::Install(install) => return install_verb(api, install, output).await,
        Command::Watch { machines, until, timeout } => return watch::watch(api, &machines, &until, timeout).await,
        Command::Model(ModelCommand::Learn { machine }) => {
            let id = api.machine(&machine).await?;
            print!("{}", api.text(&format!("/api/v1/machines/{id}/model")).await?);
        }
        Command::Model(ModelCommand::List) => {
            list(api, "/api/v1/models", output, &["id", "title", "role"]).await?;
        }
        Command::Images => {
            list(api, "/api/v1/images", output, &["id", "version", "bytes", "raw-bytes", "digest"]).await?
        }
        Command::Racks => list(api, "/api/v1/racks", output, &["site", "rack", "units"]).await?,
        Command::Orders => list(api, "/api/v1/orders", output, &["id", "machine", "image", "permit", "by"]).await?,
        Command::Tickets => list(api, "/api/v1/tickets", output, &["subject", "cause", "title"]).await?,
        Command::Boot(BootCommand::Explain { mac }) => explain(api, &mac, output).await?,
        Command::Freeze { why } => show(&api.put("/api/v1/freeze", &json!({ "frozen": true, "why": why })).await?)?,
        Command::Unfreeze { why } => show(&api.put("/api/v1/freeze", &json!({ "frozen": false, "why": why })).await?)?,
        Command::Plan(PlanCommand::Approve { digest, count }) => {
            show(&api.post(&format!("/api/v1/plans/{}/approve", escaped(&digest)), &json!({ "count": count })).await?)?;
        }
        Command::Plan(PlanCommand::Execute { digest }) => {
            show(&api.post(&format!("/api/v1/plans/{}/execute", escaped(&digest)), &json!({})).await?)?;
        }
        Command::Log(LogCommand::Follow { after }) => watch::follow(api, after).await?,
        Command::Log(LogCommand::Verify) => {
            let verified = api.get("/api/v1/log/verify").await?;
            show(&verified)?;
            if verified.get("whole") != Some(&Value::Bool(true)) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Token(TokenCommand::List) => {
            list(api, "/api/v1/tokens", output, &["id", "name", "role", "revoked"]).await?
        }
        Command::Token(TokenCommand::Make { name, role, days }) => {
            show(&api.post("/api/v1/tokens", &json!({ "name": name, "role": role, "days": days })).await?)?;
        }
        Command::Token(TokenCommand::Revoke { id }) => {
            show(&api.delete(&format!("/api/v1/tokens/{}", escaped(&id))).await?)?
        }
        Command::Reload => show(&api.post("/api/v1/reload", &json!({})).await?)?,
        Command::Serve { .. }
        | Command::Check { .. }
        | Command::ExampleConfig
        | Command::Schema
        | Command::Completions { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn show(value: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

async fn list(api: &Api, path: &str, output: Output, columns: &[&str]) -> Result<()> {
    let found = api.get(path).await?;
    if output == Output::Json {
        return show(&found);
    }
    let rows: Vec<Vec<String>> = found
        .as_array()
        .map(|all| all.iter().map(|one| columns.iter().map(|column| cell(one, column)).collect()).collect())
        .unwrap_or_default();
    print(columns, &rows);
    Ok(())
}

async fn explain(api: &Api, mac: &str, output: Output) -> Result<()> {
    let found = api.get(&format!("/api/v1/boot/{}", escaped(mac))).await?;
    if output == Output::Json {
        return show(&found);
    }
    let seen = found.as_array().cloned().unwrap_or_default();
    if seen.is_empty() {
        println!("{mac} never asked: check its cable, its port's VLAN, and that it boots from the network");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = seen
        .iter()
        .map(|one| {
            let at = one.get("at").and_then(Value::as_i64).unwrap_or_default();
            vec![format!("{} ago", ago(at)), cell(one, "network"), cell(one, "what"), cell(one, "answer")]
        })
        .collect();
    print(&["when", "network", "asked", "answer"], &rows);
    Ok(())
}

async fn machine(api: &Api, command: MachineCommand, output: Output) -> Result<ExitCode> {
    let (targets, what) = match command {
        MachineCommand::List { state } => {
            machines(api, state, output).await?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Show { machine } => {
            let id = api.machine(&machine).await?;
            show(&api.get(&format!("/api/v1/machines/{id}")).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        MachineCommand::Events { machine } => {
            watch::print_events(api, &api.machine(&machine).await?, output == Output::Json).await?;
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
        MachineCommand::Fault { targets, text } => (targets, json!({ "action": "report-fault", "text": text })),
    };
    plan(api, &targets, what, output).await.map(|_| ExitCode::SUCCESS)
}

async fn machines(api: &Api, state: Option<String>, output: Output) -> Result<()> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let mut path = format!("/api/v1/machines?limit=1000&after={}", escaped(&after));
        if let Some(state) = &state {
            path = format!("{path}&state={}", escaped(state));
        }
        let page = api.get(&path).await?;
        all.extend(page.get("machines").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    if output == Output::Json {
        return show(&Value::Array(all));
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let since = one.get("since").and_then(Value::as_i64).unwrap_or_default();
            let waits = match cell(one, "rail").as_str() {
                "-" => cell(one, "waits-for"),
                rail => rail.to_string(),
            };
            vec![
                cell(one, "name"),
                cell(one, "state"),
                ago(since),
                place(one),
                cell(one, "model"),
                cell(one, "serial"),
                waits,
            ]
        })
        .collect();
    print(&["name", "state", "since", "place", "model", "serial", "waits for"], &rows);
    Ok(())
}

/// Plans, shows the plan, asks, executes.
async fn plan(api: &Api, targets: &Targets, what: Value, output: Output) -> Result<Option<Value>> {
    let mut ids = Vec::new();
    for word in &targets.machines {
        ids.push(api.machine(word).await?);
    }
    let planned = api.post("/api/v1/plans", &json!({ "what": what, "targets": ids })).await?;
    let digest = cell(&planned, "digest");
    if output == Output::Json {
        show(&planned)?;
    } else {
        tell(&planned);
    }
    if targets.dry_run {
        return Ok(None);
    }
    if planned.get("executable") != Some(&Value::Bool(true)) {
        bail!("nothing was changed: mend or leave out the machines that are refused");
    }
    if planned.get("needs-approval") == Some(&Value::Bool(true)) {
        let count = ids.len();
        bail!(
            "a second person has to approve: `muster plan approve {digest} --count {count}`, then `muster plan execute {digest}`"
        );
    }
    if !targets.yes && std::io::stdin().is_terminal() {
        eprint!("Carry it out? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            bail!("nothing was changed");
        }
    }
    let executed = api.post(&format!("/api/v1/plans/{digest}/execute"), &json!({})).await?;
    if output == Output::Json {
        show(&executed)?;
    } else {
        println!("done: {} machines", ids.len());
    }
    Ok(Some(executed))
}

fn tell(planned: &Value) {
    let targets = planned.get("targets").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|one| {
            let disk = one.get("disk").filter(|disk| !disk.is_null()).map_or("-".into(), |disk| cell(disk, "serial"));
            let data = if one.get("data-bearing") == Some(&Value::Bool(true)) { "owner's data" } else { "-" };
            vec![
                cell(one, "name"),
                cell(one, "state"),
                cell(one, "leads-to"),
                place(one),
                disk,
                data.into(),
                cell(one, "refused"),
            ]
        })
        .collect();
    print(&["machine", "state", "leads to", "place", "disk", "holds", "refused"], &rows);
}

async fn install_verb(api: &Api, install: Install, output: Output) -> Result<ExitCode> {
    let mut users = Vec::new();
    for told in &install.users {
        let (name, file) = told.split_once('=').map_or((told.as_str(), None), |(name, file)| (name, Some(file)));
        let keys = match file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("the key file {file} does not read"))?
            }
            None => String::new(),
        };
        let keys: Vec<&str> =
            keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        users.push(
            json!({ "name": name.trim_end_matches('!'), "ssh_authorized_keys": keys, "sudo": name.ends_with('!') }),
        );
    }
    let network = match &install.network {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} does not read", file.display()))?;
            if file.extension().is_some_and(|extension| extension == "json") {
                serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?
            } else {
                toml::from_str(&text).with_context(|| format!("in {}", file.display()))?
            }
        }
        None => json!({}),
    };
    let user_data = match &install.user_data {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{} does not read", file.display()))?,
        None => String::new(),
    };
    let what = json!({ "action": "install", "image": install.image, "users": users, "network": network,
        "user_data": user_data, "reimage": install.reimage });
    let begun = plan(api, &install.targets, what, output).await?;
    if begun.is_some() && install.watch {
        return watch::watch(api, &install.targets.machines, "in-service", None).await;
    }
    Ok(ExitCode::SUCCESS)
}
