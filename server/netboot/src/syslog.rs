//! Lines of system logs, RFC 3164 and RFC 5424, read leniently: kernels, installers and loaders write what they like,
//! and a line that fits neither form is still worth reading.
//!
//! Every text is made harmless here, before anything keeps it: nothing in it moves a terminal, turns the direction of
//! writing or begins a line, and a token of ours in it is masked. What a line says is shown to people; nothing is ever
//! decided by it, for anybody on the network can write one.

use std::fmt;

/// Longer datagrams are cut by the socket already; the rest of a text is of no use in a list.
const LONGEST: usize = 1_024;
const LONGEST_PROGRAM: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 0 emergency ... 7 debug.
    pub severity: u8,
    /// May be empty.
    pub program: String,
    pub text: String,
}

/// Why there is no line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoLine {
    Empty,
    /// `<` and then no priority between 0 and 191.
    Priority,
}

impl NoLine {
    pub fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Priority => "priority",
        }
    }
}

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the datagram holds no text",
            Self::Priority => "the datagram begins with < and no priority from 0 to 191 follows",
        })
    }
}

/// Without a priority a line counts as a notice of a user's program (RFC 3164, 4.3.3).
const NOTICE: u8 = 5;

pub fn parse(bytes: &[u8]) -> Result<Line, NoLine> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
    if text.is_empty() {
        return Err(NoLine::Empty);
    }
    let (severity, rest) = match text.strip_prefix('<') {
        None => (NOTICE, text),
        Some(rest) => {
            let (digits, rest) = rest.split_once('>').ok_or(NoLine::Priority)?;
            let sound = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            let number: u8 = digits.parse().ok().filter(|number| sound && *number <= 191).ok_or(NoLine::Priority)?;
            (number % 8, rest)
        }
    };
    let (program, text) = match rest.strip_prefix("1 ").and_then(new) {
        Some(found) => found,
        None => old(rest),
    };
    let text = harmless(text, LONGEST);
    if text.is_empty() {
        return Err(NoLine::Empty);
    }
    Ok(Line { severity, program: harmless(program, LONGEST_PROGRAM), text })
}

/// RFC 5424 after its version: time, host, program, process id, message id, structured data, text.
fn new(rest: &str) -> Option<(&str, &str)> {
    let mut words = rest.splitn(6, ' ');
    let (_time, _host) = (words.next()?, words.next()?);
    let program = words.next()?;
    let (_process, _message) = (words.next()?, words.next()?);
    let rest = words.next()?;
    let text = match rest.strip_prefix('-') {
        Some(text) => text,
        None => after_data(rest)?,
    };
    Some((if program == "-" { "" } else { program }, text.trim_start_matches([' ', '\u{feff}'])))
}

/// Skips `[id name="value"]...`; a quote and a bracket in a value are escaped.
fn after_data(mut rest: &str) -> Option<&str> {
    while rest.starts_with('[') {
        let (mut quoted, mut escaped, mut end) = (false, false, None);
        for (at, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ']' if !quoted => {
                    end = Some(at + 1);
                    break;
                }
                _ => {}
            }
        }
        rest = rest.get(end?..)?;
    }
    Some(rest)
}

/// RFC 3164: `Nov 26 20:48:29 host program[123]: text`, with any of it missing.
fn old(rest: &str) -> (&str, &str) {
    let rest = rest.trim_start();
    let (rest, dated) = match after_date(rest) {
        Some(after) => (after, true),
        None => (rest, false),
    };
    if let Some(found) = tagged(rest) {
        return found;
    }
    // With a date a host name stands before the tag; a line without a tag after it is all text.
    let behind_host = if dated { rest.split_once(' ').map(|(_, after)| after.trim_start()) } else { None };
    behind_host.and_then(tagged).unwrap_or(("", rest))
}

/// After `Nov 26 20:48:29 ` or `Nov  6 20:48:29 `.
fn after_date(text: &str) -> Option<&str> {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    if !months.contains(&text.get(..3)?) || text.get(15..16)? != " " {
        return None;
    }
    let clock = text.get(7..15)?;
    let sound =
        clock.bytes().enumerate().all(|(at, b)| if at == 2 || at == 5 { b == b':' } else { b.is_ascii_digit() });
    if sound { text.get(16..).map(str::trim_start) } else { None }
}

/// `program[123]: text` or `program: text`.
fn tagged(text: &str) -> Option<(&str, &str)> {
    let (tag, rest) = text.split_once(':')?;
    let program = tag.split('[').next().unwrap_or(tag);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let sound = !program.is_empty() && program.len() <= LONGEST_PROGRAM && program.bytes().all(plain);
    let process = tag.get(program.len()..).unwrap_or_default();
    let closed = process.is_empty() || (process.starts_with('[') && process.ends_with(']') && !process.contains(' '));
    (sound && closed && rest.starts_with([' ', '\t'])).then(|| (program, rest.trim_start()))
}

