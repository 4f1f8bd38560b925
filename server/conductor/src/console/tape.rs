//! What a console said, on disk: pieces with their times in numbered files, the oldest of which go when there is too much.
//!
//! A piece is its kind, its time, its length and its bytes. A daemon that dies leaves half a piece at the end of a file;
//! it is cut off before the next one is written, and a reader stops there. Decision record 0018 says why these are files.

use muster_names::{MachineId, Millis};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const HEAD: usize = 13;
const TEXT: u8 = b't';
const NOTE: u8 = b'n';
/// No piece is longer: a file that says so is none of ours.
const LONGEST: usize = 64 * 1024;
/// Files of one machine; the oldest part that goes at once is an eighth of what is kept.
const PARTS: u64 = 8;
const ENDING: &str = "tape";

/// One thing that a console said, or that was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub at: Millis,
    pub what: Said,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(Vec<u8>),
    /// Ours: who came, what was lost.
    Note(String),
}

impl Piece {
    fn write(&self, into: &mut Vec<u8>) {
        let (kind, bytes) = match &self.what {
            Said::Text(bytes) => (TEXT, bytes.as_slice()),
            Said::Note(text) => (NOTE, text.as_bytes()),
        };
        for part in bytes.chunks(LONGEST) {
            into.push(kind);
            into.extend(self.at.0.to_be_bytes());
            into.extend(u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
            into.extend(part);
        }
    }
}

/// The whole pieces at the beginning of a file, and how many bytes they are.
pub fn pieces(bytes: &[u8]) -> (Vec<Piece>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((piece, length)) = piece(bytes.get(at..).unwrap_or_default()) {
        found.push(piece);
        at += length;
    }
    (found, at)
}

fn piece(bytes: &[u8]) -> Option<(Piece, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (kind, head) = head.split_first()?;
    let (time, length) = head.split_at_checked(8)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let body = rest.get(..length).filter(|_| (1..=LONGEST).contains(&length))?;
    let what = match *kind {
        TEXT => Said::Text(body.to_vec()),
        NOTE => Said::Note(String::from_utf8_lossy(body).into_owned()),
        _ => return None,
    };
    Some((Piece { at: Millis(i64::from_be_bytes(time.try_into().ok()?)), what }, HEAD + length))
}

/// Where tapes lie and how long one may become.
#[derive(Clone, Debug)]
pub struct Tapes {
    pub folder: PathBuf,
    /// Bytes kept of one machine, the newest.
    pub kept: u64,
}

/// What is kept of one console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Oldest first.
    pub pieces: Vec<Piece>,
    /// Older text was recorded and is gone.
    pub cut: bool,
}

