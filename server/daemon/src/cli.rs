//! The command line: `serve` and `check` work on this machine, everything else asks the API.

use crate::bmc::{self, BmcCommand};
use crate::client::{Access, Api};
use crate::config::{self, Config};
use crate::firmware::{self, FirmwareCommand};
use crate::{ask, check, serve};
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Takes a fleet of servers from bare metal to "passes muster", and keeps it there.
///
/// Start: `muster example-config > /etc/muster/muster.toml`, then `muster check`, then `muster serve`.
/// From then on: `muster status`, `muster machine discover NAME`, `muster install IMAGE NAME`, `muster watch NAME`.
/// Every change is planned first: `--dry-run` shows the plan and changes nothing.
///
/// Exit codes: 0 done; 1 refused or failed, the message says why; 2 not a command; 3 the daemon did not answer, the same
/// again may work later; 4 (`dhcp shadow`) there were differences.
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
pub enum Output {
    Table,
    Json,
}

#[derive(Subcommand)]
pub enum Command {
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
    /// The site at a glance: machines by state, what waits for a person, whether it is frozen
    Status,
    /// Machines: list, look, and what may be done with them
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Install an image on machines that are Ready
    Install(Install),
    /// Take over what another DHCP server knows: reservations, leases, machines that run
    Import(Import),
    /// The DHCP server
    #[command(subcommand)]
    Dhcp(DhcpCommand),
    /// Follow machines until they are in service, or held
    Watch {
        #[arg(required = true)]
        machines: Vec<String>,
        /// The state that ends the watch well
        #[arg(long, default_value = "in-service", value_parser = PossibleValuesParser::new(muster_api::STATES), hide_possible_values = true)]
        until: String,
        /// Give up after so many seconds
        #[arg(long)]
        timeout: Option<u64>,
    },
    /// Be at a machine's serial console, or read what it said; ~. at the beginning of a line leaves, ~? helps
    ///
    /// It is recorded. Several may be there: whoever may write and types first is the writer.
    ///
    /// Exit codes: 0 left; 1 refused, or the console ended, the message says why; 3 no answer or in other hands, the same
    /// again may work later.
    Console(Sit),
    /// BMCs: what one tells and its console, asked from here; which there are, and which are ours
    #[command(subcommand)]
    Bmc(BmcCommand),
    /// Firmware and BIOS attributes: what differs from the models, and attributes set for the next boot
    #[command(subcommand)]
    Firmware(FirmwareCommand),
    /// Hardware models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Images that can be installed
    Images,
    /// Racks: their layouts and who stands there
    #[command(subcommand)]
    Rack(RackCommand),
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
pub struct Targets {
    /// Names, ids, serials or MACs; there is no word for "all"
    #[arg(required = true)]
    pub machines: Vec<String>,
    /// Show the plan, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; without a terminal to ask on, nothing happens without it
    #[arg(long, short)]
    pub yes: bool,
    /// Follow the machines afterwards until they are in a state
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(muster_api::STATES), hide_possible_values = true)]
    pub until: Option<String>,
}

#[derive(clap::Args)]
pub struct Sit {
    pub machine: String,
    /// Look on and type nothing
    #[arg(long, conflicts_with = "recorded")]
    pub read_only: bool,
    /// Take it from another session of the BMC, and the keyboard from another writer
    #[arg(long, conflicts_with = "recorded")]
    pub take_over: bool,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS", conflicts_with = "recorded")]
    pub seconds: Option<u64>,
    /// Print what was recorded, a line each with its time, without orders to the terminal
    #[arg(long)]
    pub recorded: bool,
    /// Of the last so many minutes
    #[arg(long, value_name = "MINUTES", requires = "recorded")]
    pub since: Option<u32>,
    /// The bytes as the machine sent them
    #[arg(long, requires = "recorded")]
    pub raw: bool,
}

#[derive(clap::Args)]
pub struct Import {
    /// Whose files they are; configuration and leases are told apart by what is in them
    #[arg(value_enum)]
    pub format: Format,
    /// Files of that server, or tables with a first line like mac,address,name,running
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The machines that have reservations run: take them over as they are, in service, without a reboot
    #[arg(long)]
    pub running: bool,
    /// Make machines of MACs that have a lease and no reservation too
    #[arg(long)]
    pub leases_are_machines: bool,
    /// Leave out what conflicts or does not read, and import the rest
    #[arg(long)]
    pub leave_out: bool,
    /// Show what would become of each row, change nothing; so it is without --yes too where there is no terminal
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// A table
    Csv,
    /// dhcpd.conf, dhcpd.leases
    Isc,
    /// kea-dhcp4.conf, the lease file of memfile
    Kea,
    /// dnsmasq.conf, a hosts file, dnsmasq.leases
    Dnsmasq,
}