/// One line of printable text: what a terminal would obey becomes a sign that something was there.
fn harmless(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(longest));
    for word in text.split_inclusive(' ') {
        if out.len() >= longest {
            break;
        }
        if word.contains("mstr_") {
            out.push_str("[a token] ");
            continue;
        }
        for c in word.chars() {
            if out.len() + c.len_utf8() > longest {
                return out.trim_end().to_owned();
            }
            match c {
                '\t' => out.push(' '),
                c if is_foul(c) => out.push('\u{fffd}'),
                c => out.push(c),
            }
        }
    }
    out.trim_end().to_owned()
}

/// Control characters, and those that turn the direction of the text after them or take no room.
fn is_foul(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// So many lines at once from one machine, and one more with each so many milliseconds: a booting kernel writes a
/// thousand lines in some seconds, and the interesting ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    left: u32,
    at: u64,
}

impl Allowance {
    pub const MOST: u32 = 400;
    pub const EACH_MS: u64 = 50;

    pub fn new(now: u64) -> Self {
        Self { left: Self::MOST, at: now }
    }

    /// Takes one; `now` in milliseconds of any clock that does not run backwards.
    pub fn take(&mut self, now: u64) -> bool {
        let more = now.saturating_sub(self.at) / Self::EACH_MS;
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(Self::MOST);
            self.at = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }

