//! Operating system images: what a data file says once, and what each build of the image says of itself.

use crate::{Catalog, Evidence};
use muster_names::{Architecture, Digest, FirmwareMode, ImageId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `pxe-images/os/ID.toml`: what holds for every build of this image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OsImage {
    pub id: ImageId,
    pub title: String,
    pub evidence: Evidence,
    /// The compressed disk image, in the folder of this id among the images.
    pub file: String,
    /// Its [`Manifest`] as JSON, beside it.
    pub manifest: String,
    /// How the firmware must come up for this image to boot.
    pub firmware: Vec<FirmwareMode>,
    /// The machines that can run it.
    #[serde(default)]
    pub architecture: Architecture,
    /// The disk must hold at least this much, in MiB.
    pub min_disk_mib: u64,
    /// The installed kernel's console, `ttyS0,115200`; empty for none.
    #[serde(default)]
    pub console: String,
    /// Accounts that an order may create or give keys to; empty: any.
    #[serde(default)]
    pub users: Vec<String>,
}

/// What one build of an image says of itself: `manifest.json` beside the image, as `pxe-images/os-image/build.sh` writes
/// it. A builder may say more, which is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    pub id: ImageId,
    /// Names this build: `12.11-0123456789abcdef`.
    pub version: String,
    pub file: String,
    /// Digest and length of the file as it is served.
    pub sha256: Digest,
    pub bytes: u64,
    /// Digest and length of the disk image inside.
    pub raw_sha256: Digest,
    pub raw_bytes: u64,
    /// UUID of the root filesystem.
    pub root_uuid: String,
    pub compression: Compression,
    /// How the firmware may come up; empty: as the data file says.
    #[serde(default)]
    pub boot: Vec<FirmwareMode>,
    #[serde(default)]
    pub kernel: Option<String>,
    /// Digest of the resident agent inside.
    #[serde(default)]
    pub agent_sha256: Option<Digest>,
    /// What that agent says to `--version`.
    #[serde(default)]
    pub agent_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    Zstd,
    None,
}

impl Compression {
    pub fn word(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }
}

/// An image that can be ordered: the data file and one build of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    pub os: OsImage,
    pub built: Manifest,
}

impl Image {
    /// Refuses a build that cannot be what the data file describes, with the reason in words.
    pub fn from_manifest(os: &OsImage, built: Manifest) -> Result<Self, String> {
        let id = &os.id;
        if built.id != *id || built.file != os.file {
            return Err(format!(
                "image {id}: its manifest is of {} in {}, not of {id} in {}",
                built.id, built.file, os.file
            ));
        }
        if built.bytes == 0 || built.raw_bytes == 0 {
            return Err(format!(
                "image {id}: its manifest says that the file or the disk image is empty; build it again"
            ));
        }
        if built.compression == Compression::None && (built.bytes, built.sha256) != (built.raw_bytes, built.raw_sha256)
        {
            return Err(format!("image {id}: not compressed, yet file and disk image differ in length or digest"));
        }
        if built.raw_bytes > os.min_disk_mib.saturating_mul(1024 * 1024) {
            return Err(format!(
                "image {id}: the disk image of {} bytes does not fit min-disk-mib = {}; raise it in the data file",
                built.raw_bytes, os.min_disk_mib
            ));
        }
        if let Some(mode) = os.firmware.iter().find(|mode| !built.boot.is_empty() && !built.boot.contains(mode)) {
            return Err(format!(
                "image {id}: the data file promises {mode:?} firmware, this build boots {:?}",
                built.boot
            ));
        }
        if built.root_uuid.trim().is_empty() {
            return Err(format!(
                "image {id}: its manifest names no root-uuid, so no installed system could be checked"
            ));
        }
        Ok(Self { os: os.clone(), built })
    }
}

impl Catalog {
    pub fn image(&self, id: &ImageId) -> Option<&OsImage> {
        self.images.iter().find(|image| image.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os() -> OsImage {
        toml::from_str(
            r#"
            id = "debian-12"
            title = "Debian 12"
            evidence = "synthetic"
            file = "disk.raw.zst"
            manifest = "manifest.json"
            firmware = ["uefi", "bios"]
            min-disk-mib = 2048
            "#,
        )
        .unwrap()
    }

    fn manifest() -> serde_json::Value {
        serde_json::json!({
            "id": "debian-12", "version": "12.11-0123456789abcdef", "file": "disk.raw.zst",
            "sha256": "11".repeat(32), "bytes": 200_000_000, "raw_sha256": "22".repeat(32), "raw_bytes": 1_500_000_000,
            "root_uuid": "5e3b9d4e-0c0b-4a57-9d29-7a0a6d1b8f10", "compression": "zstd", "boot": ["bios", "uefi"],
            "kernel": "6.1.0-32-amd64", "agent_sha256": null, "packages": 211
        })
    }

    fn with(field: &str, value: serde_json::Value) -> Result<Image, String> {
        let mut manifest = manifest();
        manifest[field] = value;
        Image::from_manifest(&os(), serde_json::from_value(manifest).unwrap())
    }

    #[test]
    fn a_build_that_is_what_the_data_file_says_can_be_ordered() {
        let image = Image::from_manifest(&os(), serde_json::from_value(manifest()).unwrap()).unwrap();
        assert_eq!(image.built.compression.word(), "zstd");
    }

    #[test]
    fn a_build_that_is_something_else_is_refused_in_words() {
        for (field, value, word) in [
            ("id", serde_json::json!("debian-13"), "debian-13"),
            ("bytes", serde_json::json!(0), "empty"),
            ("raw_bytes", serde_json::json!(4_000_000_000u64), "min-disk-mib"),
            ("boot", serde_json::json!(["uefi"]), "Bios"),
            ("root_uuid", serde_json::json!(""), "root-uuid"),
            ("compression", serde_json::json!("none"), "not compressed"),
        ] {
            let why = with(field, value).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
