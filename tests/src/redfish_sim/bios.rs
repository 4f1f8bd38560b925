//! The Bios resource of the simulated BMC, its settings resource and its attribute registry.

use super::{Asked, Habit, State, Told, refused, told};
use serde_json::{Map, Value, json};

/// What its BIOS is set to.
#[derive(Clone, Debug, Default)]
pub struct BiosStore {
    pub attributes: Map<String, Value>,
    /// What waits for the next boot; only that is shown by the settings resource.
    pub pending: Map<String, Value>,
    /// Entries of the attribute registry; none: there is no registry.
    pub registry: Vec<Value>,
    /// Bodies of the PATCHes that were taken or swallowed, in order.
    pub patches: Vec<Value>,
}

impl BiosStore {
    pub fn of(attributes: &Value) -> Self {
        Self { attributes: attributes.as_object().expect("attributes").clone(), ..Self::default() }
    }
}

const REGISTRY: &str = "BiosAttributeRegistryX1.v1_0_0";

impl State {
    /// `None`: the path is none of these. `Some(None)` closes the connection without a word.
    pub(super) fn bios_service(&mut self, asked: &Asked, path: &str) -> Option<Option<Told>> {
        let store = self.bios.as_ref()?;
        let parts: Vec<&str> = path.split('/').skip(3).collect();
        let at = |path: &str| json!({"@odata.id": format!("/redfish/v1/{path}")});
        let body = match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["Systems", "1", "Bios"]) => {
                let mut settings = json!({"SettingsObject": at("Systems/1/Bios/Settings")});
                if self.has(&Habit::BiosByJob) || self.has(&Habit::BiosJobFails) {
                    settings["SupportedApplyTimes"] = json!(["Immediate", "OnReset"]);
                }
                let registry = if store.registry.is_empty() { Value::Null } else { REGISTRY.into() };
                json!({"Attributes": store.attributes, "AttributeRegistry": registry, "@Redfish.Settings": settings})
            }
            ("GET", ["Systems", "1", "Bios", "Settings"]) => {
                let body = json!({"Attributes": store.pending});
                return Some(Some(Told { status: 200, headers: vec![("ETag", self.tag())], body }));
            }
            ("PATCH", ["Systems", "1", "Bios", "Settings"]) => return Some(self.patch_bios(asked)),
            ("GET", ["Registries"]) => {
                json!({"Members": [at("Registries/Base.v1"), at(&format!("Registries/{REGISTRY}"))]})
            }
            ("GET", ["Registries", REGISTRY]) => {
                json!({"Location": [{"Language": "en", "Uri": "/redfish/v1/Registries/entries"}]})
            }
            ("GET", ["Registries", "entries"]) => json!({"RegistryEntries": {"Attributes": store.registry}}),
            ("GET", ["TaskService", "Tasks", "8"]) => {
                let state = if self.has(&Habit::BiosJobFails) { "Exception" } else { "Pending" };
                json!({"TaskState": state, "Messages": ["the lifecycle controller is busy"]})
            }
            _ => return None,
        };
        Some(Some(told(200, body)))
    }

    fn patch_bios(&mut self, asked: &Asked) -> Option<Told> {
        if let Some(refusal) = self.tag_refusal(asked) {
            return Some(refusal);
        }
        if self.has(&Habit::BiosLocked) {
            return Some(refused(400, "Base.1.12.PropertyNotWritable"));
        }
        let by_job = self.has(&Habit::BiosByJob);
        if by_job && asked.body["@Redfish.SettingsApplyTime"]["ApplyTime"] != "OnReset" {
            return Some(refused(400, "Base.1.12.PropertyMissing"));
        }
        let forgets = self.has(&Habit::ForgetsBios) || self.has(&Habit::BiosJobFails);
        let store = self.bios.as_mut()?;
        store.patches.push(asked.body.clone());
        for (name, value) in asked.body["Attributes"].as_object().into_iter().flatten().filter(|_| !forgets) {
            store.pending.insert(name.clone(), value.clone());
        }
        self.tag += 1;
        let place = ("Location", "/redfish/v1/TaskService/Tasks/8".to_string());
        match () {
            () if self.has(&Habit::DropsBiosReply) => None,
            () if by_job || self.has(&Habit::BiosJobFails) => {
                Some(Told { status: 202, headers: vec![place], body: Value::Null })
            }
            () => Some(told(200, json!({}))),
        }
    }
}
