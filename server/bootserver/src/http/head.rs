//! The head of a request: what is understood, and what is refused before anything else looks at it.

/// Most bytes a head may have.
pub const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 48;
const PATH_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other,
}

/// The bytes asked for, both ends included, as written; see [`Ranged::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranged {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Ranged {
    /// `start..end` within a body of `length` bytes, or `None` when it has no such bytes (416).
    pub fn settle(self, length: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Ranged::From(start) => (start, length),
            Ranged::Between(start, last) => (start, last.saturating_add(1).min(length)),
            Ranged::Last(count) => (length.saturating_sub(count), length),
        };
        (start < end).then_some((start, end))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    /// Starts with a slash; see [`super::Content`] for what it cannot hold.
    pub path: String,
    pub range: Option<Ranged>,
    pub keep_alive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Partial,
    /// `length` bytes belong to this head; what follows is the next request.
    Whole { head: Head, length: usize },
}

/// Why a head is refused (400), or closed without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    TooLong,
    Syntax,
    Path,
    /// A request with a body: nothing here takes one.
    Body,
}

impl BadHead {
    pub fn label(self) -> &'static str {
        match self {
            BadHead::TooLong => "too_long",
            BadHead::Syntax => "syntax",
            BadHead::Path => "path",
            BadHead::Body => "body",
        }
    }
}

/// Reads a request's head from the start of `bytes`.
///
/// # Errors
/// [`BadHead`]: answer 400 and close.
pub fn parse_head(bytes: &[u8]) -> Result<Parsed, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let length = match request.parse(window) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_MAX => return Err(BadHead::TooLong),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLong),
        Err(_) => return Err(BadHead::Syntax),
    };
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    let path = request.path.and_then(key).ok_or(BadHead::Path)?;
    let mut head = Head { method, path, range: None, keep_alive: request.version == Some(1) };
    for header in request.headers.iter() {
        let value = header.value.trim_ascii();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" if value != b"0" => return Err(BadHead::Body),
            "transfer-encoding" => return Err(BadHead::Body),
            "range" => head.range = std::str::from_utf8(value).ok().and_then(range),
            "connection" => {
                let word = value.to_ascii_lowercase();
                let has = |token: &[u8]| word.split(|b| *b == b',').any(|t| t.trim_ascii() == token);
                head.keep_alive = !has(b"close") && (head.keep_alive || has(b"keep-alive"));
            }
            _ => {}
        }
    }
    Ok(Parsed::Whole { head, length })
}

/// The key in a request target; `http://host` before it is taken off, as some proxies and firmwares write it.
fn key(target: &str) -> Option<String> {
    let path = match ["http://", "https://"].iter().find_map(|scheme| target.strip_prefix(scheme)) {
        Some(rest) => rest.get(rest.find('/')?..)?,
        None => target,
    };
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#' | b'\\' | b'"' | b'<' | b'>');
    let parts_are_plain = |rest: &str| rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let rest = path.strip_prefix('/')?;
    (path.len() <= PATH_MAX && path.bytes().all(plain) && parts_are_plain(rest)).then(|| path.to_owned())
}

