//! The site's key, which the passwords of BMCs are sealed with: from the environment, or from a file that the first start
//! makes. A key that is gone is never replaced while anything is sealed with it.

use crate::config::Config;
use crate::{data, tls};
use anyhow::{Context as _, Result, bail};
use muster_conductor::{SiteKey, Vault};
use muster_store::{Store, bmc_adoption, passwords};

const FROM: &str = "MUSTER_SITE_KEY";

/// The vault, and what people should be told about it.
pub async fn open(config: &Config, db: &Store) -> Result<(Vault, Vec<String>)> {
    let (key, mut told) = key(config, db).await?;
    let id = key.id().to_owned();
    let vault = Vault::new(db.clone(), key);
    let closed = vault.closed().await?;
    if let Some((_, why)) = closed.first() {
        let count = closed.len();
        told.push(format!("the passwords of {count} BMCs do not open with the site key {id}: {why}"));
    }
    Ok((vault, told))
}

async fn key(config: &Config, db: &Store) -> Result<(SiteKey, Vec<String>)> {
    let read = |text: &str, from: &str| SiteKey::read(text).map_err(|why| anyhow::anyhow!("{from}: {why}"));
    if let Some(text) = std::env::var(FROM).ok().filter(|text| !text.is_empty()) {
        return Ok((read(&text, FROM)?, Vec::new()));
    }
    let file = config.site_key();
    let shown = file.display();
    if !file.exists() {
        let mut tx = db.read().await?;
        let sealed = passwords::alive(&mut tx).await?.len() + bmc_adoption::count_sealed(&mut tx).await?;
        if sealed > 0 {
            bail!(
                "the site key {shown} is gone, and the passwords of {sealed} BMCs are sealed with it: put it back from your backup, or give it in {FROM}"
            );
        }
        tls::keep(&file, &format!("{}\n", SiteKey::fresh()?))?;
    }
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("the site key {shown} does not read; it belongs to the user that the daemon runs as")
    })?;
    let open = data::open_to_others(&file);
    let told = open.then(|| format!("the site key {shown} can be read by others on this machine; `chmod 600` it"));
    Ok((read(&text, &shown.to_string())?, told.into_iter().collect()))
}
