//! Serves the files of one folder over TFTP and HTTP, for trying a firmware by hand:
//! `files FOLDER TFTP_ADDRESS:PORT HTTP_ADDRESS:PORT`. Names are listed once, at the start.

use anyhow::Context;
use muster_bootserver::http::{self, Entry, Files};
use muster_bootserver::tftp;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, tftp_at, http_at] = words.as_slice() else {
        anyhow::bail!("usage: files FOLDER TFTP_ADDRESS:PORT HTTP_ADDRESS:PORT");
    };
    let mut entries = Vec::new();
    for item in std::fs::read_dir(folder).with_context(|| format!("cannot list {folder}"))? {
        let item = item?;
        if item.file_type()?.is_file() {
            entries.push(Entry { name: item.file_name().to_string_lossy().into_owned(), file: item.path() });
        }
    }
    let files = Arc::new(Files::load(&entries)?);
    let tftp_at: SocketAddr = tftp_at.parse()?;
    let http_at: SocketAddr = http_at.parse()?;
    let cancel = CancellationToken::new();
    let tftp = tftp::serve(
        tftp::Config::new(vec![tftp::listen(tftp_at)?]),
        files.clone(),
        Arc::new(|_| true),
        Arc::new(()),
        cancel.clone(),
    );
    let http = http::serve(http::Config::new(vec![http::listen(http_at)?]), files, Arc::new(()), cancel.clone());
    println!("{} files on tftp {tftp_at} and http {http_at}", entries.len());
    tokio::try_join!(tftp, http)?;
    Ok(())
}
