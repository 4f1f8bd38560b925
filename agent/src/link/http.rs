//! A small HTTP/1.1 client: one request at a time over a socket with timeouts, TLS with the one pinned authority.
//!
//! Written here rather than taken: the agent needs POST with a small answer and GET with `Range`, to an address that
//! needs no name service, a poll that another thread can cut short, and answers of a hostile length that end at a
//! bound. A general client brings ten crates for that.

use crate::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
const MAX_HEAD: usize = 16 * 1024;
const MAX_ANSWER: u64 = 8 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub secure: bool,
    pub address: SocketAddr,
    /// From the first slash, with the query.
    pub path: String,
}

impl Url {
    pub fn parse(url: &str) -> Result<Self> {
        Self::split(url).ok_or_else(|| Error::Url { url: url.chars().take(200).collect() })
    }

    fn split(url: &str) -> Option<Self> {
        let (secure, rest) = match url.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, "/"),
        };
        if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains('#') {
            return None;
        }
        let default = if secure { 443 } else { 80 };
        let address = match authority.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => SocketAddr::new(
                authority.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?,
                default,
            ),
        };
        Some(Self { secure, address, path: path.to_owned() })
    }
}

/// TLS that trusts the authorities in `pem` and no other.
pub fn pin(pem: &str) -> Result<Arc<ClientConfig>> {
    let refuse = |reason: String| Error::Authority { reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| refuse(format!("{e:?}")))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in it".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| refuse(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(from),
            Self::Tls(tls) => tls.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// One open connection.
pub struct Connection {
    to: String,
    stream: BufReader<Stream>,
}

/// Status line and the headers the agent looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub framing: Framing,
    /// First byte's offset of a 206.
    pub range_start: Option<u64>,
    pub close: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// Ends with the connection: cannot be told from a broken one, so that only digests make it safe.
    Close,
}

