//! The TFTP server on loopback sockets: against packets made by hand and against clients that others wrote
//! (curl, tftp-hpa).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod common;

use bytes::Bytes;
use common::{Running, Seen, curl, pattern};
use futures_core::future::BoxFuture;
use muster_bootserver::tftp::{self, Config, Source};
use muster_bootserver::transfers::How;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

struct Map(BTreeMap<String, Bytes>);

impl Source for Map {
    fn find(&self, name: &str, _: SocketAddr) -> Option<Bytes> {
        self.0.get(name).cloned()
    }

    fn is_made(&self, name: &str) -> bool {
        name.starts_with("made/")
    }

    fn make<'a>(&'a self, name: &'a str, from: SocketAddr) -> BoxFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            (name == "made/script")
                .then(|| Bytes::from(format!("for {}, the {}th", from.ip(), MADE.fetch_add(1, Relaxed))))
        })
    }
}

/// Scripts made by all servers of this process.
static MADE: AtomicU32 = AtomicU32::new(0);

struct Server {
    at: SocketAddr,
    running: Running<tftp::Counters>,
}

impl std::ops::Deref for Server {
    type Target = Running<tftp::Counters>;

    fn deref(&self) -> &Self::Target {
        &self.running
    }
}

impl Server {
    fn start(bind: &str, change: impl FnOnce(&mut Config), allow: fn(std::net::IpAddr) -> bool) -> Server {
        let files = [("small", 600), ("empty", 0), ("whole", 1024), ("big", 3_000_000), ("huge", 512 * 65_536 + 9)];
        let map = Map(files.into_iter().map(|(name, size)| (name.to_owned(), pattern(size))).collect());
        let socket = tftp::listen(bind.parse().unwrap()).unwrap();
        let at = socket.local_addr().unwrap();
        let mut config = Config::new(vec![socket]);
        change(&mut config);
        let counters = config.counters.clone();
        let running = Running::start(counters, |watch, cancel| {
            tftp::serve(config, Arc::new(map), Arc::new(allow), watch, cancel)
        });
        Server { at, running }
    }

    fn plain() -> Server {
        Server::start("127.0.0.1:0", |_| {}, |_| true)
    }

