//! Plans: what a person is about to do, with every target named, under the digest of exactly that.
//!
//! A plan is executed once. Whoever wrote it does not count as its approver.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two};
use crate::tx::Tx;
use muster_names::{Digest, Millis};
use serde::{Deserialize, Serialize};

/// A plan as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub digest: Digest,
    pub action: String,
    /// JSON: targets, arguments, counts.
    pub body: String,
    pub by: String,
    pub created: Millis,
    pub approvals: Vec<Approval>,
    pub executed_at: Option<Millis>,
}

/// One person's word for a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub by: String,
    pub at: Millis,
}

/// What became of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approved {
    New,
    Already,
    /// The approver wrote the plan.
    Own,
    /// It was executed before.
    TooLate,
    Unknown,
}

const COLUMNS: &str =
    "select digest, action, body, author, created, approvals, executed_at from plan where digest = $1";
const PUT: Sql = sql(
    "keep a plan",
    "insert into plan (digest, action, body, author, created, approvals) values ($1, $2, $3, $4, $5, '[]') \
     on conflict do nothing",
);
const GET: Sql = sql("read a plan", COLUMNS);
const GET_LOCKED: Sql = two(
    "read a plan",
    COLUMNS,
    "select digest, action, body, author, created, approvals, executed_at from plan where digest = $1 for update",
);
const APPROVE: Sql = sql("approve a plan", "update plan set approvals = $2 where digest = $1");
const EXECUTED: Sql =
    sql("mark a plan executed", "update plan set executed_at = $2 where digest = $1 and executed_at is null");

const EXECUTED_SINCE: Sql = sql(
    "list executed plans of an author",
    "select digest, action, body, author, created, approvals, executed_at from plan \
     where author = $1 and executed_at > $2 order by executed_at desc limit 10000",
);

/// Keeps a plan, and gives back the one that is stored: the same digest again refreshes nothing.
pub async fn put(tx: &mut Tx, plan: &Plan) -> Result<Plan, Error> {
    tx.run(PUT, cells![plan.digest, &plan.action, &plan.body, &plan.by, plan.created]).await?;
    get(tx, plan.digest).await?.ok_or_else(|| Error::Missing { what: "plan", key: plan.digest.to_string() })
}

pub async fn get(tx: &mut Tx, digest: Digest) -> Result<Option<Plan>, Error> {
    tx.one(GET, cells![digest]).await?.as_ref().map(plan).transpose()
}

/// Adds a person's approval, once, and never the author's own.
pub async fn approve(tx: &mut Tx, digest: Digest, by: &str, now: Millis) -> Result<Approved, Error> {
    let row = tx.one(GET_LOCKED, cells![digest]).await?;
    let Some(mut found) = row.as_ref().map(plan).transpose()? else { return Ok(Approved::Unknown) };
    if found.executed_at.is_some() {
        return Ok(Approved::TooLate);
    }
    if found.by == by {
        return Ok(Approved::Own);
    }
    if found.approvals.iter().any(|approval| approval.by == by) {
        return Ok(Approved::Already);
    }
    found.approvals.push(Approval { by: by.to_owned(), at: now });
    tx.run(APPROVE, cells![digest, serde_json::json!(found.approvals).to_string()]).await?;
    Ok(Approved::New)
}

/// Takes the plan for execution; `false` when it is unknown or was executed before.
pub async fn mark_executed(tx: &mut Tx, digest: Digest, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(EXECUTED, cells![digest, now]).await? == 1)
}

/// The plans of one author that were executed after `since`, newest first.
pub async fn executed_since(tx: &mut Tx, by: &str, since: Millis) -> Result<Vec<Plan>, Error> {
    tx.all(EXECUTED_SINCE, cells![by, since]).await?.iter().map(plan).collect()
}

fn plan(row: &Row) -> Result<Plan, Error> {
    let approvals = row.text("approvals")?;
    Ok(Plan {
        digest: row.parse("digest")?,
        action: row.text("action")?,
        body: row.text("body")?,
        by: row.text("author")?,
        created: row.millis("created")?,
        approvals: serde_json::from_str(&approvals).map_err(|found| row.damaged("approvals", found))?,
        executed_at: row.millis_or_null("executed_at")?,
    })
}
