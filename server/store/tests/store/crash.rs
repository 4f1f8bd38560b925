//! The daemon killed in the middle of a transaction: what was committed is there, what was not is not.

use crate::bed::{Bed, NOW, event, later, machine};
use muster_names::{Mac, Seq};
use muster_store::{LeaseRow, LeaseState, Place, Store, commit_leases, events, load_leases, subjects};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// Where the child finds the database: `sqlite:DIR` or a URL.
const PLACE: &str = "MUSTER_STORE_CRASH_PLACE";

/// Not a case of its own: the process that is killed.
#[test]
#[ignore = "run by the test that kills it"]
fn the_process_that_is_killed() {
    let place = std::env::var(PLACE).expect("the parent names the place");
    let place = match place.strip_prefix("sqlite:") {
        Some(dir) => Place::Sqlite(dir.into()),
        None => Place::Postgres(place),
    };
    crate::bed::run(async {
        let store = Store::open(&place).await.unwrap();
        for round in 0.. {
            let mut tx = store.write().await.unwrap();
            tx.append(event(machine(1), &format!("round/{round}"))).await.unwrap();
            let label = format!("round-{round}");
            match round {
                0 => subjects::create(&mut tx, machine(1), &label, "{}", 1, None, NOW).await.unwrap(),
                _ => subjects::enter(&mut tx, machine(1), &label, "{}", 1, None, NOW).await.unwrap(),
            };
            tx.commit(NOW).await.unwrap();
            let lease = LeaseRow {
                network: "n".into(),
                address: std::net::Ipv4Addr::from(round as u32),
                mac: Mac([2, 0, 0, 0, 0, 1]),
                until: later(100),
                state: LeaseState::Leased,
                seen: NOW,
                client: "{}".into(),
            };
            commit_leases(&store, &[lease], NOW).await.unwrap();
            println!("committed {round}");
        }
    });
}

both! {
    async fn a_kill_in_the_middle_loses_nothing_committed_and_keeps_nothing_half(bed: Bed) {
        let place = match &bed.place {
            Place::Sqlite(dir) => format!("sqlite:{}", dir.display()),
            Place::Postgres(url) => url.clone(),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::the_process_that_is_killed", "--ignored", "--nocapture"])
            .env(PLACE, place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = -1;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while told < 40 {
            let line = lines.next().expect("the child ended by itself").unwrap();
            told = line.strip_prefix("committed ").map_or(told, |round| round.parse::<i64>().unwrap());
        }
        // SIGKILL, at whatever the child is doing just now.
        child.kill().unwrap();
        child.wait().unwrap();
        told = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok()).last().unwrap_or(told);
        assert_sound(&bed, told).await;
    }
}

/// One round more than told may be there: the one whose word did not get out.
async fn assert_sound(bed: &Bed, told: i64) {
    let store = Store::open(&bed.place).await.unwrap();
    let mut tx = store.read().await.unwrap();
    let checked = events::verify(&mut tx, Seq(0), 100_000).await.unwrap().unwrap();
    assert!(checked.whole);
    let rounds = checked.rows as i64;
    assert!((told + 1..=told + 2).contains(&rounds), "{told} told, {rounds} rows");
    let stored = subjects::load(&mut tx, machine(1)).await.unwrap().unwrap();
    assert_eq!(
        (stored.label, stored.epoch.0),
        (format!("round-{}", rounds - 1), rounds),
        "event and state go together"
    );
    let leases = load_leases(&store).await.unwrap().len() as i64;
    assert!((told + 1..=rounds).contains(&leases), "{told} told, {leases} leases");
    let mut tx = store.write().await.unwrap();
    tx.append(event(machine(1), "after")).await.unwrap();
    assert_eq!(tx.commit(NOW).await.unwrap().appended, [Seq(rounds + 1)]);
}
