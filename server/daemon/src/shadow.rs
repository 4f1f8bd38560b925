//! `muster dhcp shadow`: the site's own configuration and what its database knows, beside a live DHCP server.
//!
//! Everything is read first; then the process is sealed, so that from the first packet on the kernel itself refuses to
//! send anything. It is one thread that hears, answers in memory and compares.

use crate::cli::{Output, Shadow as Asked};
use crate::config::Config;
use crate::data;
use anyhow::{Context as _, Result, bail};
use muster_bootserver::dhcp::{parse, parse_reply};
use muster_bootserver::shadow::{Heard, Signals, Tap, datagram, seal, wait};
use muster_catalog::Catalog;
use muster_conductor::now;
use muster_names::Mac;
use muster_netboot::shadow::{Finding, Shadow, Tally};
use muster_netboot::{Host, Ingress, Lease, Networks};
use muster_store::Store;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// There were differences.
const DIFFERS: u8 = 4;

pub fn shadow(asked: &Asked, output: Output, runtime: tokio::runtime::Runtime) -> Result<ExitCode> {
    let config = Config::read(&asked.config)?;
    let catalog = data::catalog(&config)?;
    let networks = config.every_network(&|secure| data::loaders(&config, &catalog, secure))?;
    let (hosts, leases) = runtime.block_on(known(&config, &catalog))?;
    drop(runtime);
    let reserved = hosts.values().filter_map(|host| host.reservation).collect();
    let networks = networks.with_reserved(&reserved);
    let mut taps = Vec::new();
    for interface in interfaces(&config, asked)? {
        let opened = Tap::open(&interface);
        taps.push(opened.with_context(|| format!("cannot listen on {interface}; it takes root, or CAP_NET_RAW"))?);
    }
    let signals = Signals::take().context("cannot take the signals that end it")?;
    seal().context("the kernel cannot keep this process from sending (seccomp), so it does not listen")?;
    if output == Output::Table {
        let named: Vec<&str> = taps.iter().map(|tap| tap.interface.as_str()).collect();
        let reserved = hosts.values().filter(|host| host.reservation.is_some()).count();
        println!(
            "listening on {}; {} MACs known, {reserved} with a reservation, {} leases; nothing is sent",
            named.join(", "),
            hosts.len(),
            leases.len()
        );
    }
    let mut ear = Ear { networks, hosts, shadow: Shadow::new(leases), output, unread: 0, lost: 0 };
    ear.listen(&taps, &signals, asked)?;
    ear.end()
}

/// What the database knows, if there is one; it is looked at and closed again.
async fn known(config: &Config, catalog: &Catalog) -> Result<(BTreeMap<Mac, Host>, Vec<Lease>)> {
    let Some(db) = Store::look(&config.place()).await.context("the database cannot be read")? else {
        return Ok(Default::default());
    };
    let mut tx = db.read().await?;
    let hosts = muster_conductor::hosts(&mut tx, catalog).await?;
    drop(tx);
    let leases = muster_conductor::leases_of(muster_store::load_leases(&db).await?);
    db.close().await;
    Ok((hosts.into_iter().collect(), leases))
}

fn interfaces(config: &Config, asked: &Asked) -> Result<BTreeSet<String>> {
    let mut named: BTreeSet<String> = asked.interfaces.iter().cloned().collect();
    if named.is_empty() {
        named = config.networks.iter().filter_map(|network| network.interface.clone()).collect();
    }
    if named.is_empty() {
        bail!("no configured network has an interface; name one with --interface");
    }
    Ok(named)
}

struct Ear {
    networks: Networks,
    hosts: BTreeMap<Mac, Host>,
    shadow: Shadow,
    output: Output,
    /// Datagrams that are no DHCP messages.
    unread: usize,
    /// Packets the kernel could not keep for us.
    lost: u64,
}

impl Ear {
    fn listen(&mut self, taps: &[Tap], signals: &Signals, asked: &Asked) -> Result<()> {
        let begun = Instant::now();
        let end = asked.duration.map(Duration::from_secs);
        let every = asked.every.map(|seconds| Duration::from_secs(seconds.max(1)));
        let mut next = every;
        let mut fds: Vec<_> = taps.iter().map(Tap::fd).collect();
        fds.push(signals.fd());
        loop {
            let ready = wait(&fds, 200)?;
            for tap in taps {
                tap.hear(|packet| self.packet(&tap.interface, packet))
                    .with_context(|| format!("{} went away", tap.interface))?;
            }
            let late = self.shadow.overdue(now());
            late.iter().for_each(|finding| self.tell(finding));
            self.lost += taps.iter().map(|tap| u64::from(tap.lost())).sum::<u64>();
            if let (Some(at), Some(every)) = (next, every)
                && begun.elapsed() >= at
            {
                self.summary();
                next = Some(at + every);
            }
            let signalled = ready.last() == Some(&true);
            if signalled || end.is_some_and(|end| begun.elapsed() >= end) {
                return Ok(());
            }
        }
    }

