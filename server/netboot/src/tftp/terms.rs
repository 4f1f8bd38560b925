//! What client and server agree on before the first block (RFC 2347..2349, 7440).

use super::packet::{Asked, Fault};

/// Most blocks in flight, as other boot servers cap it (A2.6).
pub const WINDOW_CAP: u16 = 32;
/// Most bytes in flight: a client's default receive buffer holds about this much, and a window that overflows it is
/// lost as a whole.
pub const WINDOW_BYTES: usize = 64 * 1024;
const BLKSIZE_MIN: u32 = 8;
const BLKSIZE_MAX: u32 = 65_464;
const BLKSIZE_DEFAULT: usize = 512;

/// What follows block 65535. RFC 1350 does not say; nearly all clients expect 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollover {
    #[default]
    ToZero,
    ToOne,
}

/// What the way to this client allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Path MTU in bytes.
    pub mtu: u32,
    pub ipv6: bool,
    /// Most blocks in flight; never above [`WINDOW_CAP`].
    pub window: u16,
    pub rollover: Rollover,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { mtu: 1500, ipv6: false, window: WINDOW_CAP, rollover: Rollover::ToZero }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bytes in a full block.
    pub block: usize,
    /// Blocks in flight.
    pub window: u16,
    /// The client's own retransmit interval, seconds.
    pub timeout: Option<u8>,
    pub rollover: Rollover,
    /// The OACK's content: only what was asked, else edk2 drops it. Empty means DATA 1 goes out at once.
    pub agreed: Asked,
}

/// Settles a request for a file of `size` bytes.
///
/// # Errors
/// [`Fault::BlockSize`] for a block size below 8 (RFC 2348).
pub fn negotiate(asked: &Asked, size: u64, limits: Limits) -> Result<Terms, Fault> {
    if asked.blksize.is_some_and(|b| b < BLKSIZE_MIN) {
        return Err(Fault::BlockSize);
    }
    // IP, UDP and TFTP headers (B5.2): many ROMs cannot join fragments.
    let fits = limits.mtu.saturating_sub(if limits.ipv6 { 52 } else { 32 }).clamp(BLKSIZE_MIN, BLKSIZE_MAX);
    let blksize = asked.blksize.map(|b| b.min(fits));
    let block = blksize.and_then(|b| usize::try_from(b).ok()).unwrap_or(BLKSIZE_DEFAULT);
    let in_bytes = u16::try_from(WINDOW_BYTES.checked_div(block).unwrap_or(1)).unwrap_or(u16::MAX).max(1);
    let windowsize = asked.windowsize.map(|w| w.min(limits.window).min(WINDOW_CAP).min(in_bytes).max(1));
    Ok(Terms {
        block,
        window: windowsize.unwrap_or(1),
        timeout: asked.timeout,
        rollover: limits.rollover,
        agreed: Asked { blksize, tsize: asked.tsize.map(|_| size), timeout: asked.timeout, windowsize },
    })
}

/// The OACK packet for these terms.
pub fn option_ack(terms: &Terms) -> Vec<u8> {
    let mut out = vec![0, 6];
    let mut put = |key: &str, value: Option<u64>| {
        if let Some(value) = value {
            out.extend_from_slice(key.as_bytes());
            out.push(0);
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(0);
        }
    };
    put("tsize", terms.agreed.tsize);
    put("blksize", terms.agreed.blksize.map(u64::from));
    put("timeout", terms.agreed.timeout.map(u64::from));
    put("windowsize", terms.agreed.windowsize.map(u64::from));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(blksize: Option<u32>, windowsize: Option<u16>) -> Asked {
        Asked { blksize, windowsize, ..Asked::default() }
    }

    fn agreed(asked: Asked, limits: Limits) -> Terms {
        negotiate(&asked, 1000, limits).unwrap()
    }

    #[test]
    fn b5_1_the_oack_names_only_what_was_asked() {
        let terms = agreed(Asked { tsize: Some(0), ..asked(Some(1432), None) }, Limits::default());
        assert_eq!(option_ack(&terms), b"\0\x06tsize\x001000\0blksize\x001432\0");
        let all = Asked { tsize: Some(0), timeout: Some(3), ..asked(Some(1432), Some(4)) };
        let terms = agreed(all, Limits::default());
        assert_eq!(option_ack(&terms), b"\0\x06tsize\x001000\0blksize\x001432\0timeout\x003\0windowsize\x004\0");
    }

    #[test]
    fn b5_1_nothing_asked_is_nothing_agreed() {
        let terms = agreed(Asked::default(), Limits::default());
        assert!(terms.agreed.nothing());
        assert_eq!((terms.block, terms.window), (512, 1));
    }

    #[test]
    fn b5_2_block_sizes_are_clamped_to_the_way() {
        let block = |want, mtu, ipv6| agreed(asked(Some(want), None), Limits { mtu, ipv6, ..Limits::default() }).block;
        assert_eq!(block(1468, 1500, false), 1468);
        assert_eq!(block(65_464, 1500, false), 1468);
        assert_eq!(block(65_464, 1500, true), 1448);
        assert_eq!(block(65_464, 9000, false), 8968);
        assert_eq!(block(65_464, 65_536, false), 65_464);
        assert_eq!(block(4_000_000_000, 65_536, false), 65_464);
        assert_eq!(block(8, 1500, false), 8);
    }

    #[test]
    fn b5_2_a_block_below_eight_bytes_is_refused() {
        for small in 0..8 {
            assert_eq!(negotiate(&asked(Some(small), None), 1, Limits::default()), Err(Fault::BlockSize));
        }
    }

    #[test]
    fn b5_3_tsize_is_the_real_size() {
        let terms = negotiate(&Asked { tsize: Some(0), ..Asked::default() }, 5_000_000_000, Limits::default());
        assert_eq!(terms.unwrap().agreed.tsize, Some(5_000_000_000));
    }

    #[test]
    fn b5_4_windows_are_capped_in_blocks_and_in_bytes() {
        let window = |blksize, want| {
            agreed(asked(Some(blksize), Some(want)), Limits { mtu: 65_536, ..Limits::default() }).window
        };
        assert_eq!(window(1468, 4), 4);
        assert_eq!(window(1468, 65_535), WINDOW_CAP);
        assert_eq!(window(8192, 64), 8);
        assert_eq!(window(65_464, 64), 1);
        for blksize in [8, 512, 1468, 8192, 65_464] {
            assert!(usize::from(window(blksize, 65_535)) * usize::try_from(blksize).unwrap() <= WINDOW_BYTES);
        }
    }
}
