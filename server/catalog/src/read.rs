//! All data files at once into a [`Catalog`], or every slip of all of them.

use crate::document::{Document, slip};
use crate::{BmcProfile, BootClient, Catalog, Loader, Model, OsImage, Rack, Slip, check};
use serde::de::DeserializeOwned;

/// A file's kind is its folder's name; a rack layout's folder is its site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Bmc,
    Loader,
    Client,
    Os,
    Rack,
}

const FOLDERS: [&str; 6] = [
    "firmware-profiles/models/",
    "firmware-profiles/bmcs/",
    "pxe-images/loaders/",
    "pxe-images/clients/",
    "pxe-images/os/",
    "rack-layouts/SITE/",
];

fn kind(file: &str) -> Option<Kind> {
    let mut parts = file.rsplit('/').skip(1);
    match (parts.next()?, parts.next()) {
        (_, Some("rack-layouts")) => Some(Kind::Rack),
        ("models", _) => Some(Kind::Model),
        ("bmcs", _) => Some(Kind::Bmc),
        ("loaders", _) => Some(Kind::Loader),
        ("clients", _) => Some(Kind::Client),
        ("os", _) => Some(Kind::Os),
        _ => None,
    }
}

/// A file that reads as its type, with its text's places for the checks between files.
pub struct Read<'a, T> {
    pub document: Document<'a>,
    pub value: T,
}

/// Everything that reads by itself, and the ids of what does not: a layout that names a model whose file has a slip
/// is not wrong besides.
#[derive(Default)]
pub struct Whole<'a> {
    pub models: Vec<Read<'a, Model>>,
    pub bmcs: Vec<Read<'a, BmcProfile>>,
    pub loaders: Vec<Read<'a, Loader>>,
    pub clients: Vec<Read<'a, BootClient>>,
    pub images: Vec<Read<'a, OsImage>>,
    pub racks: Vec<Read<'a, Rack>>,
    pub broken: Vec<String>,
}

/// Reads every data file: (name with its folder, text) each. Either all of them are right together, or the slips of
/// all are told, in the order of files and lines.
pub fn read<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Catalog, Vec<Slip>> {
    let mut whole = Whole::default();
    let mut slips = Vec::new();
    for (file, text) in files {
        if let Err(found) = take_in(&mut whole, file.as_ref(), text.as_ref()) {
            slips.extend(found);
        }
    }
    slips.extend(check::check(&whole));
    if slips.is_empty() {
        return Ok(catalog(whole));
    }
    slips.sort();
    slips.dedup();
    Err(slips)
}

fn take_in<'a>(whole: &mut Whole<'a>, file: &'a str, text: &'a str) -> Result<(), Vec<Slip>> {
    let Some(kind) = kind(file) else {
        let mut slip = slip(file, text, 0, "no kind of data file lies in this folder".into());
        slip.allowed = FOLDERS.map(str::to_owned).to_vec();
        return Err(vec![slip]);
    };
    match kind {
        Kind::Model => one(&mut whole.models, &mut whole.broken, file, text),
        Kind::Bmc => one(&mut whole.bmcs, &mut whole.broken, file, text),
        Kind::Loader => one(&mut whole.loaders, &mut whole.broken, file, text),
        Kind::Client => one(&mut whole.clients, &mut whole.broken, file, text),
        Kind::Os => one(&mut whole.images, &mut whole.broken, file, text),
        Kind::Rack => one(&mut whole.racks, &mut whole.broken, file, text),
    }
}

fn one<'a, T: DeserializeOwned>(
    into: &mut Vec<Read<'a, T>>,
    broken: &mut Vec<String>,
    file: &'a str,
    text: &'a str,
) -> Result<(), Vec<Slip>> {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml").to_owned();
    let document = match Document::parse(file, text) {
        Ok(document) => document,
        Err(slips) => {
            broken.push(stem);
            return Err(slips);
        }
    };
    match document.read() {
        Ok(value) => into.push(Read { document, value }),
        Err(mut slips) => {
            broken.push(stem);
            broken.extend(document.text_at("id").map(str::to_owned));
            for slip in &mut slips {
                if slip.message.starts_with("unknown field `password`") {
                    slip.message = "a password never stands in a data file; put it into a file of its own among the \
                                    daemon's secrets and name that file in password-file"
                        .into();
                }
            }
            return Err(slips);
        }
    }
    Ok(())
}

fn catalog(whole: Whole<'_>) -> Catalog {
    fn values<T, K: Ord>(read: Vec<Read<'_, T>>, key: impl FnMut(&T) -> K) -> Vec<T> {
        let mut values: Vec<T> = read.into_iter().map(|read| read.value).collect();
        values.sort_by_cached_key(key);
        values
    }
    Catalog {
        models: values(whole.models, |model| model.id.clone()),
        bmcs: values(whole.bmcs, |profile| profile.id.clone()),
        loaders: values(whole.loaders, |loader| loader.id.clone()),
        clients: values(whole.clients, |client| client.id.clone()),
        images: values(whole.images, |image| image.id.0.clone()),
        racks: values(whole.racks, |rack| (rack.site.clone(), rack.rack.clone())),
    }
}