/// One range in bytes. Several, or another unit, count as none: the whole is then sent (RFC 9110 section 14.2).
fn range(value: &str) -> Option<Ranged> {
    let (unit, spec) = value.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first, last) {
        ("", last) => number(last).map(Ranged::Last),
        (first, "") => number(first).map(Ranged::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Ranged::Between(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        match parse_head(text.as_bytes()) {
            Ok(Parsed::Whole { head, length }) if length == text.len() => head,
            other => panic!("{other:?}"),
        }
    }

    fn path(target: &str) -> Result<String, BadHead> {
        match parse_head(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()) {
            Ok(Parsed::Whole { head, .. }) => Ok(head.path),
            Ok(Parsed::Partial) => panic!("partial"),
            Err(bad) => Err(bad),
        }
    }

    #[test]
    fn b3_4_head_get_range_and_keep_alive_are_read() {
        let read = head("HEAD /boot/a.efi HTTP/1.1\r\nHost: 10.0.0.1\r\nRange: bytes=5-9\r\n\r\n");
        assert_eq!((read.method, read.path.as_str(), read.keep_alive), (Method::Head, "/boot/a.efi", true));
        assert_eq!(read.range, Some(Ranged::Between(5, 9)));
        assert!(!head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".replace("/ ", "/a ").as_str()).keep_alive);
        assert!(!head("GET /a HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert_eq!(head("DELETE /a HTTP/1.1\r\n\r\n").method, Method::Other);
    }

    #[test]
    fn b3_4_ranges_settle_within_the_body_or_not_at_all() {
        assert_eq!(range("bytes=0-0").and_then(|r| r.settle(10)), Some((0, 1)));
        assert_eq!(range("bytes=4-").and_then(|r| r.settle(10)), Some((4, 10)));
        assert_eq!(range("bytes=-3").and_then(|r| r.settle(10)), Some((7, 10)));
        assert_eq!(range("bytes=-30").and_then(|r| r.settle(10)), Some((0, 10)));
        assert_eq!(range("bytes=4-18446744073709551615").and_then(|r| r.settle(10)), Some((4, 10)));
        for out in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(range(out).unwrap().settle(10), None, "{out}");
        }
        for none in ["bytes=5-4", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes", "bytes=-", "bytes=+1-2"] {
            assert_eq!(range(none), None, "{none}");
        }
    }

    #[test]
    fn b3_9_plain_paths_are_keys() {
        for good in ["/b/52-54-00-aa-bb-cc/boot.ipxe", "/boot/a+b~1.efi", "/x:y"] {
            assert_eq!(path(good).as_deref(), Ok(good));
        }
        assert_eq!(path("http://10.0.0.1:8080/boot/x").as_deref(), Ok("/boot/x"));
        assert_eq!(path("https://10.0.0.1:8081/boot/x").as_deref(), Ok("/boot/x"));
    }

    #[test]
    fn b3_9_tricks_in_paths_are_refused() {
        for bad in [
            "/",
            "*",
            "x",
            "/../x",
            "/a/../b",
            "/a/./b",
            "/a//b",
            "//a",
            "/a/",
            "/%2e%2e/x",
            "/a%00",
            "/a?b",
            "/a#b",
            "/a\\b",
            "http://host",
            "/a\u{e9}",
            "/..",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(path(&format!("/{}", "a".repeat(2000))), Err(BadHead::Path));
    }

    #[test]
    fn a_request_with_a_body_or_an_endless_head_is_refused() {
        assert_eq!(parse_head(b"GET /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), Err(BadHead::Body));
        assert_eq!(parse_head(b"GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(BadHead::Body));
        assert!(parse_head(b"GET /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n").is_ok());
        let long = format!("GET /a HTTP/1.1\r\nX: {}", "y".repeat(HEAD_MAX));
        assert_eq!(parse_head(long.as_bytes()), Err(BadHead::TooLong));
        let many = format!("GET /a HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
        assert_eq!(parse_head(many.as_bytes()), Err(BadHead::TooLong));
        assert_eq!(parse_head(b"GET /a HTTP/1.1\r\nHos"), Ok(Parsed::Partial));
        assert_eq!(parse_head(b"\x16\x03\x01\x02\x00"), Err(BadHead::Syntax), "TLS to a plain port");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse_head(&bytes);
        }

        #[test]
        fn a_path_that_is_read_never_climbs(target in "[ -~]{0,40}") {
            if let Ok(Parsed::Whole { head, .. }) = parse_head(format!("GET /{target} HTTP/1.1\r\n\r\n").as_bytes()) {
                prop_assert!(!head.path.contains("..") || head.path.split('/').all(|p| p != ".."));
                prop_assert!(!head.path.contains('%'));
            }
        }

        #[test]
        fn no_range_panics_or_leaves_the_body(value in "bytes=[0-9-]{0,24}", length in any::<u64>()) {
            if let Some((start, end)) = range(&value).and_then(|r| r.settle(length)) {
                prop_assert!(start < end && end <= length);
            }
        }
    }
}
