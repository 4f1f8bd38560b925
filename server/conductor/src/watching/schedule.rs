//! When a BMC is visited: each at a moment of its own within the period, so that ten thousand are not asked at once, and
//! those that do not answer less and less often.

use muster_names::{MachineId, Millis};

const HOUR_MS: i64 = 3_600_000;
/// As many failures as one refused login counts for.
pub const REFUSED: u32 = u32::MAX;

/// Spread evenly, the same for a machine at each start.
fn phase(machine: MachineId, within: i64) -> i64 {
    let folded = (machine.0 ^ (machine.0 >> 64)).to_le_bytes();
    let mixed = folded
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    i64::try_from(mixed >> 1).unwrap_or(0).rem_euclid(within.max(1))
}

/// The first visit after a start: soon, for a small fleet at once.
pub fn first(machine: MachineId, period: i64, fleet: usize, now: Millis) -> Millis {
    // A hundred a second need no spreading.
    let within = i64::try_from(fleet).unwrap_or(i64::MAX).saturating_mul(10).min(period);
    Millis(now.0.saturating_add(phase(machine, within)))
}

/// The next one. Each failure in a row doubles the pause, up to an hour. Who refused the login is asked a day later: the
/// account it locks is needed by people too.
pub fn next(machine: MachineId, period: i64, failures: u32, now: Millis) -> Millis {
    if failures == 0 {
        // On its own grid, so that visits keep their distance from those of others.
        let offset = phase(machine, period);
        let turns = now.0.saturating_sub(offset).div_euclid(period.max(1)).saturating_add(1);
        let at = turns.saturating_mul(period).saturating_add(offset);
        // One that came late is not followed at once by the next.
        return Millis(if at.saturating_sub(now.0) < period / 4 { at.saturating_add(period) } else { at });
    }
    let most = if failures == REFUSED { 24 * HOUR_MS } else { HOUR_MS };
    let doublings = if failures == REFUSED { 62 } else { failures.saturating_sub(1).min(12) };
    let pause = period.saturating_mul(1_i64.checked_shl(doublings).unwrap_or(i64::MAX)).min(most.max(period));
    Millis(now.0.saturating_add(pause).saturating_add(phase(machine, pause / 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 300_000;

    #[test]
    fn a_fleet_is_spread_over_the_period() {
        let now = Millis(1_700_000_000_000);
        let mut minutes = [0_u32; 5];
        for id in 0..10_000_u128 {
            let at = next(MachineId(id * 77), PERIOD, 0, now).0 - now.0;
            assert!((PERIOD / 4..=PERIOD + PERIOD / 4).contains(&at), "{at}");
            minutes[usize::try_from(at.rem_euclid(PERIOD) / 60_000).unwrap()] += 1;
        }
        assert!(minutes.iter().all(|count| (1_800..2_200).contains(count)), "{minutes:?}");
    }

    #[test]
    fn a_small_fleet_is_visited_soon_after_the_start_and_a_large_one_within_the_period() {
        let soon = |fleet| (0..500_u128).map(|id| first(MachineId(id), PERIOD, fleet, Millis(0)).0).max().unwrap();
        assert!(soon(10) < 100 && soon(100_000) > 100_000 && soon(100_000) < PERIOD);
    }

    #[test]
    fn who_does_not_answer_is_asked_less_often_and_at_least_every_hour() {
        let pause = |failures| next(MachineId(5), PERIOD, failures, Millis(0)).0;
        assert!(pause(1) >= PERIOD && pause(2) >= 2 * PERIOD && pause(2) > pause(1));
        for failures in [5, 100] {
            assert!((HOUR_MS..=HOUR_MS + HOUR_MS / 8).contains(&pause(failures)), "{}", pause(failures));
        }
        assert!(
            (24 * HOUR_MS..=27 * HOUR_MS).contains(&pause(REFUSED)),
            "a login that was refused is tried once a day"
        );
    }
}
