//! Reading a BMC's sensor data repository: what sensors, FRUs and controllers there are (IPMI 2.0, section 33; B8.6).
//!
//! Some hundred records in pieces of twenty bytes are a thousand commands, and they hardly ever change: they are kept
//! for as long as the repository's own counts and times stay the same. A BMC that keeps no times is read again after
//! an hour. A repository is somebody else's list: its links may lead in a circle, its reservation may be taken by
//! another reader at any moment, and one record that cannot be read costs that record alone.

use super::record::Records;
use super::session::Command;
use super::{STORAGE, Turn, declined, packet};
use crate::Fault;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

const SENSORS: u8 = 0x04;
const HEAD: usize = 5;
const PIECE: usize = 20;
const SMALLEST_PIECE: usize = 5;
/// Far above what any board has.
const MOST_RECORDS: usize = 2048;
/// Losses of the reservation that one record may cost.
const MOST_RESTARTS: usize = 16;
/// Readings of a repository that changes while it is read.
const MOST_READINGS: usize = 3;
const LAST: u16 = 0xffff;
pub const RESERVATION_LOST: u8 = 0xc5;
/// Some say so of a piece that is too long for them: wrong length, parameter, count, or just "unspecified".
pub const TOO_LONG: [u8; 4] = [0xc7, 0xc8, 0xca, 0xff];
const WITHOUT_TIMES: Duration = Duration::from_secs(3600);

/// What a BMC's repository said last.
#[derive(Default)]
pub struct Kept(Mutex<Option<Copy>>);

#[derive(Clone)]
struct Copy {
    version: Version,
    read: Instant,
    records: Arc<Records>,
}

/// By what one knows that a repository is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    count: u16,
    added: u32,
    erased: u32,
}

impl Version {
    /// The answer to Get SDR Repository Info.
    fn of_repository(info: &[u8]) -> Option<Self> {
        Some(Self {
            count: u16::from_le_bytes(packet::array(info, 1)?),
            added: u32::from_le_bytes(packet::array(info, 5)?),
            erased: u32::from_le_bytes(packet::array(info, 9)?),
        })
    }

    /// The answer to Get Device SDR Info: the number of sensors, and what changes with their population.
    fn of_device(info: &[u8]) -> Option<Self> {
        let added = packet::array(info, 2).map_or(0, u32::from_le_bytes);
        Some(Self { count: u16::from(*info.first()?), added, erased: 0 })
    }

    /// Whether a copy of this age stands for the same version still. It does for ever where the BMC keeps times.
    fn holds(&self, age: Duration) -> bool {
        let is_dated = [self.added, self.erased].into_iter().any(|at| !matches!(at, 0 | u32::MAX));
        is_dated || age < WITHOUT_TIMES
    }
}

/// The same three commands exist for a whole system's repository and for a controller's own sensors.
#[derive(Clone, Copy)]
struct Source {
    net_fn: u8,
    info: u8,
    get: u8,
    reserve: u8,
    version: fn(&[u8]) -> Option<Version>,
}

const REPOSITORY: Source =
    Source { net_fn: STORAGE, info: 0x20, get: 0x23, reserve: 0x22, version: Version::of_repository };
const DEVICE: Source = Source { net_fn: SENSORS, info: 0x20, get: 0x21, reserve: 0x22, version: Version::of_device };

/// All records, from memory where they are still the same.
pub async fn records(turn: &mut Turn<'_>) -> Result<Arc<Records>, Fault> {
    let (source, mut version) = match version(turn, REPOSITORY).await {
        Ok(Version { count: 0, .. }) => match version(turn, DEVICE).await {
            Err(Fault::NotOffered(_)) => return Ok(Arc::default()),
            found => (DEVICE, found?),
        },
        Err(Fault::NotOffered(_)) => (DEVICE, version(turn, DEVICE).await?),
        found => (REPOSITORY, found?),
    };
    if let Some(kept) = turn.lane.records.get(version) {
        return Ok(kept);
    }
    for _ in 0..MOST_READINGS {
        let read = read(turn, source, version.count).await;
        if matches!(read, Err(Fault::NoAnswer(_))) {
            return read.map(Arc::new);
        }
        let before = std::mem::replace(&mut version, self::version(turn, source).await?);
        if before == version {
            let records = turn.engine.records.shared(read?);
            turn.lane.records.put(version, records.clone());
            return Ok(records);
        }
    }
    Err(Fault::Busy("its sensor data repository changes while it is read".into()))
}

/// The records of all BMCs: machines of one model have the same ones, and a fleet has few models.
#[derive(Default)]
pub struct Alike(Mutex<Vec<Weak<Records>>>);

impl Alike {
    /// The same records, from a BMC that has them already if there is one.
    fn shared(&self, records: Records) -> Arc<Records> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| one.strong_count() > 0);
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|one| **one == records) {
            return same;
        }
        let records = Arc::new(records);
        known.push(Arc::downgrade(&records));
        records
    }
}

impl Kept {
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn get(&self, version: Version) -> Option<Arc<Records>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = kept.as_ref().filter(|copy| copy.version == version)?;
        version.holds(copy.read.elapsed()).then(|| copy.records.clone())
    }

    fn put(&self, version: Version, records: Arc<Records>) {
        let copy = Copy { version, read: Instant::now(), records };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }
}

async fn version(turn: &mut Turn<'_>, source: Source) -> Result<Version, Fault> {
    let info = turn.ask(Command::new(source.net_fn, source.info, &[]), "a sensor data repository").await?;
    (source.version)(&info).ok_or_else(|| Fault::Garbled(format!("repository information of {} bytes", info.len())))
}

