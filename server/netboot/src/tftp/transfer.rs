//! One file on its way to one client: which packet next, when to repeat it, when to stop.
//!
//! `poll` says what to send until it says `None`; `heard_ack` and `heard_error` take what arrived; `tick` takes the
//! time; `wake` says when it wants the time next. Block numbers are counted in 64 bits and cut to 16 on the wire, so
//! that files beyond 65,535 blocks are nothing special.
//!
//! Repeating: on the timer only, never on an acknowledgement (RFC 1123 section 4.2.3.1). In a window (RFC 7440) a client
//! that misses a block acknowledges the last one in order, early or again; but one that acknowledges each copy of what
//! it has, as edk2 does, says the very same. Repeating at once would give the second kind a window of copies to
//! acknowledge, and so on to the end of the file. What tells them apart is whether the rest of the window is answered.
//! So such an acknowledgement moves the window, and draws the timer near: to a little more than a round trip after what
//! left last.

use super::terms::{Rollover, Terms};
use std::time::Duration;

/// Packets that may leave before the peer has proved that it listens at its address (A2.2).
pub const OPENING_PACKETS: u32 = 3;
const TIMER_START: Duration = Duration::from_secs(1);
const TIMER_LEAST: Duration = Duration::from_millis(200);
const TIMER_MOST: Duration = Duration::from_secs(8);
/// Silence after which a transfer is lost.
const IDLE: Duration = Duration::from_secs(60);
/// Repeats of the end of the file before it counts as arrived: many clients never acknowledge the last block.
const TAIL_REPEATS: u32 = 4;
/// A client that asks anew after this much silence means it; before, the request was late on the way.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The OACK.
    Terms,
    /// DATA with this number on the wire and the file's bytes `from..to`.
    Data { number: u16, from: u64, to: u64 },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All sent; `confirmed` if the last block was acknowledged.
    Finished { confirmed: bool },
    /// The client only wanted to know the size (B5.3).
    Probed,
    /// The client gave up in the middle, with its error code.
    GaveUp(u16),
    /// Nothing was ever heard after the request.
    Unproved,
    /// The client fell silent in the middle.
    Lost,
    /// The client asked for something else from the same port.
    Replaced,
}

/// What a request from a port with a transfer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same request: its answer is sent once more, or not, by this transfer.
    Same,
    /// A new one takes this one's place.
    Replaces,
}

#[derive(Clone, Debug)]
pub struct Transfer {
    terms: Terms,
    size: u64,
    blocks: u64,
    /// Blocks the client is known to have.
    acked: u64,
    /// The block to send next, from 1.
    next: u64,
    /// The highest block sent.
    high: u64,
    opening: Opening,
    timer: Timer,
    heard_at: Duration,
    tail_repeats: u32,
    /// The client's last word was not the last block sent: the one after it is missing, or a copy was acknowledged.
    asks: bool,
    repeats: u64,
    ended: Option<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The OACK waits for ACK 0; `due` if it is to be sent (again).
    Offer {
        sent: u32,
        due: bool,
    },
    /// DATA 1 went out without options.
    Bare {
        sent: u32,
    },
    Proved,
}

impl Transfer {
    pub fn new(terms: Terms, size: u64, now: Duration) -> Transfer {
        let blocks = size.checked_div(terms.block.max(1) as u64).unwrap_or(0).saturating_add(1);
        let opening = match terms.agreed.nothing() {
            true => Opening::Bare { sent: 0 },
            false => Opening::Offer { sent: 0, due: true },
        };
        Transfer {
            size,
            blocks,
            acked: 0,
            next: 1,
            high: 0,
            opening,
            timer: Timer::new(terms.timeout, now),
            heard_at: now,
            tail_repeats: 0,
            asks: false,
            repeats: 0,
            ended: None,
            terms,
        }
    }

