//! Turns with a daemon that comes and goes.

use super::*;
use muster_names::Epoch;
use muster_wire::{Report, Standing};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;

/// A daemon of a few lines: hands each turn to the test, answers what `answer` says, or hangs up.
fn daemon(answer: impl Fn(usize, &Turn) -> Option<Reply> + Send + 'static) -> (String, mpsc::Receiver<Turn>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let (seen, turns) = mpsc::channel();
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let mut reader = BufReader::new(socket.unwrap());
            let (mut length, mut signed) = (0, 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) < 3 {
                    break;
                }
                let line = line.to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |v| v.trim().parse().unwrap());
                signed += usize::from(line.starts_with("muster-") || line.starts_with("authorization: bearer mstr_"));
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            assert_eq!(signed, 3, "token, key and signature are there");
            let turn: Turn = serde_json::from_slice(&body).unwrap();
            let reply = answer(n, &turn);
            if seen.send(turn).is_err() {
                return;
            }
            if let Some(reply) = reply {
                let body = serde_json::to_vec(&reply).unwrap();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = reader.get_mut().write_all(&[head.as_bytes(), &body].concat());
            }
        }
    });
    (server, turns)
}

fn line(server: String) -> Line {
    let config = AgentConfig { server, ca_pem: String::new(), token: "mstr_1".into(), key_file: None, written: None };
    Line { config, key: Key::in_memory().unwrap(), boot_id: BootId(1), mode: Mode::Ram }
}

fn start(server: String) -> Arc<Desk> {
    let desk = Arc::new(Desk::default());
    let ours = Arc::clone(&desk);
    std::thread::spawn(move || run(&line(server), &ours));
    desk
}

#[test]
fn a_lost_answer_brings_the_same_report_again_until_it_is_acked() {
    let (server, turns) =
        daemon(|n, _| (n >= 2).then_some(Reply { acked: 1, standing: Standing::Idle, ask_again_ms: 0 }));
    let desk = start(server);
    desk.say(Report::Stopped { epoch: Epoch(1) });
    let mut carrying = turns.iter().filter(|turn| !turn.reports.is_empty());
    let first = carrying.next().unwrap();
    let again = carrying.next().unwrap();
    assert_eq!(first.reports, again.reports);
    drop(carrying);
    assert!(turns.iter().any(|turn| turn.reports.is_empty()), "acked reports are forgotten");
    desk.close();
}

#[test]
fn what_stands_is_taken_up_and_named_in_the_next_turn() {
    let (server, turns) =
        daemon(|_, _| Some(Reply { acked: 0, standing: Standing::Check { epoch: Epoch(4) }, ask_again_ms: 0 }));
    let desk = start(server);
    assert_eq!(desk.next_job().unwrap().standing, Standing::Check { epoch: Epoch(4) });
    assert!(turns.iter().any(|turn| turn.doing.epoch == Some(Epoch(4)) && turn.wait_ms == 1000));
    desk.close();
}

#[test]
fn waits_grow_to_ten_seconds_and_no_further() {
    let mut backoff = Backoff::default();
    let waits: Vec<u128> = (0..40).map(|_| backoff.after().as_millis()).collect();
    assert!((400..=600).contains(&waits[0]), "{waits:?}");
    assert!(waits[10..].iter().all(|wait| (8_000..=12_000).contains(wait)), "{waits:?}");
    backoff.reset();
    assert!(backoff.after().as_millis() <= 600);
}

#[test]
fn the_daemon_cannot_make_the_agent_spin_or_sleep_for_ever() {
    assert_eq!(pause(true, false, 0, Duration::ZERO), LEAST);
    assert_eq!(pause(true, false, 0, Duration::from_secs(25)), Duration::ZERO);
    assert_eq!(pause(true, false, u64::MAX, Duration::ZERO), AT_REST);
    assert!(pause(false, false, 0, Duration::ZERO) >= Duration::from_secs(48));
}
