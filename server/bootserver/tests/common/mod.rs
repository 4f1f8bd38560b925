//! What both socket tests need: a watcher that remembers, contents, and curl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]
#![allow(dead_code, reason = "each test binary uses its part")]

use bytes::Bytes;
use muster_bootserver::transfers::{Begun, Ended, How, TransferWatch};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub bytes: u64,
    pub how: How,
}

#[derive(Default)]
pub struct Watcher {
    ended: Mutex<Vec<Seen>>,
    began: Mutex<usize>,
    news: Condvar,
}

impl Watcher {
    /// Waits until `count` have ended.
    pub fn wait(&self, count: usize) -> Vec<Seen> {
        let ended = self.ended.lock().unwrap();
        let limit = Duration::from_secs(10);
        let (ended, _) = self.news.wait_timeout_while(ended, limit, |seen| seen.len() < count).unwrap();
        assert!(ended.len() >= count, "only {ended:?}");
        ended.clone()
    }

    pub fn began(&self) -> usize {
        *self.began.lock().unwrap()
    }
}

impl TransferWatch for Watcher {
    fn began(&self, _: &Begun<'_>) {
        *self.began.lock().unwrap() += 1;
    }

    fn ended(&self, ended: &Ended<'_>) {
        let seen = Seen { path: ended.path.to_owned(), bytes: ended.bytes, how: ended.how };
        self.ended.lock().unwrap().push(seen);
        self.news.notify_all();
    }
}

/// A server that ends with its test.
pub struct Running<Counters> {
    pub watch: Arc<Watcher>,
    pub counters: Arc<Counters>,
    cancel: CancellationToken,
    _runtime: tokio::runtime::Runtime,
}

impl<Counters> Running<Counters> {
    pub fn start<F>(counters: Arc<Counters>, serve: impl FnOnce(Arc<Watcher>, CancellationToken) -> F) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let (watch, cancel) = (Arc::new(Watcher::default()), CancellationToken::new());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(serve(watch.clone(), cancel.clone()));
        Self { watch, counters, cancel, _runtime: runtime }
    }
}

impl<Counters> Drop for Running<Counters> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Bytes in which no two blocks are alike.
pub fn pattern(size: usize) -> Bytes {
    (0..size as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// What curl writes to its standard output.
pub fn curl(words: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(words)
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A folder of this test's own, empty at first and gone with the test.
pub struct Folder(PathBuf);

pub fn folder(name: &str) -> Folder {
    let folder = std::env::temp_dir().join(format!("muster-bootserver-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

impl std::ops::Deref for Folder {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
