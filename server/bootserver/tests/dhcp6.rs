//! The DHCPv6 server on a real wire: two network namespaces of the test's own, a veth between them, Debian's own clients
//! and one that builds and reads its bytes by itself, so that no fault of our codec can hide behind itself.
//!
//! Needs root; without it the test says so and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bootserver::{Commit6, CommitError, View, Watch, dhcp, dhcp6, ra};
use muster_names::Mac;
use muster_netboot::{Boot, Conflict, FirstFile, Host, LeaseState, Network, Networks, Outcome, Sighting, v6};
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const NIC: Mac = Mac([0x52, 0x54, 0, 0xc1, 0, 1]);
/// Not made of the card's address.
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x4711, 0, 1);
const SERVER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1);
const EVERY_SERVER: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const FIRST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x1000);

fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Two namespaces, a cable and a folder; gone when dropped.
struct Bed {
    server: String,
    client: String,
    folder: PathBuf,
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
        let folder = std::env::temp_dir().join(format!("muster-dhcp6-{tag}"));
        std::fs::create_dir_all(&folder).unwrap();
        let bed = Self { server: format!("muster-s6-{tag}"), client: format!("muster-c6-{tag}"), folder };
        let (s, c) = (&bed.server, &bed.client);
        run(&format!("ip netns add {s}"));
        run(&format!("ip netns add {c}"));
        run(&format!("ip link add boot0 netns {s} type veth peer name nic0 netns {c}"));
        run(&format!("ip -n {c} link set nic0 addr {NIC} addrgenmode none"));
        for (name, link) in [(s, "boot0"), (c, "nic0")] {
            run(&format!("ip netns exec {name} sysctl -qw net.ipv6.conf.{link}.accept_dad=0"));
            run(&format!("ip -n {name} link set {link} up"));
            run(&format!("ip -n {name} link set lo up"));
        }
        run(&format!("ip -n {s} addr add {SERVER}/64 dev boot0 nodad"));
        run(&format!("ip -n {c} addr add {LOCAL}/64 dev nic0 nodad"));
        Some(bed)
    }

    /// Runs a program at the client, for at most a minute.
    fn client(&self, words: &[&str]) -> Output {
        let all = [&["netns", "exec", &self.client, "timeout", "60"], words].concat();
        Command::new("ip").args(all).output().unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in [&self.server, &self.client] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
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

/// A lease store that outlives servers and can be away.
#[derive(Default)]
struct Rows {
    rows: Mutex<BTreeMap<Ipv6Addr, v6::Lease>>,
    away: AtomicBool,
}

impl Rows {
    fn all(&self) -> Vec<v6::Lease> {
        self.rows.lock().unwrap().values().cloned().collect()
    }
}

impl Commit6 for Rows {
    fn commit6(&self, batch: Vec<v6::LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>> {
        Box::pin(async move {
            if self.away.load(SeqCst) {
                return Err(CommitError("the store is told to fail".into()));
            }
            let mut rows = self.rows.lock().unwrap();
            let outcomes = batch.into_iter().map(|change| match rows.get(&change.lease.address) {
                Some(row) if !change.may_replace(row) => Outcome::Taken,
                _ => {
                    rows.insert(change.lease.address, change.lease);
                    Outcome::Done
                }
            });
            Ok(outcomes.collect())
        })
    }

    fn load6(&self) -> BoxFuture<'_, Result<Vec<v6::Lease>, CommitError>> {
        Box::pin(async { Ok(self.all()) })
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

    fn met(&self, conflict: Conflict) {
        panic!("nobody is in conflict here: {conflict:?}");
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
        let mut network =
            Network::new("bed", "10.77.0.0/24".parse().unwrap(), "10.77.0.1".parse().unwrap(), "http://10.77.0.1:8080");
        network.interface = Some("boot0".to_owned());
        network.authoritative = true;
        network.loaders.by_arch.insert(16, FirstFile::new("ipxe.efi"));
        let prefix = "fd00:77::/64".parse().unwrap();
        network.v6 = Some(v6::Served {
            prefix,
            range: (FIRST, "fd00:77::10ff".parse().unwrap()),
            server: SERVER,
            boot_http: "http://[fd00:77::1]:8080".to_owned(),
            boot_https: None,
            dns: vec![SERVER],
            rapid_commit: false,
        });
        let networks = Arc::new(ArcSwap::from_pointee(Networks::new(vec![network]).unwrap()));
        let (cancel, diary, counters) =
            (CancellationToken::new(), Arc::new(Diary::default()), Arc::new(dhcp6::counters()));
        let config = dhcp6::Config { networks, interfaces: vec!["boot0".to_owned()], counters: counters.clone() };
        let (stop, rows, watch) = (cancel.clone(), rows.clone(), diary.clone());
        let thread = inside(&bed.server, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let told = stop.clone();
            let advertising = runtime.spawn(async move { ra::advertise("boot0", Some(prefix), told).await });
            let served = runtime.block_on(dhcp6::serve(config, Arc::new(Everybody), rows, watch, stop));
            runtime.block_on(advertising).unwrap();
            served
        });
        // The kernel queues what comes before the sockets are read, not what comes before they are open.
        std::thread::sleep(Duration::from_millis(400));
        Self { cancel, thread, diary, counters }
    }

    fn stop(self) {
        self.cancel.cancel();
        self.thread.join().unwrap().unwrap();
    }

    /// The sighting whose answer begins so, as soon as it is there.
    fn saw(&self, begins: &str) -> Sighting {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let seen = self.diary.0.lock().unwrap().iter().find(|it| it.said.to_string().starts_with(begins)).cloned();
            if let Some(seen) = seen {
                return seen;
            }
            assert!(Instant::now() < end, "nothing that begins with {begins}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn count(&self, family: &str, label: &str) -> u64 {
        self.counters.get(family, label).unwrap()
    }
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn find(options: &[u8], code: u16) -> Option<Vec<u8>> {
    let mut rest = options;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if u16::from_be_bytes([rest[0], rest[1]]) == code {
            return Some(rest[4..4 + length].to_vec());
        }
        rest = &rest[4 + length..];
    }
    None
}

/// The client identifier of firmware: a UUID, which tells of no card.
fn uuid() -> Vec<u8> {
    [&[0, 4][..], &[7; 16]].concat()
}

fn message(kind: u8, xid: u8, server: Option<&[u8]>, address: Option<Ipv6Addr>) -> Vec<u8> {
    let mut ia = [&7_u32.to_be_bytes()[..], &[0; 8]].concat();
    if let Some(address) = address {
        ia.extend(option(5, &[&address.octets()[..], &[0; 8]].concat()));
    }
    let mut bytes = [&[kind, 0, 0, xid][..], &option(1, &uuid()), &option(3, &ia)].concat();
    bytes.extend(option(16, b"\0\0\x01\x57\0\x0aHTTPClient"));
    bytes.extend(option(61, &[0, 16]));
    bytes.extend(server.map(|id| option(2, id)).unwrap_or_default());
    bytes
}

/// The address an answer gives.
fn given(bytes: &[u8]) -> Ipv6Addr {
    let ia = find(&bytes[4..], 3).unwrap();
    let address = find(&ia[12..], 5).unwrap();
    Ipv6Addr::from(<[u8; 16]>::try_from(&address[..16]).unwrap())
}

/// A socket at the client.
struct Card(UdpSocket);

impl Card {
    fn open(bed: &Bed, address: Ipv6Addr, port: u16) -> Self {
        inside(&bed.client, move || {
            // SAFETY: a string that lives through the call.
            let index = unsafe { libc::if_nametoindex(c"nic0".as_ptr()) };
            let socket = UdpSocket::bind(SocketAddrV6::new(address, port, 0, index)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
            Self(socket)
        })
        .join()
        .unwrap()
    }

    fn send(&self, to: Ipv6Addr, bytes: &[u8]) {
        let scope = match self.0.local_addr().unwrap() {
            std::net::SocketAddr::V6(own) => own.scope_id(),
            std::net::SocketAddr::V4(_) => 0,
        };
        self.0.send_to(bytes, SocketAddrV6::new(to, 547, 0, scope)).unwrap();
    }

    fn hear(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2000];
        let (length, _) = self.0.recv_from(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        self.send(EVERY_SERVER, bytes);
        self.hear().expect("an answer")
    }
}

#[test]
fn b4_3_firmware_is_known_by_its_frame_and_told_what_to_boot() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::open(&bed, LOCAL, 546);
    let advertised = card.ask(&message(1, 1, None, None));
    assert_eq!((advertised[0], given(&advertised)), (2, FIRST));
    assert!(rows.all().is_empty());
    let id = find(&advertised[4..], 2).unwrap();
    let replied = card.ask(&message(3, 2, Some(&id), Some(FIRST)));
    assert_eq!((replied[0], given(&replied)), (7, FIRST));
    assert_eq!(find(&replied[4..], 59).unwrap(), b"http://[fd00:77::1]:8080/boot/ipxe.efi");
    assert_eq!(find(&replied[4..], 16).unwrap(), b"\0\0\x01\x57\0\x0aHTTPClient");
    assert_eq!(find(&replied[4..], 1).unwrap(), uuid());
    let lease = &rows.all()[0];
    assert_eq!((lease.mac, lease.state, lease.duid.clone()), (NIC, LeaseState::Bound, uuid()));
    assert_eq!((server.count("sent", "advertise"), server.count("sent", "reply")), (1, 1));
    // It is noted after the answer has left.
    let seen = server.saw("REQUEST: ");
    assert_eq!((seen.mac, seen.arch, seen.network.as_deref()), (NIC, Some(16), Some("bed")));
    assert!(seen.said.to_string().starts_with("REQUEST: REPLY fd00:77::1000; boot http://"), "{}", seen.said);
    server.stop();
}

#[test]
fn b4_1_no_reply_leaves_before_its_lease_is_written_and_a_restart_forgets_none() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::open(&bed, LOCAL, 546);
    let id = find(&card.ask(&message(1, 1, None, None))[4..], 2).unwrap();
    rows.away.store(true, SeqCst);
    card.send(EVERY_SERVER, &message(3, 2, Some(&id), Some(FIRST)));
    assert_eq!(card.hear(), None, "the lease is not written");
    assert!(rows.all().is_empty());
    rows.away.store(false, SeqCst);
    let end = Instant::now() + Duration::from_secs(20);
    let mut xid = 3;
    let replied = loop {
        card.send(EVERY_SERVER, &message(3, xid, Some(&id), Some(FIRST)));
        // What was asked before the store came back may be answered late; the first REPLY of any is the lease.
        if let Some(bytes) = card.hear() {
            break bytes;
        }
        assert!(Instant::now() < end, "no answer after the store came back");
        xid += 1;
    };
    assert_eq!((replied[0], given(&replied)), (7, FIRST));
    assert!(server.count("failed", "commit") > 0);
    server.stop();
    let server = Server::start(&bed, &rows);
    let renewed = card.ask(&message(5, 77, Some(&id), Some(FIRST)));
    assert_eq!((renewed[0], given(&renewed)), (7, FIRST));
    server.stop();
}

#[test]
fn b4_1_a_relay_is_answered_in_its_own_envelope_and_its_client_known_by_option_79() {
    let Some(bed) = Bed::lay() else { return };
    let relay: Ipv6Addr = "fd00:77::ff".parse().unwrap();
    run(&format!("ip -n {} addr add {relay}/64 dev nic0 nodad", bed.client));
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::open(&bed, relay, 547);
    let other = [0x52, 0x54, 0, 0xc1, 0, 9];
    let wrap = |inside: &[u8]| {
        let mut bytes = [&[12, 0][..], &relay.octets(), &LOCAL.octets()].concat();
        bytes.extend(option(18, b"swp7"));
        bytes.extend(option(79, &[&[0, 1][..], &other].concat()));
        bytes.extend(option(9, inside));
        bytes
    };
    card.send(SERVER, &wrap(&message(1, 1, None, None)));
    let bytes = card.hear().expect("an answer");
    assert_eq!(
        (bytes[0], bytes[2..18].to_vec(), bytes[18..34].to_vec()),
        (13, relay.octets().to_vec(), LOCAL.octets().to_vec())
    );
    assert_eq!(find(&bytes[34..], 18).unwrap(), b"swp7");
    let advertised = find(&bytes[34..], 9).unwrap();
    let id = find(&advertised[4..], 2).unwrap();
    card.send(SERVER, &wrap(&message(3, 2, Some(&id), Some(given(&advertised)))));
    let bytes = card.hear().expect("an answer");
    assert_eq!(given(&find(&bytes[34..], 9).unwrap()), FIRST);
    assert_eq!(rows.all()[0].mac, Mac(other));
    server.stop();
}

#[test]
fn debians_dhclient_takes_an_ipv6_address_and_gives_it_back() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let script = bed.file("script");
    let told = bed.file("told");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$reason $new_ip6_address $new_dhcp6_name_servers\" >>{told}\n"))
        .unwrap();
    run(&format!("chmod 755 {script}"));
    let (lease, pid) = (bed.file("lease"), bed.file("pid"));
    let words = ["dhclient", "-6", "-v", "-cf", "/dev/null", "-sf", &script, "-lf", &lease, "-pf", &pid];
    let taken = bed.client(&[&words[..], &["-1", "nic0"]].concat());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let said = std::fs::read_to_string(&told).unwrap();
    assert!(said.contains(&format!("BOUND6 {FIRST} {SERVER}")), "{said}");
    let row = &rows.all()[0];
    assert_eq!((row.address, row.mac, row.state), (FIRST, NIC, LeaseState::Bound));
    let back = bed.client(&[&words[..], &["-r", "nic0"]].concat());
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    // It does not wait for the answer.
    server.saw("RELEASE: REPLY");
    assert_eq!(rows.all()[0].state, LeaseState::Released);
    assert_eq!(server.count("received", "release"), 1);
    server.stop();
}

