//! One list of parts out of several views of the same machine.
//!
//! The standard tells one power supply under `PowerSubsystem` and under the older `Power`, one drive under its
//! controller and under its chassis, and makers have lists of their own beside these. The best view comes first; a later
//! one fills in what that leaves open and adds only what it cannot mean. Serial numbers decide, and one-to-one, so that
//! two parts with the same bogus number stay two.

use super::parts::Placed;
use crate::hardware::by_place;
use crate::{Drive, Fan, Memory, PowerSupply, Processor};
use std::collections::{BTreeMap, BTreeSet};

/// What joining has to know of a part.
pub trait Part {
    fn serial(&self) -> Option<&str>;
    /// Model or part number: two that differ are two parts.
    fn make(&self) -> Option<&str>;
    fn place(&self) -> &Option<String>;
    fn put(&mut self, place: Option<String>);
    /// Takes over what is not known yet.
    fn fill(&mut self, other: Self);
}

/// A kind of part: which field tells its make, which its place, and all that one view may leave to another.
macro_rules! part {
    ($kind:ty, serial $serial:expr, make $make:expr, place $place:ident, $($field:ident),+) => {
        impl Part for $kind {
            fn serial(&self) -> Option<&str> {
                let serial: fn(&Self) -> Option<&str> = $serial;
                serial(self)
            }

            fn make(&self) -> Option<&str> {
                let make: fn(&Self) -> Option<&str> = $make;
                make(self)
            }

            fn place(&self) -> &Option<String> {
                &self.$place
            }

            fn put(&mut self, place: Option<String>) {
                self.$place = place;
            }

            fn fill(&mut self, other: Self) {
                $(self.$field = self.$field.take().or(other.$field);)+
            }
        }
    };
}

part!(Memory, serial |part| part.serial.as_deref(), make |part| part.part_number.as_deref(), place slot,
    slot, manufacturer, part_number, serial, size_mib, speed_mts, kind, health);
part!(Drive, serial |part| part.serial.as_deref(), make |part| part.model.as_deref(), place bay,
    bay, manufacturer, model, serial, size_bytes, kind, protocol, firmware, health);
part!(PowerSupply, serial |part| part.serial.as_deref(), make |part| part.model.as_deref(), place slot,
    slot, manufacturer, model, part_number, serial, watts, firmware, health);
part!(Processor, serial |part| part.serial.as_deref(), make |part| part.model.as_deref(), place slot,
    slot, kind, manufacturer, model, serial, cores, threads, health);
part!(Fan, serial |_| None, make |_| None, place slot, slot, rpm, percent, health);

/// One view. Those of one `kin` (all controllers, all chassis) are parts of one account: they name places alike, and what
/// two of them list are two parts unless number and place say otherwise.
pub struct View<T> {
    pub kin: usize,
    pub parts: Vec<Placed<T>>,
}

/// All views in one list, the best first; views of one kin stand together.
pub fn join<T: Part>(views: Vec<View<T>>) -> Vec<T> {
    let bearers = bearers(&views);
    let mut all: Vec<(usize, T)> = Vec::new();
    for View { kin, parts } in views {
        let before = all.len();
        let mut taken = vec![false; before];
        let mut left = Vec::new();
        for part in parts {
            let part = named(part, kin, &bearers);
            match known(&all, &taken, kin, &part) {
                Some(at) => merge(&mut all, &mut taken, at, part),
                None => left.push(part),
            }
        }
        let another_account = all.iter().any(|(kind, _)| *kind != kin);
        for part in left {
            // A better account may have left this one's number out.
            let open = all.iter().zip(&taken).position(|((kind, mine), taken)| {
                let nameless = mine.serial().is_none() || part.serial().is_none();
                *kind != kin && !taken && nameless && agree(mine.make(), part.make())
            });
            match open {
                Some(at) => merge(&mut all, &mut taken, at, part),
                None if part.serial().is_some() || !another_account => all.push((kin, part)),
                None => {}
            }
        }
    }
    all.sort_by(|(_, a), (_, b)| by_place(a.place(), b.place()));
    all.into_iter().map(|(_, part)| part).collect()
}

/// How many parts of one kin bear a name, by the name's rank.
type Bearers = BTreeMap<(usize, usize, String), usize>;

fn bearers<T>(views: &[View<T>]) -> Bearers {
    let mut bearers = Bearers::new();
    for view in views {
        for (rank, name) in view.parts.iter().flat_map(|part| part.names.iter().enumerate()) {
            if let Some(name) = name {
                *bearers.entry((view.kin, rank, name.clone())).or_default() += 1;
            }
        }
    }
    bearers
}

/// The part with the first of its names that it alone bears.
fn named<T: Part>(placed: Placed<T>, kin: usize, bearers: &Bearers) -> T {
    let Placed { mut part, names } = placed;
    let own = names.iter().enumerate().find_map(|(rank, name)| {
        let name = name.clone()?;
        (bearers.get(&(kin, rank, name.clone())) == Some(&1)).then_some(name)
    });
    part.put(own.or_else(|| names.into_iter().flatten().next()));
    part
}

fn merge<T: Part>(all: &mut [(usize, T)], taken: &mut [bool], at: usize, part: T) {
    if let (Some((_, mine)), Some(taken)) = (all.get_mut(at), taken.get_mut(at)) {
        mine.fill(part);
        *taken = true;
    }
}

/// Which of the parts known before this view is meant.
fn known<T: Part>(all: &[(usize, T)], taken: &[bool], kin: usize, part: &T) -> Option<usize> {
    all.iter().zip(taken).position(|((kind, mine), taken)| {
        let another_account = *kind != kin;
        let same_make = agree(mine.make(), part.make());
        let same_place = part.place().is_some() && mine.place() == part.place();
        !*taken
            && match (mine.serial(), part.serial()) {
                (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b) => false,
                (Some(a), Some(_)) if another_account => same_make || is_telling(a),
                (Some(_), Some(_)) => same_make && (same_place || part.place().is_none()),
                _ => another_account && same_make && same_place,
            }
    })
}

/// A number that nobody gives twice by carelessness: `00000000` is none.
fn is_telling(serial: &str) -> bool {
    let distinct: BTreeSet<char> = serial.chars().filter(char::is_ascii_alphanumeric).collect();
    serial.len() >= 6 && distinct.len() >= 3
}

/// What one of them does not tell is no difference.
fn agree(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => true,
    }
}
