//! The console's state machine against a BMC made for it: what is typed arrives once and in order, and so does what
//! is said, whatever the network does.

use super::*;
use proptest::prelude::*;

const STEP: Duration = Duration::from_millis(100);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn sent(line: &mut Line, now: Duration) -> Vec<u8> {
    match line.due(now) {
        Due::Send(packet) => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn text_is_acknowledged_with_its_number_and_its_length() {
    let mut line = Line::new(Terms::default());
    let said = line.arrived(&[3, 0, 0, 0, b'h', b'i'], at(0)).unwrap();
    assert_eq!((said.text, said.ack), (&b"hi"[..], Some([0, 3, 2, 0])));
    let only = line.arrived(&[0, 0, 0, 0], at(0)).unwrap();
    assert_eq!((only.text.len(), only.ack), (0, None), "what says nothing is not acknowledged");
    assert_eq!(line.arrived(&[1, 2, 3], at(0)), None);
}

#[test]
fn a_repeated_packet_is_acknowledged_again_and_shown_once_but_for_what_is_new_in_it() {
    let mut line = Line::new(Terms::default());
    line.arrived(&[1, 0, 0, OVERRUN, b'a', b'b'], at(0));
    let again = line.arrived(&[1, 0, 0, OVERRUN, b'a', b'b'], at(1)).unwrap();
    assert_eq!((again.text, again.overrun, again.ack), (&b""[..], false, Some([0, 1, 2, 0])));
    let longer = line.arrived(&[1, 0, 0, 0, b'a', b'b', b'c'], at(2)).unwrap();
    assert_eq!((longer.text, longer.ack), (&b"c"[..], Some([0, 1, 3, 0])));
    assert_eq!(line.arrived(&[2, 0, 0, 0, b'd'], at(3)).unwrap().text, b"d");
}

#[test]
fn what_was_typed_is_sent_again_with_the_same_number_and_then_given_up() {
    let mut line = Line::new(Terms { sends: 3, ..Terms::default() });
    line.type_in(b"ls\r");
    let first = sent(&mut line, at(0));
    assert_eq!(first, b"\x01\0\0\0ls\r");
    assert_eq!(line.due(at(1)), Due::Wait(Some(at(500))));
    assert_eq!(sent(&mut line, at(500)), first);
    assert_eq!(sent(&mut line, at(1000)), first);
    assert_eq!(line.due(at(1500)), Due::Unheard);
}

#[test]
fn what_was_not_accepted_is_sent_again_under_a_new_number_after_a_pause() {
    let mut line = Line::new(Terms::default());
    line.type_in(b"abcd");
    sent(&mut line, at(0));
    line.arrived(&[0, 1, 3, NACK], at(10));
    assert_eq!(line.due(at(20)), Due::Wait(Some(at(510))), "it is not pressed");
    assert_eq!(sent(&mut line, at(510)), b"\x02\0\0\0d");
    line.arrived(&[0, 1, 0, NACK], at(520));
    assert_eq!(line.due(at(520)), Due::Wait(Some(at(1010))), "an old acknowledgement changes nothing");
    line.arrived(&[0, 2, 1, 0], at(530));
    assert_eq!(line.due(at(530)), Due::Wait(None));
}

#[test]
fn numbers_go_from_1_to_15_and_never_through_0() {
    let mut line = Line::new(Terms { most: 1, ..Terms::default() });
    line.type_in(&[b'x'; 31]);
    let mut numbers = Vec::new();
    for round in 0..31 {
        let number = sent(&mut line, at(round))[0];
        numbers.push(number);
        line.arrived(&[0, number, 1, 0], at(round));
    }
    let expected: Vec<u8> = (1..=15).chain(1..=15).chain([1]).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_break_travels_alone_and_in_its_place() {
    let mut line = Line::new(Terms::default());
    line.type_in(b"a");
    line.type_break();
    line.type_in(b"b");
    assert_eq!(sent(&mut line, at(0)), b"\x01\0\0\0a");
    line.arrived(&[0, 1, 1, 0], at(1));
    assert_eq!(sent(&mut line, at(1)), [2, 0, 0, BREAK]);
    line.arrived(&[0, 2, 0, NACK], at(2));
    assert_eq!(sent(&mut line, at(600)), [3, 0, 0, BREAK], "refused, it is asked for again");
    line.arrived(&[0, 3, 0, 0], at(601));
    assert_eq!(sent(&mut line, at(601)), b"\x04\0\0\0b");
}

#[test]
fn what_the_bmc_says_beside_text_is_told_once() {
    let mut line = Line::new(Terms::default());
    let off = [0, 0, 0, UNAVAILABLE];
    assert_eq!(line.arrived(&off, at(0)).unwrap().takes, Some(false));
    assert_eq!(line.arrived(&off, at(1)).unwrap().takes, None);
    assert_eq!(line.arrived(&[1, 0, 0, BREAK_SEEN], at(2)).unwrap().takes, Some(true));
    let over = line.arrived(&[0, 0, 0, INACTIVE], at(3)).unwrap();
    assert!(over.over && !over.overrun);
}

#[test]
fn a_size_that_is_none_is_not_believed() {
    for (told, most) in [(&[0_u8, 0, 0, 0, 0, 0, 0][..], 32), (&[], 32), (&[0; 3], 32), (&[0; 6], 32)] {
        assert_eq!(Terms::agreed(told, None).most, most);
    }
    assert_eq!(Terms::agreed(&[0, 0, 0, 0, 24, 0, 0, 0], None).most, 20);
    assert_eq!(Terms::agreed(&[0, 0, 0, 0, 0, 0xff, 0, 0], None).most, 64, "swapped");
    assert_eq!([0, 50, 255].map(Terms::pause), [at(100), at(500), at(2000)]);
}

#[test]
fn a_machine_that_takes_nothing_fills_no_memory() {
    let mut line = Line::new(Terms::default());
    for _ in 0..100 {
        line.type_in(&[b'x'; 1000]);
        line.type_break();
    }
    assert_eq!((line.room(), line.typed.len()), (0, ROOM));
}

/// A BMC with one packet in flight, as the specification has it.
struct Bmc {
    says: VecDeque<u8>,
    flight: Option<(u8, Vec<u8>)>,
    number: u8,
    last: Option<(u8, u8)>,
    typed: Vec<u8>,
    takes: usize,
}

impl Bmc {
    fn arrived(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let [number, acked, accepted, _, text @ ..] = packet else { panic!("{packet:?}") };
        if self.flight.as_ref().is_some_and(|(number, _)| number == acked) {
            let (_, bytes) = self.flight.take().unwrap();
            assert_eq!(usize::from(*accepted), bytes.len());
        }
        if *number == 0 {
            return None;
        }
        let taken = match self.last {
            Some((last, taken)) if last == *number => taken,
            _ => {
                let taken = text.len().min(self.takes) as u8;
                self.typed.extend(&text[..usize::from(taken)]);
                taken
            }
        };
        self.last = Some((*number, taken));
        let status = if usize::from(taken) < text.len() { NACK } else { 0 };
        Some(vec![0, *number, taken, status])
    }

    fn tick(&mut self) -> Option<Vec<u8>> {
        if self.flight.is_none() && !self.says.is_empty() {
            self.number = self.number % 15 + 1;
            let bytes = self.says.drain(..self.says.len().min(5)).collect();
            self.flight = Some((self.number, bytes));
        }
        self.flight.as_ref().map(|(number, bytes)| [&[*number, 0, 0, 0], &bytes[..]].concat())
    }
}

proptest! {
    #[test]
    fn whatever_the_network_loses_or_doubles_both_sides_hear_each_other_once_and_in_order(
        typed in proptest::collection::vec(any::<u8>(), 0..120),
        said in proptest::collection::vec(any::<u8>(), 0..120),
        takes in 1_usize..9,
        luck in proptest::collection::vec(0_u8..4, 40..200),
    ) {
        let mut line = Line::new(Terms { most: 7, sends: 1_000, ..Terms::default() });
        let mut bmc = Bmc { says: said.iter().copied().collect(), flight: None, number: 0, last: None, typed: vec![], takes };
        line.type_in(&typed);
        let mut luck = luck.into_iter().cycle();
        // 0 loses, 1 doubles.
        let mut copies = || match luck.next() { Some(0) => 0, Some(1) => 2, _ => 1 };
        let (mut shown, mut now) = (Vec::<u8>::new(), Duration::ZERO);
        for _ in 0..4000 {
            let mut to_us = Vec::new();
            while let Due::Send(packet) = line.due(now) {
                for _ in 0..copies() {
                    to_us.extend(bmc.arrived(&packet));
                }
            }
            to_us.extend(bmc.tick());
            for packet in to_us {
                for _ in 0..copies() {
                    let arrived = line.arrived(&packet, now).unwrap();
                    shown.extend(arrived.text);
                    if let Some(ack) = arrived.ack && copies() > 0 {
                        bmc.arrived(&ack);
                    }
                }
            }
            now += STEP;
            if shown.len() >= said.len() && bmc.typed.len() >= typed.len() {
                break;
            }
        }
        prop_assert_eq!(shown, said);
        prop_assert_eq!(bmc.typed, typed);
    }

    #[test]
    fn no_packets_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        parse(&bytes);
    }
}
