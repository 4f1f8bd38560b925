//! Boot tokens: one for each ordered boot, bound to the first key that uses it. Only the SHA-256 is kept.
//!
//! The same key gets the same answer again, since lost packets are normal; another key on the same token means that
//! somebody else read it.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, hex, sql, two, unhex, words};
use crate::tx::Tx;
use muster_names::{Digest, Epoch, Mac, MachineId, Millis, OrderId};

words! {
    /// Which agent the token is for.
    AgentMode {
        /// In the boot image.
        Ram = "ram",
        /// In the installed system.
        Resident = "resident",
    }
}

/// A boot token as stored. [`put`] ignores `revoked`, `key` and `bound_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootToken {
    pub sha256: Digest,
    /// `None` for a machine that nobody knows yet.
    pub machine: Option<MachineId>,
    /// Who fetched the boot script.
    pub mac: Mac,
    /// The part of the URL that keeps one boot's files apart from another's.
    pub nonce: String,
    pub epoch: Option<Epoch>,
    pub order: Option<OrderId>,
    pub mode: AgentMode,
    pub created: Millis,
    pub expires: Millis,
    pub revoked: Option<Millis>,
    /// The agent's public key.
    pub key: Option<Vec<u8>>,
    pub bound_at: Option<Millis>,
}

/// What became of a key shown with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The first key: the token is its own from now on.
    New,
    Same,
    /// Another key holds this token: a security event.
    Other,
    /// Too late, or revoked.
    Expired,
    Unknown,
}

const COLUMNS: &str = "select sha256, machine, mac, nonce, epoch, order_id, mode, created, expires, revoked, \
                       agent_key, bound_at from boot_token where sha256 = $1";
const PUT: Sql = sql(
    "keep a boot token",
    "insert into boot_token (sha256, machine, mac, nonce, epoch, order_id, mode, created, expires) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
);
const LOOKUP: Sql = sql("find a boot token", COLUMNS);
const LOOKUP_LOCKED: Sql = two(
    "find a boot token",
    COLUMNS,
    "select sha256, machine, mac, nonce, epoch, order_id, mode, created, expires, revoked, agent_key, bound_at \
     from boot_token where sha256 = $1 for update",
);
const BIND: Sql = sql(
    "bind a boot token",
    "update boot_token set agent_key = $2, bound_at = $3 where sha256 = $1 and agent_key is null",
);
const ASSIGN: Sql =
    sql("name a boot token's machine", "update boot_token set machine = $2 where sha256 = $1 and machine is null");
const REVOKE: Sql = sql(
    "revoke boot tokens",
    "update boot_token set revoked = $3 where machine = $1 and created < $2 and revoked is null",
);
const REVOKE_ONE: Sql =
    sql("revoke a boot token", "update boot_token set revoked = $2 where sha256 = $1 and revoked is null");
const REVOKE_RAM: Sql = sql(
    "revoke a machine's boot tokens",
    "update boot_token set revoked = $2 where machine = $1 and mode = 'ram' and revoked is null",
);
// Two that were bound in one transaction have one time: then the hash decides, so that exactly one of them is the newer.
const OVERTAKEN: Sql = sql(
    "look for a newer boot",
    "select count(*) as n from boot_token as mine join boot_token as other on other.machine = mine.machine \
     where mine.sha256 = $1 and mine.mode = 'ram' and other.mode = 'ram' and other.revoked is null \
     and (other.bound_at > mine.bound_at or (other.bound_at = mine.bound_at and other.sha256 > mine.sha256))",
);
const FORGET: Sql =
    sql("forget boot tokens", "delete from boot_token where (agent_key is null and expires < $1) or revoked < $1");

/// Keeps a new token; a hash that is there already is [`Error::Exists`].
pub async fn put(tx: &mut Tx, token: &BootToken) -> Result<(), Error> {
    let BootToken { sha256, machine, mac, nonce, epoch, order, mode, created, expires, .. } = token;
    let row = cells![*sha256, *machine, *mac, nonce, *epoch, *order, *mode, *created, *expires];
    match tx.run(PUT, row).await? {
        0 => Err(Error::Exists { what: "boot token", key: sha256.to_string() }),
        _ => Ok(()),
    }
}

