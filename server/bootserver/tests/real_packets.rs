//! The DHCP server on a real wire: two network namespaces of the test's own, a veth between them, and a client that
//! builds and reads its frames by itself, so that no fault of our codec can hide behind itself.
//!
//! Needs root; without it the test says so and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bootserver::{Commit, CommitError, View, Watch, dhcp, ra};
use muster_names::Mac;
use muster_netboot::{Boot, Host, Lease, LeaseChange, Network, Networks, Outcome, Range, Sighting};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SERVER: [u8; 4] = [10, 77, 0, 1];
const RELAY: [u8; 4] = [10, 77, 0, 254];
const EVERYBODY: [u8; 4] = [255; 4];
const NOBODY: [u8; 4] = [0; 4];
const CLIENT: [u8; 6] = [0x52, 0x54, 0, 0xc1, 0, 1];
const OTHER: [u8; 6] = [0x52, 0x54, 0, 0xc1, 0, 2];

fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Two namespaces and a cable; gone when dropped.
struct Bed {
    server: String,
    client: String,
}

impl Bed {
    fn lay() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let tag = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
        let bed = Self { server: format!("muster-s-{tag}"), client: format!("muster-c-{tag}") };
        let (s, c) = (&bed.server, &bed.client);
        run(&format!("ip netns add {s}"));
        run(&format!("ip netns add {c}"));
        run(&format!("ip link add boot0 netns {s} type veth peer name nic0 netns {c}"));
        run(&format!("ip -n {s} addr add 10.77.0.1/24 dev boot0"));
        run(&format!("ip -n {s} link set boot0 up"));
        run(&format!("ip -n {s} link set lo up"));
        run(&format!("ip -n {c} link set nic0 up"));
        Some(bed)
    }

    fn address(&self, address: [u8; 4]) {
        run(&format!("ip -n {} addr add {}/24 dev nic0", self.client, Ipv4Addr::from(address)));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in [&self.server, &self.client] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Runs on a thread of its own inside a namespace; threads started there stay there.
fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    let file = std::fs::File::open(format!("/var/run/netns/{namespace}")).unwrap();
    std::thread::spawn(move || {
        // SAFETY: a valid descriptor of a namespace; only this thread moves.
        assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        work()
    })
}

/// A lease store that outlives servers and can fail in both ways.
#[derive(Default)]
struct Rows {
    rows: Mutex<BTreeMap<Ipv4Addr, Lease>>,
    mood: AtomicU8,
}

const SOUND: u8 = 0;
/// Says an error and wrote nothing.
const DEAD: u8 = 1;
/// Says an error after it wrote all.
const MUTE: u8 = 2;

