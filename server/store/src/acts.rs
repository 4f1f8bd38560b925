//! Acts: what the outside world is told once. A row is keyed (subject, epoch, slot) and keeps its payload for ever.
//!
//! due -> claimed -> sent (durable before the first byte) -> done | failed | unknown. A courier that dies leaves its
//! claim to expire; who reclaims it learns how far it had come, and probes before anything is sent again.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, two, words};
use crate::tx::Tx;
use muster_names::{Epoch, Key, Millis, Subject};

words! {
    /// What may be done when nobody knows whether the act took effect.
    Again {
        /// Send it again.
        Freely = "freely",
        /// Look first; send again only what did not happen.
        AfterProbe = "after-probe",
        /// Hold, with a ticket.
        Never = "never",
    }
}

words! {
    /// Whose act it is: two owners never act on one machine at once.
    Owner {
        Install = "install",
        Repair = "repair",
        Firmware = "firmware",
        Person = "person",
    }
}

words! {
    /// How far an act has come.
    ActState {
        Due = "due",
        Claimed = "claimed",
        /// Durable before the first byte leaves.
        Sent = "sent",
        Done = "done",
        Failed = "failed",
        /// Sent, and nobody knows.
        Unknown = "unknown",
    }
}

words! {
    /// How an act ends.
    End {
        Done = "done",
        Failed = "failed",
        Unknown = "unknown",
    }
}

/// An act to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAct {
    pub key: Key,
    /// JSON; frozen from here on.
    pub body: String,
    pub again: Again,
    /// The queue it waits in: one BMC, one webhook.
    pub target: String,
    pub owner: Owner,
    /// The rail it counts against: `power`, `wipe`, `install`, ... The database admits `wipe` and `install` only in
    /// states that allow them.
    pub weight: String,
    pub due: Millis,
}

/// An act as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActRow {
    pub key: Key,
    /// JSON.
    pub body: String,
    pub again: Again,
    pub target: String,
    pub owner: Owner,
    pub weight: String,
    pub due: Millis,
    pub state: ActState,
    /// The courier's own word for where it is: `off-sent`; empty before the first.
    pub phase: String,
    /// Who holds the claim, or held it last.
    pub courier: Option<String>,
    /// The claim's end.
    pub until: Option<Millis>,
    /// How often it was claimed.
    pub attempts: i64,
    /// JSON.
    pub evidence: Option<String>,
    pub created: Millis,
    pub finished: Option<Millis>,
}

/// A due act and the epoch its subject is in now: of another epoch, it is to be superseded, not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub act: ActRow,
    pub current: Option<Epoch>,
}

/// What a claim got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was due and is yours.
    Claimed(Box<ActRow>),
    /// It is yours, from a courier whose time ran out. The row is as that courier left it: when it was `Sent`, probe
    /// before sending.
    Reclaimed(Box<ActRow>),
    /// Somebody else holds it, or it is finished, or never was.
    Lost,
}

macro_rules! act_select {
    ($rest:literal) => {
        concat!(
            "select act.subject, act.epoch, act.slot, act.body, act.again, act.target, act.owner, act.weight, ",
            "act.due, act.state, act.phase, act.courier, act.until, act.attempts, act.evidence, act.created, ",
            "act.finished ",
            $rest
        )
    };
}

const RECORD: Sql = sql(
    "record an act",
    "insert into act (subject, epoch, slot, body, again, target, owner, weight, due, state, phase, attempts, created) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'due', '', 0, $10) on conflict do nothing",
);
const DUE: Sql = sql(
    "find due acts",
    act_select!(
        ", subject.epoch as current from act left join subject on subject.subject = act.subject \
         where act.state = 'due' and act.weight = $1 and act.due <= $2 order by act.due, act.created, act.slot limit $3"
    ),
);
const DUE_LOCKED: Sql = two(
    "find due acts",
    DUE.lite,
    act_select!(
        ", subject.epoch as current from act left join subject on subject.subject = act.subject \
         where act.state = 'due' and act.weight = $1 and act.due <= $2 order by act.due, act.created, act.slot limit $3 \
         for update of act skip locked"
    ),
);
const EXPIRED: Sql = sql(
    "find expired claims",
    act_select!("from act where state in ('claimed', 'sent') and weight = $1 and until <= $2 order by until limit $3"),
);
const GET: Sql = sql("read an act", act_select!("from act where subject = $1 and epoch = $2 and slot = $3"));
const GET_LOCKED: Sql =
    two("read an act", GET.lite, act_select!("from act where subject = $1 and epoch = $2 and slot = $3 for update"));
