//! The calls to the kernel behind the ears: a packet socket that has only a way in, and the signals that end listening.

use crate::dhcp::interface_index;
use crate::sockopt::set;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Longer than any DHCP message in its packet.
const SIZE: usize = 4096;

/// Hears IPv4 packets to the ports of DHCP that pass an interface, in both directions.
pub struct Tap {
    pub interface: String,
    socket: OwnedFd,
}

/// Of a packet from its IP header on: version 4, UDP, no later fragment, to port 67, 68 or 4011.
fn wanted() -> [libc::sock_filter; 13] {
    let step = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    [
        step(0x30, 0, 0, 0),      // load byte 0
        step(0x54, 0, 0, 0xf0),   // its high half
        step(0x15, 0, 9, 0x40),   // version 4
        step(0x30, 0, 0, 9),      // load the protocol
        step(0x15, 0, 7, 17),     // UDP
        step(0x28, 0, 0, 6),      // load flags and fragment offset
        step(0x45, 5, 0, 0x1fff), // a later fragment has no ports
        step(0xb1, 0, 0, 0),      // x = length of the header
        step(0x48, 0, 0, 2),      // load the destination port
        step(0x15, 3, 0, 67),
        step(0x15, 2, 0, 68),
        step(0x15, 1, 0, 4011),
        step(0x06, 0, 0, 0), // not ours to hear
    ]
}

impl Tap {
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = interface_index(interface)?;
        // Protocol 0 hears nothing until the filter is in place.
        // SAFETY: no pointers; the descriptor returned is ours alone.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let mut steps = wanted().to_vec();
        steps.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: u32::MAX });
        let length = u16::try_from(steps.len()).unwrap_or(u16::MAX);
        let filter = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            // What leaves the machine, such as a live server's replies, is heard by who hears everything.
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let room: libc::c_int = 4 << 20;
        set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
        // Only with CAP_NET_ADMIN; a smaller buffer loses more, which is told.
        let _ = set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &room);
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address lives through the call and its true length is given.
        if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { interface: interface.to_owned(), socket })
    }

    /// Hands every packet that waits to `each`, from its IP header on.
    pub fn hear(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut room = [0u8; SIZE];
        loop {
            // SAFETY: the buffer lives through the call and its true length is given.
            let got =
                unsafe { libc::recv(self.socket.as_raw_fd(), room.as_mut_ptr().cast(), SIZE, libc::MSG_DONTWAIT) };
            match usize::try_from(got) {
                Ok(length) => each(room.get(..length).unwrap_or_default()),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    let idle = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                    return if idle { Ok(()) } else { Err(error) };
                }
            }
        }
    }

    /// Packets that came faster than they were heard, since this was last asked.
    pub fn lost(&self) -> u32 {
        let mut counts = [0u32; 2];
        let mut size = size_of::<[u32; 2]>() as libc::socklen_t;
        // SAFETY: two numbers and their length live through the call.
        let rc = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        let [_, lost] = counts;
        if rc == 0 { lost } else { 0 }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// SIGINT and SIGTERM as something to wait for.
pub struct Signals(OwnedFd);

impl Signals {
    /// From here on the two signals end nothing by themselves in this thread.
    pub fn take() -> io::Result<Self> {
        // SAFETY: a set of signals is plain memory, made empty before use; the descriptor returned is ours alone.
        unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(OwnedFd::from_raw_fd(fd))) }
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of them can be read; tells which.
pub fn wait(fds: &[BorrowedFd<'_>], milliseconds: i32) -> io::Result<Vec<bool>> {
    crate::dhcp::wait(fds, milliseconds)
}
