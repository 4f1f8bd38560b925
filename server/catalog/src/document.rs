//! One TOML text read into one of our types, with every slip in it.
//!
//! serde stops at the first mistake. So each mistake it finds is noted, the entry that it points at is taken out, and
//! the rest is read again, until what is left reads through. The types stay the only description of the format; the
//! way turned down is a second, hand-written reader beside them, which drifts.

use crate::Slip;
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More slips than this in one file are not told: mend these first.
const MOST: usize = 100;

/// A parsed text that knows where each of its entries stands.
pub struct Document<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    pub fn parse(file: &'a str, text: &'a str) -> Result<Self, Vec<Slip>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { file, text, root });
        }
        let mut slips: Vec<Slip> = errors
            .iter()
            .map(|error| slip(file, text, error.span().map_or(0, |span| span.start), error.message().to_owned()))
            .collect();
        slips.sort();
        slips.dedup();
        slips.truncate(MOST);
        Err(slips)
    }

    /// The whole document as a `T`, or every reason why it is not one.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Slip>> {
        let mut root = self.root.clone();
        let mut slips = Vec::new();
        let mut removed = Vec::new();
        while slips.len() < MOST {
            match T::deserialize(toml::de::Deserializer::from(root.clone())) {
                Ok(value) if slips.is_empty() => return Ok(value),
                Ok(_) => break,
                Err(error) => {
                    let span = error.span().unwrap_or_else(|| self.root.span());
                    if !follows(&error, &span, &removed) {
                        slips.push(self.slip_of(&error, &span));
                    }
                    let mut removal = Removal { what: Told::of(&error), at: span, from: &mut removed };
                    let whole = root.span();
                    if !removal.out_of_table(root.get_mut(), &whole) {
                        break;
                    }
                }
            }
        }
        slips.sort();
        slips.dedup();
        if slips.is_empty() {
            slips.push(slip(self.file, self.text, 0, "this file could not be read as what its folder says".into()));
        }
        Err(slips)
    }

    /// The file's name without `.toml`.
    pub fn stem(&self) -> &'a str {
        let name = self.file.rsplit('/').next().unwrap_or(self.file);
        name.strip_suffix(".toml").unwrap_or(name)
    }

    /// The name of the folder it lies in.
    pub fn folder(&self) -> &'a str {
        self.file.rsplit('/').nth(1).unwrap_or_default()
    }

    /// A slip at an entry given by its path, `machine.3.model`; at the deepest part of the path that is there.
    pub fn slip_at(&self, path: &str, message: String) -> Slip {
        slip(self.file, self.text, self.position(path), message)
    }

    /// A text value by its path, where it is there and is a text.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        let mut steps = path.split('.');
        let mut value = self.root.get_ref().get(steps.next()?)?;
        for step in steps {
            value = child(value.get_ref(), step)?.1;
        }
        value.get_ref().as_str()
    }

    fn position(&self, path: &str) -> usize {
        let mut start = 0;
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in path.split('.') {
            let next = match value {
                None => self.root.get_ref().get_key_value(step).map(|(_, found)| (found.span().start, found)),
                Some(value) => child(value.get_ref(), step),
            };
            let Some((found_start, found)) = next else { break };
            start = found_start;
            value = Some(found);
        }
        start
    }

    fn slip_of(&self, error: &toml::de::Error, span: &Range<usize>) -> Slip {
        let message = error.message();
        let mut slip = slip(self.file, self.text, span.start, message.to_owned());
        if message.starts_with("wanted exactly 1 element") {
            slip.message = "exactly one entry must stand here, as in { exact = ... }".into();
        }
        for marker in ["expected one of ", "expected "] {
            if message.starts_with("unknown ")
                && let Some((said, _)) = message.split_once(&format!(", {marker}"))
            {
                slip.allowed = words(message, marker);
                slip.message = said.to_owned();
                break;
            }
        }
        slip
    }
}

