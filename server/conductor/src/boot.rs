//! What a machine that asks for its boot script is told. The script asks the database; failing that, the answer is
//! Disk, never an installer.

use crate::apply::{self, Happened};
use crate::error::store;
use crate::facts::known;
use crate::{Conductor, Error, rim, ways};
use muster_lifecycle::{Life, machine::At, machine::Event, machine::MachineLife};
use muster_names::{BootTarget, Mac, Millis};
use muster_store::{AgentMode, BootToken, boot_tokens, machines};
use muster_wire::AgentConfig;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// The decision for one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootAnswer {
    /// Its own disk, and why; `wanted`: that is what its state asks for.
    Disk { wanted: bool, why: String },
    /// The agent; `/b/<mac>/<nonce>/agent.cpio` brings its token, the arguments are the model's.
    Agent { nonce: String, console: Option<String>, kernel_args: Vec<String> },
}

/// Token files waiting to be fetched, and how often each MAC asked for one. Whoever reaches the listener can ask in any
/// MAC's name, so all of it is bounded; what does not fit boots its disk.
#[derive(Default)]
pub(crate) struct Tokens {
    files: BTreeMap<String, File>,
    /// Since when, and how often.
    asked: BTreeMap<Mac, (Millis, u32)>,
}

struct File {
    mac: Mac,
    until: Millis,
    bytes: Arc<Vec<u8>>,
}

impl Tokens {
    /// Of some 3 KB each.
    const MOST_FILES: usize = 8_192;
    /// Of one MAC: more are asks whose loader has given up.
    const MOST_OF_ONE: usize = 4;
    const MOST_MACS: usize = 65_536;
    /// A loader fetches its file at once, and tries for about a minute.
    const FETCHED_MS: i64 = 15 * 60_000;
    /// A machine that boots over and over asks about once a minute.
    const ASKS: u32 = 30;
    const WITHIN_MS: i64 = 10 * 60_000;

    /// May this MAC have another token now?
    fn may_ask(&mut self, mac: Mac, now: Millis) -> bool {
        let fresh = |since: &Millis| now.0.saturating_sub(since.0) < Self::WITHIN_MS;
        if self.asked.len() >= Self::MOST_MACS {
            self.asked.retain(|_, (since, _)| fresh(since));
        }
        if self.asked.len() >= Self::MOST_MACS && !self.asked.contains_key(&mac) {
            return false;
        }
        let (since, asks) = self.asked.entry(mac).or_insert((now, 0));
        if !fresh(since) {
            (*since, *asks) = (now, 0);
        }
        *asks = asks.saturating_add(1);
        *asks <= Self::ASKS
    }

    fn keep(&mut self, mac: Mac, nonce: String, bytes: Arc<Vec<u8>>, now: Millis) {
        self.files.retain(|_, file| file.until > now);
        let oldest = |files: &BTreeMap<String, File>, of: Option<Mac>| {
            let those = files.iter().filter(|(_, file)| of.is_none_or(|mac| file.mac == mac));
            those.min_by_key(|(_, file)| file.until).map(|(nonce, _)| nonce.clone())
        };
        let own = self.files.values().filter(|file| file.mac == mac).count();
        let of = if own >= Self::MOST_OF_ONE { Some(mac) } else { None };
        if (of.is_some() || self.files.len() >= Self::MOST_FILES)
            && let Some(nonce) = oldest(&self.files, of)
        {
            self.files.remove(&nonce);
        }
        let until = Millis(now.0.saturating_add(Self::FETCHED_MS));
        self.files.insert(nonce, File { mac, until, bytes });
    }

    pub fn tidy(&mut self, now: Millis) {
        self.files.retain(|_, file| file.until > now);
        self.asked.retain(|_, (since, _)| now.0.saturating_sub(since.0) < Self::WITHIN_MS);
    }
}

/// The one reason for a disk that is no surprise.
const DISK_WANTED: &str = "its state wants it to boot its disk";
const DECIDE: Duration = Duration::from_millis(1_500);
/// An ordered boot that has not called by then has failed.
const TOKEN_TTL_MS: i64 = 3_600_000;