impl Commit for Rows {
    fn commit(&self, batch: Vec<LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>> {
        Box::pin(async move {
            let mood = self.mood.load(SeqCst);
            let failed = || Err(CommitError("the store is told to fail".into()));
            if mood == DEAD {
                return failed();
            }
            let mut rows = self.rows.lock().unwrap();
            let outcomes = batch.into_iter().map(|change| match rows.get(&change.lease.address) {
                Some(row) if !change.may_replace(row) => Outcome::Taken,
                _ => {
                    rows.insert(change.lease.address, change.lease);
                    Outcome::Done
                }
            });
            let outcomes = outcomes.collect();
            if mood == MUTE { failed() } else { Ok(outcomes) }
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Lease>, CommitError>> {
        Box::pin(async { Ok(self.rows.lock().unwrap().values().cloned().collect()) })
    }
}

struct Everybody;

impl View for Everybody {
    fn host(&self, _: Mac) -> Host {
        Host { ours: true, boot: Boot::Agent, ..Host::default() }
    }
}

#[derive(Default)]
struct Diary(Mutex<Vec<Sighting>>);

impl Watch for Diary {
    fn saw(&self, sighting: Sighting) {
        self.0.lock().unwrap().push(sighting);
    }
}

struct Server {
    cancel: CancellationToken,
    thread: std::thread::JoinHandle<Result<(), muster_bootserver::Error>>,
    diary: Arc<Diary>,
    counters: Arc<dhcp::Counters>,
}

impl Server {
    fn start(bed: &Bed, rows: &Arc<Rows>) -> Self {
        let mut network = Network::new("bed", "10.77.0.0/24".parse().unwrap(), SERVER.into(), "http://10.77.0.1:8080");
        network.interface = Some("boot0".to_owned());
        network.ranges = vec![Range { first: Ipv4Addr::new(10, 77, 0, 10), last: Ipv4Addr::new(10, 77, 0, 20) }];
        network.authoritative = true;
        network.loaders.0.insert(7, "ipxe.efi".to_owned());
        let networks = Arc::new(ArcSwap::from_pointee(Networks::new(vec![network]).unwrap()));
        let (cancel, diary, counters) =
            (CancellationToken::new(), Arc::new(Diary::default()), Arc::new(dhcp::Counters::default()));
        let config = dhcp::Config { networks, interfaces: vec!["boot0".to_owned()], counters: counters.clone() };
        let (stop, rows, watch) = (cancel.clone(), rows.clone(), diary.clone());
        let thread = inside(&bed.server, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let advertising = runtime.spawn(ra_task(stop.clone()));
            let served = runtime.block_on(dhcp::serve(config, Arc::new(Everybody), rows, watch, stop));
            runtime.block_on(advertising).unwrap();
            served
        });
        // The kernel queues what comes before the sockets are read, not what comes before they are open.
        std::thread::sleep(Duration::from_millis(300));
        Self { cancel, thread, diary, counters }
    }

    fn stop(self) {
        self.cancel.cancel();
        self.thread.join().unwrap().unwrap();
    }
}

async fn ra_task(cancel: CancellationToken) {
    ra::advertise("boot0", cancel).await;
}

/// A frame as it came.
#[derive(Debug)]
struct Frame {
    to_mac: [u8; 6],
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    dhcp: Vec<u8>,
}

impl Frame {
    fn yiaddr(&self) -> [u8; 4] {
        self.dhcp[16..20].try_into().unwrap()
    }

    fn option(&self, code: u8) -> Option<Vec<u8>> {
        assert_eq!(self.dhcp[236..240], [0x63, 0x82, 0x53, 0x63]);
        let mut at = 240;
        while self.dhcp[at] != 255 {
            let length = usize::from(self.dhcp[at + 1]);
            if self.dhcp[at] == code {
                return Some(self.dhcp[at + 2..at + 2 + length].to_vec());
            }
            at += 2 + length;
        }
        None
    }

    fn kind(&self) -> u8 {
        self.option(53).unwrap()[0]
    }
}

/// A network card that a test speaks through, frame by frame.
struct Card(OwnedFd);

impl Card {
    fn plug(bed: &Bed) -> Self {
        inside(&bed.client, || {
            // SAFETY: plain socket calls with a zeroed address of the right size; the descriptor is owned at once.
            unsafe {
                let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from((libc::ETH_P_ALL as u16).to_be()));
                assert!(fd >= 0);
                let fd = OwnedFd::from_raw_fd(fd);
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
                address.sll_ifindex = libc::if_nametoindex(c"nic0".as_ptr()) as i32;
                let size = size_of::<libc::sockaddr_ll>() as u32;
                assert_eq!(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size), 0);
                let wait = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
                let size = size_of::<libc::timeval>() as u32;
                libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const wait).cast(), size);
                Self(fd)
            }
        })
        .join()
        .unwrap()
    }

    fn send(&self, mac: [u8; 6], from: ([u8; 4], u16), to: ([u8; 4], u16), dhcp: &[u8]) {
        let mut frame = [[0xff; 6], mac].concat();
        frame.extend([8, 0]);
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        let length = u16::try_from(28 + dhcp.len()).unwrap();
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        ip.extend([from.0, to.0].concat());
        let sum = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
        let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend([from.1.to_be_bytes(), to.1.to_be_bytes(), (length - 20).to_be_bytes(), [0, 0]].concat());
        frame.extend(dhcp);
        // SAFETY: the buffer lives through the call and its true length is given.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(usize::try_from(sent).unwrap(), frame.len());
    }

    /// Raw frames until `wanted` takes one.
    fn listen<T>(&self, patience: Duration, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            let mut room = [0u8; 2000];
            // SAFETY: the buffer lives through the call and its true length is given.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
            if let Ok(got) = usize::try_from(got)
                && let Some(found) = wanted(&room[..got])
            {
                return Some(found);
            }
        }
        None
    }

    /// The next DHCP reply with this transaction id.
    fn reply(&self, xid: u32, patience: Duration) -> Option<Frame> {
        self.listen(patience, |raw| {
            let is_udp = raw.len() >= 282 && raw[12..14] == [8, 0] && raw[14] == 0x45 && raw[23] == 17;
            if !is_udp || raw[42] != 2 || raw[46..50] != xid.to_be_bytes() {
                return None;
            }
            assert_eq!(raw[20] & 0x40, 0, "b1_28: DF is clear");
            let port = |at: usize| u16::from_be_bytes([raw[at], raw[at + 1]]);
            let end = 34 + usize::from(port(38));
            Some(Frame {
                to_mac: raw[..6].try_into().unwrap(),
                from: (raw[26..30].try_into().unwrap(), port(34)),
                to: (raw[30..34].try_into().unwrap(), port(36)),
                dhcp: raw[42..end].to_vec(),
            })
        })
    }

    fn ask(&self, ask: &Ask) -> Option<Frame> {
        self.send(ask.mac, ask.from, ask.to, &ask.bytes());
        self.reply(ask.xid, Duration::from_millis(1200))
    }
}

