//! Judgement without I/O: may this act go out, and is this machine what was ordered?

mod quality;
mod rails;

pub use quality::{Ordered, judge};
pub use rails::{Asked, Budget, Budgets, Ledger, Rail, Spent, Weight, admit};
