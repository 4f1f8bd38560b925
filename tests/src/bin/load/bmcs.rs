//! Rows of BMCs on loopback addresses, each a simulator of its own: what `muster bmc`, `ipmipower` and `ipmitool` are
//! measured against. Some are dead: their port is taken and nobody answers there.

use anyhow::{Context as _, Result, ensure};
use muster_tests::ipmi_sim::{IpmiSim, Traits};
use muster_tests::redfish_sim::{Identity, RedfishSim, recorded};
use muster_tests::told::Told;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, UdpSocket};

const IPMI_PORT: u16 = 623;
const REDFISH_PORT: u16 = 443;

/// Serves until it is ended. Says `ready` once every one listens.
pub fn run(told: &Told) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let count: u32 = told.must("count")?;
        let dead: u32 = told.maybe("dead")?.unwrap_or(0);
        ensure!(dead <= count, "dead={dead} of count={count}");
        // Every so many-th one is dead, so that they lie among the others.
        let is_dead = |n: u32| dead > 0 && n * dead % count < dead;
        let (mut ipmi, mut redfish, mut silent) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(first) = told.maybe::<Ipv4Addr>("ipmi")? {
            for (n, at) in addresses(first, count, IPMI_PORT) {
                if is_dead(n) {
                    silent.push(UdpSocket::bind(at).await?);
                } else {
                    ipmi.push(IpmiSim::start_at(at, Traits::default()).await);
                }
            }
        }
        let identity = Identity::new();
        let mut deaf = Vec::new();
        if let Some(first) = told.maybe::<Ipv4Addr>("redfish")? {
            for (n, at) in addresses(first, count, REDFISH_PORT) {
                if is_dead(n) {
                    deaf.push(full(at).await?);
                } else {
                    redfish.push(RedfishSim::start_at(at, Vec::new(), Some(&identity)).await);
                }
            }
        }
        if let (Some(first), Some(name)) = (told.maybe::<Ipv4Addr>("trees")?, told.maybe::<String>("tree")?) {
            let tree = recorded(&name).context("MUSTER_CAPTURES names no folder of recordings")?;
            let mut all = addresses(first, count, REDFISH_PORT);
            let (_, at) = all.next().context("count=0")?;
            let mut sim = RedfishSim::start_at(at, Vec::new(), Some(&identity)).await;
            sim.state().tree = tree;
            sim.state().slots = usize::MAX;
            for (_, at) in all {
                sim.also_at(at).await;
            }
            redfish.push(sim);
        }
        println!("ready");
        std::future::pending::<()>().await;
        drop((ipmi, redfish, silent, deaf));
        Ok(())
    })
}

fn addresses(first: Ipv4Addr, count: u32, port: u16) -> impl Iterator<Item = (u32, SocketAddr)> {
    (0..count).map(move |n| (n, SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + n)), port)))
}

/// A listener whose queue is full: the kernel lets further connections wait in silence, as a dead host does.
async fn full(at: SocketAddr) -> Result<(tokio::net::TcpListener, Vec<tokio::net::TcpStream>)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    let listener = socket.listen(1)?;
    let mut fill = Vec::new();
    for _ in 0..2 {
        fill.push(tokio::net::TcpStream::connect(at).await?);
    }
    Ok((listener, fill))
}