impl Conductor {
    /// `dedicated`: the network the machine asks from welcomes strangers.
    pub async fn boot_answer(self: &Arc<Self>, mac: Mac, dedicated: bool) -> BootAnswer {
        match tokio::time::timeout(DECIDE, self.decide(mac, dedicated)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::error!(%mac, error = %error, label = error.label(), "no boot decision; it boots its disk");
                BootAnswer::Disk { wanted: false, why: "the database did not answer".into() }
            }
            Err(_) => BootAnswer::Disk { wanted: false, why: "the database took too long".into() },
        }
    }

    async fn decide(self: &Arc<Self>, mac: Mac, dedicated: bool) -> Result<BootAnswer, Error> {
        if !self.boot_files().may_ask(mac, rim::now()) {
            let why = format!("it asked more than {} times in ten minutes", Tokens::ASKS);
            return Ok(BootAnswer::Disk { wanted: false, why });
        }
        let me = self.clone();
        let token = rim::fresh_token()?;
        let nonce = format!("{:032x}", rim::fresh_id()?);
        let (sha256, nonce_row) = (rim::sha256(token.as_bytes()), nonce.clone());
        let answer = self
            .scribe
            .write(move |mut w| {
                Box::pin(async move {
                    let found = machines::by_mac(w.tx, mac).await.map_err(store)?;
                    let (machine, epoch, model) = match found {
                        None if dedicated => (None, None, None),
                        None => return Ok(Err("nobody knows this MAC, and its network is not dedicated")),
                        Some(record) => {
                            let mut machine = known(w.tx, &me.catalog(), record.id).await?;
                            let waits = matches!(machine.state.at, At::Expected | At::Observed);
                            let plan = MachineLife::plan(&machine.state, &machine.facts);
                            if !(waits && dedicated) && plan.want.boot == BootTarget::Disk {
                                return Ok(Err(DISK_WANTED));
                            }
                            let now = w.now;
                            ways::arrived(&mut w, &mut machine, now).await?;
                            (Some(record.id), Some(machine.facts.epoch), record.model)
                        }
                    };
                    let row = BootToken {
                        sha256,
                        machine,
                        mac,
                        nonce: nonce_row,
                        epoch,
                        order: None,
                        mode: AgentMode::Ram,
                        created: w.now,
                        expires: Millis(w.now.0.saturating_add(TOKEN_TTL_MS)),
                        revoked: None,
                        key: None,
                        bound_at: None,
                    };
                    boot_tokens::put(w.tx, &row).await.map_err(store)?;
                    if let Some(id) = machine {
                        let cause = format!("boot-script/{}", row.nonce);
                        let detail = serde_json::json!({ "mac": mac, "target": BootTarget::Agent });
                        let event = Event::Seen { dedicated };
                        apply::apply(&mut w, &me.catalog(), id, Happened { cause, actor: "boot", event, detail })
                            .await?;
                    }
                    Ok(Ok(model))
                })
            })
            .await?;
        let model = match answer {
            Ok(model) => model,
            Err(why) => return Ok(BootAnswer::Disk { wanted: why == DISK_WANTED, why: why.into() }),
        };
        let config = AgentConfig {
            server: self.settings.agent_url.clone(),
            ca_pem: self.settings.ca_pem.clone(),
            token,
            key_file: None,
            written: None,
        };
        let file = crate::body::write("agent configuration", &mac, &config)?;
        let archive =
            cpio(rim::now(), &[("etc", None), ("etc/muster", None), ("etc/muster/agent.json", Some(file.as_bytes()))]);
        self.boot_files().keep(mac, nonce.clone(), Arc::new(archive), rim::now());
        let catalog = self.catalog();
        let boot = model.and_then(|id| catalog.model(&id).map(|model| model.boot.clone()));
        let (console, kernel_args) = boot.map(|boot| (boot.console, boot.kernel_args)).unwrap_or_default();
        Ok(BootAnswer::Agent { nonce, console, kernel_args })
    }

    /// The small initrd that brings a boot its token.
    pub fn boot_file(&self, nonce: &str) -> Option<Arc<Vec<u8>>> {
        let tokens = self.boot_files();
        tokens.files.get(nonce).filter(|file| file.until > rim::now()).map(|file| file.bytes.clone())
    }

    /// Its token has come to its agent.
    pub(crate) fn drop_boot_file(&self, nonce: &str) {
        self.boot_files().files.remove(nonce);
    }

    pub(crate) fn boot_files(&self) -> MutexGuard<'_, Tokens> {
        self.boot_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a boot request from this address may be this MAC's. On a network whose addresses are ours alone the lease
    /// must say so: whoever sits there with an address of its own cannot fetch another machine's token by naming its MAC.
    pub async fn may_be_from(&self, mac: Mac, network: &str, address: IpAddr) -> Result<bool, Error> {
        let now = rim::now();
        let holder = match address {
            IpAddr::V4(address) => muster_store::holder(&self.db, network, address, now).await,
            IpAddr::V6(address) => muster_store::holder6(&self.db, network, address, now).await,
        };
        let holder = holder.map_err(store)?;
        Ok(holder == Some(mac))
    }
}

