//! The few calls to the kernel that no crate here wraps: which of our addresses a datagram was sent to, sending from a
//! chosen one, and the MTU of the way to a peer. All `unsafe` of the TFTP server is here and in
//! `sockopt`.

use crate::sockopt::set;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for one `in_pktinfo` message, aligned as control messages must be.
type Control = [u64; 8];

/// Opens a listening socket that tells the destination of what it receives and never sets DF. For IPv6 give an address,
/// not `[::]`: its own address is what it answers from.
///
/// # Errors
/// The kernel's: no such address, the port taken, no right to a port below 1024.
pub fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // A hall that powers on asks at once; room for some thousand requests.
    let _ = socket.set_recv_buffer_size(4 << 20);
    if address.is_ipv4() {
        set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
        set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
    } else {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket for one transfer, with the address that was asked and a port of its own.
pub fn ephemeral(local: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(local, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv4() {
        set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What is longer than `each` bytes and sent at once leaves as packets of that length, the last as long as is left; with 0
/// everything leaves as it is.
pub fn cut_into(socket: &impl AsRawFd, each: usize) -> io::Result<()> {
    let each = libc::c_int::try_from(each).map_err(io::Error::other)?;
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, &each)
}

/// The MTU of the way to a peer, as the kernel knows it. 1500 if it says nothing.
pub fn path_mtu(local: IpAddr, peer: SocketAddr) -> u32 {
    let ask = || -> io::Result<u32> {
        let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
        socket.connect(peer)?;
        let (level, name) = match local {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
        };
        let mut mtu: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: value and length live through the call and belong together.
        let rc = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut mtu).cast(), &raw mut length) };
        if rc == 0 { Ok(u32::try_from(mtu).unwrap_or(1500)) } else { Err(io::Error::last_os_error()) }
    };
    ask().unwrap_or(1500)
}

/// A datagram's length, its source, and which of our addresses it was sent to: `None` when that was a broadcast or the
/// kernel did not say.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    // SAFETY: all-zero is a valid sockaddr_storage.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    let mut control: Control = [0; 8];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid msghdr; the pointers set below live through the call.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: every pointer in `message` is valid with the length beside it.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let source = read_address(&name).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut local = None;
    // SAFETY: the CMSG macros walk the control buffer within `msg_controllen`, which the kernel set.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(head) = header.as_ref() {
            if head.cmsg_level == libc::IPPROTO_IP && head.cmsg_type == libc::IP_PKTINFO {
                let info: libc::in_pktinfo = libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned();
                let asked = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                let ours = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                // They differ exactly when the destination was no address of ours alone.
                local = (asked == ours).then_some(IpAddr::V4(asked));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((length, source, local))
}

fn read_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let start: *const libc::sockaddr_storage = name;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: storage is larger than and aligned for every socket address; the family says which it holds.
            let v4: libc::sockaddr_in = unsafe { start.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6: libc::sockaddr_in6 = unsafe { start.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Sends from one of our IPv4 addresses through a socket bound to all.
pub fn send_from(fd: BorrowedFd<'_>, bytes: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
    let to = socket2::SockAddr::from(to);
    let mut control: Control = [0; 8];
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid msghdr; the pointers set below live through the call.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    let info_size = size_of::<libc::in_pktinfo>() as u32;
    // SAFETY: `control` is aligned and larger than CMSG_SPACE(in_pktinfo) (28 bytes of 64), so the first header and its
    // data lie inside it; sendmsg only reads what `message` points to.
    let rc = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(info_size) as usize;
        if let Some(head) = libc::CMSG_FIRSTHDR(&raw const message).as_mut() {
            head.cmsg_level = libc::IPPROTO_IP;
            head.cmsg_type = libc::IP_PKTINFO;
            head.cmsg_len = libc::CMSG_LEN(info_size) as usize;
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            libc::CMSG_DATA(head).cast::<libc::in_pktinfo>().write_unaligned(info);
        }
        libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
