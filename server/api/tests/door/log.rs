//! The event log over HTTP: every event once, in order, and the stream goes on when something happens.

use crate::bed::Bed;
use axum::body::Body;
use axum::http::{Request, header};
use muster_api::Role;
use std::time::Duration;
use tower::ServiceExt as _;

struct Stream {
    body: std::pin::Pin<Box<axum::body::BodyDataStream>>,
    text: String,
}

impl Stream {
    async fn open(bed: &Bed, path: &str, last: Option<i64>) -> Self {
        let bearer = format!("Bearer {}", bed.token(Role::Auditor));
        let mut request = Request::get(path).header(header::AUTHORIZATION, bearer);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = bed.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: Box::pin(response.into_body().into_data_stream()), text: String::new() }
    }

    /// The ids of the events up to `last`.
    async fn ids(&mut self, last: i64) -> Vec<i64> {
        loop {
            let whole = self.text.rfind("\n\n").map_or("", |end| &self.text[..end]);
            let ids: Vec<i64> =
                whole.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
            if ids.last().is_some_and(|id| *id >= last) {
                return ids;
            }
            let chunk = std::future::poll_fn(|cx| futures_core::Stream::poll_next(self.body.as_mut(), cx));
            let chunk = tokio::time::timeout(Duration::from_secs(5), chunk).await.expect("the stream is silent");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    }
}

async fn happen(bed: &Bed, times: usize) {
    for n in 0..times {
        bed.me.freeze(n % 2 == 0, "ops".into(), "again".into()).await.unwrap();
    }
}

async fn newest(bed: &Bed) -> i64 {
    let mut tx = bed.me.db.read().await.unwrap();
    muster_store::events::head(&mut tx).await.unwrap().seq.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_replays_after_a_number_and_goes_on_live_without_a_gap() {
    let bed = Bed::new().await;
    happen(&bed, 600).await;
    let before = newest(&bed).await;
    let mut stream = Stream::open(&bed, "/api/v1/events?after=5", None).await;
    assert_eq!(stream.ids(before).await, (6..=before).collect::<Vec<_>>());
    // While the stream is open, several writers at once.
    let writers = (0..8).map(|_| happen(&bed, 10));
    for writer in writers {
        writer.await;
    }
    tokio::join!(happen(&bed, 20), happen(&bed, 20), happen(&bed, 20));
    let after = newest(&bed).await;
    assert_eq!(after, before + 140);
    assert_eq!(stream.ids(after).await, (6..=after).collect::<Vec<_>>());
    // A browser that comes back says where it was; that goes before the query.
    let mut again = Stream::open(&bed, "/api/v1/events?after=0", Some(after - 3)).await;
    assert_eq!(again.ids(after).await, (after - 2..=after).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_loses_nothing_and_holds_nobody_up() {
    let bed = Bed::new().await;
    let mut slow = Stream::open(&bed, "/api/v1/events", None).await;
    happen(&bed, 1500).await;
    let last = newest(&bed).await;
    assert_eq!(slow.ids(last).await, (1..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_log_join_without_a_gap_and_the_chain_is_whole() {
    let bed = Bed::new().await;
    happen(&bed, 50).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let path = format!("/api/v1/log?after={after}&limit=7");
        let page = bed.as_role(Role::Auditor, "GET", &path, None).await.json();
        let rows = page.as_array().unwrap();
        let Some(last) = rows.last() else { break };
        seen.extend(rows.iter().map(|row| row["seq"].as_i64().unwrap()));
        after = last["seq"].as_i64().unwrap();
    }
    assert_eq!(seen, (1..=newest(&bed).await).collect::<Vec<_>>());
    let verified = bed.as_role(Role::Auditor, "GET", "/api/v1/log/verify", None).await.json();
    assert_eq!((&verified["whole"], verified["rows"].as_u64()), (&true.into(), Some(seen.len() as u64)));
}
