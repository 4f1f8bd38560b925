//! Leases over IPv6, beside the others and by their rule: a table of its own, because an IPv4 address is a number and
//! this one is not.

use crate::error::Error;
use crate::leases::{LeaseRow, LeaseState, Outcome, clean, number, with_address};
use crate::sql::{Row, Sql, cells, sql, two};
use crate::store::Store;
use muster_names::{Mac, Millis};
use std::collections::HashSet;
use std::net::Ipv6Addr;

/// One IPv6 address of one network.
pub type Lease6Row = LeaseRow<Ipv6Addr>;

const COMMIT: Sql = two(
    "commit IPv6 leases",
    "insert into lease6 (network, address, mac, until, state, seen, client) \
     select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 from json_each($1) where true \
     on conflict (network, address) do update set mac = excluded.mac, until = excluded.until, state = excluded.state, \
     seen = excluded.seen, client = excluded.client \
     where lease6.until <= $2 or lease6.state = 'released' or (lease6.mac = excluded.mac \
     and (lease6.state <> 'declined' or excluded.state = 'declined')) \
     returning network, address",
    "insert into lease6 (network, address, mac, until, state, seen, client) \
     select v->>0, v->>1, (v->>2)::bigint, (v->>3)::bigint, v->>4, (v->>5)::bigint, v->>6 \
     from json_array_elements($1::json) as rows(v) \
     on conflict (network, address) do update set mac = excluded.mac, until = excluded.until, state = excluded.state, \
     seen = excluded.seen, client = excluded.client \
     where lease6.until <= $2 or lease6.state = 'released' or (lease6.mac = excluded.mac \
     and (lease6.state <> 'declined' or excluded.state = 'declined')) \
     returning network, address",
);
const LOAD: Sql = sql(
    "load IPv6 leases",
    "select network, address, mac, until, state, seen, client from lease6 order by network, address",
);
const HOLDER: Sql = sql(
    "find an IPv6 address's holder",
    "select network, address, mac, until, state, seen, client from lease6 where network = $1 and address = $2",
);

/// Who holds an address just now, if anybody does.
pub async fn holder6(store: &Store, network: &str, address: Ipv6Addr, now: Millis) -> Result<Option<Mac>, Error> {
    let mut tx = store.lease_tx().await?;
    let row = tx.one(HOLDER, cells![network, address.to_string()]).await?;
    let row = row.as_ref().map(lease).transpose()?;
    Ok(row.filter(|row| row.state == LeaseState::Leased && row.until > now).map(|row| row.mac))
}

/// Commits a batch as one statement, and says for each row what became of it. No (network, address) comes twice.
///
/// After an error nothing is known: send the same batch again, it gives the same answer.
pub async fn commit_leases6(store: &Store, batch: &[Lease6Row], now: Millis) -> Result<Vec<Outcome>, Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<&Lease6Row> = batch.iter().collect();
    // In the order of the key, so that two daemons lock rows in the same order.
    rows.sort_by(|a, b| (&a.network, a.address).cmp(&(&b.network, b.address)));
    let rows: Vec<serde_json::Value> = rows
        .into_iter()
        .map(|row| {
            serde_json::json!([
                clean(&row.network),
                row.address.to_string(),
                number(row.mac),
                row.until.0,
                row.state.word(),
                row.seen.0,
                clean(&row.client),
            ])
        })
        .collect();
    let mut tx = store.lease_tx().await?;
    let granted = tx.all(COMMIT, cells![serde_json::Value::Array(rows).to_string(), now]).await?;
    tx.end().await?;
    let granted = granted.iter().map(|row| Ok((row.text("network")?, address(row)?)));
    let granted: HashSet<(String, Ipv6Addr)> = granted.collect::<Result<_, Error>>()?;
    let outcome = |row: &Lease6Row| match granted.contains(&(clean(&row.network).into_owned(), row.address)) {
        true => Outcome::Granted,
        false => Outcome::Conflict,
    };
    Ok(batch.iter().map(outcome).collect())
}

/// Every lease there is, for the server's start.
pub async fn load_leases6(store: &Store) -> Result<Vec<Lease6Row>, Error> {
    let mut tx = store.lease_tx().await?;
    let rows = tx.all(LOAD, cells![]).await?;
    rows.iter().map(lease).collect()
}

fn address(row: &Row) -> Result<Ipv6Addr, Error> {
    let text = row.text("address")?;
    text.parse().map_err(|_| row.damaged("address", text))
}

fn lease(row: &Row) -> Result<Lease6Row, Error> {
    with_address(row, address(row)?)
}