    /// Nothing was taken for so long that it is as good as new.
    pub fn is_full(&self, now: u64) -> bool {
        now.saturating_sub(self.at) > u64::from(Self::MOST) * Self::EACH_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (u8, String, String) {
        let line = parse(text.as_bytes()).unwrap();
        (line.severity, line.program, line.text)
    }

    fn is(severity: u8, program: &str, text: &str) -> (u8, String, String) {
        (severity, program.to_owned(), text.to_owned())
    }

    #[test]
    fn both_forms_are_read_and_what_fits_neither_is_text() {
        for (line, expected) in [
            ("<13>Nov 26 20:48:29 node1 main-menu[300]: INFO: menu", is(5, "main-menu", "INFO: menu")),
            ("<4>Nov  6 20:48:29 kernel: [1.0] a: b", is(4, "kernel", "[1.0] a: b")),
            ("<3>kernel: oops", is(3, "kernel", "oops")),
            ("<6>just words: of no program", is(6, "", "just words: of no program")),
            ("<34>1 2026-11-26T20:48:29Z host su - ID47 - 'su root' failed", is(2, "su", "'su root' failed")),
            (r#"<165>1 - - - - - [a@1 x="1\]\"]"][b@1] text"#, is(5, "", "text")),
            ("<11>1 not enough", is(3, "", "1 not enough")),
            ("no priority at all", is(5, "", "no priority at all")),
            ("<0>Nov 26 20:48:29 node1 no tag here", is(0, "", "node1 no tag here")),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_holds_no_line_is_refused_by_its_reason() {
        for (bytes, why) in [
            (&b""[..], NoLine::Empty),
            (b" \0\r\n", NoLine::Empty),
            (b"<13>", NoLine::Empty),
            (b"<192>x", NoLine::Priority),
            (b"<999999>x", NoLine::Priority),
            (b"<+1>x", NoLine::Priority),
            (b"<x", NoLine::Priority),
        ] {
            assert_eq!(parse(bytes), Err(why), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn no_line_gives_orders_to_a_terminal_and_no_token_is_kept() {
        let (_, program, text) = read("<3>evil\x1b[2J[1]: \x1b]0;owned\x07 a\nb\u{202e}c");
        assert_eq!(program, "");
        assert_eq!(text, "evil\u{fffd}[2J[1]: \u{fffd}]0;owned\u{fffd} a\u{fffd}b\u{fffd}c");
        let (.., text) = read("<3>agent: token=mstr_abc123 was refused");
        assert_eq!(text, "[a token] was refused");
    }

    #[test]
    fn a_machine_says_some_hundred_lines_at_once_and_twenty_a_second_after_that() {
        let mut allowance = Allowance::new(0);
        assert_eq!((0..1000).filter(|_| allowance.take(0)).count(), 400);
        assert_eq!((0..1000).filter(|_| allowance.take(1_000)).count(), 20);
        assert!(!allowance.is_full(1_000) && allowance.is_full(60_000));
        assert_eq!((0..1000).filter(|_| allowance.take(u64::MAX)).count(), 400);
    }

    #[test]
    fn a_priority_is_one_to_three_digits_and_its_last_three_bits_are_the_severity() {
        for (line, severity) in [("<0>a", 0), ("<7>a", 7), ("<8>a", 0), ("<191>a", 7), ("<012>a", 4)] {
            assert_eq!(read(line), is(severity, "", "a"), "{line}");
        }
        for line in ["<>a", "<0012>a", "<1a>a", "<192>a"] {
            assert_eq!(parse(line.as_bytes()), Err(NoLine::Priority), "{line}");
        }
        let said = [NoLine::Empty, NoLine::Priority].map(|why| (why.label(), why.to_string()));
        let expected = [
            ("empty", "the datagram holds no text"),
            ("priority", "the datagram begins with < and no priority from 0 to 191 follows"),
        ];
        assert_eq!(said, expected.map(|(label, words)| (label, words.to_owned())));
    }

    #[test]
    fn a_date_a_tag_and_structured_data_are_taken_off_only_where_they_are_whole() {
        for (line, program, text) in [
            ("Nov 26 20:48:29 h p: t", "p", "t"),
            ("Nox 26 20:48:29 h p: t", "", "Nox 26 20:48:29 h p: t"),
            ("Nov 26 20.48:29 h p: t", "", "Nov 26 20.48:29 h p: t"),
            ("Nov 26 20:48.29 h p: t", "", "Nov 26 20:48.29 h p: t"),
            ("Nov 26 2x:48:29 h p: t", "", "Nov 26 2x:48:29 h p: t"),
            ("Nov 26 20:48:29xh p: t", "", "Nov 26 20:48:29xh p: t"),
            ("h p: t", "", "h p: t"),
            ("p_-./9[1]: t", "p_-./9", "t"),
            ("p:\tt", "p", "t"),
            ("p[1: t", "", "p[1: t"),
            ("p1]: t", "", "p1]: t"),
            ("p[1 2]: t", "", "p[1 2]: t"),
            ("p[1]x: t", "", "p[1]x: t"),
            ("p:t", "", "p:t"),
            (": t", "", ": t"),
            ("1 - h p 1 - - t", "p", "t"),
            ("1 - h p 1 - [a b=\"c\"][d] t", "p", "t"),
            ("1 - h p 1 - [a b=\"\\\"]\"] t", "p", "t"),
            ("1 - h p 1 - [a b=\\]] t", "p", "] t"),
            ("1 - h p 1 - [a b=\"c] t", "", "1 - h p 1 - [a b=\"c] t"),
            ("1 - h p 1 - \u{feff}t", "p", "t"),
        ] {
            assert_eq!(read(line), is(5, program, text), "{line}");
        }
        let longest = "p".repeat(48);
        assert_eq!(read(&format!("{longest}: t")), is(5, &longest, "t"));
        assert_eq!(read(&format!("p{longest}: t")), is(5, "", &format!("p{longest}: t")));
    }

    #[test]
    fn a_text_has_a_thousand_and_twenty_four_bytes_and_is_cut_between_its_signs() {
        let text = |text: &str| read(text).2;
        assert_eq!(text(&"x".repeat(1_024)).len(), 1_024);
        assert_eq!(text(&"x".repeat(1_025)).len(), 1_024);
        assert_eq!(text(&format!("{}é", "x".repeat(1_022))).len(), 1_024);
        assert_eq!(text(&format!("{}é", "x".repeat(1_023))), "x".repeat(1_023));
        assert_eq!(text(&format!("{} mstr_a", "x".repeat(1_023))), "x".repeat(1_023), "no room for another word");
        assert_eq!(text("a\tb mstr_x c mstr_"), "a b [a token] c [a token]");
        for foul in ["\u{7}", "\u{200b}", "\u{200f}", "\u{2028}", "\u{202e}", "\u{2060}", "\u{206f}", "a\u{feff}"] {
            assert!(text(&format!("a{foul}b")).contains('\u{fffd}'), "{foul:?}");
        }
        assert_eq!(text("\u{200a}a\u{2010}\u{2027}\u{202f}\u{2070}b"), "a\u{2010}\u{2027}\u{202f}\u{2070}b");
    }

    #[test]
    fn an_allowance_grows_by_one_each_fifty_milliseconds_and_is_full_after_twenty_seconds() {
        let mut allowance = Allowance { left: 0, at: 1_000 };
        assert!(!allowance.take(1_000) && !allowance.take(1_049));
        assert!(allowance.take(1_050) && !allowance.take(1_099) && allowance.take(1_100));
        assert!(!allowance.is_full(21_100) && allowance.is_full(21_101));
        assert!(allowance.take(1_250), "three were added, and one of them is taken");
        assert_eq!(allowance, Allowance { left: 2, at: 1_250 });
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_line_is_one_harmless_line(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            if let Ok(line) = parse(&bytes) {
                prop_assert!(line.severity <= 7 && line.text.len() <= LONGEST + 16 && line.program.len() <= LONGEST_PROGRAM + 16);
                prop_assert!(!line.text.is_empty() && !line.text.contains('\n'));
                prop_assert!(line.text.chars().chain(line.program.chars()).all(|c| !is_foul(c)));
            }
        }

        #[test]
        fn what_reads_like_a_line_reads(text in "<[0-9]{1,3}>(1 )?[ -~]{0,80}") {
            let _ = parse(text.as_bytes());
        }
    }
}
