//! Short measurements before a machine counts as ready: does it do roughly what its model does? Nothing is written.

use crate::disk::{Aligned, peek};
use crate::inventory::disks::Found;
use muster_wire::Figure;
use ring::digest::{SHA256, digest};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

/// The longest that one thing is measured.
const SLICE: Duration = Duration::from_secs(1);
const MIB: f64 = (1 << 20) as f64;

/// Measures within `budget`; `carry_on(done, total)` hears of each step and may break it off.
pub fn measure(disks: &[Found], budget: Duration, carry_on: &mut dyn FnMut(u64, u64) -> bool) -> Vec<Figure> {
    let total = disks.len() as u64 + 2;
    let slice = SLICE.min(budget / u32::try_from(total).unwrap_or(u32::MAX));
    let figure = |name: String, value: f64| Figure { name, value, unit: "MiB/s".into() };
    let mut figures = Vec::new();
    if !carry_on(0, total) {
        return figures;
    }
    figures.push(figure("memory.copy".into(), memory(slice)));
    if !carry_on(1, total) {
        return figures;
    }
    figures.push(figure("cpu.sha256".into(), sha256(slice)));
    for (n, found) in disks.iter().enumerate() {
        if !carry_on(n as u64 + 2, total) {
            return figures;
        }
        let name = found.disk.identity().unwrap_or(&found.disk.name);
        figures.extend(disk(found, slice).map(|value| figure(format!("disk.read:{name}"), value)));
    }
    carry_on(total, total);
    figures
}

/// Repeats `step`, which says how many bytes it did, and gives MiB/s; `None` when it cannot do any.
fn rate(slice: Duration, mut step: impl FnMut() -> Option<usize>) -> Option<f64> {
    let started = Instant::now();
    let mut bytes = 0_usize;
    loop {
        bytes += step()?;
        let took = started.elapsed();
        if took >= slice {
            return Some(bytes as f64 / MIB / took.as_secs_f64().max(1e-6));
        }
    }
}

/// One thread, larger than any cache level of one core.
fn memory(slice: Duration) -> f64 {
    let from = vec![0x5a_u8; 64 << 20];
    let mut to = vec![0_u8; from.len()];
    let copy = || {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        Some(from.len())
    };
    rate(slice, copy).unwrap_or(0.0)
}

/// One core, as the image's digest is computed.
fn sha256(slice: Duration) -> f64 {
    let block = vec![0x5a_u8; 1 << 20];
    rate(slice, || {
        black_box(digest(&SHA256, black_box(&block)));
        Some(block.len())
    })
    .unwrap_or(0.0)
}

/// In order, past the page cache where the disk allows it.
fn disk(found: &Found, slice: Duration) -> Option<f64> {
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&found.path);
    let mut block = Aligned::new(4 << 20);
    let len = block.as_slice().len();
    let mut offset = 0;
    let mut next = || {
        let at = offset;
        offset = if offset + 2 * len as u64 > found.disk.size_bytes { 0 } else { offset + len as u64 };
        at
    };
    if let Ok(file) = direct
        && file.read_at(block.as_mut_slice(), 0).is_ok_and(|got| got > 0)
    {
        return rate(slice, || file.read_at(block.as_mut_slice(), next()).ok().filter(|got| *got > 0));
    }
    let file = File::open(&found.path).ok()?;
    rate(slice, || peek(&file, next(), len).map(|bytes| bytes.len()).filter(|got| *got > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::disks::Usage;
    use muster_names::Disk;

    #[test]
    fn every_disk_gets_its_figure_and_keeps_its_bytes() {
        let path = std::env::temp_dir().join(format!("muster-commission-{}", std::process::id()));
        std::fs::write(&path, vec![7; 9 << 20]).unwrap();
        let disk = Disk { serial: Some("S".into()), size_bytes: 9 << 20, ..Disk::default() };
        let found = Found { disk, path: path.clone(), usage: Usage::default() };
        let started = Instant::now();
        let figures = measure(&[found], Duration::from_millis(150), &mut |_, _| true);
        assert!(started.elapsed() < Duration::from_secs(5));
        let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["memory.copy", "cpu.sha256", "disk.read:S"]);
        assert!(figures.iter().all(|figure| figure.value > 0.0));
        assert!(std::fs::read(&path).unwrap().iter().all(|b| *b == 7));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn breaking_off_keeps_what_was_measured() {
        let figures = measure(&[], Duration::from_millis(20), &mut |done, _| done == 0);
        assert_eq!(figures.len(), 1);
    }
}