impl Tapes {
    fn of(&self, id: MachineId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// All that is kept of a machine; nothing when there is none.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(&self, id: MachineId) -> Result<Recording, Error> {
        let folder = self.of(id);
        let mut recording = Recording::default();
        let parts = parts(&folder)?;
        recording.cut = parts.first().is_some_and(|(number, _)| *number > 1);
        for (_, file) in parts {
            let mut bytes = Vec::new();
            match File::open(&file) {
                // However long the file says it is, no more than is ever kept.
                Ok(open) => open.take(self.kept.max(1)).read_to_end(&mut bytes)?,
                // It went while we read: it was the oldest.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    recording.cut = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            recording.pieces.extend(pieces(&bytes).0);
        }
        Ok(recording)
    }

    /// Goes on with a machine's tape.
    ///
    /// # Errors
    /// The file system's.
    pub fn append(&self, id: MachineId) -> Result<Tape, Error> {
        let folder = self.of(id);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let newest = parts(&folder)?.pop();
        let number = newest.as_ref().map_or(1, |(number, _)| *number);
        let mut file = part(&folder, number)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = pieces(&bytes).1 as u64;
        file.set_len(whole)?;
        Ok(Tape { folder, kept: self.kept, number, size: whole, file, waiting: Vec::new() })
    }

    /// Takes away the tapes of machines that have said nothing since `age`. Says how many.
    ///
    /// # Errors
    /// The file system's.
    pub fn forget(&self, age: Duration) -> Result<usize, Error> {
        let mut gone = 0;
        for folder in listed(&self.folder)? {
            let newest = listed(&folder)?.iter().filter_map(|file| file.metadata().ok()?.modified().ok()).max();
            let old = |newest: SystemTime| newest.elapsed().is_ok_and(|passed| passed > age);
            if newest.is_some_and(old) {
                std::fs::remove_dir_all(&folder)?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The files of a tape, oldest first.
fn parts(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let number = |file: &PathBuf| -> Option<u64> {
        (file.extension()? == ENDING).then_some(())?;
        file.file_stem()?.to_str()?.parse().ok()
    };
    let mut found: Vec<(u64, PathBuf)> =
        listed(folder)?.into_iter().filter_map(|file| Some((number(&file)?, file))).collect();
    found.sort();
    Ok(found)
}

fn part(folder: &Path, number: u64) -> Result<File, Error> {
    let file = folder.join(format!("{number:08}.{ENDING}"));
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)
}

/// A tape that is written. What waits is written by [`Tape::flush`].
pub struct Tape {
    folder: PathBuf,
    kept: u64,
    number: u64,
    size: u64,
    file: File,
    waiting: Vec<u8>,
}

impl Tape {
    pub fn push(&mut self, piece: &Piece) {
        piece.write(&mut self.waiting);
    }

    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    /// # Errors
    /// The file system's: the disk is full.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.waiting)?;
        self.size += self.waiting.len() as u64;
        self.waiting.clear();
        if self.size >= self.kept / PARTS {
            self.number += 1;
            self.file = part(&self.folder, self.number)?;
            self.size = 0;
            let mut parts = parts(&self.folder)?;
            while parts.len() as u64 > PARTS {
                let (_, oldest) = parts.remove(0);
                std::fs::remove_file(oldest)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Folder(Tapes);

    impl Folder {
        fn new(kept: u64) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("muster-tape-{}-{count}", std::process::id()));
            Self(Tapes { folder, kept })
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0.folder);
        }
    }

    const ID: MachineId = MachineId(7);

    fn text(at: i64, text: &[u8]) -> Piece {
        Piece { at: Millis(at), what: Said::Text(text.to_vec()) }
    }

    fn bytes_of(folder: &Path) -> u64 {
        parts(folder).unwrap().iter().map(|(_, file)| file.metadata().unwrap().len()).sum()
    }

    #[test]
    fn what_is_pushed_is_read_with_its_time_also_after_a_restart() {
        let tapes = Folder::new(1 << 20);
        assert_eq!(tapes.0.read(ID).unwrap(), Recording::default());
        let note = Piece { at: Millis(3), what: Said::Note("ann came".into()) };
        for piece in [text(1, b"BIOS\r\n"), note.clone(), text(4, &[0, 0xff])] {
            let mut tape = tapes.0.append(ID).unwrap();
            tape.push(&piece);
            tape.flush().unwrap();
        }
        let read = tapes.0.read(ID).unwrap();
        assert_eq!(read.pieces, [text(1, b"BIOS\r\n"), note, text(4, &[0, 0xff])]);
        assert!(!read.cut);
    }

    #[test]
    fn the_newest_is_kept_within_the_cap_and_that_older_text_is_gone_is_told() {
        let tapes = Folder::new(8 * 1024);
        let mut tape = tapes.0.append(ID).unwrap();
        for at in 0..1000 {
            tape.push(&text(at, &[b'x'; 100]));
            tape.flush().unwrap();
        }
        let kept = bytes_of(&tapes.0.of(ID));
        assert!((7 * 1024..=9 * 1024).contains(&kept), "{kept}");
        let read = tapes.0.read(ID).unwrap();
        assert!(read.cut && read.pieces.last() == Some(&text(999, &[b'x'; 100])), "{:?}", read.pieces.len());
    }

    #[test]
    fn half_a_piece_of_a_daemon_that_died_is_cut_off_and_the_rest_stands() {
        let tapes = Folder::new(1 << 20);
        let mut tape = tapes.0.append(ID).unwrap();
        tape.push(&text(1, b"whole"));
        tape.flush().unwrap();
        drop(tape);
        let (_, file) = parts(&tapes.0.of(ID)).unwrap().pop().unwrap();
        let mut torn = std::fs::read(&file).unwrap();
        torn.extend([TEXT, 0, 0, 0]);
        std::fs::write(&file, torn).unwrap();
        assert_eq!(tapes.0.read(ID).unwrap().pieces, [text(1, b"whole")]);
        let mut tape = tapes.0.append(ID).unwrap();
        tape.push(&text(2, b"after"));
        tape.flush().unwrap();
        assert_eq!(tapes.0.read(ID).unwrap().pieces, [text(1, b"whole"), text(2, b"after")]);
    }

    #[test]
    fn a_tape_is_its_owners_alone_and_goes_when_its_machine_is_silent_for_long() {
        let tapes = Folder::new(1 << 20);
        let mut tape = tapes.0.append(ID).unwrap();
        tape.push(&text(1, b"secret"));
        tape.flush().unwrap();
        let folder = tapes.0.of(ID);
        let (_, file) = parts(&folder).unwrap().pop().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_eq!(tapes.0.forget(Duration::from_secs(3600)).unwrap(), 0);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(tapes.0.forget(Duration::from_millis(1)).unwrap(), 1);
        assert_eq!(tapes.0.read(ID).unwrap(), Recording::default());
    }

    proptest! {
        #[test]
        fn no_file_panics_and_no_piece_is_longer_than_the_file(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (found, length) = pieces(&bytes);
            prop_assert!(length <= bytes.len() && found.len() * HEAD <= length);
        }

        #[test]
        fn what_is_written_is_read(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..9)) {
            let written: Vec<Piece> = (0..).zip(&texts).map(|(at, bytes)| text(at, bytes)).collect();
            let mut bytes = Vec::new();
            written.iter().for_each(|piece| piece.write(&mut bytes));
            prop_assert_eq!(pieces(&bytes), (written, bytes.len()));
        }
    }
}
