//! An Ethernet hardware address. Written as lower-case pairs with colons; read in every form vendors print.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Group addresses (broadcast and multicast) and all-zero name no machine.
    pub fn is_unicast(&self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }

    /// `52-54-00-aa-bb-cc`, as boot loaders ask for it in file names.
    pub fn dashed(&self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMac(String);

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a MAC address; write it like 52:54:00:aa:bb:cc", self.0)
    }
}

impl std::error::Error for NotAMac {}

impl FromStr for Mac {
    type Err = NotAMac;

    /// Twelve hex digits, with `:`, `-` or `.` between them or nothing.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let wrong = || NotAMac(text.chars().take(40).collect());
        let mut nibbles = [0u8; 12];
        let mut count = 0;
        for c in text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.')) {
            let digit = c.to_digit(16).ok_or_else(wrong)?;
            *nibbles.get_mut(count).ok_or_else(wrong)? = u8::try_from(digit).map_err(|_| wrong())?;
            count += 1;
        }
        if count != 12 {
            return Err(wrong());
        }
        let mut octets = [0u8; 6];
        for (octet, pair) in octets.iter_mut().zip(nibbles.chunks_exact(2)) {
            if let [high, low] = pair {
                *octet = high << 4 | low;
            }
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;
    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_vendors_spelling_is_the_same_address() {
        let mac = Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
        for text in ["52:54:00:aa:bb:cc", "52-54-00-AA-BB-CC", "5254.00aa.bbcc", "525400AABBCC", " 52:54:00:aa:bb:cc "]
        {
            assert_eq!(text.parse::<Mac>(), Ok(mac), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in ["", "52:54:00:aa:bb", "52:54:00:aa:bb:cc:dd", "52:54:00:aa:bb:cg", "*", "all"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_reads_back_as_written(octets: [u8; 6]) {
            let mac = Mac(octets);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
            prop_assert_eq!(mac.dashed().parse::<Mac>(), Ok(mac));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Mac>();
        }
    }
}
