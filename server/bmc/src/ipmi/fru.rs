//! The FRU inventory of the machine: maker, model and serial number (IPMI FRU Information Storage Definition 1.2; B8.6).
//!
//! Read in small pieces, since some BMCs cannot answer with more. Only 8-bit ASCII and 6-bit packed fields are read:
//! the others are rare on servers, and a field that cannot be read is left out rather than guessed.

use super::{STORAGE, Turn};
use crate::ipmi::session::Command;
use crate::{Fault, Identity};

const PIECE: u8 = 16;
/// Far above what the chassis, board and product areas fill.
const MOST: u16 = 2048;
/// Custom fields follow the ones with a meaning.
const NO_MORE: u8 = 0xc1;

/// The whole of FRU 0, or `None` where the BMC has none.
pub async fn read(turn: &mut Turn<'_>) -> Result<Option<Vec<u8>>, Fault> {
    let (0x00, info) = turn.reply(Command::new(STORAGE, 0x10, &[0x00])).await? else { return Ok(None) };
    let [low, high, access, ..] = info.as_slice() else { return Ok(None) };
    if access & 0x01 != 0 {
        // Counted in words: seen on nothing we know.
        return Ok(None);
    }
    let size = u16::from_le_bytes([*low, *high]).min(MOST);
    let mut bytes = Vec::new();
    while bytes.len() < usize::from(size) {
        let at = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let [low, high] = at.to_le_bytes();
        let count = u8::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let (0x00, piece) = turn.reply(Command::new(STORAGE, 0x11, &[0x00, low, high, count])).await? else { break };
        match piece.split_first() {
            Some((told, data)) if *told > 0 && !data.is_empty() => {
                bytes.extend(data.iter().take(usize::from(*told).min(usize::from(count))));
            }
            _ => break,
        }
    }
    Ok(Some(bytes))
}

/// Fills in what the product area says, and from the board area what that leaves open.
pub fn tell(bytes: &[u8], identity: &mut Identity) {
    let [version, _, _, board, product, ..] = bytes else { return };
    if version & 0x0f != 0x01 {
        return;
    }
    // Product: maker, name, part number, version, serial number.
    let product = fields(bytes, *product, 3);
    // Board, after the date: maker, name, serial number, part number.
    let board = fields(bytes, *board, 6);
    let pick = |from: &[Option<String>], at: usize| from.get(at).cloned().flatten();
    identity.manufacturer = pick(&product, 0).or_else(|| pick(&board, 0));
    identity.model = pick(&product, 1).or_else(|| pick(&board, 1));
    identity.serial = pick(&product, 4).or_else(|| pick(&board, 2));
}

/// The fields of the area at `offset` (in units of eight bytes, 0 for none), after `skip` bytes of its head.
fn fields(bytes: &[u8], offset: u8, skip: usize) -> Vec<Option<String>> {
    let start = usize::from(offset) * 8;
    let Some(area) = bytes.get(start..).filter(|_| offset != 0) else { return Vec::new() };
    let length = area.get(1).map_or(0, |units| usize::from(*units) * 8);
    let mut rest = area.get(skip..length.min(area.len())).unwrap_or_default();
    let mut fields = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let length = usize::from(kind & 0x3f);
        if *kind == NO_MORE || length > after.len() {
            break;
        }
        let (value, after) = after.split_at_checked(length).unwrap_or_default();
        fields.push(text(kind >> 6, value));
        rest = after;
    }
    fields
}

fn text(kind: u8, value: &[u8]) -> Option<String> {
    let text: String = match kind {
        0b11 => value.iter().map(|byte| char::from(*byte)).collect(),
        0b10 => sixes(value),
        _ => return None,
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    (!text.is_empty()).then(|| text.to_string())
}

/// Four characters in three bytes, lowest bits first, counted from the space.
fn sixes(value: &[u8]) -> String {
    let mut out = String::new();
    for chunk in value.chunks(3) {
        let bits = chunk.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for at in 0..chunk.len() * 8 / 6 {
            out.push(char::from(b' ' + (bits >> (6 * at) & 0x3f) as u8));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Vec<u8> {
        [&[0xc0 | text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn the_product_area_names_the_machine() {
        let mut area = vec![0x01, 0x06, 0x19];
        for text in ["ACME", "R-2", "PN", "1.0", "SN0042  ", ""] {
            area.extend(field(text));
        }
        area.push(NO_MORE);
        area.resize(48, 0);
        let bytes = [&[0x01, 0, 0, 0, 0x01, 0, 0, 0xfe], &area[..]].concat();
        let mut identity = Identity::default();
        tell(&bytes, &mut identity);
        assert_eq!(identity.manufacturer.as_deref(), Some("ACME"));
        assert_eq!(identity.model.as_deref(), Some("R-2"));
        assert_eq!(identity.serial.as_deref(), Some("SN0042"));
        for cut in 0..bytes.len() {
            tell(&bytes[..cut], &mut Identity::default());
        }
    }

    #[test]
    fn packed_text_unpacks() {
        assert_eq!(sixes(&[0x29, 0xdc, 0xa6]), "IPMI");
    }
}