const CLAIM: Sql = sql(
    "claim an act",
    "update act set state = $4, courier = $5, until = $6, attempts = attempts + 1 \
     where subject = $1 and epoch = $2 and slot = $3",
);
const MARK_SENT: Sql = sql(
    "mark an act sent",
    "update act set state = 'sent', phase = $5 where subject = $1 and epoch = $2 and slot = $3 and courier = $4 \
     and state in ('claimed', 'sent') and until > $6",
);
const SET_PHASE: Sql = sql(
    "keep an act's phase",
    "update act set phase = $5 where subject = $1 and epoch = $2 and slot = $3 and courier = $4 \
     and state in ('claimed', 'sent')",
);
const EXTEND: Sql = sql(
    "extend a claim",
    "update act set until = $5 where subject = $1 and epoch = $2 and slot = $3 and courier = $4 \
     and state in ('claimed', 'sent')",
);
const CUT: Sql = sql("cut claims short", "update act set until = $3 where state = $1 and weight = $2 and until > $3");
const FINISH: Sql = sql(
    "finish an act",
    "update act set state = $5, evidence = $6, finished = $7, until = null \
     where subject = $1 and epoch = $2 and slot = $3 and courier = $4 and state in ('claimed', 'sent')",
);
const SETTLE: Sql = sql(
    "settle an unknown act",
    "update act set state = $4, evidence = $5, finished = $6 \
     where subject = $1 and epoch = $2 and slot = $3 and state = 'unknown'",
);
const POSTPONE: Sql = sql(
    "postpone an act",
    "update act set state = 'due', due = $4, courier = null, until = null \
     where subject = $1 and epoch = $2 and slot = $3 and state in ('due', 'claimed')",
);
const RETRY: Sql = sql(
    "retry an act",
    "update act set state = 'due', due = $5, evidence = $6, courier = null, until = null \
     where subject = $1 and epoch = $2 and slot = $3 and courier = $4 \
     and (state = 'claimed' or (state = 'sent' and again <> 'never'))",
);
const SUPERSEDE: Sql = sql(
    "supersede acts",
    "update act set state = 'failed', evidence = '\"superseded\"', finished = $3 \
     where subject = $1 and epoch < $2 and state = 'due'",
);
const OF: Sql = sql("list a subject's acts", act_select!("from act where subject = $1 order by epoch, created, slot"));
const IN_FLIGHT: Sql =
    sql("list acts in flight", act_select!("from act where state in ('claimed', 'sent') order by created"));
const IN_FLIGHT_OF: Sql = sql(
    "list a subject's acts in flight",
    act_select!("from act where subject = $1 and state in ('claimed', 'sent') order by created"),
);
const FINISHED: Sql =
    sql("list finished acts", act_select!("from act where finished is not null and finished >= $1 order by finished"));

/// Records an act once; an existing key says `false` and changes nothing. Enter the state before recording its acts:
/// the database looks at the subject's label when the weight is `wipe` or `install`.
pub async fn record_act(tx: &mut Tx, act: &NewAct, now: Millis) -> Result<bool, Error> {
    let NewAct { key, body, again, target, owner, weight, due } = act;
    let row = cells![key.of, key.epoch, &key.slot, body, *again, target, *owner, weight, *due, now];
    Ok(tx.run(RECORD, row).await? == 1)
}

/// Acts of one weight whose time has come, oldest first: many of one kind that wait must not hide another kind. In a writing transaction on PostgreSQL they are locked, and those locked by
/// another daemon are passed over.
pub async fn due_acts(tx: &mut Tx, weight: &str, now: Millis, limit: u32) -> Result<Vec<Due>, Error> {
    let text = if tx.writes() { DUE_LOCKED } else { DUE };
    let rows = tx.all(text, cells![weight, now, i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(Due { act: act(row)?, current: row.int_or_null("current")?.map(Epoch) })).collect()
}

/// Acts of one weight whose courier's time ran out: claim them, then probe.
pub async fn expired_acts(tx: &mut Tx, weight: &str, now: Millis, limit: u32) -> Result<Vec<ActRow>, Error> {
    let rows = tx.all(EXPIRED, cells![weight, now, i64::from(limit)]).await?;
    rows.iter().map(act).collect()
}

pub async fn get_act(tx: &mut Tx, key: &Key) -> Result<Option<ActRow>, Error> {
    tx.one(GET, cells![key.of, key.epoch, &key.slot]).await?.as_ref().map(act).transpose()
}

/// Claims a due act, or one whose claim has expired, until `until`. Give `courier` a name of its own for each claim:
/// it is the fence between an old courier and a new one.
pub async fn claim(tx: &mut Tx, key: &Key, courier: &str, until: Millis, now: Millis) -> Result<Claim, Error> {
    let row = tx.one(GET_LOCKED, cells![key.of, key.epoch, &key.slot]).await?;
    let Some(found) = row.as_ref().map(act).transpose()? else { return Ok(Claim::Lost) };
    let state = match found.state {
        ActState::Due if found.due <= now => ActState::Claimed,
        ActState::Claimed | ActState::Sent if found.until.is_some_and(|end| end <= now) => found.state,
        _ => return Ok(Claim::Lost),
    };
    tx.run(CLAIM, cells![key.of, key.epoch, &key.slot, state, courier, until]).await?;
    let found = Box::new(found);
    Ok(if found.state == ActState::Due { Claim::Claimed(found) } else { Claim::Reclaimed(found) })
}

/// Makes durable, before the first byte, that the act is being sent; `false` when the claim is lost or over.
pub async fn mark_sent(tx: &mut Tx, key: &Key, courier: &str, phase: &str, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(MARK_SENT, cells![key.of, key.epoch, &key.slot, courier, phase, now]).await? == 1)
}

