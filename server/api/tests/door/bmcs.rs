//! What the watch over the BMCs knows, through the door.

use crate::bed::{Bed, answer};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use muster_api::Role;
use muster_conductor::{BmcOf, EVENTS_PATH};
use muster_names::Millis;
use muster_store::bmc_events::{self, SubscriptionRow};
use muster_store::machines;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bmc_is_shown_as_it_was_seen_last_with_its_log_and_its_sensors_over_time() {
    let bed = Bed::new().await;
    let id = bed.id("n1").await;
    let path = format!("/api/v1/machines/{id}/bmc");
    let get = async |path: &str| bed.as_role(Role::Auditor, "GET", path, None).await;
    let before = get(&path).await.json();
    assert_eq!((&before["reach"], &before["health"]), (&"unvisited".into(), &"unknown".into()));

    let record = machines::get(&mut bed.me.db.read().await.unwrap(), id).await.unwrap().unwrap();
    let bmc = BmcOf { machine: id, access: serde_json::from_str(record.bmc.as_deref().unwrap()).unwrap() };
    bed.me.visit(&bmc).await.unwrap();

    let seen = get(&path).await.json();
    assert_eq!((&seen["reach"], &seen["power"], &seen["health"]), (&"answers".into(), &"on".into(), &"warning".into()));
    assert_eq!((&seen["clock-offset-seconds"], &seen["sensors"][0]["value"]), (&(-7200).into(), &21.5.into()));
    let entries = get(&format!("{path}/log")).await.json();
    assert_eq!((&entries[0]["n"], &entries[0]["entry"]["message"]), (&1.into(), &"Fan2 stands".into()));
    assert_eq!(get(&format!("{path}/log?after=1")).await.json(), serde_json::json!([]));
    for grain in ["visit", "hour", "day"] {
        let readings = get(&format!("{path}/readings?grain={grain}&from=0")).await.json();
        assert_eq!((&readings[0]["sensor"], &readings[0]["mean"]), (&"Inlet".into(), &21.5.into()), "{grain}");
    }
    assert_eq!(get(&format!("{path}/readings?sensor=Outlet&from=0")).await.json(), serde_json::json!([]));
    let metrics = get("/metrics").await.text;
    for line in [
        "muster_bmcs{reach=\"answers\"} 1",
        "muster_bmc_health{health=\"warning\"} 1",
        "muster_bmc_at_once 16",
        "muster_bmc_answers_total{late=\"no\"} 7",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_bmc_and_what_is_no_machine_are_said() {
    let bed = Bed::new().await;
    let get = async |path: String| bed.as_role(Role::Auditor, "GET", &path, None).await;
    let bare = get(format!("/api/v1/machines/{}/bmc", bed.id("n2").await)).await;
    assert_eq!(bare.status, StatusCode::NOT_FOUND);
    assert!(bare.text.contains("nobody named the BMC of n2"), "{}", bare.text);
    for path in ["/api/v1/machines/x/bmc/log", "/api/v1/machines/x/bmc/readings", "/api/v1/machines/x/bmc"] {
        assert_eq!(get(path.into()).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let odd = get(format!("/api/v1/machines/{}/bmc/readings?grain=week", bed.id("n1").await)).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST, "{}", odd.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bmc_sends_is_taken_at_the_address_that_it_was_told_and_nowhere_else() {
    let bed = Bed::new().await;
    let row = SubscriptionRow {
        machine: bed.id("n1").await,
        address: "10.0.9.1".into(),
        token: "5a".repeat(16),
        destination: Some("https://10.0.0.1:8444".into()),
        at: Millis(0),
        why: None,
    };
    let mut tx = bed.me.db.write().await.unwrap();
    bmc_events::put_subscription(&mut tx, &row).await.unwrap();
    tx.commit(Millis(0)).await.unwrap();
    let sends = async |token: &str, body: String| {
        let request = Request::post(format!("{EVENTS_PATH}{token}")).body(Body::from(body)).unwrap();
        answer(bed.agents.clone(), request).await.status
    };
    for body in ["{\"Events\": []}".to_owned(), "no JSON".to_owned(), "x".repeat(1 << 20)] {
        assert_eq!(sends(&row.token, body).await, StatusCode::NO_CONTENT);
    }
    for wrong in ["5a5a", "5A", &"00".repeat(16)] {
        assert_eq!(sends(wrong, String::new()).await, StatusCode::NOT_FOUND, "{wrong}");
    }
}
