//! What a BMC measures, whatever protocol it speaks.
//!
//! A reading that the BMC does not give is no reading: `value` is `None` and `health` unknown, never zero and never
//! fine. Values are in the unit the BMC counts in, so that what is shown here is what its own page shows.

use serde::{Deserialize, Serialize};

/// What one sensor says now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// As the BMC calls the sensor.
    pub name: String,
    pub kind: ReadingKind,
    /// Of a measuring sensor; `None` where it gives no number now.
    pub value: Option<f64>,
    /// `celsius`, `volts`, `amperes`, `watts`, `rpm`, `percent`, ...
    pub unit: Option<String>,
    /// What stands, in words: the states of a sensor that does not measure, the thresholds that are crossed.
    pub state: Vec<String>,
    pub health: Health,
    pub thresholds: Thresholds,
}

/// Beyond which value a sensor is no longer well, in its unit; `None` where the BMC compares with nothing. IPMI calls the
/// three non-critical, critical and non-recoverable, Redfish caution, critical and fatal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    pub lower_fatal: Option<f64>,
    pub lower_critical: Option<f64>,
    pub lower_warning: Option<f64>,
    pub upper_warning: Option<f64>,
    pub upper_critical: Option<f64>,
    pub upper_fatal: Option<f64>,
}

/// What a sensor looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingKind {
    Temperature,
    Voltage,
    Current,
    Fan,
    /// Watts.
    Power,
    Intrusion,
    Processor,
    PowerSupply,
    Memory,
    Drive,
    Battery,
    Other,
}

/// Ordered from good to bad; unknown is never fine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Ok,
    #[default]
    Unknown,
    Warning,
    Critical,
}

impl Health {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_fine_and_never_hides_a_fault() {
        let worst = |all: &[Health]| all.iter().copied().max();
        assert_eq!(worst(&[Health::Ok, Health::Unknown]), Some(Health::Unknown));
        assert_eq!(worst(&[Health::Unknown, Health::Warning]), Some(Health::Warning));
        assert_eq!(Health::default(), Health::Unknown);
    }
}
