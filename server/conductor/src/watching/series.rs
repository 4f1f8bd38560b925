//! Numbers of sensors over time: as they were read, and rolled up by the hour and by the day.
//!
//! A BMC's numbers follow a list of names that is kept once. A sensor that is new makes another list; one that is missing
//! for a while leaves a hole. A span that is rolled up has count, least, most and sum of each, so that another visit is
//! added to what is stored already, by a daemon that was started in between too.

use muster_bmc::Reading;
use muster_names::Millis;
use serde::{Deserialize, Serialize};

pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;
const MOST_SENSORS: usize = 1024;

/// How long numbers are kept, by the length of their span.
pub const KEPT: [(Grain, i64); 3] = [(Grain::Visit, 2 * DAY), (Grain::Hour, 14 * DAY), (Grain::Day, 400 * DAY)];

/// The length of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grain {
    /// Each visit by itself.
    Visit,
    Hour,
    Day,
}

impl Grain {
    /// As it is stored: milliseconds, none for a single visit.
    pub fn millis(self) -> i64 {
        match self {
            Self::Visit => 0,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// When the span begins that this moment is in, in UTC.
    pub fn begins(self, at: Millis) -> Millis {
        match self {
            Self::Visit => at,
            Self::Hour | Self::Day => Millis(at.0.div_euclid(self.millis()) * self.millis()),
        }
    }
}

/// One sensor within a span: how many readings, the least, the most, their sum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sum(pub u32, pub f64, pub f64, pub f64);

impl Sum {
    pub fn mean(&self) -> f64 {
        if self.0 == 0 { 0.0 } else { self.3 / f64::from(self.0) }
    }

    fn add(&mut self, value: f64) {
        *self = Self(self.0.saturating_add(1), self.1.min(value), self.2.max(value), rounded(self.3 + value));
    }
}

/// In the order of the list of names.
pub type Span = Vec<Option<Sum>>;

/// With three digits behind the point: what adding makes of the others is most of a row.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A sensor's name; the second of a name has its number behind it.
fn named(readings: &[Reading]) -> Vec<(String, f64)> {
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    let measuring =
        readings.iter().filter_map(|one| Some((one.name.as_str(), one.value.filter(|value| value.is_finite())?)));
    measuring
        .map(|(name, value)| {
            let count = seen.entry(name).or_default();
            *count += 1;
            (if *count == 1 { name.to_string() } else { format!("{name} #{count}") }, value)
        })
        .take(MOST_SENSORS)
        .collect()
}

/// The list that these readings follow: the one that stands if it has all of them, else a longer one.
pub fn names(stands: &[String], readings: &[Reading]) -> Option<Vec<String>> {
    let new: Vec<String> =
        named(readings).into_iter().map(|(name, _)| name).filter(|name| !stands.contains(name)).collect();
    if new.is_empty() {
        return None;
    }
    // A BMC that makes names up does not grow the list for ever.
    let kept = if stands.len() + new.len() > MOST_SENSORS { &[] } else { stands };
    Some(kept.iter().cloned().chain(new).collect())
}

/// The readings in the order of the list, with three digits behind the point.
pub fn numbers(names: &[String], readings: &[Reading]) -> Vec<Option<f64>> {
    let named = named(readings);
    let value = |name: &String| named.iter().find(|(other, _)| other == name).map(|(_, value)| rounded(*value));
    names.iter().map(value).collect()
}

pub fn add(span: &mut Span, numbers: &[Option<f64>]) {
    span.resize(numbers.len().max(span.len()), None);
    for (sum, value) in span.iter_mut().zip(numbers) {
        match (sum.as_mut(), value) {
            (Some(sum), Some(value)) => sum.add(*value),
            (None, Some(value)) => *sum = Some(Sum(1, *value, *value, *value)),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_bmc::{Health, ReadingKind, Thresholds};
    use proptest::prelude::*;

    pub fn reading(name: &str, value: Option<f64>) -> Reading {
        let (kind, thresholds) = (ReadingKind::Temperature, Thresholds::default());
        Reading { name: name.into(), kind, value, unit: None, state: vec![], health: Health::Ok, thresholds }
    }

    #[test]
    fn a_new_sensor_makes_another_list_and_a_missing_one_leaves_a_hole() {
        let both = [reading("CPU", Some(40.12345)), reading("Fan", Some(900.0)), reading("Door", None)];
        let list = names(&[], &both).unwrap();
        assert_eq!(list, ["CPU", "Fan"]);
        assert_eq!(names(&list, &both[..1]), None);
        assert_eq!(numbers(&list, &both[1..]), [None, Some(900.0)]);
        assert_eq!(numbers(&list, &both), [Some(40.123), Some(900.0)]);
        let more = [reading("Inlet", Some(20.0))];
        assert_eq!(names(&list, &more).unwrap(), ["CPU", "Fan", "Inlet"]);
    }

    #[test]
    fn two_sensors_of_one_name_stay_two() {
        let twins = [reading("Temp", Some(1.0)), reading("Temp", Some(2.0))];
        let list = names(&[], &twins).unwrap();
        assert_eq!(
            (list.as_slice(), numbers(&list, &twins)),
            (&["Temp".to_string(), "Temp #2".into()][..], vec![Some(1.0), Some(2.0)])
        );
    }

    #[test]
    fn a_list_is_bounded_whatever_a_bmc_names() {
        let many = |from: usize| (from..from + 2000).map(|n| reading(&format!("s{n}"), Some(0.0))).collect::<Vec<_>>();
        let mut list = Vec::new();
        for from in [0, 1000, 5000] {
            list = names(&list, &many(from)).unwrap();
            assert!(list.len() <= MOST_SENSORS, "{}", list.len());
        }
    }

    #[test]
    fn spans_begin_on_the_hour_and_on_the_day_before_1970_too() {
        assert_eq!(Grain::Hour.begins(Millis(HOUR + 1)), Millis(HOUR));
        assert_eq!(Grain::Day.begins(Millis(-1)), Millis(-DAY));
        assert_eq!(Grain::Visit.begins(Millis(77)), Millis(77));
    }

    proptest! {
        #[test]
        fn a_span_has_the_least_the_most_and_the_mean_of_what_was_added(values in proptest::collection::vec(proptest::option::of(-1e6_f64..1e6), 1..50)) {
            let mut span = Span::new();
            for value in &values {
                add(&mut span, &[*value]);
            }
            let told: Vec<f64> = values.into_iter().flatten().collect();
            let Some(sum) = span[0] else { prop_assert!(told.is_empty()); return Ok(()) };
            prop_assert_eq!(usize::try_from(sum.0).unwrap(), told.len());
            prop_assert_eq!(sum.1, told.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(sum.2, told.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            prop_assert!((sum.mean() - told.iter().sum::<f64>() / told.len() as f64).abs() < 1e-2);
            let text = serde_json::to_string(&span).unwrap();
            prop_assert_eq!(serde_json::from_str::<Span>(&text).unwrap().len(), 1);
        }
    }
}
