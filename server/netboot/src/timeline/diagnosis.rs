//! What a boot came to, as values; [`words`](super::words) says them.

use super::Stage;
use super::entry::{How, Via};

/// Whether somebody has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grade {
    /// It came where it was to come.
    Well,
    /// Nothing is wrong yet.
    Going,
    Wrong,
}

impl Grade {
    pub fn label(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Going => "going",
            Self::Wrong => "wrong",
        }
    }
}

/// What a boot came to. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nothing was ever heard, and nobody switched it on.
    NeverSeen,
    SwitchedOff,
    /// Switched on by us, and nothing was heard; `over` when that is longer than any firmware takes, or the boot ended.
    NeverAsked {
        seconds: i64,
        over: bool,
    },
    /// Asked, and got no answer because of `why`.
    NoAnswer {
        times: usize,
        why: String,
    },
    /// Offered, and never taken.
    NotTaken {
        times: usize,
    },
    /// Its address was refused and it did not ask anew.
    Refused {
        why: String,
    },
    /// Has an address and never asked for its loader.
    LoaderNotFetched {
        file: String,
    },
    /// Its loader lies under TLS, and none came of it.
    NoTls {
        file: String,
        untrusted: bool,
    },
    /// A file that is not there, or is not given.
    NotGiven {
        stage: Stage,
        path: String,
        how: How,
    },
    CutOff {
        stage: Stage,
        path: String,
        via: Via,
        percent: Option<u64>,
        bytes: u64,
    },
    /// The loader came whole, and nothing came of it.
    LoaderSilent {
        path: String,
        seconds: i64,
    },
    ScriptNotFetched,
    /// Sent to its disk; `wanted` by its state, else against what a person may expect.
    ToDisk {
        wanted: bool,
        why: String,
    },
    KernelNotFetched,
    /// Some of the kernel's files came, others were never asked for.
    KernelIncomplete,
    /// Kernel and initramfs came whole, and the agent never spoke.
    KernelSilent {
        seconds: i64,
        said: Option<String>,
    },
    /// The same again and again, each time ending in `stage`.
    Loop {
        times: usize,
        minutes: i64,
        stage: Stage,
        braked: bool,
    },
    /// Under way.
    Going {
        stage: Stage,
        seconds: i64,
    },
    /// A file is on its way now.
    Fetching {
        path: String,
        percent: Option<u64>,
        rate: u64,
    },
    /// A system without an agent of ours asked for an address.
    SystemRuns,
    /// Ordered into the boot image, and the system of its disk started.
    DiskInstead,
    AgentSpoke {
        resident: bool,
        seconds: Option<i64>,
    },
}

impl Diagnosis {
    pub const LABELS: [&str; 22] = [
        "never-seen",
        "switched-off",
        "never-asked",
        "no-answer",
        "not-taken",
        "refused",
        "loader-not-fetched",
        "no-tls",
        "not-given",
        "cut-off",
        "loader-silent",
        "script-not-fetched",
        "to-disk",
        "kernel-not-fetched",
        "kernel-incomplete",
        "kernel-silent",
        "loop",
        "going",
        "fetching",
        "system-runs",
        "disk-instead",
        "agent-spoke",
    ];

    pub fn label(&self) -> &'static str {
        match self {
            Self::NeverSeen => "never-seen",
            Self::SwitchedOff => "switched-off",
            Self::NeverAsked { .. } => "never-asked",
            Self::NoAnswer { .. } => "no-answer",
            Self::NotTaken { .. } => "not-taken",
            Self::Refused { .. } => "refused",
            Self::LoaderNotFetched { .. } => "loader-not-fetched",
            Self::NoTls { .. } => "no-tls",
            Self::NotGiven { .. } => "not-given",
            Self::CutOff { .. } => "cut-off",
            Self::LoaderSilent { .. } => "loader-silent",
            Self::ScriptNotFetched => "script-not-fetched",
            Self::ToDisk { .. } => "to-disk",
            Self::KernelNotFetched => "kernel-not-fetched",
            Self::KernelIncomplete => "kernel-incomplete",
            Self::KernelSilent { .. } => "kernel-silent",
            Self::Loop { .. } => "loop",
            Self::Going { .. } => "going",
            Self::Fetching { .. } => "fetching",
            Self::SystemRuns => "system-runs",
            Self::DiskInstead => "disk-instead",
            Self::AgentSpoke { .. } => "agent-spoke",
        }
    }

    pub fn grade(&self) -> Grade {
        match self {
            Self::SwitchedOff | Self::AgentSpoke { .. } | Self::SystemRuns | Self::ToDisk { wanted: true, .. } => {
                Grade::Well
            }
            Self::Going { .. } | Self::Fetching { .. } | Self::NeverAsked { over: false, .. } => Grade::Going,
            _ => Grade::Wrong,
        }
    }
}