    fn counted(&self, reason: &str) -> u64 {
        self.counters.all().into_iter().find(|(name, _)| *name == reason).unwrap().1
    }
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

fn request(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut out = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
    for (key, value) in options {
        out.extend([key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    out
}

fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 70_000];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    buffer.truncate(length);
    Some((buffer, from))
}

#[test]
fn b5_7_a_script_is_made_once_however_often_its_client_asks_again() {
    let server = Server::plain();
    let socket = client();
    let before = MADE.load(Relaxed);
    for _ in 0..4 {
        socket.send_to(&request("made/script", &[]), server.at).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let (data, from) = receive(&socket).unwrap();
    assert_eq!(&data[..4], b"\0\x03\0\x01");
    assert_eq!(String::from_utf8_lossy(&data[4..]), format!("for 127.0.0.1, the {before}th"));
    socket.send_to(b"\0\x04\0\x01", from).unwrap();
    assert_eq!(MADE.load(Relaxed), before + 1);
    assert_eq!(server.counted("same_request"), 3);
}

#[test]
fn a_script_that_cannot_be_made_is_not_found_and_holds_no_place() {
    let server = Server::plain();
    let sockets: Vec<UdpSocket> = (0..5).map(|_| client()).collect();
    for socket in &sockets {
        socket.send_to(&request("made/nothing", &[]), server.at).unwrap();
    }
    // Four from one address wait at once; the fifth is dropped and asks again.
    for socket in sockets.iter().take(4) {
        assert_eq!(&receive(socket).unwrap().0[..4], b"\0\x05\0\x01");
    }
    let last = sockets.last().unwrap();
    assert!(receive(last).is_none(), "a fifth place was given");
    last.send_to(&request("made/nothing", &[]), server.at).unwrap();
    assert_eq!(&receive(last).unwrap().0[..4], b"\0\x05\0\x01");
}

#[test]
fn a2_1_a_write_is_refused_once_a_second() {
    let server = Server::plain();
    let socket = client();
    for _ in 0..5 {
        socket.send_to(b"\0\x02small\0octet\0", server.at).unwrap();
    }
    assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x02Access violation\0");
    assert_eq!(receive(&socket), None);
    assert_eq!(server.counted("write_refused"), 5);
}

#[test]
fn a2_1_a_name_that_climbs_is_not_found() {
    let server = Server::plain();
    for name in ["../etc/passwd", "/etc/passwd", "x/../small", "etcdir/passwd"] {
        let socket = client();
        socket.send_to(&request(name, &[]), server.at).unwrap();
        assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x01File not found\0", "{name}");
    }
}

#[test]
fn a2_2_one_request_never_acknowledged_brings_three_packets_and_no_more() {
    let server = Server::plain();
    let socket = client();
    socket.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
    let asked = request("big", &[("blksize", "1468"), ("windowsize", "32")]);
    socket.send_to(&asked, server.at).unwrap();
    let mut got = Vec::new();
    let started = Instant::now();
    while let Some((packet, _)) = receive(&socket) {
        got.push(packet.len());
        if started.elapsed() > Duration::from_secs(9) {
            break;
        }
    }
    assert_eq!(got.len(), 3, "{got:?}");
    assert!(got.iter().sum::<usize>() <= 3 * asked.len(), "OACKs are no larger than what asked for them");
    assert_eq!(server.counted("unproved"), 1);
    assert_eq!(server.watch.wait(1)[0].how, How::Unproved);
}

#[test]
fn a2_2_who_is_not_allowed_hears_nothing_at_all() {
    let server = Server::start("127.0.0.1:0", |_| {}, |_| false);
    let socket = client();
    for bytes in [request("small", &[]), request("nothing", &[]), b"\0\x02a\0octet\0".to_vec(), b"\0\x01a".to_vec()] {
        socket.send_to(&bytes, server.at).unwrap();
        assert_eq!(receive(&socket), None);
    }
    assert_eq!(server.counted("not_allowed"), 4);
}

#[test]
fn a2_2_four_transfers_for_one_address_and_the_fifth_waits() {
    let server = Server::plain();
    let sockets: Vec<UdpSocket> = (0..5).map(|_| client()).collect();
    for socket in &sockets {
        socket.send_to(&request("big", &[]), server.at).unwrap();
    }
    let answered = sockets.iter().filter(|s| receive(s).is_some()).count();
    assert_eq!(answered, 4);
    assert_eq!(server.counted("full_address"), 1);
}

#[test]
fn a2_2_three_thousand_requests_get_no_more_than_the_places_there_are() {
    let server =
        Server::start("127.0.0.1:0", |c| c.caps = muster_netboot::tftp::Caps { per_ip: 5000, global: 50 }, |_| true);
    let sockets: Vec<UdpSocket> = (0..300).map(|_| client()).collect();
    for socket in &sockets {
        socket.send_to(&request("big", &[]), server.at).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.counted("full_server"), 250);
    assert_eq!(server.watch.began(), 50);
}

#[test]
fn a2_3_errors_acks_and_data_to_the_listening_port_get_silence() {
    let server = Server::plain();
    let socket = client();
    for bytes in [b"\0\x05\0\0x\0".as_slice(), b"\0\x04\0\x01", b"\0\x03\0\x01abc", b"\0\x06", b"\0\x63", b"", b"\0"] {
        socket.send_to(bytes, server.at).unwrap();
        assert_eq!(receive(&socket), None, "{bytes:?}");
    }
    assert_eq!(server.counted("stray") + server.counted("malformed"), 7);
}

#[test]
fn a2_4_a_name_that_gives_orders_to_a_terminal_is_told_without_them_and_comes_back_to_nobody() {
    let server = Server::plain();
    let socket = client();
    socket.send_to(&request("a\x1b[2Jb\nc", &[]), server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x01File not found\0");
    assert_eq!(server.watch.wait(1)[0].path, "a\\x1b[2Jb\\nc");
}

#[test]
fn a2_5_a_request_that_is_cut_off_is_told_so() {
    let server = Server::plain();
    let socket = client();
    socket.send_to(b"\0\x01small", server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x04Illegal TFTP operation\0");
}

#[test]
fn netascii_is_refused_rather_than_served_as_octet() {
    let server = Server::plain();
    let socket = client();
    socket.send_to(b"\0\x01small\0netascii\0", server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\0Octet mode only\0");
}

#[test]
fn b5_2_a_tiny_block_size_is_refused() {
    let server = Server::plain();
    let socket = client();
    socket.send_to(&request("small", &[("blksize", "7")]), server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x08Block size out of range\0");
}

#[test]
fn b5_3_edk2_probes_the_size_first_and_that_is_no_failure() {
    let server = Server::plain();
    let probe = client();
    probe.send_to(&request("big", &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")]), server.at).unwrap();
    let (oack, tid) = receive(&probe).unwrap();
    assert_eq!(oack, b"\0\x06tsize\x003000000\0blksize\x001468\0windowsize\x004\0");
    probe.send_to(b"\0\x05\0\x08User aborted the transfer\0", tid).unwrap();
    let seen = server.watch.wait(1);
    assert_eq!(seen[0].how, How::Probed);
    assert!(seen[0].how.went_well());
    assert_eq!(receive(&probe), None);
}

#[test]
fn b5_7_the_same_request_twice_is_one_transfer_with_one_port() {
    let server = Server::plain();
    let socket = client();
    socket.send_to(&request("small", &[]), server.at).unwrap();
    let first = receive(&socket).unwrap();
    socket.send_to(&request("small", &[]), server.at).unwrap();
    assert_eq!(receive(&socket).unwrap(), first);
    assert_eq!(server.watch.began(), 1);
    socket.send_to(b"\0\x04\0\x01", first.1).unwrap();
    let second = receive(&socket).unwrap();
    assert_eq!(second.0[..4], *b"\0\x03\0\x02");
    socket.send_to(b"\0\x04\0\x02", second.1).unwrap();
    assert_eq!(server.watch.wait(1)[0], Seen { path: "small".into(), bytes: 600, how: How::Whole });
}

#[test]
fn b5_8_a_foreign_port_is_told_and_the_transfer_goes_on() {
    let server = Server::plain();
    let (socket, foreign) = (client(), client());
    socket.send_to(&request("small", &[]), server.at).unwrap();
    let (_, tid) = receive(&socket).unwrap();
    foreign.send_to(b"\0\x04\0\x01", tid).unwrap();
    assert_eq!(receive(&foreign).unwrap().0, b"\0\x05\0\x05Unknown transfer ID\0");
    foreign.send_to(b"\0\x05\0\0x\0", tid).unwrap();
    assert_eq!(receive(&foreign), None, "an error is never answered");
    assert_eq!(receive(&socket), None, "the foreign ACK moved nothing");
    socket.send_to(b"\0\x04\0\x01", tid).unwrap();
    assert_eq!(receive(&socket).unwrap().0[..4], *b"\0\x03\0\x02");
}

#[test]
fn b5_10_the_answer_comes_from_the_address_that_was_asked() {
    for single_port in [false, true] {
        let server = Server::start("0.0.0.0:0", |c| c.single_port = single_port, |_| true);
        for address in ["127.0.0.1", "127.0.0.77"] {
            let to = SocketAddr::new(address.parse().unwrap(), server.at.port());
            for name in ["small", "missing"] {
                let socket = client();
                socket.send_to(&request(name, &[]), to).unwrap();
                assert_eq!(receive(&socket).unwrap().1.ip(), to.ip(), "{name} {single_port}");
            }
        }
    }
}

#[test]
fn b5_11_what_is_missing_is_said_at_once_and_every_time() {
    let server = Server::plain();
    let socket = client();
    let started = Instant::now();
    for n in 0..12 {
        socket.send_to(&request(&format!("pxelinux.cfg/{n}"), &[]), server.at).unwrap();
        assert_eq!(receive(&socket).unwrap().0, b"\0\x05\0\x01File not found\0");
    }
    assert!(started.elapsed() < Duration::from_millis(12 * 5 + 100), "{:?}", started.elapsed());
}

#[test]
fn b5_12_a_single_port_serves_from_the_port_that_was_asked() {
    let server = Server::start("127.0.0.1:0", |c| c.single_port = true, |_| true);
    let socket = client();
    socket.send_to(&request("small", &[]), server.at).unwrap();
    for number in 1..=2u8 {
        let (packet, from) = receive(&socket).unwrap();
        assert_eq!((from, packet[3]), (server.at, number));
        socket.send_to(&[0, 4, 0, number], server.at).unwrap();
    }
    assert_eq!(server.watch.wait(1)[0].how, How::Whole);
}

#[test]
fn b5_12_on_a_single_port_what_nobody_asked_for_moves_nothing() {
    let server = Server::start("127.0.0.1:0", |c| c.single_port = true, |_| true);
    let (socket, foreign) = (client(), client());
    socket.send_to(&request("small", &[]), server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0[..4], *b"\0\x03\0\x01");
    for bytes in [b"\0\x04\0\x01".as_slice(), b"\0\x05\0\0x\0"] {
        foreign.send_to(bytes, server.at).unwrap();
        assert_eq!(receive(&foreign), None, "{bytes:?}");
    }
    assert_eq!(receive(&socket), None, "the foreign ACK moved nothing");
    socket.send_to(b"\0\x04\0\x01", server.at).unwrap();
    assert_eq!(receive(&socket).unwrap().0[..4], *b"\0\x03\0\x02");
    assert_eq!(server.counted("stray"), 2);
}

#[test]
fn b1_28_every_packet_may_be_cut_on_its_way() {
    use std::os::fd::AsRawFd;
    let socket = tftp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut value: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    let asked = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    // SAFETY: value and length live through the call and belong together.
    let rc =
        unsafe { libc::getsockopt(socket.as_raw_fd(), asked.0, asked.1, (&raw mut value).cast(), &raw mut length) };
    assert_eq!((rc, value), (0, libc::IP_PMTUDISC_DONT));
}

#[test]
fn curl_reads_every_file_at_every_block_size() {
    let server = Server::plain();
    for (name, size) in [("small", 600), ("empty", 0), ("whole", 1024), ("big", 3_000_000)] {
        for blksize in ["512", "1468", "8192"] {
            if size == 0 {
                // curl takes a size of 0 in an OACK for a fault of the server; without options it reads nothing, well.
                break;
            }
            let got = curl(&["--tftp-blksize", blksize, &format!("tftp://{}/{name}", server.at)]);
            assert!(got == pattern(size), "{name} {blksize}: {} bytes", got.len());
        }
        let plain = curl(&["--tftp-no-options", &format!("tftp://{}/{name}", server.at)]);
        assert!(plain == pattern(size), "{name} without options");
    }
}

#[test]
fn b5_5_curl_reads_past_block_65535() {
    let server = Server::plain();
    let got = curl(&["--tftp-blksize", "512", &format!("tftp://{}/huge", server.at)]);
    assert!(got == pattern(512 * 65_536 + 9), "{} bytes", got.len());
}

#[test]
fn tftp_hpa_reads_a_file_and_is_told_what_is_missing() {
    let server = Server::plain();
    let folder = common::folder("hpa");
    let run = |name: &str, to: &std::path::Path| {
        let output = std::process::Command::new("tftp")
            .args(["-m", "binary", "127.0.0.1", &server.at.port().to_string(), "-c", "get", name])
            .arg(to)
            .output()
            .expect("tftp-hpa is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run("big", &folder.join("big"));
    assert!(std::fs::read(folder.join("big")).unwrap() == pattern(3_000_000));
    assert!(run("missing", &folder.join("missing")).contains("File not found"));
}

/// Reads all of a file in windows as a client does that loses nothing: one ACK for each window.
fn read_in_windows(server: &Server, bind: &str, blksize: usize, windowsize: u16) -> Vec<u8> {
    let socket = UdpSocket::bind(bind).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let options = [("blksize", &*blksize.to_string()), ("windowsize", &*windowsize.to_string())];
    socket.send_to(&request("big", &options), server.at).unwrap();
    let (_, tid) = receive(&socket).unwrap();
    let (mut file, mut block) = (Vec::new(), 0_u16);
    loop {
        socket.send_to(&[&[0, 4], &block.to_be_bytes()[..]].concat(), tid).unwrap();
        for _ in 0..windowsize {
            let (packet, _) = receive(&socket).expect("the window comes whole");
            block += 1;
            assert_eq!(packet[..4], [&[0, 3], &block.to_be_bytes()[..]].concat());
            file.extend_from_slice(&packet[4..]);
            if packet.len() < blksize + 4 {
                socket.send_to(&[&[0, 4], &block.to_be_bytes()[..]].concat(), tid).unwrap();
                return file;
            }
        }
    }
}

#[test]
fn b5_6_a_window_arrives_as_its_single_packets() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::start(bind, |_| {}, |_| true);
        for (blksize, windowsize) in [(512, 4), (1468, 4), (1468, 32), (8192, 7)] {
            let got = read_in_windows(&server, bind, blksize, windowsize);
            assert!(got == pattern(3_000_000), "{bind} {blksize} {windowsize}: {} bytes", got.len());
        }
        assert_eq!(server.counted("repeats"), 0);
    }
}

#[test]
fn over_ipv6_every_client_reads_the_same_and_hears_the_same_refusals() {
    let server = Server::start("[::1]:0", |_| {}, |_| true);
    let (port, folder) = (server.at.port().to_string(), common::folder("ipv6"));
    for blksize in ["512", "1468", "8192"] {
        let got = curl(&["--tftp-blksize", blksize, &format!("tftp://[::1]:{port}/big")]);
        assert!(got == pattern(3_000_000), "curl {blksize}: {} bytes", got.len());
    }
    let run = |program: &str, words: &[&str], to: &std::path::Path| {
        let words: Vec<&str> = words.iter().copied().chain(to.to_str()).collect();
        let output =
            std::process::Command::new(program).args(words).output().expect("installed by tests/bed/install.sh");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let hpa = folder.join("hpa");
    let said = run("tftp", &["-6", "-m", "binary", "::1", &port, "-c", "get", "big"], &hpa);
    assert!(std::fs::read(&hpa).unwrap_or_default() == pattern(3_000_000), "tftp-hpa: {said}");
    let missing = run("tftp", &["-6", "-m", "binary", "::1", &port, "-c", "get", "missing"], &folder.join("none"));
    assert!(missing.contains("File not found"), "{missing}");
    let atftp = folder.join("atftp");
    let said = run("atftp", &["--get", "--option", "blksize 1428", "-r", "big", "::1", &port, "-l"], &atftp);
    assert!(std::fs::read(&atftp).unwrap_or_default() == pattern(3_000_000), "atftp: {said}");
}

#[test]
fn b5_12_a_single_port_serves_over_ipv6_from_the_port_that_was_asked() {
    let server = Server::start("[::1]:0", |c| c.single_port = true, |_| true);
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    socket.send_to(&request("small", &[]), server.at).unwrap();
    for number in 1..=2u8 {
        let (packet, from) = receive(&socket).unwrap();
        assert_eq!((from, packet[3]), (server.at, number));
        socket.send_to(&[0, 4, 0, number], server.at).unwrap();
    }
    assert_eq!(server.watch.wait(1)[0].how, How::Whole);
}
