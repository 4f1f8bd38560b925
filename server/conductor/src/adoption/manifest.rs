//! What people say is theirs: entries of a manifest, checked and shown before they are taken, and without their passwords
//! ever since.

use super::adopt::{site, ticket};
use super::judge::{Found, Where, whereabouts};
use super::{Ours, find};
use crate::error::store;
use crate::scribe::Write;
use crate::{Conductor, Error, body, rim};
use muster_bmc::{Pin, Secret};
use muster_catalog::Protocol;
use muster_names::{Digest, Mac, MachineId, Millis, Subject};
use muster_store::bmc_adoption::{self, AwaitedRow, AwaitedState, PinRow};
use muster_store::{machines, tickets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries of one request.
const MOST: usize = 1_000;
/// Entries that are kept; they go when they are forgotten.
const MOST_KEPT: usize = 65_536;

/// One BMC of a manifest. It is told apart by its MAC, else by its address, else by its machine's serial number.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// The MAC address of the BMC's own port, as it stands on the label.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// The machine's serial number: the BMC has to tell the same.
    #[serde(default)]
    pub serial: Option<String>,
    /// `10.0.0.5`, `https://bmc-r1-14.example.org`; without it the BMC is looked for by its MAC.
    #[serde(default)]
    pub address: Option<String>,
    /// Left out: Redfish where it answers, else IPMI.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    pub user: String,
    /// That it came with. It is sealed at once, never shown again, and changed as soon as the BMC is adopted.
    pub password: String,
    /// Name of the machine it belongs to; left out: the machine of that serial number, or a new one.
    #[serde(default)]
    pub machine: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({})", self.id().unwrap_or_default())
    }
}

impl Entry {
    /// What it is told apart by.
    fn id(&self) -> Option<String> {
        let mac = self.mac.map(|mac| format!("mac/{mac}"));
        let address = || self.address.as_ref().map(|address| format!("address/{}", super::judge::host(address)));
        mac.or_else(address).or_else(|| self.serial.as_ref().map(|serial| format!("serial/{serial}")))
    }

    /// What is wrong with it by itself.
    fn slip(&self) -> Option<String> {
        let text = |what: &str, text: &str, most: usize| {
            let bad = text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control);
            bad.then(|| format!("its {what} must be 1 to {most} characters of one line"))
        };
        let names = self.mac.is_some() || self.serial.is_some() || self.address.is_some();
        if !names {
            return Some("it names no BMC: give its mac, its address or its machine's serial".into());
        }
        if self.mac.is_some_and(|mac| !mac.is_unicast()) {
            return Some("its MAC is that of a group of machines".into());
        }
        let longest = if self.protocol == Some(Protocol::Ipmi) { 20 } else { 128 };
        let odd = |address: &&String| {
            let rest = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
            rest.is_empty() || rest.contains(char::is_whitespace) || rest.contains(['@', '?', '#', '/'])
        };
        if let Some(address) = self.address.as_ref().filter(odd) {
            return Some(format!("{address:?} is no address of a BMC"));
        }
        if self.protocol == Some(Protocol::Ipmi) && self.address.as_ref().is_some_and(|text| text.contains("://")) {
            return Some("IPMI has no URL: give a host, or HOST:PORT".into());
        }
        text("user", &self.user, 64)
            .or_else(|| text("password", &self.password, longest))
            .or_else(|| self.serial.as_ref().and_then(|serial| text("serial", serial, 64)))
            .or_else(|| {
                let odd = |name: &&String| !muster_catalog::is_name(name);
                let name = self.machine.as_ref().filter(odd)?;
                Some(format!("machine {name:?} must be lower-case letters, digits, '-' and '.'"))
            })
    }

    fn ours(&self, by: &str) -> Ours {
        Ours {
            mac: self.mac,
            serial: self.serial.clone(),
            address: self.address.clone(),
            protocol: self.protocol,
            user: self.user.clone(),
            machine: self.machine.clone(),
            by: by.to_owned(),
            why: None,
            tries: 0,
            agent: None,
        }
    }
}

