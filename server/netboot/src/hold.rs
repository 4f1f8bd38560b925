//! How an address is held, and for how long where no lease says it: the same over IPv4 and IPv6.

/// Longer than any firmware waits between an offer and its request.
pub(crate) const OFFER_MS: i64 = 120 * 1000;
/// Quarantine of a declined address (B1.13).
pub(crate) const DECLINE_MS: i64 = 60 * 60 * 1000;
/// How long an address that another daemon holds is left alone.
pub(crate) const FOREIGN_MS: i64 = 10 * 60 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// A hint in memory.
    Offered,
    /// Granted; durable as far as the slot says.
    Bound,
    /// Given back.
    Free,
    Declined,
    /// Another daemon's, as the store told.
    Foreign,
    /// Used by a host without a lease: nobody's but that host's. Over IPv4 alone, where addresses are probed.
    Occupied,
}
