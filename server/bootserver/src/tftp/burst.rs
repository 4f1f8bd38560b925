//! The packets of a window that one call to the kernel sends: it cuts them apart itself, as late as it can (UDP_SEGMENT).
//!
//! Of a window of four the kernel's way down then costs once what it cost four times.

use muster_netboot::tftp::{self, Part, Transfer};
use std::time::Duration;

/// The kernel's own limit is 64 or 128, and 64 KiB with the headers.
const PACKETS_MOST: usize = 64;
const BYTES_MOST: usize = 65_000;

/// Packets in a row, all of one length but for a shorter one at the end.
pub struct Burst {
    bytes: Vec<u8>,
    each: usize,
    most: usize,
}

impl Burst {
    /// `many`: whether more than one packet may go at once.
    pub fn new(many: bool) -> Burst {
        Burst { bytes: Vec::new(), each: 0, most: if many { PACKETS_MOST } else { 1 } }
    }

    /// From now on packets go one by one.
    pub fn one_by_one(&mut self) {
        self.most = 1;
    }

    /// Takes what `transfer` has to send next; empty if that is nothing.
    pub fn fill(&mut self, transfer: &mut Transfer, content: &[u8], now: Duration) {
        self.bytes.clear();
        self.each = 0;
        while self.has_room() {
            match transfer.poll(now) {
                None => break,
                Some(Part::Terms) => {
                    self.bytes.extend_from_slice(&tftp::option_ack(transfer.terms()));
                    self.each = self.bytes.len();
                    // What follows waits for its answer.
                    break;
                }
                Some(Part::Data { number, from, to }) => {
                    self.bytes.extend_from_slice(&[0, 3]);
                    self.bytes.extend_from_slice(&number.to_be_bytes());
                    let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
                    self.bytes.extend_from_slice(content.get(range).unwrap_or_default());
                    if self.each == 0 {
                        self.each = self.bytes.len();
                    }
                }
            }
        }
    }

    /// For one more packet of the full length. None follows a shorter one.
    fn has_room(&self) -> bool {
        self.each == 0
            || (self.bytes.len() < self.each.saturating_mul(self.most)
                && self.bytes.len().is_multiple_of(self.each)
                && self.bytes.len() + self.each <= BYTES_MOST)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All of it, to be cut into packets.
    pub fn whole(&self) -> &[u8] {
        &self.bytes
    }

    pub fn packets(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks(self.each.max(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
mod tests {
    use super::*;
    use muster_netboot::tftp::{Asked, Limits, negotiate};

    const NOW: Duration = Duration::ZERO;

    /// A transfer in windows of four whose client has agreed.
    fn agreed(size: usize, blksize: u32) -> Transfer {
        let asked = Asked { blksize: Some(blksize), windowsize: Some(4), ..Asked::default() };
        let mut transfer = Transfer::new(negotiate(&asked, size as u64, Limits::default()).unwrap(), size as u64, NOW);
        let mut burst = Burst::new(true);
        burst.fill(&mut transfer, &[], NOW);
        assert_eq!(burst.whole(), b"\0\x06blksize\x00100\0windowsize\x004\0");
        transfer.heard_ack(0, NOW);
        transfer
    }

    /// Lengths and numbers of the packets of the next burst.
    fn next(transfer: &mut Transfer, burst: &mut Burst, content: &[u8]) -> Vec<(usize, u8)> {
        burst.fill(transfer, content, NOW);
        burst.packets().map(|packet| (packet.len(), packet[3])).collect()
    }

    #[test]
    fn a_window_is_one_burst_and_the_last_block_of_the_file_its_end() {
        let content = [7; 550];
        let (mut transfer, mut burst) = (agreed(550, 100), Burst::new(true));
        assert_eq!(next(&mut transfer, &mut burst, &content), [(104, 1), (104, 2), (104, 3), (104, 4)]);
        assert_eq!(next(&mut transfer, &mut burst, &content), []);
        transfer.heard_ack(4, NOW);
        assert_eq!(next(&mut transfer, &mut burst, &content), [(104, 5), (54, 6)]);
    }

    #[test]
    fn one_by_one_they_are_the_same_packets() {
        let content = [7; 250];
        let (mut transfer, mut burst) = (agreed(250, 100), Burst::new(true));
        burst.one_by_one();
        for expected in [(104, 1), (104, 2), (54, 3)] {
            assert_eq!(next(&mut transfer, &mut burst, &content), [expected]);
        }
        assert_eq!(next(&mut transfer, &mut burst, &content), []);
    }

    #[test]
    fn the_empty_block_at_the_end_of_a_file_of_whole_blocks_is_sent() {
        let content = [7; 200];
        let (mut transfer, mut burst) = (agreed(200, 100), Burst::new(true));
        assert_eq!(next(&mut transfer, &mut burst, &content), [(104, 1), (104, 2), (4, 3)]);
    }
}