/// A `newc` archive, as the kernel unpacks it beside its initrd. `None` makes a folder. The agent moves a clock that
/// has stopped up to its file's time, without which no certificate would hold.
fn cpio(made: Millis, entries: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, (name, content)) in entries.iter().enumerate() {
        let mode = if content.is_some() { 0o100_600 } else { 0o040_755 };
        member(&mut out, index + 1, made, name, mode, content.unwrap_or_default());
    }
    member(&mut out, 0, Millis(0), "TRAILER!!!", 0, &[]);
    out
}

fn member(out: &mut Vec<u8>, inode: usize, made: Millis, name: &str, mode: u32, content: &[u8]) {
    let seconds = usize::try_from(made.0 / 1000).unwrap_or_default();
    let fields = [inode, mode as usize, 0, 0, 1, seconds, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
    out.extend_from_slice(b"070701");
    fields.iter().for_each(|field| out.extend_from_slice(format!("{field:08x}").as_bytes()));
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn numbered(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a_flood_of_invented_macs_takes_no_more_memory_than_set() {
        let mut tokens = Tokens::default();
        let file = Arc::new(vec![0; 8]);
        for number in 0..9_000 {
            tokens.keep(numbered(number), number.to_string(), file.clone(), Millis(i64::from(number)));
        }
        assert_eq!(tokens.files.len(), Tokens::MOST_FILES);
        assert!(tokens.files.contains_key("8999") && !tokens.files.contains_key("0"), "the oldest goes");
        let asked = (0..70_000).filter(|number| tokens.may_ask(numbered(*number), Millis(0))).count();
        assert_eq!(asked, Tokens::MOST_MACS);
        assert!(tokens.may_ask(numbered(69_999), Millis(Tokens::WITHIN_MS)), "the flood is forgotten");
    }

    #[test]
    fn one_mac_asks_thirty_times_in_ten_minutes_and_has_four_files() {
        let mut tokens = Tokens::default();
        let mac = numbered(1);
        for ask in 0..10 {
            tokens.keep(mac, ask.to_string(), Arc::default(), Millis(ask));
        }
        assert_eq!(tokens.files.keys().collect::<Vec<_>>(), ["6", "7", "8", "9"]);
        assert_eq!((0..50).filter(|ask| tokens.may_ask(mac, Millis(*ask))).count(), 30);
        assert!(tokens.may_ask(numbered(2), Millis(1)) && tokens.may_ask(mac, Millis(Tokens::WITHIN_MS)));
        tokens.tidy(Millis(i64::MAX));
        assert!(tokens.files.is_empty() && tokens.asked.is_empty());
    }

    #[test]
    fn the_small_initrd_is_an_archive_that_cpio_reads() {
        let archive =
            cpio(Millis(0), &[("etc", None), ("etc/muster", None), ("etc/muster/agent.json", Some(b"{\"a\":1}"))]);
        let mut child = Command::new("cpio")
            .args(["-i", "--to-stdout", "--quiet", "etc/muster/agent.json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"{\"a\":1}");
    }
}
