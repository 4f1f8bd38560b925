//! The desk between the line and the work: reports wait here until the daemon has them, the newest order waits here
//! until the worker takes it.
//!
//! The daemon tells the whole of what stands at every turn; [`decide`] says what that means for the work at hand. One
//! worker does one thing at a time, so a `Stop` that it takes up is by construction after the last write of the work
//! before it.

use muster_names::Epoch;
use muster_wire::{Doing, Numbered, Progress, Reply, Report, Standing};
use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Reports carried by one turn; the rest follows with the next.
const A_TURN_CARRIES: usize = 32;

/// What an answer means for the work at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is what was taken up already, or older: go on.
    Keep,
    /// Something new: end what runs, then do it.
    Take,
    /// Nothing stands any more: end what runs.
    Drop,
    /// A word this agent does not know: end what runs, since that stands no more, and say so.
    Refuse,
}

/// `taken`: the epoch last taken up; `highest`: the highest ever seen.
pub fn decide(taken: Option<Epoch>, highest: Option<Epoch>, standing: &Standing) -> Move {
    match (standing, standing.epoch()) {
        (Standing::Unknown, _) => Move::Refuse,
        (_, None) => Move::Drop,
        (_, Some(epoch)) if taken == Some(epoch) || highest.is_some_and(|seen| epoch < seen) => Move::Keep,
        (_, Some(_)) => Move::Take,
    }
}

/// Numbered reports that the daemon does not have yet.
#[derive(Debug, Default)]
struct Outbox {
    last: u64,
    waiting: VecDeque<Numbered>,
}

impl Outbox {
    fn push(&mut self, report: Report) {
        self.last += 1;
        self.waiting.push_back(Numbered { seq: self.last, report });
    }

    fn acked(&mut self, seq: u64) {
        while self.waiting.front().is_some_and(|first| first.seq <= seq) {
            self.waiting.pop_front();
        }
    }
}

#[derive(Default)]
struct Papers {
    outbox: Outbox,
    progress: Option<Progress>,
    taken: Option<Epoch>,
    highest: Option<Epoch>,
    wanted: Option<Standing>,
    busy: Option<Arc<AtomicBool>>,
    /// The last report that the turn in flight, or the newest one, carries.
    carried: u64,
    line: Option<TcpStream>,
    cut: bool,
    puzzled: bool,
    closed: bool,
}

#[derive(Default)]
pub struct Desk {
    papers: Mutex<Papers>,
    bell: Condvar,
}

/// One piece of work in the worker's hands.
pub struct Job<'a> {
    pub standing: Standing,
    pub cancel: Arc<AtomicBool>,
    desk: &'a Desk,
}

