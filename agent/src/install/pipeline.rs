//! Fetch, unpack, hash and write at the same time: a thread each with short queues between them, so that the slowest of
//! network, processor and disk sets the pace and memory stays bounded. Hashing has a thread of its own because it takes
//! as long as unpacking.

use super::fetch::{Source, Stop};
use crate::disk::Aligned;
use muster_names::Digest;
use ring::digest::{Context, SHA256};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What is unpacked and written at a time.
pub const BLOCK: usize = 1 << 20;
const CHUNK: usize = 256 * 1024;
const QUEUED_CHUNKS: usize = 16;
/// Before the hashing thread, and as many again behind it.
const QUEUED_BLOCKS: usize = 4;

/// Takes the offset and the bytes of one block.
pub type Sink<'a, E> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), E>;

/// What came through.
#[derive(Debug)]
pub struct Passed {
    pub digest: Digest,
    pub raw_digest: Digest,
    pub raw_bytes: u64,
    /// Why unpacking ended early, where it did.
    pub damage: Option<String>,
}

#[derive(Debug)]
pub enum Broken<E> {
    Source(Stop),
    Sink(E),
    Thread(io::Error),
}

fn finish(context: Context) -> Digest {
    Digest(context.finish().as_ref().try_into().unwrap_or([0; 32]))
}

/// Chunks from the fetching thread as a reader; its end is the channel's.
struct Chunks {
    from: Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.chunk.read(into)?;
            if got > 0 || into.is_empty() {
                return Ok(got);
            }
            match self.from.recv() {
                Ok(chunk) => self.chunk = io::Cursor::new(chunk),
                Err(_) => return Ok(0),
            }
        }
    }
}

/// What the unpacking thread saw.
struct Unpacked {
    bytes: u64,
    damage: Option<String>,
}

/// Lets the image through to `sink(offset, block)`; all blocks but the last have [`BLOCK`] bytes. Never more than
/// `raw_bytes` come out of it, whatever the stream holds.
pub fn run<E>(
    mut source: Source<'_>,
    compressed: bool,
    raw_bytes: u64,
    sink: Sink<'_, E>,
) -> Result<Passed, Broken<E>> {
    let (chunks_in, chunks) = sync_channel::<Vec<u8>>(QUEUED_CHUNKS);
    let (raw_in, raw) = sync_channel::<Aligned>(QUEUED_BLOCKS);
    let (blocks_in, blocks) = sync_channel::<Aligned>(QUEUED_BLOCKS);
    let (empties_in, empties) = sync_channel::<Aligned>(2 * QUEUED_BLOCKS + 3);
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.into());
        let fetcher =
            named("fetch").spawn_scoped(scope, move || fetch(&mut source, &chunks_in)).map_err(Broken::Thread)?;
        let unpacker = named("unpack")
            .spawn_scoped(scope, move || unpack(chunks, compressed, raw_bytes, &raw_in, &empties))
            .map_err(Broken::Thread)?;
        let hasher = named("hash").spawn_scoped(scope, move || hash(raw, &blocks_in)).map_err(Broken::Thread)?;
        let mut offset = 0;
        let mut failed = None;
        for block in &blocks {
            let bytes = block.as_slice();
            if let Err(error) = sink(offset, bytes) {
                failed = Some(error);
                break;
            }
            offset += u64::try_from(bytes.len()).unwrap_or(0);
            let _ = empties_in.try_send(block);
        }
        // Closing the queues ends the threads at their next block.
        drop((blocks, empties_in));
        let gone = |_| Broken::Thread(io::Error::other("a thread of the pipeline broke"));
        let raw_digest = hasher.join().map_err(gone)?;
        let unpacked = unpacker.join().map_err(gone)?;
        let fetched = fetcher.join().map_err(gone)?;
        if let Some(error) = failed {
            return Err(Broken::Sink(error));
        }
        let digest = fetched.map_err(Broken::Source)?;
        Ok(Passed { digest, raw_digest, raw_bytes: unpacked.bytes, damage: unpacked.damage })
    })
}

fn fetch(source: &mut Source<'_>, to: &SyncSender<Vec<u8>>) -> Result<Digest, Stop> {
    let mut hash = Context::new(&SHA256);
    loop {
        let mut chunk = vec![0; CHUNK];
        let got = source.read(&mut chunk)?;
        chunk.truncate(got);
        hash.update(&chunk);
        // Nobody listens any more: the sink failed, and its reason is the one that counts.
        if got == 0 || to.send(chunk).is_err() {
            return Ok(finish(hash));
        }
    }
}

fn hash(from: Receiver<Aligned>, to: &SyncSender<Aligned>) -> Digest {
    let mut hash = Context::new(&SHA256);
    for block in from {
        hash.update(block.as_slice());
        if to.send(block).is_err() {
            break;
        }
    }
    finish(hash)
}

fn unpack(
    from: Receiver<Vec<u8>>,
    compressed: bool,
    raw_bytes: u64,
    to: &SyncSender<Aligned>,
    empties: &Receiver<Aligned>,
) -> Unpacked {
    let mut chunks = Chunks { from, chunk: io::Cursor::default() };
    let mut bytes = 0;
    let damage = {
        let mut pass = |reader: &mut dyn Read| blocks(reader, raw_bytes, &mut bytes, to, empties);
        if compressed {
            zstd::stream::read::Decoder::new(&mut chunks).and_then(|mut decoder| pass(&mut decoder))
        } else {
            pass(&mut chunks)
        }
    };
    // After damage the rest is still fetched: its digest tells whether the file or the order is wrong.
    if damage.is_err() {
        let _ = io::copy(&mut chunks, &mut io::sink());
    }
    Unpacked { bytes, damage: damage.err().map(|error| error.to_string()) }
}

fn blocks(
    reader: &mut dyn Read,
    raw_bytes: u64,
    bytes: &mut u64,
    to: &SyncSender<Aligned>,
    empties: &Receiver<Aligned>,
) -> io::Result<()> {
    loop {
        let mut block = empties.try_recv().unwrap_or_else(|_| Aligned::new(BLOCK));
        block.truncate(BLOCK);
        let mut filled = 0;
        while let Some(rest) = block.as_mut_slice().get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        *bytes += u64::try_from(filled).unwrap_or(0);
        if *bytes > raw_bytes {
            return Err(io::Error::other("the image is longer than its order says"));
        }
        block.truncate(filled);
        if to.send(block).is_err() {
            return Ok(());
        }
    }
}
