//! The event log: gap-free, in commit order, deduplicated on cause, chained by hash.
//!
//! It is audit trail, change feed and timeline at once. The chain shows a row that was changed, deleted or moved; it
//! cannot show that somebody rewrote the whole log *and* its head, so export the head's hash to where this database's
//! administrator cannot write.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two};
use crate::tx::Tx;
use muster_names::{Cause, Digest, Epoch, Millis, Seq, Subject};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// Something that happened to a subject, not yet numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub subject: Subject,
    /// Why it was recorded; the same cause of the same subject is recorded once, for ever.
    pub cause: Cause,
    /// A past participle: `install-reported`.
    pub kind: String,
    /// Who: a token's name, `agent`, `bmc`, `clock`.
    pub actor: String,
    pub epoch: Epoch,
    /// JSON.
    pub body: String,
    pub at: Millis,
}

/// What became of an event handed to [`Tx::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    New,
    /// The same (subject, cause) was recorded before: change nothing else either.
    Seen,
}

/// What a commit wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The log's newest number after this commit.
    pub last: Seq,
    /// The numbers of this transaction's events, in the order they were appended.
    pub appended: Vec<Seq>,
}

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    pub seq: Seq,
    pub subject: Subject,
    pub cause: Cause,
    pub kind: String,
    pub actor: String,
    pub epoch: Epoch,
    /// JSON.
    pub body: String,
    pub at: Millis,
    /// SHA-256 over the previous row's hash and all fields of this one.
    pub hash: Digest,
}

/// The log's newest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// 0 while the log is empty.
    pub seq: Seq,
    pub hash: Digest,
    /// When it was committed.
    pub at: Millis,
}

/// A stretch of the log that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Continue after this one.
    pub upto: Seq,
    pub rows: u64,
    /// The end of the log was reached, and the head agrees.
    pub whole: bool,
}

/// Where the log stops being what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seq: Seq,
    pub why: String,
}

const SEEN: Sql = sql("look for a cause", "select seq from log where subject = $1 and cause = $2");
const HEAD: Sql = sql("read the log's head", "select seq, hash, at from log_head where one = 1");
const LOCK_HEAD: Sql = two(
    "lock the log's head",
    "select seq, hash, at from log_head where one = 1",
    "select seq, hash, at from log_head where one = 1 for update",
);
const WRITE: Sql = two(
    "append events",
    "insert into log (seq, subject, cause, kind, actor, epoch, body, at, hash) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8 \
     from json_each($1)",
    "insert into log (seq, subject, cause, kind, actor, epoch, body, at, hash) \
     select (v->>0)::bigint, v->>1, v->>2, v->>3, v->>4, (v->>5)::bigint, v->>6, (v->>7)::bigint, v->>8 \
     from json_array_elements($1::json) as rows(v)",
);
const MOVE_HEAD: Sql = sql("move the log's head", "update log_head set seq = $1, hash = $2, at = $3 where one = 1");
const COLUMNS_AFTER: Sql = sql(
    "read events",
    "select seq, subject, cause, kind, actor, epoch, body, at, hash from log where seq > $1 order by seq limit $2",
);
const COLUMNS_OF: Sql = sql(
    "read a subject's events",
    "select seq, subject, cause, kind, actor, epoch, body, at, hash from log \
     where seq > $1 and subject = $3 order by seq limit $2",
);
const NEWEST_OF: Sql = sql(
    "read a subject's newest events",
    "select seq, subject, cause, kind, actor, epoch, body, at, hash from log \
     where subject = $1 order by seq desc limit $2",
);
const HASH_AT: Sql = sql("read an event's hash", "select hash from log where seq = $1");

pub(crate) async fn append(tx: &mut Tx, event: Event) -> Result<Appended, Error> {
    const WHAT: &str = "append an event";
    if !tx.writes() {
        return Err(Error::ReadOnly { what: WHAT });
    }
    if [&event.cause.0, &event.kind, &event.actor, &event.body].iter().any(|text| text.contains('\0')) {
        return Err(Error::Nul { what: WHAT });
    }
    if tx.pending.iter().any(|other| other.subject == event.subject && other.cause == event.cause)
        || tx.one(SEEN, cells![event.subject, &event.cause.0]).await?.is_some()
    {
        return Ok(Appended::Seen);
    }
    tx.pending.push(event);
    Ok(Appended::New)
}