    /// The next packet, until there is none for now.
    pub fn poll(&mut self, now: Duration) -> Option<Part> {
        if self.ended.is_some() {
            return None;
        }
        match &mut self.opening {
            Opening::Offer { due: false, .. } => return None,
            Opening::Offer { sent, due } => {
                *due = false;
                *sent += 1;
                if *sent > 1 {
                    self.repeats += 1;
                } else {
                    self.timer.watch(0, now);
                }
                self.timer.arm(now);
                return Some(Part::Terms);
            }
            Opening::Bare { .. } | Opening::Proved => {}
        }
        let last = self.blocks.min(self.acked + u64::from(self.terms.window));
        if self.next > last {
            return None;
        }
        let block = self.next;
        self.next += 1;
        if let Opening::Bare { sent } = &mut self.opening {
            *sent += 1;
        }
        if block <= self.high {
            self.repeats += 1;
        } else {
            self.high = block;
            self.timer.watch(block, now);
        }
        self.timer.arm(now);
        let from = (block - 1).saturating_mul(self.terms.block as u64);
        let to = from.saturating_add(self.terms.block as u64).min(self.size);
        Some(Part::Data { number: self.on_wire(block), from, to })
    }

    pub fn heard_ack(&mut self, number: u16, now: Duration) {
        if self.ended.is_some() {
            return;
        }
        if matches!(self.opening, Opening::Offer { .. }) {
            if number == 0 {
                self.opening = Opening::Proved;
                self.proved(0, now);
            }
            return;
        }
        let Some(block) = (self.acked..=self.high).find(|b| self.on_wire(*b) == number) else { return };
        // Alone in flight, a block is only ever repeated when its time is up (B5.6).
        self.asks = self.terms.window > 1 && block < self.high;
        if block == self.acked {
            return;
        }
        self.opening = Opening::Proved;
        self.acked = block;
        self.next = self.next.max(block + 1);
        self.proved(block, now);
        if block >= self.blocks {
            self.ended = Some(Ending::Finished { confirmed: true });
        }
    }

    fn proved(&mut self, block: u64, now: Duration) {
        self.heard_at = now;
        self.tail_repeats = 0;
        self.timer.answered(block, now);
    }

    /// The client said ERROR: after the OACK that is a probe and no failure.
    pub fn heard_error(&mut self, code: u16) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(match self.opening {
            Opening::Offer { .. } => Ending::Probed,
            Opening::Proved if self.high == 0 => Ending::Probed,
            _ => Ending::GaveUp(code),
        });
    }

    /// The same port asked again (B5.7).
    pub fn asked_again(&mut self, same: bool, now: Duration) -> Again {
        let opening = self.opening_sent();
        match (opening, same) {
            (Some(sent), true) => {
                if sent < OPENING_PACKETS {
                    self.timer.forget();
                    self.send_again();
                }
                Again::Same
            }
            (None, true) if !self.in_tail() && now.saturating_sub(self.heard_at) < RESTART_AFTER => Again::Same,
            _ => Again::Replaces,
        }
    }

    /// Gives the place to another transfer of the same client.
    pub fn replace(&mut self) {
        let done = self.in_tail() && self.opening == Opening::Proved;
        let ending = if done { Ending::Finished { confirmed: false } } else { Ending::Replaced };
        self.ended.get_or_insert(ending);
    }

    /// Repeats or gives up if it is time.
    pub fn tick(&mut self, now: Duration) {
        if self.ended.is_some() || now < self.wake() {
            return;
        }
        if now.saturating_sub(self.heard_at) >= IDLE {
            self.ended = Some(match self.opening {
                Opening::Proved if self.in_tail() => Ending::Finished { confirmed: false },
                Opening::Proved => Ending::Lost,
                _ => Ending::Unproved,
            });
            return;
        }
        if self.asks && now >= self.timer.soon() {
            self.asks = false;
            self.timer.hurry(self.acked + 1, now);
            self.send_again();
            return;
        }
        if self.opening_sent().is_some_and(|sent| sent >= OPENING_PACKETS) {
            self.ended = Some(Ending::Unproved);
            return;
        }
        if self.opening == Opening::Proved && self.in_tail() {
            if self.tail_repeats >= TAIL_REPEATS {
                self.ended = Some(Ending::Finished { confirmed: false });
                return;
            }
            self.tail_repeats += 1;
        }
        self.timer.back_off(now);
        self.send_again();
    }

    fn send_again(&mut self) {
        match &mut self.opening {
            Opening::Offer { due, .. } => *due = true,
            Opening::Bare { .. } | Opening::Proved => self.next = self.acked + 1,
        }
    }

    /// Packets sent before the first acknowledgement; `None` once that came.
    fn opening_sent(&self) -> Option<u32> {
        match self.opening {
            Opening::Offer { sent, .. } | Opening::Bare { sent } => Some(sent),
            Opening::Proved => None,
        }
    }

    /// The whole file has left at least once.
    pub fn in_tail(&self) -> bool {
        self.high >= self.blocks
    }

    /// When to call [`Transfer::tick`] at the latest.
    pub fn wake(&self) -> Duration {
        let timer = if self.asks { self.timer.at.min(self.timer.soon()) } else { self.timer.at };
        timer.min(self.heard_at + IDLE)
    }

    pub fn ended(&self) -> Option<Ending> {
        self.ended
    }

    /// Packets sent more than once.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Bytes the client is known to have.
    pub fn bytes_acked(&self) -> u64 {
        self.acked.saturating_mul(self.terms.block as u64).min(self.size)
    }

    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    fn on_wire(&self, block: u64) -> u16 {
        let cut = match self.terms.rollover {
            Rollover::ToZero => block % 65_536,
            Rollover::ToOne if block == 0 => 0,
            Rollover::ToOne => (block - 1) % 65_535 + 1,
        };
        u16::try_from(cut).unwrap_or(0)
    }
}

