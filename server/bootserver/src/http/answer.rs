//! Status, headers and range of an answer: pure, so that every length is exact and every case can be tried.

use super::head::{Head, Method};

/// What goes out: the head's bytes, then `from..to` of the body unless only the head was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: Vec<u8>,
    pub from: u64,
    pub to: u64,
    pub keep_alive: bool,
}

/// The answer for a body of `length` bytes.
pub fn found(head: &Head, length: u64, content_type: &str) -> Answer {
    let settled = head.range.map(|range| range.settle(length));
    let (status, from, to, content_range) = match settled {
        None => (200, 0, length, String::new()),
        Some(Some((from, to))) => {
            (206, from, to, format!("Content-Range: bytes {from}-{}/{length}\r\n", to.saturating_sub(1)))
        }
        Some(None) => {
            let extra = format!("Content-Range: bytes */{length}\r\n");
            return fixed(416, head.keep_alive, head.method == Method::Head, &extra);
        }
    };
    let text = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\n{content_range}{}\r\n",
        reason(status),
        to - from,
        connection(head.keep_alive),
    );
    let to = if head.method == Method::Head { from } else { to };
    Answer { status, head: text.into_bytes(), from, to, keep_alive: head.keep_alive }
}

/// An answer without a file; its body is the reason's few words and stands in `head` already.
pub fn fixed(status: u16, keep_alive: bool, only_head: bool, extra: &str) -> Answer {
    let body = format!("{}\n", reason(status).to_lowercase());
    let text = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{extra}{}\r\n{}",
        reason(status),
        body.len(),
        connection(keep_alive),
        if only_head { "" } else { body.as_str() },
    );
    Answer { status, head: text.into_bytes(), from: 0, to: 0, keep_alive }
}

fn connection(keep_alive: bool) -> &'static str {
    if keep_alive { "Connection: keep-alive\r\n" } else { "Connection: close\r\n" }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        416 => "Range Not Satisfiable",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::Ranged;
    use super::*;

    fn ask(method: Method, range: Option<Ranged>) -> Head {
        Head { method, path: "/a".into(), range, keep_alive: true }
    }

    fn text(answer: &Answer) -> String {
        String::from_utf8(answer.head.clone()).unwrap()
    }

    #[test]
    fn b3_4_head_has_the_exact_length_of_get_and_no_body() {
        let get = found(&ask(Method::Get, None), 1000, "application/efi");
        let head = found(&ask(Method::Head, None), 1000, "application/efi");
        assert_eq!(get.head, head.head);
        assert!(text(&get).contains("\r\nContent-Length: 1000\r\n"));
        assert_eq!(((get.from, get.to), (head.from, head.to)), ((0, 1000), (0, 0)));
    }

    #[test]
    fn b3_4_a_range_is_206_with_its_place_and_416_without() {
        let part = found(&ask(Method::Get, Some(Ranged::From(990))), 1000, "x/y");
        assert_eq!((part.status, part.from, part.to), (206, 990, 1000));
        assert!(text(&part).contains("Content-Range: bytes 990-999/1000\r\n"));
        assert!(text(&part).contains("Content-Length: 10\r\n"));
        let none = found(&ask(Method::Get, Some(Ranged::From(1000))), 1000, "x/y");
        assert_eq!((none.status, none.to), (416, 0));
        assert!(text(&none).contains("Content-Range: bytes */1000\r\n"));
    }

    #[test]
    fn an_error_has_a_constant_body_and_its_exact_length() {
        let answer = text(&fixed(404, true, false, ""));
        assert!(answer.ends_with("\r\n\r\nnot found\n") && answer.contains("Content-Length: 10\r\n"), "{answer}");
        let only_head = text(&fixed(404, true, true, ""));
        assert!(only_head.ends_with("\r\n\r\n") && only_head.contains("Content-Length: 10\r\n"));
    }

    #[test]
    fn b3_7_no_status_redirects() {
        assert!((300..400).all(|status| reason(status) == "Internal Server Error"));
    }
}
