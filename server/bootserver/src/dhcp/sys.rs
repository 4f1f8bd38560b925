//! The few calls to the kernel that no safe crate wraps whole: batches with the address a datagram was sent to, and
//! frames to a machine without an address. All `unsafe` of the DHCP server is here and in `sockopt`.

use crate::sockopt::set;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Datagrams taken or given in one call.
pub const BATCH: usize = 64;
/// Larger than any DHCP message; what is longer arrives marked as truncated.
pub const SIZE: usize = 4096;

/// Where a datagram came from and which of our addresses it was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub source: SocketAddrV4,
    pub destination: Ipv4Addr,
    pub truncated: bool,
}

/// A datagram to be sent from one of our addresses.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub bytes: Vec<u8>,
    pub to: SocketAddrV4,
    pub from: Ipv4Addr,
}

/// Room for one `in_pktinfo`, aligned as a control message must be.
type Control = [u64; 8];

/// Tell each datagram's destination; leave DF clear (B1.28); take a large buffer if we may.
pub fn prepare(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
    set(&fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
    // Only with CAP_NET_ADMIN; a smaller buffer is slower, not wrong.
    let _ = set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(4_i32 << 20));
    Ok(())
}

/// The kernel's number of an interface.
pub fn interface_index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: a NUL-terminated string that lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// A socket that only sends IP packets in frames; protocol 0 receives nothing.
pub fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor returned is ours alone.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Sends one IP packet to a hardware address out of an interface.
pub fn send_frame(fd: BorrowedFd<'_>, index: u32, to: [u8; 6], packet: &[u8]) -> io::Result<()> {
    let [a, b, c, d, e, f] = to;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: both buffers live through the call and their true lengths are given.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Frames of IPv4 and of ARP.
pub const IP: u16 = libc::ETH_P_IP as u16;
pub const ARP: u16 = libc::ETH_P_ARP as u16;

/// A socket that hears the whole frames of one protocol that come in on one interface.
pub fn listen(index: u32, protocol: u16) -> io::Result<OwnedFd> {
    let mut address = link(index, protocol)?;
    address.sll_halen = 0;
    // SAFETY: the descriptor returned is ours alone; the address lives through the call, its true length is given.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let fd = libc::socket(libc::AF_PACKET, kind, i32::from(protocol.to_be()));
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let size = size_of::<libc::sockaddr_ll>() as u32;
        let bound = libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size);
        if bound == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
    }
}

fn link(index: u32, protocol: u16) -> io::Result<libc::sockaddr_ll> {
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    })
}

/// The hardware address of the interface that a packet socket is bound to.
pub fn own_mac(fd: BorrowedFd<'_>) -> io::Result<[u8; 6]> {
    // SAFETY: a plain C structure for which all zeroes are valid; the call writes at most `size` bytes into it.
    let address = unsafe {
        let mut address: libc::sockaddr_ll = zeroed();
        let mut size = size_of::<libc::sockaddr_ll>() as u32;
        if libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut size) != 0 {
            return Err(io::Error::last_os_error());
        }
        address
    };
    let [a, b, c, d, e, f, ..] = address.sll_addr;
    Ok([a, b, c, d, e, f])
}

