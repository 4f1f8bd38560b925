//! Kernel modules for the hardware that is there: the device names itself in `modalias`, depmod's `modules.alias` says
//! which module serves it, `modules.dep` what that module needs.

use crate::inventory::Roots;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks it itself, where it was built so.
const COMPRESSED: libc::c_int = 4;

/// depmod's tables.
#[derive(Debug, Default)]
pub struct Index {
    /// By what stands before the first colon, since no pattern has a star there.
    aliases: BTreeMap<String, Vec<(String, String)>>,
    /// Name -> file and the files it needs, the most basic last.
    files: BTreeMap<String, (String, Vec<String>)>,
    /// Name -> modules to load first although no symbol asks for them.
    before: BTreeMap<String, Vec<String>>,
}

fn bus(alias: &str) -> &str {
    alias.split(':').next().unwrap_or(alias)
}

/// `kernel/drivers/net/virtio-net.ko.xz` -> `virtio_net`
fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

impl Index {
    pub fn parse(alias: &str, dep: &str, softdep: &str) -> Self {
        let mut index = Self::default();
        for line in alias.lines().chain(softdep.lines()) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("alias"), Some(pattern)) => {
                    let Some(module) = words.next() else { continue };
                    let entry = (pattern.to_owned(), module.replace('-', "_"));
                    index.aliases.entry(bus(pattern).to_owned()).or_default().push(entry);
                }
                (Some("softdep"), Some(module)) => {
                    let pre = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
                    let pre = pre.map(|word| word.replace('-', "_")).collect();
                    index.before.insert(module.replace('-', "_"), pre);
                }
                _ => {}
            }
        }
        for line in dep.lines() {
            let Some((file, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().map(Into::into).collect();
            index.files.insert(name_of(file), (file.to_owned(), needs));
        }
        index
    }

    /// Modules that serve a device or a request, by alias or by name.
    pub fn serving(&self, alias: &str) -> Vec<&str> {
        let of_bus = self.aliases.get(bus(alias)).into_iter().flatten();
        let mut found: Vec<&str> = of_bus
            .filter(|(pattern, _)| matches(pattern.as_bytes(), alias.as_bytes()))
            .map(|(_, module)| module.as_str())
            .collect();
        if let Some((name, _)) = self.files.get_key_value(&alias.replace('-', "_")) {
            found.push(name);
        }
        found
    }

    /// Files to load for a module, in loading order.
    pub fn files(&self, module: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.collect(module, &mut order, 0);
        order
    }

    fn collect(&self, module: &str, order: &mut Vec<String>, depth: u8) {
        let Some((file, needs)) = self.files.get(module) else { return };
        if depth > 8 {
            return;
        }
        for first in self.before.get(module).into_iter().flatten() {
            self.collect(first, order, depth + 1);
        }
        for file in needs.iter().rev().chain([file]) {
            if !order.contains(file) {
                order.push(file.clone());
            }
        }
    }
}

/// Shell patterns as depmod writes them: `*`, `?` and `[...]`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, text));
                pattern = rest;
                continue;
            }
            ([], []) => return true,
            ([b'?', p @ ..], [_, t @ ..]) => Some((p, t)),
            ([b'[', p @ ..], [c, t @ ..]) => set(p, *c).map(|p| (p, t)),
            ([a, p @ ..], [b, t @ ..]) if a == b => Some((p, t)),
            _ => None,
        };
        (pattern, text) = match (step, retry) {
            (Some(next), _) => next,
            (None, Some((after, [_, shorter @ ..]))) => {
                retry = Some((after, shorter));
                (after, shorter)
            }
            (None, _) => return false,
        };
    }
}

/// What follows a set that holds `c`, its opening bracket already read.
fn set(pattern: &[u8], c: u8) -> Option<&[u8]> {
    let end = pattern.iter().position(|b| *b == b']')?;
    let (mut inside, rest) = pattern.split_at_checked(end)?;
    let mut held = false;
    loop {
        match inside {
            [low, b'-', high, after @ ..] => {
                held |= (low..=high).contains(&&c);
                inside = after;
            }
            [one, after @ ..] => {
                held |= *one == c;
                inside = after;
            }
            [] => break,
        }
    }
    held.then_some(rest.get(1..)?)
}

/// Loads what the machine's devices ask for.
pub struct Loader {
    index: Index,
    folder: PathBuf,
    /// Files handed to the kernel, and whether they are in it now.
    tried: BTreeMap<String, bool>,
    seen: BTreeSet<String>,
}

