//! What the boot server tells of transfers and log lines, passed on to the boot timeline and to the daemon's own log.

use muster_bootserver::syslog::Listener;
use muster_bootserver::transfers::{Begun, Ended, How, TransferWatch, Via};
use muster_conductor::{Conductor, timeline};
use muster_netboot::syslog::Line;
use muster_netboot::timeline as told;
use std::net::IpAddr;
use std::sync::Arc;

pub struct Transfers {
    pub me: Arc<Conductor>,
}

fn via(via: Via) -> told::Via {
    match via {
        Via::Tftp => told::Via::Tftp,
        Via::Http => told::Via::Http,
        Via::Https => told::Via::Https,
    }
}

fn how(how: How) -> told::How {
    match how {
        // Many clients never acknowledge the last block.
        How::Whole | How::Unconfirmed => told::How::Whole,
        How::Probed => told::How::Probed,
        How::NotFound => told::How::NotFound,
        How::Refused(code) => told::How::Refused(code),
        How::GaveUp(_) => told::How::GaveUp,
        How::Unproved | How::Lost => told::How::Lost,
        How::Replaced => told::How::Replaced,
        How::Untrusted => told::How::Untrusted,
        How::NoTls => told::How::NoTls,
    }
}

impl Listener for Transfers {
    fn may_log(&self, from: IpAddr) -> bool {
        self.me.may_log(from)
    }

    fn logged(&self, from: IpAddr, line: Line) {
        let Line { severity, program, text } = line;
        self.me.logged(from, told::LogLine { severity, program, text });
    }
}

impl TransferWatch for Transfers {
    fn began(&self, begun: &Begun<'_>) {
        tracing::debug!(via = ?begun.via, peer = %begun.peer, path = begun.path, size = begun.size, "sending");
        self.me.transfer_began(timeline::Began {
            via: via(begun.via),
            peer: begun.peer,
            path: begun.path.to_owned(),
            size: begun.size,
            gone: begun.gone.clone(),
        });
    }

    fn ended(&self, ended: &Ended<'_>) {
        let (word, bytes, took) = (ended.how.label(), ended.bytes, ended.took.as_millis());
        if ended.how.went_well() {
            tracing::info!(via = ?ended.via, peer = %ended.peer, path = ended.path, how = word, bytes, ms = took, "sent");
        } else {
            tracing::warn!(via = ?ended.via, peer = %ended.peer, path = ended.path, how = word, bytes, ms = took, "not sent");
        }
        self.me.transfer_ended(timeline::Ended {
            via: via(ended.via),
            peer: ended.peer,
            path: ended.path.to_owned(),
            bytes,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            repeats: ended.repeats,
            how: how(ended.how),
        });
    }
}
