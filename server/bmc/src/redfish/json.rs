//! Reading what BMCs call JSON of the Redfish schemas (B7.13).
//!
//! There are no resource structs on purpose: a missing `Links`, a number where a string belongs or an unheard-of
//! power state must cost that one field and not the whole answer, which is what derived types make of it.

use crate::Fault;
use serde_json::Value;

/// The text at a JSON pointer, trimmed; numbers as they are written. Empty and null are `None`.
pub fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = match value.pointer(pointer)? {
        Value::String(text) => text.trim().to_string(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The texts of the list at a JSON pointer, or `None` when there is no list.
pub fn texts(value: &Value, pointer: &str) -> Option<Vec<String>> {
    let list = value.pointer(pointer)?.as_array()?;
    Some(list.iter().filter_map(|item| text(item, "")).collect())
}

/// Where the link at a JSON pointer leads, as a path on this BMC.
pub fn link(value: &Value, pointer: &str) -> Option<String> {
    path(&text(value.pointer(pointer)?, "/@odata.id")?)
}

/// Where each member of a collection is.
pub fn members(value: &Value) -> Vec<String> {
    let list = value.get("Members").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|member| path(&text(member, "/@odata.id")?)).collect()
}

/// The path of a link or `Location`. A scheme and host in it are dropped: credentials go to the address that was
/// configured and nowhere else.
pub fn path(link: &str) -> Option<String> {
    let path = match link.split_once("://") {
        Some((_, rest)) => rest.get(rest.find('/')?..)?,
        None => link,
    };
    let plain = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| path.to_string())
}

/// The messages of an answer: in an error, and beside a resource that comes with a warning.
fn messages(value: &Value) -> impl Iterator<Item = &Value> {
    let at = ["/error/@Message.ExtendedInfo", "/@Message.ExtendedInfo"];
    at.into_iter().filter_map(|at| value.pointer(at)?.as_array()).flatten()
}

/// Whether an answer says that the password has to be changed first, and at which account.
pub fn wants_new_password(value: &Value) -> Option<Option<String>> {
    let wanted = |info: &&Value| text(info, "/MessageId").is_some_and(|id| id.ends_with("PasswordChangeRequired"));
    messages(value).find(wanted).map(|info| text(info, "/MessageArgs/0").and_then(|account| path(&account)))
}

/// Takes passwords out of an error's messages: some BMCs repeat what they refuse.
pub fn hush(value: &mut Value, secrets: &[&str]) {
    let clean = |message: Option<&mut Value>| {
        if let Some(Value::String(text)) = message {
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                *text = text.replace(secret, "***");
            }
        }
    };
    clean(value.pointer_mut("/error/message"));
    for at in ["/error/@Message.ExtendedInfo", "/@Message.ExtendedInfo"] {
        let infos = value.pointer_mut(at).and_then(Value::as_array_mut);
        infos.into_iter().flatten().for_each(|info| clean(info.get_mut("Message")));
    }
}

/// The message ids and messages of an error answer, for a person.
pub fn complaint(value: &Value) -> String {
    let mut words: Vec<String> =
        messages(value).flat_map(|info| [text(info, "/MessageId"), text(info, "/Message")]).flatten().collect();
    words.extend(text(value, "/error/code").filter(|_| words.is_empty()));
    words.extend(text(value, "/error/message").filter(|_| words.len() < 2));
    words.join(": ").chars().filter(|c| !c.is_control()).take(400).collect()
}

/// What a login was refused for: the credential, or a lock that earlier ones brought about.
pub fn refused_login(value: &Value) -> Fault {
    let said = complaint(value);
    let lower = said.to_ascii_lowercase();
    let locked = ["locked", "lockout", "loginattemptdelay"].iter().any(|word| lower.contains(word));
    if locked && !lower.contains("unlocked") { Fault::Locked(said) } else { Fault::Login }
}