impl Loader {
    pub fn new(roots: &Roots) -> Self {
        let release = crate::inventory::word(&roots.path("proc/sys/kernel/osrelease")).unwrap_or_default();
        let folder = roots.path("lib/modules").join(release);
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let index = Index::parse(&text("modules.alias"), &text("modules.dep"), &text("modules.softdep"));
        Self { index, folder, tried: BTreeMap::new(), seen: BTreeSet::new() }
    }

    /// Loads a module by its name or an alias; what is not there is left out, as modprobe -q does.
    pub fn load(&mut self, alias: &str) -> usize {
        let modules: Vec<String> = self.index.serving(alias).into_iter().map(Into::into).collect();
        let before = self.tried.len();
        for module in modules {
            // What a module needs may refuse this machine; the module itself then has nothing to stand on.
            for file in self.index.files(&module) {
                let path = self.folder.join(&file);
                if !*self.tried.entry(file).or_insert_with(|| insert(&path)) {
                    break;
                }
            }
        }
        self.tried.len() - before
    }

    /// Loads for every device under `/sys/devices` until nothing new appears.
    pub fn coldplug(&mut self, roots: &Roots) -> usize {
        let mut loaded = 0;
        for _ in 0..10 {
            let mut aliases = BTreeSet::new();
            modaliases(&roots.path("sys/devices"), 0, &mut aliases);
            let new: Vec<String> = aliases.into_iter().filter(|alias| self.seen.insert(alias.clone())).collect();
            if new.is_empty() {
                break;
            }
            loaded += new.iter().map(|alias| self.load(alias)).sum::<usize>();
        }
        loaded
    }
}

fn modaliases(folder: &Path, depth: u8, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < 24 {
            modaliases(&entry.path(), depth + 1, found);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            found.extend(crate::inventory::word(&entry.path()));
        }
    }
}

/// Whether it is in the kernel now.
fn insert(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let packed = path.extension().is_some_and(|ext| ext == "xz" || ext == "zst" || ext == "gz");
    let options = CString::default();
    let flags = if packed { COMPRESSED } else { 0 };
    // SAFETY: a valid descriptor and an empty C string that outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), options.as_ptr(), flags) == 0 };
    done || std::io::Error::last_os_error().raw_os_error() == Some(libc::EEXIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALIAS: &str = "# Aliases extracted from modules themselves.\n\
        alias virtio:d00000001v* virtio_net\n\
        alias pci:v00008086d0000[12]*sv*sd*bc*sc*i* e1000\n\
        alias fs-vfat vfat\n";
    const DEP: &str = "kernel/drivers/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko\n\
        kernel/net/failover.ko:\nkernel/net/net_failover.ko: kernel/net/failover.ko\n\
        kernel/fs/vfat.ko.xz: kernel/fs/fat.ko.xz\nkernel/lib/nls-utf8.ko:\n";

    #[test]
    fn a_device_finds_its_module_and_what_it_needs_first() {
        let index = Index::parse(ALIAS, DEP, "softdep vfat pre: nls_utf8 post: other\n");
        assert_eq!(index.serving("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(
            index.files("virtio_net"),
            ["kernel/net/failover.ko", "kernel/net/net_failover.ko", "kernel/drivers/net/virtio_net.ko"]
        );
        assert_eq!(index.files("vfat"), ["kernel/lib/nls-utf8.ko", "kernel/fs/fat.ko.xz", "kernel/fs/vfat.ko.xz"]);
        assert_eq!(index.serving("fs-vfat"), ["vfat"]);
        assert_eq!(index.serving("nls-utf8"), ["nls_utf8"], "a plain name is an alias too");
        assert!(index.serving("usb:v1").is_empty());
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, fits) in [
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9a]x", "7x", true),
            ("[0-9a]x", "bx", false),
            ("*b*b*", "abcb", true),
            ("[", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn modules_that_need_each_other_do_not_hang() {
        let index = Index::parse("", "a.ko:\nb.ko:\n", "softdep a pre: b\nsoftdep b pre: a\n");
        assert_eq!(index.files("a").len(), 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(a: String, b: String, c: String) {
            let index = Index::parse(&a, &b, &c);
            let _ = index.serving(&a);
            let _ = matches(b.as_bytes(), c.as_bytes());
        }
    }
}
