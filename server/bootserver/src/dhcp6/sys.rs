//! The calls to the kernel that no crate here wraps: to whom a datagram was sent, and which card sent it. All `unsafe`
//! of the DHCPv6 server is here and in `sockopt`.
//!
//! UDP tells no link-layer address, and the client's own address need not be made of it. So a second socket hears the
//! frames of the same datagrams. The kernel gives a frame to it before it gives the datagram to the first one: whoever
//! has read a datagram finds its frame.

use crate::sockopt::set;
use muster_names::Mac;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// All servers and relays of a link; all servers of a site.
const GROUPS: [Ipv6Addr; 2] = [Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2), Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 3)];

/// A datagram's length, where it came from and whether it was sent to one of our addresses alone.
pub struct Origin {
    pub length: usize,
    pub source: SocketAddrV6,
    pub unicast: bool,
    pub truncated: bool,
}

/// Room for one `in6_pktinfo`, aligned as a control message must be.
type Control = [u64; 8];

/// The socket of one interface, in both groups.
pub fn listen(interface: &str, index: u32, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1_i32)?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into())?;
    for group in GROUPS {
        socket.join_multicast_v6(&group, index)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Hears the frames that carry datagrams to the port, and no others: the kernel sorts them out.
pub fn tap(index: u32, port: u16) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor returned is ours alone. Protocol 0 hears nothing before the filter is set.
    let fd = unsafe {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let fd = libc::socket(libc::AF_PACKET, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // Next header UDP, destination port ours; then the IPv6 header alone.
    let mut program = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 6),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, 17),
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 42),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::from(port)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 40),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
    // SAFETY: all zeroes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IPV6 as u16).to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the address lives through the call and its true length is given.
    let rc = unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    };
    if rc == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// Takes one datagram.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Origin> {
    // SAFETY: all zeroes are valid for both structures; the pointers set below live through the call.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    let mut control: Control = [0; 8];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: every pointer in `message` is valid with the length beside it.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let source =
        SocketAddrV6::new(Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port), 0, name.sin6_scope_id);
    let mut unicast = false;
    // SAFETY: the CMSG macros walk the control buffer within `msg_controllen`, which the kernel set.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(head) = header.as_ref() {
            if head.cmsg_level == libc::IPPROTO_IPV6 && head.cmsg_type == libc::IPV6_PKTINFO {
                let info: libc::in6_pktinfo = libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned();
                unicast = !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_multicast();
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Origin { length, source, unicast, truncated: message.msg_flags & libc::MSG_TRUNC != 0 })
}

/// Takes one frame: who it says sent the datagram, and the card it came from. None when it was not for us.
pub fn hear(fd: BorrowedFd<'_>) -> io::Result<Option<(Ipv6Addr, Mac)>> {
    let mut header = [0_u8; 40];
    // SAFETY: all zeroes are a valid sockaddr_ll.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: buffer and address live through the call and their true lengths are given.
    let got = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            header.as_mut_ptr().cast(),
            header.len(),
            libc::MSG_DONTWAIT,
            (&raw mut from).cast(),
            &raw mut size,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    let source = header.get(8..24).and_then(|source| <[u8; 16]>::try_from(source).ok());
    let foreign = matches!(from.sll_pkttype, libc::PACKET_OTHERHOST | libc::PACKET_OUTGOING);
    let ethernet = from.sll_hatype == libc::ARPHRD_ETHER && from.sll_halen == 6;
    let [a, b, c, d, e, f, ..] = from.sll_addr;
    let whole = usize::try_from(got).is_ok_and(|got| got == header.len());
    Ok(source.filter(|_| whole && ethernet && !foreign).map(|source| (source.into(), Mac([a, b, c, d, e, f]))))
}
