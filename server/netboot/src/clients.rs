//! What a boot client is given first, and the kinds of client that need more than their architecture says.
//!
//! Most firmware is told apart by option 93 alone. Some is not: a board whose ROM says "x86 BIOS", a loader that names
//! itself in option 60 or 77. Those are data ([`Kind`]), so that one more of them is a file and no branch here.

use crate::request::Request;
use std::collections::BTreeMap;

/// How a boot file is brought to firmware beside another server's address (B2.8, B2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyStyle {
    /// The file stands in the offer on port 67: no menu, no second question.
    #[default]
    Pxe10,
    /// The offer names the server alone; firmware asks it again on port 4011 and gets the file there.
    Binl4011,
}

/// The first file of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFile {
    pub file: String,
    pub proxy: ProxyStyle,
}

impl FirstFile {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), proxy: ProxyStyle::default() }
    }
}

/// One kind of client, known by more than its architecture. What is given has to fit; what is empty fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// What a person reads: `ONIE`.
    pub name: String,
    /// Option 60 begins with it.
    pub class: Option<String>,
    /// Option 77 is it, or lists it.
    pub user_class: Option<String>,
    /// The first three octets of its hardware address.
    pub ouis: Vec<[u8; 3]>,
    /// One of option 93.
    pub archs: Vec<u16>,
    /// None: it is recognised, gets an address and boots nothing of ours.
    pub file: Option<FirstFile>,
    /// Sub-options of option 43 that it wants to see, as they go out.
    pub vendor_options: Vec<u8>,
    /// In place of the network's own times (B1.27).
    pub lease_seconds: Option<u32>,
}

impl Kind {
    fn is(&self, request: &Request) -> bool {
        let class = request.vendor_class.as_deref().unwrap_or_default();
        let oui = request.mac().map(|mac| {
            let [a, b, c, ..] = mac.0;
            [a, b, c]
        });
        self.class.as_ref().is_none_or(|prefix| class.starts_with(prefix.as_bytes()))
            && self.user_class.as_ref().is_none_or(|word| request.has_user_class(word.as_bytes()))
            && (self.ouis.is_empty() || oui.is_some_and(|oui| self.ouis.contains(&oui)))
            && (self.archs.is_empty() || request.archs.iter().any(|arch| self.archs.contains(arch)))
    }
}

/// First files by client architecture (option 93) and by kind. Data decides; this only looks up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaders {
    pub by_arch: BTreeMap<u16, FirstFile>,
    /// The first that fits counts.
    pub kinds: Vec<Kind>,
}

impl Loaders {
    /// The kind that data knows this client by.
    pub fn kind_of(&self, request: &Request) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.is(request))
    }

    /// The first architecture of the list that has a loader (B2.15: the list is in the client's order of preference).
    pub(crate) fn first(&self, archs: &[u16]) -> Option<&FirstFile> {
        archs.iter().find_map(|arch| self.of(*arch))
    }

    /// RFC 4578's erratum: much firmware says 9 and means x64, as 7 does.
    fn of(&self, arch: u16) -> Option<&FirstFile> {
        let same = match arch {
            7 => Some(9),
            9 => Some(7),
            _ => None,
        };
        self.by_arch.get(&arch).or_else(|| self.by_arch.get(&same?))
    }

    /// The first file of this client: its kind goes before its architecture.
    pub(crate) fn file_for(&self, request: &Request) -> Option<&FirstFile> {
        match self.kind_of(request) {
            Some(kind) => kind.file.as_ref(),
            None => self.first(&request.archs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;
    use muster_names::Mac;

    fn from(mac: Mac, class: &str, arch: u16) -> Request {
        Request {
            vendor_class: Some(class.as_bytes().to_vec()),
            archs: vec![arch],
            ..Request::of(mac, request::Kind::Discover)
        }
    }

    fn loaders() -> Loaders {
        let board = Kind {
            name: "a board".to_owned(),
            class: Some("PXEClient".to_owned()),
            ouis: vec![[2, 0, 9]],
            archs: vec![0],
            ..Kind::default()
        };
        let switch =
            Kind { name: "a switch".to_owned(), user_class: Some("switch_class".to_owned()), ..Kind::default() };
        let by_arch = [(0, FirstFile::new("bios.0")), (7, FirstFile::new("x64.efi")), (11, FirstFile::new("arm.efi"))];
        Loaders { by_arch: by_arch.into(), kinds: vec![board, switch] }
    }

    #[test]
    fn b2_15_seven_and_nine_are_the_same_and_the_first_served_of_a_list_wins() {
        let loaders = loaders();
        let first = |archs: &[u16]| loaders.first(archs).map(|found| found.file.as_str());
        assert_eq!(first(&[9]), Some("x64.efi"));
        assert_eq!(first(&[6, 11, 7]), Some("arm.efi"));
        assert_eq!(first(&[6, 41]), None);
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn b2_14_a_board_that_calls_itself_x86_is_known_by_its_maker_and_not_given_an_x86_loader() {
        let loaders = loaders();
        let (board, other) = (Mac([2, 0, 9, 1, 1, 1]), Mac([2, 0, 8, 1, 1, 1]));
        assert_eq!(loaders.file_for(&from(other, "PXEClient:Arch:00000", 0)).unwrap().file, "bios.0");
        assert_eq!(loaders.file_for(&from(board, "PXEClient:Arch:00000", 0)), None);
        assert!(loaders.kind_of(&from(board, "other", 0)).is_none(), "everything that is given has to fit");
        assert!(loaders.kind_of(&from(board, "PXEClient", 7)).is_none());
    }

    #[test]
    fn b2_17_a_client_is_known_by_its_user_class_in_both_forms() {
        let loaders = loaders();
        for raw in [&b"switch_class"[..], b"\x0cswitch_class"] {
            let request = Request { user_class: Some(raw.to_vec()), ..from(Mac([2, 0, 8, 1, 1, 1]), "", 0) };
            assert_eq!(loaders.kind_of(&request).map(|kind| kind.name.as_str()), Some("a switch"));
        }
        assert_eq!(loaders.kind_of(&from(Mac([2, 0, 8, 1, 1, 1]), "", 0)), None);
    }
}
