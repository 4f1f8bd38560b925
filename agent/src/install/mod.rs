//! Writing an operating system to the one disk that the order names.
//!
//! The order of steps is what makes it safe:
//! 1. [`choose`] compares machine and disk with the order and refuses on any difference;
//! 2. the image's first MiB is fetched and its partition table planned for this disk, with nothing written yet;
//! 3. the daemon is asked whether this may proceed, and anything but yes ends it;
//! 4. the disk's first MiB and its end are zeroed: from here to step 7 no firmware can boot from it;
//! 5. the rest is written while it is unpacked, both digests are compared, samples are read back;
//! 6. the seed partition and the backup table are written;
//! 7. the first MiB with the new table goes last.
//!
//! A machine that dies or is stopped in between has a disk that does not boot; one with a wrong image never has the
//! first MiB. The image is never mounted, run or entered.

pub mod bring;
pub mod efi;
pub mod fat;
pub mod fetch;
pub mod filesystem;
pub mod gpt;
pub mod pipeline;
pub mod seed;

use crate::bytes::{is_zero, put};
use crate::disk::{Aligned, Target};
use crate::inventory::disks::Found;
use crate::link::http::Url;
use fetch::{Source, Stop};
use muster_names::{Epoch, FirmwareMode};
use muster_wire::{DiskRef, Identity, InstallFailure, InstallOrder, Installed, Progress, Step, Written};
use pipeline::Broken;
use ring::digest::{SHA256, digest};
use rustls::ClientConfig;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kept back until everything else is on the disk and right.
const HEAD: usize = pipeline::BLOCK;
/// Zeroed at the disk's end: backup table, and marks that arrays leave there.
const TAIL: u64 = 2 * gpt::MIB;
/// Holes are looked for in pieces of this size.
const HOLE: usize = 64 * 1024;
const SAMPLES: u64 = 64;

/// Where the install takes place, as found a moment ago.
pub struct Ground<'a> {
    pub identity: Identity,
    pub firmware_mode: FirmwareMode,
    pub disks: Vec<Found>,
    /// Asks the daemon; called once, immediately before the first write.
    pub may_proceed: &'a dyn Fn(&[DiskRef]) -> Result<(), InstallFailure>,
    pub progress: &'a dyn Fn(Progress),
    pub cancel: &'a AtomicBool,
    /// efivarfs, where the machine has it.
    pub efi: Option<PathBuf>,
    pub tls: Option<Arc<ClientConfig>>,
    /// How long the image may stay away.
    pub patience: Duration,
}

/// The disk that the order is for, or why there is none.
pub fn choose<'a>(
    order: &InstallOrder,
    identity: &Identity,
    mode: FirmwareMode,
    disks: &'a [Found],
) -> Result<&'a Found, InstallFailure> {
    let mut differences = order.identity.differences(identity);
    if order.firmware_mode != mode {
        differences.push(format!("firmware: expected {:?}, found {mode:?}", order.firmware_mode));
    }
    let named: Vec<&Found> = disks.iter().filter(|found| order.disk.names(&found.disk)).collect();
    if named.len() != 1 {
        let here: Vec<String> = disks
            .iter()
            .map(|found| {
                let disk = &found.disk;
                format!("{} {} {} bytes", disk.name, disk.identity().unwrap_or("unnamed"), disk.size_bytes)
            })
            .collect();
        let expected = &order.disk;
        differences.push(format!(
            "disk: expected one with wwn {:?}, serial {:?}, {} bytes; {} of these are: {}",
            expected.wwn,
            expected.serial,
            expected.size_bytes,
            named.len(),
            here.join(", ")
        ));
    }
    match named.first() {
        Some(found) if differences.is_empty() => {
            may_be_written(found, order.machine.to_string().as_str())?;
            Ok(found)
        }
        _ => Err(InstallFailure::WrongMachine { differences }),
    }
}

