//! A DHCP server on a real wire: two network namespaces of the test's own, a veth between them, and a client that builds
//! and reads its frames by itself, so that no fault of our codec can hide behind itself.
//!
//! Needs root; without it a test says so and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each test binary uses its part")]

use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bootserver::{Commit, CommitError, View, Watch, dhcp, ra};
use muster_names::Mac;
use muster_netboot::{
    Boot, Conflict, ConflictKind, FirstFile, Host, Lease, LeaseChange, Network, Networks, Outcome, Range, Sighting,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub const SERVER: [u8; 4] = [10, 77, 0, 1];
pub const RELAY: [u8; 4] = [10, 77, 0, 254];
pub const EVERYBODY: [u8; 4] = [255; 4];
pub const NOBODY: [u8; 4] = [0; 4];
pub const CLIENT: [u8; 6] = [0x52, 0x54, 0, 0xc1, 0, 1];
pub const OTHER: [u8; 6] = [0x52, 0x54, 0, 0xc1, 0, 2];

pub fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Two namespaces and a cable; gone when dropped.
pub struct Bed {
    pub server: String,
    pub client: String,
}

impl Bed {
    pub fn lay() -> Option<Self> {
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

    pub fn address(&self, address: [u8; 4]) {
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
pub fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let file = std::fs::File::open(format!("/var/run/netns/{namespace}")).unwrap();
    std::thread::spawn(move || {
        // SAFETY: a valid descriptor of a namespace; only this thread moves.
        assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        work()
    })
}

/// A lease store that outlives servers and can fail in both ways.
#[derive(Default)]
pub struct Rows {
    pub rows: Mutex<BTreeMap<Ipv4Addr, Lease>>,
    pub mood: AtomicU8,
}

pub const SOUND: u8 = 0;
/// Says an error and wrote nothing.
pub const DEAD: u8 = 1;
/// Says an error after it wrote all.
pub const MUTE: u8 = 2;

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

pub struct Everybody;

impl View for Everybody {
    fn host(&self, _: Mac) -> Host {
        Host { ours: true, boot: Boot::Agent, ..Host::default() }
    }
}

#[derive(Default)]
pub struct Diary(pub Mutex<Vec<Sighting>>, pub Mutex<Vec<Conflict>>);

impl Watch for Diary {
    fn saw(&self, sighting: Sighting) {
        self.0.lock().unwrap().push(sighting);
    }

    fn met(&self, conflict: Conflict) {
        self.1.lock().unwrap().push(conflict);
    }
}

pub struct Server {
    pub cancel: CancellationToken,
    pub thread: std::thread::JoinHandle<Result<(), muster_bootserver::Error>>,
    pub diary: Arc<Diary>,
    pub counters: Arc<dhcp::Counters>,
}

impl Server {
    pub fn start(bed: &Bed, rows: &Arc<Rows>) -> Self {
        Self::start_with(bed, rows, |_| {})
    }

    pub fn start_with(bed: &Bed, rows: &Arc<Rows>, change: impl FnOnce(&mut Network)) -> Self {
        let mut network = Network::new("bed", "10.77.0.0/24".parse().unwrap(), SERVER.into(), "http://10.77.0.1:8080");
        network.interface = Some("boot0".to_owned());
        network.ranges = vec![Range { first: Ipv4Addr::new(10, 77, 0, 10), last: Ipv4Addr::new(10, 77, 0, 20) }];
        network.authoritative = true;
        network.loaders.by_arch.insert(7, FirstFile::new("ipxe.efi"));
        change(&mut network);
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

    /// Waits until a conflict of this kind was told.
    pub fn conflict(&self, kind: ConflictKind) -> Conflict {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.diary.1.lock().unwrap().iter().find(|met| met.kind == kind).cloned();
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < end, "no {kind:?} among {:?}", self.diary.1.lock().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a counter has come so far.
    pub fn counted(&self, family: &str, label: &str, least: u64) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.counters.get(family, label).unwrap() < least {
            assert!(Instant::now() < end, "{family} {label}: {:?}", self.counters.get(family, label));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(self) {
        self.cancel.cancel();
        self.thread.join().unwrap().unwrap();
    }
}

async fn ra_task(cancel: CancellationToken) {
    ra::advertise("boot0", None, cancel).await;
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub to_mac: [u8; 6],
    pub from: ([u8; 4], u16),
    pub to: ([u8; 4], u16),
    pub dhcp: Vec<u8>,
}

impl Frame {
    pub fn yiaddr(&self) -> [u8; 4] {
        self.dhcp[16..20].try_into().unwrap()
    }

    pub fn option(&self, code: u8) -> Option<Vec<u8>> {
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

    pub fn kind(&self) -> u8 {
        self.option(53).unwrap()[0]
    }
}

/// A network card that a test speaks through, frame by frame.
pub struct Card(OwnedFd);

impl Card {
    pub fn plug(bed: &Bed) -> Self {
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

    pub fn send(&self, mac: [u8; 6], from: ([u8; 4], u16), to: ([u8; 4], u16), dhcp: &[u8]) {
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

    /// One raw frame.
    pub fn put(&self, frame: &[u8]) {
        // SAFETY: the buffer lives through the call and its true length is given.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(usize::try_from(sent).unwrap(), frame.len());
    }

    /// Raw frames until `wanted` takes one.
    pub fn listen<T>(&self, patience: Duration, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
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
    pub fn reply(&self, xid: u32, patience: Duration) -> Option<Frame> {
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

    pub fn ask(&self, ask: &Ask) -> Option<Frame> {
        self.send(ask.mac, ask.from, ask.to, &ask.bytes());
        self.reply(ask.xid, Duration::from_millis(1200))
    }
}

pub struct Ask {
    pub mac: [u8; 6],
    pub xid: u32,
    pub flags: u16,
    pub ciaddr: [u8; 4],
    pub giaddr: [u8; 4],
    pub from: ([u8; 4], u16),
    pub to: ([u8; 4], u16),
    pub options: Vec<u8>,
}

impl Ask {
    pub fn new(kind: u8, mac: [u8; 6], xid: u32) -> Self {
        let options = vec![53, 1, kind];
        Self { mac, xid, flags: 0, ciaddr: NOBODY, giaddr: NOBODY, from: (NOBODY, 68), to: (EVERYBODY, 67), options }
    }

    pub fn discover(mac: [u8; 6], xid: u32) -> Self {
        Self::new(1, mac, xid)
    }

    pub fn select(mac: [u8; 6], xid: u32, address: [u8; 4]) -> Self {
        Self::new(3, mac, xid).with(50, &address).with(54, &SERVER)
    }

    pub fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(value.len()).unwrap()]);
        self.options.extend(value);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
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