/// Every record. `count` is how many there are by the repository's word, which is not always true; where the last one
/// leads on to one that is not there, as on some firmware, it tells the end.
async fn read(turn: &mut Turn<'_>, source: Source, count: u16) -> Result<Records, Fault> {
    let mut records = Records::default();
    let mut reservation = reserve(turn, source).await?;
    let (mut seen, mut id) = (BTreeSet::new(), 0);
    while seen.len() < MOST_RECORDS && seen.insert(id) {
        let (next, record) = match record(turn, source, &mut reservation, id).await {
            Err(Fault::Declined(_)) if seen.len() > usize::from(count) => break,
            told => told?,
        };
        match record {
            Ok(record) => records.add(&record),
            Err(code) => records.unread.push((id, code)),
        }
        match next {
            LAST | 0 => break,
            next => id = next,
        }
    }
    Ok(records)
}

/// A BMC without reservations takes zero.
async fn reserve(turn: &mut Turn<'_>, source: Source) -> Result<[u8; 2], Fault> {
    match turn.reply(Command::new(source.net_fn, source.reserve, &[])).await? {
        (0x00, data) => Ok(packet::array(&data, 0).unwrap_or_default()),
        (0xc1, _) => Ok([0, 0]),
        (code, _) => Err(declined(code, "a reservation of its sensor data repository")),
    }
}

/// The next record's id, and this record or the code with which its body was refused.
async fn record(
    turn: &mut Turn<'_>,
    source: Source,
    reservation: &mut [u8; 2],
    id: u16,
) -> Result<(u16, Result<Vec<u8>, u8>), Fault> {
    let mut piece = PIECE;
    let mut restarts = 0;
    let mut next = None;
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let whole = bytes.get(HEAD - 1).map_or(HEAD, |length| HEAD + usize::from(*length));
        let missing = whole.saturating_sub(bytes.len());
        if let (0, Some(next)) = (missing, next) {
            return Ok((next, Ok(bytes)));
        }
        let count = missing.min(piece);
        match piece_of(turn, source, *reservation, id, bytes.len(), count).await? {
            Ok((following, data)) if !data.is_empty() => {
                next = Some(following);
                bytes.extend(data.iter().take(count));
            }
            Err(RESERVATION_LOST) if restarts < MOST_RESTARTS => {
                restarts += 1;
                *reservation = reserve(turn, source).await?;
                bytes.clear();
                next = None;
            }
            Err(RESERVATION_LOST) => return Err(Fault::Busy("another reader keeps taking the reservation".into())),
            Err(code) if TOO_LONG.contains(&code) && piece > SMALLEST_PIECE => piece = (piece / 2).max(SMALLEST_PIECE),
            refused => {
                let code = refused.err().unwrap_or(0);
                let following = next.ok_or_else(|| declined(code, &format!("sensor data record {id:04x}h")))?;
                return Ok((following, Err(code)));
            }
        }
    }
}

type Piece = Result<(u16, Vec<u8>), u8>;

async fn piece_of(
    turn: &mut Turn<'_>,
    source: Source,
    [low, high]: [u8; 2],
    id: u16,
    offset: usize,
    count: usize,
) -> Result<Piece, Fault> {
    let [id_low, id_high] = id.to_le_bytes();
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let ask = [low, high, id_low, id_high, byte(offset), byte(count)];
    let (code, mut data) = turn.reply(Command::new(source.net_fn, source.get, &ask)).await?;
    if code != 0 {
        return Ok(Err(code));
    }
    let next = packet::array(&data, 0).map(u16::from_le_bytes);
    let next = next.ok_or_else(|| Fault::Garbled(format!("sensor data record {id:04x}h without a next one")))?;
    Ok(Ok((next, data.split_off(2))))
}

/// For the fuzzer: every reader of this file on any bytes.
pub fn parse(bytes: &[u8]) {
    let _ = (Version::of_repository(bytes), Version::of_device(bytes));
    Records::default().add(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b8_6_a_copy_is_good_for_the_repository_it_was_read_from() {
        let info = [0x51, 2, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0x02];
        let version = Version::of_repository(&info).unwrap();
        assert_eq!(version, Version { count: 2, added: 0x0403_0201, erased: 0x0807_0605 });
        let kept = Kept::default();
        assert!(kept.get(version).is_none());
        kept.put(version, Arc::default());
        assert!(kept.get(version).is_some());
        assert!(kept.get(Version { added: version.added + 1, ..version }).is_none());
        assert!(kept.get(Version { count: 3, ..version }).is_none());
        assert_eq!(Version::of_repository(&info[..12]), None);
    }

    #[test]
    fn machines_of_one_model_share_their_records_for_as_long_as_one_is_there() {
        let (alike, with) = (Alike::default(), |id| Records { unread: vec![(id, 0xff)], ..Records::default() });
        let first = alike.shared(with(1));
        assert!(Arc::ptr_eq(&first, &alike.shared(with(1))));
        assert!(!Arc::ptr_eq(&first, &alike.shared(with(2))));
        drop(first);
        let _again = alike.shared(with(1));
        assert_eq!(alike.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn b8_6_a_repository_without_times_is_read_again_after_an_hour() {
        let of = |added, erased| Version { count: 1, added, erased };
        for (version, lasts) in [(of(5, 0), true), (of(0, 0), false), (of(0, u32::MAX), false)] {
            assert!(version.holds(WITHOUT_TIMES - Duration::from_secs(1)));
            assert_eq!(version.holds(WITHOUT_TIMES), lasts, "{version:?}");
        }
    }
}
