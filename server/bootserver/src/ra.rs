//! Router advertisements on provisioning networks: not to route, but to be heard.
//!
//! iPXE configures IPv6 beside IPv4 and waits over ten seconds for a router before it goes on. An advertisement with
//! a router lifetime of zero and neither prefix nor flags tells it, and every host, that there is nothing to wait for,
//! and changes nothing else.
//!
//! Where a network speaks IPv6 the advertisement says two things more (B4.4): addresses are had by DHCPv6, and the
//! prefix is on the link, which DHCPv6 itself cannot say. Nobody makes an address of the prefix by itself: it would be
//! one that no lease tells of.

use crate::sockopt::set;
use muster_netboot::v6::Prefix;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const EVERY: Duration = Duration::from_secs(10);
/// An address is looked for over a second or two after its link came up; a machine asks soon after.
const RETRY: Duration = Duration::from_millis(250);
/// So long a silence is told.
const NEWS: Duration = Duration::from_secs(10);
/// A rack that starts at once solicits at once; one multicast answers all.
const SPACING: Duration = Duration::from_millis(50);

/// Addresses and all else by DHCPv6.
const MANAGED: u8 = 0x80 | 0x40;
const ON_LINK: u8 = 0x80;
/// How long hosts hold the prefix to be on the link, unless they hear of it again.
const PREFIX_SECONDS: u32 = 24 * 60 * 60;

/// Type, code, checksum (the kernel's), hop limit unspecified, flags, lifetime 0, timers unspecified; the prefix.
fn message(prefix: Option<Prefix>) -> Vec<u8> {
    let flags = if prefix.is_some() { MANAGED } else { 0 };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some(prefix) = prefix {
        let lifetime = PREFIX_SECONDS.to_be_bytes();
        message.extend([3, 4, prefix.length(), ON_LINK]);
        message.extend([lifetime, lifetime, [0; 4]].concat());
        message.extend(prefix.address().octets());
    }
    message
}

/// Advertises on one interface until cancelled. An interface that cannot speak, because its link came up a moment ago and
/// its address is still being looked for, because it has no IPv6 or because it is gone, is tried again and again: nothing
/// else waits for it.
///
/// Cancel-safety: may be dropped at any point.
pub async fn advertise(interface: &str, prefix: Option<Prefix>, cancel: CancellationToken) {
    let message = message(prefix);
    let mut silence = Silence::default();
    loop {
        let broken = tokio::select! {
            () = cancel.cancelled() => return,
            broken = speak(interface, &message, &mut silence) => broken,
        };
        silence.lasts(interface, &broken);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Advertises, and answers solicitations, until it fails.
async fn speak(interface: &str, message: &[u8], silence: &mut Silence) -> io::Error {
    let (socket, index) = match open(interface) {
        Ok(opened) => opened,
        Err(error) => return error,
    };
    // SAFETY: the socket owns its descriptor, tells the same one for ever and is closed only with the `AsyncFd`.
    let socket = match unsafe { AsyncFd::register(socket) } {
        Ok(socket) => socket,
        Err(error) => return error.into(),
    };
    let mut due = Instant::now();
    let mut sent = due;
    loop {
        let solicited = tokio::select! {
            () = tokio::time::sleep_until(due) => false,
            heard = heard(&socket) => match heard {
                Ok(()) => true,
                Err(error) => return error,
            },
        };
        if solicited {
            due = due.min(sent + SPACING);
            continue;
        }
        if let Err(error) = send(socket.get_ref(), index, message) {
            return error;
        }
        silence.ends(interface);
        sent = Instant::now();
        due = sent + EVERY;
    }
}

/// Waits for a solicitation: the kernel's filter lets nothing else through.
async fn heard(socket: &AsyncFd<Socket>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(received) = ready.try_io(|socket| socket.get_ref().recv(&mut buffer)) {
            return received.map(|_| ());
        }
    }
}

/// For how long nothing has left, and whether somebody was told. A link that has just come up is no news.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    told: bool,
}

impl Silence {
    fn lasts(&mut self, interface: &str, error: &io::Error) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.told && since.elapsed() >= NEWS {
            self.told = true;
            tracing::warn!(interface, %error, "no router advertisement leaves, so iPXE waits for one; is IPv6 on?");
        }
    }

    fn ends(&mut self, interface: &str) {
        self.since = None;
        if std::mem::take(&mut self.told) {
            tracing::info!(interface, "router advertisements leave again");
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
    set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &filter)
}

fn send(socket: &Socket, index: u32, message: &[u8]) -> io::Result<()> {
    socket.send_to(message, &SockAddr::from(SocketAddrV6::new(ALL_NODES, 0, 0, index))).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_4_with_ipv6_an_advertisement_asks_for_dhcpv6_and_puts_the_prefix_on_the_link() {
        let bytes = message(Some("fd00:77::/64".parse().unwrap()));
        assert_eq!((bytes.len(), bytes[5], bytes[6..8].to_vec()), (48, 0xc0, vec![0, 0]), "managed; no router");
        assert_eq!(bytes[16..20], [3, 4, 64, 0x80], "on the link, and nobody makes an address of it");
        assert_eq!(bytes[32..40], [0xfd, 0, 0, 0x77, 0, 0, 0, 0]);
    }

    #[test]
    fn b4_4_without_ipv6_an_advertisement_says_nothing_but_that_it_is_there() {
        assert_eq!(message(None), [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
