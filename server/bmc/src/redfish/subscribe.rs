//! Subscriptions of the event service: the BMC sends what happens to an address of ours, for those that have no stream (B7.14).
//!
//! Ours are known by their context, so that one that a former run left behind is found again and never made twice.

use super::connection::{Outcome, Request};
use super::{Turn, finish, json};
use crate::lane::Sent;
use crate::{Fault, Subscription};
use reqwest::Method;
use serde_json::Value;

/// Services have room for twenty at most.
const MOST: usize = 64;
/// Of the types that older services want to be told, those that say that something happened.
const TYPES: [&str; 2] = ["Alert", "StatusChange"];

pub async fn subscribe(turn: &Turn<'_>, wanted: &Subscription, sent: &Sent) -> Result<(), Fault> {
    let Some((service, list)) = place(turn).await? else {
        return match wanted.destination {
            Some(_) => Err(Fault::NotOffered("subscriptions to its events".into())),
            None => Ok(()),
        };
    };
    let mut there = false;
    for (path, one) in ours(turn, &list, wanted).await? {
        if !there && is_as(&one, wanted) {
            there = true;
        } else {
            take_back(turn, &path, sent).await?;
        }
    }
    let Some(destination) = wanted.destination.as_deref().filter(|_| !there) else { return Ok(()) };
    let body = ask(&service, &wanted.context, destination);
    let request = Request { method: Method::POST, path: &list, body: Some(&body), etag: None };
    let made = match turn.send(&request, sent).await? {
        Outcome::Good(answer) => {
            finish(turn, &answer, sent).await?;
            answer.place()
        }
        Outcome::Bad(status, body) => return Err(json::fault(status, &body, "a subscription to its events")),
    };
    if ours(turn, &list, wanted).await?.iter().any(|(_, one)| is_as(one, wanted)) {
        return Ok(());
    }
    // One that nobody would find again is not left behind.
    if let Some(made) = made.filter(|made| made.starts_with(&list)) {
        take_back(turn, &made, sent).await?;
        sent.denied();
    }
    Err(Fault::Declined("it says that it took the subscription, and lists none of ours".into()))
}

/// Whether exactly the wanted subscription is there.
pub async fn subscribed(turn: &Turn<'_>, wanted: &Subscription) -> Result<bool, Fault> {
    let ours = match place(turn).await? {
        Some((_, list)) => ours(turn, &list, wanted).await?,
        None => Vec::new(),
    };
    let as_wanted = ours.iter().filter(|(_, one)| is_as(one, wanted)).count();
    Ok(ours.len() == as_wanted && as_wanted == usize::from(wanted.destination.is_some()))
}

/// The event service and where its subscriptions are.
async fn place(turn: &Turn<'_>) -> Result<Option<(Value, String)>, Fault> {
    let root = turn.connection.root(turn.lane).await?.body;
    let Some(service) = json::link(&root, "/EventService") else { return Ok(None) };
    let service = match turn.get(&service).await {
        Ok(service) => service.body,
        Err(Fault::NotOffered(_)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    Ok(json::link(&service, "/Subscriptions").map(|list| (service, list)))
}

/// With their paths. Some do not show the context; where it goes to is nobody else's either.
async fn ours(turn: &Turn<'_>, list: &str, wanted: &Subscription) -> Result<Vec<(String, Value)>, Fault> {
    let mut ours = Vec::new();
    for path in json::members(&turn.get(list).await?.body).into_iter().take(MOST) {
        match turn.get(&path).await {
            Ok(one) if is_ours(&one.body, wanted) => ours.push((path, one.body)),
            // Taken away since it was listed, or somebody else's and not for us to read.
            Ok(_) | Err(Fault::NotOffered(_) | Fault::Declined(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(ours)
}

fn is_ours(one: &Value, wanted: &Subscription) -> bool {
    let goes_to = json::text(one, "/Destination");
    json::text(one, "/Context").as_ref() == Some(&wanted.context)
        || (goes_to.is_some() && goes_to == wanted.destination)
}

fn is_as(one: &Value, wanted: &Subscription) -> bool {
    let off = json::text(one, "/Status/State").is_some_and(|state| state == "Disabled");
    json::text(one, "/Destination") == wanted.destination && wanted.destination.is_some() && !off
}

async fn take_back(turn: &Turn<'_>, path: &str, sent: &Sent) -> Result<(), Fault> {
    let request = Request { method: Method::DELETE, path, body: None, etag: None };
    match turn.send(&request, sent).await? {
        Outcome::Good(_) | Outcome::Bad(404, _) => Ok(()),
        Outcome::Bad(status, body) => Err(json::fault(status, &body, "the end of a subscription")),
    }
}

/// Services from before 2019 want types of events named; newer ones send all when nothing is said.
fn ask(service: &Value, context: &str, destination: &str) -> Value {
    let mut body = json!({"Destination": destination, "Context": context, "Protocol": "Redfish"});
    let newer = json::texts(service, "/RegistryPrefixes").is_some_and(|list| !list.is_empty());
    if let Some(known) = json::texts(service, "/EventTypesForSubscription").filter(|_| !newer) {
        let types: Vec<&str> = TYPES.into_iter().filter(|kind| known.iter().any(|one| one == kind)).collect();
        if let (false, Some(body)) = (types.is_empty(), body.as_object_mut()) {
            body.insert("EventTypes".into(), json!(types));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_14_types_are_named_where_the_service_knows_no_registries() {
        let types = |service: Value| ask(&service, "c", "https://d")["EventTypes"].clone();
        let known = json!(["StatusChange", "ResourceAdded", "Alert"]);
        assert_eq!(types(json!({"EventTypesForSubscription": known})), json!(["Alert", "StatusChange"]));
        assert_eq!(types(json!({"EventTypesForSubscription": known, "RegistryPrefixes": ["iLOEvents"]})), json!(null));
        for odd in [json!({}), json!({"EventTypesForSubscription": []}), json!({"EventTypesForSubscription": 7})] {
            assert_eq!(types(odd.clone()), json!(null), "{odd}");
        }
    }

    #[test]
    fn a_subscription_that_was_switched_off_or_goes_elsewhere_is_not_the_wanted_one() {
        let wanted = Subscription { context: "c".into(), destination: Some("https://d".into()) };
        assert!(is_as(&json!({"Destination": "https://d", "Status": {"State": "Enabled"}}), &wanted));
        for other in [
            json!({"Destination": "https://d", "Status": {"State": "Disabled"}}),
            json!({"Destination": "https://e"}),
            json!({"Destination": null}),
        ] {
            assert!(!is_as(&other, &wanted), "{other}");
        }
        let none = Subscription { destination: None, ..wanted };
        assert!(!is_as(&json!({}), &none), "nothing is wanted: whatever is ours goes");
    }
}
