//! Passwords at rest. Each is sealed with a key of its own, which is sealed with the site's: from a file or the environment,
//! never from the database. What a seal was made for is part of it, so that no row opens in the place of another.

use crate::adoption::host;
use crate::error::store;
use crate::watching::REFUSED;
use crate::{BmcOf, Error, HandError, rim};
use muster_bmc::{Learnt, Pin, Secret};
use muster_catalog::BmcAccess;
use muster_names::MachineId;
use muster_store::passwords::{self, Password, PasswordState};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write as _;

const KEY_LEN: usize = 32;
const VERSION: &str = "1";

/// The site's key.
pub struct SiteKey {
    key: LessSafeKey,
    id: String,
}

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SiteKey({})", self.id)
    }
}

impl SiteKey {
    /// 64 hexadecimal digits.
    ///
    /// # Errors
    /// Says what is wrong with the text, and nothing of the text itself.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let octets = unhex(text).filter(|octets| octets.len() == KEY_LEN).ok_or_else(|| {
            format!("a site key is {} hexadecimal digits; this one has {} characters", KEY_LEN * 2, text.len())
        })?;
        let key = aead(&octets).ok_or("the site key does not serve as a key")?;
        let id = rim::sha256(&octets).to_string().chars().take(12).collect();
        Ok(Self { key, id })
    }

    /// A new one, as [`SiteKey::read`] takes it.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn fresh() -> Result<String, Error> {
        random::<KEY_LEN>().map(|octets| hex(&octets))
    }

    /// Tells keys apart, and nothing of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn seal(&self, context: &str, secret: &str) -> Result<String, Error> {
        let octets = random::<KEY_LEN>()?;
        let own = aead(&octets).ok_or(Error::NoRandomness)?;
        let (wrapped, sealed) = (shut(&self.key, context, &octets)?, shut(&own, context, secret.as_bytes())?);
        Ok(format!("{VERSION}:{}:{}:{}", self.id, hex(&wrapped), hex(&sealed)))
    }

    fn open(&self, context: &str, text: &str) -> Result<String, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [VERSION, id, wrapped, sealed] = parts.as_slice() else {
            return Err("what is stored of it was not sealed by this version of muster".into());
        };
        if *id != self.id {
            return Err(format!(
                "it was sealed with the site key {id}, and this daemon has {}: give it that key again",
                self.id
            ));
        }
        let opened = unhex(wrapped).and_then(|wrapped| unshut(&self.key, context, wrapped));
        let own = opened.and_then(|octets| aead(&octets));
        let secret = own.and_then(|own| unshut(&own, context, unhex(sealed)?));
        let secret = secret.and_then(|octets| String::from_utf8(octets).ok());
        secret.ok_or_else(|| "what is stored of it was changed, or belongs to another machine".into())
    }
}

fn aead(octets: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, octets).ok().map(LessSafeKey::new)
}

/// Nonce, then what is sealed, then its tag.
fn shut(key: &LessSafeKey, context: &str, clear: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random::<NONCE_LEN>()?;
    let mut octets = clear.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut octets)
        .map_err(|_| Error::NoRandomness)?;
    Ok([nonce.as_slice(), &octets].concat())
}

fn unshut(key: &LessSafeKey, context: &str, octets: Vec<u8>) -> Option<Vec<u8>> {
    let (nonce, rest) = octets.split_at_checked(NONCE_LEN)?;
    let mut rest = rest.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut rest).ok().map(|clear| clear.to_vec())
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| Error::NoRandomness)?;
    Ok(octets)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.len().is_multiple_of(2) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let octet = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(octet).collect()).flatten()
}

/// What a seal is bound to.
fn context(machine: MachineId, number: i64, account: &str) -> String {
    format!("bmc-password/{machine}/{number}/{account}")
}

/// The same of a password that its BMC came with.
fn entry_context(entry: &str, account: &str) -> String {
    format!("bmc-awaited/{entry}/{account}")
}

/// The shortest password that is worth setting, and the longest that IPMI carries.
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=20;
/// Letters and digits that nobody mixes up.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz";
const DIGITS: &[u8] = b"23456789";
const SIGNS: &[u8] = b"-_";