/// A manifest of BMCs that are ours. Without `digest` it is looked at and nothing is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    pub entries: Vec<Entry>,
    /// Of the look at the same entries that this answers.
    #[serde(default)]
    pub digest: Option<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestVerdict {
    New,
    /// It is awaited already, and is entered anew.
    Change,
    /// It was adopted: nothing is done.
    Adopted,
    Conflict,
}

/// What would become of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EntryPlanned {
    /// What it is told apart by; `muster bmc forget` takes it.
    pub id: String,
    pub verdict: ManifestVerdict,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestPlanned {
    /// Send the same entries with it to have them taken.
    pub digest: Digest,
    pub entries: Vec<EntryPlanned>,
    /// No entry conflicts.
    pub executable: bool,
    /// They were taken.
    pub executed: bool,
}

/// An entry, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AwaitedShown {
    pub id: String,
    /// `awaited`, `refused`, `adopted`.
    pub state: String,
    pub mac: Option<Mac>,
    pub serial: Option<String>,
    pub address: Option<String>,
    pub protocol: Option<Protocol>,
    pub user: String,
    /// As the entry names it.
    pub machine: Option<String>,
    /// The machine that it was adopted for.
    pub adopted: Option<MachineId>,
    /// Where it answers now.
    pub seen: Option<String>,
    pub why: Option<String>,
    pub by: String,
    pub made: Millis,
    /// When it is looked at next.
    pub due: Option<Millis>,
}

/// Pure: what becomes of each entry.
fn judge(entries: &[Entry], kept: &BTreeMap<String, AwaitedState>, found: &[Found]) -> Vec<EntryPlanned> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in entries.iter().filter_map(Entry::id) {
        *times.entry(id).or_default() += 1;
    }
    let verdict = |entry: &Entry| {
        let Some(id) = entry.id() else {
            return (String::new(), ManifestVerdict::Conflict, entry.slip().unwrap_or_default());
        };
        if let Some(slip) = entry.slip() {
            return (id, ManifestVerdict::Conflict, slip);
        }
        if times.get(&id).is_some_and(|times| *times > 1) {
            return (id, ManifestVerdict::Conflict, "it is in the manifest twice".into());
        }
        let place = match whereabouts(&entry.ours(""), found) {
            Where::Nowhere => "it has not answered yet, and is adopted when it does".to_owned(),
            Where::At { address, .. } => format!("it is adopted at {address} now"),
            Where::Unclear(why) => return (id, ManifestVerdict::Conflict, why),
        };
        match kept.get(&id) {
            None => (id, ManifestVerdict::New, place),
            Some(AwaitedState::Adopted) => {
                let words = "it is adopted already; to adopt it anew, `muster bmc forget` it first".to_owned();
                (id, ManifestVerdict::Adopted, words)
            }
            Some(AwaitedState::Awaited | AwaitedState::Refused) => {
                (id, ManifestVerdict::Change, format!("in place of its former entry; {place}"))
            }
        }
    };
    let planned = entries.iter().map(verdict);
    planned.map(|(id, verdict, words)| EntryPlanned { id, verdict, words }).collect()
}

impl Conductor {
    /// Looks at a manifest, and takes it where it carries the digest of an earlier look.
    ///
    /// # Errors
    /// The manifest is empty or too long; an entry conflicts; the world has changed since the look; the database's.
    pub async fn take_manifest(self: &Arc<Self>, by: String, manifest: Manifest) -> Result<ManifestPlanned, Error> {
        if manifest.entries.is_empty() || manifest.entries.len() > MOST {
            let count = manifest.entries.len();
            return Err(Error::refused(format!("a manifest has 1 to {MOST} entries; this one has {count}")));
        }
        let me = self.clone();
        let planned = self.scribe.write(move |mut w| Box::pin(async move { take(&mut w, &me, &by, manifest).await }));
        let planned = planned.await?;
        if planned.executed {
            self.adoption.notify_one();
        }
        Ok(planned)
    }

