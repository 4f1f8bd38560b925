//! What IPMI answers outside of any session: capabilities, GUID and cipher suites (IPMI 2.0, sections 22.13 to 22.15; A5.8).

use super::handshake::{random, resolve};
use super::packet::{self, Packet, Reply};
use super::socket::Mailbox;
use super::{APP, guid};
use crate::{Exposure, Fault, Hail, Inner, Protocol, Settings};

/// One lost datagram is forgiven.
const SENDS: u32 = 2;
/// This channel, whichever it is.
const HERE: u8 = 0x0e;
/// Tell of IPMI 2.0 too.
const EXTENDED: u8 = 0x80;
const USER: u8 = 0x02;
/// Suites come in pieces of sixteen bytes, of which there are at most 64.
const PIECE: usize = 16;
const MOST_PIECES: u8 = 64;

pub async fn hail(engine: &Inner, address: &str) -> Result<Hail, Fault> {
    let settings = Settings { sends: SENDS.min(engine.settings.sends), ..engine.settings.clone() };
    let mut stranger =
        Stranger { mailbox: engine.sockets.mailbox(resolve(address).await?, random()?).await?, settings, sequence: 0 };
    let mut told = stranger.ask(0x38, &[EXTENDED | HERE, USER]).await?;
    if told.completion != 0 {
        // Of before 2.0: the extension is a parameter that it does not know.
        told = stranger.ask(0x38, &[HERE, USER]).await?;
    }
    let mut hail = capabilities(&told);
    // From here on silence is an answer: somebody is there.
    if let Ok(told) = stranger.ask(0x37, &[]).await
        && let (0x00, Some(bytes)) = (told.completion, packet::array::<16>(&told.data, 0))
    {
        hail.uuids = guid::readings(bytes);
    }
    if hail.version.as_deref() == Some(TWO) && offers_none(&stranger.suites().await) {
        hail.exposures.insert(0, Exposure::CipherZero);
    }
    Ok(hail)
}

struct Stranger {
    mailbox: Mailbox,
    settings: Settings,
    sequence: u8,
}

impl Stranger {
    async fn ask(&mut self, command: u8, data: &[u8]) -> Result<Reply, Fault> {
        self.sequence = (self.sequence + 1) & 0x3f;
        let number = self.sequence;
        let question = packet::bare(&packet::request(APP << 2, command, number, data));
        let accept = |datagram: &[u8]| answer(datagram, command, number);
        self.mailbox.exchange(&self.settings, &question, accept).await
    }

    /// As far as it tells them.
    async fn suites(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in 0..MOST_PIECES {
            let Ok(told) = self.ask(0x54, &[HERE, 0x00, 0x80 | piece]).await else { break };
            let more = told.data.get(1..).filter(|_| told.completion == 0).unwrap_or_default();
            all.extend_from_slice(more.get(..PIECE).unwrap_or(more));
            if more.len() < PIECE {
                break;
            }
        }
        all
    }
}

fn answer(datagram: &[u8], command: u8, number: u8) -> Option<Reply> {
    let Packet::Bare { message } = packet::parse(datagram)? else { return None };
    let fits = |reply: &Reply| (reply.net_fn, reply.command, reply.sequence) == (APP | 1, command, number);
    Reply::read(message).filter(fits)
}

const TWO: &str = "2.0";

/// The answer to Get Channel Authentication Capabilities (table 22-15).
fn capabilities(told: &Reply) -> Hail {
    let mut hail = Hail::of(Protocol::Ipmi);
    let [_, types, logins, rest @ ..] = told.data.as_slice() else { return hail };
    let extended = types & 0x80 != 0;
    let connections = rest.first().filter(|_| extended).copied();
    hail.version = Some(if connections.is_some_and(|told| told & 0x02 != 0) { TWO } else { "1.5" }.to_string());
    if let [_, low, middle, high, ..] = rest {
        hail.maker_number = Some(u32::from_le_bytes([*low, *middle, *high, 0])).filter(|number| *number != 0);
    }
    // Who does not tell of 2.0 has nothing else.
    let old = connections.is_none_or(|told| told & 0x01 != 0);
    let open = [
        (logins & 0x01 != 0, Exposure::AnonymousLogin),
        (logins & 0x02 != 0, Exposure::NullUser),
        (old, Exposure::Ipmi15),
        (types & 0x01 != 0, Exposure::NoAuthentication),
    ];
    hail.exposures = open.into_iter().filter(|(is, _)| *is).map(|(_, exposure)| exposure).collect();
    hail
}

