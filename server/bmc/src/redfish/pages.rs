//! Which pages of a log's entries to read to have its newest ones, back to the mark: decided without asking anybody.
//!
//! Some BMCs list the newest entry first and some last, some link one page to the next, and some list a part and only count
//! the rest. A log of a thousand entries is read whole once and then for one page, so the reading begins where the new ones
//! are: at the front where the newest stands first, else at the end by `$skip`, towards the front, until the mark is met.
//! A BMC that ignores `$skip` shows the front again, and is read along its links.

use super::entry;
use super::fields::{Fields, items, target};
use super::settle::rises;
use super::walk::weight;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What all pages of one log may weigh, about as many bytes.
const MOST_BYTES: usize = 16 << 20;

/// How much of one log is read.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub pages: usize,
    pub entries: usize,
}

/// An entry as a page lists it: whole, or where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: String,
    pub path: Option<String>,
    pub body: Option<Value>,
    place: u64,
}

/// What came of it: the entries as the BMC lists them, from the first page on or up to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    pub members: Vec<Member>,
    /// What was not read.
    pub gap: Option<String>,
    /// Newer ones follow than were read.
    pub more: bool,
    /// How many there are, by the BMC's word or by what it listed.
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Ask {
    /// The collection itself.
    First,
    /// On from the front; by a link of the BMC's or not.
    Front { path: String, linked: bool },
    /// From the end, at this place.
    Back { at: u64 },
}

pub struct Pages<'a> {
    entries: &'a str,
    mark: Option<&'a str>,
    budget: Budget,
    ask: Option<Ask>,
    asked: BTreeSet<String>,
    members: Vec<Member>,
    seen: BTreeSet<String>,
    count: Option<u64>,
    /// How many the first page lists, and what it links to.
    front: u64,
    link: Option<String>,
    /// The end is being read, down to here.
    back: Option<u64>,
    reads: usize,
    bytes: usize,
    gap: Option<String>,
    more: bool,
}

impl<'a> Pages<'a> {
    /// `mark` is the id of the last entry that is known already.
    pub fn new(entries: &'a str, mark: Option<&'a str>, budget: Budget) -> Self {
        Self {
            entries,
            mark,
            budget,
            ask: Some(Ask::First),
            asked: BTreeSet::new(),
            members: Vec::new(),
            seen: BTreeSet::new(),
            count: None,
            front: 0,
            link: None,
            back: None,
            reads: 0,
            bytes: 0,
            gap: None,
            more: false,
        }
    }

    /// What to read next; `None` when it is over.
    pub fn next(&mut self) -> Option<String> {
        let path = match self.ask.as_ref()? {
            Ask::First => self.entries.to_string(),
            Ask::Front { path, .. } => path.clone(),
            Ask::Back { at } => self.skip(*at),
        };
        let full = self.reads >= self.budget.pages
            || self.members.len() >= self.budget.entries
            || self.bytes >= MOST_BYTES
            || !self.asked.insert(path.clone());
        if full {
            self.stop();
            return None;
        }
        self.reads += 1;
        Some(path)
    }

    /// What was read there.
    pub fn read(&mut self, body: &Value) {
        let Some(ask) = self.ask.take() else { return };
        let fields = Fields(body);
        let listed = fields.get("Members").map(items).unwrap_or_default();
        let place = match ask {
            Ask::Back { at } => at,
            _ => self.members.len() as u64,
        };
        let before = self.members.len();
        for (item, place) in listed.iter().zip(place..) {
            self.take(item, place);
        }
        let new = self.members.len() > before;
        let link = fields.get("Members@odata.nextLink").or_else(|| fields.get("@odata.nextLink")).and_then(target);
        match ask {
            Ask::First => {
                self.count = fields.count(&["Members@odata.count"]);
                self.front = listed.len() as u64;
                self.link = link;
                self.begin();
            }
            Ask::Front { .. } => self.on(link, new),
            Ask::Back { at } if new && self.is_elsewhere(at) => self.back(at),
            // It showed what it had shown: it knows no `$skip`.
            Ask::Back { .. } => self.along(),
        }
    }