#[test]
fn b4_4_debians_dhcpcd_asks_because_our_advertisement_says_so_and_finds_the_prefix_on_the_link() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let configuration = bed.file("dhcpcd.conf");
    std::fs::write(&configuration, "duid\nnohook resolv.conf, hostname\nipv6only\nnodelay\n").unwrap();
    let words = ["unshare", "-m", "sh", "-c"];
    // Its own /var and /run: this machine's lease files are none of a test's business.
    let line = format!(
        "mount -t tmpfs t /var/lib/dhcpcd; mount -t tmpfs t /run; dhcpcd -f {configuration} -6 -1 -B -d --waitip=6 -t 30 nic0"
    );
    let taken = bed.client(&[&words[..], &[&line]].concat());
    let said = String::from_utf8_lossy(&taken.stderr).into_owned() + &String::from_utf8_lossy(&taken.stdout);
    assert!(taken.status.success(), "{said}");
    let row = &rows.all()[0];
    assert_eq!((row.address, row.mac, row.state), (FIRST, NIC, LeaseState::Bound), "{said}");
    let routes = bed.client(&["ip", "-6", "route", "show", "dev", "nic0"]);
    let routes = String::from_utf8_lossy(&routes.stdout).into_owned();
    assert!(routes.contains("fd00:77::/64"), "{routes}");
    assert!(!routes.contains("default"), "we are no router: {routes}");
    server.stop();
}