/// Refuses a disk in use, of somebody else, or read-only.
pub fn may_be_written(found: &Found, machine: &str) -> Result<(), InstallFailure> {
    if let Some(owner) = &found.disk.owner
        && owner != machine
    {
        return Err(InstallFailure::ForeignDisk { owner: owner.clone() });
    }
    // What an earlier install for this machine left, its own arrays included, may be overwritten.
    let sealed = found.disk.owner.is_some();
    let against = found.usage.live.as_ref().or(found.usage.member.as_ref().filter(|_| !sealed));
    if let Some(owner) = against {
        return Err(InstallFailure::ForeignDisk { owner: owner.clone() });
    }
    if found.disk.read_only {
        return Err(InstallFailure::Disk { reason: format!("{} is read-only", found.disk.name) });
    }
    Ok(())
}

fn other(reason: impl ToString) -> InstallFailure {
    InstallFailure::Other { reason: reason.to_string() }
}

fn disk_failed(what: &'static str) -> impl Fn(io::Error) -> InstallFailure {
    move |error| InstallFailure::Disk { reason: format!("{what}: {error}") }
}

/// The whole install; its end is the report.
pub fn run(epoch: Epoch, order: &InstallOrder, ground: &Ground<'_>) -> Result<Installed, InstallFailure> {
    let started = Instant::now();
    let image = &order.image;
    let found = choose(order, &ground.identity, ground.firmware_mode, &ground.disks)?;
    let compressed = match image.compression.as_str() {
        "zstd" => true,
        "none" => false,
        unknown => return Err(other(format!("the agent cannot unpack {unknown:?}"))),
    };
    let url = Url::parse(&image.url).map_err(other)?;
    let source = Source::new(url, ground.tls.clone(), image.bytes, ground.patience, ground.cancel);
    let mut writer = Writer::new(order, found, ground);
    let passed = pipeline::run(source, compressed, image.raw_bytes, &mut |offset, block| writer.take(offset, block));
    let passed = match passed {
        Ok(passed) => passed,
        Err(Broken::Sink(failure)) => return Err(failure),
        Err(Broken::Source(Stop::Cancelled)) => return Err(cancelled()),
        Err(Broken::Source(Stop::Network(reason))) => return Err(InstallFailure::Network { reason }),
        Err(Broken::Thread(error)) => return Err(other(error)),
    };
    if passed.digest != image.digest {
        return Err(InstallFailure::DigestMismatch { expected: image.digest, found: passed.digest });
    }
    if let Some(damage) = passed.damage {
        return Err(other(format!("the image cannot be unpacked although its digest is right: {damage}")));
    }
    if passed.raw_digest != image.raw_digest || passed.raw_bytes != image.raw_bytes {
        return Err(InstallFailure::DigestMismatch { expected: image.raw_digest, found: passed.raw_digest });
    }
    let root_uuid = writer.finish()?;
    Ok(Installed {
        epoch,
        order: order.order,
        disk: order.disk.clone(),
        digest: passed.digest,
        raw_digest: passed.raw_digest,
        root_uuid,
        bytes_written: writer.written,
        bytes_skipped: writer.skipped,
        seconds: started.elapsed().as_secs(),
    })
}

fn cancelled() -> InstallFailure {
    other("broken off because something newer stands")
}

/// What is on the disk once permission was given.
struct Begun {
    target: Target,
    head: Vec<u8>,
    table: gpt::Table,
    seed_at: u64,
}

struct Writer<'a> {
    order: &'a InstallOrder,
    found: &'a Found,
    ground: &'a Ground<'a>,
    begun: Option<Begun>,
    /// A run of zeros not yet made: offset and length.
    hole: Option<(u64, u64)>,
    /// Offset and digest of blocks to read back.
    samples: Vec<(u64, usize, [u8; 32])>,
    every: u64,
    written: u64,
    skipped: u64,
    told: Option<Instant>,
}

impl<'a> Writer<'a> {
    fn new(order: &'a InstallOrder, found: &'a Found, ground: &'a Ground<'a>) -> Self {
        let blocks = order.image.raw_bytes.div_ceil(HEAD as u64);
        let every = blocks.div_ceil(SAMPLES).max(1);
        let (samples, begun) = (Vec::new(), None);
        Self { order, found, ground, begun, hole: None, samples, every, written: 0, skipped: 0, told: None }
    }

