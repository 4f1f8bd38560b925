//! A long reading in short turns: between two of them others may have the BMC.
//!
//! An inventory is a thousand commands. In one turn it would keep an order to switch off waiting for a minute, and its
//! own deadline would end it at a slow BMC that answers every single question.

use super::Turn;
use crate::lane::Lane;
use crate::{Fault, Inner, Target};

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

    /// One turn, under the breaker and a deadline of its own.
    pub async fn turn<T>(&self, work: impl AsyncFnOnce(&mut Turn<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let operation = async { work(&mut self.lane.ipmi(self.engine, self.target).await?).await };
        self.lane.run(&self.engine.settings, operation).await
    }
}

/// Whether the BMC answered this one question badly, so that others may still be asked.
pub fn is_answer(fault: &Fault) -> bool {
    matches!(fault, Fault::Busy(_) | Fault::Declined(_) | Fault::NotOffered(_) | Fault::Garbled(_))
}