impl Job<'_> {
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub fn progress(&self, progress: Progress) {
        self.desk.lock().progress = Some(progress);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a report down and cuts short the wait of a turn in flight, so that it leaves at once.
    pub fn say(&self, report: Report) {
        let mut papers = self.lock();
        papers.outbox.push(report);
        if let Some(line) = papers.line.take() {
            papers.cut = true;
            let _ = line.shutdown(Shutdown::Both);
        }
        self.bell.notify_all();
    }

    /// The reports and the doing of the next turn, and whether work runs.
    pub fn turn(&self) -> (Vec<Numbered>, Doing, bool) {
        let mut papers = self.lock();
        let reports: Vec<Numbered> = papers.outbox.waiting.iter().take(A_TURN_CARRIES).cloned().collect();
        papers.carried = reports.last().map_or(papers.outbox.last, |last| last.seq);
        papers.cut = false;
        let busy = papers.busy.is_some() || papers.wanted.is_some();
        (reports, Doing { epoch: papers.taken, progress: papers.progress.clone() }, busy)
    }

    /// A handle on the turn in flight. When a report came meanwhile the wait is cut at once.
    pub fn in_flight(&self, line: Option<TcpStream>) {
        let mut papers = self.lock();
        papers.line = line;
        if papers.outbox.last > papers.carried
            && let Some(line) = papers.line.take()
        {
            papers.cut = true;
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// The turn ended; whether it was this desk that cut it.
    pub fn landed(&self) -> bool {
        let mut papers = self.lock();
        papers.line = None;
        std::mem::take(&mut papers.cut)
    }

    pub fn heard(&self, reply: &Reply) {
        let mut papers = self.lock();
        papers.outbox.acked(reply.acked);
        let verdict = decide(papers.taken, papers.highest, &reply.standing);
        if verdict == Move::Keep {
            return;
        }
        if let Some(cancel) = &papers.busy {
            cancel.store(true, Ordering::Relaxed);
        }
        match verdict {
            Move::Keep => {}
            Move::Take => {
                papers.taken = reply.standing.epoch();
                papers.highest = papers.highest.max(papers.taken);
                papers.wanted = Some(reply.standing.clone());
                papers.puzzled = false;
            }
            Move::Drop | Move::Refuse => {
                // Work broken off must be taken up again if the same order stands again later.
                if papers.busy.is_some() || papers.wanted.is_some() {
                    papers.taken = None;
                }
                papers.wanted = None;
            }
        }
        if verdict == Move::Refuse && !papers.puzzled {
            papers.puzzled = true;
            let reason = format!("muster-agent {} does not know this order", crate::VERSION);
            papers.outbox.push(Report::Refused { epoch: None, reason });
        }
        self.bell.notify_all();
    }

    /// Waits until there is work; `None` when the desk is closed. Call [`Desk::done`] after it.
    pub fn next_job(&self) -> Option<Job<'_>> {
        let mut papers = self.lock();
        loop {
            if papers.closed {
                return None;
            }
            if let Some(standing) = papers.wanted.take() {
                let cancel = Arc::new(AtomicBool::new(false));
                papers.busy = Some(Arc::clone(&cancel));
                return Some(Job { standing, cancel, desk: self });
            }
            papers = self.bell.wait(papers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn done(&self) {
        let mut papers = self.lock();
        papers.busy = None;
        papers.progress = None;
    }

    /// Waits `pause`, or until a report lies here that no turn has carried.
    pub fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut papers = self.lock();
        while papers.outbox.last <= papers.carried && !papers.closed {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            papers = self.bell.wait_timeout(papers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn is_busy(&self) -> bool {
        let papers = self.lock();
        papers.busy.is_some() || papers.wanted.is_some()
    }

    /// Whether every report is durable at the daemon.
    pub fn is_empty(&self) -> bool {
        self.lock().outbox.waiting.is_empty()
    }

    pub fn close(&self) {
        let mut papers = self.lock();
        papers.closed = true;
        if let Some(cancel) = &papers.busy {
            cancel.store(true, Ordering::Relaxed);
        }
        self.bell.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(acked: u64, standing: Standing) -> Reply {
        Reply { acked, standing, ask_again_ms: 0 }
    }

    fn check(epoch: i64) -> Standing {
        Standing::Check { epoch: Epoch(epoch) }
    }

    #[test]
    fn an_order_is_taken_once_and_an_older_one_never() {
        let seen = Some(Epoch(5));
        assert_eq!(decide(None, None, &check(5)), Move::Take);
        assert_eq!(decide(seen, seen, &check(5)), Move::Keep);
        assert_eq!(decide(seen, seen, &check(4)), Move::Keep);
        assert_eq!(decide(seen, seen, &check(6)), Move::Take);
        assert_eq!(decide(seen, seen, &Standing::Idle), Move::Drop);
        assert_eq!(decide(seen, seen, &Standing::Unknown), Move::Refuse);
    }

    #[test]
    fn a_report_is_kept_until_it_is_acked() {
        let desk = Desk::default();
        for epoch in 1..=3 {
            desk.say(Report::Stopped { epoch: Epoch(epoch) });
        }
        assert_eq!(desk.turn().0.iter().map(|n| n.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(desk.turn().0.len(), 3, "a turn that was lost is sent again whole");
        desk.heard(&reply(2, Standing::Idle));
        assert_eq!(desk.turn().0.iter().map(|n| n.seq).collect::<Vec<_>>(), [3]);
        desk.heard(&reply(0, Standing::Idle));
        assert_eq!(desk.turn().0.len(), 1, "an older answer takes nothing back");
    }

    #[test]
    fn a_newer_epoch_cancels_what_runs_and_is_done_after_it() {
        let desk = Desk::default();
        desk.heard(&reply(0, check(1)));
        let first = desk.next_job().unwrap();
        desk.heard(&reply(0, Standing::Stop { epoch: Epoch(2) }));
        assert!(first.cancelled());
        desk.done();
        let second = desk.next_job().unwrap();
        assert_eq!(second.standing, Standing::Stop { epoch: Epoch(2) });
        assert!(!second.cancelled());
    }

    #[test]
    fn work_broken_off_is_taken_up_when_it_stands_again() {
        let desk = Desk::default();
        desk.heard(&reply(0, check(7)));
        let job = desk.next_job().unwrap();
        desk.heard(&reply(0, Standing::Idle));
        assert!(job.cancelled());
        desk.done();
        desk.heard(&reply(0, check(7)));
        assert_eq!(desk.next_job().unwrap().standing, check(7));
        desk.done();
        desk.heard(&reply(0, Standing::Idle));
        desk.heard(&reply(0, check(7)));
        assert!(!desk.turn().2, "finished work is not done twice");
    }

    #[test]
    fn an_unknown_order_is_refused_once() {
        let desk = Desk::default();
        for _ in 0..3 {
            desk.heard(&reply(0, Standing::Unknown));
        }
        let reports = desk.turn().0;
        assert_eq!(reports.len(), 1);
        assert!(matches!(reports[0].report, Report::Refused { .. }));
    }

    #[test]
    fn a_report_ends_the_rest() {
        let desk = Arc::new(Desk::default());
        desk.turn();
        let other = Arc::clone(&desk);
        let started = Instant::now();
        let say = std::thread::spawn(move || other.say(Report::Stopped { epoch: Epoch(1) }));
        desk.rest(Duration::from_secs(20));
        assert!(started.elapsed() < Duration::from_secs(10));
        say.join().unwrap();
    }
}
