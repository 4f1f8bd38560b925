//! VirtualMedia (B7.11): which slot, what may be done with what is in it, and in which words.
//!
//! Slots hang under the system or under its manager, their names say nothing, and what an `InsertMedia` wants beside the
//! image differs. So little is sent at first, and more only where the BMC names what is missing.

use super::{Request, Turn, finish, json, patch};
use crate::lane::Sent;
use crate::redfish::connection::Outcome;
use crate::{Fault, Inserted, Medium};
use reqwest::Method;
use serde_json::{Map, Value};
use std::time::Duration;

/// Slots that are looked at: BMCs have up to a dozen.
const MOST_SLOTS: usize = 16;
/// An image is fetched before it shows.
const READ_BACKS: u32 = 8;
const READ_BACK_PAUSE: Duration = Duration::from_secs(1);
/// The image alone, and once more for each parameter that was missing.
const SENDS: usize = 4;

/// What an `InsertMedia` may want beside the image, with what we say.
const MORE: [(&str, &str); 2] = [("TransferProtocolType", "HTTP"), ("TransferMethod", "Stream")];
const MORE_FLAGS: [&str; 2] = ["Inserted", "WriteProtected"];

/// A slot as it was read.
struct Slot {
    path: String,
    body: Value,
    etag: Option<String>,
}

impl Slot {
    fn told(&self) -> Medium {
        let name = json::text(&self.body, "/Id").or_else(|| json::text(&self.body, "/Name"));
        let name = name.unwrap_or_else(|| self.path.rsplit('/').next().unwrap_or_default().to_string());
        Medium {
            disc: takes_discs(&self.body, &name),
            image: json::text(&self.body, "/Image").or_else(|| json::text(&self.body, "/ImageName")),
            inserted: self.body.get("Inserted").and_then(Value::as_bool),
            slot: name,
        }
    }
}

/// What is in a slot, seen from an image of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Ours,
    /// In the BMC's words.
    Foreign(String),
}

/// By its media types; where it tells none, by its name.
fn takes_discs(slot: &Value, name: &str) -> bool {
    let is_disc = |word: &str| ["cd", "dvd"].iter().any(|disc| word.to_ascii_lowercase().contains(disc));
    match json::texts(slot, "/MediaTypes") {
        Some(types) if !types.is_empty() => types.iter().any(|word| is_disc(word)),
        _ => is_disc(name),
    }
}

/// Whether what a slot tells is this image: the whole address, or its end where a BMC keeps no more than that.
fn is(told: &str, image: &str) -> bool {
    let end = told.trim_start_matches('/');
    told == image || (!told.contains("://") && !end.is_empty() && image.ends_with(&format!("/{end}")))
}

/// The server that an address names: `http://10.77.0.1:8080`.
fn server(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    address.get(..scheme.len() + 3 + host.len())
}

fn holds(medium: &Medium, image: &str) -> Holds {
    match (&medium.image, medium.inserted) {
        (Some(told), _) if is(told, image) || (server(told).is_some() && server(told) == server(image)) => Holds::Ours,
        // The last image stays written down with some after it was ejected.
        (_, Some(false)) | (None, None) => Holds::Nothing,
        (Some(told), _) => Holds::Foreign(told.clone()),
        (None, Some(true)) => Holds::Foreign("a medium that it does not name".into()),
    }
}

/// The slot for an image: one that held ours before goes first, so that never two hold it.
fn pick(media: &[Medium], image: &str) -> Result<usize, Fault> {
    let discs = || media.iter().enumerate().filter(|(_, medium)| medium.disc);
    if discs().next().is_none() {
        let names: Vec<&str> = media.iter().map(|medium| medium.slot.as_str()).collect();
        return Err(Fault::NotOffered(match names.as_slice() {
            [] => "virtual media".to_string(),
            names => format!("virtual media for discs; it has {}", names.join(", ")),
        }));
    }
    let of = |wanted: Holds| discs().find(|(_, medium)| holds(medium, image) == wanted).map(|(at, _)| at);
    of(Holds::Ours).or_else(|| of(Holds::Nothing)).ok_or_else(|| {
        let taken = discs().filter_map(|(_, medium)| match holds(medium, image) {
            Holds::Foreign(told) => Some(format!("{} holds {told}", medium.slot)),
            _ => None,
        });
        Fault::Declined(format!(
            "every disc slot of its virtual media is in use by somebody else: {}. It is not ejected from here; ask whose it \
             is, then eject it in the BMC's web page",
            taken.collect::<Vec<_>>().join(", ")
        ))
    })
}