/// The retransmit timer: from measured round trips (RFC 6298), or the interval that the client asked for.
#[derive(Clone, Debug)]
struct Timer {
    asked: Option<Duration>,
    smooth: Option<(Duration, Duration)>,
    /// The shortest round trip.
    least: Duration,
    doublings: u32,
    /// Its acknowledgement ends a round trip.
    watched: Option<Watched>,
    sent_at: Duration,
    at: Duration,
    /// Repeats ahead of `at` that were not seen to be right.
    hurries: u32,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    block: u64,
    sent: Duration,
    /// Sent before too, which may be what is answered.
    again: bool,
}

impl Timer {
    fn new(asked: Option<u8>, now: Duration) -> Timer {
        let asked = asked.map(|s| Duration::from_secs(s.into()));
        Timer {
            asked,
            smooth: None,
            least: Duration::MAX,
            doublings: 0,
            watched: None,
            sent_at: now,
            at: now + TIMER_START,
            hurries: 0,
        }
    }

    fn interval(&self) -> Duration {
        let measured = || match self.smooth {
            Some((mean, spread)) => (mean + spread * 4).clamp(TIMER_LEAST, TIMER_START),
            None => TIMER_START,
        };
        let base = self.asked.unwrap_or_else(measured);
        base.saturating_mul(1 << self.doublings.min(8)).min(TIMER_MOST.max(base))
    }

    fn arm(&mut self, now: Duration) {
        self.sent_at = now;
        self.at = now + self.interval();
    }

    fn back_off(&mut self, now: Duration) {
        self.doublings = self.doublings.saturating_add(1);
        self.forget();
        self.arm(now);
    }

    /// When all that is in flight should have been answered. Later each time that this was wrong: on a way that has become
    /// longer than was measured every repeat would draw the next.
    fn soon(&self) -> Duration {
        let trip = self.smooth.map_or(TIMER_LEAST, |(mean, _)| mean * 5 / 4);
        self.sent_at + trip.saturating_mul(1 << self.hurries.min(16)).min(TIMER_MOST)
    }

    fn hurry(&mut self, block: u64, now: Duration) {
        self.hurries = self.hurries.saturating_add(1);
        self.watched = Some(Watched { block, sent: now, again: true });
    }

    /// `block` leaves for the first time.
    fn watch(&mut self, block: u64, now: Duration) {
        self.watched.get_or_insert(Watched { block, sent: now, again: false });
    }

    fn forget(&mut self) {
        self.watched = None;
    }

    fn answered(&mut self, block: u64, now: Duration) {
        self.doublings = 0;
        if let Some(watched) = self.watched.take_if(|watched| watched.block <= block) {
            self.measured(now.saturating_sub(watched.sent), watched.again);
        }
        self.at = now + self.interval();
    }

