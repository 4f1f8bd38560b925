//! One client's connection: requests one after another, each with a time to be read, found and taken.

use super::Bounds;
use super::answer::{Answer, fixed, found};
use super::body::{Body, Content};
use super::counters::{Counters, count};
use super::head::{BadHead, HEAD_MAX, Head, Method, Parsed, parse_head};
use super::stream::Stream;
use super::tls::handshake;
use crate::transfers::{Begun, Ended, How, TransferWatch, Via};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// One call of sendfile at most; then others get their turn.
const SLICE: u64 = 1 << 20;
/// Of what lies in memory, so much is offered to the socket between two looks at how far it is.
const MEMORY_SLICE: usize = 1 << 20;
/// Under TLS a file passes through this process, so much at a time; all that are sent at once hold 128 MiB.
const COPIED: u64 = 256 << 10;
/// Up to here head and body leave in one packet train.
const TOGETHER_MAX: usize = 16 * 1024;

/// What all connections share.
pub struct Site {
    pub content: Arc<dyn Content>,
    pub watch: Arc<dyn TransferWatch>,
    pub bounds: Bounds,
    pub counters: Arc<Counters>,
    pub places: Arc<Semaphore>,
    pub files: Arc<Semaphore>,
    pub per_ip: Mutex<BTreeMap<IpAddr, u32>>,
}

pub async fn run(site: &Site, tls: Option<&TlsAcceptor>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let began = Instant::now();
    let via = if tls.is_some() { Via::Https } else { Via::Http };
    let mut stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => match handshake(site, tls, stream).await {
            Ok(stream) => Stream::Secured(stream),
            Err(how) => {
                let took = began.elapsed();
                site.watch.ended(&Ended { via, peer, path: "", bytes: 0, took, repeats: 0, how });
                return;
            }
        },
    };
    let mut input = Vec::with_capacity(1024);
    loop {
        let head = match timeout(site.bounds.head, read_head(&mut stream, &mut input)).await {
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => {
                // An idle connection ends in silence; half a head is somebody slow.
                if !input.is_empty() {
                    count(&site.counters.slow_head);
                    let _ = write(site, &mut stream, &fixed(408, false, false, "").head).await;
                }
                return;
            }
        };
        count(&site.counters.requests);
        let keep = match head {
            Ok(head) => answer(site, &mut stream, peer, &head).await,
            Err(bad) => {
                count(&site.counters.bad_request);
                tracing::debug!(%peer, reason = bad.label(), "boot HTTP request refused");
                let _ = write(site, &mut stream, &fixed(400, false, false, "").head).await;
                false
            }
        };
        if !keep {
            let _ = timeout(site.bounds.stall, stream.shutdown()).await;
            return;
        }
    }
}

/// The next head; `None` when the client closed between two requests.
async fn read_head(stream: &mut Stream, input: &mut Vec<u8>) -> io::Result<Option<Result<Head, BadHead>>> {
    loop {
        if !input.is_empty() {
            match parse_head(input) {
                Ok(Parsed::Whole { head, length }) => {
                    input.drain(..length.min(input.len()));
                    return Ok(Some(Ok(head)));
                }
                Ok(Parsed::Partial) => {}
                Err(bad) => return Ok(Some(Err(bad))),
            }
        }
        let room = u64::try_from(HEAD_MAX.saturating_sub(input.len())).unwrap_or(0);
        if (&mut *stream).take(room).read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

/// Whether the connection may go on.
async fn answer(site: &Site, stream: &mut Stream, peer: SocketAddr, head: &Head) -> bool {
    let began = Instant::now();
    let only_head = head.method == Method::Head;
    let refuse = |status: u16, extra: &str| fixed(status, head.keep_alive, only_head, extra);
    let counters = &site.counters;
    if head.method == Method::Other {
        count(&counters.bad_method);
        let refusal = fixed(405, false, false, "Allow: GET, HEAD\r\n");
        return finish(site, stream, peer, head, &refusal, How::Refused(405), began).await;
    }
    let body = match timeout(site.bounds.open, site.content.open(&head.path, peer)).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            count(&counters.not_found);
            return finish(site, stream, peer, head, &refuse(404, ""), How::NotFound, began).await;
        }
        Err(_) => {
            count(&counters.slow_content);
            return finish(site, stream, peer, head, &refuse(503, &later(peer)), How::Refused(503), began).await;
        }
    };
    let plan = found(head, body.length(), body.content_type());
    if plan.status == 416 {
        count(&counters.bad_range);
        return finish(site, stream, peer, head, &plan, How::Refused(416), began).await;
    }
    if only_head {
        count(&counters.heads);
        return finish(site, stream, peer, head, &plan, How::Probed, began).await;
    }
    let (place, file) = match &body {
        Body::Memory { .. } => (None, None),
        Body::File { path, length, .. } => {
            let Ok(place) = site.files.try_acquire() else {
                count(&counters.busy);
                return finish(site, stream, peer, head, &refuse(503, &later(peer)), How::Refused(503), began).await;
            };
            match open(path, *length).await {
                Ok(file) => (Some(place), Some(file)),
                Err(error) => {
                    count(&counters.file_failed);
                    tracing::warn!(path = %path.display(), %error, "a file of the boot HTTP server cannot be read");
                    return finish(site, stream, peer, head, &refuse(500, ""), How::Refused(500), began).await;
                }
            }
        }
    };
    let gone = Arc::default();
    site.watch.began(&Begun { via: via(stream), peer, path: &head.path, size: plan.to - plan.from, gone: &gone });
    let result = match (&body, file) {
        (Body::Memory { bytes, .. }, _) => send_memory(site, stream, &plan, bytes, &gone).await,
        (Body::File { .. }, Some(file)) => send_file(site, stream, &plan, file, &gone).await,
        (Body::File { .. }, None) => Err(io::ErrorKind::NotFound.into()),
    };
    drop(place);
    let sent = gone.load(Ordering::Relaxed);
    counters.bytes.fetch_add(sent, Ordering::Relaxed);
    let how = match &result {
        Ok(()) => How::Whole,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => How::Lost,
        Err(_) => How::GaveUp(0),
    };
    count(match (&result, plan.status) {
        (Err(_), _) => &counters.broken,
        (Ok(()), 206) => &counters.partial,
        (Ok(()), _) => &counters.whole,
    });
    let (path, took) = (head.path.as_str(), began.elapsed());
    site.watch.ended(&Ended { via: via(stream), peer, path, bytes: sent, took, repeats: 0, how });
    result.is_ok() && plan.keep_alive
}