/// A new password of at most `limit` characters: a letter first, each kind of character in it and none twice running, as
/// the strictest rules of BMCs want it.
pub(crate) fn fresh_password(limit: usize) -> Result<Secret, String> {
    if limit < *LENGTHS.start() {
        return Err(format!("it takes passwords of {limit} characters at most, and {} are the least", LENGTHS.start()));
    }
    let length = limit.min(*LENGTHS.end());
    let alphabet: Vec<u8> = [LETTERS, DIGITS, SIGNS].concat();
    // Most tries miss a sign; a thousand of them do not.
    for _ in 0..1_000 {
        let Ok(octets) = random::<256>() else { break };
        let taken = octets.iter().filter_map(|octet| alphabet.get(usize::from(*octet & 63)).copied());
        let text: Vec<u8> = taken.take(length).collect();
        let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
        let kinds = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        let signed = SIGNS.iter().any(|sign| text.contains(sign));
        let twice = text.windows(2).any(|pair| matches!(pair, [a, b] if a.eq_ignore_ascii_case(b)));
        let lettered = text.first().is_some_and(u8::is_ascii_alphabetic);
        if text.len() == length
            && kinds
            && signed
            && lettered
            && !twice
            && let Ok(text) = String::from_utf8(text)
        {
            return Ok(Secret::new(text));
        }
    }
    Err("the system has no randomness".into())
}

/// What a machine's BMC takes, by the rows of its passwords.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// None was ever set: its password file says it.
    File,
    Own(Password),
    /// Nobody may log in with it, and why.
    Closed(String),
}

/// For whoever wants to log in now.
fn in_use(rows: Vec<Password>, access: &BmcAccess) -> Held {
    if rows.iter().any(|row| row.state == PasswordState::Sent) {
        return Held::Closed("its password is being changed; until that is settled nobody else logs in there".into());
    }
    match before(rows, access) {
        Held::Own(row) if host(&row.address) != host(&access.address) => Held::Closed(format!(
            "its password was set at {}, and its rack layout says {} now: it is not sent there by itself; if it is the \
             same BMC, `muster machine change-bmc-password` tries it",
            row.address, access.address
        )),
        held => held,
    }
}

/// For the change of it: also while one is on its way, and at another address, for a person has asked for that.
fn before(rows: Vec<Password>, access: &BmcAccess) -> Held {
    match rows.into_iter().find(|row| row.state == PasswordState::Current) {
        None => Held::File,
        Some(row) if row.account != access.user => Held::Closed(format!(
            "its password is of the account {:?}, and its rack layout names {:?} now: name the former again, or set the \
             password of its file there by hand and `muster machine restore-bmc-password`",
            row.account, access.user
        )),
        Some(row) => Held::Own(row),
    }
}

/// The site's key and the rows that it opens.
pub struct Vault {
    db: muster_store::Store,
    key: SiteKey,
}

impl Vault {
    pub fn new(db: muster_store::Store, key: SiteKey) -> Self {
        Self { db, key }
    }

    /// The password in force, for whoever wants to log in; `None` when the password file says it.
    ///
    /// # Errors
    /// It does not open, or a change of it is not settled.
    pub async fn in_use(&self, bmc: &BmcOf) -> Result<Option<Secret>, HandError> {
        self.held(bmc, in_use).await
    }

    /// The same while a new one is on its way: for the change itself.
    ///
    /// # Errors
    /// It does not open.
    pub async fn before(&self, bmc: &BmcOf) -> Result<Option<Secret>, HandError> {
        self.held(bmc, before).await
    }

    async fn held(
        &self,
        bmc: &BmcOf,
        judge: fn(Vec<Password>, &BmcAccess) -> Held,
    ) -> Result<Option<Secret>, HandError> {
        let fault = |reason: String, later| HandError { reason, may_have_happened: false, later };
        let read = async {
            let mut tx = self.db.read().await?;
            passwords::of(&mut tx, bmc.machine).await
        };
        let rows = read.await.map_err(|error| fault(format!("its password was not read: {error}"), true))?;
        match judge(rows, &bmc.access) {
            Held::File => Ok(None),
            Held::Own(row) => self.open(&row).map(Some).map_err(|why| fault(format!("its password: {why}"), false)),
            Held::Closed(why) => Err(fault(why, true)),
        }
    }

