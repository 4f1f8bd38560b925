//! The account that a target logs in with: its password is changed, and whether a password holds is found out.
//!
//! What a change is made of, and what is written down before and after it, belongs to the caller, so that it survives
//! a crash at any point. Here are the two steps that touch the BMC. [`Bmcs::set_password`] does not try the new password
//! out: a BMC may say success and change nothing, so that only [`Bmcs::may_log_in`] tells which of the two holds.
//!
//! From the first byte of a change until that is known, no other operation logs in with the password before it. It
//! would fail, and the BMC would count it (A5.6): [`Fault::Superseded`] is what such an operation gets.

use crate::lane::Sent;
use crate::{Bmcs, Error, Fault, Protocol, Secret, Target, ipmi, redfish};

/// The longest that IPMI carries, in bytes.
pub const LONGEST_IPMI: usize = 20;

impl Bmcs {
    /// Changes the password of the account that `target` logs in with. Sent once; what a lost answer leaves open is
    /// for [`Bmcs::may_log_in`] to settle. A password that cannot be carried is refused before anything is sent.
    pub async fn set_password(&self, target: &Target, new: &Secret) -> Result<(), Error> {
        let failed = |sent, source| Error::SetPassword { bmc: target.address.clone(), sent, source };
        check(target, new).map_err(|source| failed(false, source))?;
        let lane = self.lane(target);
        let sent = Sent::default();
        let act = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::set_password(&mut lane.ipmi(&self.inner, target).await?, new, &sent).await,
                Protocol::Redfish => {
                    redfish::set_password(&lane.redfish_write(&self.inner, target).await?, new, &sent).await
                }
            }
        };
        let outcome = lane.run(&self.inner.settings, act).await;
        if sent.maybe() {
            lane.leave(target).await;
        }
        outcome.map_err(|source| failed(sent.maybe(), source))
    }

    /// Whether the BMC takes exactly this user and password now: a login of its own, whose session is given back. No
    /// session that stands already answers for it. False is a refusal and counts as a failed login; when two of those
    /// hold the account's logins, that is an error, and nothing is sent. IPMI has no word for a locked account: there it
    /// looks like a wrong password.
    pub async fn may_log_in(&self, target: &Target) -> Result<bool, Error> {
        let lane = self.lane(target);
        let ask = async {
            lane.may_log_in()?;
            match target.protocol {
                Protocol::Ipmi => lane.try_ipmi(&self.inner, target).await,
                Protocol::Redfish => lane.try_redfish(&self.inner, target).await,
            }
        };
        let outcome = lane.run(&self.inner.settings, ask).await;
        if matches!(outcome, Ok(true)) {
            lane.holds(target);
        }
        outcome.map_err(|source| Error::TryLogin { bmc: target.address.clone(), source })
    }

    /// The longest password that may be given to this account. Over IPMI it is 20 bytes where the BMC shows that it
    /// tells passwords apart by their last four, and otherwise 16: one that cuts passwords short in silence would
    /// lock everybody out. Over Redfish it is what the BMC tells, and 20 where it tells nothing.
    pub async fn password_limit(&self, target: &Target) -> Result<usize, Error> {
        let lane = self.lane(target);
        let reading = async {
            match target.protocol {
                Protocol::Ipmi => ipmi::password_limit(&mut lane.ipmi(&self.inner, target).await?).await,
                Protocol::Redfish => redfish::password_limit(&lane.redfish_read(&self.inner, target).await?).await,
            }
        };
        lane.run(&self.inner.settings, reading)
            .await
            .map_err(|source| Error::ReadAccounts { bmc: target.address.clone(), source })
    }
}

/// What can be said of a new password without asking the BMC.
fn check(target: &Target, new: &Secret) -> Result<(), Fault> {
    let text = new.reveal();
    let unfit = |why: String| Err(Fault::UnfitPassword(why));
    if target.user.is_empty() {
        return unfit("it is of the account without a name, which is nobody's; log in with a named one".into());
    }
    if text.is_empty() {
        return unfit("it is empty".into());
    }
    if text.chars().any(char::is_control) {
        return unfit("it has control characters; take letters, digits and punctuation".into());
    }
    if *new == target.password {
        return unfit("it is the one that is to be changed".into());
    }
    if target.protocol == Protocol::Ipmi && text.len() > LONGEST_IPMI {
        return unfit(format!("IPMI carries at most {LONGEST_IPMI} bytes, and it has {}", text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;

    fn checked(protocol: Protocol, new: &str) -> Result<(), Fault> {
        check(&Target::new(protocol, "10.0.0.1", "admin", Secret::new("before")), &Secret::new(new))
    }

    #[test]
    fn a_password_that_cannot_be_carried_is_refused_with_the_limit() {
        let long = "x".repeat(LONGEST_IPMI + 1);
        for (new, word) in [("", "empty"), ("a\tb", "control"), ("a\0", "control"), ("before", "to be changed")] {
            for protocol in [Protocol::Ipmi, Protocol::Redfish] {
                let fault = checked(protocol, new).unwrap_err();
                assert!(fault.to_string().contains(word) && fault.kind() == Kind::Refused, "{new:?}: {fault}");
            }
        }
        let fault = checked(Protocol::Ipmi, &long).unwrap_err();
        assert!(fault.to_string().contains("20 bytes") && fault.to_string().contains("21"), "{fault}");
        assert!(checked(Protocol::Redfish, &long).is_ok(), "how long it may be is told by the BMC");
        assert!(checked(Protocol::Ipmi, &long[1..]).is_ok());
        assert!(checked(Protocol::Ipmi, "ääääääääääx").is_err(), "bytes, not letters");
    }

    #[test]
    fn the_account_without_a_name_is_not_touched() {
        let target = Target::new(Protocol::Ipmi, "10.0.0.1", "", Secret::new("before"));
        assert!(matches!(check(&target, &Secret::new("after")), Err(Fault::UnfitPassword(_))));
    }

    proptest! {
        #[test]
        fn no_refusal_shows_the_password(new in "[a-z\\t]{12,40}") {
            if let Err(fault) = checked(Protocol::Ipmi, &new) {
                let shown = format!("{fault} {fault:?}");
                prop_assert!(!shown.contains(new.as_str()));
            }
        }
    }
}
