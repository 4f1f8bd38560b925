//! The rules of one transfer, one test a rule.

use super::packet::Asked;
use super::terms::{Limits, Rollover, Terms, negotiate};
use super::transfer::{Again, Ending, OPENING_PACKETS, Part, Transfer};
use std::time::Duration;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn terms(blksize: Option<u32>, windowsize: Option<u16>) -> Terms {
    negotiate(&Asked { blksize, windowsize, ..Asked::default() }, 0, Limits::default()).unwrap()
}

fn drain(transfer: &mut Transfer, now: Duration) -> Vec<Part> {
    std::iter::from_fn(|| transfer.poll(now)).collect()
}

fn numbers(parts: &[Part]) -> Vec<u16> {
    parts
        .iter()
        .filter_map(|p| match p {
            Part::Data { number, .. } => Some(*number),
            Part::Terms => None,
        })
        .collect()
}

/// Lets time pass from wake-up to wake-up until the end; gives all that was sent and the moment of the end.
fn left_alone(transfer: &mut Transfer, mut now: Duration) -> (Vec<(Duration, Part)>, Duration) {
    let mut sent = Vec::new();
    while transfer.ended().is_none() {
        sent.extend(drain(transfer, now).into_iter().map(|p| (now, p)));
        now = transfer.wake().max(now);
        transfer.tick(now);
    }
    (sent, now)
}

#[test]
fn a2_2_without_an_ack_three_packets_leave_and_then_it_ends() {
    for (blksize, window) in [(None, None), (Some(1468), None), (Some(512), Some(32))] {
        let mut transfer = Transfer::new(terms(blksize, window), 1_000_000, at(0));
        let (sent, end) = left_alone(&mut transfer, at(0));
        assert_eq!(sent.len(), OPENING_PACKETS as usize);
        assert_eq!(transfer.ended(), Some(Ending::Unproved));
        assert_eq!(end, at(7000), "1 + 2 + 4 seconds");
    }
}

#[test]
fn a2_2_repeating_the_request_does_not_raise_the_three() {
    let mut transfer = Transfer::new(terms(Some(1468), None), 1_000_000, at(0));
    let mut sent = drain(&mut transfer, at(0)).len();
    for ms in 1..100 {
        assert_eq!(transfer.asked_again(true, at(ms)), Again::Same);
        sent += drain(&mut transfer, at(ms)).len();
    }
    sent += left_alone(&mut transfer, at(100)).0.len();
    assert_eq!(sent, OPENING_PACKETS as usize);
}

#[test]
fn a2_2_an_ack_that_fits_nothing_sent_proves_nothing() {
    let mut transfer = Transfer::new(terms(None, None), 1_000_000, at(0));
    drain(&mut transfer, at(0));
    for wrong in [0, 2, 3, 65_535] {
        transfer.heard_ack(wrong, at(1));
        assert_eq!(drain(&mut transfer, at(1)), []);
    }
    let mut offered = Transfer::new(terms(Some(512), Some(8)), 1_000_000, at(0));
    drain(&mut offered, at(0));
    offered.heard_ack(1, at(1));
    assert_eq!(drain(&mut offered, at(1)), []);
}

#[test]
fn b5_1_without_options_data_one_comes_at_once() {
    let mut transfer = Transfer::new(terms(None, None), 600, at(0));
    assert_eq!(drain(&mut transfer, at(0)), [Part::Data { number: 1, from: 0, to: 512 }]);
    transfer.heard_ack(1, at(1));
    assert_eq!(drain(&mut transfer, at(1)), [Part::Data { number: 2, from: 512, to: 600 }]);
    transfer.heard_ack(2, at(2));
    assert_eq!(transfer.ended(), Some(Ending::Finished { confirmed: true }));
    assert_eq!(transfer.bytes_acked(), 600);
}

#[test]
fn b5_1_with_options_data_waits_for_ack_zero() {
    let mut transfer = Transfer::new(terms(Some(512), Some(2)), 2000, at(0));
    assert_eq!(drain(&mut transfer, at(0)), [Part::Terms]);
    transfer.heard_ack(0, at(1));
    assert_eq!(numbers(&drain(&mut transfer, at(1))), [1, 2]);
}

#[test]
fn b5_1_a_file_of_whole_blocks_ends_with_an_empty_one() {
    for (size, last) in [(0, 0..0), (512, 512..512), (1024, 1024..1024)] {
        let mut transfer = Transfer::new(terms(None, None), size, at(0));
        let mut seen = None;
        while transfer.ended().is_none() {
            let Some(Part::Data { number, from, to }) = transfer.poll(at(0)) else { panic!("stuck") };
            seen = Some(from..to);
            transfer.heard_ack(number, at(0));
        }
        assert_eq!(seen, Some(last));
    }
}