struct Ask {
    mac: [u8; 6],
    xid: u32,
    flags: u16,
    ciaddr: [u8; 4],
    giaddr: [u8; 4],
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    options: Vec<u8>,
}

impl Ask {
    fn new(kind: u8, mac: [u8; 6], xid: u32) -> Self {
        let options = vec![53, 1, kind];
        Self { mac, xid, flags: 0, ciaddr: NOBODY, giaddr: NOBODY, from: (NOBODY, 68), to: (EVERYBODY, 67), options }
    }

    fn discover(mac: [u8; 6], xid: u32) -> Self {
        Self::new(1, mac, xid)
    }

    fn select(mac: [u8; 6], xid: u32, address: [u8; 4]) -> Self {
        Self::new(3, mac, xid).with(50, &address).with(54, &SERVER)
    }

    fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; 240];
        out[..4].copy_from_slice(&[1, 1, 6, 0]);
        out[4..8].copy_from_slice(&self.xid.to_be_bytes());
        out[10..12].copy_from_slice(&self.flags.to_be_bytes());
        out[12..16].copy_from_slice(&self.ciaddr);
        out[24..28].copy_from_slice(&self.giaddr);
        out[28..34].copy_from_slice(&self.mac);
        out[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        out.extend(&self.options);
        out.push(255);
        out
    }
}

