//! The whole graph of a machine's life, walked: every state that can be reached, every way out of it.
//!
//! Random walks do not find the faults that this finds. A first version of this life had six of them; each has its test
//! below. The same walk writes `docs/LIFE.md` (`MUSTER_BLESS=1` writes it anew).

#![allow(clippy::disallowed_methods, reason = "the walk writes docs/LIFE.md")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use muster_lifecycle::machine::*;
use muster_lifecycle::{AgentTask, Life, OrderWant, Wait, What};
use muster_names::{BootTarget, CaseId, Epoch, OrderId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NOW: Epoch = Epoch(7);
const STALE: Epoch = Epoch(6);
const ORDERS: [OrderId; 2] = [OrderId(1), OrderId(2)];
const CASES: [CaseId; 2] = [CaseId(1), CaseId(2)];

type Graph = BTreeMap<Machine, Vec<(Event, Machine)>>;

fn facts(bmc: bool, drain_by_force: bool) -> Facts {
    let limits = Limits { attempts: 2, rungs: 2, repairs: 2, drain_by_force, ..Limits::default() };
    Facts { epoch: NOW, limits, bmc, order: None, case: None, hold: false, retire: false }
}

/// The first order is open, and nothing was written for it.
fn untouched() -> Facts {
    let order = OpenOrder { order: ORDERS[0], reimage: false, begun: false };
    Facts { order: Some(order), ..facts(true, false) }
}

fn all_facts() -> Vec<Facts> {
    let mut all: Vec<Facts> =
        [(true, false), (true, true), (false, false)].map(|(bmc, force)| facts(bmc, force)).into();
    all.push(untouched());
    all
}

fn events(epoch: Epoch) -> Vec<Event> {
    let mut all = vec![
        Event::Claimed,
        Event::DiscoverAsked,
        Event::AdoptAsked,
        Event::ReleaseAsked,
        Event::DrainAcknowledged,
        Event::HoldAsked,
        Event::RetireAsked,
        Event::Stopped { epoch },
        Event::ActFailed { epoch },
        Event::ImpostorSeen,
        Event::DeadlinePassed { epoch },
    ];
    for to in [Resume::Discover, Resume::Check, Resume::Serve, Resume::Release] {
        all.push(Event::Resumed { to });
    }
    for yes in [true, false] {
        all.push(Event::Seen { dedicated: yes });
        all.push(Event::Identified { known: yes });
        all.push(Event::Commissioned { epoch, passed: yes });
        all.push(Event::CheckJudged { epoch, passed: yes });
        all.push(Event::WipeReported { epoch, ok: yes });
    }
    for order in ORDERS {
        all.push(Event::OrderCancelled { order });
        for reimage in [true, false] {
            all.push(Event::Ordered { order, reimage });
        }
        for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Refused] {
            all.push(Event::InstallReported { epoch, order, outcome });
        }
    }
    for case in CASES {
        all.push(Event::CaseOpened { case });
        all.push(Event::Resumed { to: Resume::Repair(case) });
        for ok in [true, false] {
            all.push(Event::RungDone { epoch, case, ok });
        }
    }
    all
}

fn next(machine: &Machine, event: &Event, facts: &Facts) -> Option<Machine> {
    MachineLife::next(machine, event, facts)
}

fn reachable(facts: &Facts) -> Graph {
    let mut graph = Graph::new();
    let mut todo = vec![Machine::observed(), Machine::expected()];
    while let Some(machine) = todo.pop() {
        if graph.contains_key(&machine) {
            continue;
        }
        let out: Vec<_> = events(NOW).into_iter().filter_map(|e| next(&machine, &e, facts).map(|to| (e, to))).collect();
        todo.extend(out.iter().map(|(_, to)| to.clone()));
        graph.insert(machine, out);
    }
    graph
}

/// A person's own word; everything else may happen without one.
fn person(event: &Event) -> bool {
    matches!(
        event,
        Event::Claimed
            | Event::DiscoverAsked
            | Event::AdoptAsked
            | Event::ReleaseAsked
            | Event::Resumed { .. }
            | Event::OrderCancelled { .. }
            | Event::HoldAsked
            | Event::RetireAsked
            | Event::Ordered { .. }
    )
}

fn deadline() -> Event {
    Event::DeadlinePassed { epoch: NOW }
}

