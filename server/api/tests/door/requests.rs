//! Requests of every shape: nothing means all, every refusal is a problem, nothing secret comes back.

use crate::bed::Bed;
use axum::http::StatusCode;
use muster_api::Role;
use muster_names::MachineId;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop_oneof![Just("*"), Just("all"), Just(""), Just("any"), Just("n1"), Just("0")].prop_map(Into::into),
        any::<u128>().prop_map(|id| MachineId(id).to_string().into()),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map("[a-z*]{0,7}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Through the real router: whatever stands for `targets`, a plan is for machines whose whole ids stood there, or there
/// is no plan.
#[test]
fn a6_1_no_json_for_targets_means_all() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bed = runtime.block_on(Bed::new());
    let ours: Vec<String> = runtime
        .block_on(async { vec![bed.id("n1").await, bed.id("n2").await] })
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut shapes: Vec<Value> = vec![
        json!(null),
        json!(""),
        json!("*"),
        json!([]),
        json!(["*"]),
        json!(["all"]),
        json!({}),
        json!({"all": true}),
        json!(true),
        json!(0),
        json!([null]),
        json!([[]]),
        json!([""]),
        json!({"ids": ours}),
        json!([ours]),
        json!(ours[0]),
        json!([ours[0], "*"]),
        json!([ours[0]]),
        json!([ours[0], ours[0]]),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        shapes.push(any_json().new_tree(&mut runner).unwrap().current());
    }
    let mut bodies: Vec<(Value, Value)> = shapes
        .into_iter()
        .map(|targets| (json!({ "what": { "action": "hold", "why": "w" }, "targets": targets.clone() }), targets))
        .collect();
    bodies.push((json!({ "what": { "action": "hold", "why": "w" } }), Value::Null));
    bodies.push((json!({ "what": { "action": "hold", "why": "w" }, "target": ours }), Value::Null));
    bodies.push((json!({ "what": { "action": "hold", "why": "w" }, "targets": [ours[0]], "all": true }), Value::Null));
    let mut planned = 0;
    for (body, targets) in bodies {
        let text = body.to_string();
        let answer = runtime.block_on(bed.as_role(Role::Admin, "POST", "/api/v1/plans", Some(&text)));
        if answer.status == StatusCode::OK {
            planned += 1;
            let named: Vec<String> = serde_json::from_value(targets).expect("a plan without a list of ids");
            for target in answer.json()["targets"].as_array().unwrap() {
                assert!(named.iter().any(|id| target["id"] == id.as_str()), "{text}");
            }
        } else {
            let known = [StatusCode::BAD_REQUEST, StatusCode::CONFLICT];
            assert!(known.contains(&answer.status), "{text}: {} {}", answer.status, answer.text);
            assert_eq!(answer.content_type, "application/problem+json", "{text}");
        }
    }
    assert_eq!(planned, 2, "only the two that name the machine alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_a_problem_that_says_what_to_do() {
    let bed = Bed::new().await;
    let admin = bed.token(Role::Admin).to_owned();
    let big = format!(r#"{{"frozen":true,"why":"{}"}}"#, "x".repeat(2 << 20));
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, u16);
    let cases: Vec<Case<'_>> = vec![
        ("GET", "/nowhere", None, None, 404),
        ("GET", "/api/v1/nowhere", Some(&admin), None, 404),
        ("GET", "/api/v1/machines", None, None, 401),
        ("PATCH", "/api/v1/machines", Some(&admin), None, 405),
        ("GET", "/api/v1/machines/not-an-id", Some(&admin), None, 400),
        ("GET", "/api/v1/machines/00000000000000000000000000000001", Some(&admin), None, 404),
        ("GET", "/api/v1/machines?limit=many", Some(&admin), None, 400),
        ("GET", "/api/v1/machines?unknown=1", Some(&admin), None, 400),
        ("GET", "/api/v1/log?after=x", Some(&admin), None, 400),
        ("GET", "/api/v1/events?after=x", Some(&admin), None, 400),
        ("GET", "/api/v1/find", Some(&admin), None, 400),
        ("GET", "/api/v1/find?word=nothing", Some(&admin), None, 404),
        ("GET", "/api/v1/boot/nobody", Some(&admin), None, 404),
        ("GET", "/api/v1/boot/n1?boots=x", Some(&admin), None, 400),
        ("POST", "/api/v1/plans", Some(&admin), Some("{"), 400),
        ("POST", "/api/v1/plans", Some(&admin), None, 400),
        ("POST", "/api/v1/plans/xyz/execute", Some(&admin), None, 400),
        ("POST", "/api/v1/tokens", Some(&admin), Some("{"), 400),
        ("POST", "/api/v1/tokens", Some(&admin), Some(r#"{"name":"x","role":"god"}"#), 400),
        ("POST", "/api/v1/tokens", Some(&admin), Some(r#"{"name":" ","role":"tech"}"#), 400),
        ("PUT", "/api/v1/freeze", Some(&admin), Some(r#"{"frozen":true}"#), 400),
        ("PUT", "/api/v1/freeze", Some(&admin), Some(r#"{"frozen":true,"why":" "}"#), 400),
        ("PUT", "/api/v1/freeze", Some(&admin), Some(&big), 400),
    ];
    for (method, path, token, body, status) in cases {
        let answer = bed.call(method, path, token, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.content_type, "application/problem+json", "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{method} {path}");
        for field in ["type", "title", "detail"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{method} {path}: {field}");
        }
    }
    let frozen = bed.call("GET", "/api/v1/freeze", Some(&admin), None).await.json();
    assert_eq!(frozen["frozen"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_red_button_works_by_http_and_says_who_pressed_it() {
    let bed = Bed::new().await;
    let body = r#"{"frozen":true,"why":"power works"}"#;
    assert_eq!(bed.as_role(Role::Tech, "PUT", "/api/v1/freeze", Some(body)).await.status, StatusCode::OK);
    let frozen = bed.as_role(Role::Auditor, "GET", "/api/v1/freeze", None).await.json();
    assert_eq!(
        (&frozen["frozen"], &frozen["by"], &frozen["why"]),
        (&json!(true), &json!("the tech"), &json!("power works"))
    );
    let metrics = bed.call("GET", "/metrics", None, None).await.text;
    assert!(metrics.contains("muster_frozen 1") && metrics.contains("muster_test 1"), "{metrics}");
    let id = bed.id("n1").await;
    let body = format!(r#"{{"what":{{"action":"discover"}},"targets":["{id}"]}}"#);
    let planned = bed.as_role(Role::Operator, "POST", "/api/v1/plans", Some(&body)).await.json();
    let path = format!("/api/v1/plans/{}/execute", planned["digest"].as_str().unwrap());
    let answer = bed.as_role(Role::Operator, "POST", &path, None).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("power works"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_no_answer_and_no_event_tells_a_token_or_where_a_password_lies_open() {
    let bed = Bed::new().await;
    let id = bed.id("n1").await;
    let mac = "52:54:00:aa:00:01".parse().unwrap();
    let muster_conductor::BootAnswer::Agent { nonce, .. } = bed.me.boot_answer(mac, true).await else { panic!() };
    let file = bed.me.boot_file(&nonce).unwrap();
    let text = String::from_utf8_lossy(&file).into_owned();
    let at = text.find("mstr_").unwrap();
    let mut secrets: Vec<String> = bed.tokens.iter().map(|(_, token)| token.clone()).collect();
    secrets.push(text[at..at + 69].to_owned());
    let digests: Vec<String> =
        secrets.iter().map(|secret| muster_conductor::sha256(secret.as_bytes()).to_string()).collect();
    let one = format!("/api/v1/machines/{id}");
    let log = format!("/api/v1/machines/{id}/events");
    for path in [
        "/api/v1/machines",
        &one,
        &log,
        "/api/v1/racks",
        "/api/v1/models",
        "/api/v1/images",
        "/api/v1/orders",
        "/api/v1/tickets",
        "/api/v1/log",
        "/api/v1/tokens",
        "/api/v1/freeze",
        "/api/openapi.json",
        "/metrics",
        "/api/v1/boot/52:54:00:aa:00:01",
        "/api/v1/find?word=n1",
    ] {
        let answer = bed.as_role(Role::Admin, "GET", path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        for secret in secrets.iter().chain(&digests) {
            assert!(!answer.text.contains(secret.as_str()), "{path} tells a secret");
        }
        assert!(!answer.text.contains("\"key\""), "{path} tells a key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_on_firmware_names_its_machines_and_tells_the_silent_ones_beside_the_others() {
    let bed = Bed::new().await;
    let (one, two) = (bed.id("n1").await, bed.id("n2").await);
    let many = vec![one.to_string(); 2].join(",") + &format!(",{two}");
    let answer = bed.as_role(Role::Tech, "GET", &format!("/api/v1/firmware?machines={many}"), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let report = answer.json();
    let machines = report["machines"].as_array().unwrap();
    assert_eq!(machines.len(), 2, "once each: {report}");
    assert!(
        machines.iter().all(|one| one["name"].is_string() && (one["error"].is_string() || one["plan"].is_object()))
    );
    let long: Vec<String> = (0..65_u128).map(|n| MachineId(n).to_string()).collect();
    for (query, status) in [
        (String::new(), 400),
        ("?machines=".into(), 400),
        ("?machines=*".into(), 400),
        ("?machines=all".into(), 400),
        ("?machine=x".into(), 400),
        (format!("?machines={}", long.join(",")), 400),
        (format!("?machines={}", MachineId(7)), 409),
    ] {
        let answer = bed.as_role(Role::Tech, "GET", &format!("/api/v1/firmware{query}"), None).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text);
    }
    let answer = bed.as_role(Role::Auditor, "GET", &format!("/api/v1/firmware?machines={one}"), None).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "it logs in to BMCs");
    let body = format!(r#"{{"what":{{"action":"apply-bios"}},"targets":["{one}"]}}"#);
    assert_eq!(bed.as_role(Role::Tech, "POST", "/api/v1/plans", Some(&body)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(bed.as_role(Role::Operator, "POST", "/api/v1/plans", Some(&body)).await.status, StatusCode::OK);
}
