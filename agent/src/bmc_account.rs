//! An account of the daemon's on the machine's own BMC, made over the bus between them (IPMI 2.0, 22.23 and 22.26 to 22.30).
//!
//! For BMCs whose password nobody knows: who is inside the machine may make an account, and the daemon then comes over the
//! network. Making it again makes the same account, so that an answer that was lost does no harm. No other account is
//! touched.

use crate::bytes::byte;
use crate::kcs::Bus;
use muster_wire::BmcAccount;

const APP: u8 = 0x06;
const SET_USER_ACCESS: u8 = 0x43;
const GET_USER_ACCESS: u8 = 0x44;
const SET_USER_NAME: u8 = 0x45;
const GET_USER_NAME: u8 = 0x46;
const SET_USER_PASSWORD: u8 = 0x47;
const GET_CHANNEL_INFO: u8 = 0x42;
/// 802.3 LAN.
const LAN: u8 = 4;
const ADMINISTRATOR: u8 = 4;
/// What every BMC takes of a name and of a password.
const WIDTH: usize = 16;
const ENABLE: u8 = 1;
const SET: u8 = 2;
const TEST: u8 = 3;
/// The password differs; it is of another length.
const WRONG: [u8; 2] = [0x80, 0x81];

/// Makes the account, or gives the one of this name this password, and has the BMC compare it.
///
/// # Errors
/// Why there is none, in words.
pub fn make(bus: &dyn Bus, account: &BmcAccount) -> Result<(), String> {
    let (name, password) = (field("user", &account.user)?, field("password", &account.password)?);
    let channel = lan(bus).ok_or("the BMC has no network channel")?;
    let slot = slot(bus, channel, &name)?;
    tell(bus, "take the name", SET_USER_NAME, &[&[slot], name.as_slice()].concat())?;
    tell(bus, "take the password", SET_USER_PASSWORD, &[&[slot, SET], password.as_slice()].concat())?;
    // Over the network, without call-back or link authentication, as an administrator.
    tell(bus, "let it in over the network", SET_USER_ACCESS, &[0x90 | channel, slot, ADMINISTRATOR])?;
    tell(bus, "switch it on", SET_USER_PASSWORD, &[&[slot, ENABLE], [0; WIDTH].as_slice()].concat())?;
    let test = bus.call(APP, SET_USER_PASSWORD, &[&[slot, TEST], password.as_slice()].concat());
    match test.as_deref().and_then(|answer| byte(answer, 0)) {
        Some(code) if WRONG.contains(&code) => Err("the BMC says that it took the password, and has another".into()),
        // Some cannot compare; the daemon's login will.
        _ => Ok(()),
    }
}

fn field(what: &str, text: &str) -> Result<[u8; WIDTH], String> {
    let mut field = [0; WIDTH];
    if text.is_empty() || text.len() > WIDTH || !text.is_ascii() {
        return Err(format!("its {what} must be 1 to {WIDTH} plain characters"));
    }
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    Ok(field)
}

fn lan(bus: &dyn Bus) -> Option<u8> {
    (1..=11).find(|channel| {
        let info = bus.call(APP, GET_CHANNEL_INFO, &[*channel]).unwrap_or_default();
        byte(&info, 0) == Some(0) && byte(&info, 2).map(|medium| medium & 0x7f) == Some(LAN)
    })
}

/// The slot of this name, or the first that is nobody's. The first slot is the nameless user's, and fixed names stay.
fn slot(bus: &dyn Bus, channel: u8, name: &[u8; WIDTH]) -> Result<u8, String> {
    let access = bus.call(APP, GET_USER_ACCESS, &[channel, 1]).ok_or("the BMC does not tell its accounts")?;
    if byte(&access, 0) != Some(0) {
        return Err("the BMC does not tell its accounts".into());
    }
    let count = |at| byte(&access, at).map_or(0, |count| count & 0x3f);
    let (most, fixed) = (count(1), count(3));
    let mut free = None;
    for slot in 2..=most {
        let answer = bus.call(APP, GET_USER_NAME, &[slot]).unwrap_or_default();
        let told = answer.get(1..).unwrap_or_default();
        let is_nobodys = byte(&answer, 0) != Some(0) || told.iter().all(|octet| *octet == 0 || *octet == 0xff);
        if !is_nobodys && told == name {
            return Ok(slot);
        }
        if is_nobodys && slot > fixed && !in_use(bus, channel, slot) {
            free = free.or(Some(slot));
        }
    }
    free.ok_or_else(|| format!("all {most} accounts of the BMC are taken"))
}

/// An account without a name that is let in all the same is somebody's.
fn in_use(bus: &dyn Bus, channel: u8, slot: u8) -> bool {
    let access = bus.call(APP, GET_USER_ACCESS, &[channel, slot]).unwrap_or_default();
    byte(&access, 0) == Some(0) && byte(&access, 4).is_some_and(|bits| bits & 0x10 != 0 && bits & 0x0f != 0x0f)
}