/// The shortest way from `from` to a state for which `to` holds, using only edges that `allowed` lets pass.
fn path(
    graph: &Graph,
    from: impl Fn(&Machine) -> bool,
    to: impl Fn(&Machine) -> bool,
    allowed: impl Fn(&Machine, &Event) -> bool,
) -> Option<Vec<String>> {
    let mut seen: BTreeSet<&Machine> = graph.keys().filter(|m| from(m)).collect();
    let mut queue: VecDeque<(&Machine, Vec<String>)> = seen.iter().map(|m| (*m, vec![format!("{m:?}")])).collect();
    while let Some((machine, way)) = queue.pop_front() {
        for (event, then) in &graph[machine] {
            if !allowed(machine, event) {
                continue;
            }
            let mut way = way.clone();
            way.push(format!("{event:?} -> {then:?}"));
            if to(then) {
                return Some(way);
            }
            if seen.insert(graph.get_key_value(then).unwrap().0) {
                queue.push_back((then, way));
            }
        }
    }
    None
}

#[test]
fn every_state_waits_for_a_person_the_world_or_a_deadline_that_moves_it() {
    for facts in all_facts() {
        for machine in reachable(&facts).keys() {
            let plan = MachineLife::plan(machine, &facts);
            let moved = next(machine, &deadline(), &facts);
            match plan.wait {
                Wait::Until(_) => assert!(moved.is_some(), "{machine:?} sleeps through its deadline"),
                Wait::Person | Wait::World => assert_eq!(moved, None, "{machine:?} has no deadline, yet one moves it"),
            }
        }
    }
}

#[test]
fn deadlines_alone_end_at_a_person_or_at_rest() {
    for facts in all_facts() {
        for start in reachable(&facts).keys() {
            let mut machine = start.clone();
            for hop in 0.. {
                assert!(hop < 20, "{start:?} never comes to rest");
                match next(&machine, &deadline(), &facts) {
                    Some(then) => machine = then,
                    None => break,
                }
            }
        }
    }
}

/// Peels off states all of whose automatic edges lead to states already peeled; what is left goes round for ever.
#[test]
fn automatic_edges_have_no_cycle_faults_included() {
    for facts in all_facts() {
        let mut left = reachable(&facts);
        loop {
            let done: Vec<Machine> = left
                .iter()
                .filter(|(_, out)| out.iter().all(|(event, to)| person(event) || !left.contains_key(to)))
                .map(|(machine, _)| machine.clone())
                .collect();
            if done.is_empty() {
                break;
            }
            done.iter().for_each(|machine| {
                left.remove(machine);
            });
        }
        assert!(left.is_empty(), "can go round for ever: {:#?}", left.keys().collect::<Vec<_>>());
    }
}

#[test]
fn every_state_can_still_reach_service_or_retirement() {
    for facts in all_facts() {
        let graph = reachable(&facts);
        let mut good: BTreeSet<&Machine> =
            graph.keys().filter(|m| matches!(m.at, At::InService | At::Retired)).collect();
        loop {
            let more: Vec<&Machine> = graph
                .iter()
                .filter(|(m, out)| !good.contains(m) && out.iter().any(|(_, to)| good.contains(to)))
                .map(|(m, _)| m)
                .collect();
            if more.is_empty() {
                break;
            }
            good.extend(more);
        }
        let lost: Vec<_> = graph.keys().filter(|m| !good.contains(m)).collect();
        assert!(lost.is_empty(), "{lost:#?}");
    }
}

/// Anybody on a boot network can send a packet with another machine's MAC and report for it. Nothing that follows from
/// that alone may reach for the real machine's power.
#[test]
fn what_the_boot_network_says_alone_never_powers_a_machine() {
    for facts in all_facts() {
        let graph = reachable(&facts);
        let nobody_asked = |_: &Machine, event: &Event| {
            !person(event) && !matches!(event, Event::CaseOpened { .. } | Event::DrainAcknowledged)
        };
        let powers = |machine: &Machine| !MachineLife::plan(machine, &facts).acts.is_empty();
        let unasked = |machine: &Machine| matches!(machine.at, At::Observed | At::Expected);
        let way = path(&graph, unasked, powers, nobody_asked);
        assert!(way.is_none(), "{way:#?}");
    }
}

