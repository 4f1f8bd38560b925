//! What the TFTP server did and why it kept silent, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub struct Counters { $(pub $name: AtomicU64),* }

        impl Counters {
            /// (reason, count), in a fixed order.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

counters!(
    requests,
    finished,
    unconfirmed,
    probed,
    not_found,
    gave_up,
    unproved,
    lost,
    replaced,
    repeats,
    bytes,
    unsound_source,
    not_allowed,
    malformed,
    stray,
    write_refused,
    refused,
    same_request,
    full_address,
    full_server,
    wrong_port,
    socket_failed,
);

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
