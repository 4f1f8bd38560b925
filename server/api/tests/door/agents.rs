//! The agents' door: who does not sign what it says is not heard.

use crate::bed::{Answer, Bed, answer};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use muster_conductor::BootAnswer;
use muster_names::BootId;
use muster_wire::{
    Doing, KEY_HEADER, MAY_PROCEED_PATH, Mode, Reply, SIGNATURE_HEADER, SPEAKS, Speaks, TURN_PATH, Turn, signed_bytes,
};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

async fn token(bed: &Bed) -> String {
    let BootAnswer::Agent { nonce, .. } = bed.me.boot_answer("52:54:00:aa:00:01".parse().unwrap(), true).await else {
        panic!("sent to its disk")
    };
    let file = bed.me.boot_file(&nonce).unwrap();
    let text = String::from_utf8_lossy(&file).into_owned();
    let at = text.find("mstr_").unwrap();
    text[at..at + 69].to_owned()
}

fn turn() -> Turn {
    Turn {
        boot_id: BootId(1),
        speaks: SPEAKS,
        version: "0.1.0".into(),
        mode: Mode::Ram,
        reports: vec![],
        doing: Doing { epoch: None, progress: None },
        wait_ms: 0,
    }
}

async fn post(bed: &Bed, path: &str, headers: &[(&str, String)], body: Vec<u8>) -> Answer {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    answer(bed.agents.clone(), request.body(Body::from(body)).unwrap()).await
}

fn signed(token: &str, key: &Ed25519KeyPair, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    vec![
        ("authorization", format!("Bearer {token}")),
        (KEY_HEADER, hex(key.public_key().as_ref())),
        (SIGNATURE_HEADER, hex(key.sign(&signed_bytes(path, body)).as_ref())),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_turn_is_answered_and_the_same_token_with_another_key_is_not() {
    let bed = Bed::new().await;
    let (token, mine) = (token(&bed).await, key());
    let body = serde_json::to_vec(&turn()).unwrap();
    for _ in 0..2 {
        let heard = post(&bed, TURN_PATH, &signed(&token, &mine, TURN_PATH, &body), body.clone()).await;
        assert_eq!(heard.status, StatusCode::OK, "{}", heard.text);
        let _: Reply = serde_json::from_str(&heard.text).unwrap();
    }
    let stolen = post(&bed, TURN_PATH, &signed(&token, &key(), TURN_PATH, &body), body.clone()).await;
    assert_eq!(stolen.status, StatusCode::CONFLICT, "{}", stolen.text);
    assert_eq!(stolen.content_type, "application/problem+json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_not_signed_by_its_key_is_turned_away_unread() {
    let bed = Bed::new().await;
    let (token, mine) = (token(&bed).await, key());
    let body = serde_json::to_vec(&turn()).unwrap();
    let good = signed(&token, &mine, TURN_PATH, &body);
    let without = |name: &str| good.iter().filter(|(other, _)| *other != name).cloned().collect::<Vec<_>>();
    let with = |name: &'static str, value: String| [without(name), vec![(name, value)]].concat();
    let other_path = signed(&token, &mine, MAY_PROCEED_PATH, &body);
    type Case<'a> = (&'a str, Vec<(&'a str, String)>, Vec<u8>);
    let cases: Vec<Case<'_>> = vec![
        ("no headers", vec![], body.clone()),
        ("no token", without("authorization"), body.clone()),
        ("no key", without(KEY_HEADER), body.clone()),
        ("no signature", without(SIGNATURE_HEADER), body.clone()),
        ("another scheme", with("authorization", format!("Basic {token}")), body.clone()),
        ("a key that is none", with(KEY_HEADER, "zz".into()), body.clone()),
        ("a short key", with(KEY_HEADER, "00".into()), body.clone()),
        ("another key", with(KEY_HEADER, hex(key().public_key().as_ref())), body.clone()),
        ("a signature of zeroes", with(SIGNATURE_HEADER, "00".repeat(64)), body.clone()),
        ("a long signature", with(SIGNATURE_HEADER, "00".repeat(4000)), body.clone()),
        ("a signature for another path", other_path, body.clone()),
        ("another body", good.clone(), [body.clone(), b" ".to_vec()].concat()),
        ("a body that is no JSON, unsigned", good.clone(), b"{".to_vec()),
        ("a token nobody knows", signed("mstr_nobody", &mine, TURN_PATH, &body), body.clone()),
    ];
    for (case, headers, body) in cases {
        let answer = post(&bed, TURN_PATH, &headers, body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}: {}", answer.text);
        assert_eq!(answer.content_type, "application/problem+json", "{case}");
    }
    // None of this bound the token: its agent's own first turn is heard.
    let heard = post(&bed, TURN_PATH, &good, body.clone()).await;
    assert_eq!(heard.status, StatusCode::OK, "{}", heard.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_limit_and_one_that_does_not_read_are_problems() {
    let bed = Bed::new().await;
    let (token, mine) = (token(&bed).await, key());
    let big = vec![b' '; (4 << 20) + 1];
    let answer = post(&bed, TURN_PATH, &signed(&token, &mine, TURN_PATH, &big), big.clone()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.content_type, "application/problem+json");
    for (path, body) in [(TURN_PATH, "{}"), (MAY_PROCEED_PATH, "{}"), (TURN_PATH, "\u{0}")] {
        let body = body.as_bytes().to_vec();
        let answer = post(&bed, path, &signed(&token, &mine, path, &body), body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_a_common_version_is_told_so() {
    let bed = Bed::new().await;
    let (token, mine) = (token(&bed).await, key());
    let newer = Turn { speaks: Speaks { min: SPEAKS.max + 1, max: SPEAKS.max + 2 }, ..turn() };
    let body = serde_json::to_vec(&newer).unwrap();
    let answer = post(&bed, TURN_PATH, &signed(&token, &mine, TURN_PATH, &body), body.clone()).await;
    assert_eq!(answer.status, StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_listener_serves_agents_alone() {
    let bed = Bed::new().await;
    for path in ["/api/v1/machines", "/metrics", "/healthz", "/"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(answer(bed.agents.clone(), request).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
