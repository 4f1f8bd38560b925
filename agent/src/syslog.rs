//! Tells the daemon's system log what a person at the console would read, for nobody stands there: how the boot image
//! came to its network, why it cannot go on, and then the kernel's own warnings, where a missing driver shows.
//!
//! UDP to `log_host` of the kernel's command line, as Debian's installer has it; without one nothing is sent. It is
//! evidence for people, unsigned like every system log: the agent's reports do not go this way.

use crate::error::chain;
use std::collections::VecDeque;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::OnceLock;

pub const ERROR: u8 = 3;
pub const NOTICE: u8 = 5;
/// The facility of daemons, times eight.
const DAEMON: u8 = 3 << 3;
/// Warnings of the kernel that are sent when something failed: the newest.
const MOST: usize = 20;
/// Records that are looked through at most.
const RECORDS: usize = 20_000;
const LONGEST: usize = 900;

/// `log_host=10.77.0.1 log_port=514`
fn host(cmdline: &str) -> Option<SocketAddr> {
    let value = |key: &str| cmdline.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let address: IpAddr = value("log_host")?.parse().ok()?;
    let port = value("log_port").map_or(Some(514), |port| port.parse().ok()).filter(|port| *port > 0)?;
    Some(SocketAddr::new(address, port))
}

/// Sends one line; what does not arrive is lost.
pub fn tell(severity: u8, text: &str) {
    static LINE: OnceLock<Option<(UdpSocket, SocketAddr)>> = OnceLock::new();
    let line = LINE.get_or_init(|| {
        let host = host(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())?;
        let any: IpAddr = if host.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        Some((UdpSocket::bind((any, 0)).ok()?, host))
    });
    if let Some((socket, host)) = line {
        let _ = socket.send_to(message(DAEMON | severity.min(7), "muster-agent", text).as_bytes(), *host);
    }
}

/// Sends why something failed, and the kernel's newest warnings.
pub fn tell_failure(text: &str) {
    tell(ERROR, text);
    for (severity, text) in kernel_warnings() {
        tell(severity, &format!("kernel: {text}"));
    }
}

/// As [`tell_failure`], of an error with its causes.
pub fn tell_error(what: &str, error: &dyn std::error::Error) {
    tell_failure(&format!("{what}: {}", chain(error)));
}

/// RFC 5424 without time and host: the receiver knows both better.
fn message(priority: u8, program: &str, text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    format!("<{priority}>1 - - {program} - - - {text}")
}

/// The newest warnings and errors of the kernel's ring, oldest first.
fn kernel_warnings() -> Vec<(u8, String)> {
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut ring) = opened else { return Vec::new() };
    let mut newest = VecDeque::new();
    let mut record = [0u8; 8192];
    for _ in 0..RECORDS {
        match ring.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                if let Some(found) = warning(&text) {
                    newest.push_back(found);
                    if newest.len() > MOST {
                        newest.pop_front();
                    }
                }
            }
            // The ring ran over while it was read: the next read goes on with what is there.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => break,
        }
    }
    newest.into()
}

/// `4,1234,5678,-;text` and lines of details after it. Facility 0 is the kernel's own.
fn warning(record: &str) -> Option<(u8, String)> {
    let (head, rest) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let severity = u8::try_from(priority).ok().filter(|severity| *severity <= 4)?;
    Some((severity, rest.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_receiver_is_named_on_the_command_line_or_nothing_is_sent() {
        let is = |text: &str| host(text).map(|host| host.to_string());
        assert_eq!(is("quiet log_host=10.77.0.1 panic=30"), Some("10.77.0.1:514".into()));
        assert_eq!(is("log_host=10.77.0.1 log_port=5514\n"), Some("10.77.0.1:5514".into()));
        for wrong in [
            "quiet",
            "log_host=",
            "log_host=name",
            "log_hostx=10.0.0.1",
            "log_host=10.0.0.1 log_port=x",
            "log_host=10.0.0.1 log_port=0",
        ] {
            assert_eq!(is(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_kernels_own_warnings_are_sent_on() {
        assert_eq!(warning("4,100,5,-;e1000: no link\n SUBSYSTEM=pci\n"), Some((4, "e1000: no link".into())));
        assert_eq!(warning("0,100,5,-;panic"), Some((0, "panic".into())));
        for other in ["6,1,1,-;info", "12,1,1,-;a program's warning", "x,1;y", "no record", ""] {
            assert_eq!(warning(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(message(27, "muster-agent", "a\nb\x1b"), "<27>1 - - muster-agent - - - a b ");
        assert!(message(27, "x", &"é".repeat(5_000)).len() < 2_000);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = (host(&text), warning(&text), message(1, "x", &text));
        }
    }
}