    /// One block of the image. The first is planned with, asked for and kept back.
    fn take(&mut self, offset: u64, block: &[u8]) -> Result<(), InstallFailure> {
        if self.ground.cancel.load(Ordering::Relaxed) {
            return Err(cancelled());
        }
        if self.begun.is_none() {
            self.begun = Some(self.begin(block)?);
            return Ok(());
        }
        let number = offset / HEAD as u64;
        if number.is_multiple_of(self.every) || offset + block.len() as u64 == self.order.image.raw_bytes {
            let sample = block.get(..HOLE).unwrap_or(block);
            self.samples.push((offset, sample.len(), hash(sample)));
        }
        // Data that lies together is written by one call: a disk is quick with large writes alone.
        let mut data = 0..0;
        for (n, piece) in block.chunks(HOLE).enumerate() {
            let at = n * HOLE;
            if is_zero(piece) {
                self.data(offset, block, std::mem::replace(&mut data, 0..0))?;
                self.hole(offset + at as u64, piece.len() as u64);
            } else {
                data = if data.is_empty() { at..at + piece.len() } else { data.start..at + piece.len() };
            }
        }
        self.data(offset, block, data)?;
        self.tell(Step::Image, offset + block.len() as u64, self.order.image.raw_bytes);
        Ok(())
    }

    fn begin(&mut self, head: &[u8]) -> Result<Begun, InstallFailure> {
        let disk = &self.found.disk;
        let mut at = |offset: u64, len: usize| {
            let offset = usize::try_from(offset).ok()?;
            head.get(offset..offset.checked_add(len)?).map(Into::into)
        };
        let table = gpt::read(&mut at, disk.sector_bytes, disk.size_bytes).ok_or_else(|| other(gpt::Unfit::NoTable))?;
        let (table, seed_at) = table
            .grown(disk.size_bytes, self.order.machine)
            .map_err(|unfit| InstallFailure::Disk { reason: unfit.to_string() })?;
        if self.order.image.raw_bytes > seed_at.max(gpt::MIB) {
            return Err(InstallFailure::Disk { reason: gpt::Unfit::TooSmall.to_string() });
        }
        (self.ground.may_proceed)(std::slice::from_ref(&self.order.disk))?;
        let mut target = Target::open(&self.found.path).map_err(disk_failed("open"))?;
        if target.size() != disk.size_bytes {
            return Err(InstallFailure::Disk { reason: "its size changed a moment ago".into() });
        }
        let cleared = target
            .zero(0, HEAD as u64)
            .and_then(|()| target.zero(disk.size_bytes - TAIL, TAIL))
            .and_then(|()| target.sync());
        cleared.map_err(disk_failed("clear the old partition table"))?;
        Ok(Begun { target, head: head.to_vec(), table, seed_at })
    }

    fn target(&mut self) -> Result<&mut Target, InstallFailure> {
        self.begun.as_mut().map(|begun| &mut begun.target).ok_or_else(|| other("nothing was written"))
    }

    /// Holes are gathered and made in one go; the disk held something else before, so that leaving them out would be
    /// wrong.
    fn hole(&mut self, offset: u64, len: u64) {
        let (start, before) = self.hole.unwrap_or((offset, 0));
        self.hole = Some((start, before + len));
    }

