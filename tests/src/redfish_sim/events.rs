//! The event service: a stream, which is an answer that does not end while somebody listens, and subscriptions.

use super::{Asked, Habit, State, Told, refused, told};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::broadcast;

const PLACE: &str = "/redfish/v1/EventService/SSE";
const ALL: &str = "/redfish/v1/EventService/Subscriptions";

/// How a BMC tells of events.
#[derive(Default)]
pub struct Events {
    /// Whoever listens to the stream; `None`: there is none.
    pub stream: Option<broadcast::Sender<String>>,
    pub subscriptions: BTreeMap<usize, Value>,
    made: usize,
}

impl Events {
    pub fn streaming(stream: broadcast::Sender<String>) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// One that somebody made.
    pub fn subscribed(&mut self, body: Value) {
        self.made += 1;
        self.subscriptions.insert(self.made, body);
    }
}

impl State {
    /// For one that may listen, and asks to.
    pub(super) fn listener(&mut self, asked: &Asked) -> Option<broadcast::Receiver<String>> {
        let stream = self.events.as_ref()?.stream.as_ref();
        let events = stream.filter(|_| asked.method == "GET" && asked.path == PLACE)?.subscribe();
        let wants = asked.headers.get("accept").is_some_and(|kinds| kinds.contains("text/event-stream"));
        self.admits(asked).then_some(events).filter(|_| wants)
    }

    pub(super) fn event_service(&mut self, asked: &Asked, rest: &[&str]) -> Told {
        let (types, forgets) = (self.has(&Habit::WantsEventTypes), self.has(&Habit::ForgetsSubscription));
        let events = self.events.as_mut().expect("an event service");
        match (asked.method.as_str(), rest) {
            ("GET", []) => {
                let mut service = json!({"ServiceEnabled": true, "Subscriptions": {"@odata.id": ALL}});
                if types {
                    service["EventTypesForSubscription"] = json!(["StatusChange", "ResourceAdded", "Alert"]);
                }
                if events.stream.is_some() {
                    service["ServerSentEventUri"] = PLACE.into();
                }
                told(200, service)
            }
            ("GET", ["Subscriptions"]) => {
                let members = events.subscriptions.keys().map(|id| json!({"@odata.id": format!("{ALL}/{id}")}));
                told(200, json!({"Members": members.collect::<Vec<_>>()}))
            }
            ("POST", ["Subscriptions"]) if types && asked.body["EventTypes"].is_null() => {
                refused(400, "Base.1.12.PropertyMissing")
            }
            ("POST", ["Subscriptions"]) => {
                if !forgets {
                    events.subscribed(asked.body.clone());
                }
                Told { status: 201, headers: vec![("Location", format!("{ALL}/{}", events.made))], body: Value::Null }
            }
            ("GET", ["Subscriptions", id]) => {
                let one = id.parse().ok().and_then(|id: usize| events.subscriptions.get(&id));
                one.map_or_else(|| refused(404, "Base.1.12.ResourceMissingAtURI"), |one| told(200, one.clone()))
            }
            ("DELETE", ["Subscriptions", id]) => {
                let gone = id.parse().ok().and_then(|id: usize| events.subscriptions.remove(&id));
                told(if gone.is_some() { 204 } else { 404 }, Value::Null)
            }
            _ => refused(404, "Base.1.12.ResourceMissingAtURI"),
        }
    }
}

/// Until the other end is gone, or nobody tells any more.
pub(super) async fn tell(stream: &mut (impl AsyncWrite + Unpin), mut events: broadcast::Receiver<String>) {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n\r\n: here\n\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    while let Ok(event) = events.recv().await {
        if stream.write_all(event.as_bytes()).await.is_err() {
            return;
        }
    }
}