/// The kernel hands over only UDP from ports 67 and 4011, fragments left out: nothing else wakes us on a busy link.
pub fn only_server_replies(fd: BorrowedFd<'_>) -> io::Result<()> {
    let step = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(0x30, 0, 0, 23),     // protocol
        step(0x15, 0, 7, 17),     // UDP, or drop
        step(0x28, 0, 0, 20),     // fragment offset
        step(0x45, 5, 0, 0x1fff), // a later fragment: drop
        step(0xb1, 0, 0, 14),     // length of the IP header
        step(0x48, 0, 0, 14),     // source port behind it
        step(0x15, 1, 0, 67),
        step(0x15, 0, 1, 4011),
        step(0x06, 0, 0, 0x0004_0000),
        step(0x06, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// The next frame that waits, if one does.
pub fn receive_frame<'a>(fd: BorrowedFd<'_>, room: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
    // SAFETY: the buffer lives through the call and its true length is given.
    let got = unsafe { libc::recv(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    match usize::try_from(got) {
        Ok(got) => Ok(room.get(..got)),
        Err(_) => {
            let error = io::Error::last_os_error();
            let idle = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            if idle { Ok(None) } else { Err(error) }
        }
    }
}

/// Sends one frame as it is, to everybody.
pub fn send_whole(fd: BorrowedFd<'_>, index: u32, frame: &[u8]) -> io::Result<()> {
    let address = link(index, ARP)?;
    // SAFETY: both buffers live through the call and their true lengths are given.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A bell that wakes [`wait`].
pub fn event() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor returned is ours alone.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

pub fn ring(fd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: eight bytes that live through the call. A full counter rings as well.
    let _ = unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
}

pub fn silence(fd: BorrowedFd<'_>) {
    let mut count = 0u64;
    // SAFETY: eight writable bytes that live through the call.
    let _ = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
}

/// Waits until one of them can be read; tells which.
pub fn wait(fds: &[BorrowedFd<'_>], milliseconds: i32) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array lives through the call and its true length is given.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        return Ok(vec![false; fds.len()]);
    }
    Ok(polled.iter().map(|one| one.revents != 0).collect())
}

/// Takes up to [`BATCH`] datagrams without waiting and hands each to `each`. `room` is `BATCH * SIZE` bytes.
pub fn receive(fd: BorrowedFd<'_>, room: &mut [u8], mut each: impl FnMut(&[u8], Origin)) -> io::Result<usize> {
    // SAFETY: these are plain C structures for which all zeroes are valid.
    let (mut headers, mut names, mut vectors): (
        [libc::mmsghdr; BATCH],
        [libc::sockaddr_in; BATCH],
        [libc::iovec; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut controls: [Control; BATCH] = [[0; 8]; BATCH];
    let mut count = 0;
    for ((((header, name), vector), control), buffer) in
        headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(&mut controls).zip(room.chunks_exact_mut(SIZE))
    {
        *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: SIZE };
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of::<Control>();
        count += 1;
    }
    // SAFETY: every pointer in the first `count` headers is to memory that outlives the call, with its true length.
    let got = unsafe {
        libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut())
    };
    let got = match usize::try_from(got) {
        Ok(got) => got,
        Err(_) => {
            let error = io::Error::last_os_error();
            let idle = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return if idle { Ok(0) } else { Err(error) };
        }
    };
    for ((header, name), buffer) in headers.iter().zip(&names).zip(room.chunks_exact(SIZE)).take(got) {
        let length = usize::try_from(header.msg_len).unwrap_or(0).min(SIZE);
        let Some(bytes) = buffer.get(..length) else { continue };
        let source =
            SocketAddrV4::new(Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port));
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        each(bytes, Origin { source, destination: sent_to(&header.msg_hdr), truncated });
    }
    Ok(got)
}

/// The destination in a received header's control messages; unknown reads as broadcast, the cautious side.
fn sent_to(header: &libc::msghdr) -> Ipv4Addr {
    // SAFETY: the kernel filled the control buffer, which still lives; the CMSG functions walk within its length, and
    // an IP_PKTINFO message holds one in_pktinfo, read without assuming alignment.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = at.as_ref() {
            if message.cmsg_level == libc::IPPROTO_IP && message.cmsg_type == libc::IP_PKTINFO {
                let info: libc::in_pktinfo = libc::CMSG_DATA(at).cast::<libc::in_pktinfo>().read_unaligned();
                return Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    Ipv4Addr::BROADCAST
}

/// Sends all, each from its own source address. Returns how many the kernel refused, and the last refusal.
pub fn send(fd: BorrowedFd<'_>, datagrams: &[Datagram]) -> (usize, Option<io::Error>) {
    let (mut refused, mut why) = (0, None);
    let mut rest = datagrams;
    while !rest.is_empty() {
        match send_some(fd, rest) {
            Ok(sent) => rest = rest.get(sent.max(1)..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                (refused, why) = (refused + 1, Some(error));
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    (refused, why)
}

fn send_some(fd: BorrowedFd<'_>, datagrams: &[Datagram]) -> io::Result<usize> {
    // SAFETY: these are plain C structures for which all zeroes are valid.
    let (mut headers, mut names, mut vectors): (
        [libc::mmsghdr; BATCH],
        [libc::sockaddr_in; BATCH],
        [libc::iovec; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut controls: [Control; BATCH] = [[0; 8]; BATCH];
    let mut count = 0;
    for ((((header, name), vector), control), datagram) in
        headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(&mut controls).zip(datagrams)
    {
        name.sin_family = libc::AF_INET as u16;
        name.sin_port = datagram.to.port().to_be();
        name.sin_addr.s_addr = datagram.to.ip().to_bits().to_be();
        *vector = libc::iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        leave_from(&mut header.msg_hdr, datagram.from);
        count += 1;
    }
    // SAFETY: every pointer in the first `count` headers is to memory that outlives the call, with its true length;
    // the kernel only reads the payload.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes the control message that sets the source address.
fn leave_from(header: &mut libc::msghdr, from: Ipv4Addr) {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: from.to_bits().to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let length = size_of::<libc::in_pktinfo>() as u32;
    // SAFETY: the control buffer is a `Control`, 64 zeroed bytes, and one in_pktinfo message takes 32 of them.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(length) as usize;
        if let Some(message) = libc::CMSG_FIRSTHDR(header).as_mut() {
            message.cmsg_level = libc::IPPROTO_IP;
            message.cmsg_type = libc::IP_PKTINFO;
            message.cmsg_len = libc::CMSG_LEN(length) as usize;
            libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().write_unaligned(info);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn b1_28_what_leaves_the_servers_ports_may_be_cut_on_its_way() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare(socket.as_fd()).unwrap();
        let mut value: libc::c_int = -1;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: value and length live through the call and belong together.
        let rc = unsafe {
            let into = (&raw mut value).cast();
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, into, &raw mut length)
        };
        assert_eq!((rc, value), (0, libc::IP_PMTUDISC_DONT));
    }
}