fn child<'d, 'i>(value: &'d DeValue<'i>, step: &str) -> Option<(usize, &'d Spanned<DeValue<'i>>)> {
    let found = match value {
        DeValue::Table(table) => table.get(step),
        DeValue::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }?;
    Some((found.span().start, found))
}

/// The words between backticks after `marker`, as serde writes its lists.
fn words(message: &str, marker: &str) -> Vec<String> {
    let Some((_, list)) = message.split_once(marker) else { return Vec::new() };
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What serde's message says of the entry it points at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    UnknownField,
    UnknownVariant,
    Other,
}

impl Told {
    fn of(error: &toml::de::Error) -> Self {
        match error.message() {
            message if message.starts_with("unknown field") => Self::UnknownField,
            message if message.starts_with("unknown variant") => Self::UnknownVariant,
            _ => Self::Other,
        }
    }
}

/// What was taken out of the table or list at `holder`.
struct Removed {
    holder: Range<usize>,
    /// The entry's name; `None` for an unknown field, which may be a required one misspelt, and for a list's item.
    name: Option<String>,
}

/// A mistake that is there only because an earlier one was taken out: the required field that was wrong is missing, the
/// table that stood for a choice is empty, the list is too short.
fn follows(error: &toml::de::Error, span: &Range<usize>, removed: &[Removed]) -> bool {
    let message = error.message();
    let missing = words(message, "missing field ").into_iter().next();
    let emptied =
        ["wanted exactly 1 element", "invalid length", "expected tuple"].iter().any(|so| message.starts_with(so));
    removed.iter().filter(|removed| removed.holder == *span).any(|removed| match &missing {
        Some(name) => removed.name.as_ref().is_none_or(|removed| removed == name),
        None => emptied,
    })
}

/// Takes the entry at `at` out: by its key for an unknown field, by its value otherwise. An unknown variant that is
/// written as a table takes the whole value with it.
struct Removal<'r> {
    what: Told,
    at: Range<usize>,
    from: &'r mut Vec<Removed>,
}

impl Removal<'_> {
    fn out_of_table(&mut self, table: &mut DeTable<'_>, holder: &Range<usize>) -> bool {
        let hit = table.iter().find_map(|(key, value)| {
            let variant = self.what == Told::UnknownVariant
                && matches!(value.get_ref(), DeValue::Table(inner) if inner.keys().any(|key| key.span() == self.at));
            (key.span() == self.at || value.span() == self.at || variant).then(|| key.get_ref().to_string())
        });
        if let Some(name) = hit {
            table.remove(name.as_str());
            let name = Some(name).filter(|_| self.what != Told::UnknownField);
            self.from.push(Removed { holder: holder.clone(), name });
            return true;
        }
        table.iter_mut().any(|(_, value)| {
            let span = value.span();
            self.out_of_value(value.get_mut(), &span)
        })
    }

    fn out_of_value(&mut self, value: &mut DeValue<'_>, holder: &Range<usize>) -> bool {
        match value {
            DeValue::Table(table) => self.out_of_table(table, holder),
            DeValue::Array(items) => {
                if items.iter().any(|item| item.span() == self.at) {
                    let kept = items.iter().filter(|item| item.span() != self.at).cloned().collect();
                    *items = kept;
                    self.from.push(Removed { holder: holder.clone(), name: None });
                    return true;
                }
                items.iter_mut().any(|item| {
                    let span = item.span();
                    self.out_of_value(item.get_mut(), &span)
                })
            }
            _ => false,
        }
    }
}

/// A slip at a byte offset, which may lie anywhere, even behind the end or within a character.
pub fn slip(file: &str, text: &str, offset: usize, message: String) -> Slip {
    let mut line = 1;
    let mut column = 1;
    for (at, c) in text.char_indices() {
        if at >= offset {
            break;
        }
        if c == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    Slip { file: file.to_owned(), line, column, message, allowed: Vec::new() }
}
