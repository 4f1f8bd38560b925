//! The BMC's address over the in-band interface: Get Device ID and Get LAN Configuration Parameters
//! (IPMI 2.0, 20.1 and 23.2). Reading only.

use super::Roots;
use crate::bytes::{array, byte};
use crate::kcs::{Bus as _, Kcs};
use muster_names::{Bmc, Mac};
use std::net::Ipv4Addr;

/// `None` when there is no in-band interface or nothing answers on it.
pub fn ask(roots: &Roots) -> Option<Bmc> {
    let bus = Kcs::open(&roots.path("dev/ipmi0"))?;
    let firmware = bus.call(0x06, 0x01, &[]).and_then(|answer| revision(&answer));
    for channel in 1..=8 {
        let parameter = |number| bus.call(0x0c, 0x02, &[channel, number, 0, 0]);
        let Some(address) = parameter(3).and_then(|answer| ipv4(&answer)) else { continue };
        let mac = parameter(5).and_then(|answer| array(&answer, 2)).map(Mac).filter(Mac::is_unicast);
        return Some(Bmc { address: Some(address.to_string()), mac, firmware });
    }
    firmware.map(|firmware| Bmc { firmware: Some(firmware), ..Bmc::default() })
}

/// Completion code first, then the answer's data as IPMI counts it.
fn revision(answer: &[u8]) -> Option<String> {
    (byte(answer, 0)? == 0).then_some(())?;
    let (major, minor) = (byte(answer, 3)? & 0x7f, byte(answer, 4)?);
    Some(format!("{major}.{:x}{:x}", minor >> 4, minor & 15))
}

fn ipv4(answer: &[u8]) -> Option<Ipv4Addr> {
    (byte(answer, 0)? == 0).then_some(())?;
    array::<4>(answer, 2).map(Ipv4Addr::from).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_or_an_unset_address_is_no_address() {
        assert_eq!(ipv4(&[0, 0x11, 10, 0, 0, 9]), Some(Ipv4Addr::new(10, 0, 0, 9)));
        assert_eq!(ipv4(&[0, 0x11, 0, 0, 0, 0]), None);
        assert_eq!(ipv4(&[0xcc, 0x11, 10, 0, 0, 9]), None);
        assert_eq!(ipv4(&[0, 0x11, 10]), None);
    }

    #[test]
    fn the_minor_revision_is_read_as_decimal_digits() {
        assert_eq!(revision(&[0, 0x20, 1, 0x82, 0x45, 2]).as_deref(), Some("2.45"));
        assert_eq!(revision(&[0, 0x20]), None);
    }
}
