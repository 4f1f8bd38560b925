//! What a console said, for people who were not there: lines with their times, without the orders to a terminal.
//!
//! A firmware's screen moves the cursor where a log has line breaks, and colours every word. Read as it is it would be
//! one line, and printed as it is it could do to a reader's terminal what it likes.

use super::tape::{Piece, Said};
use muster_names::Millis;

/// Characters of a line; the rest stands on the next.
const LONGEST: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its first character came.
    pub at: Millis,
    pub text: String,
    /// Ours, about the console: who came, what was lost.
    pub note: bool,
}

/// Where in an order to the terminal the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Escape,
    /// `ESC [`: up to a letter.
    Sequence,
    /// `ESC ]` and the like: up to BEL or `ESC \`.
    Words,
    WordsEscape,
    /// `ESC (` and the like: one more byte.
    One,
}

struct Reader {
    lines: Vec<Line>,
    order: Order,
    bytes: Vec<u8>,
    began: Millis,
    /// A carriage return came: what follows overwrites, unless it is a line feed.
    returned: bool,
}

/// All lines, oldest first; an empty one is none.
pub fn lines(pieces: &[Piece]) -> Vec<Line> {
    let mut reader =
        Reader { lines: Vec::new(), order: Order::None, bytes: Vec::new(), began: Millis(0), returned: false };
    for piece in pieces {
        match &piece.what {
            Said::Text(bytes) => bytes.iter().for_each(|byte| reader.byte(*byte, piece.at)),
            Said::Note(text) => {
                reader.end();
                reader.lines.push(Line { at: piece.at, text: plain(text.as_bytes()), note: true });
            }
        }
    }
    reader.end();
    reader.lines
}

impl Reader {
    fn byte(&mut self, byte: u8, at: Millis) {
        self.order = match (self.order, byte) {
            // A new order ends one that was cut.
            (Order::None | Order::Sequence | Order::One, 0x1b) => Order::Escape,
            (Order::None, _) => {
                self.shown(byte, at);
                Order::None
            }
            (Order::Escape, b'[') => Order::Sequence,
            (Order::Escape, b']' | b'P' | b'^' | b'_' | b'X') => Order::Words,
            (Order::Escape, b'(' | b')' | b'*' | b'+' | b'#' | b'%') => Order::One,
            (Order::Escape, 0x1b) => Order::Escape,
            (Order::Sequence, 0x40..=0x7e) => {
                // The cursor moves, the screen is wiped: what comes now stands elsewhere.
                if matches!(byte, b'H' | b'f' | b'J' | b'E' | b'F' | b'd') {
                    self.end();
                }
                Order::None
            }
            (Order::Sequence, 0x20..=0x3f) => Order::Sequence,
            (Order::Sequence, _) => {
                self.shown(byte, at);
                Order::None
            }
            (Order::Words, 0x1b) => Order::WordsEscape,
            // A program that is cut off must not swallow all that follows.
            (Order::Words, 0x07 | b'\r' | b'\n') | (Order::WordsEscape | Order::Escape | Order::One, _) => Order::None,
            (Order::Words, _) => Order::Words,
        };
    }

    fn shown(&mut self, byte: u8, at: Millis) {
        match byte {
            b'\n' => return self.end(),
            b'\r' => {
                self.returned = true;
                return;
            }
            0x08 => {
                self.bytes.pop();
                return;
            }
            _ => {}
        }
        if std::mem::take(&mut self.returned) {
            self.bytes.clear();
        }
        if self.bytes.is_empty() {
            self.began = at;
        }
        self.bytes.push(byte);
        if self.bytes.len() >= LONGEST {
            self.end();
        }
    }

    fn end(&mut self) {
        self.returned = false;
        let text = plain(&std::mem::take(&mut self.bytes));
        if !text.trim().is_empty() {
            self.lines.push(Line { at: self.began, text: text.trim_end().to_owned(), note: false });
        }
    }
}

/// Text without a character that a terminal obeys or that turns the order of others.
fn plain(bytes: &[u8]) -> String {
    let foul = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| *c != '\0')
        .map(|c| if foul(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(at: i64, bytes: &[u8]) -> Piece {
        Piece { at: Millis(at), what: Said::Text(bytes.to_vec()) }
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        lines(&[said(0, bytes)]).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_has_the_time_of_its_first_character_however_it_came() {
        let found = lines(&[said(1, b"Lin"), said(2, b"ux\r\nlog"), said(3, b"in: ")]);
        let told: Vec<(i64, &str)> = found.iter().map(|line| (line.at.0, line.text.as_str())).collect();
        assert_eq!(told, [(1, "Linux"), (2, "login:")]);
    }

    #[test]
    fn colours_go_a_moved_cursor_is_a_new_line_and_a_progress_bar_is_its_last_state() {
        assert_eq!(texts(b"\x1b[1;31mFAILED\x1b[0m to boot"), ["FAILED to boot"]);
        assert_eq!(texts(b"\x1b[2J\x1b[01;01HPress F2\x1b[05;10HBoot failed"), ["Press F2", "Boot failed"]);
        assert_eq!(texts(b"10 %\r20 %\r100 %\r\n"), ["100 %"]);
        assert_eq!(texts(b"abd\x08c\n\n  \n"), ["abc"]);
        assert_eq!(texts(b"\x1b]0;a title\x07text\x1b(Bx"), ["textx"]);
        assert_eq!(texts(b"\x1b]0;cut off\nstill here"), ["still here"]);
    }

    #[test]
    fn a_note_stands_where_it_was_made() {
        let note = Piece { at: Millis(5), what: Said::Note("ann\x1b[2J came".into()) };
        let found = lines(&[said(1, b"half"), note, said(6, b"rest")]);
        let told: Vec<(&str, bool)> = found.iter().map(|line| (line.text.as_str(), line.note)).collect();
        assert_eq!(told, [("half", false), ("ann\u{fffd}[2J came", true), ("rest", false)]);
    }

    proptest! {
        #[test]
        fn no_line_gives_orders_to_a_terminal_or_has_no_end(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            for line in lines(&[said(0, &bytes)]) {
                prop_assert!(!line.text.chars().any(|c| c.is_control() && c != '\t'), "{:?}", line.text);
                prop_assert!(line.text.chars().count() <= LONGEST);
            }
        }

        #[test]
        fn nothing_printable_is_lost(words in "[a-zA-Z0-9 .:-]{1,200}") {
            prop_assert_eq!(texts(words.as_bytes()), if words.trim().is_empty() { vec![] } else { vec![words.trim_end().to_string()] });
        }
    }
}
