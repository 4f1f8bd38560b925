//! A filesystem's UUID from its superblock: ext2/3/4, XFS and btrfs.

use crate::bytes::{array, dashed, le16};

/// How much of a filesystem's beginning [`uuid`] looks at.
pub const LOOK: usize = 0x1_0200;

pub fn uuid(start: &[u8]) -> Option<String> {
    let id = if le16(start, 1024 + 0x38) == Some(0xef53) {
        array(start, 1024 + 0x68)
    } else if start.starts_with(b"XFSB") {
        array(start, 32)
    } else if array(start, 0x1_0040) == Some(*b"_BHRfS_M") {
        array(start, 0x1_0020)
    } else {
        None
    };
    id.filter(|id| *id != [0; 16]).map(dashed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn ext4_as_mke2fs_makes_it() {
        let path = std::env::temp_dir().join(format!("muster-ext4-{}", std::process::id()));
        std::fs::File::create(&path).unwrap().set_len(8 << 20).unwrap();
        let id = "0d5fe7a5-0b8e-4c6e-9d3b-00000000abcd";
        let made = Command::new("/sbin/mke2fs").args(["-q", "-t", "ext4", "-U", id]).arg(&path).status();
        assert!(made.expect("mke2fs (Debian: e2fsprogs)").success());
        assert_eq!(uuid(&std::fs::read(&path).unwrap()).as_deref(), Some(id));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_known_is_none() {
        assert_eq!(uuid(&[0; LOOK]), None);
        assert_eq!(uuid(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = uuid(&bytes);
        }
    }
}