    /// Every entry there is.
    ///
    /// # Errors
    /// The database's.
    pub async fn awaited_bmcs(&self) -> Result<Vec<AwaitedShown>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let found = bmc_adoption::found(&mut tx).await.map_err(store)?;
        let found: Vec<Found> = found.iter().map(find::of_row).collect();
        let rows = bmc_adoption::awaited(&mut tx).await.map_err(store)?;
        rows.into_iter().map(|row| shown(row, &found)).collect()
    }

    /// Forgets an entry. What was adopted stays adopted.
    ///
    /// # Errors
    /// There is none of this id; the database's.
    pub async fn forget_awaited(&self, by: String, id: String) -> Result<(), Error> {
        let written = self.scribe.write(move |mut w| {
            Box::pin(async move {
                if !bmc_adoption::drop_awaited(w.tx, &id).await.map_err(store)? {
                    return Err(Error::refused(format!("there is no entry {id}; `muster bmc awaited` lists them")));
                }
                tickets::close_ticket(w.tx, Subject::Site, &ticket(&id), "its entry was dropped", w.now)
                    .await
                    .map_err(store)?;
                let cause = format!("bmc-forgotten/{id}/{}", w.now.0);
                site(&mut w, &cause, "bmc-forgotten", &by, serde_json::json!({ "entry": id })).await
            })
        });
        written.await
    }

    /// A person says where a machine's BMC is now.
    ///
    /// # Errors
    /// There is no such machine; its BMC is named by a rack layout, or is no BMC that was adopted; the database's.
    pub async fn move_bmc(self: &Arc<Self>, by: String, id: MachineId, address: String) -> Result<(), Error> {
        let odd = address.is_empty() || address.contains(char::is_whitespace) || address.contains(['@', '?', '#', '/']);
        if odd {
            return Err(Error::refused(format!("{address:?} is no address of a BMC: give HOST or HOST:PORT")));
        }
        let written = self.scribe.write(move |mut w| {
            Box::pin(async move {
                let mut record = machines::get(w.tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
                let kept: crate::Kept = body::read("record", &id, &record.data)?;
                let access: Option<crate::BmcBody> =
                    record.bmc.as_deref().map(|text| body::read("bmc", &id, text)).transpose()?;
                let (Some(access), Some(_)) = (access, &kept.adopted) else {
                    return Err(Error::refused(format!(
                        "the BMC of {} was not adopted: its rack layout says where it is",
                        record.name
                    )));
                };
                let scheme = access.address.split_once("://").map(|(scheme, _)| format!("{scheme}://"));
                let to = format!("{}{address}", scheme.unwrap_or_default());
                let detail = serde_json::json!({ "from": access.address, "to": to, "followed": true });
                record.bmc = Some(body::write("bmc", &id, &crate::BmcBody { address: to.clone(), ..access })?);
                crate::apply::keep(&mut w, &mut record, &kept).await?;
                muster_store::passwords::move_to(w.tx, id, &to).await.map_err(store)?;
                let proof = "a person said where it is";
                tickets::close_ticket(w.tx, Subject::Bmc(id), find::MOVED, proof, w.now).await.map_err(store)?;
                let cause = format!("bmc-moved/{}", w.now.0);
                crate::apply::note(&mut w, id, &cause, "bmc-moved", &by, detail).await.map(drop)
            })
        });
        written.await
    }

    /// From now on a machine's BMC is known by this key; without one, by the next that it shows.
    ///
    /// # Errors
    /// There is no such machine, or its BMC has no key; the database's.
    pub async fn trust_bmc(self: &Arc<Self>, by: String, id: MachineId, pin: Option<Pin>) -> Result<(), Error> {
        let finder = self.finder.clone();
        let written = self.scribe.write(move |mut w| {
            Box::pin(async move {
                let record = machines::get(w.tx, id).await.map_err(store)?.ok_or(Error::NoMachine { id })?;
                let access: Option<crate::BmcBody> =
                    record.bmc.as_deref().map(|text| body::read("bmc", &id, text)).transpose()?;
                let Some(access) = access.filter(|access| access.protocol == Protocol::Redfish) else {
                    return Err(Error::refused(format!("{} has no BMC with a TLS key", record.name)));
                };
                let before = bmc_adoption::pin_of(w.tx, id).await.map_err(store)?.map(|row| row.pin);
                match pin {
                    Some(pin) => {
                        let row = PinRow {
                            machine: id,
                            pin: pin.to_string(),
                            serial: record.serial,
                            at: w.now,
                            actor: by.clone(),
                        };
                        bmc_adoption::put_pin(w.tx, &row).await.map_err(store)?;
                    }
                    None => drop(bmc_adoption::drop_pin(w.tx, id).await.map_err(store)?),
                }
                let detail = serde_json::json!({ "before": before, "after": pin.map(|pin| pin.to_string()) });
                let cause = format!("bmc-trusted/{}", w.now.0);
                let proof = "a person said which key holds";
                tickets::close_ticket(w.tx, Subject::Bmc(id), crate::watching::FOREIGN, proof, w.now)
                    .await
                    .map_err(store)?;
                crate::apply::note(&mut w, id, &cause, "bmc-trusted", &by, detail).await?;
                Ok(access.address)
            })
        });
        finder.forget_key(&written.await?);
        Ok(())
    }
}