    /// Writes a part of a block.
    fn data(&mut self, offset: u64, block: &[u8], part: Range<usize>) -> Result<(), InstallFailure> {
        let at = offset + part.start as u64;
        let bytes = block.get(part).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        self.fill()?;
        self.target()?.write(at, bytes).map_err(disk_failed("write"))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn fill(&mut self) -> Result<(), InstallFailure> {
        if let Some((start, len)) = self.hole.take() {
            self.target()?.zero(start, len).map_err(disk_failed("write zeros"))?;
            self.skipped += len;
        }
        Ok(())
    }

    fn tell(&mut self, step: Step, done: u64, total: u64) {
        let quiet = self.told.is_some_and(|told| told.elapsed() < Duration::from_millis(250));
        if !quiet || done >= total {
            self.told = Some(Instant::now());
            (self.ground.progress)(Progress { step, done, total, unit: "bytes".into() });
        }
    }

    /// Everything after the image itself: the digests were right.
    fn finish(&mut self) -> Result<Option<String>, InstallFailure> {
        self.fill()?;
        self.verify()?;
        let step = |step| (self.ground.progress)(Progress { step, done: 0, total: 1, unit: "bytes".into() });
        step(Step::Seed);
        let written = Written {
            order: self.order.order,
            machine: self.order.machine,
            image: self.order.image.id.clone(),
            raw_digest: self.order.image.raw_digest,
            disk: self.order.disk.clone(),
        };
        let files = seed::files(self.order, written);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        let size = usize::try_from(gpt::SEED_BYTES).unwrap_or(0);
        let serial = u32::try_from(self.order.order.0 & 0xffff_ffff).unwrap_or(0);
        let seed =
            fat::volume(size, "CIDATA", serial, &files).ok_or_else(|| other("the seed is larger than 16 MiB"))?;
        let begun = self.begun.as_mut().ok_or_else(|| other("the image is empty"))?;
        begun.target.write(begun.seed_at, &seed).map_err(disk_failed("write the seed"))?;
        step(Step::Partition);
        begun.partition().map_err(disk_failed("write the partition table"))?;
        let root_uuid = begun.root_uuid();
        if let Some(folder) = &self.ground.efi {
            step(Step::BootOrder);
            if let Err(error) = efi::set_boot_order(folder, &begun.table) {
                // The server does not rely on it: it sets its own override before a boot that matters.
                crate::say!("boot order not set: {error}");
            }
        }
        Ok(root_uuid)
    }

    fn verify(&mut self) -> Result<(), InstallFailure> {
        let samples = std::mem::take(&mut self.samples);
        let total = samples.len() as u64;
        self.target()?.sync().map_err(disk_failed("flush"))?;
        let mut block = Aligned::new(HEAD);
        for (n, (offset, len, expected)) in samples.into_iter().enumerate() {
            block.truncate(len);
            self.target()?.read(offset, &mut block).map_err(disk_failed("read back"))?;
            if hash(block.as_slice()) != expected {
                let reason = format!("what was written at byte {offset} reads back differently");
                return Err(InstallFailure::Disk { reason });
            }
            (self.ground.progress)(Progress { step: Step::Verify, done: n as u64 + 1, total, unit: "blocks".into() });
        }
        Ok(())
    }
}

impl Begun {
    fn partition(&mut self) -> io::Result<()> {
        let size = self.target.size();
        gpt::protect(&mut self.head, self.table.sector, size);
        for (offset, bytes) in self.table.writes(size) {
            match usize::try_from(offset) {
                Ok(at) if at < self.head.len() => put(&mut self.head, at, &bytes),
                _ => self.target.write(offset, &bytes)?,
            }
        }
        self.target.sync()?;
        self.target.write(0, &self.head)?;
        self.target.sync()?;
        let mut back = Aligned::new(self.head.len());
        self.target.read(0, &mut back)?;
        if back.as_slice() != self.head {
            return Err(io::Error::other("it reads back differently"));
        }
        // The kernel may refuse while something looks at the disk; the machine resets next anyway.
        let _ = self.target.reread_table();
        Ok(())
    }

    /// From the partition that says it is the root, else from the largest that holds a filesystem we know.
    fn root_uuid(&mut self) -> Option<String> {
        let mut places: Vec<_> =
            self.table.partitions().map(|(_, entry, at, len)| (entry.kind == gpt::ROOT, len, at)).collect();
        places.sort_unstable();
        let target = &mut self.target;
        places.into_iter().rev().find_map(|(_, len, at)| {
            let wanted = filesystem::LOOK.next_multiple_of(crate::disk::ALIGN);
            let mut start = Aligned::new(wanted.min(usize::try_from(len).ok()?));
            target.read(at, &mut start).ok()?;
            filesystem::uuid(start.as_slice())
        })
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}

#[cfg(test)]
pub mod tests;