#[test]
fn two_that_claim_one_identity_end_a_wipe_at_a_person_and_the_data_stays_owned() {
    for at in [At::Releasing { attempt: 1 }, At::Retiring { attempt: 1 }] {
        let machine = Machine { at, data: Data::Owned, repairs: 2 };
        let held = next(&machine, &Event::ImpostorSeen, &facts(true, false)).unwrap();
        assert_eq!((held.at, held.data), (At::Held { why: Hold::Impostor }, Data::Owned));
    }
}

/// First fault of the sketch: an owner's data came back to the pool.
#[test]
fn an_owners_data_never_reaches_ready_unwiped() {
    let wiped = |e: &Event| matches!(e, Event::WipeReported { ok: true, .. });
    for facts in all_facts() {
        let graph = reachable(&facts);
        let owned = |m: &Machine| m.data == Data::Owned;
        let found = path(&graph, owned, |m| m.at == At::Ready, |_, e| !wiped(e));
        assert_eq!(found, None);
        let found = path(&graph, owned, |m| m.data == Data::Clean, |_, e| !wiped(e));
        assert_eq!(found, None, "data is forgotten without a wipe");
    }
}

/// Writing over owned data takes either a proven wipe before it or an order approved to overwrite.
#[test]
fn an_owners_data_meets_no_installer_but_by_an_approved_reimage() {
    for facts in all_facts() {
        let graph = reachable(&facts);
        let found = path(
            &graph,
            |m| {
                m.data == Data::Owned
                    && !matches!(m.at, At::Installing { .. } | At::Draining { then: After::Install(_) })
            },
            |m| matches!(m.at, At::Installing { .. }),
            |_, e| !matches!(e, Event::WipeReported { ok: true, .. } | Event::Ordered { reimage: true, .. }),
        );
        assert_eq!(found, None);
    }
}

/// Second fault of the sketch: one event led from service into the wipe.
#[test]
fn a_machine_in_service_is_never_wiped_or_reset_without_the_drain() {
    for facts in all_facts() {
        for (machine, out) in reachable(&facts) {
            if machine.at != At::InService {
                continue;
            }
            for (event, then) in out {
                let plan = MachineLife::plan(&then, &facts);
                assert!(plan.acts.is_empty() && plan.want.agent != AgentTask::Wipe, "{event:?} -> {then:?}");
            }
        }
        let graph = reachable(&facts);
        let disturbed = |m: &Machine| !MachineLife::plan(m, &facts).acts.is_empty();
        let found = path(
            &graph,
            |m| m.at == At::InService,
            disturbed,
            |m, e| {
                let leaves_the_drain = matches!(e, Event::DrainAcknowledged)
                    || facts.limits.drain_by_force && matches!(e, Event::DeadlinePassed { .. });
                !(matches!(m.at, At::Draining { .. }) && leaves_the_drain)
            },
        );
        assert_eq!(found, None);
    }
}

/// Third fault of the sketch: a flapping fault was repaired for ever.
#[test]
fn a_machine_alone_cannot_be_repaired_for_ever() {
    let facts = Facts { case: Some(CASES[0]), ..facts(true, true) };
    let mut machine = Machine { at: At::InService, data: Data::Owned, repairs: facts.limits.repairs };
    for _ in 0..100 {
        let answers = [
            Event::CaseOpened { case: CASES[0] },
            Event::DrainAcknowledged,
            Event::RungDone { epoch: NOW, case: CASES[0], ok: true },
            Event::CheckJudged { epoch: NOW, passed: true },
        ];
        let Some(then) = answers.iter().find_map(|e| next(&machine, e, &facts)) else { break };
        machine = then;
    }
    assert_eq!(machine.at, At::Held { why: Hold::RepairsUsedUp });
}

