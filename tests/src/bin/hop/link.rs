//! What becomes of each frame of a bad cable, as plain decisions: bytes and times go in, bytes come out.
//!
//! The fate of a frame is a function of the seed, the direction and the frame's number in that direction, and of nothing
//! else: one direction meets the same losses however the other is timed. A frame that is held back leaves after
//! [`HELD_FOR`], behind whatever came meanwhile. Where a protocol waits for each answer nothing comes meanwhile, so what
//! was really overtaken is counted apart.

use anyhow::{Result, ensure};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// Longer than a server's answer takes, shorter than anybody's patience.
pub const HELD_FOR: Duration = Duration::from_millis(20);
/// More than this are not held at once; the oldest leaves early.
const HELD_MOST: usize = 1024;

/// Of a hundred frames, how many meet which fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    lost: u64,
    doubled: u64,
    held: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Lost,
    Doubled,
    Held,
}

impl Shares {
    /// # Errors
    /// More than a hundred of a hundred.
    pub fn new(lost: u64, doubled: u64, held: u64) -> Result<Self> {
        let all = lost.saturating_add(doubled).saturating_add(held);
        ensure!(all <= 100, "lost, doubled and held are {all} of 100 frames together");
        Ok(Self { lost, doubled, held })
    }

    /// What the frame of this number meets.
    pub fn fate(self, seed: u64, number: u64) -> Fate {
        let roll = mix(mix(seed).wrapping_add(number)) % 100;
        if roll < self.lost {
            Fate::Lost
        } else if roll < self.lost + self.doubled {
            Fate::Doubled
        } else if roll < self.lost + self.doubled + self.held {
            Fate::Held
        } else {
            Fate::Passed
        }
    }
}

/// The finaliser of SplitMix64: neighbouring numbers come out unlike each other.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What one direction did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub seen: u64,
    pub lost: u64,
    pub doubled: u64,
    pub held: u64,
    /// Held frames that another one really passed.
    pub overtaken: u64,
    pub sent: u64,
    /// Not taken by the other end, which has nobody there or is down.
    pub untaken: u64,
}

struct Held {
    until: Duration,
    overtaken: bool,
    frame: Vec<u8>,
}

/// One direction of the cable. Times are since any one moment.
pub struct Line {
    shares: Shares,
    seed: u64,
    held: VecDeque<Held>,
    counts: Counts,
}

impl Line {
    pub fn new(shares: Shares, seed: u64, direction: u64) -> Self {
        Self { shares, seed: mix(seed) ^ direction, held: VecDeque::new(), counts: Counts::default() }
    }

    /// Takes a frame and sends what leaves now. `send` says whether the other end took it.
    pub fn take(&mut self, now: Duration, frame: &[u8], send: &mut impl FnMut(&[u8]) -> bool) {
        self.release(now, send);
        let fate = self.shares.fate(self.seed, self.counts.seen);
        self.counts.seen += 1;
        match fate {
            Fate::Lost => self.counts.lost += 1,
            Fate::Held => {
                self.counts.held += 1;
                if self.held.len() >= HELD_MOST {
                    self.let_go(send);
                }
                self.held.push_back(Held { until: now + HELD_FOR, overtaken: false, frame: frame.to_vec() });
            }
            Fate::Passed => self.pass(frame, send),
            Fate::Doubled => {
                self.counts.doubled += 1;
                self.pass(frame, send);
                self.send(frame, send);
            }
        }
    }

    /// Sends what was held back long enough.
    pub fn release(&mut self, now: Duration, send: &mut impl FnMut(&[u8]) -> bool) {
        while self.held.front().is_some_and(|held| held.until <= now) {
            self.let_go(send);
        }
    }