    /// What could not be read there, and why.
    pub fn missed(&mut self, reason: &str) {
        match self.ask.take() {
            Some(Ask::Back { .. }) if self.back.is_none() => self.along(),
            // The link of a list that is whole leads nowhere on some.
            Some(Ask::Front { .. }) if self.count.is_some_and(|count| count <= self.members.len() as u64) => {}
            Some(_) => {
                self.gap = Some(format!("{} of {} entries were read: {reason}", self.members.len(), self.told()))
            }
            None => {}
        }
    }

    pub fn finish(mut self) -> Listed {
        let count = self.count.unwrap_or_default().max(self.members.len() as u64);
        // Between the front and the end a piece is missing: the front is of no use.
        if let Some(down_to) = self.back.filter(|down_to| *down_to > self.front) {
            self.members.retain(|member| member.place >= down_to);
        }
        self.members.sort_by_key(|member| member.place);
        Listed { members: self.members, gap: self.gap, more: self.more, count }
    }

    fn told(&self) -> String {
        self.count.map_or_else(|| "many".into(), |count| count.to_string())
    }

    fn skip(&self, at: u64) -> String {
        let mark = if self.entries.contains('?') { '&' } else { '?' };
        format!("{}{mark}$skip={at}", self.entries)
    }

    /// After the first page: which way.
    fn begin(&mut self) {
        let rest = self.count.is_some_and(|count| count > self.front);
        if !rest && self.link.is_none() {
            return;
        }
        let (first, last) = (self.members.first(), self.members.last());
        let falls = first.zip(last).is_some_and(|(first, last)| rises(first, last) == Some(Ordering::Greater));
        match self.count.filter(|_| rest && self.front > 0) {
            Some(_) if falls => self.on(self.link.clone(), true),
            Some(count) => self.ask = Some(Ask::Back { at: count.saturating_sub(self.front).max(self.front) }),
            None => self.along(),
        }
    }

    /// Along the links, from the front.
    fn along(&mut self) {
        self.back = None;
        match self.link.clone() {
            Some(path) => self.ask = Some(Ask::Front { path, linked: true }),
            None => {
                self.gap = Some(format!("it lists {} of {} entries, and no more when asked", self.front, self.told()))
            }
        }
    }

    /// On from a page of the front, unless the mark stands on it and what follows is older.
    fn on(&mut self, link: Option<String>, new: bool) {
        let (first, last) = (self.members.first(), self.members.last());
        let falls = first.zip(last).is_some_and(|(first, last)| rises(first, last) == Some(Ordering::Greater));
        if (falls && self.has_mark()) || !new {
            return;
        }
        let read = self.members.len() as u64;
        self.ask = match link {
            Some(path) => Some(Ask::Front { path, linked: true }),
            None if self.count.is_some_and(|count| count > read) => {
                Some(Ask::Front { path: self.skip(read), linked: false })
            }
            None => None,
        };
    }

    /// On from a page of the end, towards the front.
    fn back(&mut self, at: u64) {
        self.back = Some(at);
        if at > self.front && !self.has_mark() {
            self.ask = Some(Ask::Back { at: at.saturating_sub(self.front.max(1)).max(self.front) });
        }
    }

    /// Whether what was taken last stands at the place that was asked for, as far as can be told.
    fn is_elsewhere(&self, at: u64) -> bool {
        self.members.last().is_some_and(|member| member.place >= at)
    }

    fn has_mark(&self) -> bool {
        self.mark.is_some_and(|mark| self.members.iter().any(|member| member.id == mark))
    }