#[test]
fn b1_3_and_b1_4_a_machine_boots_through_broadcast_and_through_unicast_to_an_address_it_lacks() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::plug(&bed);
    let pxe = |ask: Ask| ask.with(60, b"PXEClient:Arch:00007:UNDI:003016").with(93, &[0, 7]).with(57, &[5, 0xc0]);

    let offer = card.ask(&Ask { flags: 0x8000, ..pxe(Ask::discover(CLIENT, 1)) }).expect("an offer");
    assert_eq!((offer.kind(), offer.to_mac, offer.to), (2, [0xff; 6], (EVERYBODY, 68)));
    assert_eq!(offer.from, (SERVER, 67), "b1_6");
    assert_eq!(offer.option(67).unwrap(), b"ipxe.efi\0");
    let ack = card.ask(&Ask { flags: 0x8000, ..pxe(Ask::select(CLIENT, 1, offer.yiaddr())) }).expect("an ACK");
    assert_eq!((ack.kind(), ack.yiaddr(), ack.to), (5, offer.yiaddr(), (EVERYBODY, 68)));
    assert!(rows.rows.lock().unwrap().contains_key(&Ipv4Addr::from(ack.yiaddr())), "a1_1");

    let ipxe = |ask: Ask| pxe(ask).with(77, b"iPXE").with(175, &[0x13, 1, 1]).with(61, &[&[1], &CLIENT[..]].concat());
    let offer = card.ask(&ipxe(Ask::discover(CLIENT, 2))).expect("an offer");
    assert_eq!(offer.yiaddr(), ack.yiaddr(), "b1_20");
    assert_eq!((offer.to_mac, offer.to, offer.from), (CLIENT, (offer.yiaddr(), 68), (SERVER, 67)));
    let ack = card.ask(&ipxe(Ask::select(CLIENT, 2, offer.yiaddr()))).expect("an ACK");
    assert_eq!((ack.kind(), ack.to_mac), (5, CLIENT));
    assert_eq!(ack.option(67).unwrap(), b"http://10.77.0.1:8080/b/52-54-00-c1-00-01/boot.ipxe\0");

    bed.address(ack.yiaddr());
    let own = (ack.yiaddr(), 68);
    let renewal = Ask { ciaddr: own.0, from: own, to: (SERVER, 67), ..Ask::new(3, CLIENT, 3) };
    let renewed = card.ask(&renewal).expect("a renewal");
    assert_eq!((renewed.kind(), renewed.to), (5, own));
    let boot = Ask { ciaddr: own.0, from: (own.0, 4011), to: (SERVER, 4011), ..pxe(Ask::new(3, CLIENT, 4)) };
    let boot = card.ask(&boot).expect("the boot server's answer");
    assert_eq!((boot.from, boot.to, boot.yiaddr()), ((SERVER, 4011), (own.0, 4011), NOBODY), "b2_8");
    assert_eq!(boot.option(67).unwrap(), b"ipxe.efi\0");

    assert_eq!((server.counters.get("sent", "offer"), server.counters.get("sent", "ack")), (Some(2), Some(4)));
    // What was seen is told after the reply left, so it may come a moment later.
    let told = || server.diary.0.lock().unwrap().iter().map(|it| it.said.to_string()).collect::<Vec<_>>();
    let end = Instant::now() + Duration::from_secs(2);
    while told().len() < 6 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(told().len(), 6, "{:?}", told());
    server.stop();
}

#[test]
fn b1_1_and_b1_17_a_relay_gets_its_option_back_and_malformed_packets_get_nothing() {
    let Some(bed) = Bed::lay() else { return };
    bed.address(RELAY);
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let card = Card::plug(&bed);
    let by_relay =
        |ask: Ask| Ask { giaddr: RELAY, from: (RELAY, 67), to: (SERVER, 67), ..ask }.with(82, b"\x01\x04eth7");
    let offer = card.ask(&by_relay(Ask::discover(CLIENT, 1))).expect("an offer");
    assert_eq!((offer.from, offer.to), ((SERVER, 67), (RELAY, 67)));
    assert_eq!(offer.option(82).unwrap(), b"\x01\x04eth7");
    let ack = card.ask(&by_relay(Ask::select(CLIENT, 1, offer.yiaddr()))).expect("an ACK");
    assert_eq!((ack.kind(), ack.to), (5, (RELAY, 67)));
    let nak = card.ask(&by_relay(Ask::select(OTHER, 2, offer.yiaddr()))).expect("a NAK");
    assert_eq!((nak.kind(), nak.to, nak.dhcp[10]), (6, (RELAY, 67), 0x80));
    assert_eq!(server.diary.0.lock().unwrap()[0].circuit_text().as_deref(), Some("eth7"));

    let mut bad = Ask::discover(OTHER, 3).bytes();
    bad[2] = 200;
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad);
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad[..100]);
    bad[2] = 6;
    bad[236] = 0;
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad);
    assert!(card.reply(3, Duration::from_millis(400)).is_none());
    for label in ["hlen", "short", "no-cookie"] {
        assert_eq!(server.counters.get("dropped", label), Some(1), "{label}");
    }
    server.stop();
}