/// Fourth fault of the sketch: a fault during an install was lost.
#[test]
fn each_state_takes_or_defers_every_standing_fact() {
    let base = facts(true, false);
    let order = OpenOrder { order: ORDERS[0], reimage: false, begun: true };
    let standing = Facts { case: Some(CASES[1]), hold: true, retire: true, order: Some(order), ..base.clone() };
    assert_eq!(MachineLife::standing(&standing).len(), 4, "each fact is offered");
    for (machine, _) in reachable(&base) {
        if machine.at == At::Retired || machine.at == At::Observed {
            continue;
        }
        for event in MachineLife::standing(&standing) {
            let mut taken = next(&machine, &event, &base);
            let mut at = machine.clone();
            // Deferred: wherever automation or a person leads from here, the fact is taken in the end.
            for hop in 0.. {
                if taken.is_some() || at.at == At::Retired {
                    break;
                }
                assert!(hop < 20, "{machine:?} neither takes {event:?} nor leads to a state that does");
                let onward = [
                    Event::RungDone { epoch: NOW, case: CASES[0], ok: true },
                    Event::RungDone { epoch: NOW, case: CASES[1], ok: true },
                    Event::Commissioned { epoch: NOW, passed: true },
                    Event::InstallReported { epoch: NOW, order: ORDERS[0], outcome: Outcome::Ok },
                    Event::InstallReported { epoch: NOW, order: ORDERS[1], outcome: Outcome::Ok },
                    Event::CheckJudged { epoch: NOW, passed: true },
                    Event::WipeReported { epoch: NOW, ok: true },
                    Event::Stopped { epoch: NOW },
                    Event::DrainAcknowledged,
                    Event::Identified { known: true },
                    Event::Resumed { to: Resume::Discover },
                    Event::Resumed { to: Resume::Release },
                    Event::DiscoverAsked,
                    Event::ReleaseAsked,
                ];
                at = onward
                    .iter()
                    .find_map(|e| next(&at, e, &base))
                    .unwrap_or_else(|| panic!("{at:?} (from {machine:?}) leads nowhere"));
                taken = next(&at, &event, &base);
            }
        }
    }
    let installing = Machine { at: At::Installing { order: ORDERS[0], attempt: 1 }, data: Data::Clean, repairs: 2 };
    assert_eq!(
        next(&installing, &Event::CaseOpened { case: CASES[0] }, &base).unwrap().at,
        At::Stopping { then: After::Repair(CASES[0]) },
        "a fault while installing stops the write before it is repaired"
    );
}

/// Fifth fault of the sketch: a late report of the first attempt finished the second.
#[test]
fn a_report_of_another_epoch_changes_nothing() {
    let timeless: BTreeSet<Event> = events(NOW).into_iter().filter(|e| events(STALE).contains(e)).collect();
    for facts in all_facts() {
        for machine in reachable(&facts).keys() {
            for event in events(STALE).into_iter().filter(|e| !timeless.contains(e)) {
                assert_eq!(next(machine, &event, &facts), None, "{machine:?} moved by stale {event:?}");
            }
        }
    }
    assert!(!timeless.contains(&deadline()));
}

#[test]
fn a_foreign_order_or_case_does_not_end_this_one() {
    let facts = facts(true, false);
    let installing = Machine { at: At::Installing { order: ORDERS[0], attempt: 1 }, data: Data::Clean, repairs: 2 };
    for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Refused] {
        let report = Event::InstallReported { epoch: NOW, order: ORDERS[1], outcome };
        assert_eq!(next(&installing, &report, &facts), None);
    }
    let repairing = Machine { at: At::Repairing { case: CASES[0], rung: 0 }, data: Data::Owned, repairs: 1 };
    assert_eq!(next(&repairing, &Event::RungDone { epoch: NOW, case: CASES[1], ok: true }, &facts), None);
}

/// Sixth fault of the sketch: a ticket closed when a state was entered, not when something was proved.
#[test]
fn a_held_machine_keeps_its_ticket_and_an_order_is_done_only_in_service() {
    for facts in all_facts() {
        for (machine, out) in reachable(&facts) {
            let plan = MachineLife::plan(&machine, &facts);
            assert_eq!(
                plan.want.ticket.is_some(),
                matches!(machine.at, At::Held { .. } | At::Unidentified),
                "{machine:?}"
            );
            assert_eq!(plan.want.order == OrderWant::Done, machine.at == At::InService, "{machine:?}");
            if let At::Checking { of: Check::Order(_), .. } = machine.at {
                for (event, then) in out.iter().filter(|(_, then)| then.at == At::InService) {
                    assert!(matches!(event, Event::CheckJudged { passed: true, .. }), "{event:?} -> {then:?}");
                }
            }
        }
    }
}

