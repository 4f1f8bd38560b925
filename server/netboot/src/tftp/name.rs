//! What a requested name means. Names are keys of a map and never touch a directory, so nothing can be climbed out of;
//! normalising only undoes what boot ROMs are known to do to names.

/// How a site wants names compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Fold to lower case, as Windows deployment servers do; the map's keys must then be lower case too.
    pub lower_case: bool,
}

/// The map key for a name as it came, or `None` when no file can ever bear it (then it is "not found").
/// Leading slashes go, backslashes turn, runs of slashes collapse, trailing 0xFF bytes that some BIOS ROMs append go.
pub fn normalise(raw: &[u8], names: Names) -> Option<String> {
    let junk = raw.iter().rev().take_while(|b| **b == 0xFF).count();
    let text = std::str::from_utf8(raw.get(..raw.len() - junk)?).ok()?;
    if text.chars().any(char::is_control) {
        return None;
    }
    let turned = text.replace('\\', "/");
    let parts: Vec<&str> = turned.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) {
        return None;
    }
    let key = parts.join("/");
    Some(if names.lower_case { key.to_lowercase() } else { key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(raw: &[u8]) -> Option<String> {
        normalise(raw, Names::default())
    }

    #[test]
    fn b5_9_what_roms_do_to_names_is_undone() {
        for raw in [
            b"boot/ipxe.efi".as_slice(),
            b"/boot/ipxe.efi",
            b"\\boot\\ipxe.efi",
            b"//boot//ipxe.efi",
            b"boot/ipxe.efi\xff",
            b"/boot\\ipxe.efi\xff\xff",
        ] {
            assert_eq!(key(raw).as_deref(), Some("boot/ipxe.efi"), "{raw:?}");
        }
        assert_eq!(key(b"grub.cfg-52:54:00:aa:bb:cc").as_deref(), Some("grub.cfg-52:54:00:aa:bb:cc"));
    }

    #[test]
    fn b5_9_case_is_folded_only_where_a_site_asks_for_it() {
        assert_eq!(key(b"Boot/X.EFI").as_deref(), Some("Boot/X.EFI"));
        assert_eq!(normalise(b"Boot/X.EFI", Names { lower_case: true }).as_deref(), Some("boot/x.efi"));
    }

    #[test]
    fn a2_1_names_that_climb_or_hide_are_no_names() {
        for raw in [
            b"".as_slice(),
            b"/",
            b"..",
            b"../etc/passwd",
            b"boot/../../etc/passwd",
            b"boot\\..\\x",
            b"./x",
            b"a\nb",
            b"a\x1b[2Jb",
            b"caf\xe9",
            b"\xff",
        ] {
            assert_eq!(key(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_never_climbs(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = key(&raw) {
                prop_assert!(!first.starts_with('/') && !first.split('/').any(|p| p == ".."));
                prop_assert_eq!(key(first.as_bytes()), Some(first));
            }
        }
    }
}
