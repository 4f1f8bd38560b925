//! Real datagrams to the receiver of system logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use muster_bootserver::syslog::{Counters, Listener, listen, serve};
use muster_netboot::syslog::Line;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Vouches for all of 127.0.0.0/8 but 127.0.0.66.
#[derive(Default)]
struct Book(Mutex<Vec<(IpAddr, Line)>>);

impl Listener for Book {
    fn may_log(&self, from: IpAddr) -> bool {
        from != IpAddr::from([127, 0, 0, 66])
    }

    fn logged(&self, from: IpAddr, line: Line) {
        self.0.lock().unwrap().push((from, line));
    }
}

struct Bed {
    book: Arc<Book>,
    counters: Arc<Counters>,
    to: SocketAddr,
    cancel: CancellationToken,
}

impl Bed {
    fn new() -> Self {
        let socket = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = socket.local_addr().unwrap();
        let (book, counters, cancel) = (Arc::<Book>::default(), Arc::<Counters>::default(), CancellationToken::new());
        tokio::spawn(serve(socket, book.clone(), counters.clone(), cancel.clone()));
        Self { book, counters, to, cancel }
    }

    fn send(&self, from: &str, lines: &[&[u8]]) {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        for line in lines {
            socket.send_to(line, self.to).unwrap();
        }
    }

    fn count(&self, reason: &str) -> u64 {
        self.counters.all().into_iter().find(|(name, _)| *name == reason).unwrap().1
    }

    async fn until(&self, reason: &str, wanted: u64) {
        let begun = Instant::now();
        while self.count(reason) < wanted {
            assert!(begun.elapsed() < Duration::from_secs(30), "{reason}: {:?}", self.counters.all());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn texts(&self) -> Vec<String> {
        self.book.0.lock().unwrap().iter().map(|(_, line)| line.text.clone()).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[tokio::test]
async fn a_line_of_a_machine_of_ours_is_taken_and_anybody_elses_is_not() {
    let bed = Bed::new();
    bed.send("127.0.0.66", &[b"<3>kernel: I am nobody"]);
    bed.send("127.0.0.2", &[b"<3>kernel: e1000 found no link"]);
    bed.until("kept", 1).await;
    bed.until("foreign", 1).await;
    let kept = bed.book.0.lock().unwrap().clone();
    let line = Line { severity: 3, program: "kernel".into(), text: "e1000 found no link".into() };
    assert_eq!(kept, [(IpAddr::from([127, 0, 0, 2]), line)]);
}

#[tokio::test]
async fn what_is_no_line_is_counted_by_its_reason_and_hinders_no_line_after_it() {
    let bed = Bed::new();
    let long = [b"<6>".to_vec(), vec![b'x'; 9_000]].concat();
    bed.send("127.0.0.2", &[b"", b"<999>x", b"<13>\x00", &[0xff; 40], &long, b"<6>the last"]);
    bed.until("kept", 3).await;
    assert_eq!([bed.count("empty"), bed.count("bad_priority")], [2, 1]);
    let texts = bed.texts();
    assert_eq!(texts.last().unwrap(), "the last");
    assert!(texts.iter().all(|text| text.len() <= 1_024), "what is too long is cut");
}

#[tokio::test]
async fn a_flood_of_one_machine_is_cut_and_another_is_heard() {
    let bed = Bed::new();
    for number in 0..1_000 {
        bed.send("127.0.0.2", &[format!("<6>line {number}").as_bytes()]);
        if number % 50 == 0 {
            // The socket's buffer is not what is tested.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    bed.until("too_many", 1).await;
    bed.send("127.0.0.3", &[b"<6>the other one"]);
    let begun = Instant::now();
    while !bed.texts().iter().any(|text| text == "the other one") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", bed.counters.all());
        bed.send("127.0.0.3", &[b"<6>the other one"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(bed.count("kept") < 1_000, "{:?}", bed.counters.all());
}
