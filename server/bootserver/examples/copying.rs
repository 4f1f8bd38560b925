//! The way that was turned down (decision record 0005), for the bench beside it: a file read in chunks of 1 MiB on the
//! blocking threads and written to the socket. `copying FILE ADDRESS:PORT`; every request gets the file.

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, at] = words.as_slice() else { anyhow::bail!("usage: copying FILE ADDRESS:PORT") };
    let listener = tokio::net::TcpListener::bind(at).await.with_context(|| format!("cannot listen on {at}"))?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let file = file.clone();
        tokio::spawn(async move {
            let mut chunk = vec![0; 1 << 20];
            let _ = stream.read(&mut chunk).await?;
            let mut source = tokio::fs::File::open(&file).await?;
            source.set_max_buf_size(1 << 20);
            let length = source.metadata().await?.len();
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
            loop {
                let count = source.read(&mut chunk).await?;
                if count == 0 {
                    return std::io::Result::Ok(());
                }
                stream.write_all(chunk.get(..count).unwrap_or_default()).await?;
            }
        });
    }
}
