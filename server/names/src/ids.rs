//! Ids: 128 random bits, written as 32 hex digits. They are made at the rim and never parsed for meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnId {
    kind: &'static str,
    text: String,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a {}", self.text, self.kind)
    }
}

impl std::error::Error for NotAnId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", $kind, self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let wrong = || NotAnId { kind: $kind, text: text.chars().take(80).collect() };
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| wrong())
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id!(MachineId, "machine id");
id!(
    /// One person's or workflow's wish to have one image on one machine.
    OrderId, "order id"
);
id!(
    /// One fault from first symptom to proven repair.
    CaseId, "case id"
);
id!(TicketId, "ticket id");
id!(
    /// One run of the agent, from its start to the machine's next reset.
    BootId, "boot id"
);

/// An image's name and version, as in the catalog: `debian-12`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Digest {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let wrong = || NotAnId { kind: "SHA-256 digest of 64 hex digits", text: text.chars().take(80).collect() };
        let text_bytes = text.strip_prefix("sha256:").unwrap_or(text);
        if text_bytes.len() != 64 || !text_bytes.is_ascii() {
            return Err(wrong());
        }
        let mut octets = [0u8; 32];
        for (i, octet) in octets.iter_mut().enumerate() {
            let pair = text_bytes.get(2 * i..2 * i + 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Digest {
    type Error = NotAnId;
    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_but_a_whole_id_is_an_id() {
        for text in ["", "*", "all", "0", "zz", "+0000000000000000000000000000001"] {
            assert!(text.parse::<MachineId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_and_digests_read_back_as_written(id: u128, octets: [u8; 32]) {
            prop_assert_eq!(MachineId(id).to_string().parse::<MachineId>(), Ok(MachineId(id)));
            prop_assert_eq!(Digest(octets).to_string().parse::<Digest>(), Ok(Digest(octets)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Digest>();
            let _ = text.parse::<OrderId>();
        }
    }
}
