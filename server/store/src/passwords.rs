//! Passwords of BMCs, sealed before they come here. The table holds that one is in force and one on its way, at most.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, sql, words};
use crate::tx::Tx;
use muster_names::{MachineId, Millis};

words! {
    /// Where a password stands. There is always one that the BMC takes: what is in force, until the next has proved itself.
    PasswordState {
        /// Written down; the BMC has not heard of it.
        Made = "made",
        /// The BMC may have heard of it.
        Sent = "sent",
        /// It logged in.
        Current = "current",
        /// Was in force.
        Former = "former",
        /// The BMC never took it.
        Dropped = "dropped",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    pub machine: MachineId,
    /// Counts the machine's passwords from 1.
    pub number: i64,
    /// Where it was set, as the rack layout said then.
    pub address: String,
    pub account: String,
    pub state: PasswordState,
    pub sealed: String,
    pub made: Millis,
    /// When it came in force or was dropped.
    pub settled: Option<Millis>,
}

const OF: Sql = sql(
    "list a BMC's passwords",
    "select machine, number, address, account, state, sealed, made, settled from bmc_password where machine = $1 order by number",
);
const CURRENT: Sql = sql(
    "list the passwords in force",
    "select machine, number, address, account, state, sealed, made, settled from bmc_password where state = 'current' \
     order by machine",
);
const ALIVE: Sql = sql(
    "list the passwords that BMCs may take",
    "select machine, number, address, account, state, sealed, made, settled from bmc_password \
     where state in ('made', 'sent', 'current') order by machine, number",
);
const PUT: Sql = sql(
    "write down a BMC's next password",
    "insert into bmc_password (machine, number, address, account, state, sealed, made) \
     values ($1, $2, $3, $4, 'made', $5, $6) \
     on conflict do nothing",
);
const MOVE: Sql = sql(
    "move a BMC's password on",
    "update bmc_password set state = $4, settled = $5 where machine = $1 and number = $2 and state = $3",
);
const RETIRE: Sql = sql(
    "retire the password in force",
    "update bmc_password set state = 'former' where machine = $1 and state = 'current'",
);
const DROP_OPEN: Sql = sql(
    "drop the password on its way",
    "update bmc_password set state = 'dropped', settled = $2 where machine = $1 and state in ('made', 'sent')",
);

const MOVE_TO: Sql = sql(
    "keep where a BMC's password is taken",
    "update bmc_password set address = $2 where machine = $1 and state = 'current'",
);

/// The BMC with the password in force has another address now. `false`: none is in force.
pub async fn move_to(tx: &mut Tx, machine: MachineId, address: &str) -> Result<bool, Error> {
    Ok(tx.run(MOVE_TO, cells![machine, address]).await? == 1)
}

/// All of a machine's, oldest first.
pub async fn of(tx: &mut Tx, machine: MachineId) -> Result<Vec<Password>, Error> {
    tx.all(OF, cells![machine]).await?.iter().map(password).collect()
}

/// Every one that a BMC may take: in force or on its way.
pub async fn alive(tx: &mut Tx) -> Result<Vec<Password>, Error> {
    tx.all(ALIVE, cells![]).await?.iter().map(password).collect()
}

/// What is in force, for every machine that has one.
pub async fn current(tx: &mut Tx) -> Result<Vec<Password>, Error> {
    tx.all(CURRENT, cells![]).await?.iter().map(password).collect()
}

/// Writes down a next one; `false` when one is on its way already, or the number is taken.
pub async fn put(
    tx: &mut Tx,
    machine: MachineId,
    number: i64,
    (address, account): (&str, &str),
    sealed: &str,
    now: Millis,
) -> Result<bool, Error> {
    Ok(tx.run(PUT, cells![machine, number, address, account, sealed, now]).await? == 1)
}

/// `false` when it was not in `from`.
pub async fn step(
    tx: &mut Tx,
    machine: MachineId,
    number: i64,
    (from, to): (PasswordState, PasswordState),
    settled: Option<Millis>,
) -> Result<bool, Error> {
    Ok(tx.run(MOVE, cells![machine, number, from, to, settled]).await? == 1)
}

/// It logged in: from now on it is the one in force, and the one before is a former one. `false`, and nothing has changed,
/// when it is not on its way any more.
pub async fn settle(tx: &mut Tx, machine: MachineId, number: i64, now: Millis) -> Result<bool, Error> {
    let rows = of(tx, machine).await?;
    if !rows.iter().any(|row| row.number == number && row.state == PasswordState::Sent) {
        return Ok(false);
    }
    tx.run(RETIRE, cells![machine]).await?;
    step(tx, machine, number, (PasswordState::Sent, PasswordState::Current), Some(now)).await
}

/// Neither the one in force nor one on its way counts any more; says whether there was any.
pub async fn forget(tx: &mut Tx, machine: MachineId, now: Millis) -> Result<bool, Error> {
    let open = tx.run(DROP_OPEN, cells![machine, now]).await?;
    Ok(tx.run(RETIRE, cells![machine]).await? + open > 0)
}

fn password(row: &Row) -> Result<Password, Error> {
    Ok(Password {
        machine: row.parse("machine")?,
        number: row.int("number")?,
        address: row.text("address")?,
        account: row.text("account")?,
        state: row.parse("state")?,
        sealed: row.text("sealed")?,
        made: row.millis("made")?,
        settled: row.millis_or_null("settled")?,
    })
}
