//! What becomes of one row: a pure function of the row and of what is known of its MAC, its address and its name.

use super::{ImportRow, Verdict};
use muster_lifecycle::machine::{At, Machine};
use muster_names::{MachineId, Millis};
use muster_netboot::Networks;
use muster_store::{LeaseRow, LeaseState, Reservation};

/// The machine a row speaks of, as far as one is known.
#[derive(Debug, Default)]
pub(super) enum Where {
    #[default]
    Nowhere,
    /// It has the row's MAC.
    Known { id: MachineId, name: String, ours: bool, state: Machine },
    /// It has the row's name, and not its MAC.
    Named { id: MachineId, name: String, ours: bool, macs: usize, state: Machine },
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub machine: Where,
    /// What the MAC has.
    pub reserved: Option<Reservation>,
    /// Whose the address is.
    pub holder: Option<Reservation>,
}

impl Seen {
    /// The machine's name for a person; none for a lease of nobody we know.
    pub fn name(&self, row: &ImportRow) -> Option<String> {
        match &self.machine {
            Where::Known { name, .. } | Where::Named { name, .. } => Some(name.clone()),
            Where::Nowhere => row.machine.then(|| name_of(row)),
        }
    }
}

/// The name a machine of this row gets.
pub(super) fn name_of(row: &ImportRow) -> String {
    row.name.clone().unwrap_or_else(|| format!("imported-{}", row.mac.dashed()))
}

/// Everything the judgement rests on.
pub(super) struct Now<'a> {
    pub seen: Seen,
    /// What is written of the address.
    pub lease: Option<&'a LeaseRow>,
    pub networks: &'a Networks,
    pub at: Millis,
    /// Another row of the request contradicts this one.
    pub clash: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// A lease alone.
    None,
    New {
        name: String,
    },
    Known(MachineId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Conflict(String),
    Go { machine: Which, claim: bool, adopt: bool, reserve: bool, learn_mac: bool, lease: bool, aside: Option<String> },
}

impl Judged {
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Conflict(_) => Verdict::Conflict,
            Self::Go { machine: Which::New { .. }, .. } => Verdict::New,
            Self::Go { claim: false, adopt: false, reserve: false, learn_mac: false, lease: false, .. } => {
                Verdict::Same
            }
            Self::Go { .. } => Verdict::Change,
        }
    }

    /// `becomes a machine, in service as it runs; address reserved; lease kept`
    pub fn words(&self) -> String {
        let (machine, claim, adopt, reserve, learn_mac, lease, aside) = match self {
            Self::Conflict(why) => return why.clone(),
            Self::Go { machine, claim, adopt, reserve, learn_mac, lease, aside } => {
                (machine, claim, adopt, reserve, learn_mac, lease, aside)
            }
        };
        let mut parts = Vec::new();
        match (machine, adopt) {
            (Which::New { .. }, true) => parts.push("becomes a machine, in service as it runs"),
            (Which::New { .. }, false) => parts.push("becomes a machine that is expected"),
            (_, true) => parts.push("goes in service as it runs"),
            (_, false) if *claim => parts.push("is marked as ours"),
            _ => {}
        }
        for (told, words) in
            [(*learn_mac, "its MAC is learnt"), (*reserve, "the address is reserved"), (*lease, "its lease is kept")]
        {
            if told {
                parts.push(words);
            }
        }
        if parts.is_empty() {
            parts.push("is known already");
        }
        parts.extend(aside.as_deref());
        parts.join("; ")
    }
}

pub(super) fn judge(row: &ImportRow, now: &Now<'_>) -> Judged {
    match refusal(row, now) {
        Some(why) => Judged::Conflict(why),
        None => go(row, now).unwrap_or_else(Judged::Conflict),
    }
}