#[test]
fn only_an_order_that_runs_may_write_and_only_in_its_own_state() {
    for facts in all_facts() {
        for machine in reachable(&facts).keys() {
            let plan = MachineLife::plan(machine, &facts);
            let running = matches!(plan.want.order, OrderWant::Running(_));
            let installs = matches!(plan.want.agent, AgentTask::Install(_));
            assert_eq!(running, matches!(machine.at, At::Installing { .. }), "{machine:?}");
            assert_eq!(installs, running, "{machine:?}");
            let wipes = plan.want.agent == AgentTask::Wipe;
            assert_eq!(wipes, matches!(machine.at, At::Releasing { .. } | At::Retiring { .. }), "{machine:?}");
        }
    }
}

/// A wipe or a flash in flight is ended by its own result, its deadline or the sight of an impostor, who could report a
/// wipe that never was; none of these powers anything off.
#[test]
fn a_wipe_ends_only_by_its_own_result_and_its_failure_powers_nothing_off() {
    for facts in all_facts() {
        for (machine, out) in reachable(&facts) {
            if !matches!(machine.at, At::Releasing { .. } | At::Retiring { .. }) {
                continue;
            }
            for (event, then) in out {
                assert!(
                    matches!(
                        event,
                        Event::WipeReported { .. }
                            | Event::DeadlinePassed { .. }
                            | Event::ActFailed { .. }
                            | Event::ImpostorSeen
                    ),
                    "{event:?}"
                );
                if !matches!(event, Event::WipeReported { ok: true, .. }) {
                    assert!(matches!(then.at, At::Held { .. }));
                    assert!(MachineLife::plan(&then, &facts).acts.is_empty());
                }
            }
        }
    }
}

#[test]
fn what_is_not_ours_is_only_watched() {
    for facts in all_facts() {
        let observed = Machine::observed();
        let plan = MachineLife::plan(&observed, &facts);
        assert_eq!((plan.wait, plan.want.boot, plan.acts.len()), (Wait::World, BootTarget::Disk, 0));
        for event in events(NOW) {
            if let Some(then) = next(&observed, &event, &facts) {
                assert!(matches!(event, Event::Claimed | Event::AdoptAsked), "{event:?} -> {then:?}");
            }
        }
    }
}

#[test]
fn nothing_is_powered_without_a_bmc_of_ours_and_a_machine_at_rest_boots_its_disk() {
    let without = facts(false, false);
    for machine in reachable(&without).keys() {
        assert!(MachineLife::plan(machine, &without).acts.is_empty());
    }
    for facts in all_facts() {
        for machine in reachable(&facts).keys() {
            let plan = MachineLife::plan(machine, &facts);
            let rests = matches!(
                machine.at,
                At::Observed
                    | At::Expected
                    | At::Ready
                    | At::InService
                    | At::Held { .. }
                    | At::Retired
                    | At::Draining { .. }
            );
            if rests {
                assert_eq!(plan.want.boot, BootTarget::Disk, "{machine:?}");
                assert!(plan.acts.is_empty(), "{machine:?}");
            }
        }
    }
}

#[test]
fn a_write_in_flight_is_stopped_before_anything_else_begins() {
    for facts in all_facts() {
        for (machine, out) in reachable(&facts) {
            if !matches!(machine.at, At::Installing { .. }) {
                continue;
            }
            for (event, then) in out {
                let write_has_ended = matches!(event, Event::InstallReported { .. });
                let none_began = matches!((&machine.at, &then.at), (At::Installing { order: of, .. }, At::Installing { order, .. })
                    if of == order && facts.order.is_some_and(|open| open.order == *order && !open.begun));
                assert!(
                    write_has_ended || none_began || matches!(then.at, At::Stopping { .. }),
                    "{event:?} leads from a running write to {then:?}"
                );
            }
        }
    }
}

/// A boot may be lost on its way: a packet, a daemon that starts anew. As long as nobody was allowed to write, that costs
/// an attempt and no person.
#[test]
fn an_install_whose_boot_was_lost_is_begun_again_and_one_that_may_have_written_is_stopped() {
    let installing =
        |attempt| Machine { at: At::Installing { order: ORDERS[0], attempt }, data: Data::Clean, repairs: 2 };
    let again = next(&installing(1), &deadline(), &untouched());
    assert_eq!(again, Some(installing(2)));
    let begun = OpenOrder { order: ORDERS[0], reimage: false, begun: true };
    let other = OpenOrder { order: ORDERS[1], reimage: false, begun: false };
    for (attempt, order) in [(2, untouched().order), (1, Some(begun)), (1, Some(other)), (1, None)] {
        let then = next(&installing(attempt), &deadline(), &Facts { order, ..untouched() }).unwrap();
        assert_eq!(then.at, At::Stopping { then: After::Hold(Hold::InstallFailed) }, "{attempt} {order:?}");
    }
}

