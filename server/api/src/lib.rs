//! The HTTP router: what people, workflows and agents reach.
//!
//! Every route is one row of [`routes()`], with its policy in it; the router, the OpenAPI document and the test that tries
//! every role on every route are made of the same rows, so that none can be without a policy.

mod adoption;
mod agent;
mod bmcs;
mod boots;
mod console;
mod document;
mod events;
mod firmware;
mod guard;
mod machines;
mod metrics;
mod openapi;
mod plans;
mod policy;
mod problem;
mod routes;
mod site;
mod tokens;

pub use agent::agent_router;
pub use machines::STATES;
pub use policy::{Policy, Role, Row};
pub use problem::Problem;
pub use routes::{openapi, router, routes};
pub use tokens::{keep_first, mint};

use muster_conductor::Conductor;
use std::sync::Arc;

/// What every handler shares.
#[derive(Clone)]
pub struct App {
    pub me: Arc<Conductor>,
    /// Reads the data files again and puts them in force, or says every slip.
    pub reload: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// Counters of the boot path, as lines of the Prometheus text format.
    pub counters: Arc<dyn Fn() -> String + Send + Sync>,
}
