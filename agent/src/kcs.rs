//! The bus between a machine and its BMC, as the kernel gives it (`linux/ipmi.h`): one request, one answer.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;

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

/// Asks the BMC; `None` when it does not answer. Completion code first, then the answer's data as IPMI counts it.
pub trait Bus {
    fn call(&self, netfn: u8, command: u8, data: &[u8]) -> Option<Vec<u8>>;
}

/// The kernel's device.
pub struct Kcs(File);

impl Kcs {
    /// `None` when there is no in-band interface.
    pub fn open(path: &Path) -> Option<Self> {
        OpenOptions::new().read(true).write(true).open(path).ok().map(Self)
    }
}

impl Bus for Kcs {
    fn call(&self, netfn: u8, command: u8, data: &[u8]) -> Option<Vec<u8>> {
        let mut data = data.to_vec();
        let mut address = Address { kind: SYSTEM_INTERFACE, channel: BMC_CHANNEL, lun: 0 };
        let address_len = u32::try_from(size_of::<Address>()).ok()?;
        let message = Message { netfn, command, len: u16::try_from(data.len()).ok()?, data: data.as_mut_ptr() };
        let mut request = Request { address: &raw mut address, address_len, id: 1, message };
        let fd = self.0.as_raw_fd();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structures_have_the_kernels_sizes() {
        assert_eq!((size_of::<Request>(), size_of::<Received>()), (40, 48));
    }
}