/// Whether one of these records of cipher suites has no authentication (table 22-18): suite 0, or a maker's own of that
/// kind. A record begins with C0h (then the suite's number) or C1h (then a number and the maker's); its algorithms
/// follow, authentication first.
fn offers_none(records: &[u8]) -> bool {
    let mut rest = records;
    while let Some((kind, after)) = rest.split_first() {
        let (number, head) = match kind {
            0xc0 => (after.first(), 1),
            0xc1 => (None, 4),
            // Between records: some pad.
            _ => {
                rest = after;
                continue;
            }
        };
        let algorithms = after.get(head..).unwrap_or_default();
        let end = algorithms.iter().position(|byte| *byte >= 0xc0).unwrap_or(algorithms.len());
        let (mine, next) = algorithms.split_at_checked(end).unwrap_or((algorithms, &[]));
        if number == Some(&0) || mine.first() == Some(&0x00) {
            return true;
        }
        rest = next;
    }
    false
}

/// For the fuzzer: every reader of this file on any bytes.
pub fn parse(bytes: &[u8]) {
    if let Some(reply) = answer(bytes, 0x38, 0) {
        let _ = capabilities(&reply);
    }
    let _ = offers_none(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Exposure::{AnonymousLogin, Ipmi15, NoAuthentication, NullUser};
    use proptest::prelude::*;

    fn told(data: &[u8]) -> Hail {
        capabilities(&Reply { net_fn: 7, sequence: 0, command: 0x38, completion: 0, data: data.to_vec() })
    }

    #[test]
    fn a5_8_each_bit_of_the_capabilities_is_a_finding() {
        let safe = told(&[1, 0x94, 0x04, 0x02, 0, 0, 0, 0]);
        assert_eq!((safe.version.as_deref(), safe.exposures.as_slice()), (Some("2.0"), &[][..]));
        for (bytes, version, found) in [
            ([1, 0x94, 0x04, 0x03], "2.0", vec![Ipmi15]),
            ([1, 0x95, 0x04, 0x02], "2.0", vec![NoAuthentication]),
            ([1, 0x94, 0x05, 0x02], "2.0", vec![AnonymousLogin]),
            ([1, 0x94, 0x06, 0x02], "2.0", vec![NullUser]),
            ([1, 0x15, 0x07, 0x00], "1.5", vec![AnonymousLogin, NullUser, Ipmi15, NoAuthentication]),
        ] {
            let hail = told(&bytes);
            assert_eq!((hail.version.as_deref(), hail.exposures), (Some(version), found), "{bytes:02x?}");
        }
        assert_eq!(told(&[1, 0xb4, 0x04, 0x02, 0xa2, 0x02, 0x00, 0x07]).maker_number, Some(674));
        assert_eq!(told(&[1]), Hail::of(Protocol::Ipmi), "too short to say anything");
    }

    #[test]
    fn a5_8_a_suite_without_authentication_is_found_whichever_number_it_has() {
        let safe = [0xc0, 17, 0x03, 0x44, 0x81, 0xc0, 3, 0x01, 0x41, 0x81];
        assert!(!offers_none(&safe) && !offers_none(&[]) && !offers_none(&[0xc0]));
        assert!(offers_none(&[&safe[..], &[0xc0, 0, 0x00, 0x40, 0x80]].concat()));
        let makers = |authentication| [0xc1, 0x80, 0x00, 0x00, 0x00, authentication, 0x41, 0x81];
        assert!(
            offers_none(&makers(0x00)) && !offers_none(&makers(0x01)),
            "its number and its maker's are no algorithms"
        );
        assert!(offers_none(&[0xc0, 0x00]), "cut short after the number");
        assert!(!offers_none(&[&safe[..], &[0x00, 0x00]].concat()), "padding");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            parse(&bytes);
            let _ = told(&bytes);
        }
    }
}
