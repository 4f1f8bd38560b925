//! AccountService: which of its accounts is the target's, and the PATCH of its password (B7.3, B7.5).
//!
//! A session whose password has to be changed first may do nothing but that. It is refused everything else with the
//! message PasswordChangeRequired, whose argument is the account (Redfish Specification, "Password change required").

use super::connection::Answer;
use super::fields::Fields;
use super::{Turn, finish, json, patch};
use crate::lane::Sent;
use crate::{Fault, Secret};
use serde_json::Value;
use std::collections::BTreeSet;

const SERVICE: &str = "/redfish/v1/AccountService";
const MOST_PAGES: usize = 32;
/// Sixteen slots are usual.
const MOST_ACCOUNTS: usize = 64;
/// What a BMC that tells no limit takes: IPMI's, for most have one table of users for both.
const USUAL_LIMIT: usize = 20;
const NAMES_TOLD: usize = 8;

pub async fn set_password(turn: &Turn<'_>, new: &Secret, sent: &Sent) -> Result<(), Fault> {
    let (path, etag) = match listed(turn, new).await {
        Err(Fault::WantsNewPassword(told)) => own(turn, told).await?,
        found => found?,
    };
    let _change = turn.lane.change(turn.target, sent);
    let body = json!({"Password": new.reveal()});
    let answer = patch(turn, &path, etag.as_deref(), &body, "the new password", sent).await?;
    match finish(turn, &answer, sent).await {
        // The task cannot be watched with the password that it ends.
        Err(Fault::Login | Fault::Superseded) => Ok(()),
        outcome => outcome,
    }
}

pub async fn password_limit(turn: &Turn<'_>) -> Result<usize, Fault> {
    match service(turn).await {
        Ok(service) => Ok(lengths(&service.body).1.unwrap_or(USUAL_LIMIT)),
        Err(Fault::WantsNewPassword(_)) => Ok(USUAL_LIMIT),
        Err(fault) => Err(fault),
    }
}

async fn service(turn: &Turn<'_>) -> Result<Answer, Fault> {
    let root = turn.connection.root(turn.lane).await?.body;
    turn.get(&json::link(&root, "/AccountService").unwrap_or_else(|| SERVICE.to_string())).await
}

/// The target's account among those that are listed, with its entity tag.
async fn listed(turn: &Turn<'_>, new: &Secret) -> Result<(String, Option<String>), Fault> {
    let service = service(turn).await?.body;
    fits(&service, new)?;
    let accounts = json::link(&service, "/Accounts").unwrap_or_else(|| format!("{SERVICE}/Accounts"));
    let mut accounts_read = Vec::new();
    for path in members(turn, accounts).await? {
        match turn.get(&path).await {
            Ok(answer) => accounts_read.push((path, answer)),
            // A slot that cannot be read is somebody else's, or the search ends without a match and says so.
            Err(fault @ (Fault::Declined(_) | Fault::NotOffered(_) | Fault::Garbled(_))) => {
                tracing::debug!(%fault, path, "account not read");
            }
            Err(fault) => return Err(fault),
        }
    }
    let bodies: Vec<(&str, &Value)> =
        accounts_read.iter().map(|(path, answer)| (path.as_str(), &answer.body)).collect();
    let path = choose(&turn.target.user, &bodies)?;
    let etag = accounts_read.iter().find(|(other, _)| *other == path).and_then(|(_, answer)| answer.etag());
    Ok((path, etag))
}

/// Every member of a collection once, page by page.
async fn members(turn: &Turn<'_>, first: String) -> Result<Vec<String>, Fault> {
    let (mut found, mut known, mut pages) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut next = Some(first);
    while let Some(page) = next.take_if(|page| pages.len() < MOST_PAGES && pages.insert(page.clone())) {
        let body = turn.get(&page).await?.body;
        let fresh =
            json::members(&body).into_iter().filter(|path| known.insert(path.trim_end_matches('/').to_string()));
        found.extend(fresh.take(MOST_ACCOUNTS.saturating_sub(found.len())).collect::<Vec<_>>());
        next = json::text(&body, "/Members@odata.nextLink").and_then(|link| json::path(&link));
    }
    Ok(found)
}

/// Where a session that may only change its password does so: told with the refusal, or with the login.
async fn own(turn: &Turn<'_>, told: Option<String>) -> Result<(String, Option<String>), Fault> {
    let path = told.or_else(|| turn.connection.own_account()).ok_or(Fault::WantsNewPassword(None))?;
    let etag = match turn.get(&path).await {
        Ok(account) => match json::text(&account.body, "/UserName") {
            Some(name) if name != turn.target.user => {
                return Err(Fault::Garbled(format!(
                    "it wants the password of {} changed, and it is {name} who is found there",
                    turn.target.user
                )));
            }
            _ => account.etag(),
        },
        Err(Fault::WantsNewPassword(_) | Fault::Declined(_)) => None,
        Err(fault) => return Err(fault),
    };
    Ok((path, etag))
}

/// The shortest and the longest password, as told. Zero tells nothing.
fn lengths(service: &Value) -> (Option<usize>, Option<usize>) {
    let told = |name: &str| {
        let length = Fields(service).small(&[name])?;
        usize::try_from(length).ok().filter(|length| *length > 0)
    };
    (told("MinPasswordLength"), told("MaxPasswordLength"))
}