    /// When [`Line::release`] has something to do.
    pub fn wake(&self) -> Option<Duration> {
        self.held.front().map(|held| held.until)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn let_go(&mut self, send: &mut impl FnMut(&[u8]) -> bool) {
        if let Some(held) = self.held.pop_front() {
            self.send(&held.frame, send);
        }
    }

    fn pass(&mut self, frame: &[u8], send: &mut impl FnMut(&[u8]) -> bool) {
        for held in self.held.iter_mut().filter(|held| !held.overtaken) {
            held.overtaken = true;
            self.counts.overtaken += 1;
        }
        self.send(frame, send);
    }

    fn send(&mut self, frame: &[u8], send: &mut impl FnMut(&[u8]) -> bool) {
        if send(frame) {
            self.counts.sent += 1;
        } else {
            self.counts.untaken += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames that come so many milliseconds after one another: (number, when it left), and what was counted.
    fn run(shares: Shares, seed: u64, gaps: &[u64]) -> (Vec<(u32, Duration)>, Counts) {
        let mut line = Line::new(shares, seed, 0);
        let (mut now, mut left) = (Duration::ZERO, Vec::new());
        for (number, gap) in (0u32..).zip(gaps) {
            let comes = now + Duration::from_millis(*gap);
            while let Some(wake) = line.wake().filter(|wake| *wake <= comes) {
                line.release(wake, &mut |frame| note(&mut left, frame, wake));
            }
            now = comes;
            line.take(now, &number.to_be_bytes(), &mut |frame| note(&mut left, frame, now));
        }
        while let Some(wake) = line.wake() {
            line.release(wake, &mut |frame| note(&mut left, frame, wake));
        }
        (left, line.counts())
    }

    fn note(left: &mut Vec<(u32, Duration)>, frame: &[u8], at: Duration) -> bool {
        left.push((u32::from_be_bytes(frame.try_into().unwrap()), at));
        true
    }

    fn shares() -> impl Strategy<Value = Shares> {
        (0u64..=34, 0u64..=33, 0u64..=33).prop_map(|(lost, doubled, held)| Shares::new(lost, doubled, held).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn the_shares_are_what_was_asked_for(shares in shares(), seed: u64, direction in 0u64..2) {
            const MANY: u64 = 20_000;
            let mut line = Line::new(shares, seed, direction);
            (0..MANY).for_each(|_| line.take(Duration::ZERO, &[], &mut |_| true));
            let counts = line.counts();
            for (found, asked) in [(counts.lost, shares.lost), (counts.doubled, shares.doubled), (counts.held, shares.held)] {
                let asked = asked * MANY / 100;
                // Six times the spread of a fair draw.
                let room = 6 * asked.isqrt() + 1;
                prop_assert!(found.abs_diff(asked) <= room, "{found} where {asked} were asked for");
            }
        }

        #[test]
        fn with_no_share_nothing_is_lost_doubled_or_out_of_order(seed: u64, gaps in proptest::collection::vec(0u64..50, 0..300)) {
            let (left, counts) = run(Shares::new(0, 0, 0).unwrap(), seed, &gaps);
            let numbers: Vec<u32> = left.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(numbers, (0..u32::try_from(gaps.len()).unwrap()).collect::<Vec<_>>());
            let frames = u64::try_from(gaps.len()).unwrap();
            prop_assert_eq!(counts, Counts { seen: frames, sent: frames, ..Counts::default() });
        }

        #[test]
        fn what_is_not_lost_leaves_in_bounded_time_and_as_often_as_it_shall(
            shares in shares(), seed: u64, gaps in proptest::collection::vec(0u64..50, 0..300),
        ) {
            let (left, counts) = run(shares, seed, &gaps);
            let (mut comes, mut out_of_order) = (Duration::ZERO, 0);
            for (number, gap) in (0u32..).zip(&gaps) {
                comes += Duration::from_millis(*gap);
                let times: Vec<Duration> = left.iter().filter(|(n, _)| *n == number).map(|(_, at)| *at).collect();
                let expected = match shares.fate(mix(seed), number.into()) {
                    Fate::Passed => vec![comes],
                    Fate::Lost => vec![],
                    Fate::Doubled => vec![comes; 2],
                    Fate::Held => vec![comes + HELD_FOR],
                };
                prop_assert_eq!(times, expected);
                let at = left.iter().position(|(n, _)| *n == number);
                let passed = at.is_some_and(|at| left[..at].iter().any(|(earlier, _)| *earlier > number));
                out_of_order += u64::from(passed);
            }
            prop_assert_eq!(counts.overtaken, out_of_order);
            prop_assert_eq!(counts.sent, counts.seen - counts.lost + counts.doubled);
        }

        #[test]
        fn one_seed_is_one_cable_and_its_directions_differ(seed: u64) {
            let shares = Shares::new(5, 2, 5).unwrap();
            let counts = |direction| {
                let mut line = Line::new(shares, seed, direction);
                let mut fates = Vec::new();
                for number in 0..2_000u32 {
                    let before = line.counts();
                    line.take(Duration::from_secs(number.into()), &[], &mut |_| true);
                    let after = line.counts();
                    fates.push((after.lost - before.lost, after.doubled - before.doubled, after.held - before.held));
                }
                fates
            };
            prop_assert_eq!(counts(0), counts(0));
            prop_assert_ne!(counts(0), counts(1));
        }
    }

    #[test]
    fn what_is_held_takes_bounded_memory_and_what_nobody_takes_is_counted() {
        let mut line = Line::new(Shares::new(0, 0, 100).unwrap(), 1, 0);
        (0..HELD_MOST + 5).for_each(|_| line.take(Duration::ZERO, &[], &mut |_| false));
        assert_eq!((line.held.len(), line.counts().untaken), (HELD_MOST, 5));
        assert!(Shares::new(50, 50, 1).is_err());
    }
}
