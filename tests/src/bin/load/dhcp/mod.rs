//! DHCP: four-way exchanges through relays, as the boot ROMs of many racks make them.
//!
//! The relays' addresses are ours, so every answer arrives on one socket. A relay stands for a rack of machines; one
//! relay alone would be a load that no network has, and servers may bound it.

mod message;
mod pool;
mod search;
mod step;

use crate::{Told, sys};
use anyhow::{Result, bail};
use message::Clients;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use step::Load;

/// 10.0.1.1 and on.
pub const FIRST_RELAY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
pub const RELAYS: u32 = 64;
/// The server's own half of the network holds the reserved addresses, the rest is its pool: `tests/bench/dhcp.sh`
/// tells every server the same.
pub const FIRST_RESERVED: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
pub const RESERVED: u32 = 10_000;
pub const FIRST_FREE: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
pub const LAST_FREE: Ipv4Addr = Ipv4Addr::new(10, 79, 255, 255);

const SERVER_PORT: u16 = 67;

pub fn run(told: &Told) -> Result<()> {
    let clients = match told.must::<String>("clients")?.as_str() {
        "new" => Clients::New,
        "reserved" => Clients::Reserved,
        other => bail!("clients={other} is neither new nor reserved"),
    };
    let server = SocketAddrV4::new(told.must("server")?, SERVER_PORT);
    let seconds = told.maybe("seconds")?.unwrap_or(2.0);
    let mut load = Load::new(server, clients, told.maybe("pid")?)?;
    let report = match (told.maybe::<f64>("rate")?, told.maybe::<u8>("find")?) {
        (Some(rate), _) => load.open(rate, seconds)?.json(),
        (None, Some(_)) => search::highest(&mut load, seconds)?,
        (None, None) => bail!("say rate=N or find=1"),
    };
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// `MAC ADDRESS` of every reserved client.
pub fn reservations() {
    let mut out = std::io::stdout().lock();
    for number in 0..RESERVED {
        let mac = Clients::Reserved.mac(number).map(|octet| format!("{octet:02x}")).join(":");
        // A reader that has gone away wanted no more of them.
        let _ = writeln!(out, "{mac} {}", Ipv4Addr::from_bits(FIRST_RESERVED.to_bits() + number));
    }
}

/// Answers every message at once, without remembering anything.
pub fn respond(at: Ipv4Addr) -> Result<()> {
    let socket = sys::socket(SocketAddrV4::new(at, SERVER_PORT))?;
    let mut room = sys::Room::new();
    let mut answers = Vec::new();
    loop {
        sys::receive(&socket, &mut room, |bytes, _| answers.extend(message::answer(bytes, at)))?;
        if answers.is_empty() {
            sys::wait(std::iter::once(&socket), std::time::Duration::from_secs(1));
            continue;
        }
        sys::send(&socket, &answers)?;
        answers.clear();
    }
}
