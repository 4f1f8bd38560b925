//! Options of sockets that no crate here wraps.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

/// Sets one, from the C value that the kernel reads for it. A value that points elsewhere, as a filter does, points at
/// what its caller keeps.
pub fn set<T: Copy>(fd: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives through the call and its true length is given; the kernel copies and checks it.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
