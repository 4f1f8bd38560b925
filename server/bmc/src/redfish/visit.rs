//! A long reading in single reads, each with a turn and a deadline of its own: between two of them others may have the BMC.

use super::Turn;
use crate::lane::Lane;
use crate::{Fault, Inner, Target};
use serde_json::Value;

/// One caller's reading of one BMC.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    engine: &'a Inner,
    lane: &'a Lane,
    target: &'a Target,
}

impl<'a> Visit<'a> {
    pub fn new(engine: &'a Inner, lane: &'a Lane, target: &'a Target) -> Self {
        Self { engine, lane, target }
    }

    pub fn lane(&self) -> &'a Lane {
        self.lane
    }

    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// The service root, as anybody may read it.
    pub async fn root(&self) -> Result<Value, Fault> {
        let reading = async {
            let connection = self.lane.connection(self.engine, self.target).await?;
            Ok(connection.root(self.lane).await?.body)
        };
        self.lane.run(&self.engine.settings, reading).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.turn(async |turn| Ok(turn.get(path).await?.body)).await
    }

    /// The system that the target means, with its path.
    pub async fn system(&self) -> Result<(String, Value), Fault> {
        let read = async |turn: &Turn<'_>| turn.system().await.map(|(path, answer)| (path, answer.body));
        self.turn(read).await
    }

    async fn turn<T>(&self, work: impl AsyncFnOnce(&Turn<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let operation = async { work(&self.lane.redfish_read(self.engine, self.target).await?).await };
        self.lane.run(&self.engine.settings, operation).await
    }
}

/// Whether a fault is the whole BMC's, so that asking on would only repeat it.
pub fn ends(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Login
            | Fault::LoginsHeld(_)
            | Fault::Locked(_)
            | Fault::Superseded
            | Fault::WantsNewPassword(_)
            | Fault::ForeignKey { .. }
            | Fault::PlainHttp
            | Fault::NoSlot
            | Fault::Resting(_)
    )
}