/// The token with this hash, whether valid or not.
pub async fn lookup(tx: &mut Tx, sha256: Digest) -> Result<Option<BootToken>, Error> {
    tx.one(LOOKUP, cells![sha256]).await?.as_ref().map(boot_token).transpose()
}

/// Binds the token to its first key; says what it is bound to otherwise. A key that is bound stays good until
/// the token is revoked: only a first use must come before `expires`.
pub async fn bind_key(tx: &mut Tx, sha256: Digest, key: &[u8], now: Millis) -> Result<Bound, Error> {
    let row = tx.one(LOOKUP_LOCKED, cells![sha256]).await?;
    let Some(found) = row.as_ref().map(boot_token).transpose()? else { return Ok(Bound::Unknown) };
    if found.revoked.is_some() {
        return Ok(Bound::Expired);
    }
    match found.key {
        Some(bound) if bound == key => Ok(Bound::Same),
        Some(_) => Ok(Bound::Other),
        None if found.expires <= now => Ok(Bound::Expired),
        None => {
            tx.run(BIND, cells![sha256, hex(key), now]).await?;
            Ok(Bound::New)
        }
    }
}

/// Names the machine of a token that was made for an unknown one; `false` when it has one already.
pub async fn assign(tx: &mut Tx, sha256: Digest, machine: MachineId) -> Result<bool, Error> {
    Ok(tx.run(ASSIGN, cells![sha256, machine]).await? == 1)
}

/// Revokes the machine's tokens made before `before`; says how many.
pub async fn revoke_boot_tokens(tx: &mut Tx, machine: MachineId, before: Millis, now: Millis) -> Result<u64, Error> {
    tx.run(REVOKE, cells![machine, before, now]).await
}

/// Revokes one token; `false` when it was revoked before, or never was.
pub async fn revoke(tx: &mut Tx, sha256: Digest, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(REVOKE_ONE, cells![sha256, now]).await? == 1)
}

/// Revokes the tokens of all boots in RAM of a machine; that of its installed system stays. Says how many.
pub async fn revoke_ram(tx: &mut Tx, machine: MachineId, now: Millis) -> Result<u64, Error> {
    tx.run(REVOKE_RAM, cells![machine, now]).await
}

/// Whether a later boot in RAM of the same machine has bound its token. A machine is in one boot at a time, so whoever
/// still uses this token then is a second machine, or the later one is.
pub async fn overtaken(tx: &mut Tx, sha256: Digest) -> Result<bool, Error> {
    tx.one(OVERTAKEN, cells![sha256]).await?.map_or(Ok(false), |row| Ok(row.int("n")? > 0))
}

/// Deletes the tokens that were never used and expired before `before`, and those revoked before it. Says how many.
pub async fn forget(tx: &mut Tx, before: Millis) -> Result<u64, Error> {
    tx.run(FORGET, cells![before]).await
}

fn boot_token(row: &Row) -> Result<BootToken, Error> {
    let key = match row.text_or_null("agent_key")? {
        None => None,
        Some(text) => Some(unhex(&text).ok_or_else(|| row.damaged("agent_key", "it is not hex digits"))?),
    };
    Ok(BootToken {
        sha256: row.parse("sha256")?,
        machine: row.parse_or_null("machine")?,
        mac: row.parse("mac")?,
        nonce: row.text("nonce")?,
        epoch: row.int_or_null("epoch")?.map(Epoch),
        order: row.parse_or_null("order_id")?,
        mode: row.parse("mode")?,
        created: row.millis("created")?,
        expires: row.millis("expires")?,
        revoked: row.millis_or_null("revoked")?,
        key,
        bound_at: row.millis_or_null("bound_at")?,
    })
}
