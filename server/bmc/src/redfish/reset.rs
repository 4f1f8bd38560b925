//! `ComputerSystem.Reset`: which of its words a power act is, and the restart that takes two of them (B7.9); and
//! `Manager.Reset`, which is the BMC's own.

use super::{Request, Turn, finish, json, power, power_of, quirks};
use crate::lane::Sent;
use crate::redfish::connection::{Answer, Outcome};
use crate::{Fault, PowerAction, PowerSet, Quirk};
use muster_names::Power;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// A BMC may tell its power from memory; two readings in a row that say off are off.
const OFF_READS: u32 = 30;
const OFF_PAUSE: Duration = Duration::from_secs(1);
/// Some are busy for a moment with having switched off.
const ON_SENDS: u32 = 5;
const ON_PAUSE: Duration = Duration::from_secs(2);

const MANAGERS: &str = "/redfish/v1/Managers";
const RESTART: &[&str] = &["GracefulRestart", "ForceRestart"];
const ON: &[&str] = &["On", "ForceOn"];

pub async fn set_power(turn: &Turn<'_>, action: PowerAction, sent: &Sent) -> Result<PowerSet, Fault> {
    let (_, system) = turn.system().await?;
    let now = power_of(&system.body);
    if action.ends_in() == Some(now) {
        return Ok(PowerSet::AlreadySo);
    }
    let reset = Reset::of(turn, &system.body, "ComputerSystem.Reset").await?;
    let in_two = matches!(action, PowerAction::Reset | PowerAction::Cycle) && now == Power::On;
    if in_two && turn.target.has(Quirk::RestartByOffOn) {
        return restart(turn, &reset, sent).await;
    }
    let wanted = match action {
        PowerAction::On => ON,
        PowerAction::Cycle if now == Power::Off => ON,
        PowerAction::Off => &["ForceOff"],
        PowerAction::Graceful => &["GracefulShutdown"],
        PowerAction::Cycle => &["PowerCycle"],
        PowerAction::Reset => &["ForceRestart"],
    };
    reset.send(turn, wanted, action, sent).await.map(|()| PowerSet::Taken)
}

/// Where resets are sent, and the words that the BMC lists for them.
struct Reset {
    path: String,
    allowed: Option<Vec<String>>,
}

impl Reset {
    async fn of(turn: &Turn<'_>, resource: &Value, name: &str) -> Result<Self, Fault> {
        let reset = resource.pointer(&format!("/Actions/#{name}")).unwrap_or(&Value::Null);
        let path = json::text(reset, "/target").and_then(|path| json::path(&path));
        let path = path.ok_or_else(|| Fault::NotOffered(name.into()))?;
        Ok(Self { path, allowed: allowed(turn, reset).await? })
    }

    async fn send(&self, turn: &Turn<'_>, wanted: &[&str], action: PowerAction, sent: &Sent) -> Result<(), Fault> {
        let answer = self.post(turn, wanted, &format!("power {action}"), sent).await?;
        finish(turn, &answer, sent).await
    }

    async fn post(&self, turn: &Turn<'_>, wanted: &[&str], what: &str, sent: &Sent) -> Result<Answer, Fault> {
        let kind = match &self.allowed {
            Some(allowed) => wanted.iter().find(|kind| allowed.iter().any(|word| word == *kind)),
            None => wanted.first(),
        };
        let kind = kind.ok_or_else(|| Fault::NotOffered(format!("reset type {}", wanted.join(" or "))))?;
        let body = json!({"ResetType": kind});
        let request = Request { method: Method::POST, path: &self.path, body: Some(&body), etag: None };
        match turn.send(&request, sent).await? {
            Outcome::Good(answer) => Ok(answer),
            Outcome::Bad(status, body) => Err(json::fault(status, &body, what)),
        }
    }
}

/// The BMC's own restart, by the mildest word it has. What task it makes of that is not followed: it takes that away too.
pub async fn reset_bmc(turn: &Turn<'_>, sent: &Sent) -> Result<(), Fault> {
    let (_, system) = turn.system().await?;
    let manager = match json::link(&system.body, "/Links/ManagedBy/0") {
        Some(manager) => manager,
        None => {
            let managers = json::members(&turn.get(MANAGERS).await?.body);
            managers.into_iter().next().ok_or_else(|| Fault::NotOffered("a manager that could be restarted".into()))?
        }
    };
    let manager = turn.get(&manager).await?.body;
    let reset = Reset::of(turn, &manager, "Manager.Reset").await?;
    reset.post(turn, RESTART, "its restart", sent).await.map(|_| ())
}

/// Off, off read back, on: within one operation, so that nothing else comes in between.
async fn restart(turn: &Turn<'_>, reset: &Reset, sent: &Sent) -> Result<PowerSet, Fault> {
    reset.send(turn, &["ForceOff"], PowerAction::Off, sent).await?;
    let mut off = 0;
    for _ in 0..OFF_READS {
        tokio::time::sleep(OFF_PAUSE).await;
        off = if power(turn).await? == Power::Off { off + 1 } else { 0 };
        if off == 2 {
            break;
        }
    }
    if off < 2 {
        let said = format!(
            "it took the order to switch off and is not off after {} s; look before it is sent again",
            OFF_READS
        );
        return Err(Fault::Busy(said));
    }
    for _ in 1..ON_SENDS {
        match reset.send(turn, ON, PowerAction::On, sent).await {
            Err(Fault::Busy(_)) => tokio::time::sleep(ON_PAUSE).await,
            other => return half_done(other, sent),
        }
    }
    half_done(reset.send(turn, ON, PowerAction::On, sent).await, sent)
}

fn half_done(on: Result<(), Fault>, sent: &Sent) -> Result<PowerSet, Fault> {
    on.map(|()| PowerSet::Taken).map_err(|fault| {
        // The refusal was of the second half.
        sent.mark();
        quirks::half_way(fault)
    })
}

/// The reset types the BMC lists, in the action itself or in its ActionInfo; `None` when it lists none.
async fn allowed(turn: &Turn<'_>, reset: &Value) -> Result<Option<Vec<String>>, Fault> {
    if let Some(list) = json::texts(reset, "/ResetType@Redfish.AllowableValues") {
        return Ok(Some(list));
    }
    let Some(info) = json::text(reset, "/@Redfish.ActionInfo").and_then(|path| json::path(&path)) else {
        return Ok(None);
    };
    let info = turn.get(&info).await?.body;
    let parameters = info.get("Parameters").and_then(Value::as_array);
    let reset = parameters
        .into_iter()
        .flatten()
        .find(|parameter| json::text(parameter, "/Name").as_deref() == Some("ResetType"));
    Ok(reset.and_then(|parameter| json::texts(parameter, "/AllowableValues")))
}
