//! Batches of datagrams and CPU time: the calls to the kernel that no crate here wraps. All `unsafe` of the generator is
//! in this file.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Datagrams in one call.
pub const BATCH: usize = 64;
const SIZE: usize = 2048;

/// Room for one batch of received datagrams.
pub struct Room(Vec<[u8; SIZE]>);

impl Room {
    pub fn new() -> Self {
        Self(vec![[0; SIZE]; BATCH])
    }
}

/// A datagram to be sent.
pub struct Datagram {
    pub bytes: [u8; DATAGRAM],
    pub to: SocketAddrV4,
}

/// The size of every DHCP message that is sent here: what it says, padded.
pub const DATAGRAM: usize = 320;

/// A socket with buffers that do not lose what the other side sends in one burst.
pub fn socket(at: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    for name in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        let size: libc::c_int = 16 << 20;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value is one c_int that lives through the call. Refused without CAP_NET_ADMIN, which is no harm.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const size).cast(), length) };
    }
    Ok(socket)
}

/// Sends all, waiting where the kernel's buffer is full.
pub fn send(socket: &UdpSocket, datagrams: &[Datagram]) -> io::Result<()> {
    let mut rest = datagrams;
    while !rest.is_empty() {
        // SAFETY: these are plain C structures for which all zeroes are valid.
        let (mut headers, mut names, mut vectors): (
            [libc::mmsghdr; BATCH],
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut count = 0;
        for (((header, name), vector), datagram) in headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(rest) {
            name.sin_family = libc::AF_INET as u16;
            name.sin_port = datagram.to.port().to_be();
            name.sin_addr.s_addr = datagram.to.ip().to_bits().to_be();
            *vector =
                libc::iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            count += 1;
        }
        // SAFETY: every pointer in the first `count` headers is to memory that outlives the call, with its true length;
        // the kernel only reads the payload.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        match usize::try_from(sent) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(_) => {
                let error = io::Error::last_os_error();
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
    Ok(())
}

/// Hands what has arrived to `each` without waiting; how many there were.
pub fn receive(
    socket: &UdpSocket,
    room: &mut Room,
    mut each: impl FnMut(&mut [u8], SocketAddrV4),
) -> io::Result<usize> {
    // SAFETY: these are plain C structures for which all zeroes are valid.
    let (mut headers, mut names, mut vectors): (
        [libc::mmsghdr; BATCH],
        [libc::sockaddr_in; BATCH],
        [libc::iovec; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    for (((header, name), vector), buffer) in headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(&mut room.0) {
        *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: SIZE };
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    }
    let fd = socket.as_raw_fd();
    // SAFETY: every pointer in the headers is to memory that outlives the call, with its true length.
    let got =
        unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
    let Ok(got) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        let idle = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
        );
        return if idle { Ok(0) } else { Err(error) };
    };
    for ((header, name), buffer) in headers.iter().zip(&names).zip(&mut room.0).take(got) {
        let length = usize::try_from(header.msg_len).unwrap_or(0).min(SIZE);
        let from =
            SocketAddrV4::new(Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port));
        if let Some(bytes) = buffer.get_mut(..length) {
            each(bytes, from);
        }
    }
    Ok(got)
}

/// Waits until one of the sockets can be read, or the time is over; tells which can.
pub fn wait<'a>(sockets: impl Iterator<Item = &'a UdpSocket>, at_most: Duration) -> Vec<bool> {
    let mut polled: Vec<libc::pollfd> =
        sockets.map(|one| libc::pollfd { fd: one.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let time = libc::timespec {
        tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(at_most.subsec_nanos()),
    };
    // SAFETY: the array and the time live through the call, and the array's true length is given.
    unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &raw const time, std::ptr::null()) };
    polled.iter().map(|one| one.revents != 0).collect()
}

/// CPU time of a process and of its children that it waited for.
pub fn cpu(pid: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: no pointers.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let hertz = u64::try_from(hertz).ok().filter(|hertz| *hertz > 0)?;
    Some(Duration::from_millis(ticks * 1000 / hertz))
}
