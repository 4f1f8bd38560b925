//! Judgement without I/O: may this act go out, is this machine what was ordered, and what of its firmware differs?

mod bios;
mod firmware;
mod outlook;
mod quality;
mod rails;

pub use bios::{BiosAim, BiosLine, BiosThere, BiosVerdict, bios_aims, bios_writes, judge_bios};
pub use firmware::{FirmwareLine, FirmwareVerdict, ReportedFirmware, judge_firmware};
pub use outlook::{Change, FirmwarePlan, ModelOutlook, by_model};
pub use quality::{Ordered, judge};
pub use rails::{Asked, Budget, Budgets, Ledger, Rail, Spent, Weight, admit};
