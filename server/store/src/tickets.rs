//! Tickets: what a person has to do. One for each (subject, cause) while it is open; it closes on proof.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql};
use crate::tx::Tx;
use muster_names::{Millis, Subject, TicketId};

/// A ticket as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    pub subject: Subject,
    pub cause: String,
    pub title: String,
    /// JSON.
    pub body: String,
    pub opened: Millis,
    pub closed: Option<Millis>,
    /// JSON: what showed that it is done.
    pub proof: Option<String>,
}

/// What opening a ticket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    New(TicketId),
    /// One is open for this (subject, cause); it stays as it is.
    Already(TicketId),
}

impl Opened {
    pub fn id(self) -> TicketId {
        match self {
            Self::New(id) | Self::Already(id) => id,
        }
    }
}

macro_rules! ticket_select {
    ($rest:literal) => {
        concat!("select id, subject, cause, title, body, opened, closed, proof from ticket ", $rest)
    };
}

const OPEN: Sql = sql(
    "open a ticket",
    "insert into ticket (id, subject, cause, title, body, opened) values ($1, $2, $3, $4, $5, $6) \
     on conflict do nothing",
);
const OPEN_ONE: Sql =
    sql("find an open ticket", ticket_select!("where subject = $1 and cause = $2 and closed is null"));
const CLOSE: Sql = sql(
    "close a ticket",
    "update ticket set closed = $4, proof = $3 where subject = $1 and cause = $2 and closed is null",
);
const NOTE: Sql = sql(
    "write into an open ticket",
    "update ticket set title = $3, body = $4 where subject = $1 and cause = $2 and closed is null",
);
const GET: Sql = sql("read a ticket", ticket_select!("where id = $1"));
const LIST_OPEN: Sql = sql("list open tickets", ticket_select!("where closed is null order by opened, id"));
const LIST_ALL: Sql = sql("list tickets", ticket_select!("order by opened desc, id limit $1"));
const LIST_OF: Sql =
    sql("list a subject's tickets", ticket_select!("where subject = $1 order by opened desc, id limit $2"));

/// Opens a ticket under the id given, unless one is open for the same (subject, cause).
pub async fn open_ticket(
    tx: &mut Tx,
    id: TicketId,
    subject: Subject,
    cause: &str,
    title: &str,
    body: &str,
    now: Millis,
) -> Result<Opened, Error> {
    if tx.run(OPEN, cells![id, subject, cause, title, body, now]).await? == 1 {
        return Ok(Opened::New(id));
    }
    match tx.one(OPEN_ONE, cells![subject, cause]).await? {
        Some(row) => Ok(Opened::Already(row.parse("id")?)),
        None => Err(Error::Exists { what: "ticket", key: id.to_string() }),
    }
}

/// Closes the open ticket of (subject, cause) with its proof (JSON); `false` when none is open.
pub async fn close_ticket(tx: &mut Tx, subject: Subject, cause: &str, proof: &str, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(CLOSE, cells![subject, cause, proof, now]).await? == 1)
}

/// What is known by now of what the open ticket of (subject, cause) is about; `false` when none is open.
pub async fn note_ticket(tx: &mut Tx, subject: Subject, cause: &str, title: &str, body: &str) -> Result<bool, Error> {
    Ok(tx.run(NOTE, cells![subject, cause, title, body]).await? == 1)
}

pub async fn get(tx: &mut Tx, id: TicketId) -> Result<Option<Ticket>, Error> {
    tx.one(GET, cells![id]).await?.as_ref().map(ticket).transpose()
}

/// All open tickets, oldest first.
pub async fn list_open(tx: &mut Tx) -> Result<Vec<Ticket>, Error> {
    tx.all(LIST_OPEN, cells![]).await?.iter().map(ticket).collect()
}

/// Tickets open and closed, newest first.
pub async fn list_all(tx: &mut Tx, limit: u32) -> Result<Vec<Ticket>, Error> {
    tx.all(LIST_ALL, cells![i64::from(limit)]).await?.iter().map(ticket).collect()
}

/// A subject's tickets open and closed, newest first.
pub async fn list_of(tx: &mut Tx, subject: Subject, limit: u32) -> Result<Vec<Ticket>, Error> {
    tx.all(LIST_OF, cells![subject, i64::from(limit)]).await?.iter().map(ticket).collect()
}

fn ticket(row: &Row) -> Result<Ticket, Error> {
    Ok(Ticket {
        id: row.parse("id")?,
        subject: row.subject("subject")?,
        cause: row.text("cause")?,
        title: row.text("title")?,
        body: row.text("body")?,
        opened: row.millis("opened")?,
        closed: row.millis_or_null("closed")?,
        proof: row.text_or_null("proof")?,
    })
}
