//! The lives: what a thing of the fleet does next, decided and never done.
//!
//! A life is a Moore machine. [`Life::next`] picks the state, [`Life::plan`] says what a state waits for, wants and does
//! once, [`Life::standing`] lists what is true for longer than a moment and is offered again at every state entered.
//! None of them waits, reads a clock or opens a socket; the conductor records what they say and couriers carry it out.
//! The turned-down way, a handler per state that talks to the BMC and the database itself, cannot be walked by a test.

pub mod machine;
mod ways;

pub use ways::{Came, Tried, ways};

use muster_names::{BootTarget, OrderId, Power};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// One kind of life.
pub trait Life {
    type State: Clone + Ord + Serialize + DeserializeOwned;
    type Event: Clone + Serialize + DeserializeOwned;
    type Facts;

    /// `None`: the event says nothing new here. It is recorded and changes nothing.
    fn next(state: &Self::State, event: &Self::Event, facts: &Self::Facts) -> Option<Self::State>;
    fn plan(state: &Self::State, facts: &Self::Facts) -> Plan;
    /// Standing facts as events, strongest first.
    fn standing(facts: &Self::Facts) -> Vec<Self::Event>;
}

/// What a state asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub wait: Wait,
    pub want: Want,
    pub acts: Vec<Act>,
}

/// Who moves next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Person,
    World,
    /// Counted from the moment the state was entered, or from when the last rail let its work go out; looking again never
    /// extends it.
    Until(Duration),
}

/// Levels: recomputed and reconciled for ever, without a row of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    pub boot: BootTarget,
    pub power: Option<Power>,
    pub agent: AgentTask,
    /// Open while this state lasts.
    pub ticket: Option<Ticket>,
    pub order: OrderWant,
}

/// What the machine's agent shall do while this state lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentTask {
    #[default]
    Idle,
    Discover,
    Commission,
    Install(OrderId),
    Wipe,
    /// From the machine's own disk.
    Check,
    Stop,
}

/// What becomes of the machine's open order in this state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderWant {
    /// It waits, or there is none.
    #[default]
    Untouched,
    /// The first write may be asked for.
    Running(OrderId),
    /// Written; neither writing nor closing.
    Written(OrderId),
    Done,
    Failed,
}

/// A ticket is unique by (subject, cause) while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub cause: &'static str,
    pub title: String,
}

/// Something done once per state entered. Its row is keyed by (subject, epoch, slot).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub slot: &'static str,
    pub what: What,
    pub again: Again,
    pub owner: Owner,
    /// How long after the state was entered it is due.
    pub delay: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// Set the boot device, read it back, then Off, two Off readings, On.
    BootInto { target: BootTarget },
    /// Off and confirmed; the machine's writes have certainly ended.
    PowerOff,
    /// Off, two Off readings, On, without touching the boot device.
    PowerCycle,
}

/// May an act be sent a second time when the outcome of the first is not known?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    Freely,
    /// Only after looking at what the first one did.
    AfterProbe,
    /// Never: what cannot be decided goes to a person.
    Never,
}

/// Who holds a machine while something disruptive runs. One at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    Install,
    Repair,
    Firmware,
    Person,
}
