//! The slots for virtual media of the simulated BMC, and the real machine that may stand behind it.

use super::{Asked, Habit, State, Told, refused, told};
use serde_json::{Map, Value, json};

/// One slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub id: String,
    /// Empty: it tells none.
    pub types: Vec<String>,
    pub image: Option<String>,
    pub inserted: bool,
    /// Reads until what was inserted shows.
    unseen: u32,
}

impl Slot {
    pub fn of(id: &str, types: &[&str]) -> Self {
        Self { id: id.into(), types: types.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    #[must_use]
    pub fn with(self, image: &str) -> Self {
        Self { image: Some(image.into()), inserted: true, ..self }
    }
}

/// A real machine behind the simulated BMC.
pub trait Chassis: Send {
    fn is_on(&self) -> bool;
    /// `boot`: the override that holds for this start alone, as it stands in the system's resource.
    fn switch(&mut self, on: bool, boot: Option<&Value>);
    /// What its disc drive holds from now on; `false`: it could not be had.
    fn medium(&mut self, image: Option<&str>) -> bool;
}

impl State {
    /// `None`: the path is none of these. `Some(None)` closes the connection without a word.
    pub(super) fn media_service(&mut self, asked: &Asked, path: &str) -> Option<Option<Told>> {
        let home = if self.has(&Habit::MediaUnderSystem) { "Systems" } else { "Managers" };
        let parts: Vec<&str> = path.split('/').skip(3).collect();
        let ["Systems" | "Managers", "1", "VirtualMedia", rest @ ..] = parts.as_slice() else { return None };
        if parts.first() != Some(&home) {
            return Some(Some(refused(404, "Base.1.12.ResourceMissingAtURI")));
        }
        let base = format!("/redfish/v1/{home}/1/VirtualMedia");
        let answer = match (asked.method.as_str(), rest) {
            ("GET", []) => {
                let at = |slot: &Slot| json!({"@odata.id": format!("{base}/{}", slot.id)});
                told(200, json!({"Members": self.slots_of_media.iter().map(at).collect::<Vec<_>>()}))
            }
            ("GET", [_, "InsertInfo"]) => told(
                200,
                json!({"Parameters": [{"Name": "Image", "Required": true}, {"Name": "TransferMethod", "Required": true}]}),
            ),
            ("GET", [id]) => self.slot(id, &base),
            ("PATCH", [id]) if self.has(&Habit::MediaByPatch) => {
                if let Some(refusal) = self.tag_refusal(asked) {
                    return Some(Some(refusal));
                }
                match asked.body["Image"].as_str().map(str::to_string) {
                    Some(image) => return Some(self.insert(id, &image)),
                    None => self.eject(id),
                }
            }
            ("POST", [_, "Actions", _]) if self.has(&Habit::MediaByPatch) => {
                refused(404, "Base.1.12.ResourceMissingAtURI")
            }
            ("POST", [id, "Actions", "VirtualMedia.EjectMedia"]) => self.eject(id),
            ("POST", [id, "Actions", "VirtualMedia.InsertMedia"]) => return Some(self.by_action(id, &asked.body)),
            _ => refused(405, "Base.1.12.OperationNotAllowed"),
        };
        Some(Some(answer))
    }

    fn slot(&mut self, id: &str, base: &str) -> Told {
        let (by_patch, requires) = (self.has(&Habit::MediaByPatch), self.has(&Habit::RequiresMethod));
        let tag = self.tag();
        let Some(slot) = self.slots_of_media.iter_mut().find(|slot| slot.id == id) else {
            return refused(404, "Base.1.12.ResourceMissingAtURI");
        };
        let shows = slot.unseen == 0;
        slot.unseen = slot.unseen.saturating_sub(1);
        let mut body = json!({
            "Id": id,
            "Image": slot.image.as_ref().filter(|_| shows),
            "Inserted": slot.inserted,
        });
        if !slot.types.is_empty() {
            body["MediaTypes"] = json!(slot.types);
        }
        if !by_patch {
            let action = |name: &str| json!({"target": format!("{base}/{id}/Actions/VirtualMedia.{name}")});
            let mut insert = action("InsertMedia");
            if requires {
                insert["@Redfish.ActionInfo"] = format!("{base}/{id}/InsertInfo").into();
            }
            let actions = [("#VirtualMedia.InsertMedia", insert), ("#VirtualMedia.EjectMedia", action("EjectMedia"))];
            body["Actions"] = Value::Object(Map::from_iter(actions.map(|(name, value)| (name.to_string(), value))));
        }
        Told { status: 200, headers: vec![("ETag", tag)], body }
    }

    fn by_action(&mut self, id: &str, body: &Value) -> Option<Told> {
        if self.has(&Habit::WantsProtocol) && body["TransferProtocolType"] != "HTTP" {
            return Some(told(
                400,
                json!({"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.12.ActionParameterMissing",
                    "Message": "The action requires the parameter TransferProtocolType."}]}}),
            ));
        }
        if self.has(&Habit::RequiresMethod) && body["TransferMethod"] != "Stream" {
            return Some(refused(400, "Base.1.12.GeneralError"));
        }
        let full = self.slots_of_media.iter().any(|slot| slot.id == id && slot.inserted);
        if self.has(&Habit::EjectsFirst) && full {
            return Some(refused(400, "Base.1.12.ResourceInUse"));
        }
        let image = body["Image"].as_str().unwrap_or_default().to_string();
        self.insert(id, &image)
    }

    fn insert(&mut self, id: &str, image: &str) -> Option<Told> {
        let (nothing, late) = (self.has(&Habit::InsertsNothing), self.has(&Habit::InsertsLate));
        let slot = self.slots_of_media.iter_mut().find(|slot| slot.id == id)?;
        slot.inserted = true;
        slot.image = (!nothing).then(|| image.to_string());
        slot.unseen = if late { 2 } else { 0 };
        self.media_log.push(format!("insert {id} {image}"));
        if self.chassis.as_mut().is_some_and(|chassis| !nothing && !chassis.medium(Some(image))) {
            (slot.image, slot.inserted) = (None, false);
        }
        let place = ("Location", "/redfish/v1/TaskService/Tasks/7".to_string());
        match () {
            () if self.has(&Habit::DropsInsertReply) => None,
            () if self.has(&Habit::InsertsByTask) => Some(Told { status: 202, headers: vec![place], body: json!({}) }),
            () => Some(told(204, Value::Null)),
        }
    }

    fn eject(&mut self, id: &str) -> Told {
        if self.has(&Habit::NeverEjects) {
            return refused(500, "Base.1.12.InternalError");
        }
        if let Some(slot) = self.slots_of_media.iter_mut().find(|slot| slot.id == id) {
            (slot.image, slot.inserted) = (None, false);
        }
        self.media_log.push(format!("eject {id}"));
        if let Some(chassis) = &mut self.chassis {
            chassis.medium(None);
        }
        told(204, Value::Null)
    }
}