impl Connection {
    pub fn open(url: &Url, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let to = url.address.to_string();
        let lost = |source| Error::Connect { to: to.clone(), source };
        let socket = TcpStream::connect_timeout(&url.address, CONNECT).map_err(lost)?;
        socket.set_nodelay(true).map_err(lost)?;
        socket.set_write_timeout(Some(Duration::from_secs(20))).map_err(lost)?;
        let stream = match (url.secure, tls) {
            (false, _) => Stream::Plain(socket),
            (true, None) => return Err(Error::Authority { reason: format!("none given for {to}") }),
            (true, Some(config)) => {
                let name = ServerName::IpAddress(url.address.ip().into());
                let session = ClientConnection::new(Arc::clone(config), name)
                    .map_err(|e| Error::Connect { to: to.clone(), source: io::Error::other(e) })?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { to, stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// A second handle on the socket; shutting it down ends whatever waits on this connection.
    pub fn line(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().socket().try_clone()
    }

    /// Sends a request whose head is `lines` and reads the answer's head. `silence` bounds each single read.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        lines: &[(&str, &str)],
        body: &[u8],
        silence: Duration,
    ) -> Result<Head> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.to);
        for (name, value) in lines {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.exchange(&[head.as_bytes(), body].concat(), silence)
            .map_err(|source| Error::Exchange { to: self.to.clone(), source })
            .and_then(|head| parse_head(&head).map_err(|reason| Error::NotHttp { to: self.to.clone(), reason }))
    }

    fn exchange(&mut self, request: &[u8], silence: Duration) -> io::Result<Vec<u8>> {
        self.stream.get_ref().socket().set_read_timeout(Some(silence))?;
        self.stream.get_mut().write_all(request)?;
        self.stream.get_mut().flush()?;
        let mut head = Vec::new();
        loop {
            let before = head.len();
            let room = u64::try_from(MAX_HEAD.saturating_sub(before)).unwrap_or(0);
            if self.stream.by_ref().take(room).read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if matches!(head.get(before..), Some(b"\r\n" | b"\n")) {
                return Ok(head);
            }
        }
    }

    pub fn body(self, framing: Framing) -> Body {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Body { connection: self, framing, left, done: framing == Framing::Length(0), fresh: true }
    }
}

/// The three headers that matter, from a whole head. Total: any bytes give an answer or a reason.
pub fn parse_head(head: &[u8]) -> std::result::Result<Head, &'static str> {
    let head = std::str::from_utf8(head).map_err(|_| "head is no text")?;
    let mut lines = head.lines();
    let first = lines.next().ok_or("no status line")?;
    let (version, rest) = first.split_once(' ').ok_or("no status line")?;
    if !version.starts_with("HTTP/1.") {
        return Err("not HTTP/1");
    }
    let status = rest.split(' ').next().and_then(|s| s.parse().ok()).ok_or("no status")?;
    let mut found = Head { status, framing: Framing::Close, range_start: None, close: version == "HTTP/1.0" };
    let mut length = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let this = value.parse::<u64>().map_err(|_| "content-length is no number")?;
                if length.is_some_and(|other| other != this) {
                    return Err("two lengths");
                }
                length = Some(this);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => found.framing = Framing::Chunked,
            "transfer-encoding" => return Err("unknown transfer-encoding"),
            "content-range" => {
                let start = value.strip_prefix("bytes ").and_then(|v| v.split_once('-')).map(|(start, _)| start);
                found.range_start = Some(start.and_then(|s| s.parse().ok()).ok_or("content-range is no range")?);
            }
            "connection" => found.close |= value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    match (found.framing, length) {
        (Framing::Chunked, Some(_)) => return Err("chunked and a length"),
        (Framing::Close, Some(length)) => found.framing = Framing::Length(length),
        _ => {}
    }
    if matches!(found.status, 204 | 304) {
        found.framing = Framing::Length(0);
    }
    Ok(found)
}

/// An answer's body. Reading past a broken connection is an error, never a short body.
pub struct Body {
    connection: Connection,
    framing: Framing,
    left: u64,
    done: bool,
    fresh: bool,
}

impl Body {
    /// The connection, when the body was read to its end and another request may follow.
    pub fn finish(self) -> Option<Connection> {
        (self.done && self.framing != Framing::Close).then_some(self.connection)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.connection.stream.by_ref().take(1024).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Reads the next chunk's size; the last chunk's trailers are read away.
    fn next_chunk(&mut self) -> io::Result<()> {
        if !self.fresh && !self.line()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk longer than its size"));
        }
        self.fresh = false;
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a chunk without a size");
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        self.left = u64::from_str_radix(size, 16).map_err(|_| bad())?;
        if self.left == 0 {
            while !self.line()?.is_empty() {}
            self.done = true;
        }
        Ok(())
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.done || into.is_empty() {
            return Ok(0);
        }
        if self.framing == Framing::Close {
            let got = self.connection.stream.read(into)?;
            self.done = got == 0;
            return Ok(got);
        }
        if self.left == 0 && self.framing == Framing::Chunked {
            self.next_chunk()?;
            if self.done {
                return Ok(0);
            }
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let got = self.connection.stream.read(into.get_mut(..room).unwrap_or_default())?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(u64::try_from(got).unwrap_or(u64::MAX));
        if self.left == 0 && self.framing != Framing::Chunked {
            self.done = true;
        }
        Ok(got)
    }
}

/// Posts to one server and keeps the connection between posts.
pub struct Poster {
    url: Url,
    tls: Option<Arc<ClientConfig>>,
    kept: Option<Connection>,
}

impl Poster {
    pub fn new(server: &str, ca_pem: &str) -> Result<Self> {
        let url = Url::parse(server)?;
        let tls = if url.secure { Some(pin(ca_pem)?) } else { None };
        Ok(Self { url, tls, kept: None })
    }

    /// `opened` gets a handle on the socket before the request is sent, so that another thread can cut the wait short.
    pub fn post(
        &mut self,
        path: &str,
        lines: &[(&str, &str)],
        body: &[u8],
        silence: Duration,
        opened: &mut dyn FnMut(Option<TcpStream>),
    ) -> Result<Vec<u8>> {
        if let Some(kept) = self.kept.take() {
            // A kept connection may have been closed meanwhile; every post may safely be sent twice.
            opened(kept.line().ok());
            match self.through(kept, path, lines, body, silence) {
                Err(Error::Exchange { source, .. }) if is_closed(&source) => {}
                settled => return settled,
            }
        }
        let connection = Connection::open(&self.url, self.tls.as_ref())?;
        opened(connection.line().ok());
        self.through(connection, path, lines, body, silence)
    }

    fn through(
        &mut self,
        mut connection: Connection,
        path: &str,
        lines: &[(&str, &str)],
        body: &[u8],
        silence: Duration,
    ) -> Result<Vec<u8>> {
        let to = connection.to.clone();
        let head = connection.ask("POST", path, lines, body, silence)?;
        let mut answer = Vec::new();
        let mut reader = connection.body(head.framing).take(MAX_ANSWER);
        reader.read_to_end(&mut answer).map_err(|source| Error::Exchange { to: to.clone(), source })?;
        if !head.close {
            self.kept = reader.into_inner().finish();
        }
        if head.status != 200 {
            let said = String::from_utf8_lossy(&answer).chars().take(300).collect();
            return Err(Error::Status { to, status: head.status, said });
        }
        Ok(answer)
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests;
