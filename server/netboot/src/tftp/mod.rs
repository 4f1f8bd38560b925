//! TFTP (RFC 1350, 2347, 2348, 2349, 7440) without sockets: bytes and the time go in, packets and the next wake-up come
//! out.
//!
//! The rules that keep a boot server from being a weapon or a stall live here, where they can be tried against a lossy
//! link in microseconds: what is answered at all, how much leaves before the peer has proved its address, which block
//! follows which acknowledgement, and when to give up. `bootserver` owns the sockets and the bytes of the files;
//! a transfer knows only their length and says which range comes next.
//!
//! Turned down: a windowed sender that answers every duplicate acknowledgement (it doubles all that follows, the
//! "Sorcerer's Apprentice"), and a fixed timer (one lost block then costs a second or five).

mod door;
mod name;
mod packet;
mod terms;
mod transfer;

pub use door::{Caps, Door, Full, is_sound_source};
pub use name::{Names, normalise};
pub use packet::{Asked, Fault, Malformed, Packet, Request, error, parse};
pub use terms::{Limits, Rollover, Terms, WINDOW_BYTES, WINDOW_CAP, negotiate, option_ack};
pub use transfer::{Again, Ending, OPENING_PACKETS, Part, Transfer};

#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod transfer_tests;
