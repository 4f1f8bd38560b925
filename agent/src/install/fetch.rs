//! The image over HTTP, once from its first byte to its last, over as many connections as it takes.
//!
//! A broken connection is taken up where it broke with `Range`; what was decompressed so far stays. The digest over
//! the whole tells whether the pieces belonged together.

use crate::link::http::{Body, Connection, Url};
use crate::link::turns::Backoff;
use crate::{Error, Kind};
use rustls::ClientConfig;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection that gives nothing for this long is broken.
const SILENCE: Duration = Duration::from_secs(15);
/// A server that refuses this often in a row means it.
const REFUSALS: u32 = 3;

/// Why there will be no more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Cancelled,
    Network(String),
}

pub struct Source<'a> {
    pub url: Url,
    pub tls: Option<Arc<ClientConfig>>,
    /// The length that the order names; nothing beyond it is read.
    pub total: u64,
    /// How long to go on without a single byte.
    pub patience: Duration,
    pub cancel: &'a AtomicBool,
    offset: u64,
    body: Option<Body>,
}

impl<'a> Source<'a> {
    pub fn new(
        url: Url,
        tls: Option<Arc<ClientConfig>>,
        total: u64,
        patience: Duration,
        cancel: &'a AtomicBool,
    ) -> Self {
        Self { url, tls, total, patience, cancel, offset: 0, body: None }
    }

    /// The next bytes; 0 at the image's end, also when the server's file is shorter than the order says.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Stop> {
        let room = usize::try_from(self.total.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..room).unwrap_or_default();
        if into.is_empty() {
            return Ok(0);
        }
        let since = Instant::now();
        let mut backoff = Backoff::default();
        let mut refusals = 0;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let words = match self.attempt(into) {
                Ok(got) => {
                    self.offset += u64::try_from(got).unwrap_or(0);
                    return Ok(got);
                }
                Err(error) => {
                    self.body = None;
                    refusals += u32::from(error.kind() == Kind::Refused);
                    crate::error::chain(&error)
                }
            };
            if refusals >= REFUSALS || since.elapsed() >= self.patience {
                return Err(Stop::Network(words));
            }
            self.sleep(backoff.after().min(self.patience));
        }
    }

    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.cancel.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn attempt(&mut self, into: &mut [u8]) -> crate::Result<usize> {
        let lost = |source| Error::Exchange { to: self.url.address.to_string(), source };
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.open()?,
        };
        let got = body.read(into).map_err(lost)?;
        self.body = Some(body);
        Ok(got)
    }

    fn open(&self) -> crate::Result<Body> {
        let to = self.url.address.to_string();
        let mut connection = Connection::open(&self.url, self.tls.as_ref())?;
        let range = format!("bytes={}-", self.offset);
        let lines = [("range", range.as_str())];
        let lines = if self.offset == 0 { &[] } else { &lines[..] };
        let head = connection.ask("GET", &self.url.path, lines, b"", SILENCE)?;
        let mut body = connection.body(head.framing);
        match (head.status, head.range_start) {
            (206, Some(start)) if start == self.offset => Ok(body),
            (206, _) => Err(Error::NotHttp { to, reason: "another range than was asked for" }),
            // A server without ranges gives all of it again.
            (200, _) => {
                let mut again = body.by_ref().take(self.offset);
                let skipped = std::io::copy(&mut again, &mut std::io::sink());
                match skipped.map_err(|source| Error::Exchange { to: to.clone(), source })? {
                    skipped if skipped == self.offset => Ok(body),
                    _ => Err(Error::NotHttp { to, reason: "the file became shorter" }),
                }
            }
            (status, _) => {
                let mut said = Vec::new();
                let _ = body.take(300).read_to_end(&mut said);
                Err(Error::Status { to, status, said: String::from_utf8_lossy(&said).into_owned() })
            }
        }
    }
}