#[test]
fn states_are_stored_as_json_that_reads_back() {
    for facts in all_facts() {
        for machine in reachable(&facts).keys() {
            let text = serde_json::to_string(machine).unwrap();
            assert_eq!(&serde_json::from_str::<Machine>(&text).unwrap(), machine, "{text}");
        }
    }
}

/// JSON of earlier versions, kept for ever: what is stored must still read.
#[test]
fn states_stored_by_earlier_versions_still_read() {
    for line in include_str!("golden/machines.jsonl").lines() {
        serde_json::from_str::<Machine>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

fn event_label(event: &Event) -> String {
    let text = serde_json::to_value(event).unwrap();
    let flag =
        ["passed", "ok", "known", "reimage", "dedicated"].iter().find_map(|f| Some((f, text.get(f)?.as_bool()?)));
    let name = text["event"].as_str().unwrap().to_string();
    let detail = match (flag, text.get("outcome").or(text.get("to"))) {
        (Some((flag, yes)), _) => format!(" ({}{flag})", if yes { "" } else { "not " }),
        (_, Some(serde_json::Value::String(word))) => format!(" ({word})"),
        (_, Some(_)) => " (repair)".to_string(),
        _ => String::new(),
    };
    name + &detail
}

fn life_md() -> String {
    let mut waits: BTreeMap<&str, (String, BTreeSet<String>)> = BTreeMap::new();
    let mut edges: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let mut counts = (0, 0);
    for facts in all_facts() {
        let graph = reachable(&facts);
        counts = (counts.0.max(graph.len()), counts.1.max(graph.values().map(Vec::len).sum()));
        for (machine, out) in graph {
            let plan = MachineLife::plan(&machine, &facts);
            let wait = match plan.wait {
                Wait::Person => "a person",
                Wait::World => "the world",
                Wait::Until(_) => "its answer, or the deadline",
            };
            let row = waits.entry(machine.label()).or_insert((wait.to_string(), BTreeSet::new()));
            row.1.extend(plan.acts.iter().map(|act| match act.what {
                What::BootInto { target: BootTarget::Agent } => "boot into the agent".to_string(),
                What::BootInto { target: BootTarget::Disk } => "boot into its disk".to_string(),
                What::PowerOff => "power off".to_string(),
                What::PowerCycle => "power cycle".to_string(),
            }));
            for (event, then) in out {
                let to = match then.at {
                    At::Draining { then: after } | At::Stopping { then: after } => {
                        format!("{} (then {})", then.label(), after.label())
                    }
                    _ => then.label().to_string(),
                };
                edges.entry(machine.label()).or_default().entry(event_label(&event)).or_default().insert(to);
            }
        }
    }
    let mut text = format!(
        "# The life of a machine\n\nWritten by the walk over the whole graph (`cargo nextest run -p muster-lifecycle`); never edited by hand.\n\
         The walk used two attempts, two rungs, two repairs, two orders and two cases: {} states, {} edges.\n\n\
         | state | moves next | acts on entering |\n|---|---|---|\n",
        counts.0, counts.1
    );
    for (state, (wait, acts)) in &waits {
        let acts =
            if acts.is_empty() { "none".to_string() } else { acts.iter().cloned().collect::<Vec<_>>().join(" or ") };
        text += &format!("| {state} | {wait} | {acts} |\n");
    }
    text += "\nActs need a BMC of ours; without one the machine is waited for.\n";
    for (state, out) in &edges {
        text += &format!("\n## {state}\n\n| event | leads to |\n|---|---|\n");
        for (event, to) in out {
            text += &format!("| {event} | {} |\n", to.iter().cloned().collect::<Vec<_>>().join(", "));
        }
    }
    text
}

#[test]
fn life_md_is_what_the_walk_writes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LIFE.md");
    let ours = life_md();
    if std::env::var_os("MUSTER_BLESS").is_some() {
        std::fs::write(file, &ours).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(written == ours, "docs/LIFE.md is not what the graph says; MUSTER_BLESS=1 writes it anew");
}
