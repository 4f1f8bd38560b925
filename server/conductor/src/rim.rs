//! The rim: the clock and the dice. Everything below takes time and ids as arguments; only here are they made.

use muster_names::{Digest, Millis};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time. A step of the wall clock becomes a slope: it is followed by a tenth of the time that passes, and time never
/// runs backwards. Otherwise a clock set an hour forward would end every deadline of the fleet in one moment, budgets
/// included.
pub fn now() -> Millis {
    static CLOCK: Mutex<Option<Slope>> = Mutex::new(None);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let at = Instant::now();
    let slope = clock.get_or_insert(Slope { told: wall, at });
    Millis(i64::try_from(slope.tell(wall, at).as_millis()).unwrap_or(i64::MAX))
}

/// What was told last, and when that was by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
struct Slope {
    told: Duration,
    at: Instant,
}

impl Slope {
    fn tell(&mut self, wall: Duration, at: Instant) -> Duration {
        let passed = at.saturating_duration_since(self.at);
        let tenth = passed / 10;
        let even = self.told.saturating_add(passed);
        self.told = wall.clamp(even.saturating_sub(tenth), even.saturating_add(tenth));
        self.at = at;
        self.told
    }
}

/// 128 random bits for an id.
pub fn fresh_id() -> Result<u128, crate::Error> {
    let mut octets = [0u8; 16];
    SystemRandom::new().fill(&mut octets).map_err(|_| crate::Error::NoRandomness)?;
    Ok(u128::from_be_bytes(octets))
}

/// A new bearer token, 256 random bits. Only its digest is ever stored.
pub fn fresh_token() -> Result<String, crate::Error> {
    let mut octets = [0u8; 32];
    SystemRandom::new().fill(&mut octets).map_err(|_| crate::Error::NoRandomness)?;
    Ok(format!("{}{}", muster_wire::TOKEN_PREFIX, Digest(octets)))
}

pub fn sha256(bytes: &[u8]) -> Digest {
    let mut octets = [0u8; 32];
    octets
        .iter_mut()
        .zip(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
        .for_each(|(to, from)| *to = *from);
    Digest(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_becomes_a_slope_and_time_never_runs_backwards() {
        let (seconds, begun) = (Duration::from_secs, Instant::now());
        let mut slope = Slope { told: seconds(1_000_000), at: begun };
        let mut tell = |wall: u64, passed: u64| slope.tell(seconds(wall), begun + seconds(passed)).as_secs();
        assert_eq!(tell(1_000_010, 10), 1_000_010);
        assert_eq!(tell(1_003_620, 20), 1_000_021, "an hour forward");
        assert_eq!(tell(1_003_720, 120), 1_000_131);
        assert_eq!(tell(996_520, 220), 1_000_221, "two hours back");
        assert_eq!(tell(996_520, 220), 1_000_221);
        assert_eq!(tell(1_001_000, 1_000), 1_001_000, "the wall clock is right again");
    }
}
