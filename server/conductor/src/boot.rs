//! What a machine that asks for its boot script is told. The script asks the database; failing that, the answer is
//! Disk, never an installer.

use crate::apply::{self, Happened};
use crate::error::store;
use crate::facts::known;
use crate::{Conductor, Error, rim};
use muster_lifecycle::{Life, machine::At, machine::Event, machine::MachineLife};
use muster_names::{BootTarget, Mac, Millis};
use muster_store::{AgentMode, BootToken, boot_tokens, machines};
use muster_wire::AgentConfig;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The decision for one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootAnswer {
    /// Its own disk, and why.
    Disk { why: String },
    /// The agent; `/b/<mac>/<nonce>/agent.cpio` brings its token, the arguments are the model's.
    Agent { nonce: String, console: Option<String>, kernel_args: Vec<String> },
}

/// Token files waiting to be fetched.
pub(crate) type Tokens = BTreeMap<String, (Millis, Arc<Vec<u8>>)>;

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
                BootAnswer::Disk { why: "the database did not answer".into() }
            }
            Err(_) => BootAnswer::Disk { why: "the database took too long".into() },
        }
    }

    async fn decide(self: &Arc<Self>, mac: Mac, dedicated: bool) -> Result<BootAnswer, Error> {
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
                            let machine = known(w.tx, &me.catalog(), record.id).await?;
                            let waits = matches!(machine.state.at, At::Expected | At::Observed);
                            let plan = MachineLife::plan(&machine.state, &machine.facts);
                            if !(waits && dedicated) && plan.want.boot == BootTarget::Disk {
                                return Ok(Err("its state wants it to boot its disk"));
                            }
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
            Err(why) => return Ok(BootAnswer::Disk { why: why.into() }),
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
        let now = rim::now();
        let mut tokens = self.boot_files.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (until, _)| *until > now);
        tokens.insert(nonce.clone(), (Millis(now.0.saturating_add(TOKEN_TTL_MS)), Arc::new(archive)));
        let catalog = self.catalog();
        let boot = model.and_then(|id| catalog.model(&id).map(|model| model.boot.clone()));
        let (console, kernel_args) = boot.map(|boot| (boot.console, boot.kernel_args)).unwrap_or_default();
        Ok(BootAnswer::Agent { nonce, console, kernel_args })
    }

    /// The small initrd that brings a boot its token.
    pub fn boot_file(&self, nonce: &str) -> Option<Arc<Vec<u8>>> {
        let tokens = self.boot_files.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(nonce).filter(|(until, _)| *until > rim::now()).map(|(_, file)| file.clone())
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
