//! The simulated BMC itself: its restart, what it hides until then, and the locate light.

use super::{Asked, Habit, State, Told, refused, told};
use serde_json::{Value, json};

/// The BMC as it tells of itself.
#[derive(Clone, Debug)]
pub struct Manager {
    /// The words it lists for its own restart; null: it lists none.
    pub words: Value,
    /// What it was sent, in order.
    pub resets: Vec<String>,
    /// So many requests after a restart find nobody.
    pub away_for: usize,
    /// So many logins after it are refused, whatever the password.
    pub forgets_users_for: usize,
    /// Places in a system that are not told before a restart.
    pub hides: Vec<&'static str>,
    away: usize,
    strange: usize,
}

impl Default for Manager {
    fn default() -> Self {
        Self {
            words: json!(["ForceRestart", "GracefulRestart"]),
            resets: Vec::new(),
            away_for: 0,
            forgets_users_for: 0,
            hides: Vec::new(),
            away: 0,
            strange: 0,
        }
    }
}

impl State {
    pub(super) fn is_away(&mut self) -> bool {
        let away = self.manager.away > 0;
        self.manager.away = self.manager.away.saturating_sub(1);
        away
    }

    pub(super) fn is_starting(&mut self) -> bool {
        let strange = self.manager.strange > 0;
        self.manager.strange = self.manager.strange.saturating_sub(1);
        strange
    }

    /// Takes out of a system what is not told.
    pub(super) fn hide(&self, system: &mut Value) {
        for place in &self.manager.hides {
            let (parent, name) = place.rsplit_once('/').expect("a place");
            if let Some(parent) = system.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(name);
            }
        }
    }

    /// `None`: the path is none of these. `Some(None)` closes the connection without a word.
    pub(super) fn manager_service(&mut self, asked: &Asked, path: &str) -> Option<Option<Told>> {
        let at = |path: &str| json!({"@odata.id": format!("/redfish/v1/{path}")});
        let parts: Vec<&str> = path.split('/').skip(3).collect();
        let body = match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["Managers"]) => json!({"Members": [at("Managers/1")]}),
            ("GET", ["Managers", "1"]) => {
                let mut reset = json!({"target": "/redfish/v1/Managers/1/Actions/Manager.Reset"});
                if !self.manager.words.is_null() {
                    reset["ResetType@Redfish.AllowableValues"] = self.manager.words.clone();
                }
                let mut body = json!({"FirmwareVersion": "4.2", "Actions": {"#Manager.Reset": reset},
                    "Links": {"Oem": {"Dell": {"Jobs": at("Jobs")}}}});
                if !self.slots_of_media.is_empty() {
                    body["VirtualMedia"] = at("Managers/1/VirtualMedia");
                }
                body
            }
            ("POST", ["Managers", "1", "Actions", "Manager.Reset"]) => return Some(self.restarted(asked)),
            ("GET", ["Chassis", "1"]) if !self.lights.is_null() => self.lights.clone(),
            ("PATCH", ["Chassis", "1"]) if !self.lights.is_null() => return Some(Some(self.patch_chassis(asked))),
            _ => return None,
        };
        Some(Some(told(200, body)))
    }

    fn restarted(&mut self, asked: &Asked) -> Option<Told> {
        let word = asked.body["ResetType"].as_str().unwrap_or_default().to_string();
        let listed = self.manager.words.as_array().is_none_or(|words| words.iter().any(|one| *one == word));
        if !listed {
            return Some(refused(400, "Base.1.12.ActionParameterValueNotInList"));
        }
        self.manager.resets.push(word);
        self.restart();
        self.manager.hides.clear();
        (self.manager.away, self.manager.strange) = (self.manager.away_for, self.manager.forgets_users_for);
        (!self.has(&Habit::DropsRestartReply)).then(|| told(204, Value::Null))
    }

    fn patch_chassis(&mut self, asked: &Asked) -> Told {
        if let Some(refusal) = self.tag_refusal(asked) {
            return refusal;
        }
        let mut chassis = std::mem::take(&mut self.lights);
        let answer = self.switch(&mut chassis, asked);
        self.lights = chassis;
        answer
    }

    pub(super) fn switch_light(&mut self, id: &str, asked: &Asked) -> Told {
        let Some(mut system) = self.systems.remove(id) else { return refused(404, "Base.1.12.ResourceMissingAtURI") };
        let answer = self.switch(&mut system, asked);
        self.systems.insert(id.to_string(), system);
        answer
    }

    fn switch(&self, resource: &mut Value, asked: &Asked) -> Told {
        for name in ["LocationIndicatorActive", "IndicatorLED"] {
            let Some(wanted) = asked.body.get(name) else { continue };
            let refuses = match wanted.as_str() {
                Some("Blinking") => self.has(&Habit::LampDoesNotBlink),
                Some("Off") => self.has(&Habit::LampIsNeverOff),
                _ => false,
            };
            if resource.get(name).is_none() {
                return refused(400, "Base.1.12.PropertyUnknown");
            }
            if refuses {
                return refused(400, "Base.1.12.PropertyValueNotInList");
            }
            if !self.has(&Habit::ForgetsLight) {
                resource[name] = wanted.clone();
            }
        }
        told(200, json!({}))
    }
}
