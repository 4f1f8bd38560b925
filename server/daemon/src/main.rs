//! `muster`: the daemon, its checks, and the client verbs that speak to it.

mod boot;
mod cli;
mod client;
mod config;
mod data;
mod listen;
mod program;
mod serve;
mod table;
mod tls;
mod watch;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("muster: {error:#}");
            ExitCode::FAILURE
        }
    }
}