#[test]
fn a1_1_no_ack_leaves_before_the_commit_and_no_kill_gives_one_address_to_two() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &rows);
    let first = card.ask(&Ask::discover(CLIENT, 1)).expect("an offer").yiaddr();
    rows.mood.store(DEAD, SeqCst);
    assert!(card.ask(&Ask::select(CLIENT, 1, first)).is_none(), "not written, so not acknowledged");
    assert!(card.ask(&Ask::discover(OTHER, 2)).is_none(), "a1_3: nothing new while the store is away");
    server.stop();
    assert!(rows.rows.lock().unwrap().is_empty());

    rows.mood.store(MUTE, SeqCst);
    let server = Server::start(&bed, &rows);
    assert!(card.ask(&Ask::select(CLIENT, 3, first)).is_none(), "written, but the server does not know");
    assert_eq!(rows.rows.lock().unwrap().len(), 1);
    server.stop();

    rows.mood.store(SOUND, SeqCst);
    let server = Server::start(&bed, &rows);
    assert_eq!(card.ask(&Ask::select(OTHER, 4, first)).expect("a NAK").kind(), 6);
    let second = card.ask(&Ask::discover(OTHER, 5)).expect("an offer").yiaddr();
    assert_ne!(first, second);
    assert_eq!(card.ask(&Ask::select(CLIENT, 6, first)).expect("an ACK").kind(), 5);
    server.stop();
}

#[test]
fn the_store_comes_back_and_the_waiting_machine_is_served() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &rows);
    let address = card.ask(&Ask::discover(CLIENT, 1)).expect("an offer").yiaddr();
    rows.mood.store(DEAD, SeqCst);
    card.send(CLIENT, (NOBODY, 68), (EVERYBODY, 67), &Ask::select(CLIENT, 1, address).bytes());
    std::thread::sleep(Duration::from_millis(300));
    rows.mood.store(SOUND, SeqCst);
    let ack = card.reply(1, Duration::from_millis(1500)).expect("the ACK after the store came back");
    assert_eq!((ack.kind(), ack.yiaddr()), (5, address));
    server.stop();
}

/// An advertisement: hop limit of the packet, flags, lifetime, length.
fn advertisement(raw: &[u8]) -> Option<(u8, u8, Vec<u8>, usize)> {
    let is_one = raw.len() >= 70 && raw[12..14] == [0x86, 0xdd] && raw[20] == 58 && raw[54] == 134;
    is_one.then(|| (raw[21], raw[59], raw[60..62].to_vec(), raw.len()))
}

#[test]
fn an_interface_that_cannot_speak_at_the_start_advertises_as_soon_as_it_can() {
    let Some(bed) = Bed::lay() else { return };
    let card = Card::plug(&bed);
    let inside = |words: &str| run(&format!("ip netns exec {} {words}", bed.server));
    // Once without a link-local address, once without a socket: below 1280 bytes there is no IPv6 on a link.
    for (off, on) in [
        ("sysctl -qw net.ipv6.conf.boot0.disable_ipv6=1", "sysctl -qw net.ipv6.conf.boot0.disable_ipv6=0"),
        ("ip link set boot0 mtu 1000", "ip link set boot0 mtu 1500"),
    ] {
        inside(off);
        let server = Server::start(&bed, &Arc::new(Rows::default()));
        assert_eq!(card.listen(Duration::from_secs(1), advertisement), None, "{off}");
        inside(on);
        assert!(card.listen(Duration::from_secs(20), advertisement).is_some(), "{on}");
        server.stop();
    }
}

#[test]
fn a_router_solicitation_is_answered_at_once_with_lifetime_zero() {
    let Some(bed) = Bed::lay() else { return };
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let said = card.listen(Duration::from_secs(6), advertisement).expect("an advertisement by itself");
    assert_eq!(said, (255, 0, vec![0, 0], 70), "hop limit 255, no flags, no lifetime, no prefix");
    let solicit = inside(&bed.client, || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, Some(socket2::Protocol::ICMPV6)).unwrap();
        socket.set_multicast_hops_v6(255).unwrap();
        // SAFETY: a NUL-terminated name that lives through the call.
        let index = unsafe { libc::if_nametoindex(c"nic0".as_ptr()) };
        let routers = std::net::SocketAddrV6::new("ff02::2".parse().unwrap(), 0, 0, index);
        // The card's own address is not usable while the kernel looks for a double of it.
        let end = Instant::now() + Duration::from_secs(5);
        while socket.send_to(&[133, 0, 0, 0, 0, 0, 0, 0], &routers.into()).is_err() {
            assert!(Instant::now() < end, "no solicitation left");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    solicit.join().unwrap();
    assert!(card.listen(Duration::from_millis(800), advertisement).is_some());
    server.stop();
}
