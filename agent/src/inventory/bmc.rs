//! The BMC's address over the in-band interface (`linux/ipmi.h`): Get Device ID and Get LAN Configuration Parameters
//! (IPMI 2.0, 20.1 and 23.2). Reading only.

use super::Roots;
use crate::bytes::{array, byte};
use muster_names::{Bmc, Mac};
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

#[repr(C)]
struct Address {
    kind: i32,
    channel: i16,
    lun: u8,
}

#[repr(C)]
struct Message {
    netfn: u8,
    command: u8,
    len: u16,
    data: *mut u8,
}

#[repr(C)]
struct Request {
    address: *mut Address,
    address_len: u32,
    id: libc::c_long,
    message: Message,
}

#[repr(C)]
struct Received {
    kind: i32,
    address: *mut Address,
    address_len: u32,
    id: libc::c_long,
    message: Message,
}

const SYSTEM_INTERFACE: i32 = 0x0c;
const BMC_CHANNEL: i16 = 0x0f;

/// `_IOC(direction, 'i', number, size)` with 2 = read, 3 = both.
const fn code(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'i' as u64) << 8 | number
}

const SEND: u64 = code(2, 13, size_of::<Request>());
const RECEIVE: u64 = code(3, 11, size_of::<Received>());

/// `None` when there is no in-band interface or nothing answers on it.
pub fn ask(roots: &Roots) -> Option<Bmc> {
    let device = OpenOptions::new().read(true).write(true).open(roots.path("dev/ipmi0")).ok()?;
    let firmware = call(&device, 0x06, 0x01, &[]).and_then(|answer| revision(&answer));
    for channel in 1..=8 {
        let parameter = |number| call(&device, 0x0c, 0x02, &[channel, number, 0, 0]);
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

fn call(device: &File, netfn: u8, command: u8, data: &[u8]) -> Option<Vec<u8>> {
    let mut data = data.to_vec();
    let mut address = Address { kind: SYSTEM_INTERFACE, channel: BMC_CHANNEL, lun: 0 };
    let address_len = u32::try_from(size_of::<Address>()).ok()?;
    let message = Message { netfn, command, len: u16::try_from(data.len()).ok()?, data: data.as_mut_ptr() };
    let mut request = Request { address: &raw mut address, address_len, id: 1, message };
    let fd = device.as_raw_fd();
    // SAFETY: the request and what it points to live until the call returns; the kernel copies.
    if unsafe { libc::ioctl(fd, SEND as _, &raw mut request) } != 0 {
        return None;
    }
    let mut wait = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that outlives the call.
    if unsafe { libc::poll(&raw mut wait, 1, 2000) } != 1 {
        return None;
    }
    let mut answer = vec![0; 256];
    let message = Message { netfn: 0, command: 0, len: 256, data: answer.as_mut_ptr() };
    let mut received = Received { kind: 0, address: &raw mut address, address_len, id: 0, message };
    // SAFETY: the kernel writes at most `len` bytes to `data` and `address_len` bytes to `address`.
    if unsafe { libc::ioctl(fd, RECEIVE as _, &raw mut received) } != 0 {
        return None;
    }
    answer.truncate(usize::from(received.message.len));
    Some(answer)
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

    #[test]
    fn the_kernels_structures_have_the_kernels_sizes() {
        assert_eq!((size_of::<Request>(), size_of::<Received>()), (40, 48));
    }
}
