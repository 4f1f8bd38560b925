//! From a reply to bytes: message type first, boot file last before the relay's option, END, padded to 300 bytes.

use muster_netboot::Reply;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// BOOTP's smallest message; boot ROMs drop shorter ones (A3).
const SMALLEST: usize = 300;
const SNAME: usize = 64;
const FILE: usize = 128;
/// Never left out for want of room: type, server, lease, mask, boot class and control, boot file.
const NEEDED: [u8; 8] = [53, 54, 51, 1, 60, 43, 175, 67];

/// Encodes a reply within its size limit. Options that do not fit are left out, the needed ones last.
pub fn encode(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&[2, reply.htype, reply.hlen, 0]);
    out.extend_from_slice(&reply.xid.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&reply.flags.to_be_bytes());
    for address in [reply.ciaddr, reply.yiaddr, reply.siaddr, reply.giaddr] {
        out.extend_from_slice(&address.octets());
    }
    out.extend_from_slice(&reply.chaddr);
    text_field(&mut out, &reply.sname, SNAME);
    text_field(&mut out, &reply.file, FILE);
    out.extend_from_slice(&COOKIE);

    let relay = reply.relay.as_deref().filter(|raw| !raw.is_empty());
    let tail = 1 + relay.map_or(0, |raw| cost(raw.len()));
    let mut room = reply.size_limit.saturating_sub(out.len() + tail);
    let needed: usize =
        reply.options.iter().filter(|(code, _)| NEEDED.contains(code)).map(|(_, v)| cost(v.len())).sum();
    room = room.saturating_sub(needed);
    for (code, value) in &reply.options {
        if value.is_empty() {
            continue;
        }
        if !NEEDED.contains(code) {
            let cost = cost(value.len());
            if cost > room {
                continue;
            }
            room -= cost;
        }
        option(&mut out, *code, value);
    }
    if let Some(raw) = relay {
        option(&mut out, 82, raw);
    }
    out.push(255);
    out.resize(out.len().max(SMALLEST), 0);
    out
}

/// The text and at least one NUL; what does not fit is left out whole, for half a name is another name.
fn text_field(out: &mut Vec<u8>, text: &str, size: usize) {
    let text = if text.len() < size { text.as_bytes() } else { &[] };
    let end = out.len() + size;
    out.extend_from_slice(text);
    out.resize(end, 0);
}

/// Bytes on the wire, split into pieces of 255 (RFC 3396).
fn cost(length: usize) -> usize {
    length + 2 * length.div_ceil(255)
}

fn option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for piece in value.chunks(255) {
        out.push(code);
        out.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(piece);
    }
}