fn tell(bus: &dyn Bus, what: &str, command: u8, data: &[u8]) -> Result<(), String> {
    let answer = bus.call(APP, command, data).ok_or_else(|| format!("the BMC did not answer when it was to {what}"))?;
    match byte(&answer, 0) {
        Some(0) => Ok(()),
        Some(code) => Err(format!("the BMC would not {what}: completion code {code:02x}h")),
        None => Err(format!("the BMC answered nothing when it was to {what}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Name, password, access.
    type User = ([u8; WIDTH], [u8; WIDTH], u8);

    /// A BMC with so many accounts.
    struct Model {
        users: RefCell<Vec<User>>,
        fixed: u8,
        deaf: bool,
        garbles: bool,
    }

    fn model(names: &[&str]) -> Model {
        let users = names.iter().map(|name| {
            let mut field = [0; WIDTH];
            field[..name.len()].copy_from_slice(name.as_bytes());
            (field, [0; WIDTH], if name.is_empty() { 0x0f } else { 0x14 })
        });
        Model { users: RefCell::new(users.collect()), fixed: 0, deaf: false, garbles: false }
    }

    impl Bus for Model {
        fn call(&self, netfn: u8, command: u8, data: &[u8]) -> Option<Vec<u8>> {
            assert_eq!(netfn, APP);
            let mut users = self.users.borrow_mut();
            let count = users.len() as u8;
            let user = |at: u8| usize::from(at & 0x3f) - 1;
            Some(match command {
                _ if self.deaf => return None,
                GET_CHANNEL_INFO => vec![0, data[0], if data[0] == 2 { LAN } else { 0x0c }],
                GET_USER_ACCESS => vec![0, count, 0, self.fixed, users[user(data[1])].2],
                GET_USER_NAME => [&[0], users[user(data[0])].0.as_slice()].concat(),
                SET_USER_NAME => {
                    users[user(data[0])].0.copy_from_slice(&data[1..17]);
                    vec![0]
                }
                SET_USER_ACCESS => {
                    assert_eq!(data[0], 0x92, "of the network's channel");
                    users[user(data[1])].2 = 0x10 | data[2];
                    vec![0]
                }
                SET_USER_PASSWORD if data[1] == SET => {
                    users[user(data[0])].1.copy_from_slice(&data[2..18]);
                    if self.garbles {
                        users[user(data[0])].1[0] ^= 1;
                    }
                    vec![0]
                }
                SET_USER_PASSWORD if data[1] == TEST => {
                    vec![if users[user(data[0])].1 == data[2..18] { 0 } else { 0x80 }]
                }
                SET_USER_PASSWORD => vec![0],
                _ => vec![0xc1],
            })
        }
    }

    fn account() -> BmcAccount {
        BmcAccount { user: "muster".into(), password: "a-password-of-16".into() }
    }

    fn name_of(bmc: &Model, slot: usize) -> String {
        String::from_utf8_lossy(&bmc.users.borrow()[slot - 1].0).trim_end_matches('\0').to_owned()
    }

    #[test]
    fn an_account_takes_the_first_free_slot_and_no_others() {
        let bmc = model(&["", "ADMIN", "", ""]);
        make(&bmc, &account()).unwrap();
        assert_eq!((name_of(&bmc, 2), name_of(&bmc, 3)), ("ADMIN".into(), "muster".into()));
        assert_eq!(bmc.users.borrow()[2].1, *b"a-password-of-16");
        assert_eq!(bmc.users.borrow()[2].2, 0x14);
        assert_eq!(bmc.users.borrow()[1].1, [0; WIDTH], "somebody else's password");
    }

    #[test]
    fn made_again_it_is_the_same_account_with_the_newer_password() {
        let bmc = model(&["", "ADMIN", "", ""]);
        make(&bmc, &account()).unwrap();
        make(&bmc, &BmcAccount { password: "another".into(), ..account() }).unwrap();
        assert_eq!(name_of(&bmc, 4), "");
        assert!(bmc.users.borrow()[2].1.starts_with(b"another\0"));
    }

    #[test]
    fn fixed_names_and_nameless_accounts_that_are_let_in_are_left_alone() {
        let mut bmc = model(&["", "", "", ""]);
        bmc.fixed = 2;
        bmc.users.borrow_mut()[2].2 = 0x13;
        make(&bmc, &account()).unwrap();
        assert_eq!(name_of(&bmc, 4), "muster");
    }

    #[test]
    fn no_room_a_deaf_bmc_and_one_that_lies_are_told_in_words() {
        for (bmc, said) in [
            (model(&["", "ADMIN", "ops"]), "all 3 accounts"),
            (Model { deaf: true, ..model(&["", ""]) }, "no network channel"),
            (Model { garbles: true, ..model(&["", ""]) }, "has another"),
        ] {
            let why = make(&bmc, &account()).unwrap_err();
            assert!(why.contains(said) && !why.contains("a-password"), "{why}");
        }
        let long = BmcAccount { password: "x".repeat(17), ..account() };
        assert!(make(&model(&["", ""]), &long).unwrap_err().contains("16 plain"));
    }
}
