//! API tokens: only their SHA-256 is kept.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql};
use crate::tx::Tx;
use muster_names::{Digest, Millis};

/// A token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub name: String,
    pub role: String,
    pub sha256: Digest,
    pub created: Millis,
    pub expires: Option<Millis>,
    pub revoked: Option<Millis>,
}

impl Token {
    pub fn is_valid(&self, now: Millis) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

const PUT: Sql = sql(
    "keep a token",
    "insert into api_token (id, name, role, sha256, created, expires, revoked) \
     values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
);
const BY_HASH: Sql =
    sql("find a token", "select id, name, role, sha256, created, expires, revoked from api_token where sha256 = $1");
const LIST: Sql =
    sql("list tokens", "select id, name, role, sha256, created, expires, revoked from api_token order by created, id");
const REVOKE: Sql = sql("revoke a token", "update api_token set revoked = $2 where id = $1 and revoked is null");

/// Keeps a new token; an id or a hash that is there already is [`Error::Exists`].
pub async fn put(tx: &mut Tx, token: &Token) -> Result<(), Error> {
    let Token { id, name, role, sha256, created, expires, revoked } = token;
    match tx.run(PUT, cells![id, name, role, *sha256, *created, *expires, *revoked]).await? {
        0 => Err(Error::Exists { what: "token", key: id.clone() }),
        _ => Ok(()),
    }
}

/// The token with this hash, valid or not: ask [`Token::is_valid`].
pub async fn by_hash(tx: &mut Tx, sha256: Digest) -> Result<Option<Token>, Error> {
    tx.one(BY_HASH, cells![sha256]).await?.as_ref().map(token).transpose()
}

pub async fn list(tx: &mut Tx) -> Result<Vec<Token>, Error> {
    tx.all(LIST, cells![]).await?.iter().map(token).collect()
}

/// `false` when there is none, or it was revoked before.
pub async fn revoke(tx: &mut Tx, id: &str, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(REVOKE, cells![id, now]).await? == 1)
}

fn token(row: &Row) -> Result<Token, Error> {
    Ok(Token {
        id: row.text("id")?,
        name: row.text("name")?,
        role: row.text("role")?,
        sha256: row.parse("sha256")?,
        created: row.millis("created")?,
        expires: row.millis_or_null("expires")?,
        revoked: row.millis_or_null("revoked")?,
    })
}
