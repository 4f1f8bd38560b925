//! Network interfaces by ioctl: up, address, default route, and what is burnt into the port.
//!
//! Three requests with fixed structures do what the agent needs; a netlink library would be larger than the agent.

use crate::bytes::{byte, le16, le32, put, text};
use crate::{Error, Result};
use muster_names::Mac;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `linux/sockios.h`
const SIOCADDRT: u64 = 0x890b;
const SIOCGIFFLAGS: u64 = 0x8913;
const SIOCSIFFLAGS: u64 = 0x8914;
const SIOCSIFADDR: u64 = 0x8916;
const SIOCSIFNETMASK: u64 = 0x891c;
const SIOCGIFINDEX: u64 = 0x8933;
const SIOCETHTOOL: u64 = 0x8946;
/// `linux/ethtool.h`
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GPERMADDR: u32 = 0x20;

/// `struct ifreq`: 16 bytes of name, 24 bytes of union.
#[repr(C, align(8))]
struct Request([u8; 40]);

impl Request {
    fn new(name: &str, data: &[u8]) -> Self {
        let mut bytes = [0; 40];
        put(&mut bytes, 0, name.as_bytes().get(..name.len().min(15)).unwrap_or_default());
        put(&mut bytes, 16, data);
        Self(bytes)
    }

    fn run(&mut self, request: u64) -> io::Result<()> {
        // SAFETY: socket() with constants; the descriptor is owned from here on.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: every request used here reads and writes at most the 40 bytes of a `struct ifreq`.
        match unsafe { libc::ioctl(socket.as_raw_fd(), request as _, self.0.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn failed(name: &str, what: &'static str) -> impl FnOnce(io::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Interface { name, what, source }
}

pub fn up(name: &str) -> Result<()> {
    let mut request = Request::new(name, &[]);
    request.run(SIOCGIFFLAGS).map_err(failed(name, "read flags"))?;
    let flags = le16(&request.0, 16).unwrap_or(0) | libc::IFF_UP as u16;
    put(&mut request.0, 16, &flags.to_le_bytes());
    request.run(SIOCSIFFLAGS).map_err(failed(name, "bring up"))
}

pub fn index(name: &str) -> Result<i32> {
    let mut request = Request::new(name, &[]);
    request.run(SIOCGIFINDEX).map_err(failed(name, "find"))?;
    Ok(le32(&request.0, 16).unwrap_or(0) as i32)
}

/// `struct sockaddr_in`
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    put(&mut bytes, 0, &(libc::AF_INET as u16).to_ne_bytes());
    put(&mut bytes, 4, &address.octets());
    bytes
}

pub fn set_address(name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> Result<()> {
    Request::new(name, &socket_address(address)).run(SIOCSIFADDR).map_err(failed(name, "set address"))?;
    Request::new(name, &socket_address(mask)).run(SIOCSIFNETMASK).map_err(failed(name, "set mask"))
}

/// Sets the default route; one that is there already stays.
pub fn set_gateway(name: &str, gateway: Ipv4Addr) -> Result<()> {
    // SAFETY: `rtentry` is plain data for which zeros are valid.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    let plain = |address| {
        // SAFETY: `sockaddr` and `sockaddr_in` are both 16 bytes of plain data.
        unsafe { std::mem::transmute::<[u8; 16], libc::sockaddr>(socket_address(address)) }
    };
    route.rt_dst = plain(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = plain(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = plain(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: socket() with constants.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(failed(name, "set route")(io::Error::last_os_error()));
    }
    // SAFETY: `fd` was just opened and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: SIOCADDRT reads one `rtentry` that outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCADDRT as _, &raw const route) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(failed(name, "set route")(error)) }
}

/// One ethtool question: `request` is read and overwritten with the answer.
fn ethtool<const N: usize>(name: &str, mut question: Box<[u8; N]>) -> Option<Box<[u8; N]>> {
    let pointer = question.as_mut_ptr().expose_provenance();
    Request::new(name, &pointer.to_ne_bytes()).run(SIOCETHTOOL).ok()?;
    Some(question)
}

/// The address burnt into the port, whatever a bond or a person gave it since.
pub fn permanent_address(name: &str) -> Option<Mac> {
    let mut question = Box::new([0; 64]);
    put(question.as_mut_slice(), 0, &ETHTOOL_GPERMADDR.to_ne_bytes());
    put(question.as_mut_slice(), 4, &32_u32.to_ne_bytes());
    let answer = ethtool(name, question)?;
    (byte(answer.as_slice(), 4)? == 6).then_some(())?;
    crate::bytes::array(answer.as_slice(), 8).map(Mac)
}

/// The port's own firmware version, as its driver tells it.
pub fn firmware(name: &str) -> Option<String> {
    let mut question = Box::new([0; 256]);
    put(question.as_mut_slice(), 0, &ETHTOOL_GDRVINFO.to_ne_bytes());
    let answer = ethtool(name, question)?;
    let field = answer.get(68..100)?;
    text(field.split(|b| *b == 0).next()?).filter(|version| version != "N/A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_an_error_and_not_a_guess() {
        assert!(up("muster-none0").is_err());
        assert!(index("muster-none0").is_err());
        assert_eq!(permanent_address("muster-none0"), None);
        assert_eq!(firmware("muster-none0"), None);
    }

    #[test]
    fn loopback_has_an_index() {
        assert!(index("lo").unwrap() > 0);
    }
}