/// Keeps where a procedure of several steps is; `false` when the claim is lost.
pub async fn set_phase(tx: &mut Tx, key: &Key, courier: &str, phase: &str) -> Result<bool, Error> {
    Ok(tx.run(SET_PHASE, cells![key.of, key.epoch, &key.slot, courier, phase]).await? == 1)
}

/// Moves the claim's end; `false` when the claim is lost.
pub async fn extend(tx: &mut Tx, key: &Key, courier: &str, until: Millis) -> Result<bool, Error> {
    Ok(tx.run(EXTEND, cells![key.of, key.epoch, &key.slot, courier, until]).await? == 1)
}

/// Ends the claims of couriers that are known to be dead at `until`, where they last longer: those in this state and of
/// this weight, whoever holds them. Says how many.
pub async fn cut(tx: &mut Tx, state: ActState, weight: &str, until: Millis) -> Result<u64, Error> {
    tx.run(CUT, cells![state, weight, until]).await
}

/// Ends an act with its evidence (JSON); `false` when the claim is lost.
pub async fn finish(
    tx: &mut Tx,
    key: &Key,
    courier: &str,
    end: End,
    evidence: &str,
    now: Millis,
) -> Result<bool, Error> {
    Ok(tx.run(FINISH, cells![key.of, key.epoch, &key.slot, courier, end, evidence, now]).await? == 1)
}

/// Decides an unknown act by later evidence; `false` when it is not unknown.
pub async fn settle_unknown(tx: &mut Tx, key: &Key, end: End, evidence: &str, now: Millis) -> Result<bool, Error> {
    Ok(tx.run(SETTLE, cells![key.of, key.epoch, &key.slot, end, evidence, now]).await? == 1)
}

/// Makes an act due later, whether due or claimed but not sent; `false` for any other.
pub async fn postpone(tx: &mut Tx, key: &Key, due: Millis) -> Result<bool, Error> {
    Ok(tx.run(POSTPONE, cells![key.of, key.epoch, &key.slot, due]).await? == 1)
}

/// Gives an act back that did not happen: the courier's evidence (JSON) says why. A sent act that may never be repeated
/// is refused.
pub async fn retry(tx: &mut Tx, key: &Key, courier: &str, due: Millis, evidence: &str) -> Result<bool, Error> {
    Ok(tx.run(RETRY, cells![key.of, key.epoch, &key.slot, courier, due, evidence]).await? == 1)
}

/// Fails the due acts of epochs before `before`, with the evidence `"superseded"`; says how many.
pub async fn supersede(tx: &mut Tx, subject: Subject, before: Epoch, now: Millis) -> Result<u64, Error> {
    tx.run(SUPERSEDE, cells![subject, before, now]).await
}

/// A subject's acts, oldest first.
pub async fn acts_of(tx: &mut Tx, subject: Subject) -> Result<Vec<ActRow>, Error> {
    tx.all(OF, cells![subject]).await?.iter().map(act).collect()
}

/// Acts claimed or sent, for budgets.
pub async fn in_flight(tx: &mut Tx) -> Result<Vec<ActRow>, Error> {
    tx.all(IN_FLIGHT, cells![]).await?.iter().map(act).collect()
}

pub async fn in_flight_of(tx: &mut Tx, subject: Subject) -> Result<Vec<ActRow>, Error> {
    tx.all(IN_FLIGHT_OF, cells![subject]).await?.iter().map(act).collect()
}

/// Acts finished at `since` or later, for budgets per hour and day.
pub async fn finished_since(tx: &mut Tx, since: Millis) -> Result<Vec<ActRow>, Error> {
    tx.all(FINISHED, cells![since]).await?.iter().map(act).collect()
}

fn act(row: &Row) -> Result<ActRow, Error> {
    Ok(ActRow {
        key: Key { of: row.subject("subject")?, epoch: Epoch(row.int("epoch")?), slot: row.text("slot")? },
        body: row.text("body")?,
        again: row.parse("again")?,
        target: row.text("target")?,
        owner: row.parse("owner")?,
        weight: row.text("weight")?,
        due: row.millis("due")?,
        state: row.parse("state")?,
        phase: row.text("phase")?,
        courier: row.text_or_null("courier")?,
        until: row.millis_or_null("until")?,
        attempts: row.int("attempts")?,
        evidence: row.text_or_null("evidence")?,
        created: row.millis("created")?,
        finished: row.millis_or_null("finished")?,
    })
}