/// What is wrong with the row, whatever machine it is of.
fn refusal(row: &ImportRow, now: &Now<'_>) -> Option<String> {
    if let Some(clash) = now.clash {
        return Some(clash.to_owned());
    }
    if !row.mac.is_unicast() {
        return Some(format!("{} names no single machine", row.mac));
    }
    if row.name.as_deref().is_some_and(|name| !sound(name)) {
        return Some("its name is no host name: letters, digits, dashes and dots, at most 64".into());
    }
    let Some(address) = row.address else {
        return (row.reserved || row.until.is_some()).then(|| "it has no address to keep".into());
    };
    let Some(network) = now.networks.holding(address) else {
        let names: Vec<&str> = now.networks.iter().map(|network| network.name.as_str()).collect();
        return Some(format!("{address} is in none of the networks; configured are: {}", names.join(", ")));
    };
    if !network.subnet.is_host(address) || address == network.server || Some(address) == network.gateway {
        return Some(format!("{address} is no machine's: it is the server's, the gateway's or the network's own"));
    }
    if let Some(holder) = now.seen.holder.filter(|holder| holder.mac != row.mac) {
        return Some(format!("{address} is reserved for {}", holder.mac));
    }
    if let Some(lease) = now.lease.filter(|lease| lease.mac != row.mac && lease.until > now.at) {
        match lease.state {
            LeaseState::Leased => return Some(format!("{address} is leased to {}", lease.mac)),
            LeaseState::Declined => {
                return Some(format!("{address} is in use by somebody unknown: a client declined it"));
            }
            LeaseState::Released => {}
        }
    }
    let running = row.until.is_some_and(|until| until > now.at);
    if row.until.is_some() && !running {
        return Some("its lease has ended".into());
    }
    None
}

fn sound(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = name.bytes().next().zip(name.bytes().last());
    (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
}

fn go(row: &ImportRow, now: &Now<'_>) -> Result<Judged, String> {
    let seen = &now.seen;
    let had = seen.reserved;
    let reserve = row.reserved && had.is_none_or(|had| Some(had.address) != row.address);
    let moved = had.filter(|_| reserve).map(|had| format!("until now {} was reserved for it", had.address));
    let elsewhere =
        seen.reserved.filter(|had| !row.reserved && row.until.is_some() && Some(had.address) != row.address);
    let moving = elsewhere.map(|had| format!("it moves to its reserved {} when it renews", had.address));
    let longer = |lease: &LeaseRow| {
        lease.state == LeaseState::Leased && lease.mac == row.mac && row.until.is_none_or(|until| lease.until >= until)
    };
    let lease = row.until.is_some() && !now.lease.is_some_and(longer);
    let wants_machine = row.machine || row.reserved || row.running;
    let (machine, claim, adopt, learn_mac) = match &seen.machine {
        _ if !wants_machine => (Which::None, false, false, false),
        Where::Nowhere => (Which::New { name: name_of(row) }, false, row.running, false),
        Where::Known { id, name, ours, state } => {
            let adopt = row.running && state.at != At::InService;
            may(adopt, name, state)?;
            (Which::Known(*id), !ours, adopt, false)
        }
        Where::Named { id, name, ours, macs: 0, state } => {
            let adopt = row.running && state.at != At::InService;
            may(adopt, name, state)?;
            (Which::Known(*id), !ours, adopt, true)
        }
        Where::Named { name, .. } => {
            return Err(format!("{name} is the name of a machine with other MACs; give this one another name"));
        }
    };
    Ok(Judged::Go { machine, claim, adopt, reserve, learn_mac, lease, aside: moved.or(moving) })
}

/// Why a machine in this state is not taken over.
fn may(adopt: bool, name: &str, state: &Machine) -> Result<(), String> {
    match state.at {
        At::Retired => Err(format!("{name} is retired; a machine that left the fleet does not come back by an import")),
        At::Observed | At::Expected | At::Unidentified => Ok(()),
        _ if adopt => Err(format!(
            "{name} is {}; only what is observed, expected or unidentified can be taken over as it runs",
            state.label()
        )),
        _ => Ok(()),
    }
}