#[derive(Subcommand)]
pub enum DhcpCommand {
    /// Listen beside a live DHCP server and say where our answers would differ; nothing is ever sent
    ///
    /// It takes the configuration and, if there is one, the database of this machine, and writes nothing. It ends after
    /// --for seconds, or by Ctrl-C.
    ///
    /// Exit codes: 0 no difference; 1 failed, or nothing was seen; 4 there were differences.
    Shadow(Shadow),
}

#[derive(clap::Args)]
pub struct Shadow {
    #[arg(long, env = "MUSTER_CONFIG", default_value = config::USUAL)]
    pub config: PathBuf,
    /// Where to listen; the interfaces of the configured networks without it. Repeatable
    #[arg(long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// A summary every so many seconds, beside the one at the end
    #[arg(long, value_name = "SECONDS")]
    pub every: Option<u64>,
}

#[derive(Subcommand)]
pub enum MachineCommand {
    /// All machines, a line each
    List {
        /// Those of one state
        #[arg(long, value_parser = PossibleValuesParser::new(muster_api::STATES))]
        state: Option<String>,
    },
    /// One machine, whole
    Show { machine: String },
    /// What happened to a machine
    Events { machine: String },
    /// How its BMC is: whether it answers, power, sensors that are not well
    Bmc { machine: String },
    /// What its BMC has logged since it is watched, the newest last
    BmcLog {
        machine: String,
        /// Only what follows entry N
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: i64,
    },
    /// What its sensors said over time
    Readings {
        machine: String,
        /// One sensor, as the BMC calls it
        #[arg(long)]
        sensor: Option<String>,
        /// Each visit of the last two days, or rolled up by the hour or the day
        #[arg(long, default_value = "hour", value_parser = PossibleValuesParser::new(["visit", "hour", "day"]))]
        grain: String,
        /// So far back
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
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
    /// Give the BMC a password of its own in place of the one it has; nobody sees it
    ///
    /// The new one is written down, sealed, before the BMC hears of it, and is in force once it has logged in.
    ChangeBmcPassword(Targets),
    /// Give the BMC the password of its password file again
    ///
    /// Before a machine leaves, and after a person has set that password there by hand.
    RestoreBmcPassword(Targets),
    /// Find out what its kind of BMC does: how it wants to be written to, which keys it hides until it is restarted
    ///
    /// It writes the boot override that is there already, and restarts a BMC that hides keys; the machine runs on. For
    /// machines that serve nobody.
    ProbeBmc(Targets),
    /// Report a fault that a person saw
    Fault {
        #[command(flatten)]
        targets: Targets,
        #[arg(long)]
        text: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Onward {
    Discover,
    Check,
    Serve,
    Repair,
    Release,
}

#[derive(clap::Args)]
pub struct Install {
    /// An image of `muster images`
    pub image: String,
    #[command(flatten)]
    pub targets: Targets,
    /// A user to make: NAME, or NAME=FILE with authorized keys; NAME! for an administrator. Repeatable
    #[arg(long = "user", value_name = "NAME[!][=FILE]")]
    pub users: Vec<String>,
    /// Network of the installed system, TOML or JSON; DHCP on the booting port without it
    #[arg(long)]
    pub network: Option<PathBuf>,
    /// Cloud-config of the site
    #[arg(long)]
    pub user_data: Option<PathBuf>,
    /// Overwrite an owner's data on a machine in service, after its drain
    #[arg(long)]
    pub reimage: bool,
    /// Follow until it is in service: the same as --until in-service
    #[arg(long)]
    pub watch: bool,
}

#[derive(Subcommand)]
pub enum ModelCommand {
    /// All models
    List,
    /// Write a model file from a known-good machine
    Learn {
        machine: String,
        /// Id of the new model; learnt-NAME without it
        #[arg(long)]
        id: Option<String>,
        #[arg(long)]
        title: Option<String>,
        #[arg(long, default_value = "compute", value_parser = PossibleValuesParser::new(ROLES))]
        role: String,
        /// The BMC profile it names; that of the machine's own model or protocol without it
        #[arg(long)]
        bmc_profile: Option<String>,
    },
}

/// The roles of models.
const ROLES: [&str; 5] = ["compute", "storage", "memory", "high-io", "test"];

#[derive(Subcommand)]
pub enum RackCommand {
    /// All racks, a line each
    List,
    /// One rack from top to bottom
    Show {
        /// SITE/RACK
        rack: String,
    },
}

#[derive(Subcommand)]
pub enum BootCommand {
    /// Why does it not boot? Everything that was seen of its last boot, and what to do next
    Explain {
        /// A MAC, known or not; or a machine's name, id or serial
        machine: String,
        /// So many boots, the newest first
        #[arg(long, default_value_t = 1)]
        boots: u32,
    },
    /// The last boots, a line each, with the time of each stage
    List {
        /// A MAC, known or not; or a machine's name, id or serial
        machine: String,
    },
    /// Who else speaks for what is ours: other DHCP and boot servers, other hosts on addresses of ours
    Conflicts,
}

#[derive(Subcommand)]
pub enum PlanCommand {
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
pub enum LogCommand {
    /// Print the log from an event's number on, and follow it
    Follow {
        /// The last number you have; the newest of the log without it
        #[arg(long)]
        after: Option<i64>,
    },
    /// Prove that nothing was altered
    Verify,
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Tokens, without their secrets
    List,
    /// Make a token; it is shown once
    Make {
        /// Who or what will use it; stands in the log
        name: String,
        /// What it may do: read; rack and look; install; approve as well; everything
        #[arg(long, value_parser = PossibleValuesParser::new(muster_api::Role::ALL.map(muster_api::Role::word)))]
        role: String,
        /// Days until it expires; never without it
        #[arg(long)]
        days: Option<u32>,
    },
    /// End a token's validity now
    Revoke {
        /// An id of `muster token list`
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
        Command::Dhcp(DhcpCommand::Shadow(shadow)) => crate::shadow::shadow(&shadow, cli.output, runtime()?),
        Command::Bmc(BmcCommand::Here(command)) => bmc::run(command, cli.output, &runtime()?),
        Command::Check { config } => check::check(&config, cli.output == Output::Json),
        Command::ExampleConfig => {
            print!("{}", config::EXAMPLE);
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema => {
            println!("{}", config::schema()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "muster", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        command => {
            if let Command::Firmware(asked) = &command
                && let Some((plan, at)) = asked.here()
            {
                return firmware::here(plan, &at, cli.output, &runtime()?);
            }
            let api = Api::new(&cli.access)?;
            runtime()?.block_on(ask::ask(&api, command, cli.output))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("muster").chain(line.split(' ')))
    }

    #[test]
    fn every_verb_is_well_formed_and_says_what_it_does() {
        fn walk(command: &clap::Command) {
            for verb in command.get_subcommands() {
                assert!(verb.get_about().is_some(), "{} says nothing", verb.get_name());
                walk(verb);
            }
        }
        let command = Cli::command();
        command.clone().debug_assert();
        walk(&command);
    }

    #[test]
    fn no_verb_that_changes_machines_goes_without_naming_them() {
        for line in [
            "machine release",
            "machine discover -y",
            "install debian-12",
            "machine hold --why x",
            "watch",
            "import isc",
            "firmware apply-bios",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("machine release node1 node2 --dry-run").is_ok());
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_words_allowed() {
        for (line, allowed) in [
            ("machine list --state redy", "unidentified"),
            ("token make x --role king", "auditor"),
            ("machine resume n --to there", "repair"),
            ("--output xml images", "json"),
            ("watch n --until nonsense", "in-service"),
        ] {
            let said = parse(line).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(allowed), "{line}: {said}");
        }
    }

    #[test]
    fn completions_know_the_verbs_of_every_level() {
        let mut out = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "muster", &mut out);
        let script = String::from_utf8(out).unwrap();
        for word in ["muster__machine__discover", "cancel-install", "--dry-run"] {
            assert!(script.contains(word) || script.contains(&word.replace("__", "__subcmd__")), "{word}");
        }
    }
}
