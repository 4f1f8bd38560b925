//! The one place that writes to a disk.
//!
//! A [`Target`] is a block device, claimed exclusively so that the kernel itself refuses a mounted or held one, or a
//! regular file (which tests use). Large aligned writes bypass the page cache; where `O_DIRECT` is refused, writes go
//! through it and are synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Alignment that every disk in use accepts for direct I/O.
pub const ALIGN: usize = 4096;

/// `linux/fs.h`
const BLKRRPART: u64 = 0x125f;
const BLKFLSBUF: u64 = 0x1261;
const BLKDISCARD: u64 = 0x1277;
const BLKSECDISCARD: u64 = 0x127d;
const BLKZEROOUT: u64 = 0x127f;

/// Bytes that start at a multiple of [`ALIGN`] in memory.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub fn new(capacity: usize) -> Self {
        let bytes = vec![0; capacity.saturating_add(ALIGN)];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start, len: capacity }
    }

    /// Says how much of it counts; never more than what was reserved.
    pub fn truncate(&mut self, len: usize) {
        self.len = len.min(self.bytes.len().saturating_sub(self.start));
    }

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

pub struct Target {
    file: File,
    path: PathBuf,
    size: u64,
    block: bool,
    /// Whether `O_DIRECT` is set just now, and whether it may be.
    direct: bool,
    may_direct: bool,
}

impl Target {
    /// Opens for writing. Fails with `EBUSY` on a block device that is mounted or held.
    pub fn open(path: &Path) -> io::Result<Self> {
        let kind = std::fs::metadata(path)?.file_type();
        let block = kind.is_block_device();
        if !block && !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a disk nor a file"));
        }
        let flags = if block { libc::O_EXCL } else { 0 };
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, path: path.into(), size, block, direct: false, may_direct: true })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn set_direct(&mut self, wanted: bool) {
        if self.direct == wanted || (wanted && !self.may_direct) {
            return;
        }
        let flag = if wanted { libc::O_DIRECT } else { 0 };
        // SAFETY: fcntl on a descriptor this struct owns, with integer arguments only.
        let set = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETFL, flag) } == 0;
        if set {
            self.direct = wanted;
        } else if wanted {
            self.may_direct = false;
        }
    }

    fn bounds(&self, offset: u64, len: usize) -> io::Result<()> {
        let end = offset.checked_add(u64::try_from(len).unwrap_or(u64::MAX));
        if end.is_none_or(|end| end > self.size) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the disk"));
        }
        Ok(())
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.bounds(offset, bytes.len())?;
        let fits = |n: usize| n.is_multiple_of(ALIGN);
        let even = fits(bytes.len()) && fits(bytes.as_ptr().addr()) && offset.is_multiple_of(4096);
        self.set_direct(even);
        match self.file.write_all_at(bytes, offset) {
            Err(error) if self.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                self.set_direct(false);
                self.may_direct = false;
                self.file.write_all_at(bytes, offset)
            }
            written => written,
        }
    }

    /// Reads from the medium where the kernel lets it, not from what it remembers.
    pub fn read(&mut self, offset: u64, into: &mut Aligned) -> io::Result<()> {
        let even = into.as_slice().len().is_multiple_of(ALIGN) && offset.is_multiple_of(4096);
        self.set_direct(even);
        match self.file.read_exact_at(into.as_mut_slice(), offset) {
            Err(error) if self.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                self.set_direct(false);
                self.may_direct = false;
                self.file.read_exact_at(into.as_mut_slice(), offset)
            }
            read => read,
        }
    }

    /// Makes a range read as zeros: by the device's own means where it has any, else by writing zeros.
    pub fn zero(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.bounds(offset, usize::try_from(len).unwrap_or(usize::MAX))?;
        if len == 0 {
            return Ok(());
        }
        let quick = if self.block {
            self.range(BLKZEROOUT, offset, len)
        } else {
            let (Ok(from), Ok(count)) = (offset.try_into(), len.try_into()) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            // SAFETY: fallocate on a descriptor this struct owns, with integer arguments only.
            match unsafe { libc::fallocate(self.file.as_raw_fd(), mode, from, count) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        quick.or_else(|_| self.overwrite(offset, len, &mut |_| true).map(|_| ()))
    }

    /// Writes zeros in full. `carry_on` hears how far it is and may break it off; the answer is whether it ended.
    pub fn overwrite(&mut self, offset: u64, len: u64, carry_on: &mut dyn FnMut(u64) -> bool) -> io::Result<bool> {
        let block = Aligned::new(4 << 20);
        let mut done = 0;
        while done < len {
            if !carry_on(done) {
                return Ok(false);
            }
            let part = usize::try_from(len - done).unwrap_or(usize::MAX).min(block.as_slice().len());
            self.write(offset + done, block.as_slice().get(..part).unwrap_or_default())?;
            done += u64::try_from(part).unwrap_or(u64::MAX);
        }
        Ok(true)
    }

    /// Discards so that the data is gone from the medium too, where the device promises that.
    pub fn secure_discard(&self) -> io::Result<()> {
        self.range(BLKSECDISCARD, 0, self.size)
    }

    /// Gives the space back; what it reads as afterwards is not promised.
    pub fn discard(&self) -> io::Result<()> {
        self.range(BLKDISCARD, 0, self.size)
    }

    fn range(&self, request: u64, offset: u64, len: u64) -> io::Result<()> {
        if !self.block {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let range = [offset, len];
        // SAFETY: these requests read two u64 (offset, length) from the pointer, which outlives the call.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), request as _, range.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.block {
            self.plain(BLKFLSBUF)?;
        }
        Ok(())
    }

    /// Lets the kernel see the new partition table. Not vital: the machine resets next.
    pub fn reread_table(&self) -> io::Result<()> {
        if self.block { self.plain(BLKRRPART) } else { Ok(()) }
    }

    fn plain(&self, request: u64) -> io::Result<()> {
        // SAFETY: these requests take no argument.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), request as _, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Reads `len` bytes at `offset` of a disk that is not opened for writing; what is beyond its end is left out.
pub fn peek(disk: &File, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut got = 0;
    while got < len {
        let at = offset.checked_add(u64::try_from(got).ok()?)?;
        match disk.read_at(bytes.get_mut(got..)?, at) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(got);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("muster-disk-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn aligned_and_odd_writes_both_arrive() {
        let path = file("odd", &vec![7; 20_000]);
        let mut target = Target::open(&path).unwrap();
        let mut block = Aligned::new(8192);
        block.as_mut_slice().fill(1);
        target.write(4096, block.as_slice()).unwrap();
        target.write(13_001, b"odd").unwrap();
        target.sync().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[..4096].iter().all(|b| *b == 7) && bytes[4096..12_288].iter().all(|b| *b == 1));
        assert_eq!(&bytes[13_000..13_005], b"\x07odd\x07");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_zeroed_range_reads_as_zeros_and_its_borders_stay() {
        let path = file("zero", &vec![7; 50_000]);
        let mut target = Target::open(&path).unwrap();
        target.zero(5_000, 30_000).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[5_000..35_000].iter().all(|b| *b == 0));
        assert!(bytes[4_999] == 7 && bytes[35_000] == 7 && bytes.len() == 50_000);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let path = file("end", &[7; 5000]);
        let mut target = Target::open(&path).unwrap();
        assert!(target.write(4999, b"xy").is_err());
        assert!(target.zero(4096, u64::MAX).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [7; 5000]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn only_disks_and_files_are_targets() {
        assert!(Target::open(Path::new("/dev/null")).is_err());
        assert!(Target::open(Path::new("/")).is_err());
    }
}
