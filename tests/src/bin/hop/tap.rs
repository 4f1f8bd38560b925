//! Tap interfaces and the calls to the kernel around them that no crate here wraps. All `unsafe` of the hop is in this
//! file.
//!
//! A tap without offloads, not a packet socket: on the way out to one the kernel cuts a guest's large segments to frames of
//! the wire's size and fills in the checksums that virtual cards leave open, so that what is lost is what a cable would lose.

use anyhow::{Context, Result, ensure};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// Beyond any frame of an interface whose MTU is 1500.
pub const FRAME: usize = 4096;

pub struct Tap(File);

impl Tap {
    /// Becomes the owner of a tap that is there.
    ///
    /// # Errors
    /// No such interface, or somebody else has it.
    pub fn open(name: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
        let file = file.context("cannot open /dev/net/tun")?;
        // SAFETY: a plain C structure for which all zeroes are valid.
        let mut request: libc::ifreq = unsafe { zeroed() };
        ensure!(!name.is_empty() && name.len() < request.ifr_name.len(), "{name:?} is no interface's name");
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)?;
        // SAFETY: the request lives through the call and is what TUNSETIFF reads.
        let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        ensure!(set == 0, "cannot be the other end of the tap {name}: {}", io::Error::last_os_error());
        Ok(Self(file))
    }

    /// The next frame that the kernel sends out of the interface; `None` when there is none.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn receive<'a>(&self, room: &'a mut [u8; FRAME]) -> io::Result<Option<&'a [u8]>> {
        match (&self.0).read(room) {
            Ok(length) => Ok(room.get(..length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the kernel receive a frame; whether it did. An interface that is down takes none.
    pub fn send(&self, frame: &[u8]) -> bool {
        (&self.0).write(frame).is_ok_and(|written| written == frame.len())
    }
}

/// What ends the hop: SIGTERM and SIGINT, as something that can be waited for.
pub struct Stop(OwnedFd);

impl Stop {
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the set lives through the calls, is initialised by the first, and the descriptor is nobody else's.
        unsafe {
            let mut set = zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }
}

/// Waits for a frame, the end, or so long; whether it is the end.
///
/// # Errors
/// The kernel's.
pub fn wait(taps: &[Tap; 2], stop: &Stop, at_most: Option<Duration>) -> io::Result<bool> {
    let [a, b] = taps;
    let mut polled = [a.0.as_raw_fd(), b.0.as_raw_fd(), stop.0.as_raw_fd()].map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    let time = at_most.map(|time| libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the array and the time live through the call, and the array's true length is given.
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, time, std::ptr::null()) };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    let [.., stop] = polled;
    Ok(stop.revents != 0)
}
