//! `muster-agent`: init of the boot image when it is the first process, else what its command line says.

use muster_agent::error::chain;
use muster_agent::install::seed::CONFIG_PATH;
use muster_agent::inventory::{self, Roots};
use muster_agent::{VERSION, init, modes};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
muster-agent: what a machine does for Muster

  muster-agent                         as the first process of the boot image: sets the machine up and follows orders
  muster-agent resident [--config F]   in the installed system: reports and checks, never writes a disk
  muster-agent inventory               prints what this machine consists of, as JSON
  muster-agent --version

The configuration is /etc/muster/agent.json. The resident agent waits until it is there.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if std::process::id() == 1 {
        init::run(|| modes::ram(Path::new(CONFIG_PATH)));
    }
    let config = match words.as_slice() {
        ["resident"] => PathBuf::from(CONFIG_PATH),
        ["resident", "--config", file] => PathBuf::from(file),
        ["inventory"] => return print_inventory(),
        ["--version"] => {
            println!("muster-agent {VERSION}");
            return ExitCode::SUCCESS;
        }
        ["--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        // How the kernel of the boot image asks for a module (/proc/sys/kernel/modprobe).
        ["-q", "--", module] => {
            init::modules::Loader::new(&Roots::real()).load(module);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match modes::resident(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-agent: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print_inventory() -> ExitCode {
    match serde_json::to_string_pretty(&inventory::look(&Roots::real())) {
        Ok(text) => {
            muster_agent::say!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("muster-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