#[test]
fn a_flood_of_invented_machines_over_ipv6_is_bounded_and_counted_and_the_server_answers_after_it() {
    let Some(bed) = Bed::lay() else { return };
    let relay: Ipv6Addr = "fd00:77::ff".parse().unwrap();
    run(&format!("ip -n {} addr add {relay}/64 dev nic0 nodad", bed.client));
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let flood = Card::open(&bed, relay, 547);
    let solicit = message(1, 1, None, None);
    for number in 0..20_000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let mut bytes = [&[12, 0][..], &relay.octets(), &LOCAL.octets()].concat();
        bytes.extend(option(79, &[0, 1, 0x52, 0x54, 0, 0xee, high, low]));
        bytes.extend(option(9, &solicit));
        flood.send(SERVER, &bytes);
    }
    let card = Card::open(&bed, LOCAL, 546);
    let end = Instant::now() + Duration::from_secs(30);
    for xid in 10.. {
        card.send(EVERY_SERVER, &[&[11, 0, 0, xid][..], &option(1, &uuid())].concat());
        if let Some(answer) = card.hear() {
            assert_eq!(answer[..4], [7, 0, 0, xid]);
            break;
        }
        assert!(Instant::now() < end, "silent after the flood");
    }
    assert!(rows.all().is_empty(), "nothing was written for those who only ask");
    assert!(server.count("received", "solicit") > 0);
    for broken in [&[][..], &[1], &[12, 0, 0], &[1, 0, 0, 1, 0, 1, 0, 0], &[255; 300]] {
        card.send(EVERY_SERVER, broken);
    }
    for xid in 0..100 {
        card.send(EVERY_SERVER, &message(1, xid, None, None));
    }
    server.saw("dropped: the machine sends more than");
    let counted = ["short", "identifier"].map(|label| server.count("dropped", label));
    assert_eq!((counted, server.count("received", "other")), ([3, 1], 1));
    assert!(server.count("dropped", "machine-rate") > 0);
    server.stop();
}