fn fits(service: &Value, new: &Secret) -> Result<(), Fault> {
    let length = new.reveal().chars().count();
    match lengths(service) {
        (_, Some(most)) if length > most => {
            Err(Fault::UnfitPassword(format!("the BMC takes at most {most} characters, and it has {length}")))
        }
        (Some(least), _) if length < least => {
            Err(Fault::UnfitPassword(format!("the BMC takes no less than {least} characters, and it has {length}")))
        }
        _ => Ok(()),
    }
}

/// The path of the user's account. One account may be listed at several places, and one name may be several accounts:
/// then it is the one that is enabled, the one that is for Redfish, or none.
fn choose(user: &str, accounts: &[(&str, &Value)]) -> Result<String, Fault> {
    let name = |account: &Value| json::text(account, "/UserName");
    let mut meant: Vec<_> =
        accounts.iter().copied().filter(|(_, account)| name(account).as_deref() == Some(user)).collect();
    let traits: [fn(&Value) -> bool; 2] = [is_enabled, is_for_redfish];
    for fits in traits {
        if meant.len() > 1 && meant.iter().any(|(_, account)| fits(account)) {
            meant.retain(|(_, account)| fits(account));
        }
    }
    let ids: BTreeSet<_> = meant.iter().map(|(path, account)| json::text(account, "/Id").ok_or(*path)).collect();
    match meant.first() {
        Some((path, _)) if ids.len() == 1 => Ok((*path).to_string()),
        Some(_) => {
            let paths: Vec<_> = meant.iter().map(|(path, _)| *path).collect();
            Err(Fault::Declined(format!(
                "it lists several accounts named {user} ({}); rename all but one, so that it is clear whose password changes",
                paths.join(", ")
            )))
        }
        None => {
            let names: Vec<_> = accounts.iter().filter_map(|(_, account)| name(account)).take(NAMES_TOLD).collect();
            Err(Fault::Declined(format!(
                "it lists no account named {user} (those listed: {}); is it a directory's account?",
                names.join(", ")
            )))
        }
    }
}

fn is_enabled(account: &Value) -> bool {
    account.get("Enabled") != Some(&Value::Bool(false))
}

fn is_for_redfish(account: &Value) -> bool {
    json::texts(account, "/AccountTypes").is_none_or(|types| types.iter().any(|kind| kind == "Redfish"))
}

/// For the fuzzer: every reader of this file on any JSON.
pub fn parse(body: &Value) {
    let _ = (lengths(body), choose("admin", &[("/a", body), ("/b", body)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(id: &str, user: &str) -> Value {
        json!({"Id": id, "UserName": user})
    }

    fn chosen(accounts: &[(&str, Value)]) -> Result<String, String> {
        let accounts: Vec<_> = accounts.iter().map(|(path, account)| (*path, account)).collect();
        choose("admin", &accounts).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_account_is_the_one_with_the_users_name() {
        let slots = [("/a/1", account("1", "")), ("/a/2", account("2", "root")), ("/a/3", account("3", "admin"))];
        assert_eq!(chosen(&slots).unwrap(), "/a/3");
        let said = chosen(&slots[..2]).unwrap_err();
        assert!(said.contains("admin") && said.contains("root"), "{said}");
        assert!(chosen(&[("/a/1", account("1", "Admin")), ("/a/2", json!({"UserName": null}))]).is_err());
    }

    #[test]
    fn one_account_in_two_places_is_one_and_two_of_a_name_are_nobodys() {
        let twice = [("/a/3", account("3", "admin")), ("/managers/1/accounts/3", account("3", "admin"))];
        assert_eq!(chosen(&twice).unwrap(), "/a/3");
        let two = [("/a/3", account("3", "admin")), ("/a/4", account("4", "admin"))];
        let said = chosen(&two).unwrap_err();
        assert!(said.contains("/a/3, /a/4"), "{said}");
        assert!(chosen(&[("/a/3", json!({"UserName": "admin"})), ("/a/4", json!({"UserName": "admin"}))]).is_err());
        let disabled = json!({"Id": "3", "UserName": "admin", "Enabled": false});
        assert_eq!(chosen(&[("/a/3", disabled), ("/a/4", account("4", "admin"))]).unwrap(), "/a/4");
        let snmp = json!({"Id": "3", "UserName": "admin", "AccountTypes": ["SNMP"]});
        assert_eq!(chosen(&[("/a/3", snmp), ("/a/4", account("4", "admin"))]).unwrap(), "/a/4");
    }

    #[test]
    fn a_password_fits_between_the_lengths_that_are_told() {
        let service = json!({"MinPasswordLength": 8, "MaxPasswordLength": "16"});
        for (length, good) in [(7, false), (8, true), (16, true), (17, false)] {
            let outcome = fits(&service, &Secret::new("x".repeat(length)));
            assert_eq!(outcome.is_ok(), good, "{length}: {outcome:?}");
        }
        for silent in [json!({}), json!({"MaxPasswordLength": 0}), json!({"MaxPasswordLength": null}), json!([])] {
            assert!(fits(&silent, &Secret::new("x".repeat(100))).is_ok(), "{silent}");
        }
    }

    proptest! {
        #[test]
        fn no_words_panic(word in "\\PC*", number: f64) {
            for value in [json!(word), json!([word]), json!({"UserName": word, "Id": number, "AccountTypes": word})] {
                let _ = choose(&word, &[("/a", &value), ("/b", &value)]);
                let _ = lengths(&json!({"MaxPasswordLength": value, "MinPasswordLength": number}));
            }
        }
    }
}
