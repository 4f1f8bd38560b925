//! The agent's program, served over boot HTTP for images that do not carry it: their seed fetches it at the first boot.
//!
//! The digest is that of the bytes which are served, not that of the boot image's manifest: a boot image that is built
//! anew beside a running daemon changes neither until the data files are read again.

use crate::config::Config;
use muster_bootserver::http::{Body, Entry, Files};
use muster_conductor::{AgentProgram, sha256};

/// In the folder of the boot image, and below `/boot/`.
const FILE: &str = "muster-agent";

/// How the program is served. A boot image of an older recipe has none, which is told.
pub fn entry(config: &Config) -> Result<Entry, String> {
    let file = config.boot_image.join(FILE);
    if file.is_file() {
        Ok(Entry { name: format!("boot/{FILE}"), file })
    } else {
        Err(format!(
            "{} is not there, so images without an agent cannot be installed; build the boot image again (pxe-images/boot-image)",
            file.display()
        ))
    }
}

/// What a seed is told of it.
pub fn program(files: &Files) -> Option<AgentProgram> {
    let path = format!("/boot/{FILE}");
    let digest = match files.get(&path)? {
        Body::Memory { bytes, .. } => sha256(&bytes),
        Body::File { path, .. } => sha256(&std::fs::read(path).ok()?),
    };
    Some(AgentProgram { path, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_is_served() {
        let file = std::env::temp_dir().join(format!("muster-program-{}", std::process::id()));
        std::fs::write(&file, b"program").unwrap();
        let files = Files::load(&[Entry { name: format!("boot/{FILE}"), file: file.clone() }]).unwrap();
        std::fs::write(&file, b"built anew").unwrap();
        let told = AgentProgram { path: "/boot/muster-agent".into(), digest: sha256(b"program") };
        assert_eq!(program(&files), Some(told));
        std::fs::remove_file(file).unwrap();
        assert_eq!(program(&Files::load(&[]).unwrap()), None);
    }
}
