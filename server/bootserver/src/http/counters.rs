//! What the boot HTTP server did, by reason.

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
    connections,
    requests,
    whole,
    partial,
    heads,
    not_found,
    bad_request,
    bad_method,
    bad_range,
    busy,
    slow_content,
    file_failed,
    broken,
    slow_head,
    slow_handshake,
    bad_handshake,
    untrusted,
    full_address,
    bytes,
);

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
