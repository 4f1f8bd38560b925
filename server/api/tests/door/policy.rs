//! Every route, every role: what the table says is what happens.

use crate::bed::Bed;
use axum::http::StatusCode;
use muster_api::{Policy, Role, Row, openapi, routes};
use std::collections::BTreeSet;

fn concrete(row: &Row) -> String {
    let digest = "0".repeat(64);
    row.path
        .replace("{word}", "52:54:00:aa:00:01")
        .replace("{digest}", &digest)
        .replace("{id}", "00000000000000000000000000000001")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_11_every_route_answers_every_role_as_its_policy_says() {
    let bed = Bed::new().await;
    let mut tried = 0;
    for row in routes() {
        let path = concrete(&row);
        let open = row.policy == Policy::Public;
        for token in [None, Some("mstr_nobody"), Some("")] {
            let answer = bed.call(row.method, &path, token, None).await;
            let refused = answer.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, !open, "{} {path} with the token {token:?}: {}", row.method, answer.status);
        }
        for role in Role::ALL {
            let answer = bed.as_role(role, row.method, &path, None).await;
            let allowed = match row.policy {
                Policy::Public => true,
                Policy::Roles(roles) => roles.contains(&role),
            };
            let forbidden = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(forbidden, !allowed, "{} {path} as {}: {}", row.method, role.word(), answer.status);
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!answer.status.is_server_error(), "{} {path}: {}", row.method, answer.text);
            tried += 1;
        }
    }
    assert_eq!(tried, routes().len() * 5);
}

/// HEAD is GET without a body: it must not be a way around.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_11_no_other_method_gets_past_the_guard() {
    let bed = Bed::new().await;
    for row in routes().into_iter().filter(|row| row.policy != Policy::Public) {
        for method in ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let status = bed.call(method, &concrete(&row), None, None).await.status;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::METHOD_NOT_ALLOWED];
            assert!(refused.contains(&status), "{method} {}: {status}", row.path);
        }
    }
}

#[test]
fn no_route_is_written_twice_and_only_four_are_open_to_all() {
    let rows = routes();
    let names: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row.method, row.path)).collect();
    assert_eq!(names.len(), rows.len());
    let open: Vec<&str> = rows.iter().filter(|row| row.policy == Policy::Public).map(|row| row.path).collect();
    assert_eq!(open, ["/healthz", "/readyz", "/metrics", "/api/openapi.json"]);
    for row in rows {
        assert!(!matches!(row.policy, Policy::Roles([])), "nobody may call {}", row.path);
        let changes = row.method != "GET";
        let auditor = matches!(row.policy, Policy::Roles(roles) if roles.contains(&Role::Auditor));
        assert!(!(changes && auditor), "an auditor may change {}", row.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tech_may_look_hold_and_report_and_nothing_heavier() {
    let bed = Bed::new().await;
    let id = bed.id("n1").await;
    for (what, expected) in [
        (r#"{"action":"discover"}"#, StatusCode::OK),
        (r#"{"action":"hold","why":"smoke"}"#, StatusCode::OK),
        (r#"{"action":"report-fault","text":"a fan"}"#, StatusCode::OK),
        (r#"{"action":"release"}"#, StatusCode::FORBIDDEN),
        (r#"{"action":"retire"}"#, StatusCode::FORBIDDEN),
        (r#"{"action":"resume","to":"release"}"#, StatusCode::FORBIDDEN),
        (r#"{"action":"install","image":"debian-12"}"#, StatusCode::FORBIDDEN),
    ] {
        let body = format!(r#"{{"what":{what},"targets":["{id}"]}}"#);
        let answer = bed.as_role(Role::Tech, "POST", "/api/v1/plans", Some(&body)).await;
        assert_eq!(answer.status, expected, "{what}: {}", answer.text);
        // Nor does a tech carry out what an operator has planned.
        let planned = bed.as_role(Role::Operator, "POST", "/api/v1/plans", Some(&body)).await.json();
        let path = format!("/api/v1/plans/{}/execute", planned["digest"].as_str().unwrap());
        let answer = bed.as_role(Role::Tech, "POST", &path, None).await;
        assert_eq!(answer.status == StatusCode::FORBIDDEN, expected == StatusCode::FORBIDDEN, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_or_expired_token_opens_nothing() {
    let bed = Bed::new().await;
    let body = r#"{"name":"ci","role":"operator"}"#;
    let made = bed.as_role(Role::Admin, "POST", "/api/v1/tokens", Some(body)).await.json();
    let token = made["token"].as_str().unwrap().to_owned();
    let list = async || bed.call("GET", "/api/v1/machines", Some(&token), None).await.status;
    assert_eq!(list().await, StatusCode::OK);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(bed.as_role(Role::Admin, "DELETE", &path, None).await.status, StatusCode::OK);
    assert_eq!(list().await, StatusCode::UNAUTHORIZED);
    assert_eq!(bed.as_role(Role::Admin, "DELETE", &path, None).await.status, StatusCode::NOT_FOUND);
    let body = r#"{"name":"ci","role":"operator","days":0}"#;
    let made = bed.as_role(Role::Admin, "POST", "/api/v1/tokens", Some(body)).await.json();
    let answer = bed.call("GET", "/api/v1/machines", made["token"].as_str(), None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    // Who made and revoked it stands in the log.
    let log = bed.as_role(Role::Auditor, "GET", "/api/v1/log", None).await.json();
    let by = |kind: &str| {
        let row = log.as_array().unwrap().iter().rfind(|row| row["kind"] == kind).unwrap();
        row["actor"].as_str().unwrap().to_owned()
    };
    assert_eq!((by("token-made"), by("token-revoked")), ("the admin".into(), "the admin".into()));
}

/// `MUSTER_BLESS=1` writes the document anew.
#[test]
fn the_openapi_document_is_the_committed_one() {
    let path = crate::bed::root().join("docs/openapi.json");
    let right = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("MUSTER_BLESS").is_some() {
        std::fs::write(&path, right).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == right, "run again with MUSTER_BLESS=1, look at the difference and commit docs/openapi.json");
}

#[test]
fn every_schema_that_the_table_names_is_there_and_every_reference_leads_somewhere() {
    let document = openapi();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    assert!(!text.contains("\"schema\":null"), "a row names a schema that the document does not know");
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for row in routes() {
        let operation = &document["paths"][row.path][row.method.to_lowercase()];
        assert_eq!(operation["summary"], row.summary, "{}", row.path);
    }
}
