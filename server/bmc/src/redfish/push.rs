//! Server-sent events: a GET whose answer does not end. Nothing of what comes is kept but that it came.

use super::connection::Connection;
use super::fields::Fields;
use super::json;
use crate::lane::Lane;
use crate::{Fault, Inner, Target};
use serde_json::Value;

const DATA: &[u8] = b"data:";

/// An open stream, and the session that it has.
pub struct Stream {
    connection: Connection,
    answer: reqwest::Response,
    lines: Lines,
    /// Events that were heard and not told yet.
    heard: usize,
}

impl Stream {
    pub async fn next(&mut self) -> Option<()> {
        while self.heard == 0 {
            let bytes = self.answer.chunk().await.ok()??;
            self.heard = self.lines.events(&bytes);
        }
        self.heard -= 1;
        Some(())
    }

    pub async fn close(self) {
        drop(self.answer);
        self.connection.close().await;
    }
}

/// Whether there is a stream is asked by the session that stands; only what there is gets one of its own.
pub async fn listen(engine: &Inner, lane: &Lane, target: &Target) -> Result<Option<Stream>, Fault> {
    let path = {
        let turn = lane.redfish_read(engine, target).await?;
        let root = turn.connection.root(lane).await?.body;
        let Some(service) = json::link(&root, "/EventService") else { return Ok(None) };
        match turn.get(&service).await {
            Ok(service) => place(&service.body),
            Err(Fault::NotOffered(_)) => None,
            Err(fault) => return Err(fault),
        }
    };
    let Some(path) = path else { return Ok(None) };
    let connection = Connection::apart(engine, lane, target)?;
    match connection.stream(lane, &path).await {
        Ok(answer) => Ok(Some(Stream { connection, answer, lines: Lines::default(), heard: 0 })),
        Err(fault) => {
            connection.close().await;
            match fault {
                // It is told of, and not for us: a licence is missing, or the account may not.
                Fault::NotOffered(_) | Fault::Declined(_) => Ok(None),
                fault => Err(fault),
            }
        }
    }
}

/// Where an event service that is not switched off has its stream.
fn place(service: &Value) -> Option<String> {
    let on = service.get("ServiceEnabled").and_then(Value::as_bool).unwrap_or(true);
    let path = Fields(service).text(&["ServerSentEventUri"])?;
    json::path(&path).filter(|_| on)
}

/// Counts events in the lines of a stream, wherever it was cut into pieces: an event is one or more lines of data, and then
/// an empty one. Lines that begin with a colon only keep the line open.
#[derive(Debug, Default)]
struct Lines {
    /// Bytes of this line.
    length: usize,
    /// Its beginning is not that of data.
    other: bool,
    /// Data since the last empty line.
    data: bool,
    after_return: bool,
}

impl Lines {
    fn events(&mut self, bytes: &[u8]) -> usize {
        let mut events = 0;
        for byte in bytes {
            let second_half = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            match byte {
                b'\n' if second_half => {}
                b'\r' | b'\n' => events += usize::from(self.ends()),
                _ => {
                    self.other |= DATA.get(self.length).is_some_and(|expected| expected != byte);
                    self.length = self.length.saturating_add(1);
                }
            }
        }
        events
    }

    /// A line has ended: whether an event has too.
    fn ends(&mut self) -> bool {
        let (length, other) = (std::mem::take(&mut self.length), std::mem::take(&mut self.other));
        if length == 0 {
            return std::mem::take(&mut self.data);
        }
        self.data |= !other && length >= DATA.len();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const STREAM: &[u8] = b": hello\n\nid: 1\ndata: {\"Events\":\ndata: []}\n\n:\n\nevent: x\r\ndata:{}\r\n\r\ndat\n\ndatum: 1\n\ndata: 2\r\r";

    #[test]
    fn b7_14_an_event_is_data_and_an_empty_line_and_what_keeps_the_line_open_is_none() {
        assert_eq!(Lines::default().events(STREAM), 3);
    }

    #[test]
    fn b7_14_the_stream_is_where_the_service_says_on_the_same_host_and_switched_on() {
        let told = |service: Value| place(&service);
        assert_eq!(told(json!({"ServerSentEventUri": "/redfish/v1/SSE"})).as_deref(), Some("/redfish/v1/SSE"));
        let elsewhere = json!({"ServiceEnabled": true, "ServerSentEventUri": "https://elsewhere.example/SSE"});
        assert_eq!(told(elsewhere).as_deref(), Some("/SSE"), "the host that was configured and no other");
        for none in [
            json!({"ServiceEnabled": false, "ServerSentEventUri": "/redfish/v1/SSE"}),
            json!({"ServerSentEventUri": null}),
            json!({"ServerSentEventUri": "SSE"}),
            json!({}),
            json!("x"),
        ] {
            assert_eq!(told(none.clone()), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn wherever_a_stream_is_cut_the_same_events_are_counted(cuts in proptest::collection::vec(0..STREAM.len(), 0..9)) {
            let (mut lines, mut events, mut from) = (Lines::default(), 0, 0);
            let mut cuts = cuts;
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                events += lines.events(&STREAM[from..cut]);
                from = cut;
            }
            prop_assert_eq!(events, 3);
        }

        #[test]
        fn no_bytes_make_more_events_than_there_are_lines_of_data(bytes: Vec<u8>) {
            let data = bytes.windows(DATA.len()).filter(|five| *five == DATA).count();
            prop_assert!(Lines::default().events(&bytes) <= data);
        }
    }
}
