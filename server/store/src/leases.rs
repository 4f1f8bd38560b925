//! DHCP leases. An ACK leaves only after its row is synced, so a whole queue is committed by one statement.
//!
//! The batch travels as one JSON text, which both databases take apart themselves. The key (network, address) is the
//! only index that must be unique: whether a MAC has a second address is the DHCP thread's business.

use crate::error::Error;
use crate::sql::{Row, Sql, cells, two, words};
use crate::store::Store;
use crate::tx::Tx;
use muster_names::{Mac, Millis};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

words! {
    /// What an address is just now.
    LeaseState {
        Leased = "leased",
        /// A client found it in use: nobody gets it until `until`.
        Declined = "declined",
        /// Given back; anybody may have it.
        Released = "released",
    }
}

/// One address of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow<A = Ipv4Addr> {
    pub network: String,
    pub address: A,
    pub mac: Mac,
    pub until: Millis,
    pub state: LeaseState,
    /// When the client was last heard.
    pub seen: Millis,
    /// JSON: what the client or its relay said of it, as received.
    pub client: String,
}

/// What became of one row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The row is durable: the answer may leave.
    Granted,
    /// Another client holds the address: no answer, and another address next time.
    Conflict,
}

// The row that is there gives way to the same MAC, and to anybody once it has expired or was released; a declined
// address gives way to nobody before its time.
const COMMIT: Sql = two(
    "commit leases",
    "insert into lease (network, address, mac, until, state, seen, client) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 from jsonb_each($1) where true \
     on conflict (network, address) do update set mac = excluded.mac, until = excluded.until, state = excluded.state, \
     seen = excluded.seen, client = excluded.client \
     where lease.until <= $2 or lease.state = 'released' or (lease.mac = excluded.mac \
     and (lease.state <> 'declined' or excluded.state = 'declined'))",
    "insert into lease (network, address, mac, until, state, seen, client) \
     select v->>0, (v->>1)::bigint, (v->>2)::bigint, (v->>3)::bigint, v->>4, (v->>5)::bigint, v->>6 \
     from json_array_elements($1::json) as rows(v) \
     on conflict (network, address) do update set mac = excluded.mac, until = excluded.until, state = excluded.state, \
     seen = excluded.seen, client = excluded.client \
     where lease.until <= $2 or lease.state = 'released' or (lease.mac = excluded.mac \
     and (lease.state <> 'declined' or excluded.state = 'declined'))",
);
// A row that gave way is as the batch has it; one that did not differs in MAC or state.
const HELD: Sql = two(
    "see which leases gave way",
    "select lease.network, lease.address from jsonb_each($1) \
     join lease on lease.network = value->>0 and lease.address = value->>1 \
     where lease.mac = value->>2 and lease.until = value->>3 and lease.state = value->>4",
    "select lease.network, lease.address from json_array_elements($1::json) as rows(v) \
     join lease on lease.network = v->>0 and lease.address = (v->>1)::bigint \
     where lease.mac = (v->>2)::bigint and lease.until = (v->>3)::bigint and lease.state = v->>4",
);
const LOAD: Sql = crate::sql::sql(
    "load leases",
    "select network, address, mac, until, state, seen, client from lease order by network, address",
);

const HOLDER: Sql = crate::sql::sql(
    "find an address's holder",
    "select network, address, mac, until, state, seen, client from lease where network = $1 and address = $2",
);

/// Who holds an address just now, if anybody does.
pub async fn holder(store: &Store, network: &str, address: Ipv4Addr, now: Millis) -> Result<Option<Mac>, Error> {
    let mut tx = store.lease_tx().await?;
    let row = tx.one(HOLDER, crate::sql::cells![network, i64::from(u32::from(address))]).await?;
    let row = row.as_ref().map(lease).transpose()?;
    Ok(row.filter(|row| row.state == LeaseState::Leased && row.until > now).map(|row| row.mac))
}

/// The rows of these addresses, where there are any; what has ended or was given back included.
pub async fn leases_at(store: &Store, keys: &[(String, Ipv4Addr)]) -> Result<Vec<LeaseRow>, Error> {
    let mut tx = store.lease_tx().await?;
    let mut rows = Vec::new();
    for (network, address) in keys {
        let row = tx.one(HOLDER, crate::sql::cells![network.as_str(), i64::from(u32::from(*address))]).await?;
        rows.extend(row.as_ref().map(lease).transpose()?);
    }
    Ok(rows)
}