pub async fn media(turn: &Turn<'_>) -> Result<Vec<Medium>, Fault> {
    Ok(slots(turn).await?.iter().map(Slot::told).collect())
}

/// The system's own slots before those of its managers, as newer firmware has moved them; each once.
async fn slots(turn: &Turn<'_>) -> Result<Vec<Slot>, Fault> {
    let (_, system) = turn.system().await?;
    let mut lists: Vec<String> = json::link(&system.body, "/VirtualMedia").into_iter().collect();
    for at in 0..2 {
        let Some(manager) = json::link(&system.body, &format!("/Links/ManagedBy/{at}")) else { break };
        match turn.get(&manager).await {
            Ok(manager) => lists.extend(json::link(&manager.body, "/VirtualMedia")),
            Err(Fault::NotOffered(_) | Fault::Declined(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    let mut found: Vec<Slot> = Vec::new();
    for list in lists {
        let members = match turn.get(&list).await {
            Ok(answer) => json::members(&answer.body),
            Err(Fault::NotOffered(_) | Fault::Declined(_)) => continue,
            Err(fault) => return Err(fault),
        };
        for path in members {
            if found.len() == MOST_SLOTS || found.iter().any(|slot| slot.path == path) {
                continue;
            }
            match turn.get(&path).await {
                Ok(answer) => found.push(Slot { path, etag: answer.etag(), body: answer.body }),
                Err(Fault::NotOffered(_) | Fault::Declined(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(found)
}

pub async fn insert(turn: &Turn<'_>, image: &str, sent: &Sent) -> Result<Inserted, Fault> {
    let slots = slots(turn).await?;
    let media: Vec<Medium> = slots.iter().map(Slot::told).collect();
    let at = pick(&media, image)?;
    let (Some(slot), Some(medium)) = (slots.get(at), media.get(at)) else {
        return Err(Fault::Broken("a slot that was picked is not there".into()));
    };
    if holds(medium, image) == Holds::Ours && medium.inserted != Some(false) {
        take_out(turn, slot, sent).await?;
    }
    let answer = put_in(turn, slot, image, sent).await?;
    finish(turn, &answer, sent).await?;
    let mut found = medium.clone();
    for _ in 0..READ_BACKS {
        found = read(turn, slot).await?;
        if found.inserted != Some(false) && found.image.as_deref().is_some_and(|told| is(told, image)) {
            return Ok(Inserted { slot: found.slot });
        }
        tokio::time::sleep(READ_BACK_PAUSE).await;
    }
    let inserted = found.inserted == Some(true);
    let holds = found.image.unwrap_or_else(|| "nothing".into());
    if !is(&holds, image) {
        // What it says that it took it did not take.
        sent.denied();
    }
    Err(Fault::Declined(format!(
        "it took the order to insert the medium, and {} holds {holds}{}; look whether it reaches {image}",
        found.slot,
        if inserted { " though it says inserted" } else { ", not inserted" }
    )))
}

pub async fn eject(turn: &Turn<'_>, image: &str, sent: &Sent) -> Result<bool, Fault> {
    let mut any = false;
    for slot in slots(turn).await? {
        let medium = slot.told();
        if holds(&medium, image) == Holds::Ours && medium.inserted != Some(false) {
            take_out(turn, &slot, sent).await?;
            any = true;
        }
    }
    Ok(any)
}

async fn read(turn: &Turn<'_>, slot: &Slot) -> Result<Medium, Fault> {
    let answer = turn.get(&slot.path).await?;
    Ok(Slot { path: slot.path.clone(), etag: answer.etag(), body: answer.body }.told())
}

/// Where an action is sent, if the slot has it.
fn action(slot: &Slot, name: &str) -> Option<(String, Value)> {
    let action = slot.body.pointer(&format!("/Actions/#VirtualMedia.{name}"))?;
    Some((json::path(&json::text(action, "/target")?)?, action.clone()))
}

/// Ejects what the slot holds, and waits until it says so.
async fn take_out(turn: &Turn<'_>, slot: &Slot, sent: &Sent) -> Result<(), Fault> {
    let what = "ejecting the medium";
    let by_action = match action(slot, "EjectMedia") {
        Some((path, _)) => {
            let body = json!({});
            let request = Request { method: Method::POST, path: &path, body: Some(&body), etag: None };
            match turn.send(&request, sent).await? {
                Outcome::Good(answer) => Some(answer),
                Outcome::Bad(404 | 405 | 501, _) => None,
                Outcome::Bad(status, body) => return Err(json::fault(status, &body, what)),
            }
        }
        None => None,
    };
    let answer = match by_action {
        Some(answer) => answer,
        None => {
            let body = json!({"Image": null, "Inserted": false});
            patch(turn, &slot.path, slot.etag.as_deref(), &body, what, sent).await?
        }
    };
    finish(turn, &answer, sent).await?;
    for _ in 0..READ_BACKS {
        let found = read(turn, slot).await?;
        if found.image.is_none() || found.inserted == Some(false) {
            sent.denied();
            return Ok(());
        }
        tokio::time::sleep(READ_BACK_PAUSE).await;
    }
    Err(Fault::Declined(format!("it took the order to eject the medium, and {} still holds it", slot.told().slot)))
}

/// Inserts by the action, with as much beside the image as this BMC asks for; by PATCH where it has no action.
async fn put_in(turn: &Turn<'_>, slot: &Slot, image: &str, sent: &Sent) -> Result<super::connection::Answer, Fault> {
    let what = "inserting the medium";
    if let Some((path, action)) = action(slot, "InsertMedia") {
        let mut body = Map::from_iter([("Image".to_string(), Value::from(image))]);
        required(turn, &action).await?.iter().for_each(|name| add(&mut body, name, image));
        for _ in 0..SENDS {
            let value = Value::Object(body.clone());
            let request = Request { method: Method::POST, path: &path, body: Some(&value), etag: None };
            match turn.send(&request, sent).await? {
                Outcome::Good(answer) => return Ok(answer),
                Outcome::Bad(404 | 405 | 501, _) => break,
                Outcome::Bad(status, refusal) => {
                    let missing = missing(&json::complaint(&refusal), &body);
                    if status != 400 || missing.is_empty() {
                        return Err(json::fault(status, &refusal, what));
                    }
                    missing.iter().for_each(|name| add(&mut body, name, image));
                }
            }
        }
    }
    let now = turn.get(&slot.path).await?;
    let body = json!({"Image": image, "Inserted": true});
    patch(turn, &slot.path, now.etag().as_deref(), &body, what, sent).await
}

fn add(body: &mut Map<String, Value>, name: &str, image: &str) {
    let secure = image.starts_with("https://");
    if let Some((name, value)) = MORE.iter().find(|(known, _)| *known == name) {
        let value = if *value == "HTTP" && secure { "HTTPS" } else { *value };
        body.insert((*name).to_string(), value.into());
    } else if let Some(flag) = MORE_FLAGS.iter().find(|known| **known == name) {
        body.insert((*flag).to_string(), true.into());
    }
}

/// What a refusal names that was not sent.
fn missing(complaint: &str, body: &Map<String, Value>) -> Vec<&'static str> {
    let known = MORE.iter().map(|(name, _)| *name).chain(MORE_FLAGS);
    known.filter(|name| !body.contains_key(*name) && complaint.contains(name)).collect()
}

/// What the action says that it requires, where it says it.
async fn required(turn: &Turn<'_>, action: &Value) -> Result<Vec<String>, Fault> {
    let Some(place) = json::text(action, "/@Redfish.ActionInfo").and_then(|place| json::path(&place)) else {
        return Ok(Vec::new());
    };
    match turn.get(&place).await {
        Ok(info) => Ok(listed_as_required(&info.body)),
        Err(Fault::NotOffered(_) | Fault::Declined(_)) => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

fn listed_as_required(info: &Value) -> Vec<String> {
    let parameters = info.get("Parameters").and_then(Value::as_array);
    let required = |one: &&Value| one.get("Required").and_then(Value::as_bool) == Some(true);
    parameters.into_iter().flatten().filter(required).filter_map(|one| json::text(one, "/Name")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IMAGE: &str = "http://10.77.0.1:8080/boot/ipxe.iso";

    fn medium(slot: &str, image: Option<&str>, inserted: Option<bool>) -> Medium {
        Medium { slot: slot.into(), disc: true, image: image.map(Into::into), inserted }
    }

    #[test]
    fn b7_11_a_slot_takes_discs_by_its_types_and_else_by_its_name() {
        let rows = [
            (json!({"MediaTypes": ["CD", "DVD"]}), "EXT1", true),
            (json!({"MediaTypes": ["USBStick", "Cd"]}), "Removable", true),
            (json!({"MediaTypes": ["Floppy", "USBStick"]}), "UsbCd", false),
            (json!({"MediaTypes": []}), "UsbCd", true),
            (json!({}), "Cd", true),
            (json!({"MediaTypes": null}), "RemovableDisk", false),
        ];
        for (slot, name, discs) in rows {
            assert_eq!(takes_discs(&slot, name), discs, "{slot} {name}");
        }
    }

    #[test]
    fn b7_11_inserted_is_not_believed_without_the_image() {
        let of = |image: Option<&str>, inserted| holds(&medium("Cd", image, inserted), IMAGE);
        assert_eq!(of(None, None), Holds::Nothing);
        assert_eq!(of(Some("http://10.9.9.9/old.iso"), Some(false)), Holds::Nothing, "the last one, ejected");
        assert_eq!(of(Some(IMAGE), Some(true)), Holds::Ours);
        assert_eq!(of(Some("http://10.77.0.1:8080/boot/other.iso"), Some(true)), Holds::Ours);
        assert_eq!(of(Some("ipxe.iso"), Some(true)), Holds::Ours, "a BMC that keeps the name alone");
        for foreign in ["http://10.77.0.1/boot/ipxe.iso", "http://10.77.0.1:80801/x", "nfs://10.77.0.1:8080/x", "x.iso"]
        {
            assert_eq!(of(Some(foreign), Some(true)), Holds::Foreign(foreign.into()));
            assert!(matches!(of(Some(foreign), None), Holds::Foreign(_)), "{foreign}");
        }
        assert!(matches!(of(None, Some(true)), Holds::Foreign(said) if said.contains("does not name")));
    }

    #[test]
    fn b7_11_a_foreign_medium_is_named_and_left_alone() {
        let foreign = |slot: &str| medium(slot, Some("http://10.9.9.9/rescue.iso"), Some(true));
        let (free, ours) = (medium("B", None, Some(false)), medium("C", Some(IMAGE), Some(true)));
        assert_eq!(pick(&[foreign("A"), free.clone()], IMAGE).unwrap(), 1);
        assert_eq!(pick(&[free.clone(), ours], IMAGE).unwrap(), 1, "never two that hold it");
        let said = pick(&[foreign("A"), foreign("B")], IMAGE).unwrap_err().to_string();
        assert!(said.contains("A holds http://10.9.9.9/rescue.iso") && said.contains("web page"), "{said}");
        let floppy = Medium { disc: false, ..free };
        let said = pick(&[floppy], IMAGE).unwrap_err().to_string();
        assert!(said.contains("for discs; it has B"), "{said}");
        assert!(matches!(pick(&[], IMAGE), Err(Fault::NotOffered(_))));
    }

    #[test]
    fn b7_11_what_a_refusal_names_is_sent_the_next_time() {
        let mut body = Map::from_iter([("Image".to_string(), Value::from(IMAGE))]);
        let said = "Base.1.8.ActionParameterMissing: TransferProtocolType, and Inserted";
        let wanted = missing(said, &body);
        assert_eq!(wanted, ["TransferProtocolType", "Inserted"]);
        wanted.iter().for_each(|name| add(&mut body, name, IMAGE));
        assert_eq!(
            Value::Object(body.clone()),
            json!({"Image": IMAGE, "TransferProtocolType": "HTTP", "Inserted": true})
        );
        assert!(missing(said, &body).is_empty(), "nothing is sent for ever");
        add(&mut body, "TransferProtocolType", "https://x/y");
        assert_eq!(body["TransferProtocolType"], "HTTPS");
        let info = json!({"Parameters": [{"Name": "Image", "Required": true}, {"Name": "TransferMethod"}, 7]});
        assert_eq!(listed_as_required(&info), ["Image"]);
    }

    proptest! {
        #[test]
        fn no_words_panic(told in "\\PC*", image in "\\PC*", name in "\\PC*", inserted: Option<bool>) {
            let _ = holds(&Medium { slot: name.clone(), disc: true, image: Some(told.clone()), inserted }, &image);
            let _ = server(&told);
            let _ = takes_discs(&json!({"MediaTypes": [told]}), &name);
            let _ = listed_as_required(&json!({"Parameters": [{"Name": name, "Required": told}]}));
            let _ = missing(&told, &Map::new());
        }
    }
}
