//! Marks of arrays and pools on a disk or partition: something that spans several disks and may belong to others.

use crate::bytes::{array, be32, le32, le64};
use std::fs::File;

const HEAD: usize = 256 * 1024;
const TAIL: u64 = 128 * 1024;
const MD: u32 = 0xa92b_4efc;
const ZFS: u64 = 0x00ba_b10c;

/// What the `size` bytes at `offset` of `disk` are a member of.
pub fn member(disk: &File, offset: u64, size: u64) -> Option<&'static str> {
    let head = crate::disk::peek(disk, offset, usize::try_from(size).unwrap_or(HEAD).min(HEAD))?;
    let tail_len = size.min(TAIL);
    let tail = crate::disk::peek(disk, offset.checked_add(size - tail_len)?, usize::try_from(tail_len).ok()?)?;
    in_head(&head).or_else(|| in_tail(&tail, size))
}

fn in_head(head: &[u8]) -> Option<&'static str> {
    if (0..4).any(|sector| {
        array::<8>(head, sector * 512) == Some(*b"LABELONE")
            && array::<8>(head, sector * 512 + 24) == Some(*b"LVM2 001")
    }) {
        return Some("LVM volume group");
    }
    if le32(head, 0) == Some(MD) || le32(head, 4096) == Some(MD) {
        return Some("Linux software RAID");
    }
    if array::<22>(head, 0) == Some(*b"bluestore block device") {
        return Some("Ceph OSD");
    }
    // A ZFS label's uberblocks fill its second half, each at least 1 KiB; both byte orders exist.
    let uberblocks = (128 * 1024..HEAD).step_by(1024).filter_map(|at| le64(head, at));
    uberblocks.filter(|magic| *magic == ZFS || magic.swap_bytes() == ZFS).take(4).count().gt(&3).then_some("ZFS pool")
}

fn in_tail(tail: &[u8], size: u64) -> Option<&'static str> {
    let start = size.checked_sub(u64::try_from(tail.len()).ok()?)?;
    let within = |at: u64| usize::try_from(at.checked_sub(start)?).ok();
    // md 1.0 lies 8 KiB before the end rounded to 4 KiB, md 0.90 in the last whole 64 KiB but one.
    let one = size.checked_sub(8192).map(|at| at & !4095).and_then(within);
    let old = (size & !65535).checked_sub(65536).and_then(within);
    if one.into_iter().chain(old).any(|at| le32(tail, at) == Some(MD)) {
        return Some("Linux software RAID");
    }
    if size.checked_sub(1024).and_then(within).and_then(|at| array::<24>(tail, at))
        == Some(*b"Intel Raid ISM Cfg Sig. ")
    {
        return Some("firmware RAID");
    }
    let last = size.checked_sub(512).and_then(within);
    (last.and_then(|at| be32(tail, at)) == Some(0xde11_de11)).then_some("RAID in SNIA's disk data format")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put;
    use proptest::prelude::*;

    #[test]
    fn arrays_and_pools_are_known_by_their_marks() {
        let mut head = vec![0; HEAD];
        assert_eq!(in_head(&head), None);
        put(&mut head, 512, b"LABELONE................LVM2 001");
        assert_eq!(in_head(&head), Some("LVM volume group"));
        let mut head = vec![0; HEAD];
        put(&mut head, 4096, &MD.to_le_bytes());
        assert_eq!(in_head(&head), Some("Linux software RAID"));
        let mut head = vec![0; HEAD];
        for n in 0..4 {
            put(&mut head, 128 * 1024 + n * 4096, &ZFS.to_be_bytes());
        }
        assert_eq!(in_head(&head), Some("ZFS pool"));
    }

    #[test]
    fn marks_at_the_end_are_found_where_the_size_puts_them() {
        let size = 10 * 1024 * 1024 + 512 * 7;
        for (at, mark) in [((size - 8192) & !4095, MD), ((size & !65535) - 65536, MD)] {
            let mut disk = vec![0; size];
            put(&mut disk, at, &mark.to_le_bytes());
            assert_eq!(in_tail(&disk[size - 131_072..], size as u64), Some("Linux software RAID"));
        }
        let mut disk = vec![0; size];
        put(&mut disk, size - 512, &[0xde, 0x11, 0xde, 0x11]);
        assert!(in_tail(&disk[size - 131_072..], size as u64).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, size: u64) {
            let _ = in_head(&bytes);
            let _ = in_tail(&bytes, size);
        }
    }
}
