//! The line to the daemon: HTTP by hand, the key that signs, the desk where reports wait, the loop that takes turns.

pub mod desk;
pub mod http;
pub mod key;
pub mod turns;
