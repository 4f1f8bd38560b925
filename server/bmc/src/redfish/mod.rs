//! Redfish by hand: a handful of resources, read leniently, and the rules by which real BMCs want to be asked (B7).

mod accounts;
mod bios;
mod boot;
mod connection;
mod console;
mod entry;
mod fields;
mod hail;
mod inspect;
mod inventory;
#[cfg(test)]
mod inventory_tests;
mod join;
mod json;
mod locate;
mod log;
mod media;
mod pages;
mod parts;
mod probe;
mod push;
mod quirks;
mod recorded;
mod reset;
mod sensors;
mod services;
mod settle;
mod subscribe;
mod time;
mod tls;
mod visit;
mod walk;

pub use accounts::{password_limit, set_password};
pub use bios::{bios, set_bios};
pub use connection::Connection;
pub use console::{console_port, ipmi_address};
pub use hail::hail;
pub use inspect::{firmware, inspect};
pub use locate::{locate, set_locate};
pub use log::event_log;
pub use media::{eject, insert, media};
pub use probe::{missing, probe_write};
pub use push::{Stream, listen};
pub use recorded::parse_tree;
pub use reset::{reset_bmc, set_power};
pub use sensors::sensors;
pub use subscribe::{subscribe, subscribed};
pub use tls::{Authority, Seen};
pub use visit::Visit;

use crate::lane::{Lane, Sent};
use crate::{BootDevice, BootOrder, BootSet, Fault, Identity, Quirk, Target};
use boot::PatchStyle;
use connection::{Answer, Outcome, Request};
use fields::Fields;
use muster_names::Power;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{MutexGuard, SemaphorePermit};

const SYSTEMS: &str = "/redfish/v1/Systems";
const TASK_PAUSE: Duration = Duration::from_secs(1);
/// Some BMCs take an override and tell it only a moment later.
const READ_BACKS: u32 = 3;
const READ_BACK_PAUSE: Duration = Duration::from_secs(1);
/// Old jobs stay in the queue for long; the newest are last.
const MOST_JOBS: usize = 20;

/// A place in a BMC's queue, and the connection to it.
pub struct Turn<'a> {
    connection: Connection,
    lane: &'a Lane,
    target: &'a Target,
    _place: Place<'a>,
}

