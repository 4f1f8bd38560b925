//! Who may not, and who holds on to more than is theirs.

use crate::bed::{Bed, answer};
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use futures_core::Stream;
use muster_api::Role;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A body that begins and never ends.
struct Endless;

impl Stream for Endless {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_from_a_stranger_at_either_door() {
    let bed = Bed::new().await;
    for (router, path) in [(bed.agents.clone(), muster_wire::TURN_PATH), (bed.router.clone(), "/api/v1/plans")] {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header(header::AUTHORIZATION, "Bearer mstr_nobody")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(Endless))
            .unwrap();
        let told = tokio::time::timeout(Duration::from_secs(5), answer(router, request)).await;
        assert_eq!(told.expect("it waits for a stranger's body").status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_7_a_tech_may_stop_everything_and_not_let_it_go_again() {
    let bed = Bed::new().await;
    let freeze = |frozen: bool| format!("{{\"frozen\":{frozen},\"why\":\"smoke in r1\"}}");
    let put = async |role, frozen| bed.as_role(role, "PUT", "/api/v1/freeze", Some(&freeze(frozen))).await.status;
    assert_eq!(put(Role::Tech, true).await, StatusCode::OK);
    assert_eq!(put(Role::Tech, false).await, StatusCode::FORBIDDEN);
    assert_eq!(put(Role::Auditor, true).await, StatusCode::FORBIDDEN);
    assert_eq!(put(Role::Operator, false).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tech_cannot_carry_out_what_an_operator_planned() {
    let bed = Bed::new().await;
    let id = bed.id("n1").await;
    let body = format!("{{\"what\":{{\"action\":\"adopt\"}},\"targets\":[\"{id}\"]}}");
    let planned = bed.as_role(Role::Operator, "POST", "/api/v1/plans", Some(&body)).await;
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.text);
    let digest = planned.json()["digest"].as_str().unwrap().to_owned();
    let execute = format!("/api/v1/plans/{digest}/execute");
    for role in [Role::Tech, Role::Auditor] {
        let told = bed.as_role(role, "POST", &execute, None).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN, "{}", told.text);
    }
    // Nor approve a plan, nor one that does not exist.
    for path in [format!("/api/v1/plans/{digest}/approve"), format!("/api/v1/plans/{}/approve", "0".repeat(64))] {
        let told = bed.as_role(Role::Tech, "POST", &path, Some("{\"count\":1}")).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(bed.as_role(Role::Operator, "POST", &execute, None).await.status, StatusCode::OK);
}
