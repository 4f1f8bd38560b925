//! Router advertisements on provisioning networks: not to route, but to be heard.
//!
//! iPXE configures IPv6 beside IPv4 and waits over ten seconds for a router before it goes on. An advertisement with
//! a router lifetime of zero and neither prefix nor flags tells it, and every host, that there is nothing to wait for,
//! and changes nothing else.

use crate::Error;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const EVERY: Duration = Duration::from_secs(10);
/// A rack that starts at once solicits at once; one multicast answers all.
const SPACING: Duration = Duration::from_millis(50);

/// Type, code, checksum (the kernel's), hop limit unspecified, no flags, lifetime 0, timers unspecified.
const MESSAGE: [u8; 16] = [ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Advertises on one interface until cancelled.
///
/// Cancel-safety: may be dropped at any point.
pub async fn advertise(interface: &str, cancel: CancellationToken) -> Result<(), Error> {
    let fail = |source| Error::Advertise { interface: interface.to_owned(), source };
    let (socket, index) = open(interface).map_err(fail)?;
    // SAFETY: the socket owns its descriptor, tells the same one for ever and is closed only with the `AsyncFd`.
    let socket = unsafe { AsyncFd::register(socket) }.map_err(|error| fail(error.into()))?;
    let mut due = Instant::now();
    let mut sent = None;
    let mut mute = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep_until(due) => {
                // Without an address of its own (IPv6 off, or the link not up yet) the interface cannot speak.
                let said = send(socket.get_ref(), index);
                if let Err(error) = &said && !mute {
                    tracing::warn!(interface, %error, "no router advertisement left; iPXE will wait for one");
                }
                mute = said.is_err();
                let now = Instant::now();
                sent = Some(now);
                due = now + if mute { Duration::from_secs(1) } else { EVERY };
            }
            ready = socket.readable() => {
                let mut ready = ready.map_err(fail)?;
                let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
                // The kernel's filter lets only solicitations through.
                match ready.try_io(|socket| socket.get_ref().recv(&mut buffer)) {
                    Ok(Ok(_)) => due = due.min(sent.map_or_else(Instant::now, |sent| sent + SPACING)),
                    Ok(Err(error)) => {
                        tracing::debug!(interface, %error, "a solicitation could not be read");
                        tokio::time::sleep(SPACING).await;
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

fn open(interface: &str) -> io::Result<(Socket, u32)> {
    let index = crate::dhcp::interface_index(interface)?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    // RFC 4861: what did not come from the link itself has another hop limit and is ignored.
    socket.set_multicast_hops_v6(255)?;
    socket.set_unicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    only_solicitations(&socket)?;
    Ok((socket, index))
}

fn only_solicitations(socket: &Socket) -> io::Result<()> {
    const ICMPV6_FILTER: libc::c_int = 1;
    // A set bit blocks its type.
    let mut filter = [u32::MAX; 8];
    if let Some(word) = filter.get_mut(usize::from(SOLICITATION / 32)) {
        *word &= !(1 << (SOLICITATION % 32));
    }
    // SAFETY: the filter is 32 bytes that live through the call.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMPV6_FILTER,
            filter.as_ptr().cast(),
            size_of_val(&filter) as u32,
        )
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &Socket, index: u32) -> io::Result<()> {
    socket.send_to(&MESSAGE, &SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, index))).map(|_| ())
}
