//! The simulated BMC's AccountService: slots, pages of them, and a password that has to be changed before all else.

use super::{Asked, Habit, State, Told, refused, told};
use serde_json::{Value, json};

/// The accounts of a BMC, the one that logs in among them.
pub struct Accounts {
    /// The names in the slots from 1; "" is a free one, and the one that is [`State::user`]'s is the account itself.
    pub slots: Vec<String>,
    /// So many members a page; they overlap by one.
    pub page: usize,
    pub longest: Value,
    pub shortest: Value,
    /// What was sent to be a password, in order.
    pub asked: Vec<String>,
}

impl Default for Accounts {
    fn default() -> Self {
        let slots = ["", "root", "admin", "", "guest"].map(String::from).to_vec();
        Self { slots, page: 16, longest: Value::Null, shortest: Value::Null, asked: Vec::new() }
    }
}

const ALL: &str = "/redfish/v1/AccountService/Accounts";

impl State {
    /// Where the account is that logs in.
    pub fn own_account(&self) -> String {
        let at = self.accounts.slots.iter().position(|name| *name == self.user).map_or(0, |at| at + 1);
        format!("{ALL}/{at}")
    }

    fn change_is_wanted(&self) -> bool {
        [Habit::WantsNewPassword, Habit::WantsNewPasswordAtLogin, Habit::NoSessionBeforeNewPassword]
            .iter()
            .any(|habit| self.has(habit))
    }

    fn message(&self, tell: bool) -> Value {
        let account = if tell { json!([self.own_account()]) } else { json!([]) };
        json!([{"MessageId": "Base.1.12.PasswordChangeRequired", "Message": "change it first", "MessageArgs": account}])
    }

    pub(super) fn change_first(&self, status: u16, tell: bool) -> Told {
        told(status, json!({"error": {"@Message.ExtendedInfo": self.message(tell)}}))
    }

    pub(super) fn login_notes(&self) -> Value {
        match self.change_is_wanted() {
            true => json!({"@Message.ExtendedInfo": self.message(true)}),
            false => json!({}),
        }
    }

    /// All that a session with an old password may not.
    pub(super) fn wants_new_password(&self, asked: &Asked, path: &str) -> Option<Told> {
        let own = path == self.own_account() && (asked.method == "GET" || asked.method == "PATCH");
        let leaves = asked.method == "DELETE" && path.contains("/Sessions/");
        let tell = !self.has(&Habit::WantsNewPasswordAtLogin);
        (self.change_is_wanted() && !own && !leaves).then(|| self.change_first(403, tell))
    }

    /// `None` closes the connection without a word.
    pub(super) fn account_service(&mut self, asked: &Asked, rest: &[&str]) -> Option<Told> {
        let absent = || refused(404, "Base.1.12.ResourceMissingAtURI");
        match (asked.method.as_str(), rest) {
            ("GET", []) => Some(told(
                200,
                json!({"Accounts": {"@odata.id": ALL}, "MaxPasswordLength": self.accounts.longest,
                    "MinPasswordLength": self.accounts.shortest}),
            )),
            ("GET", ["Accounts"]) => Some(self.page(0)),
            ("GET", [page]) => match page.strip_prefix("Accounts?$skip=") {
                Some(skip) => Some(self.page(skip.parse().ok()?)),
                None => Some(absent()),
            },
            ("GET", ["Accounts", id]) => Some(self.account(id).unwrap_or_else(absent)),
            ("PATCH", ["Accounts", id]) if self.account(id).is_some() => self.patch_account(id, asked),
            _ => Some(absent()),
        }
    }

    fn page(&self, skip: usize) -> Told {
        let all = self.accounts.slots.len();
        let end = all.min(skip + self.accounts.page);
        // Somebody was added between two pages: the last of this one is the first of the next, with a slash.
        let slash = if skip > 0 { "/" } else { "" };
        let members: Vec<Value> =
            (skip..end).map(|at| json!({"@odata.id": format!("{ALL}/{}{slash}", at + 1)})).collect();
        let mut page = json!({"Members": members, "Members@odata.count": all});
        if end < all {
            page["Members@odata.nextLink"] = format!("{ALL}?$skip={}", end - 1).into();
        }
        told(200, page)
    }

    fn account(&self, id: &str) -> Option<Told> {
        let at: usize = id.parse().ok()?;
        let name = self.accounts.slots.get(at.checked_sub(1)?)?;
        let body = json!({"Id": id, "UserName": name, "Password": null, "Enabled": !name.is_empty(),
            "AccountTypes": ["Redfish", "IPMI"]});
        Some(Told { status: 200, headers: vec![("ETag", self.tag())], body })
    }

    fn patch_account(&mut self, id: &str, asked: &Asked) -> Option<Told> {
        if let Some(refusal) = self.tag_refusal(asked) {
            return Some(refusal);
        }
        let new = asked.body["Password"].as_str()?.to_string();
        self.accounts.asked.push(new.clone());
        if self.has(&Habit::RepeatsPassword) {
            let message = format!("The value '{new}' for the property Password is too simple.");
            let info = json!([{"MessageId": "Base.1.12.PropertyValueFormatError", "Message": message}]);
            return Some(told(400, json!({"error": {"@Message.ExtendedInfo": info}})));
        }
        let own = format!("{ALL}/{id}") == self.own_account();
        if own && !self.has(&Habit::ForgetsPassword) {
            self.password = new;
            self.tag += 1;
            self.habits.retain(|habit| {
                !matches!(
                    habit,
                    Habit::WantsNewPassword | Habit::WantsNewPasswordAtLogin | Habit::NoSessionBeforeNewPassword
                )
            });
        }
        if self.has(&Habit::PasswordEndsSessions) {
            self.sessions.clear();
        }
        let task = ("Location", "/redfish/v1/TaskService/Tasks/7".to_string());
        match () {
            () if self.has(&Habit::DropsPasswordReply) => None,
            () if self.has(&Habit::PasswordByTask) => Some(Told { status: 202, headers: vec![task], body: json!({}) }),
            () => Some(told(200, json!({}))),
        }
    }
}

/// The value of an Authorization header (RFC 7617, RFC 4648).
pub(super) fn basic(user: &str, password: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("Basic ");
    for three in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 0x3f) as usize];
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_written_as_the_standard_has_it() {
        // RFC 7617, section 2.
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("admin", "secret"), "Basic YWRtaW46c2VjcmV0");
    }
}
