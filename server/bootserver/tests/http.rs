//! The boot HTTP server on loopback: against curl, and against bytes that no decent client sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod common;

use bytes::Bytes;
use common::{Folder, Running, curl, folder, pattern};
use futures_core::future::BoxFuture;
use muster_bootserver::http::{self, Body, Bounds, Config, Content, Entry, Files};
use muster_bootserver::transfers::How;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Not kept in memory.
const LARGE: usize = http::IN_MEMORY_MAX as usize + 3_000_001;

struct Server {
    at: SocketAddr,
    running: Running<http::Counters>,
    _folder: Option<Folder>,
}

impl std::ops::Deref for Server {
    type Target = Running<http::Counters>;

    fn deref(&self) -> &Self::Target {
        &self.running
    }
}

impl Server {
    fn start(content: Arc<dyn Content>, bounds: Bounds) -> Server {
        Server::at("127.0.0.1:0", content, bounds)
    }

    fn at(address: &str, content: Arc<dyn Content>, bounds: Bounds) -> Server {
        let listener = http::listen(address.parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let config = Config { bounds, ..Config::new(vec![listener]) };
        let counters = config.counters.clone();
        let running = Running::start(counters, |watch, cancel| http::serve(config, content, watch, cancel));
        Server { at, running, _folder: None }
    }

    /// `/boot/a.efi` in memory and `/images/large.img` on disk.
    fn files(name: &str, bounds: Bounds) -> Server {
        let folder = folder(name);
        std::fs::write(folder.join("a"), pattern(100_000)).unwrap();
        std::fs::write(folder.join("l"), pattern(LARGE)).unwrap();
        let entry = |name: &str, file: &str| Entry { name: name.into(), file: folder.join(file) };
        let files = Files::load(&[entry("/boot/a.efi", "a"), entry("images/large.img", "l")]).unwrap();
        Server { _folder: Some(folder), ..Server::start(Arc::new(files), bounds) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn counted(&self, reason: &str) -> u64 {
        self.counters.all().into_iter().find(|(name, _)| *name == reason).unwrap().1
    }

    /// Sends these bytes and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.write_all(bytes).unwrap();
        let mut out = Vec::new();
        let _ = stream.read_to_end(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[test]
fn b3_4_get_gives_what_head_promised_from_memory_and_from_disk() {
    let server = Server::files("get", Bounds::default());
    for (path, size, kind) in
        [("/boot/a.efi", 100_000, "application/efi"), ("/images/large.img", LARGE, "application/vnd.efi-img")]
    {
        let head = String::from_utf8(curl(&["--head", &server.url(path)])).unwrap();
        assert!(head.contains(&format!("Content-Length: {size}\r\n")), "{head}");
        assert!(head.contains(&format!("Content-Type: {kind}\r\n")), "{head}");
        assert!(curl(&[&server.url(path)]) == pattern(size), "{path}");
    }
    let seen = server.watch.wait(4);
    assert_eq!(seen.iter().map(|s| s.how).collect::<Vec<_>>(), [How::Probed, How::Whole, How::Probed, How::Whole]);
    assert_eq!(seen[3].bytes, LARGE as u64);
}

#[test]
fn over_ipv6_head_get_and_range_are_the_same() {
    let folder = folder("ipv6");
    std::fs::write(folder.join("a"), pattern(100_000)).unwrap();
    let entry = Entry { name: "boot/a.efi".into(), file: folder.join("a") };
    let server = Server::at("[::1]:0", Arc::new(Files::load(&[entry]).unwrap()), Bounds::default());
    let url = server.url("/boot/a.efi");
    assert!(url.starts_with("http://[::1]:"), "{url}");
    let head = String::from_utf8(curl(&["--head", "--globoff", &url])).unwrap();
    assert!(head.contains("Content-Length: 100000\r\n"), "{head}");
    assert!(curl(&["--globoff", &url]) == pattern(100_000));
    assert!(curl(&["--globoff", "--range", "5000-", &url]) == pattern(100_000)[5000..]);
}

#[test]
fn b3_4_a_broken_download_resumes_where_it_stopped() {
    let server = Server::files("range", Bounds::default());
    for (path, size) in [("/boot/a.efi", 100_000), ("/images/large.img", LARGE)] {
        let whole = pattern(size);
        assert!(curl(&["--range", "5000-", &server.url(path)]) == whole[5000..]);
        assert!(curl(&["--range", "7-7", &server.url(path)]) == whole[7..8]);
        assert!(curl(&["--range", "-9", &server.url(path)]) == whole[size - 9..]);
        let headers = curl(&["--range", "5-9", "--dump-header", "-", "--output", "/dev/null", &server.url(path)]);
        let headers = String::from_utf8(headers).unwrap();
        assert!(headers.starts_with("HTTP/1.1 206 ") && headers.contains(&format!("bytes 5-9/{size}")), "{headers}");
        let code = curl(&["--range", "300000000-", "-o", "/dev/null", "-w", "%{http_code}", &server.url(path)]);
        assert_eq!(code, b"416");
    }
}

#[test]
fn b3_4_one_connection_carries_many_requests_also_after_not_found() {
    let server = Server::files("keep", Bounds::default());
    let urls: Vec<String> = ["/boot/a.efi", "/none", "/images/large.img", "/boot/a.efi"].map(|p| server.url(p)).into();
    let words: Vec<&str> = urls.iter().flat_map(|u| ["-o", "/dev/null", u.as_str()]).collect();
    let report = curl(&[&["-w", "%{http_code} %{num_connects}\n"], words.as_slice()].concat());
    assert_eq!(String::from_utf8(report).unwrap(), "200 1\n404 0\n200 0\n200 0\n");
}

#[test]
fn b3_4_two_requests_in_one_packet_get_two_answers_in_order() {
    let server = Server::files("pipe", Bounds::default());
    let out = server.raw(b"HEAD /boot/a.efi HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(out.starts_with("HTTP/1.1 200 ") && out.contains("HTTP/1.1 404 ") && out.ends_with("not found\n"), "{out}");
}

#[test]
fn b3_9_tricks_get_400_and_a_closed_connection() {
    let server = Server::files("tricks", Bounds::default());
    for target in ["/../etc/passwd", "/%2e%2e/etc/passwd", "/boot//a.efi", "/boot/a.efi?x", "/boot/./a.efi", "*"] {
        let out = server.raw(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(out.starts_with("HTTP/1.1 400 ") && out.ends_with("bad request\n"), "{target}: {out}");
    }
    assert!(server.raw(b"POST /boot/a.efi HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 400 "));
    assert!(server.raw(b"PUT /boot/a.efi HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert_eq!(server.counted("bad_request"), 7);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let bounds = Bounds { head: Duration::from_millis(300), ..Bounds::default() };
    let server = Server::files("slow", bounds);
    let started = Instant::now();
    assert!(server.raw(b"GET /boot/a.efi HTTP/1.1\r\nX: ").starts_with("HTTP/1.1 408 "));
    assert!(server.raw(b"").is_empty(), "an idle connection ends without a word");
    assert!(started.elapsed() < Duration::from_secs(3));
    let long = [b"GET /boot/a.efi HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 9000]].concat();
    assert!(!server.raw(&long).contains("200"), "more than 8 KiB of head");
}

#[test]
fn one_address_has_its_share_of_connections() {
    let server = Server::files("share", Bounds { connections_per_ip: 3, ..Bounds::default() });
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.at).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.raw(b"HEAD /boot/a.efi HTTP/1.1\r\nConnection: close\r\n\r\n"), "");
    drop(held);
    std::thread::sleep(Duration::from_millis(100));
    let again = server.raw(b"HEAD /boot/a.efi HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
}

#[test]
fn a6_13_beyond_the_images_at_once_a_client_is_told_when_to_come_again() {
    let server = Server::files("storm", Bounds { files: 1, ..Bounds::default() });
    let mut first = TcpStream::connect(server.at).unwrap();
    first.write_all(b"GET /images/large.img HTTP/1.1\r\n\r\n").unwrap();
    let mut some = [0; 1000];
    first.read_exact(&mut some).unwrap();
    let busy = server.raw(b"GET /images/large.img HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("\r\nRetry-After: "), "{busy}");
    assert!(curl(&[&server.url("/boot/a.efi")]) == pattern(100_000), "what lies in memory is served all the same");
    drop(first);
    std::thread::sleep(Duration::from_millis(200));
    assert!(curl(&[&server.url("/images/large.img")]) == pattern(LARGE));
}

#[test]
fn a_client_that_takes_nothing_is_dropped_and_told_of() {
    let server = Server::files("stall", Bounds { stall: Duration::from_millis(300), ..Bounds::default() });
    let mut stream = TcpStream::connect(server.at).unwrap();
    stream.write_all(b"GET /images/large.img HTTP/1.1\r\n\r\n").unwrap();
    let seen = server.watch.wait(1);
    assert_eq!(seen[0].how, How::Lost);
    assert!(seen[0].bytes < LARGE as u64);
}

struct Slow;

impl Content for Slow {
    fn open<'a>(&'a self, path: &'a str, _: SocketAddr) -> BoxFuture<'a, Option<Body>> {
        Box::pin(async move {
            if path == "/slow" {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            Some(Body::Memory { bytes: Bytes::copy_from_slice(path.as_bytes()), content_type: "text/plain" })
        })
    }
}

#[test]
fn b3_4_the_first_byte_comes_before_five_seconds_even_if_the_content_does_not() {
    let server = Server::start(Arc::new(Slow), Bounds::default());
    let started = Instant::now();
    let out = server.raw(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(out.starts_with("HTTP/1.1 503 "), "{out}");
    assert!(started.elapsed() < Duration::from_millis(4500));
    assert_eq!(curl(&[&server.url("/b/52-54-00-aa-bb-cc/boot.ipxe")]), b"/b/52-54-00-aa-bb-cc/boot.ipxe");
}

#[test]
fn a_list_is_swapped_whole_or_not_at_all() {
    let folder = folder("list");
    std::fs::write(folder.join("one"), "1").unwrap();
    std::fs::write(folder.join("two"), "2").unwrap();
    let entry = |name: &str, file: &str| Entry { name: name.into(), file: folder.join(file) };
    let files = Files::load(&[entry("a", "one")]).unwrap();
    assert!(files.reload(&[entry("a", "two"), entry("b", "missing")]).is_err());
    assert!(matches!(files.get("/a"), Some(Body::Memory { bytes, .. }) if bytes == "1"));
    files.reload(&[entry("b", "two")]).unwrap();
    assert!(files.get("a").is_none() && files.get("b").is_some());
    for bad in ["", "a//b", "../a", "a%20b", "a b"] {
        assert_eq!(Files::load(&[entry(bad, "one")]).unwrap_err().label(), "name", "{bad:?}");
    }
    assert_eq!(Files::load(&[entry("a", "one"), entry("/a", "two")]).unwrap_err().label(), "twice");
    assert_eq!(Files::load(&[entry("a", "")]).unwrap_err().label(), "not_a_file");
}

#[test]
fn b5_13_tftp_gives_what_lies_in_memory_and_nothing_else() {
    use muster_bootserver::tftp::Source;
    let folder = folder("both");
    std::fs::write(folder.join("a"), "1").unwrap();
    std::fs::File::create(folder.join("l")).unwrap().set_len(http::IN_MEMORY_MAX + 1).unwrap();
    let entry = |name: &str, file: &str| Entry { name: name.into(), file: folder.join(file) };
    let files = Files::load(&[entry("a.efi", "a"), entry("large.img", "l")]).unwrap();
    let from: SocketAddr = "127.0.0.1:2070".parse().unwrap();
    std::fs::remove_file(folder.join("a")).unwrap();
    assert_eq!(files.find("a.efi", from).as_deref(), Some(&b"1"[..]), "no disk is asked");
    assert_eq!(files.find("large.img", from), None);
    assert!(matches!(files.get("large.img"), Some(Body::File { length, .. }) if length == http::IN_MEMORY_MAX + 1));
}

#[test]
fn a_file_that_shrank_is_an_error_and_not_a_short_answer() {
    let folder = folder("shrank");
    std::fs::write(folder.join("l"), pattern(LARGE)).unwrap();
    let files = Files::load(&[Entry { name: "l".into(), file: folder.join("l") }]).unwrap();
    let server = Server::start(Arc::new(files), Bounds::default());
    std::fs::write(folder.join("l"), "short").unwrap();
    let out = server.raw(b"GET /l HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(out.starts_with("HTTP/1.1 500 "), "{out}");
}