    fn packet(&mut self, interface: &str, packet: &[u8]) {
        let Some(Heard { source, destination, payload }) = datagram(packet) else { return };
        match payload.first() {
            Some(1) => match parse(payload) {
                Ok(request) => {
                    let unicast = !destination.ip().is_broadcast()
                        && self.networks.iter().all(|network| network.subnet.broadcast() != *destination.ip());
                    let ingress = Ingress { interface, source, unicast, port: destination.port() };
                    let hosts = &self.hosts;
                    let view = |mac: Mac| hosts.get(&mac).cloned().unwrap_or_default();
                    self.shadow.heard(&self.networks, request, ingress, &view, now());
                }
                Err(_) => self.unread += 1,
            },
            _ => match parse_reply(payload) {
                Ok(Some(seen)) => {
                    if let Some(finding) = self.shadow.answered(&self.networks, &seen, now()) {
                        self.tell(&finding);
                    }
                }
                Ok(None) | Err(_) => self.unread += 1,
            },
        }
    }

    /// JSON has every exchange, a person is told those that differ.
    fn tell(&self, finding: &Finding) {
        match self.output {
            Output::Json => println!("{}", exchange(finding)),
            Output::Table if !finding.differences.is_empty() => println!("{}", line(finding)),
            Output::Table => {}
        }
    }

    fn summary(&self) {
        let tally = self.shadow.tally();
        match self.output {
            Output::Json => println!("{}", json!({ "summary": summary(tally, self.unread, self.lost) })),
            Output::Table => println!("{}", words(tally, self.unread, self.lost)),
        }
    }

    fn end(&self) -> Result<ExitCode> {
        self.summary();
        let tally = self.shadow.tally();
        if tally.exchanges == 0 {
            bail!(
                "no exchange was seen, so nothing was compared: does this interface hear the clients and the live server?"
            );
        }
        Ok(if tally.differing == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
    }
}

/// `52:54:00:00:00:12 request on lan: lease time ours 3600 s, theirs 600 s; router ours absent, theirs 10.0.0.1`
fn line(finding: &Finding) -> String {
    let each = finding.differences.iter().map(|one| format!("{} ours {}, theirs {}", one.what, one.ours, one.theirs));
    let network = finding.network.as_deref().unwrap_or("no network of ours");
    format!("{} {} on {network}: {}", finding.mac, finding.asked, each.collect::<Vec<_>>().join("; "))
}

fn exchange(finding: &Finding) -> Value {
    let each =
        finding.differences.iter().map(|one| json!({ "what": one.what, "ours": one.ours, "theirs": one.theirs }));
    json!({ "mac": finding.mac, "asked": finding.asked, "network": finding.network, "address": finding.theirs,
        "same": finding.differences.is_empty(), "pool": finding.pool, "differences": each.collect::<Vec<_>>() })
}

fn summary(tally: &Tally, unread: usize, lost: u64) -> Value {
    json!({ "exchanges": tally.exchanges, "differing": tally.differing, "pool": tally.pool, "by": tally.by_what,
        "machines": tally.machines, "unasked": tally.unasked, "lost": tally.lost as u64 + lost, "unread": unread })
}

fn words(tally: &Tally, unread: usize, lost: u64) -> String {
    let mut text = format!("{} exchanges, {} of them differ", tally.exchanges, tally.differing);
    if !tally.machines.is_empty() {
        text.push_str(&format!(" ({} machines)", tally.machines.len()));
    }
    let by: Vec<String> = tally.by_what.iter().map(|(what, count)| format!("{what} {count}")).collect();
    if !by.is_empty() {
        text.push_str(&format!(": {}", by.join(", ")));
    }
    let lost = tally.lost as u64 + lost;
    for (count, said) in [
        (tally.pool as u64, "got another free address of the pool, which is no difference"),
        (tally.unasked as u64, "replies without a request that was seen"),
        (lost, "packets lost here: the picture is not whole"),
        (unread as u64, "packets that are no DHCP messages"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {said}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_netboot::shadow::Difference;

    #[test]
    fn a_difference_is_one_line_and_the_summary_counts_what_differs() {
        let one = Difference { what: "lease time".into(), ours: "3600 s".into(), theirs: "600 s".into() };
        let finding = Finding {
            mac: Mac([0x52, 0x54, 0, 0, 0, 0x12]),
            asked: "request",
            network: Some("lan".into()),
            theirs: None,
            differences: vec![one],
            pool: false,
        };
        assert_eq!(line(&finding), "52:54:00:00:00:12 request on lan: lease time ours 3600 s, theirs 600 s");
        assert_eq!(exchange(&finding)["same"], json!(false));
        let tally = Tally {
            exchanges: 3,
            differing: 1,
            by_what: [("lease time".to_owned(), 1)].into(),
            machines: [finding.mac].into(),
            ..Tally::default()
        };
        assert_eq!(
            words(&tally, 0, 2),
            "3 exchanges, 1 of them differ (1 machines): lease time 1; 2 packets lost here: the picture is not whole"
        );
    }
}