    /// The budget is used up.
    fn stop(&mut self) {
        let read = match self.back {
            Some(down_to) => self.members.iter().filter(|member| member.place >= down_to).count(),
            None => self.members.len(),
        };
        let (first, last) = (self.members.first(), self.members.last());
        let rises = first.zip(last).is_some_and(|(first, last)| rises(first, last) == Some(Ordering::Less));
        self.more = self.back.is_none() && rises;
        let which = if self.more { "oldest" } else { "newest" };
        self.gap = Some(format!("the {which} {read} of {} entries were read", self.told()));
        self.ask = None;
    }

    fn take(&mut self, item: &Value, place: u64) {
        let path = target(item).filter(|path| !path.contains('#'));
        let whole =
            item.as_object().is_some_and(|object| object.keys().filter(|key| !key.starts_with('@')).count() > 2);
        let Some(id) = entry::id(item).filter(|_| whole || path.is_some()) else { return };
        let key = path.as_deref().unwrap_or(&id).trim_end_matches('/').to_string();
        if self.seen.insert(key) {
            self.bytes = self.bytes.saturating_add(weight(item));
            self.members.push(Member { id, path, body: whole.then(|| item.clone()), place });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const WHOLE: Budget = Budget { pages: 40, entries: 1000 };

    /// A log of so many entries, as a BMC with these ways serves it.
    #[derive(Clone, Copy)]
    struct Bmc {
        entries: u64,
        page: u64,
        newest_first: bool,
        links: bool,
        skips: bool,
        counts: bool,
    }

    impl Bmc {
        fn serve(self, path: &str) -> Option<Value> {
            let at = match path.split_once("$skip=") {
                Some((_, at)) if self.skips => at.parse().unwrap(),
                Some(_) => 0,
                None => path.split_once("token=").map_or(0, |(_, at)| at.parse().unwrap()),
            };
            let id = |at: u64| if self.newest_first { self.entries - at } else { at + 1 };
            let end = (at + self.page).min(self.entries);
            let members: Vec<Value> = (at..end)
                .map(|at| json!({"@odata.id": format!("/E/{}", id(at)), "Id": id(at).to_string(), "Message": "x", "Name": "y"}))
                .collect();
            let mut body = json!({"Members": members});
            if self.counts {
                body["Members@odata.count"] = json!(self.entries);
            }
            if self.links && end < self.entries {
                body["Members@odata.nextLink"] = json!(format!("/E?token={end}"));
            }
            Some(body)
        }

        fn read(self, mark: Option<&str>, budget: Budget) -> (Listed, usize) {
            let mut pages = Pages::new("/E", mark, budget);
            let mut reads = 0;
            while let Some(path) = pages.next() {
                reads += 1;
                match self.serve(&path) {
                    Some(body) => pages.read(&body),
                    None => pages.missed("gone"),
                }
            }
            (pages.finish(), reads)
        }
    }

    const RISING: Bmc = Bmc { entries: 95, page: 10, newest_first: false, links: true, skips: true, counts: true };

    #[test]
    fn b7_14_every_way_of_paging_ends_with_every_entry_once() {
        for newest_first in [false, true] {
            for (links, skips, counts) in
                [(true, true, true), (true, false, true), (true, false, false), (false, true, true)]
            {
                for page in [1, 10, 50, 95, 200] {
                    let bmc = Bmc { page, newest_first, links, skips, counts, ..RISING };
                    let (listed, _) = bmc.read(None, Budget { pages: 200, entries: 1000 });
                    let ids: BTreeSet<&str> = listed.members.iter().map(|one| one.id.as_str()).collect();
                    assert_eq!(
                        (ids.len(), listed.members.len()),
                        (95, 95),
                        "{newest_first} {links} {skips} {counts} {page}"
                    );
                    assert_eq!((listed.gap, listed.more), (None, false), "{links} {skips} {counts} {page}");
                    let places: Vec<u64> = listed.members.iter().map(|one| one.place).collect();
                    assert!(places.is_sorted(), "{places:?}");
                }
            }
        }
    }

    #[test]
    fn b7_14_what_is_new_since_the_mark_costs_a_page_or_two_whichever_end_it_is_at() {
        for (newest_first, most) in [(true, 1), (false, 2)] {
            let bmc = Bmc { newest_first, ..RISING };
            let (listed, reads) = bmc.read(Some("90"), WHOLE);
            assert!(reads <= most, "{reads} reads, newest first: {newest_first}");
            let ids: Vec<&str> = listed.members.iter().map(|one| one.id.as_str()).collect();
            assert!((90..=95).all(|id: u64| ids.contains(&id.to_string().as_str())), "{ids:?}");
        }
    }

    #[test]
    fn a_log_longer_than_the_budget_is_told_with_its_newest_and_what_is_missing() {
        let few = Budget { pages: 4, entries: 1000 };
        for newest_first in [false, true] {
            let (listed, reads) = Bmc { newest_first, ..RISING }.read(None, few);
            let ids: BTreeSet<u64> = listed.members.iter().map(|one| one.id.parse().unwrap()).collect();
            assert!(ids.contains(&95) && !ids.contains(&1) && reads == 4, "{ids:?}");
            let run = ids.iter().zip(ids.iter().skip(1)).all(|(a, b)| a + 1 == *b);
            assert!(run, "a piece is missing in {ids:?}");
            assert_eq!(listed.gap, Some(format!("the newest {} of 95 entries were read", ids.len())));
        }
        let (listed, _) = Bmc { skips: false, ..RISING }.read(None, few);
        assert!(listed.more && listed.gap.unwrap().contains("oldest"), "only the front can be had");
    }

    #[test]
    fn a_bmc_that_lists_a_part_and_shows_no_more_is_told_as_such() {
        let (listed, reads) = Bmc { links: false, skips: false, ..RISING }.read(None, WHOLE);
        assert_eq!((listed.members.len(), listed.count, reads), (10, 95, 2));
        assert!(listed.gap.unwrap().contains("10 of 95"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_no_gap_where_the_list_is_whole() {
        let mut pages = Pages::new("/E", None, WHOLE);
        pages.next();
        let whole =
            json!({"Members": [{"@odata.id": "/E/1"}], "Members@odata.count": 1, "@odata.nextLink": "/E?token=2"});
        pages.read(&whole);
        assert_eq!(pages.next().as_deref(), Some("/E?token=2"));
        pages.missed("HTTP 404");
        let listed = pages.finish();
        assert_eq!((listed.members.len(), listed.gap, listed.members[0].body.as_ref()), (1, None, None));
    }

    #[test]
    fn links_in_a_circle_end() {
        let mut pages = Pages::new("/E", None, WHOLE);
        let circle = |at: u64| json!({"Members": [{"@odata.id": format!("/E/{at}")}], "@odata.nextLink": "/E?token=2"});
        for at in 0..5 {
            let Some(_) = pages.next() else { break };
            pages.read(&circle(at));
        }
        assert_eq!(pages.next(), None);
        assert_eq!(pages.finish().members.len(), 2);
    }

    proptest! {
        #[test]
        fn no_page_panics_and_every_reading_ends(text in "\\PC*", count: f64, listed in 0_usize..4, mark in "[0-9]") {
            let item = |at: usize| json!({"@odata.id": format!("/E/{at}{text}"), "Id": text, "a": 1, "b": 2});
            let members: Vec<Value> = (0..listed).map(item).collect();
            for body in [
                json!({"Members": members, "Members@odata.count": count, "@odata.nextLink": text}),
                json!({"Members": text, "Members@odata.count": text}),
                json!({"Members": members, "Members@odata.count": 1_u64 << 60}),
                json!([text]),
            ] {
                let mut pages = Pages::new("/E", Some(&mark), Budget { pages: 8, entries: 8 });
                let mut reads = 0;
                while pages.next().is_some() {
                    reads += 1;
                    pages.read(&body);
                }
                prop_assert!(reads <= 8);
                prop_assert!(pages.finish().members.len() <= 8 + listed);
            }
        }
    }
}