/// Held until the operation ends.
enum Place<'a> {
    Reading { _permit: SemaphorePermit<'a> },
    Mutation { _guard: MutexGuard<'a, ()> },
}

impl<'a> Turn<'a> {
    pub fn reading(connection: Connection, lane: &'a Lane, target: &'a Target, permit: SemaphorePermit<'a>) -> Self {
        Self { connection, lane, target, _place: Place::Reading { _permit: permit } }
    }

    pub fn mutation(connection: Connection, lane: &'a Lane, target: &'a Target, guard: MutexGuard<'a, ()>) -> Self {
        Self { connection, lane, target, _place: Place::Mutation { _guard: guard } }
    }

    async fn get(&self, path: &str) -> Result<Answer, Fault> {
        self.connection.get(self.lane, path).await
    }

    async fn send(&self, request: &Request<'_>, sent: &Sent) -> Result<Outcome, Fault> {
        self.connection.exchange(self.lane, request, sent).await
    }

    /// The system that the target means: the only one, or the one with that serial number or UUID (B7.1).
    async fn system(&self) -> Result<(String, Answer), Fault> {
        if let Some(path) = self.connection.known_system(self.target) {
            match self.get(&path).await {
                Ok(answer) => return Ok((path, answer)),
                // It has another place since, or is shown again only once its list was read: some do that after a restart.
                Err(Fault::NotOffered(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        let root = self.connection.root(self.lane).await?.body;
        let systems = json::link(&root, "/Systems").unwrap_or_else(|| SYSTEMS.to_string());
        let list = self.get(&systems).await?.body;
        if !list.get("Members").is_some_and(Value::is_array) {
            return Err(Fault::Garbled(format!("the Members of {systems} are no list")));
        }
        let members = quirks::machines(json::members(&list), self.target);
        if members.is_empty() {
            return Err(Fault::NotOffered(format!("a system: {systems} lists none that could be read")));
        }
        let several = members.len() > 1;
        if several && self.target.system.is_none() {
            return Err(Fault::Declined(format!(
                "it serves {} systems; say by serial number or UUID which one is meant",
                members.len()
            )));
        }
        for path in members {
            let answer = self.get(&path).await?;
            if self.is_meant(&answer.body, several) {
                self.connection.know_system(self.target, &path);
                return Ok((path, answer));
            }
        }
        let wanted = self.target.system.as_deref().unwrap_or("any");
        Err(Fault::Declined(format!("none of its systems is {wanted}; was the machine replaced?")))
    }

    fn is_meant(&self, system: &Value, several: bool) -> bool {
        let Some(wanted) = self.target.system.as_deref().map(str::trim) else { return true };
        let told: Vec<String> =
            ["/SerialNumber", "/UUID"].iter().filter_map(|field| json::text(system, field)).collect();
        // A single system that tells neither may be it; one of several may not.
        told.iter().any(|name| name.eq_ignore_ascii_case(wanted)) || (told.is_empty() && !several)
    }
}

/// `PowerState` On or Off; PoweringOn, PoweringOff, Paused, null and whatever else is unknown.
pub async fn power(turn: &Turn<'_>) -> Result<Power, Fault> {
    Ok(power_of(&turn.system().await?.1.body))
}

fn power_of(system: &Value) -> Power {
    json::text(system, "/PowerState").map_or(Power::Unknown, |word| power_word(&word))
}

fn power_word(word: &str) -> Power {
    match word {
        "On" => Power::On,
        "Off" => Power::Off,
        _ => Power::Unknown,
    }
}

/// Follows the task of a 202 to its end (B7.7). The operation's deadline bounds it.
async fn finish(turn: &Turn<'_>, answer: &Answer, sent: &Sent) -> Result<(), Fault> {
    if answer.status != StatusCode::ACCEPTED {
        return Ok(());
    }
    let place = answer.task().ok_or_else(|| Fault::Garbled("202 without a Location".into()))?;
    loop {
        let task = match turn.get(&place).await {
            Ok(task) => task,
            // Finished tasks are taken away by some; reading back decides.
            Err(Fault::NotOffered(_)) => return Ok(()),
            Err(fault) => return Err(fault),
        };
        match json::text(&task.body, "/TaskState").as_deref() {
            Some("Completed") => return Ok(()),
            Some(state @ ("Exception" | "Killed" | "Cancelled")) => {
                sent.denied();
                let words = json::texts(&task.body, "/Messages").unwrap_or_default().join(" ");
                return Err(Fault::Declined(format!("the task ended as {state} {words}").trim_end().to_string()));
            }
            None if task.status != StatusCode::ACCEPTED => return Ok(()),
            _ => tokio::time::sleep(TASK_PAUSE).await,
        }
    }
}

pub async fn get_boot(turn: &Turn<'_>) -> Result<BootSet, Fault> {
    let (path, system) = turn.system().await?;
    Ok(boot::read(&place(turn, path, system).await?.1.body))
}

/// Where the override is set: the settings object if it has the attribute, else the system (B7.4).
async fn place(turn: &Turn<'_>, path: String, system: Answer) -> Result<(String, Answer), Fault> {
    if let Some(settings) = json::link(&system.body, "/@Redfish.Settings/SettingsObject")
        && let Ok(answer) = turn.get(&settings).await
        && (turn.target.has(Quirk::BootInSettings) || boot::is_told(&answer.body))
    {
        return Ok((settings, answer));
    }
    Ok((path, system))
}

pub async fn set_boot(turn: &Turn<'_>, order: BootOrder, uri: Option<&str>, sent: &Sent) -> Result<BootSet, Fault> {
    let (system_path, system) = turn.system().await?;
    quirks::in_self_test(&system.body, turn.target)?;
    let manager = json::link(&system.body, "/Links/ManagedBy/0");
    let (path, now) = place(turn, system_path.clone(), system).await?;
    let held = boot::read(&now.body);
    // Some refuse to disable what is disabled.
    if order.device == BootDevice::None && held.device == Some(BootDevice::None) {
        return Ok(held);
    }
    boot::offers(order.device, &now.body)?;
    quirks::mode_as_held(order, &now.body, turn.target)?;
    let order = quirks::as_lasting_as_it_goes(order, &now.body, turn.target);
    let style = PatchStyle::of(turn.target);
    let (etag, what) = (now.etag(), "the boot override");
    let body = boot::patch(order, uri, style, turn.target, &now.body);
    let mut answer = patch(turn, &path, etag.as_deref(), &body, what, sent).await;
    if style == PatchStyle::Minimal && matches!(&answer, Err(Fault::Declined(said)) if asks_for_more(said)) {
        let full = boot::patch(order, uri, PatchStyle::Full, turn.target, &now.body);
        answer = patch(turn, &path, etag.as_deref(), &full, what, sent).await;
    }
    let answer = jobs_in_the_way(turn, answer, manager, "the boot device").await?;
    finish(turn, &answer, sent).await?;
    let fits = |body: &Value| boot::agrees(order, &boot::read(body), turn.target) && boot::holds(uri, body);
    let mut body = read_back(turn, &path, &system_path).await?;
    for _ in 1..READ_BACKS {
        if fits(&body) {
            break;
        }
        tokio::time::sleep(READ_BACK_PAUSE).await;
        body = read_back(turn, &path, &system_path).await?;
    }
    let found = boot::read(&body);
    if fits(&body) {
        return Ok(found);
    }
    let told = json::text(&body, "/Boot/HttpBootUri").filter(|_| uri.is_some());
    let from = |uri: Option<&str>| uri.map(|uri| format!(" from {uri}")).unwrap_or_default();
    let wanted = format!("{}{}", boot::words(order), from(uri.filter(|_| told.is_some())));
    Err(Fault::BootDiffers { wanted, found: format!("{}{}", found.said, from(told.as_deref())) })
}

/// A refusal for what waits in the job queue, with what that is; any other answer as it came.
async fn jobs_in_the_way(
    turn: &Turn<'_>,
    answer: Result<Answer, Fault>,
    manager: Option<String>,
    what: &str,
) -> Result<Answer, Fault> {
    match answer {
        Err(Fault::Declined(said)) if quirks::blames_jobs(&said, turn.target) => {
            Err(quirks::behind_jobs(&said, &open_jobs(turn, manager).await, what))
        }
        answer => answer,
    }
}

/// The override where it was set, or at the system where that place takes overrides and tells none.
async fn read_back(turn: &Turn<'_>, path: &str, system: &str) -> Result<Value, Fault> {
    let body = turn.get(path).await?.body;
    if path != system && !boot::is_told(&body) {
        return Ok(turn.get(system).await?.body);
    }
    Ok(body)
}

/// The jobs of the manager that are not over, as far as they can be read: they only explain a refusal.
async fn open_jobs(turn: &Turn<'_>, manager: Option<String>) -> Vec<String> {
    let mut open = Vec::new();
    let Some(manager) = manager else { return open };
    let Ok(manager) = turn.get(&manager).await else { return open };
    let Some(queue) = json::link(&manager.body, "/Links/Oem/Dell/Jobs") else { return open };
    let Ok(queue) = turn.get(&queue).await else { return open };
    for path in json::members(&queue.body).iter().rev().take(MOST_JOBS) {
        if let Ok(job) = turn.get(path).await {
            open.extend(quirks::open_job(&job.body));
        }
    }
    open
}

fn asks_for_more(said: &str) -> bool {
    ["PropertyMissing", "required property", "PropertyValueConflict"].iter().any(|words| said.contains(words))
}

/// PATCH with each form of `If-Match` in turn until one is not refused for its precondition (B7.3).
async fn patch(
    turn: &Turn<'_>,
    path: &str,
    etag: Option<&str>,
    body: &Value,
    what: &str,
    sent: &Sent,
) -> Result<Answer, Fault> {
    let mut last = Fault::Broken("no form of If-Match was tried".into());
    for etag in boot::matches(turn.target, etag) {
        let request = Request { method: Method::PATCH, path, body: Some(body), etag: etag.as_deref() };
        match turn.send(&request, sent).await? {
            Outcome::Good(answer) => return Ok(answer),
            Outcome::Bad(status, body) => {
                last = json::fault(status, &body, what);
                if !matches!(status, 412 | 428) {
                    return Err(last);
                }
            }
        }
    }
    Err(last)
}

pub async fn identify(turn: &Turn<'_>) -> Result<Identity, Fault> {
    let (_, system) = turn.system().await?;
    let field = |name: &str| Fields(&system.body).text(&[name]);
    let manager = json::link(&system.body, "/Links/ManagedBy/0");
    let firmware = match manager {
        Some(manager) => turn.get(&manager).await.ok().and_then(|answer| json::text(&answer.body, "/FirmwareVersion")),
        None => None,
    };
    Ok(Identity {
        manufacturer: field("Manufacturer"),
        model: field("Model"),
        serial: field("SerialNumber"),
        sku: field("SKU"),
        uuids: field("UUID").map(|uuid| uuid.to_ascii_lowercase()).into_iter().collect(),
        firmware,
        maker_number: None,
        tls_pin: turn.connection.seen().pin(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clearly_on_or_off_is_unknown() {
        for (state, power) in [("On", Power::On), ("Off", Power::Off), ("PoweringOff", Power::Unknown)] {
            assert_eq!(power_of(&json!({"PowerState": state})), power);
        }
        for odd in [json!({}), json!({"PowerState": null}), json!({"PowerState": false}), json!("On")] {
            assert_eq!(power_of(&odd), Power::Unknown, "{odd}");
        }
    }
}