/// The last step before the commit: locks the head, numbers and chains what is pending, writes it as one statement.
pub(crate) async fn write(tx: &mut Tx, now: Millis) -> Result<Committed, Error> {
    let pending = std::mem::take(&mut tx.pending);
    if pending.is_empty() {
        return Ok(Committed { last: head(tx).await?.seq, appended: Vec::new() });
    }
    let found = tx.one(LOCK_HEAD, cells![]).await?;
    let mut head = read_head(found)?;
    let mut appended = Vec::with_capacity(pending.len());
    let mut rows = Vec::with_capacity(pending.len());
    for event in pending {
        let seq = Seq(head.seq.0.saturating_add(1));
        let hash = chain(head.hash, seq, &event);
        head = Head { seq, hash, at: now };
        appended.push(seq);
        rows.push(serde_json::json!([
            seq.0,
            event.subject.key(),
            event.cause.0,
            event.kind,
            event.actor,
            event.epoch.0,
            event.body,
            event.at.0,
            hash.to_string(),
        ]));
    }
    tx.run(WRITE, cells![serde_json::Value::Array(rows).to_string()]).await?;
    tx.run(MOVE_HEAD, cells![head.seq, head.hash, head.at]).await?;
    Ok(Committed { last: head.seq, appended })
}

/// Each field with its length before it, so that no two rows write the same bytes.
fn chain(before: Digest, seq: Seq, event: &Event) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut field = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    field(b"muster-log-1");
    field(&before.0);
    field(&seq.0.to_be_bytes());
    field(event.subject.key().as_bytes());
    field(event.cause.0.as_bytes());
    field(event.kind.as_bytes());
    field(event.actor.as_bytes());
    field(&event.epoch.0.to_be_bytes());
    field(event.body.as_bytes());
    field(&event.at.0.to_be_bytes());
    let mut octets = [0; 32];
    octets.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(octets)
}

/// The log's newest committed row.
pub async fn head(tx: &mut Tx) -> Result<Head, Error> {
    let found = tx.one(HEAD, cells![]).await?;
    read_head(found)
}

fn read_head(row: Option<Row>) -> Result<Head, Error> {
    let row = row.ok_or_else(|| Error::Missing { what: "the log's head", key: "row".into() })?;
    Ok(Head { seq: Seq(row.int("seq")?), hash: row.parse("hash")?, at: row.millis("at")? })
}

/// The committed events after a number, oldest first, of one subject or of all. A transaction's own pending events are
/// not among them.
pub async fn events(tx: &mut Tx, after: Seq, limit: u32, subject: Option<Subject>) -> Result<Vec<Logged>, Error> {
    let rows = match subject {
        None => tx.all(COLUMNS_AFTER, cells![after, i64::from(limit)]).await?,
        Some(subject) => tx.all(COLUMNS_OF, cells![after, i64::from(limit), subject]).await?,
    };
    rows.iter().map(logged).collect()
}

/// A subject's newest events, newest first.
pub async fn newest_of(tx: &mut Tx, subject: Subject, limit: u32) -> Result<Vec<Logged>, Error> {
    tx.all(NEWEST_OF, cells![subject, i64::from(limit)]).await?.iter().map(logged).collect()
}

fn logged(row: &Row) -> Result<Logged, Error> {
    Ok(Logged {
        seq: Seq(row.int("seq")?),
        subject: row.subject("subject")?,
        cause: Cause(row.text("cause")?),
        kind: row.text("kind")?,
        actor: row.text("actor")?,
        epoch: Epoch(row.int("epoch")?),
        body: row.text("body")?,
        at: row.millis("at")?,
        hash: row.parse("hash")?,
    })
}

/// Recomputes the chain of at most `limit` rows after `after`. Call it in a reading transaction, from
/// [`Checked::upto`] on, until [`Checked::whole`].
pub async fn verify(tx: &mut Tx, after: Seq, limit: u32) -> Result<Result<Checked, Broken>, Error> {
    let mut hash = Digest([0; 32]);
    if after.0 > 0 {
        match tx.one(HASH_AT, cells![after]).await? {
            Some(row) => hash = row.parse("hash")?,
            None => return Ok(Err(Broken { seq: after, why: "this row is missing".into() })),
        }
    }
    let rows = events(tx, after, limit, None).await?;
    let count = rows.len() as u64;
    let mut upto = after;
    for row in rows {
        let expected = Seq(upto.0.saturating_add(1));
        if row.seq != expected {
            return Ok(Err(Broken {
                seq: expected,
                why: format!("this row is missing; the next one is {}", row.seq.0),
            }));
        }
        let (seq, found) = (row.seq, row.hash);
        hash = chain(hash, seq, &Event::from(row));
        if hash != found {
            return Ok(Err(Broken { seq, why: "the row is not what was written, or its predecessor is not".into() }));
        }
        upto = seq;
    }
    let whole = count < u64::from(limit);
    if whole {
        let head = head(tx).await?;
        if head.seq != upto {
            let seq = Seq(upto.0.saturating_add(1));
            return Ok(Err(Broken {
                seq,
                why: format!("the log's head says {} rows, the last one is {}", head.seq.0, upto.0),
            }));
        }
        if head.hash != hash {
            return Ok(Err(Broken { seq: upto, why: "the log's head has another hash than the last row".into() }));
        }
    }
    Ok(Ok(Checked { upto, rows: count, whole }))
}

impl From<Logged> for Event {
    fn from(row: Logged) -> Self {
        let Logged { subject, cause, kind, actor, epoch, body, at, .. } = row;
        Self { subject, cause, kind, actor, epoch, body, at }
    }
}