#[test]
fn b5_3_an_error_after_the_oack_is_a_probe() {
    let mut transfer = Transfer::new(terms(Some(1468), Some(4)), 1_000_000, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_error(8);
    assert_eq!(transfer.ended(), Some(Ending::Probed));
    assert_eq!(drain(&mut transfer, at(1)), []);
}

#[test]
fn b5_3_an_error_in_the_middle_is_a_client_that_gave_up() {
    let mut transfer = Transfer::new(terms(Some(1468), Some(4)), 1_000_000, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_ack(0, at(1));
    drain(&mut transfer, at(1));
    transfer.heard_error(3);
    assert_eq!(transfer.ended(), Some(Ending::GaveUp(3)));
}

fn in_window(window: u16) -> Transfer {
    let mut transfer = Transfer::new(terms(Some(512), Some(window)), 100 * 512, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_ack(0, at(10));
    drain(&mut transfer, at(10));
    transfer
}

/// Lets time pass until the transfer wants it, and gives what it sends then.
fn woken(transfer: &mut Transfer) -> (Duration, Vec<u16>) {
    let now = transfer.wake();
    transfer.tick(now);
    (now, numbers(&drain(transfer, now)))
}

#[test]
fn b5_4_after_a_gap_sending_resumes_behind_the_last_block_in_order() {
    let mut transfer = in_window(4);
    transfer.heard_ack(2, at(20));
    assert_eq!(numbers(&drain(&mut transfer, at(20))), [5, 6], "what the window allows");
    let (now, sent) = woken(&mut transfer);
    assert_eq!(sent, [3, 4, 5, 6]);
    assert!(now > at(30) && now < at(40), "a round trip is 10 ms: {now:?}");
}

#[test]
fn b5_4_a_missing_first_block_is_repeated_once_for_all_its_duplicates() {
    let mut transfer = in_window(4);
    transfer.heard_ack(4, at(20));
    assert_eq!(numbers(&drain(&mut transfer, at(20))), [5, 6, 7, 8]);
    for ms in [30, 30, 30, 31] {
        transfer.heard_ack(4, at(ms));
        assert_eq!(drain(&mut transfer, at(ms)), []);
    }
    let (now, sent) = woken(&mut transfer);
    assert_eq!(sent, [5, 6, 7, 8]);
    assert!(now > at(31) && now < at(40), "{now:?}");
}

#[test]
fn b5_6_a_client_that_only_ever_asks_again_is_answered_ever_more_seldom_and_then_given_up() {
    let mut transfer = in_window(4);
    let mut sent = Vec::new();
    for ms in 20..60_000 {
        transfer.heard_ack(0, at(ms));
        transfer.tick(at(ms));
        sent.extend(drain(&mut transfer, at(ms)));
    }
    assert!(sent.len() <= 4 * 25, "{} packets for nothing", sent.len());
    transfer.tick(at(60_010));
    assert_eq!(transfer.ended(), Some(Ending::Lost));
}

#[test]
fn b5_6_a_copy_that_is_acknowledged_early_repeats_nothing() {
    let mut transfer = in_window(4);
    // 1, 2 and a copy of 2: from here on it counts its window anew.
    transfer.heard_ack(2, at(20));
    assert_eq!(numbers(&drain(&mut transfer, at(20))), [5, 6]);
    assert!(transfer.wake() > at(30));
    transfer.heard_ack(6, at(30));
    assert_eq!(numbers(&drain(&mut transfer, at(30))), [7, 8, 9, 10]);
    assert_eq!(transfer.repeats(), 0);
    assert_eq!(transfer.wake(), at(230), "nothing is asked for any more");
}

#[test]
fn b5_6_a_duplicate_ack_alone_never_sends_anything() {
    let mut transfer = Transfer::new(terms(None, None), 100 * 512, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_ack(1, at(10));
    assert_eq!(numbers(&drain(&mut transfer, at(10))), [2]);
    for ms in 11..200 {
        transfer.heard_ack(1, at(ms));
        assert_eq!(drain(&mut transfer, at(ms)), []);
    }
}

#[test]
fn b5_6_in_a_window_one_duplicated_ack_does_not_double_the_rest() {
    let mut transfer = in_window(4);
    let (mut sent, mut now, mut acks) = (0, 20, vec![4u16, 4]);
    while transfer.ended().is_none() {
        let mut parts = Vec::new();
        for ack in acks.drain(..) {
            transfer.tick(at(now));
            transfer.heard_ack(ack, at(now));
            parts.extend(drain(&mut transfer, at(now)));
            now += 9; // late enough to look like a gap
        }
        sent += parts.len();
        // A client that acknowledges every window it gets, also one it had.
        acks.extend(numbers(&parts).chunks(4).filter_map(|w| w.last().copied()));
        now += 1;
    }
    assert!(sent <= 101 - 4 + 8, "{sent} packets for 97 blocks");
}

#[test]
fn b5_6_the_timer_starts_at_a_second_and_doubles_to_eight() {
    let mut transfer = Transfer::new(terms(None, None), 100 * 512, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_ack(1, at(400));
    let (sent, end) = left_alone(&mut transfer, at(400));
    let gaps: Vec<u128> = sent.windows(2).map(|w| (w[1].0 - w[0].0).as_millis()).collect();
    assert_eq!(gaps, [1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000, 8000]);
    assert_eq!(transfer.ended(), Some(Ending::Lost));
    assert_eq!(end, at(60_400));
}

#[test]
fn b5_6_on_a_quick_link_the_timer_falls_to_200_ms() {
    let mut transfer = Transfer::new(terms(None, None), 100 * 512, at(0));
    drain(&mut transfer, at(0));
    for block in 1..20u16 {
        transfer.heard_ack(block, at(u64::from(block)));
        drain(&mut transfer, at(u64::from(block)));
    }
    assert_eq!(transfer.wake(), at(219));
}

#[test]
fn b5_6_a_timeout_that_the_client_asked_for_is_kept() {
    let asked = Asked { timeout: Some(3), ..Asked::default() };
    let terms = negotiate(&asked, 0, Limits::default()).unwrap();
    let mut transfer = Transfer::new(terms, 100 * 512, at(0));
    drain(&mut transfer, at(0));
    assert_eq!(transfer.wake(), at(3000));
    transfer.heard_ack(0, at(1));
    drain(&mut transfer, at(1));
    assert_eq!(transfer.wake(), at(3001));
}

#[test]
fn b5_6_a_client_that_never_acknowledges_the_end_is_done_quietly() {
    let mut transfer = Transfer::new(terms(None, None), 600, at(0));
    drain(&mut transfer, at(0));
    transfer.heard_ack(1, at(1));
    let (sent, end) = left_alone(&mut transfer, at(1));
    assert_eq!(transfer.ended(), Some(Ending::Finished { confirmed: false }));
    assert_eq!(sent.len(), 5);
    assert!(end < at(10_000));
}

#[test]
fn b5_7_the_same_request_in_the_handshake_is_answered_by_the_same_transfer() {
    let mut transfer = Transfer::new(terms(Some(1468), None), 5000, at(0));
    assert_eq!(drain(&mut transfer, at(0)), [Part::Terms]);
    assert_eq!(transfer.asked_again(true, at(100)), Again::Same);
    assert_eq!(drain(&mut transfer, at(100)), [Part::Terms]);
    let mut bare = Transfer::new(terms(None, None), 5000, at(0));
    drain(&mut bare, at(0));
    assert_eq!(bare.asked_again(true, at(100)), Again::Same);
    assert_eq!(numbers(&drain(&mut bare, at(100))), [1]);
}

#[test]
fn b5_7_a_late_copy_does_not_disturb_but_a_new_wish_replaces() {
    let mut transfer = in_window(4);
    assert_eq!(transfer.asked_again(true, at(500)), Again::Same);
    assert_eq!(drain(&mut transfer, at(500)), []);
    assert_eq!(transfer.asked_again(true, at(5000)), Again::Replaces, "silent for long: the machine was reset");
    assert_eq!(transfer.asked_again(false, at(500)), Again::Replaces, "another file");
    transfer.replace();
    assert_eq!(transfer.ended(), Some(Ending::Replaced));
}

#[test]
fn b5_5_numbers_wrap_to_zero_or_to_one() {
    for (rollover, after) in [(Rollover::ToZero, [65_535u16, 0, 1]), (Rollover::ToOne, [65_535, 1, 2])] {
        let terms = Terms { rollover, ..terms(None, None) };
        let mut transfer = Transfer::new(terms, 70_000 * 512, at(0));
        let mut seen: Vec<u16> = Vec::new();
        while transfer.ended().is_none() {
            let parts = numbers(&drain(&mut transfer, at(0)));
            seen.extend(&parts);
            transfer.heard_ack(parts[0], at(0));
            // A duplicate near the wrap is as harmless as elsewhere.
            transfer.heard_ack(parts[0], at(0));
        }
        assert_eq!(seen[65_534..65_537], after);
        assert_eq!(seen.len(), 70_001);
    }
}

#[test]
fn b5_6_what_is_sent_again_is_counted_and_a_repeated_oack_is_no_measure() {
    let mut transfer = Transfer::new(terms(Some(512), Some(2)), 100 * 512, at(0));
    assert_eq!((drain(&mut transfer, at(0)), transfer.repeats()), (vec![Part::Terms], 0));
    assert_eq!(woken(&mut transfer).0, at(1000));
    assert_eq!(transfer.repeats(), 1);
    transfer.heard_ack(0, at(1010));
    assert_eq!(numbers(&drain(&mut transfer, at(1010))), [1, 2]);
    assert_eq!((transfer.wake(), transfer.repeats()), (at(2010), 1), "which of the two was answered is not known");
    assert_eq!(woken(&mut transfer), (at(2010), vec![1, 2]));
    assert_eq!((transfer.repeats(), transfer.bytes_acked()), (3, 0));
    transfer.heard_ack(2, at(2020));
    assert_eq!(transfer.bytes_acked(), 1024);
}

#[test]
fn b5_4_the_timer_is_drawn_near_in_a_window_and_never_for_a_block_alone() {
    let mut transfer = in_window(4);
    transfer.heard_ack(2, at(20));
    assert_eq!(numbers(&drain(&mut transfer, at(20))), [5, 6]);
    assert_eq!(transfer.wake(), Duration::from_micros(32_500), "five quarters of a round trip");
    assert_eq!(woken(&mut transfer).1, [3, 4, 5, 6]);
    transfer.heard_ack(2, at(40));
    assert_eq!(transfer.wake(), Duration::from_micros(57_500), "twice as long, for it was not seen to be right");
    let mut alone = in_window(1);
    alone.heard_ack(1, at(20));
    assert_eq!(numbers(&drain(&mut alone, at(20))), [2]);
    let before = alone.wake();
    alone.heard_ack(1, at(30));
    assert_eq!((alone.wake(), before), (at(220), at(220)));
}

#[test]
fn b5_3_an_error_before_the_first_block_is_a_probe_and_one_at_the_end_is_a_client_that_gave_up() {
    let mut asked = Transfer::new(terms(Some(512), Some(2)), 600, at(0));
    drain(&mut asked, at(0));
    asked.heard_ack(0, at(1));
    let mut loaded = asked.clone();
    asked.heard_error(0);
    assert_eq!(asked.ended(), Some(Ending::Probed));
    assert_eq!(numbers(&drain(&mut loaded, at(1))), [1, 2]);
    loaded.heard_error(3);
    assert_eq!(loaded.ended(), Some(Ending::GaveUp(3)), "its last block was not acknowledged");
    loaded.heard_error(4);
    loaded.heard_ack(2, at(2));
    loaded.replace();
    assert_eq!((loaded.ended(), loaded.bytes_acked()), (Some(Ending::GaveUp(3)), 0), "what has ended has ended");
}

#[test]
fn b5_7_a_request_from_the_same_port_means_it_after_two_seconds_or_when_all_has_left() {
    let mut transfer = in_window(4);
    assert_eq!(transfer.asked_again(true, at(2009)), Again::Same);
    assert_eq!(transfer.asked_again(true, at(2010)), Again::Replaces);
    let mut tail = Transfer::new(terms(None, None), 600, at(0));
    drain(&mut tail, at(0));
    tail.heard_ack(1, at(1));
    drain(&mut tail, at(1));
    assert_eq!(tail.asked_again(true, at(2)), Again::Replaces, "its end was sent, so it begins anew");
    tail.replace();
    assert_eq!(tail.ended(), Some(Ending::Finished { confirmed: false }));
    let mut unproved = Transfer::new(terms(None, None), 100, at(0));
    drain(&mut unproved, at(0));
    unproved.replace();
    assert_eq!(unproved.ended(), Some(Ending::Replaced), "nobody has shown that he listens");
}

#[test]
fn b5_6_after_a_minute_without_a_word_it_ends_as_far_as_it_came() {
    let slow = || {
        let asked = Asked { timeout: Some(255), ..Asked::default() };
        Transfer::new(negotiate(&asked, 0, Limits::default()).unwrap(), 600, at(0))
    };
    let ended = |mut transfer: Transfer, last: u64| {
        drain(&mut transfer, at(last));
        assert_eq!(transfer.wake(), at(last + 60_000));
        transfer.tick(at(last + 59_999));
        assert_eq!(transfer.ended(), None);
        transfer.tick(at(last + 60_000));
        transfer.ended()
    };
    assert_eq!(ended(slow(), 0), Some(Ending::Unproved));
    let mut proved = slow();
    drain(&mut proved, at(0));
    proved.heard_ack(0, at(5));
    assert_eq!(ended(proved.clone(), 5), Some(Ending::Lost));
    drain(&mut proved, at(5));
    proved.heard_ack(1, at(9));
    assert_eq!(ended(proved, 9), Some(Ending::Finished { confirmed: false }));
}
