//! Boot HTTP under TLS on loopback: against curl and rustls as clients, with the authority and without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod common;

use common::{Folder, Running, curl, folder, pattern};
use muster_bootserver::http::{self, Bounds, Config, Entry, Files, Secured};
use muster_bootserver::transfers::How;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Not kept in memory.
const LARGE: usize = http::IN_MEMORY_MAX as usize + 3_000_001;

struct Server {
    plain: SocketAddr,
    at: SocketAddr,
    /// The certificate, which is its own authority.
    ca: PathBuf,
    running: Running<http::Counters>,
    _folder: Folder,
}

impl std::ops::Deref for Server {
    type Target = Running<http::Counters>;

    fn deref(&self) -> &Self::Target {
        &self.running
    }
}

impl Server {
    /// As a site's own authority makes it: elliptic curves.
    fn start(name: &str, bounds: Bounds) -> Server {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
        Server::of(name, bounds, &made.cert.pem(), &made.signing_key.serialize_pem())
    }

    /// `/boot/a.efi` in memory and `/images/large.img` on disk, in the clear and under TLS.
    fn of(name: &str, bounds: Bounds, certificate: &str, key: &str) -> Server {
        let folder = folder(name);
        std::fs::write(folder.join("a"), pattern(100_000)).unwrap();
        std::fs::write(folder.join("l"), pattern(LARGE)).unwrap();
        let entry = |name: &str, file: &str| Entry { name: name.into(), file: folder.join(file) };
        let files = Files::load(&[entry("boot/a.efi", "a"), entry("images/large.img", "l")]).unwrap();
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, certificate).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let tls = http::secured(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
        let listen = || http::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let (plain, under_tls) = (listen(), listen());
        let (in_the_clear, at) = (plain.local_addr().unwrap(), under_tls.local_addr().unwrap());
        let secured = Some(Secured { listeners: vec![under_tls], tls });
        let config = Config { bounds, secured, ..Config::new(vec![plain]) };
        let counters = config.counters.clone();
        let running = Running::start(counters, |watch, cancel| http::serve(config, Arc::new(files), watch, cancel));
        Server { plain: in_the_clear, at, ca, running, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    fn fetch(&self, words: &[&str]) -> Vec<u8> {
        curl(&[&["--cacert", self.ca.to_str().unwrap()], words].concat())
    }

    fn counted(&self, reason: &str) -> u64 {
        self.counters.all().into_iter().find(|(name, _)| *name == reason).unwrap().1
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// A client that trusts us, after its handshake.
    fn secured(&self) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = self.connect();
        while client.is_handshaking() {
            client.complete_io(&mut stream).unwrap();
        }
        rustls::StreamOwned::new(client, stream)
    }
}

#[test]
fn b3_4_under_tls_head_get_and_range_are_the_same() {
    let server = Server::start("tls-same", Bounds::default());
    for (path, size, kind) in
        [("/boot/a.efi", 100_000, "application/efi"), ("/images/large.img", LARGE, "application/vnd.efi-img")]
    {
        let whole = pattern(size);
        let head = server.fetch(&["--head", &server.url(path)]);
        assert_eq!(head, curl(&["--head", &format!("http://{}{path}", server.plain)]), "{path}");
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains(&format!("Content-Length: {size}\r\n")), "{head}");
        assert!(head.contains(&format!("Content-Type: {kind}\r\n")), "{head}");
        assert!(server.fetch(&[&server.url(path)]) == whole, "{path}");
        assert!(server.fetch(&["--range", "5000-", &server.url(path)]) == whole[5000..]);
        assert!(server.fetch(&["--range", "7-7", &server.url(path)]) == whole[7..8]);
        assert!(server.fetch(&["--range", "-9", &server.url(path)]) == whole[size - 9..]);
        let code = server.fetch(&["--range", "300000000-", "-o", "/dev/null", "-w", "%{http_code}", &server.url(path)]);
        assert_eq!(code, b"416");
        assert!(curl(&[&format!("http://{}{path}", server.plain)]) == whole, "in the clear as before");
    }
    assert_eq!(server.counted("bad_handshake") + server.counted("untrusted") + server.counted("slow_handshake"), 0);
    let seen = server.watch.wait(14);
    assert!(seen.iter().any(|seen| seen.how == How::Whole && seen.bytes == LARGE as u64));
}

#[test]
fn b3_4_one_connection_under_tls_carries_many_requests() {
    let server = Server::start("tls-keep", Bounds::default());
    let urls: Vec<String> = ["/boot/a.efi", "/none", "/images/large.img", "/boot/a.efi"].map(|p| server.url(p)).into();
    let words: Vec<&str> = urls.iter().flat_map(|u| ["-o", "/dev/null", u.as_str()]).collect();
    let report = server.fetch(&[&["-w", "%{http_code} %{num_connects}\n"], words.as_slice()].concat());
    assert_eq!(String::from_utf8(report).unwrap(), "200 1\n404 0\n200 0\n200 0\n");
}

#[test]
fn b3_3_firmware_without_elliptic_curves_is_served_with_a_certificate_that_it_reads() {
    let folder = folder("tls-rsa-pair");
    let (certificate, key) = (folder.join("rsa.pem"), folder.join("rsa.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=boot"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |file| std::fs::read_to_string(file).unwrap();
    let server = Server::of("tls-rsa", Bounds::default(), &read(certificate), &read(key));
    for suite in ["DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256"] {
        let words = ["--tls-max", "1.2", "--ciphers", suite, &server.url("/images/large.img")];
        assert!(server.fetch(&words) == pattern(LARGE), "{suite}");
    }
    let told = server.fetch(&["--tls-max", "1.2", "--verbose", "--stderr", "-", "--head", &server.url("/boot/a.efi")]);
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains(" ECDHE-RSA-"), "who has elliptic curves uses them: {told}");
}

#[test]
fn a_client_without_the_authority_gets_nothing_and_is_counted() {
    let server = Server::start("tls-stranger", Bounds::default());
    for version in ["1.2", "1.3"] {
        let refused = Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--tls-max", version, &server.url("/boot/a.efi")])
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(60), "curl: the certificate is not trusted");
        assert!(refused.stdout.is_empty());
    }
    let seen = server.watch.wait(2);
    assert!(seen.iter().all(|seen| seen.how == How::Untrusted && seen.path.is_empty()), "{seen:?}");
    assert_eq!((server.counted("untrusted"), server.counted("requests")), (2, 0));
}

#[test]
fn a_handshake_that_never_ends_is_dropped_and_counted() {
    let bounds = Bounds { head: Duration::from_millis(300), ..Bounds::default() };
    let server = Server::start("tls-slow", bounds);
    let started = Instant::now();
    // The first bytes of a ClientHello, and no more.
    for bytes in [&[0x16, 3, 1, 2, 0, 1][..], &[]] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let mut out = Vec::new();
        let _ = stream.read_to_end(&mut out);
        assert!(!String::from_utf8_lossy(&out).contains("HTTP"), "{out:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(server.watch.wait(2)[1].how, How::Lost);
    assert_eq!(server.counted("slow_handshake"), 2);
    // After the handshake the head has its own time.
    let mut client = server.secured();
    client.write_all(b"GET /boot/a.efi HTTP/1.1\r\nX: ").unwrap();
    let mut out = Vec::new();
    let _ = client.read_to_end(&mut out);
    assert!(out.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&out));
    assert_eq!(server.counted("slow_head"), 1);
}

#[test]
fn plain_http_on_the_tls_port_is_refused() {
    let server = Server::start("tls-plain", Bounds::default());
    let mut stream = server.connect();
    stream.write_all(b"GET /boot/a.efi HTTP/1.1\r\n\r\n").unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    assert!(!String::from_utf8_lossy(&out).contains("HTTP"), "{out:?}");
    assert_eq!(server.watch.wait(1)[0].how, How::NoTls);
    assert_eq!((server.counted("bad_handshake"), server.counted("requests")), (1, 0));
}

#[test]
fn one_address_has_its_share_of_handshakes() {
    let server = Server::start("tls-share", Bounds { connections_per_ip: 3, ..Bounds::default() });
    let held: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut out = Vec::new();
    let _ = server.connect().read_to_end(&mut out);
    assert!(out.is_empty());
    assert_eq!(server.counted("full_address"), 1);
    drop(held);
    std::thread::sleep(Duration::from_millis(100));
    assert!(server.fetch(&[&server.url("/boot/a.efi")]) == pattern(100_000));
}

#[test]
fn a_client_that_takes_nothing_under_tls_is_dropped_and_told_of() {
    let server = Server::start("tls-stall", Bounds { stall: Duration::from_millis(300), ..Bounds::default() });
    let mut client = server.secured();
    client.write_all(b"GET /images/large.img HTTP/1.1\r\n\r\n").unwrap();
    let seen = server.watch.wait(1);
    assert_eq!(seen[0].how, How::Lost);
    assert!(seen[0].bytes < LARGE as u64);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let pair = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let (one, other) = (pair(), pair());
    let key = PrivateKeyDer::from_pem_slice(other.signing_key.serialize_pem().as_bytes()).unwrap();
    assert!(http::secured(vec![one.cert.der().clone()], key).is_err());
}