/// Commits a batch in order, and says for each row what became of it. One statement, unless an address comes twice.
///
/// After an error nothing is known: send the same batch again, it gives the same answer.
pub async fn commit_leases(store: &Store, batch: &[LeaseRow], now: Millis) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = vec![Outcome::Conflict; batch.len()];
    if batch.is_empty() {
        return Ok(outcomes);
    }
    let mut tx = store.lease_tx().await?;
    // In the order of the key, so that two daemons lock rows in the same order.
    let mut waiting: BTreeMap<(&str, u32), VecDeque<usize>> = BTreeMap::new();
    for (at, row) in batch.iter().enumerate() {
        waiting.entry((&row.network, u32::from(row.address))).or_default().push_back(at);
    }
    while !waiting.is_empty() {
        let round: Vec<usize> = waiting.values_mut().filter_map(VecDeque::pop_front).collect();
        waiting.retain(|_, rest| !rest.is_empty());
        let rows = round.iter().filter_map(|at| batch.get(*at));
        let granted = commit_round(&mut tx, rows, now).await?;
        for at in round {
            if let (Some(row), Some(outcome)) = (batch.get(at), outcomes.get_mut(at))
                && granted.holds(row)
            {
                *outcome = Outcome::Granted;
            }
        }
    }
    tx.end().await?;
    Ok(outcomes)
}

/// Which rows of a round gave way.
enum Gave {
    All,
    These(HashSet<(String, u32)>),
}

impl Gave {
    fn holds(&self, row: &LeaseRow) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(&(clean(&row.network).into_owned(), u32::from(row.address))),
        }
    }
}

/// A row as it travels.
#[derive(Serialize)]
struct Line<'a>(Cow<'a, str>, u32, u64, i64, &'static str, i64, Cow<'a, str>);

/// Rows of different keys, as one statement. Only where one of them did not give way it is asked which: a conflict is
/// rare, and rows that come back cost as much as rows that go in.
async fn commit_round<'a>(tx: &mut Tx, rows: impl Iterator<Item = &'a LeaseRow>, now: Millis) -> Result<Gave, Error> {
    let rows: Vec<Line<'_>> = rows
        .map(|row| {
            let (network, client) = (clean(&row.network), clean(&row.client));
            Line(network, row.address.into(), number(row.mac), row.until.0, row.state.word(), row.seen.0, client)
        })
        .collect();
    let damaged = |why: serde_json::Error| Error::Damaged { what: COMMIT.what, column: "client", why: why.to_string() };
    let text = serde_json::to_string(&rows).map_err(damaged)?;
    if tx.run(COMMIT, cells![&text, now]).await? == rows.len() as u64 {
        return Ok(Gave::All);
    }
    let held = tx.all(HELD, cells![&text]).await?;
    held.iter()
        .map(|row| Ok((row.text("network")?, u32::from(address(row)?))))
        .collect::<Result<_, _>>()
        .map(Gave::These)
}

/// Every lease there is, for the DHCP thread's start.
pub async fn load_leases(store: &Store) -> Result<Vec<LeaseRow>, Error> {
    let mut tx = store.lease_tx().await?;
    let rows = tx.all(LOAD, cells![]).await?;
    rows.iter().map(lease).collect()
}

/// What clients send may hold NUL, and must not fail the whole batch.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

pub(crate) fn number(mac: Mac) -> u64 {
    mac.0.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

fn address(row: &Row) -> Result<Ipv4Addr, Error> {
    let number = row.int("address")?;
    u32::try_from(number).map(Ipv4Addr::from).map_err(|found| row.damaged("address", found))
}

fn mac_of(row: &Row) -> Result<Mac, Error> {
    let [high, low, octets @ ..] = row.int("mac")?.to_be_bytes();
    if (high, low) != (0, 0) {
        return Err(row.damaged("mac", "it has more than six octets"));
    }
    Ok(Mac(octets))
}

fn lease(row: &Row) -> Result<LeaseRow, Error> {
    with_address(row, address(row)?)
}

/// The row but for its address, which each protocol writes its own way.
pub(crate) fn with_address<A>(row: &Row, address: A) -> Result<LeaseRow<A>, Error> {
    Ok(LeaseRow {
        network: row.text("network")?,
        address,
        mac: mac_of(row)?,
        until: row.millis("until")?,
        state: row.parse("state")?,
        seen: row.millis("seen")?,
        client: row.text("client")?,
    })
}
