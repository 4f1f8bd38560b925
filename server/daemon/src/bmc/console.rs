//! `muster bmc console`: a machine's console from here, without a daemon and without a record.

use super::At;
use crate::terminal::{self, Key, Show, Shown};
use anyhow::{Result, bail};
use muster_bmc::{Bmcs, Console, Heard};
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(clap::Args)]
pub struct OpenConsole {
    #[command(flatten)]
    pub at: At,
    /// Take it from another session that has it
    #[arg(long)]
    take_over: bool,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
}

pub async fn show(bmcs: &Bmcs, asked: &OpenConsole) -> Result<()> {
    let mut console = bmcs.console(&asked.at.target()?, asked.take_over).await?;
    let (screen, shown) = mpsc::channel(64);
    let (keys, mut typed) = mpsc::channel(16);
    let limit = asked.seconds.map(Duration::from_secs);
    let _ = screen.try_send(Shown::Note("the console is open; ~. at the beginning of a line leaves, ~? helps".into()));
    let person = tokio::spawn(terminal::show(Show { screen: shown, keys: Some(keys), limit }));
    carry(&mut console, &screen, &mut typed).await;
    // The person's side ends with its screen.
    drop(screen);
    console.close().await;
    match person.await?? {
        Some(why) => bail!("{why}"),
        None => Ok(()),
    }
}

async fn carry(console: &mut Console, screen: &mpsc::Sender<Shown>, typed: &mut mpsc::Receiver<Key>) {
    let keys = console.keys();
    loop {
        let shown = tokio::select! {
            heard = console.heard() => match heard {
                Heard::Text(bytes) => Shown::Bytes(bytes),
                Heard::Mark(mark) => Shown::Note(mark.to_string()),
                Heard::Ended(end) => {
                    let _ = screen.send(Shown::End(end.to_string())).await;
                    return;
                }
            },
            key = typed.recv() => {
                let taken = match key {
                    Some(Key::Bytes(bytes)) => keys.write(&bytes),
                    Some(Key::Break) => keys.send_break(),
                    Some(Key::Help | Key::Leave) => true,
                    None => return,
                };
                if taken {
                    continue;
                }
                Shown::Note("the machine takes nothing now; what was typed last is lost".into())
            }
        };
        if screen.send(shown).await.is_err() {
            return;
        }
    }
}
