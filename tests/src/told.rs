//! What a program of the tests is told on its command line: `key=value` words. A slip names the word, and prints what the
//! program can do.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::str::FromStr;

pub struct Told {
    pairs: BTreeMap<String, String>,
    usage: &'static str,
}

impl Told {
    /// # Errors
    /// A word without `=`.
    pub fn read(words: impl Iterator<Item = String>, usage: &'static str) -> Result<Self> {
        let pairs = words.map(|word| match word.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => bail!("{word:?} is not KEY=VALUE\n{usage}"),
        });
        Ok(Self { pairs: pairs.collect::<Result<_>>()?, usage })
    }

    /// # Errors
    /// A value that does not read.
    pub fn maybe<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(&self, key: &str) -> Result<Option<T>> {
        let value = self.pairs.get(key).map(|text| text.parse().with_context(|| format!("{key}={text} does not read")));
        value.transpose()
    }

    /// # Errors
    /// A value that does not read, or none.
    pub fn must<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(&self, key: &str) -> Result<T> {
        self.maybe(key)?.with_context(|| format!("{key}= is missing\n{}", self.usage))
    }
}
