//! Users by number and their passwords (IPMI 2.0, sections 22.27 to 22.30).
//!
//! A password is sent in the 20-byte form, padded with zeros, and in the 16-byte form of IPMI 1.5 where a BMC refuses
//! that one. Some take 20 bytes and keep 16 without a word, and then nobody can log in; so a password of more than 16
//! is given only to a BMC that has shown by "test password" that it looks at the last four. One that logs us in with more
//! than 16 and calls others right gets none: OpenIPMI's simulator leaves the end of the old one behind the new one, and
//! lets nobody in.

use super::{APP, BUSY_PAUSE, BUSY_TRIES, FOR_LATER, TIMED_OUT, Turn, declined};
use crate::accounts::LONGEST_IPMI;
use crate::ipmi::session::Command;
use crate::lane::Sent;
use crate::{Fault, Secret};

const GET_USER_ACCESS: u8 = 0x44;
const GET_USER_NAME: u8 = 0x46;
const SET_USER_PASSWORD: u8 = 0x47;
/// The channel that the question comes by.
const THIS_CHANNEL: u8 = 0x0e;
/// The field has six bits.
const MOST_USERS: u8 = 0x3f;

const SET: u8 = 0x02;
const TEST: u8 = 0x03;
/// Bit 7 of the user id: the 20-byte form.
const TWENTY: u8 = 0x80;
/// Password and stored one differ; they were stored in different forms.
const TEST_FAILED: [u8; 2] = [0x80, 0x81];
/// Length, field length, range or value: what a form that is not known is refused with.
const NOT_THAT_LONG: [u8; 4] = [0xc7, 0xc8, 0xc9, 0xcc];
const SHORT: usize = 16;

pub async fn set_password(turn: &mut Turn<'_>, new: &Secret, sent: &Sent) -> Result<(), Fault> {
    let user = user(turn).await?;
    let length = new.reveal().len();
    let before = turn.target.password.reveal().len();
    if length.max(before) > SHORT && longest(turn, user).await? < length {
        return Err(Fault::UnfitPassword(format!(
            "it has {length} bytes, and this BMC has not shown that it keeps more than {SHORT}; take a shorter one"
        )));
    }
    let lane = turn.lane;
    let _change = lane.change(turn.target, sent);
    let long = request(user, SET, new.reveal().as_bytes(), true);
    let short = request(user, SET, new.reveal().as_bytes(), false);
    sent.mark();
    let mut code = in_session(turn, &long).await?;
    if NOT_THAT_LONG.contains(&code) && length <= SHORT && !turn.unclear {
        code = in_session(turn, &short).await?;
    }
    // Whatever it did with its sessions, the next one is opened with the password that holds.
    if code == 0 {
        turn.settle().await;
        *turn.session = None;
        return Ok(());
    }
    if !turn.unclear {
        sent.denied();
    }
    Err(declined(code, "the new password"))
}

pub async fn password_limit(turn: &mut Turn<'_>) -> Result<usize, Fault> {
    let user = user(turn).await?;
    longest(turn, user).await
}

/// Asked with a password that differs from the right one in its last four bytes alone. Whoever calls it right looks at
/// 16; so does, for all one can tell, whoever does not know the question.
async fn longest(turn: &mut Turn<'_>, user: u8) -> Result<usize, Fault> {
    let other = other_end(turn.target.password.reveal().as_bytes());
    let (code, _) = turn.reply(Command::new(APP, SET_USER_PASSWORD, &request(user, TEST, &other, true))).await?;
    match code {
        _ if FOR_LATER.contains(&code) => Err(declined(code, "a test of its password")),
        _ if TEST_FAILED.contains(&code) => Ok(LONGEST_IPMI),
        0x00 if turn.target.password.reveal().len() > SHORT => Err(Fault::UnfitPassword(format!(
            "this BMC logs in with {} bytes, and calls others right that end differently, so that nobody knows what it \
             would keep; set one of at most {SHORT} bytes there by hand first",
            turn.target.password.reveal().len()
        ))),
        _ => Ok(SHORT),
    }
}

