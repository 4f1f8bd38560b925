//! The life of one server, from the first packet to the scrap list.
//!
//! The graph is walked as a whole by `tests/walks.rs`; `docs/LIFE.md` is written by the same walk.

mod next;
mod plan;

use crate::{Life, Plan};
use muster_names::{CaseId, Epoch, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The stored state. `data` and `repairs` ride along with the place in the graph, so that no edge can forget them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    pub at: At,
    pub data: Data,
    /// Automatic repairs left until a person looks.
    pub repairs: u8,
}

/// What the disks hold, as far as anyone must fear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Never served under Muster, or wiped since.
    Clean,
    /// An owner's system has booted from it.
    Owned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum At {
    /// Seen, not ours: only watched.
    Observed,
    /// Ours by manifest, rack layout or a person's word; not looked at yet.
    Expected,
    Discovering {
        attempt: u8,
        start: Start,
    },
    /// Looked at, and no model of the catalog fits.
    Unidentified,
    Commissioning {
        attempt: u8,
        /// Whether its power may be used to start afresh. Older rows do not say: then it may not.
        #[serde(default = "by_itself")]
        start: Start,
    },
    Ready,
    Installing {
        order: OrderId,
        attempt: u8,
    },
    Checking {
        of: Check,
        attempt: u8,
    },
    InService,
    /// The owner is asked to leave.
    Draining {
        then: After,
    },
    Repairing {
        case: CaseId,
        rung: u8,
    },
    /// The permit is revoked; the write in flight ends before anything else begins.
    Stopping {
        then: After,
    },
    /// Wiping for the next owner.
    Releasing {
        attempt: u8,
    },
    Held {
        why: Hold,
    },
    /// Wiping for the scrap list.
    Retiring {
        attempt: u8,
    },
    Retired,
}

/// How a discovery comes to its boot. A boot that nobody asked for may be anybody's packet with this machine's MAC: what
/// follows from it by itself never reaches for the machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The machine booted by itself, on a network where that is welcome.
    Itself,
    /// Its BMC powers it on.
    Bmc,
}

fn by_itself() -> Start {
    Start::Itself
}

/// What a check proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    Order(OrderId),
    Case(CaseId),
    /// A person said: look again.
    Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    Install(OrderId),
    Repair(CaseId),
    Release,
    Retire,
    Ready,
    Hold(Hold),
}

/// Why a person moves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    Asked,
    DiscoveryFailed,
    CommissioningFailed,
    InstallFailed,
    /// The image, the machine or the disk is not the one of the order; trying again would not help.
    InstallRefused,
    CheckFailed,
    RepairExhausted(CaseId),
    RepairsUsedUp,
    DrainRefused,
    StopFailed,
    WipeFailed,
    /// A BMC did not do, or may have done, what it was told.
    BmcFailed,
    /// Two keys for one token, or two machines with one identity.
    Impostor,
    /// The way led to Ready, but an owner's data is still there.
    DataPresent,
}

/// Where a person sends a held machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    Discover,
    Check,
    Serve,
    Repair(CaseId),
    Release,
}

/// How an install ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ok,
    /// It may work the next time.
    Failed,
    /// It will not work by trying again.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    // What people ask for.
    Claimed,
    DiscoverAsked,
    AdoptAsked,
    ReleaseAsked,
    Resumed {
        to: Resume,
    },
    DrainAcknowledged,
    OrderCancelled {
        order: OrderId,
    },
    // What stands until it is dealt with.
    HoldAsked,
    RetireAsked,
    CaseOpened {
        case: CaseId,
    },
    Ordered {
        order: OrderId,
        reimage: bool,
    },
    // What the world shows.
    Seen {
        dedicated: bool,
    },
    Identified {
        known: bool,
    },
    Commissioned {
        epoch: Epoch,
        passed: bool,
    },
    InstallReported {
        epoch: Epoch,
        order: OrderId,
        outcome: Outcome,
    },
    CheckJudged {
        epoch: Epoch,
        passed: bool,
    },
    RungDone {
        epoch: Epoch,
        case: CaseId,
        ok: bool,
    },
    Stopped {
        epoch: Epoch,
    },
    WipeReported {
        epoch: Epoch,
        ok: bool,
    },
    /// A courier could not do an act, or cannot know whether it was done.
    ActFailed {
        epoch: Epoch,
    },
    ImpostorSeen,
    DeadlinePassed {
        epoch: Epoch,
    },
}

