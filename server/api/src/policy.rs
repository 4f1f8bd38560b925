//! Roles and policies: who may call a route. A route without a policy cannot be written down.

use crate::App;
use axum::routing::MethodRouter;
use muster_names::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a token may be used for (SAFETY A5.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads everything, changes nothing.
    Auditor,
    /// Racks, looks, holds, reports faults.
    Tech,
    /// Installs, releases, resumes.
    Operator,
    /// Is the second person for a large destructive plan, and may do what an operator does.
    Approver,
    /// Everything, tokens included.
    Admin,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Auditor, Self::Tech, Self::Operator, Self::Approver, Self::Admin];

    pub fn word(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Tech => "tech",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// The verified caller.
#[derive(Clone, Debug)]
pub struct Who {
    pub name: String,
    pub role: Role,
    /// Of the token, for what lasts longer than one look at it.
    pub token: Digest,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Anybody who reaches the listener: it tells nothing about machines.
    Public,
    Roles(&'static [Role]),
}

/// One route.
pub struct Row {
    pub method: &'static str,
    pub path: &'static str,
    pub policy: Policy,
    /// One line for people; the OpenAPI document shows it.
    pub summary: &'static str,
    /// Names of the schemas of body and answer in the OpenAPI document.
    pub takes: Option<&'static str>,
    pub gives: Option<&'static str>,
    pub(crate) handler: fn() -> MethodRouter<App>,
}
