//! A fixed list of files under fixed names, for TFTP and HTTP alike: what is small lies in memory, what is large stays
//! on disk. The list is given, never found by walking a directory; a reload swaps it whole or not at all.

use super::body::{Body, Content, content_type};
use crate::ErrorKind;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Up to here a file is kept in memory, and TFTP gives it too; kernels and initrds are, disk images are not. A kernel for
/// arm64 is not compressed.
pub const IN_MEMORY_MAX: u64 = 64 << 20;

/// One file under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As clients ask, like `boot/ipxe.efi`; a slash before it changes nothing.
    pub name: String,
    pub file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{file} cannot be read")]
    Read { file: PathBuf, source: io::Error },
    #[error("{file} is not a regular file")]
    NotAFile { file: PathBuf },
    #[error("the name {name:?} is given twice")]
    Twice { name: String },
    #[error(
        "no client can ask for the name {name:?}: use letters, digits and punctuation other than % ? # \\, without `..`"
    )]
    Name { name: String },
}

impl FilesError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::NotAFile { .. } => "not_a_file",
            Self::Twice { .. } => "twice",
            Self::Name { .. } => "name",
        }
    }
}

/// The files now in force.
#[derive(Debug, Default)]
pub struct Files {
    now: ArcSwap<BTreeMap<String, Body>>,
}

impl Files {
    /// Reads all files. Blocks on the disk.
    ///
    /// # Errors
    /// The first entry that cannot be served.
    pub fn load(entries: &[Entry]) -> Result<Files, FilesError> {
        Ok(Files { now: ArcSwap::from_pointee(read_all(entries)?) })
    }

    /// Puts another list in force; on an error the old one stays. Transfers under way end with what they began.
    ///
    /// # Errors
    /// As [`Files::load`].
    pub fn reload(&self, entries: &[Entry]) -> Result<(), FilesError> {
        self.now.store(std::sync::Arc::new(read_all(entries)?));
        Ok(())
    }

    /// By name, with or without the slash before it.
    pub fn get(&self, name: &str) -> Option<Body> {
        self.now.load().get(name.strip_prefix('/').unwrap_or(name)).cloned()
    }
}

fn read_all(entries: &[Entry]) -> Result<BTreeMap<String, Body>, FilesError> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let name = entry.name.strip_prefix('/').unwrap_or(&entry.name).to_owned();
        let askable = format!("GET /{name} HTTP/1.1\r\n\r\n");
        if super::parse_head(askable.as_bytes()).is_err() {
            return Err(FilesError::Name { name });
        }
        let file = entry.file.clone();
        let body = read(&file, &name).map_err(|source| FilesError::Read { file: file.clone(), source })?;
        let body = body.ok_or(FilesError::NotAFile { file })?;
        if map.insert(name.clone(), body).is_some() {
            return Err(FilesError::Twice { name });
        }
    }
    Ok(map)
}

fn read(file: &PathBuf, name: &str) -> io::Result<Option<Body>> {
    let meta = std::fs::metadata(file)?;
    if !meta.is_file() {
        return Ok(None);
    }
    let content_type = content_type(name);
    Ok(Some(if meta.len() <= IN_MEMORY_MAX {
        Body::Memory { bytes: Bytes::from(std::fs::read(file)?), content_type }
    } else {
        Body::File { path: std::fs::canonicalize(file)?, length: meta.len(), content_type }
    }))
}

impl Content for Files {
    fn open<'a>(&'a self, path: &'a str, _: SocketAddr) -> BoxFuture<'a, Option<Body>> {
        Box::pin(std::future::ready(self.get(path)))
    }
}

impl crate::tftp::Source for Files {
    /// Large files are not for TFTP: they are "not found" there.
    fn find(&self, name: &str, _: SocketAddr) -> Option<Bytes> {
        match self.get(name)? {
            Body::Memory { bytes, .. } => Some(bytes),
            Body::File { .. } => None,
        }
    }
}