fn shown(row: AwaitedRow, found: &[Found]) -> Result<AwaitedShown, Error> {
    let ours: Ours = body::read("awaited bmc", &row.id, &row.body)?;
    let seen = match whereabouts(&ours, found) {
        Where::At { found: Some(found), .. } => Some(found.address),
        Where::At { .. } | Where::Nowhere | Where::Unclear(_) => None,
    };
    Ok(AwaitedShown {
        id: row.id,
        state: row.state.word().into(),
        mac: ours.mac,
        serial: ours.serial,
        address: ours.address,
        protocol: ours.protocol,
        user: ours.user,
        machine: ours.machine,
        adopted: row.machine,
        seen,
        why: ours.why,
        by: ours.by,
        made: row.made,
        due: (row.state == AwaitedState::Awaited).then_some(row.due),
    })
}

async fn take(w: &mut Write<'_>, me: &Conductor, by: &str, manifest: Manifest) -> Result<ManifestPlanned, Error> {
    let found = bmc_adoption::found(w.tx).await.map_err(store)?;
    let found: Vec<Found> = found.iter().map(find::of_row).collect();
    let kept = bmc_adoption::awaited(w.tx).await.map_err(store)?;
    if kept.len().saturating_add(manifest.entries.len()) > MOST_KEPT {
        return Err(Error::refused(format!("{} entries are kept already; forget those that are adopted", kept.len())));
    }
    let kept: BTreeMap<String, AwaitedState> = kept.into_iter().map(|row| (row.id, row.state)).collect();
    let entries = judge(&manifest.entries, &kept, &found);
    let said: Vec<_> = manifest.entries.iter().map(|entry| entry.ours("")).collect();
    // A BMC that answers meanwhile changes the words, and nothing of what is agreed to.
    let verdicts: Vec<_> = entries.iter().map(|entry| (&entry.id, entry.verdict)).collect();
    let digest = rim::sha256(serde_json::json!([verdicts, said]).to_string().as_bytes());
    let conflict = entries.iter().find(|entry| entry.verdict == ManifestVerdict::Conflict);
    let executable = conflict.is_none();
    if let Some(wanted) = manifest.digest {
        if let Some(entry) = conflict {
            return Err(Error::refused(format!("nothing was taken: {}: {}", entry.id, entry.words)));
        }
        if wanted != digest {
            return Err(Error::refused("the entries or the world have changed since that look; look at them again"));
        }
        let mut taken = Vec::new();
        for (entry, planned) in manifest.entries.iter().zip(&entries) {
            if planned.verdict == ManifestVerdict::Adopted {
                continue;
            }
            let sealed = me.vault.seal_awaited(&planned.id, &entry.user, &Secret::new(entry.password.clone()))?;
            let row = AwaitedRow {
                id: planned.id.clone(),
                state: AwaitedState::Awaited,
                due: w.now,
                made: w.now,
                machine: None,
                body: body::write("awaited bmc", &planned.id, &entry.ours(by))?,
                sealed,
            };
            bmc_adoption::put_awaited(w.tx, &row).await.map_err(store)?;
            let proof = "it was entered anew";
            tickets::close_ticket(w.tx, Subject::Site, &ticket(&planned.id), proof, w.now).await.map_err(store)?;
            taken.push(planned.id.clone());
        }
        let detail = serde_json::json!({ "entries": taken });
        site(w, &format!("bmc-manifest/{digest}/{}", w.now.0), "bmc-manifest", by, detail).await?;
    }
    Ok(ManifestPlanned { digest, entries, executable, executed: manifest.digest.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adoption::FoundBody;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

    fn entry() -> Entry {
        Entry {
            mac: Some(MAC),
            serial: None,
            address: None,
            protocol: None,
            user: "root".into(),
            password: "factory-password".into(),
            machine: None,
        }
    }

    fn words(entries: &[Entry], kept: &[(&str, AwaitedState)], found: &[Found]) -> Vec<(ManifestVerdict, String)> {
        let kept = kept.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect();
        judge(entries, &kept, found).into_iter().map(|one| (one.verdict, one.words)).collect()
    }

    #[test]
    fn an_entry_never_shows_its_password() {
        let shown = format!("{:?}", Manifest { entries: vec![entry()], digest: None });
        assert!(shown.contains("02:00:00:00:00:05") && !shown.contains("factory"), "{shown}");
    }

    #[test]
    fn an_entry_that_names_nobody_or_says_odd_things_is_a_conflict_with_the_reason() {
        for (odd, reason) in [
            (Entry { mac: None, ..entry() }, "names no BMC"),
            (Entry { mac: Some(Mac([1, 0, 0, 0, 0, 5])), ..entry() }, "group"),
            (Entry { user: String::new(), ..entry() }, "user"),
            (Entry { password: "a\nb".into(), ..entry() }, "password"),
            (Entry { password: "x".repeat(21), protocol: Some(Protocol::Ipmi), ..entry() }, "password"),
            (Entry { address: Some("https://root:x@bmc".into()), ..entry() }, "no address"),
            (Entry { address: Some("https://bmc".into()), protocol: Some(Protocol::Ipmi), ..entry() }, "no URL"),
        ] {
            let said = words(&[odd], &[], &[]);
            assert!(
                matches!(said.as_slice(), [(ManifestVerdict::Conflict, why)] if why.contains(reason)),
                "{reason}: {said:?}"
            );
        }
        let twice = words(&[entry(), entry()], &[], &[]);
        assert!(twice.iter().all(|(verdict, why)| *verdict == ManifestVerdict::Conflict && why.contains("twice")));
    }

    #[test]
    fn what_is_adopted_is_left_alone_and_what_is_awaited_is_entered_anew() {
        let id = format!("mac/{MAC}");
        let seen = Found { address: "10.0.0.5".into(), mac: Some(MAC), body: FoundBody::default() };
        let said = words(&[entry()], &[], std::slice::from_ref(&seen));
        assert_eq!(said, [(ManifestVerdict::New, "it is adopted at 10.0.0.5 now".into())]);
        let said = words(&[entry()], &[(&id, AwaitedState::Adopted)], std::slice::from_ref(&seen));
        assert!(matches!(said.as_slice(), [(ManifestVerdict::Adopted, _)]));
        let said = words(&[entry()], &[(&id, AwaitedState::Refused)], &[]);
        assert!(matches!(said.as_slice(), [(ManifestVerdict::Change, why)] if why.contains("not answered yet")));
    }
}