/// What the status of an answer means, beyond 2xx.
pub fn fault(status: u16, value: &Value, what: &str) -> Fault {
    let complaint = complaint(value);
    let said = format!("{what}: HTTP {status} {complaint}").trim_end().to_string();
    let has = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
    if let Some(account) = wants_new_password(value) {
        return Fault::WantsNewPassword(account);
    }
    match status {
        _ if has(&["SessionLimitExceeded"]) => Fault::NoSlot,
        // Not ready, in POST, or just switched: the same request works in a while.
        _ if has(&["SYS518", "InvalidOperationForSystemState", "UnableToModifyDuringSystemPOST"]) => Fault::Busy(said),
        409 if has(&["ActionParameterValueConflict"]) => Fault::Busy(said),
        401 => Fault::Login,
        404 | 405 | 501 => Fault::NotOffered(said),
        408 | 429 | 500 | 502..=504 => Fault::Busy(said),
        300..=399 => Fault::Declined(format!("{said} (redirects are not followed)")),
        _ => Fault::Declined(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn b7_13_sloppy_fields_are_read() {
        let value = json!({"a": "MT2246XZ0908   ", "b": 7, "c": null, "d": "", "e": [1, "x", null]});
        assert_eq!(text(&value, "/a").as_deref(), Some("MT2246XZ0908"));
        assert_eq!(text(&value, "/b").as_deref(), Some("7"));
        assert_eq!((text(&value, "/c"), text(&value, "/d"), text(&value, "/z")), (None, None, None));
        assert_eq!(texts(&value, "/e").unwrap(), ["1", "x"]);
    }

    #[test]
    fn a_link_never_leads_to_another_host() {
        assert_eq!(path("https://evil.example/redfish/v1/X").as_deref(), Some("/redfish/v1/X"));
        assert_eq!(path("/redfish/v1").as_deref(), Some("/redfish/v1"));
        for bad in ["//evil.example/x", "evil", "", "https://evil.example", "/a b", "/a\r\nHost: x", "@evil/x"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn b7_6_not_ready_means_later() {
        let error = |id: &str| json!({"error": {"@Message.ExtendedInfo": [{"MessageId": id, "Message": "no"}]}});
        for id in
            ["IDRAC.2.8.SYS518", "iLO.2.14.InvalidOperationForSystemState", "iLO.2.UnableToModifyDuringSystemPOST"]
        {
            assert_eq!(fault(400, &error(id), "x").kind(), Kind::Later, "{id}");
        }
        assert_eq!(fault(409, &error("Base.1.12.ActionParameterValueConflict"), "x").kind(), Kind::Later);
        assert_eq!(fault(400, &error("Base.1.12.PropertyValueNotInList"), "x").kind(), Kind::Refused);
        assert!(matches!(fault(503, &error("Base.1.0.SessionLimitExceeded"), "x"), Fault::NoSlot));
    }

    #[test]
    fn b7_2_a_password_that_has_to_be_changed_first_is_told_with_its_account() {
        let info = |args: Value| json!([{"MessageId": "Base.1.12.PasswordChangeRequired", "MessageArgs": args}]);
        let refusal =
            json!({"error": {"@Message.ExtendedInfo": info(json!(["/redfish/v1/AccountService/Accounts/2"]))}});
        let Fault::WantsNewPassword(told) = fault(403, &refusal, "x") else { panic!("{refusal}") };
        assert_eq!(told.as_deref(), Some("/redfish/v1/AccountService/Accounts/2"));
        let login = json!({"@Message.ExtendedInfo": info(json!(["https://evil.example/redfish/v1/A/2"]))});
        assert_eq!(wants_new_password(&login), Some(Some("/redfish/v1/A/2".into())), "never to another host");
        for odd in [json!([]), json!(null), json!([7])] {
            assert_eq!(wants_new_password(&json!({"@Message.ExtendedInfo": info(odd)})), Some(None));
        }
        assert_eq!(wants_new_password(&json!({"error": {"message": "PasswordChangeRequired"}})), None);
    }

    #[test]
    fn a5_6_a_locked_account_is_no_wrong_password() {
        let error = |id: &str| json!({"error": {"@Message.ExtendedInfo": [{"MessageId": id, "Message": "no"}]}});
        assert!(
            matches!(refused_login(&error("iBMC.1.0.UserLocked")), Fault::Locked(said) if said.contains("UserLocked"))
        );
        for wrong in [error("Base.1.12.InsufficientPrivilege"), json!({}), json!(null)] {
            assert!(matches!(refused_login(&wrong), Fault::Login), "{wrong}");
        }
    }

    #[test]
    fn a_password_that_a_bmc_repeats_is_not_told_and_its_message_id_is() {
        let mut body = json!({"error": {"message": "hunter2 is weak", "@Message.ExtendedInfo": [
            {"MessageId": "Base.1.12.PropertyValueFormatError", "Message": "The value 'hunter2' of Password"}]}});
        hush(&mut body, &["", "hunter2"]);
        let said = fault(400, &body, "the new password").to_string();
        assert!(
            said.contains("PropertyValueFormatError") && said.contains("***") && !said.contains("hunter2"),
            "{said}"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(link in "\\PC*", status in 0_u16..1000) {
            let _ = path(&link);
            hush(&mut json!({"error": {"@Message.ExtendedInfo": [link, {"Message": link}]}}), &[&link]);
            let _ = wants_new_password(&json!({"@Message.ExtendedInfo": [link, {"MessageId": link}]}));
            let _ = fault(status, &json!({"error": {"message": link, "@Message.ExtendedInfo": [link]}}), "x");
        }
    }
}
