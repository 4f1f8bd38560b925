//! BMCs that are said to be ours, over the API.

use crate::bed::Bed;
use axum::http::StatusCode;
use muster_api::Role;
use serde_json::{Value, json};

const MANIFEST: &str = "/api/v1/bmcs/manifest";

fn entries() -> Value {
    json!([{ "mac": "02:00:00:00:00:05", "serial": "S-77", "user": "root", "password": "factory-label" }])
}

#[tokio::test]
async fn a_manifest_is_looked_at_first_and_taken_with_the_digest_of_that_look() {
    let bed = Bed::new().await;
    let look = bed.as_role(Role::Operator, "POST", MANIFEST, Some(&json!({ "entries": entries() }).to_string())).await;
    assert_eq!(look.status, StatusCode::OK, "{}", look.text);
    assert_eq!(look.json()["executed"], false);
    assert_eq!(bed.as_role(Role::Auditor, "GET", "/api/v1/bmcs/awaited", None).await.json(), json!([]));
    let take = json!({ "entries": entries(), "digest": look.json()["digest"] }).to_string();
    let taken = bed.as_role(Role::Operator, "POST", MANIFEST, Some(&take)).await;
    assert_eq!(taken.json()["executed"], true, "{}", taken.text);
    let awaited = bed.as_role(Role::Auditor, "GET", "/api/v1/bmcs/awaited", None).await;
    assert_eq!(awaited.json()[0]["id"], "mac/02:00:00:00:00:05");
    assert_eq!(awaited.json()[0]["by"], "the operator");
    assert!(!format!("{}{}{}", look.text, taken.text, awaited.text).contains("factory-label"), "a password came back");
    let gone = bed.as_role(Role::Operator, "DELETE", "/api/v1/bmcs/awaited/mac%2F02:00:00:00:00:05", None).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    assert_eq!(bed.as_role(Role::Auditor, "GET", "/api/v1/bmcs/awaited", None).await.json(), json!([]));
}

#[tokio::test]
async fn an_empty_manifest_one_with_another_digest_and_one_that_is_odd_are_refused_with_the_reason() {
    let bed = Bed::new().await;
    for (body, status, said) in [
        (json!({ "entries": [] }), StatusCode::CONFLICT, "1 to 1000 entries"),
        (json!({ "entries": entries(), "digest": "00".repeat(32) }), StatusCode::CONFLICT, "look at them again"),
        (json!({ "entries": [{ "user": "root" }] }), StatusCode::BAD_REQUEST, "password"),
        (json!({ "entries": entries(), "all": true }), StatusCode::BAD_REQUEST, "all"),
        (json!({ "entries": [{ "user": "root", "password": 12_345_678 }] }), StatusCode::BAD_REQUEST, "line 1"),
    ] {
        let answer = bed.as_role(Role::Operator, "POST", MANIFEST, Some(&body.to_string())).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(
            answer.text.contains(said) && !answer.text.contains("factory-label") && !answer.text.contains("12345678"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_scan_without_a_configured_range_says_where_ranges_are_named() {
    let bed = Bed::new().await;
    let answer = bed.as_role(Role::Tech, "POST", "/api/v1/bmcs/scan", None).await;
    assert!(answer.status == StatusCode::CONFLICT && answer.text.contains("[bmc]"), "{}", answer.text);
    assert_eq!(bed.as_role(Role::Auditor, "GET", "/api/v1/bmcs/found", None).await.json(), json!([]));
}

#[tokio::test]
async fn a_key_is_a_digest_and_belongs_to_a_bmc_that_has_one() {
    let bed = Bed::new().await;
    let path = format!("/api/v1/machines/{}/bmc/pin", bed.id("n1").await);
    let odd = bed.as_role(Role::Operator, "PUT", &path, Some("{\"pin\":\"abc\"}")).await;
    assert!(odd.status == StatusCode::BAD_REQUEST && odd.text.contains("64 hexadecimal"), "{}", odd.text);
    let nothing = bed.as_role(Role::Operator, "PUT", &path, Some("{}")).await;
    assert!(nothing.status == StatusCode::BAD_REQUEST && nothing.text.contains("either"), "{}", nothing.text);
    let ipmi = bed.as_role(Role::Operator, "PUT", &path, Some("{\"next\":true}")).await;
    assert!(ipmi.status == StatusCode::CONFLICT && ipmi.text.contains("no BMC with a TLS key"), "{}", ipmi.text);
}
