//! Chassis Identify, and the Cold Reset of the BMC itself (IPMI 2.0, sections 28.2, 28.5 and 20.2).

use super::session::Command;
use super::{APP, CHASSIS, Turn, declined};
use crate::Fault;
use crate::lane::Sent;

const STATUS: u8 = 0x01;
const IDENTIFY: u8 = 0x04;
const COLD_RESET: u8 = 0x02;
/// No interval of seconds; then, whether it stays on.
const STAYS_ON: [u8; 2] = [0x00, 0x01];
const OFF: [u8; 2] = [0x00, 0x00];
/// Some know no second byte; a first of zero is off to them too.
const OFF_IN_SHORT: [u8; 1] = [0x00];
/// The request has a byte too many, or one that means nothing.
const TOO_MUCH: [u8; 3] = [0xc7, 0xc8, 0xcc];

pub async fn locate(turn: &mut Turn<'_>) -> Result<Option<bool>, Fault> {
    Ok(is_on(&turn.ask(Command::new(CHASSIS, STATUS, &[]), "the chassis status").await?))
}

/// From the third byte of the chassis status, where the BMC says that it stands there.
fn is_on(status: &[u8]) -> Option<bool> {
    let [_, _, misc, ..] = status else { return None };
    match (misc & 0x40 != 0, misc >> 4 & 0x03) {
        (true, 0) => Some(false),
        // For a while, or for good.
        (true, 1 | 2) => Some(true),
        _ => None,
    }
}

pub async fn set_locate(turn: &mut Turn<'_>, on: bool, sent: &Sent) -> Result<(), Fault> {
    sent.mark();
    let order: &[u8] = if on { &STAYS_ON } else { &OFF };
    let mut code = turn.reply(Command::new(CHASSIS, IDENTIFY, order)).await?.0;
    if !on && TOO_MUCH.contains(&code) {
        code = turn.reply(Command::new(CHASSIS, IDENTIFY, &OFF_IN_SHORT)).await?.0;
    }
    match code {
        0x00 => {}
        code if TOO_MUCH.contains(&code) => {
            sent.denied();
            return Err(Fault::NotOffered(format!("a locate light that stays on (completion code {code:02x}h)")));
        }
        code => {
            if !turn.unclear {
                sent.denied();
            }
            return Err(declined(code, "the locate light"));
        }
    }
    match locate(turn).await? {
        Some(found) if found != on => {
            Err(Fault::Declined("it says that it took the order, and its light is as before".into()))
        }
        _ => Ok(()),
    }
}

pub async fn reset_bmc(turn: &mut Turn<'_>, sent: &Sent) -> Result<(), Fault> {
    sent.mark();
    let command = Command { repeatable: false, ..Command::new(APP, COLD_RESET, &[]) };
    match turn.reply(command).await? {
        (0x00, _) => {
            *turn.session = None;
            Ok(())
        }
        (code, _) => {
            if !turn.unclear {
                sent.denied();
            }
            Err(declined(code, "its restart"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_light_is_on_or_off_only_where_the_bmc_tells() {
        for (misc, found) in [(0x40, Some(false)), (0x50, Some(true)), (0x60, Some(true)), (0x70, None), (0x20, None)] {
            assert_eq!(is_on(&[0x61, 0x10, misc]), found, "{misc:02x}");
        }
        assert_eq!(is_on(&[0x61, 0x10]), None);
    }

    proptest! {
        #[test]
        fn no_status_panics(bytes in proptest::collection::vec(any::<u8>(), 0..6)) {
            let _ = is_on(&bytes);
        }
    }
}
