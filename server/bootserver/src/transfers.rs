//! What became of every file asked for, over TFTP and HTTP alike: told to whoever watches, so that "why does it not
//! boot" can be answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Tftp,
    Http,
    /// HTTP under TLS.
    Https,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All of what was asked for, acknowledged as far as the protocol does.
    Whole,
    /// All sent, the end never acknowledged: usual for many TFTP clients.
    Unconfirmed,
    /// Only the size was wanted (TFTP: ERROR after OACK; HTTP: HEAD).
    Probed,
    NotFound,
    /// Refused with this TFTP error code or HTTP status.
    Refused(u16),
    /// The client gave up; TFTP's error code, 0 over HTTP.
    GaveUp(u16),
    /// Nothing was heard after the request (TFTP).
    Unproved,
    /// The client fell silent.
    Lost,
    /// The client asked for something else instead (TFTP).
    Replaced,
    /// The client said that it does not take our certificate; nothing was asked for.
    Untrusted,
    /// No TLS came of it: another protocol, nothing in common, or the client left; nothing was asked for.
    NoTls,
}

impl How {
    pub fn label(self) -> &'static str {
        match self {
            How::Whole => "whole",
            How::Unconfirmed => "unconfirmed",
            How::Probed => "probed",
            How::NotFound => "not_found",
            How::Refused(_) => "refused",
            How::GaveUp(_) => "gave_up",
            How::Unproved => "unproved",
            How::Lost => "lost",
            How::Replaced => "replaced",
            How::Untrusted => "untrusted",
            How::NoTls => "no_tls",
        }
    }

    /// The client has what it asked for.
    pub fn went_well(self) -> bool {
        matches!(self, How::Whole | How::Unconfirmed | How::Probed)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    pub via: Via,
    pub peer: SocketAddr,
    /// The map key that was found.
    pub path: &'a str,
    pub size: u64,
    /// Bytes that have gone so far, for whoever wants to see the transfer move.
    pub gone: &'a Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub via: Via,
    pub peer: SocketAddr,
    /// The name asked for; safe to print. Empty where no TLS came of it.
    pub path: &'a str,
    /// Bytes of the file that the client has.
    pub bytes: u64,
    pub took: Duration,
    /// Packets sent more than once (TFTP).
    pub repeats: u64,
    pub how: How,
}

/// Called between packets: must not block. Each `began` is followed by one `ended`; what is refused or not found only
/// ends.
pub trait TransferWatch: Send + Sync {
    fn began(&self, begun: &Begun<'_>);
    fn ended(&self, ended: &Ended<'_>);
}

/// Nobody watches.
impl TransferWatch for () {
    fn began(&self, _: &Begun<'_>) {}
    fn ended(&self, _: &Ended<'_>) {}
}