    /// # Errors
    /// Why it does not open, in words.
    pub fn open(&self, row: &Password) -> Result<Secret, String> {
        self.key.open(&context(row.machine, row.number, &row.account), &row.sealed).map(Secret::new)
    }

    pub(crate) fn seal(
        &self,
        machine: MachineId,
        number: i64,
        account: &str,
        secret: &Secret,
    ) -> Result<String, Error> {
        self.key.seal(&context(machine, number, account), secret.reveal())
    }

    pub(crate) fn seal_awaited(&self, entry: &str, account: &str, secret: &Secret) -> Result<String, Error> {
        self.key.seal(&entry_context(entry, account), secret.reveal())
    }

    pub(crate) fn open_awaited(&self, entry: &str, account: &str, sealed: &str) -> Result<Secret, String> {
        self.key.open(&entry_context(entry, account), sealed).map(Secret::new)
    }

    /// The key that the machine's BMC proved, if one was taken down.
    ///
    /// # Errors
    /// It does not read: nobody logs in without knowing whether there is one.
    pub async fn pin_of(&self, machine: MachineId) -> Result<Option<Pin>, HandError> {
        let fault = |reason: String| HandError { reason, may_have_happened: false, later: true };
        let read = async {
            let mut tx = self.db.read().await?;
            muster_store::bmc_adoption::pin_of(&mut tx, machine).await
        };
        let row = read.await.map_err(|error| fault(format!("its BMC's key was not read: {error}")))?;
        if let Some(other) = row.as_ref().and_then(|row| row.pin.strip_prefix(REFUSED)) {
            let reason = format!("its BMC speaks for the machine with serial number {other}: nothing is asked of it");
            return Err(HandError { reason, may_have_happened: false, later: false });
        }
        row.map(|row| Pin::read(&row.pin).ok_or_else(|| fault("its BMC's key as stored is none".into()))).transpose()
    }