    fn measured(&mut self, trip: Duration, again: bool) {
        // Too soon to be the answer to the repeat, which was not needed then.
        if again && self.smooth.is_some() && trip < self.least * 3 / 4 {
            return;
        }
        if !again || self.smooth.is_none_or(|(mean, _)| trip <= mean * 3 / 2) {
            self.hurries = 0;
        }
        self.least = self.least.min(trip);
        self.smooth = Some(match self.smooth {
            None => (trip, trip / 2),
            Some((mean, spread)) => ((mean * 7 + trip) / 8, (spread * 3 + mean.abs_diff(trip)) / 4),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// One that has measured a round trip of 100 ms.
    fn measured() -> Timer {
        let mut timer = Timer::new(None, ms(0));
        timer.watch(1, ms(0));
        timer.answered(1, ms(100));
        timer
    }

    #[test]
    fn b5_6_the_timer_is_the_mean_of_the_trips_and_four_times_their_spread() {
        let mut timer = Timer::new(None, ms(5));
        assert_eq!((timer.at, timer.interval()), (ms(1_005), ms(1_000)));
        timer = measured();
        assert_eq!((timer.smooth, timer.least, timer.at), (Some((ms(100), ms(50))), ms(100), ms(400)));
        timer.watch(3, ms(100));
        timer.watch(4, ms(150));
        timer.answered(2, ms(200));
        assert_eq!((timer.smooth, timer.at), (Some((ms(100), ms(50))), ms(500)), "what is watched is not answered yet");
        timer.answered(3, ms(280));
        assert_eq!((timer.smooth, timer.least), (Some((ms(110), Duration::from_micros(57_500))), ms(100)));
        assert_eq!(timer.at, ms(620));
        timer.answered(4, ms(290));
        assert_eq!(
            (timer.smooth, timer.at),
            (Some((ms(110), Duration::from_micros(57_500))), ms(630)),
            "measured once"
        );
    }

    #[test]
    fn b5_6_the_timer_doubles_to_eight_seconds_and_an_interval_that_was_asked_for_is_never_cut() {
        let intervals = |timer: &mut Timer| {
            let mut all = vec![timer.interval()];
            for _ in 0..10 {
                timer.back_off(ms(0));
                all.push(timer.interval());
            }
            all.iter().map(|one| u64::try_from(one.as_millis()).unwrap()).collect::<Vec<_>>()
        };
        let mut timer = measured();
        timer.watch(2, ms(100));
        let doubled = [300, 600, 1200, 2400, 4800, 8000, 8000, 8000, 8000, 8000, 8000];
        assert_eq!(intervals(&mut timer), doubled);
        assert_eq!((timer.sent_at, timer.at), (ms(0), ms(8_000)));
        timer.answered(2, ms(300));
        assert_eq!(timer.at, ms(600), "a repeat's answer is no round trip, and ends the doubling");
        assert_eq!(intervals(&mut Timer::new(Some(3), ms(0)))[..4], [3_000, 6_000, 8_000, 8_000]);
        assert_eq!(intervals(&mut Timer::new(Some(10), ms(0)))[..3], [10_000, 10_000, 10_000]);
    }

    #[test]
    fn b5_4_what_was_asked_for_is_repeated_a_quarter_after_a_round_trip_and_later_each_time_it_was_wrong() {
        let mut timer = measured();
        timer.arm(ms(1_000));
        let mut all = vec![timer.soon()];
        for _ in 0..20 {
            timer.hurry(2, ms(1_000));
            all.push(timer.soon());
        }
        assert_eq!(all[..4], [1_125, 1_250, 1_500, 2_000].map(ms));
        assert_eq!(all.last(), Some(&ms(9_000)), "eight seconds at most");
        let mut new = Timer::new(None, ms(0));
        new.arm(ms(1_000));
        assert_eq!(new.soon(), ms(1_200));
    }

    #[test]
    fn b5_6_an_answer_that_came_too_soon_for_a_repeat_measures_nothing() {
        let known = Some((ms(100), ms(50)));
        for (again, trip, smooth, hurries) in [
            (true, 74, known, 1),
            (true, 75, Some((Duration::from_micros(96_875), Duration::from_micros(43_750))), 0),
            (true, 150, Some((Duration::from_micros(106_250), ms(50))), 0),
            (true, 151, Some((Duration::from_micros(106_375), Duration::from_micros(50_250))), 1),
            (false, 20, Some((ms(90), Duration::from_micros(57_500))), 0),
            (false, 500, Some((ms(150), Duration::from_micros(137_500))), 0),
        ] {
            let mut timer = measured();
            timer.hurry(2, ms(1_000));
            timer.watched = Some(Watched { block: 2, sent: ms(1_000), again });
            timer.answered(2, ms(1_000 + trip));
            assert_eq!((timer.smooth, timer.hurries), (smooth, hurries), "{again} {trip}");
        }
        let mut first = Timer::new(None, ms(0));
        first.hurry(1, ms(0));
        first.answered(1, ms(10));
        assert_eq!((first.smooth, first.least, first.hurries), (Some((ms(10), ms(5))), ms(10), 0));
    }
}