/// The number of the target's user: the only one of its name.
async fn user(turn: &mut Turn<'_>) -> Result<u8, Fault> {
    let most = match turn.reply(Command::new(APP, GET_USER_ACCESS, &[THIS_CHANNEL, 0x01])).await? {
        (0x00, access) => access.first().map_or(MOST_USERS, |most| most & MOST_USERS),
        (code, _) if FOR_LATER.contains(&code) => return Err(declined(code, "its users")),
        _ => MOST_USERS,
    };
    let mut found = Vec::new();
    for number in 1..=most {
        match turn.reply(Command::new(APP, GET_USER_NAME, &[number])).await? {
            (0x00, name) if is_named(&name, &turn.target.user) => found.push(number),
            // A number without a user is an error to some.
            (code, _) if FOR_LATER.contains(&code) => return Err(declined(code, "its users")),
            _ => {}
        }
    }
    match found.as_slice() {
        [number] => Ok(*number),
        [] => Err(Fault::Declined(format!(
            "none of its {most} users is named {}; is it a directory's account?",
            turn.target.user
        ))),
        several => Err(Fault::Declined(format!(
            "its users {several:?} are all named {}; rename all but one, so that it is clear whose password changes",
            turn.target.user
        ))),
    }
}

/// Sends within the session that stands and in no other: during a change a new one could be refused, and count. The
/// same password set twice does no harm. Completion code.
async fn in_session(turn: &mut Turn<'_>, request: &[u8]) -> Result<u8, Fault> {
    let settings = &turn.engine.settings;
    turn.unclear = false;
    for tries in 0.. {
        let Some(session) = turn.session.as_mut() else { break };
        match session.ask(settings, Command::new(APP, SET_USER_PASSWORD, request)).await {
            Ok(reply) => {
                turn.unclear |= session.unclear() || reply.completion == TIMED_OUT;
                if !(FOR_LATER.contains(&reply.completion) && tries < BUSY_TRIES) {
                    return Ok(reply.completion);
                }
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(fault) => {
                *turn.session = None;
                return Err(fault);
            }
        }
    }
    Err(Fault::Broken("the session is gone".into()))
}

/// User, operation and the password, padded with zeros to the form's length.
fn request(user: u8, operation: u8, password: &[u8], long: bool) -> Vec<u8> {
    let (form, length) = if long { (TWENTY, LONGEST_IPMI) } else { (0, SHORT) };
    let mut request = vec![form | user & MOST_USERS, operation];
    request.extend(password.iter().take(length));
    request.resize(length + 2, 0);
    request
}

/// The password in 20 bytes, the last four of them others.
fn other_end(password: &[u8]) -> Vec<u8> {
    let mut other: Vec<u8> = password.iter().copied().chain(std::iter::repeat(0)).take(LONGEST_IPMI).collect();
    for byte in other.iter_mut().skip(SHORT) {
        *byte = if *byte == b'x' { b'y' } else { b'x' };
    }
    other
}

/// Sixteen bytes, the rest of them zeros.
pub fn is_named(told: &[u8], user: &str) -> bool {
    let end = told.iter().position(|byte| *byte == 0).unwrap_or(told.len());
    told.get(..end).is_some_and(|name| !name.is_empty() && name == user.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_two_forms_of_a_password_differ_in_length_and_bit_7() {
        let long = request(2, SET, b"abc", true);
        assert_eq!((long.len(), &long[..6]), (22, &[0x82, 0x02, b'a', b'b', b'c', 0][..]));
        let short = request(2, SET, &[b'a'; 16], false);
        assert_eq!((short.len(), short[0], short[17]), (18, 0x02, b'a'));
    }

    #[test]
    fn a_name_ends_at_its_first_zero_and_no_name_is_nobodys() {
        assert!(is_named(b"admin\0\0\0\0\0\0\0\0\0\0\0", "admin"));
        assert!(is_named(b"sixteen letters!", "sixteen letters!"));
        for (told, user) in [(&b"admin2\0"[..], "admin"), (b"adm\0in", "admin"), (b"\0\0", ""), (b"", ""), (b"a", "A")]
        {
            assert!(!is_named(told, user), "{told:?} {user:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_tested_differs_in_the_last_four_bytes_alone(password in proptest::collection::vec(1_u8.., 0..=20)) {
            let (other, right) = (other_end(&password), request(1, TEST, &password, true));
            prop_assert_eq!(other.len(), LONGEST_IPMI);
            for (at, (a, b)) in other.iter().zip(&right[2..]).enumerate() {
                prop_assert_eq!(a == b, at < SHORT);
            }
        }

        #[test]
        fn no_bytes_panic(told in proptest::collection::vec(any::<u8>(), 0..40), user in "\\PC*", number: u8, long: bool) {
            let _ = (is_named(&told, &user), request(number, SET, &told, long), other_end(&told));
        }
    }
}
