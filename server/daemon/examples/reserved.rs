//! The daemon's DHCP server on the daemon's lease store, for ten thousand machines that are known from a file alone:
//! `reserved INTERFACE ADDRESS FOLDER FILE`, where each line of the file is `MAC ADDRESS`. For `tests/bench/dhcp.sh`.

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_bootserver::{Commit, CommitError, View, Watch, dhcp};
use muster_names::Mac;
use muster_netboot::{Host, Lease, LeaseChange, Loaders, Network, Networks, Outcome, Sighting};
use muster_store::{Place, Store};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

struct Reserved(HashMap<Mac, Host>);

impl View for Reserved {
    fn host(&self, mac: Mac) -> Host {
        self.0.get(&mac).cloned().unwrap_or_default()
    }
}

struct Leases(Store);

impl Commit for Leases {
    fn commit(&self, batch: Vec<LeaseChange>) -> BoxFuture<'_, Result<Vec<Outcome>, CommitError>> {
        Box::pin(async move {
            muster_conductor::commit_leases(&self.0, &batch).await.map_err(|error| CommitError(Box::new(error)))
        })
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Lease>, CommitError>> {
        Box::pin(
            async move { muster_conductor::load_leases(&self.0).await.map_err(|error| CommitError(Box::new(error))) },
        )
    }
}

struct Unseen;

impl Watch for Unseen {
    fn saw(&self, _: Sighting) {}

    fn met(&self, _conflict: muster_netboot::Conflict) {}
}

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address, folder, file] = words.as_slice() else {
        anyhow::bail!("usage: reserved INTERFACE ADDRESS FOLDER FILE")
    };
    let server: Ipv4Addr = address.parse()?;
    let mut hosts = HashMap::new();
    for line in std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?.lines() {
        let (mac, address) = line.split_once(' ').with_context(|| format!("{line:?} is not MAC ADDRESS"))?;
        let host = Host { ours: true, reservation: Some(address.parse()?), ..Host::default() };
        hosts.insert(mac.parse()?, host);
    }
    let mut network = Network::new("bench", "10.0.0.0/8".parse()?, server, &format!("http://{server}:8080"));
    network.interface = Some(interface.clone());
    network.authoritative = true;
    network.loaders = Loaders::default();
    let networks = Networks::new(vec![network]).map_err(|slips| anyhow::anyhow!("{slips:?}"))?;
    let store = Store::open(&Place::Sqlite(folder.into())).await?;
    let config = dhcp::Config {
        networks: Arc::new(ArcSwap::from_pointee(networks)),
        interfaces: vec![interface.clone()],
        counters: Arc::default(),
    };
    let cancel = CancellationToken::new();
    dhcp::serve(config, Arc::new(Reserved(hosts)), Arc::new(Leases(store)), Arc::new(Unseen), cancel).await?;
    Ok(())
}