    /// What its kind of BMC was seen to do.
    pub(crate) async fn learnt_of(&self, machine: MachineId) -> Result<Learnt, HandError> {
        let read = async {
            let mut tx = self.db.read().await?;
            muster_store::bmc_adoption::learnt_for(&mut tx, machine).await
        };
        let text = read.await.map_err(|error| HandError {
            reason: format!("what its kind of BMC does was not read: {error}"),
            may_have_happened: false,
            later: true,
        })?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Machines whose passwords this daemon's key does not open.
    ///
    /// # Errors
    /// The database's.
    pub async fn closed(&self) -> Result<Vec<(MachineId, String)>, Error> {
        let mut tx = self.db.read().await.map_err(store)?;
        let rows = passwords::alive(&mut tx).await.map_err(store)?;
        Ok(rows.iter().filter_map(|row| Some((row.machine, self.open(row).err()?))).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use muster_names::Millis;
    use proptest::prelude::*;

    fn key(digit: char) -> SiteKey {
        SiteKey::read(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a5_5_what_is_sealed_opens_for_the_same_machine_number_and_account_alone() {
        let (key, at) = (key('a'), context(MachineId(7), 1, "admin"));
        let sealed = key.seal(&at, "hunter2").unwrap();
        assert!(!sealed.contains("hunter2") && !sealed.contains(&hex(b"hunter2")));
        assert_eq!(key.open(&at, &sealed).unwrap(), "hunter2");
        for other in
            [context(MachineId(8), 1, "admin"), context(MachineId(7), 2, "admin"), context(MachineId(7), 1, "root")]
        {
            let why = key.open(&other, &sealed).unwrap_err();
            assert!(why.contains("belongs to another machine"), "{why}");
        }
    }

    #[test]
    fn another_site_key_is_named_with_the_one_that_is_wanted() {
        let (one, other) = (key('a'), key('b'));
        let sealed = one.seal("x", "hunter2").unwrap();
        let why = other.open("x", &sealed).unwrap_err();
        assert!(why.contains(one.id()) && why.contains(other.id()), "{why}");
    }

    #[test]
    fn the_same_secret_is_never_sealed_the_same_twice() {
        let key = key('a');
        assert_ne!(key.seal("x", "hunter2").unwrap(), key.seal("x", "hunter2").unwrap());
    }

    #[test]
    fn a_site_key_of_another_length_is_refused_without_being_repeated() {
        for text in ["", "abc", &"a".repeat(63), &"g".repeat(64), &"a".repeat(66)] {
            let why = SiteKey::read(text).unwrap_err();
            assert!(why.contains("64 hexadecimal digits"), "{why}");
            assert!(text.is_empty() || !why.contains(text), "{why}");
        }
        assert!(SiteKey::read(&format!("{}\n", SiteKey::fresh().unwrap())).is_ok());
        assert!(!format!("{:?}", key('a')).contains("aaa"));
    }

    fn row(state: PasswordState) -> Password {
        let (address, account) = ("10.0.0.5".to_owned(), "admin".to_owned());
        Password {
            machine: MachineId(7),
            number: 1,
            address,
            account,
            state,
            sealed: String::new(),
            made: Millis(0),
            settled: None,
        }
    }

    fn access(address: &str, user: &str) -> BmcAccess {
        let (address, user) = (address.to_owned(), user.to_owned());
        BmcAccess {
            protocol: muster_catalog::Protocol::Ipmi,
            address,
            user,
            password_file: Some("file".into()),
            profile: None,
        }
    }

    #[test]
    fn a_password_is_not_sent_to_another_address_by_itself_and_never_to_another_account() {
        let current = || vec![row(PasswordState::Former), row(PasswordState::Current)];
        let own = Held::Own(row(PasswordState::Current));
        assert_eq!(in_use(current(), &access("10.0.0.5", "admin")), own);
        assert!(
            matches!(in_use(current(), &access("10.0.0.6", "admin")), Held::Closed(why) if why.contains("10.0.0.5"))
        );
        assert_eq!(before(current(), &access("10.0.0.6", "admin")), own, "a person asked for it");
        for judge in [in_use, before] {
            assert!(
                matches!(judge(current(), &access("10.0.0.5", "root")), Held::Closed(why) if why.contains("admin"))
            );
            assert_eq!(judge(vec![row(PasswordState::Former)], &access("10.0.0.5", "root")), Held::File);
        }
    }

    #[test]
    fn while_one_is_on_its_way_only_the_change_logs_in() {
        let rows = || vec![row(PasswordState::Current), row(PasswordState::Sent)];
        assert!(matches!(in_use(rows(), &access("10.0.0.5", "admin")), Held::Closed(_)));
        assert!(matches!(before(rows(), &access("10.0.0.5", "admin")), Held::Own(_)));
    }

    #[test]
    fn a_bmc_that_takes_eleven_characters_gets_none() {
        assert!(fresh_password(11).unwrap_err().contains("11 characters at most"));
    }

    proptest! {
        #[test]
        fn no_text_panics_when_it_is_opened(text: String) {
            prop_assert!(key('a').open("x", &text).is_err());
        }

        #[test]
        fn no_flipped_bit_opens(at in 0_usize..200, digit in "[0-9a-f]") {
            let key = key('a');
            let sealed = key.seal("x", "hunter2").unwrap();
            let at = at % sealed.len();
            let changed = format!("{}{digit}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assert!(changed == sealed || key.open("x", &changed).is_err());
        }

        #[test]
        fn a_fresh_password_has_every_kind_of_character_and_none_twice_running(limit in 12_usize..64) {
            let secret = fresh_password(limit).unwrap();
            let text = secret.reveal();
            prop_assert_eq!(text.len(), limit.min(20));
            for kind in [LETTERS, DIGITS, SIGNS] {
                prop_assert!(text.bytes().any(|octet| kind.contains(&octet)), "{}", text);
            }
            prop_assert!(text.bytes().next().unwrap().is_ascii_alphabetic());
            prop_assert!(text.as_bytes().windows(2).all(|pair| !pair[0].eq_ignore_ascii_case(&pair[1])));
        }
    }
}
