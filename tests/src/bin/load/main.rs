//! The one load generator of `tests/bench`: every server, ours and the peers, is driven by the same code from the same
//! place, so that what differs between two figures is the server.
//!
//! It shares no codec with the product. `load` alone prints what it can do.

mod bmcs;
mod dhcp;
mod sys;
mod tftp;

use anyhow::{Result, bail};
use muster_tests::told::Told;

const USAGE: &str = "usage:
  load dhcp server=10.0.0.1 clients=new|reserved [pid=SERVER'S] [seconds=2] [rate=N | find=1]
  load respond at=10.0.0.1            answers every DHCP message without a thought: the generator's own ceiling
  load reservations                   prints `MAC ADDRESS`, a line for each reserved client
  load bmcs count=1000 [dead=100] [ipmi=127.4.0.1] [redfish=127.5.0.1] [trees=127.6.0.1 tree=NAME]
                                      so many simulated BMCs, until it is ended; `ready` when they listen
  load tftp server=10.0.0.1:69 name=FILE file=SAME_FILE clients=1 [times=1] [blksize=1468] [windowsize=1]
            [from=10.0.1.1]                    the first client's own address; the others count on from it";

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let verb = words.next().unwrap_or_default();
    let told = Told::read(words, USAGE)?;
    match verb.as_str() {
        "dhcp" => dhcp::run(&told),
        "respond" => dhcp::respond(told.must("at")?),
        "reservations" => {
            dhcp::reservations();
            Ok(())
        }
        "bmcs" => bmcs::run(&told),
        "tftp" => tftp::run(&told),
        _ => bail!("{USAGE}"),
    }
}
