//! Reading a BMC's event log from where a reader left off (IPMI 2.0, section 31; B8.7).
//!
//! Records form a list: each answer names the next one. Ids need not rise, and after a clear they begin anew, so that
//! the order is the list's and the way on from a mark leads through the marked record itself.

use super::event::{self, LENGTH, SEL};
use super::record::Records;
use super::session::Command;
use super::visit::is_answer;
use super::{STORAGE, Turn, declined, packet, sdr};
use crate::{Fault, Log, LogMark, Since};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Read in one go: what a slow BMC manages well within an operation's deadline.
const AT_ONCE: usize = 512;
const MOST_RESTARTS: usize = 16;
const FIRST: u16 = 0x0000;
const LAST: u16 = 0xffff;
const NOT_THERE: u8 = 0xcb;

/// What follows the log's mark in `after`, or the log from its beginning.
pub async fn event_log(turn: &mut Turn<'_>, after: &[LogMark]) -> Result<Log, Fault> {
    let after = after.iter().find(|mark| event::is_of_sel(mark));
    let info = turn.ask(Command::new(STORAGE, 0x40, &[]), "an event log").await?;
    let info = Info::read(&info).ok_or_else(|| Fault::Garbled(format!("log information of {} bytes", info.len())))?;
    let clock_offset = clock_offset(turn).await?;
    let mut reader = Reader { reservation: [0, 0], reserves: info.reserves, restarts: 0 };
    reader.reserve(turn).await?;
    let (since, mut id) = match after {
        None => (Since::Beginning, Some(FIRST)),
        Some(mark) => match marked(turn, &mut reader, mark).await? {
            Some(next) => (Since::Mark, next),
            None => (Since::Broken, Some(FIRST)),
        },
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(at) = id.filter(|at| found.len() < AT_ONCE && seen.insert(*at)) {
        let Some((record, next)) = reader.get(turn, at).await? else { break };
        found.push(record);
        id = next;
    }
    let records = names(turn, found.is_empty()).await?;
    let kept = after.filter(|_| since == Since::Mark).map(|mark| LogMark { log: SEL.into(), ..mark.clone() });
    Ok(Log {
        name: SEL.into(),
        entries: found.iter().map(|record| event::entry(record, &records)).collect(),
        since,
        mark: found.last().map(event::mark).or(kept),
        more: found.len() >= AT_ONCE && id.is_some(),
        clock_offset,
        overflowed: info.overflowed,
        gap: None,
    })
}

/// The sensors' names, if there is anything to name. A BMC without a repository has none.
async fn names(turn: &mut Turn<'_>, idle: bool) -> Result<Arc<Records>, Fault> {
    if idle {
        return Ok(Arc::default());
    }
    match sdr::records(turn).await {
        Err(fault) if is_answer(&fault) => Ok(Arc::default()),
        read => read,
    }
}

/// The answer to Get SEL Info, as far as it is used.
struct Info {
    reserves: bool,
    overflowed: bool,
}

impl Info {
    fn read(answer: &[u8]) -> Option<Self> {
        let supports = *answer.get(13)?;
        Some(Self { reserves: supports & 0x02 != 0, overflowed: supports & 0x80 != 0 })
    }
}

/// By Get SEL Time; `None` where the BMC does not answer that.
async fn clock_offset(turn: &mut Turn<'_>) -> Result<Option<i64>, Fault> {
    let (code, data) = turn.reply(Command::new(STORAGE, 0x48, &[])).await?;
    let theirs = Some(data).filter(|_| code == 0).and_then(|data| packet::array(&data, 0)).map(u32::from_le_bytes);
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok());
    Ok(theirs.filter(|at| *at != u32::MAX).zip(ours).map(|(theirs, ours)| i64::from(theirs) - ours))
}

/// What follows the marked record, if that still stands where it was: the next id, `None` for the end.
async fn marked(turn: &mut Turn<'_>, reader: &mut Reader, mark: &LogMark) -> Result<Option<Option<u16>>, Fault> {
    let Some(id) = event::number(mark) else { return Ok(None) };
    let found = reader.get(turn, id).await?;
    Ok(found.filter(|(record, _)| event::is_marked(mark, Some(record))).map(|(_, next)| next))
}

struct Reader {
    reservation: [u8; 2],
    reserves: bool,
    restarts: usize,
}

impl Reader {
    async fn reserve(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        if self.reserves
            && let (0x00, data) = turn.reply(Command::new(STORAGE, 0x42, &[])).await?
        {
            self.reservation = packet::array(&data, 0).unwrap_or_default();
        }
        Ok(())
    }

    /// A whole record and the id after it; `None` where there is no such record.
    async fn get(&mut self, turn: &mut Turn<'_>, id: u16) -> Result<Option<([u8; LENGTH], Option<u16>)>, Fault> {
        loop {
            let [low, high] = id.to_le_bytes();
            let [first, second] = self.reservation;
            let ask = [first, second, low, high, 0x00, 0xff];
            match turn.reply(Command::new(STORAGE, 0x43, &ask)).await? {
                (0x00, data) => return Ok(record(&data)),
                (NOT_THERE, _) => return Ok(None),
                (sdr::RESERVATION_LOST, _) if self.restarts < MOST_RESTARTS => {
                    self.restarts += 1;
                    self.reserve(turn).await?;
                }
                (code, _) => return Err(declined(code, &format!("log record {id:04x}h"))),
            }
        }
    }
}

/// The answer to Get SEL Entry. A record cut short is none: its bytes could not be told from others.
fn record(answer: &[u8]) -> Option<([u8; LENGTH], Option<u16>)> {
    let next = u16::from_le_bytes(packet::array(answer, 0)?);
    Some((packet::array(answer, 2)?, Some(next).filter(|next| !matches!(*next, FIRST | LAST))))
}

/// For the fuzzer: every reader of this room on any bytes.
pub fn parse(bytes: &[u8]) {
    let _ = Info::read(bytes);
    if let Some((record, _)) = record(bytes) {
        let _ = event::entry(&record, &Records::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_list_is_told_in_two_ways() {
        let answer = |next: u16| [&next.to_le_bytes()[..], &[7; LENGTH]].concat();
        assert_eq!(record(&answer(5)), Some(([7; LENGTH], Some(5))));
        assert_eq!(record(&answer(LAST)), Some(([7; LENGTH], None)));
        assert_eq!(record(&answer(FIRST)), Some(([7; LENGTH], None)));
        assert_eq!(record(&answer(5)[..17]), None);
    }

    #[test]
    fn log_information_says_whether_entries_were_lost() {
        let mut answer = [0x51, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x82];
        let info = Info::read(&answer).unwrap();
        assert!(info.reserves && info.overflowed);
        answer[13] = 0;
        let info = Info::read(&answer).unwrap();
        assert!(!info.reserves && !info.overflowed);
        assert!(Info::read(&answer[..13]).is_none());
    }
}