/// What `next` and `plan` may know beside the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Of the state looked at.
    pub epoch: Epoch,
    pub limits: Limits,
    /// A BMC of ours can be told what to do.
    pub bmc: bool,
    pub order: Option<OpenOrder>,
    pub case: Option<CaseId>,
    pub hold: bool,
    pub retire: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    pub order: OrderId,
    /// Approved to overwrite an owner's data.
    pub reimage: bool,
    /// Its first write was permitted.
    pub begun: bool,
}

/// Numbers of the machine's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub attempts: u8,
    /// Rungs of the repair ladder.
    pub rungs: u8,
    /// Automatic repairs until a person looks.
    pub repairs: u8,
    pub discover: Duration,
    pub commission: Duration,
    pub install: Duration,
    pub check: Duration,
    pub repair: Duration,
    pub drain: Duration,
    /// The owner's own policy: take the machine when the drain time is over.
    pub drain_by_force: bool,
    pub stop: Duration,
    pub wipe: Duration,
}

impl Default for Limits {
    /// For a machine whose model is not known yet: generous, as POST alone may take ten minutes.
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        Self {
            attempts: 2,
            rungs: 1,
            repairs: 2,
            discover: minutes(30),
            commission: minutes(30),
            install: minutes(60),
            check: minutes(30),
            repair: minutes(60),
            drain: minutes(60),
            drain_by_force: false,
            stop: minutes(15),
            wipe: minutes(24 * 60),
        }
    }
}

impl Machine {
    /// A machine nobody marked as ours.
    pub fn observed() -> Self {
        Self { at: At::Observed, data: Data::Clean, repairs: 0 }
    }

    /// A machine of a manifest or rack layout.
    pub fn expected() -> Self {
        Self { at: At::Expected, data: Data::Clean, repairs: 0 }
    }

    /// The state's name, one word, as in the database, the API and LIFE.md.
    pub fn label(&self) -> &'static str {
        match self.at {
            At::Observed => "observed",
            At::Expected => "expected",
            At::Discovering { .. } => "discovering",
            At::Unidentified => "unidentified",
            At::Commissioning { .. } => "commissioning",
            At::Ready => "ready",
            At::Installing { .. } => "installing",
            At::Checking { .. } => "checking",
            At::InService => "in-service",
            At::Draining { .. } => "draining",
            At::Repairing { .. } => "repairing",
            At::Stopping { .. } => "stopping",
            At::Releasing { .. } => "releasing",
            At::Held { .. } => "held",
            At::Retiring { .. } => "retiring",
            At::Retired => "retired",
        }
    }
}

/// [`Machine`]'s life.
#[derive(Clone, Copy, Debug)]
pub struct MachineLife;

impl Life for MachineLife {
    type State = Machine;
    type Event = Event;
    type Facts = Facts;

    fn next(state: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
        next::next(state, event, facts)
    }

    fn plan(state: &Machine, facts: &Facts) -> Plan {
        plan::plan(state, facts)
    }

    fn standing(facts: &Facts) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(facts.retire.then_some(Event::RetireAsked));
        events.extend(facts.hold.then_some(Event::HoldAsked));
        events.extend(facts.case.map(|case| Event::CaseOpened { case }));
        events.extend(facts.order.map(|open| Event::Ordered { order: open.order, reimage: open.reimage }));
        events
    }
}
