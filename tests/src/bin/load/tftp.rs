//! TFTP reads, one client or many at once, each with an address of its own; every byte is compared with the file.
//!
//! All clients are one thread, so that little of the machine is taken from the server, and all servers meet the same.

use crate::{Told, sys};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// After this a client says again what it said last, and after so many times it gives up.
const AGAIN: Duration = Duration::from_secs(1);
const TIMES: u32 = 8;
const LARGEST: usize = 65536;

struct Client {
    socket: UdpSocket,
    /// The server's port for this transfer, once it is known.
    peer: Option<SocketAddr>,
    blksize: usize,
    windowsize: u64,
    /// Blocks that came in order, and how many of them since the last ACK.
    got: u64,
    since: u64,
    last: Vec<u8>,
    said: Instant,
    again: u32,
    done: bool,
}

/// What every client is to fetch.
struct Wish {
    server: SocketAddr,
    name: String,
    file: Vec<u8>,
    blksize: usize,
    windowsize: u64,
}

pub fn run(told: &Told) -> Result<()> {
    let path: String = told.must("file")?;
    let wish = Wish {
        server: SocketAddr::V4(told.must::<SocketAddrV4>("server")?),
        name: told.must("name")?,
        file: std::fs::read(&path).with_context(|| format!("cannot read {path}"))?,
        blksize: told.maybe("blksize")?.unwrap_or(1468),
        windowsize: told.maybe("windowsize")?.unwrap_or(1),
    };
    let from: Option<Ipv4Addr> = told.maybe("from")?;
    let times: u32 = told.maybe("times")?.unwrap_or(1);
    let count: u32 = told.must("clients")?;
    let address = |number| from.map_or(Ipv4Addr::UNSPECIFIED, |first| Ipv4Addr::from_bits(first.to_bits() + number));
    let began = Instant::now();
    let mut clients = (0..count).map(|number| Client::begin(address(number), &wish)).collect::<Result<Vec<_>>>()?;
    let mut left = vec![times - 1; clients.len()];
    let mut buffer = vec![0; LARGEST];
    let mut timeouts = 0;
    while clients.iter().any(|client| !client.done) {
        let running = clients.iter().filter(|client| !client.done);
        let ready = sys::wait(running.map(|client| &client.socket), Duration::from_millis(100));
        let running = clients.iter_mut().zip(&mut left).zip(0..).filter(|((client, _), _)| !client.done);
        for (((client, left), number), ready) in running.zip(ready) {
            if ready {
                client.hear(&wish.file, &mut buffer)?;
            } else if client.said.elapsed() > AGAIN {
                timeouts += 1;
                client.repeat(wish.server)?;
            }
            if client.done && *left > 0 {
                *left -= 1;
                *client = Client::begin(address(number), &wish)?;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let mib = wish.file.len() as f64 * f64::from(count * times) / 1_048_576.0;
    let own = sys::cpu("self").unwrap_or_default().as_secs_f64();
    let windowsize = clients.first().map(|client| client.windowsize);
    let report = json!({
        "mib_s": mib / seconds, "seconds": seconds, "mib": mib, "timeouts": timeouts, "own_cpu_s": own, "windowsize": windowsize,
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

fn request(name: &str, blksize: usize, windowsize: u64) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    let window = windowsize.to_string();
    let blksize = blksize.to_string();
    let mut words = vec![name, "octet", "blksize", &blksize];
    if windowsize > 1 {
        words.extend(["windowsize", &window]);
    }
    for word in words {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    bytes
}

impl Client {
    fn begin(address: Ipv4Addr, wish: &Wish) -> Result<Self> {
        let socket = sys::socket(SocketAddrV4::new(address, 0))
            .with_context(|| format!("cannot be a client with address {address}"))?;
        let mut client = Self {
            socket,
            peer: None,
            blksize: 512,
            windowsize: 1,
            got: 0,
            since: 0,
            last: request(&wish.name, wish.blksize, wish.windowsize),
            said: Instant::now(),
            again: 0,
            done: false,
        };
        client.say(wish.server)?;
        Ok(client)
    }

    fn repeat(&mut self, server: SocketAddr) -> Result<()> {
        self.again += 1;
        ensure!(self.again <= TIMES, "no answer after block {}", self.got);
        self.say(self.peer.unwrap_or(server))
    }

    fn say(&mut self, to: SocketAddr) -> Result<()> {
        self.said = Instant::now();
        self.socket.send_to(&self.last, to)?;
        Ok(())
    }

    fn ack(&mut self, to: SocketAddr) -> Result<()> {
        self.since = 0;
        let [.., high, low] = self.got.to_be_bytes();
        self.last = vec![0, 4, high, low];
        self.say(to)
    }

    /// Takes all that has arrived.
    fn hear(&mut self, file: &[u8], buffer: &mut [u8]) -> Result<()> {
        while !self.done {
            let Ok((length, from)) = self.socket.recv_from(buffer) else { return Ok(()) };
            let peer = *self.peer.get_or_insert(from);
            if peer != from {
                continue;
            }
            match buffer.get(..length).unwrap_or_default() {
                [0, 6, options @ ..] => {
                    self.agree(options)?;
                    self.ack(peer)?;
                }
                [0, 3, high, low, data @ ..] => self.block(u16::from_be_bytes([*high, *low]), data, file, peer)?,
                [0, 5, rest @ ..] => bail!("the server says {:?}", String::from_utf8_lossy(rest)),
                other => bail!("the server sent {} bytes that are no TFTP", other.len()),
            }
        }
        Ok(())
    }

    fn agree(&mut self, options: &[u8]) -> Result<()> {
        let words: Vec<&str> =
            options.split(|byte| *byte == 0).map(|word| str::from_utf8(word).unwrap_or("")).collect();
        for pair in words.chunks_exact(2) {
            match pair {
                [name, value] if name.eq_ignore_ascii_case("blksize") => self.blksize = value.parse()?,
                [name, value] if name.eq_ignore_ascii_case("windowsize") => self.windowsize = value.parse()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn block(&mut self, number: u16, data: &[u8], file: &[u8], peer: SocketAddr) -> Result<()> {
        let next = self.got + 1;
        if u64::from(number) != next & 0xffff {
            // Lost or repeated: say where we are, once for what may be a whole window of them.
            if self.said.elapsed() > Duration::from_millis(5) {
                self.ack(peer)?;
            }
            return Ok(());
        }
        let from = usize::try_from(self.got)? * self.blksize;
        let to = (from + self.blksize).min(file.len());
        ensure!(file.get(from..to) == Some(data), "block {next} differs from the file");
        (self.got, self.since, self.again) = (next, self.since + 1, 0);
        self.done = data.len() < self.blksize;
        if self.done || self.since >= self.windowsize {
            self.ack(peer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_wants_and_a_window_only_where_one_is_wanted() {
        assert_eq!(request("f", 1468, 1), b"\0\x01f\0octet\0blksize\x001468\0");
        assert_eq!(request("f", 512, 16), b"\0\x01f\0octet\0blksize\x00512\0windowsize\x0016\0");
    }
}
