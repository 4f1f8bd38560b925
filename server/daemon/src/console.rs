//! `muster console`: a machine's console through the daemon, and what it said.

use crate::ask::raw;
use crate::cli::{Output, Sit};
use crate::client::{Api, Socket};
use crate::table::{cell, clock, items, plain};
use crate::terminal::{self, Key, Show, Shown};
use anyhow::{Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

pub async fn console(api: &Api, sit: &Sit, output: Output) -> Result<ExitCode> {
    let id = api.machine(&sit.machine).await?;
    if sit.recorded {
        return recorded(api, &id, sit, output).await;
    }
    let path = format!("/api/v1/machines/{id}/console?read-only={}&take-over={}", sit.read_only, sit.take_over);
    let socket = api.socket(&path).await?;
    let (screen, shown) = mpsc::channel(64);
    let (keys, typed) = mpsc::channel(16);
    let _ = screen.try_send(Shown::Note(format!(
        "the console of {}, recorded; ~. at the beginning of a line leaves, ~? helps",
        sit.machine
    )));
    let keys = (!sit.read_only).then_some(keys);
    let limit = sit.seconds.map(Duration::from_secs);
    let person = tokio::spawn(terminal::show(Show { screen: shown, keys, limit }));
    carry(socket, screen, typed).await;
    match person.await?? {
        Some(why) => bail!("{why}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Until one of the two sides ends it.
async fn carry(mut socket: Socket, screen: mpsc::Sender<Shown>, mut typed: mpsc::Receiver<Key>) {
    let mut types = true;
    loop {
        tokio::select! {
            message = socket.next() => {
                let shown = match message {
                    Some(Ok(Message::Binary(bytes))) => Shown::Bytes(bytes.to_vec()),
                    Some(Ok(Message::Text(text))) => match told(&text) {
                        Some(shown) => shown,
                        None => continue,
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Shown::End("the daemon has gone".into()),
                    Some(Ok(_)) => continue,
                };
                let over = matches!(shown, Shown::End(_));
                if screen.send(shown).await.is_err() || over {
                    break;
                }
            }
            key = typed.recv(), if types => {
                let message = match key {
                    Some(Key::Bytes(bytes)) => Message::Binary(bytes.into()),
                    Some(Key::Break) => Message::Text(json!({ "break": true }).to_string().into()),
                    Some(Key::Help | Key::Leave) => continue,
                    None => {
                        types = false;
                        continue;
                    }
                };
                if socket.send(message).await.is_err() {
                    let _ = screen.send(Shown::End("the daemon has gone".into())).await;
                    break;
                }
            }
            () = screen.closed() => break,
        }
    }
    let _ = socket.close(None).await;
}

fn told(text: &str) -> Option<Shown> {
    let value: Value = serde_json::from_str(text).ok()?;
    let word = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    word("note").map(Shown::Note).or_else(|| word("end").map(Shown::End))
}

async fn recorded(api: &Api, id: &str, sit: &Sit, output: Output) -> Result<ExitCode> {
    let minutes = |minutes: u32| muster_conductor::now().0.saturating_sub(i64::from(minutes) * 60_000);
    let path = format!("/api/v1/machines/{id}/console/recorded?since={}", sit.since.map_or(0, minutes));
    if sit.raw {
        std::io::stdout().lock().write_all(&api.bytes(&format!("{path}&raw=true")).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = plain(api.get(&path).await?);
    match output {
        Output::Json => raw(&found)?,
        Output::Table => print!("{}", printed(&found)),
    }
    Ok(ExitCode::SUCCESS)
}

fn printed(found: &Value) -> String {
    let mut text = String::new();
    if found.get("cut") == Some(&Value::Bool(true)) {
        text.push_str("(older text was recorded and had to go)\n");
    }
    for line in items(found, "lines") {
        text.push_str(&entry(&line));
    }
    if text.is_empty() {
        text.push_str("nothing is recorded of this console\n");
    }
    text
}

/// `2026-11-20 15:00:23  login:`, in UTC; what is ours stands in brackets.
pub fn entry(line: &Value) -> String {
    let at = clock(line.get("at").and_then(Value::as_i64).unwrap_or_default());
    match line.get("note") == Some(&Value::Bool(true)) {
        true => format!("{at}  [{}]\n", cell(line, "text")),
        false => format!("{at}  {}\n", cell(line, "text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_a_line_each_with_its_time_and_what_had_to_go_is_told() {
        let line = |text: &str, note: bool| json!({ "at": 0, "text": text, "note": note });
        let found = json!({ "cut": true, "lines": [line("login:", false), line("ann is here", true)] });
        assert_eq!(
            printed(&found),
            "(older text was recorded and had to go)\n1970-01-01 00:00:00  login:\n1970-01-01 00:00:00  [ann is here]\n"
        );
        assert_eq!(printed(&json!({ "cut": false, "lines": [] })), "nothing is recorded of this console\n");
    }

    #[test]
    fn what_the_daemon_says_of_a_console_is_a_note_or_its_end_and_nothing_else() {
        assert_eq!(told(r#"{"note":"x"}"#), Some(Shown::Note("x".into())));
        assert_eq!(told(r#"{"end":"y"}"#), Some(Shown::End("y".into())));
        for other in ["", "[]", r#"{"note":3}"#, "nonsense"] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
