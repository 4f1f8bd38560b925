//! Operating system images: what a data file says once, and what each build of the image says of itself.

use crate::{Catalog, Evidence};
use muster_names::{Digest, FirmwareMode, ImageId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `pxe-images/os/ID.toml`: what holds for every build of this image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OsImage {
    pub id: ImageId,
    pub title: String,
    pub evidence: Evidence,
    /// The compressed disk image, in the directory of images.
    pub file: String,
    /// Its [`Manifest`] as JSON, beside it.
    pub manifest: String,
    /// How the firmware must come up for this image to boot.
    pub firmware: Vec<FirmwareMode>,
    /// The disk must hold at least this much, in MiB.
    pub min_disk_mib: u64,
    /// The installed kernel's console, `ttyS0,115200`; empty for none.
    #[serde(default)]
    pub console: String,
    /// Accounts that an order may create or give keys to; empty: any.
    #[serde(default)]
    pub users: Vec<String>,
}

/// What one build of an image says of itself; a builder may say more, which is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Digest and length of the file as it is served.
    pub digest: Digest,
    pub bytes: u64,
    /// Digest and length of the disk image inside.
    pub raw_digest: Digest,
    pub raw_bytes: u64,
    /// UUID of the root filesystem.
    pub root_uuid: String,
    pub compression: Compression,
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
        if built.bytes == 0 || built.raw_bytes == 0 {
            return Err(format!(
                "image {id}: its manifest says that the file or the disk image is empty; build it again"
            ));
        }
        if built.compression == Compression::None && (built.bytes, built.digest) != (built.raw_bytes, built.raw_digest)
        {
            return Err(format!("image {id}: not compressed, yet file and disk image differ in length or digest"));
        }
        if built.raw_bytes > os.min_disk_mib.saturating_mul(1024 * 1024) {
            return Err(format!(
                "image {id}: the disk image of {} bytes does not fit min-disk-mib = {}; raise it in the data file",
                built.raw_bytes, os.min_disk_mib
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
