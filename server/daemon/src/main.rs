//! `muster`: the daemon, its checks, and the client verbs that speak to it.

mod ask;
mod bmc;
mod boot;
mod check;
mod cli;
mod client;
mod config;
mod console;
mod data;
mod explain;
mod firmware;
mod here;
mod https;
mod import;
mod listen;
mod plan;
mod program;
mod rack;
mod serve;
mod shadow;
mod show;
mod table;
mod terminal;
mod tls;
mod transfers;
mod vault;
mod watch;
mod watched;
mod words;

use clap::Parser as _;
use std::process::ExitCode;

/// The same again may work later.
const AWAY: u8 = 3;

fn main() -> ExitCode {
    leave_when_unread();
    as_many_files_as_allowed();
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("muster: {error:#}");
            if error.is::<client::Away>() { ExitCode::from(AWAY) } else { ExitCode::FAILURE }
        }
    }
}

/// A connection to each of thousands of BMCs is thousands of file descriptors; the usual limit is 1024, and what a service
/// may raise it to is far above.
fn as_many_files_as_allowed() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// A reader that has seen enough (`muster machine list | head`) ends us quietly, as it does other tools.
fn leave_when_unread() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        if said.is_some_and(|said| said.starts_with("failed printing to stdout") && said.contains("Broken pipe")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}