/// Sends an answer that is all head, and tells.
async fn finish(
    site: &Site,
    stream: &mut Stream,
    peer: SocketAddr,
    head: &Head,
    answer: &Answer,
    how: How,
    began: Instant,
) -> bool {
    let written = write(site, stream, &answer.head).await;
    let (path, took) = (head.path.as_str(), began.elapsed());
    site.watch.ended(&Ended { via: via(stream), peer, path, bytes: 0, took, repeats: 0, how });
    written.is_ok() && answer.keep_alive
}

fn via(stream: &Stream) -> Via {
    match stream {
        Stream::Plain(_) => Via::Http,
        Stream::Secured(_) => Via::Https,
    }
}

/// When to come again: spread over ten seconds by the client's own numbers, so that a hall does not return as one.
fn later(peer: SocketAddr) -> String {
    let ip = match peer.ip() {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => ip.octets().iter().fold(0, |sum, b| sum * 31 % 65_521 + u32::from(*b)),
    };
    format!("Retry-After: {}\r\n", 1 + (ip ^ u32::from(peer.port())) % 10)
}

/// All of it, or an error once the client took nothing for the stall time.
async fn write(site: &Site, stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = timeout(site.bounds.stall, stream.write(bytes)).await.map_err(io::Error::from)??;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    // Under TLS the end may still lie in this process.
    timeout(site.bounds.stall, stream.flush()).await.map_err(io::Error::from).flatten()
}

/// Counts what has gone as it goes: what was cut off shall say where.
async fn send_memory(
    site: &Site,
    stream: &mut Stream,
    plan: &Answer,
    bytes: &[u8],
    gone: &AtomicU64,
) -> io::Result<()> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let body = bytes.get(at(plan.from)..at(plan.to)).unwrap_or_default();
    if body.len() <= TOGETHER_MAX {
        write(site, stream, &[&plan.head, body].concat()).await?;
        gone.store(body.len() as u64, Ordering::Relaxed);
        return Ok(());
    }
    write(site, stream, &plan.head).await?;
    for slice in body.chunks(MEMORY_SLICE) {
        write(site, stream, slice).await?;
        gone.fetch_add(slice.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Opened off the runtime's threads; a disk may be slow to wake.
async fn open(path: &Path, length: u64) -> io::Result<File> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || -> io::Result<File> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        match meta.is_file() && meta.len() == length {
            true => Ok(file),
            false => Err(io::Error::other("the file's length is not what it was when it was listed")),
        }
    });
    opened.await.map_err(io::Error::other)?
}

async fn send_file(site: &Site, stream: &mut Stream, plan: &Answer, file: File, gone: &AtomicU64) -> io::Result<()> {
    write(site, stream, &plan.head).await?;
    let file = Arc::new(file);
    let mut at = plan.from;
    while at < plan.to {
        let left = plan.to - at;
        at += match stream {
            Stream::Plain(stream) => give(site, stream, &file, at, left.min(SLICE)).await?,
            Stream::Secured(_) => copy(site, stream, &file, at, left.min(COPIED)).await?,
        };
        gone.store(at - plan.from, Ordering::Relaxed);
    }
    Ok(())
}

/// What the socket takes without waiting, at most `count` bytes.
async fn give(site: &Site, stream: &TcpStream, file: &File, at: u64, count: u64) -> io::Result<u64> {
    let slice = stream.async_io(Interest::WRITABLE, || send_slice(stream, file, at, count));
    match timeout(site.bounds.stall, slice).await.map_err(io::Error::from).flatten()? {
        // The file became shorter than it said: the length promised cannot be kept.
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => Ok(sent),
    }
}

/// `count` bytes, read off the runtime's threads and written under TLS.
async fn copy(site: &Site, stream: &mut Stream, file: &Arc<File>, at: u64, count: u64) -> io::Result<u64> {
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
        let mut slice = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        file.read_exact_at(&mut slice, at)?;
        Ok(slice)
    });
    let slice = read.await.map_err(io::Error::other)??;
    write(site, stream, &slice).await?;
    Ok(count)
}

/// sendfile(2): from the page cache to the socket without passing through this process.
fn send_slice(stream: &TcpStream, file: &File, from: u64, count: u64) -> io::Result<u64> {
    let mut offset = libc::off_t::try_from(from).map_err(io::Error::other)?;
    let count = usize::try_from(count).map_err(io::Error::other)?;
    // SAFETY: both descriptors are open for the whole call and `offset` lives through it.
    let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) };
    u64::try_from(sent).map_err(|_| io::Error::last_os_error())
}
