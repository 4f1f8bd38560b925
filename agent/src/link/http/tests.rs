//! The HTTP client against servers that misbehave.

use super::*;
use proptest::prelude::*;
use std::net::TcpListener;

/// Answers each connection with the next of `answers` after reading a head, then closes.
fn server(answers: Vec<&'static [u8]>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut byte = [0];
            while !seen.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
                seen.push(byte[0]);
            }
            socket.write_all(answer).unwrap();
        }
    });
    Url { secure: false, address, path: "/".into() }
}

fn get(answer: &'static [u8]) -> (u16, io::Result<Vec<u8>>) {
    let url = server(vec![answer]);
    let mut connection = Connection::open(&url, None).unwrap();
    let head = connection.ask("GET", "/x", &[], b"", Duration::from_secs(2)).unwrap();
    let mut body = Vec::new();
    let end = connection.body(head.framing).read_to_end(&mut body);
    (head.status, end.map(|_| body))
}

#[test]
fn a_url_carries_an_address_or_is_refused() {
    let url = Url::parse("https://10.0.0.1:8443").unwrap();
    assert!(url.secure && url.address.port() == 8443 && url.path == "/");
    assert_eq!(Url::parse("http://[fd00::1]/a?b").unwrap().address, "[fd00::1]:80".parse().unwrap());
    for bad in [
        "",
        "ftp://1.2.3.4/",
        "http://example.org/",
        "http://1.2.3.4/a b",
        "http://1.2.3.4/\r\nx: y",
        "http://u@1.2.3.4/",
    ] {
        assert!(Url::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn bodies_end_where_they_say() {
    assert_eq!(get(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloMORE").1.unwrap(), b"hello");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\nt: v\r\n\r\n";
    assert_eq!(get(chunked).1.unwrap(), b"hello");
    assert_eq!(get(b"HTTP/1.1 200 OK\r\n\r\nto the end").1.unwrap(), b"to the end");
    assert_eq!(get(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").0, 404);
}

#[test]
fn a_cut_body_is_an_error_and_never_short() {
    assert!(get(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello").1.is_err());
    assert!(get(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello").1.is_err());
    assert!(get(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").1.is_err());
    assert!(get(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n").1.is_err());
}

#[test]
fn a_head_that_can_be_read_two_ways_is_refused() {
    assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"), Err("two lengths"));
    assert_eq!(
        parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
        Err("chunked and a length")
    );
    assert_eq!(parse_head(b"SSH-2.0-x\r\n\r\n").err(), Some("no status line"));
    let part = parse_head(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\n")
        .unwrap();
    assert_eq!(part.range_start, Some(7));
}

#[test]
fn a_post_on_a_connection_closed_meanwhile_is_sent_again() {
    let answer: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let url = server(vec![answer, answer]);
    let mut poster = Poster { url, tls: None, kept: None };
    for _ in 0..2 {
        let got = poster.post("/", &[], b"", Duration::from_secs(2), &mut |_| {}).unwrap();
        assert_eq!(got, b"ok");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_endless_head_ends_at_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        while socket.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let mut connection = Connection::open(&Url { secure: false, address, path: "/".into() }, None).unwrap();
    assert!(connection.ask("GET", "/", &[], b"", Duration::from_secs(2)).is_err());
}

#[test]
fn only_the_pinned_authority_is_believed() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (ours, our_pem) = authority("ours");
    let (_, foreign_pem) = authority("foreign");
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &ours).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut tls = StreamOwned::new(session, socket.unwrap());
            let mut request = [0; 4096];
            if tls.read(&mut request).is_ok() {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    let post =
        |pem: &str| Poster::new(&server, pem).unwrap().post("/", &[], b"{}", Duration::from_secs(5), &mut |_| {});
    assert_eq!(post(&our_pem).unwrap(), b"ok");
    assert!(post(&foreign_pem).is_err());
    assert!(Poster::new(&server, "").is_err(), "no authority is not every authority");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "HTTP/1.1 [0-9 ]{0,5}\r\n([a-z-]{0,20}:[ -~]{0,20}\r\n){0,4}\r\n") {
        let _ = parse_head(&bytes);
        let _ = parse_head(text.as_bytes());
        let _ = Url::parse(&String::from_utf8_lossy(&bytes));
    }
}
