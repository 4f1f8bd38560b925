//! Power procedures against a scripted BMC, broken at every call: what counts is the BMC's own record of what really
//! changed, not what it answered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use muster_names::BootTarget;
use std::sync::Mutex;
use tokio::time::Instant;

const BOOT: What = What::BootInto { target: BootTarget::Agent };

/// How one order is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Good,
    /// Done, and the answer lost.
    AnswerLost,
    /// Not done, and the answer lost all the same.
    Swallowed,
    /// Turned away for the moment.
    Busy,
    Refused,
}

#[derive(Debug)]
struct Bmc {
    power: Power,
    /// The order under way, and when it takes effect.
    coming: Option<(Power, Instant)>,
    slow: Duration,
    /// Fates of coming orders, and of coming readings; good when used up.
    orders: Vec<Fate>,
    readings: Vec<Result<Power, ()>>,
    /// What really changed.
    effects: Vec<Power>,
    /// Every call, in words.
    calls: Vec<&'static str>,
    pointed: Option<Lead>,
    /// Loses what was set when the machine goes off, so many times.
    loses: u32,
    /// Fates of coming orders of one way, before the others.
    ways: Vec<(Lead, Fate)>,
}

struct Scripted(Mutex<Bmc>);

impl Scripted {
    fn new(power: Power) -> Self {
        Self(Mutex::new(Bmc {
            power,
            coming: None,
            slow: Duration::from_millis(1),
            orders: vec![],
            readings: vec![],
            effects: vec![],
            calls: vec![],
            pointed: None,
            loses: 0,
            ways: vec![],
        }))
    }

    fn with(self, set: impl FnOnce(&mut Bmc)) -> Self {
        set(&mut self.0.lock().unwrap());
        self
    }

    fn effects(&self) -> Vec<Power> {
        self.0.lock().unwrap().settle();
        self.0.lock().unwrap().effects.clone()
    }
}

impl Bmc {
    fn settle(&mut self) {
        if let Some((power, at)) = self.coming
            && at <= Instant::now()
        {
            self.coming = None;
            if self.power != power {
                self.power = power;
                if power == Power::Off && self.loses > 0 {
                    self.loses -= 1;
                    self.pointed = None;
                }
                self.effects.push(power);
            }
        }
    }

    fn fate(&mut self) -> Fate {
        if self.orders.is_empty() { Fate::Good } else { self.orders.remove(0) }
    }

    fn answer(fate: Fate) -> Result<(), HandError> {
        let error = |may_have_happened, later| HandError { reason: format!("{fate:?}"), may_have_happened, later };
        match fate {
            Fate::Good => Ok(()),
            Fate::AnswerLost | Fate::Swallowed => Err(error(true, true)),
            Fate::Busy => Err(error(false, true)),
            Fate::Refused => Err(error(false, false)),
        }
    }
}

impl Hand for Scripted {
    fn power<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<Power, HandError>> {
        let mut bmc = self.0.lock().unwrap();
        bmc.settle();
        bmc.calls.push("power");
        let read = if bmc.readings.is_empty() { Ok(bmc.power) } else { bmc.readings.remove(0) };
        let silence = || HandError { reason: "silence".into(), may_have_happened: false, later: true };
        Box::pin(async move { read.map_err(|()| silence()) })
    }

    fn set_power<'a>(&'a self, _: &'a BmcOf, power: Power) -> BoxFuture<'a, Result<(), HandError>> {
        let mut bmc = self.0.lock().unwrap();
        bmc.settle();
        bmc.calls.push(if power == Power::Off { "off" } else { "on" });
        let fate = bmc.fate();
        if matches!(fate, Fate::Good | Fate::AnswerLost) {
            bmc.coming = Some((power, Instant::now() + bmc.slow));
        }
        Box::pin(async move { Bmc::answer(fate) })
    }

    fn set_boot<'a>(
        &'a self,
        _: &'a BmcOf,
        lead: &'a Lead,
        _: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        let mut bmc = self.0.lock().unwrap();
        bmc.calls.push("boot");
        let of_way = bmc.ways.iter().position(|(way, _)| way == lead);
        let fate = match of_way {
            Some(at) => bmc.ways[at].1,
            None => bmc.fate(),
        };
        if matches!(fate, Fate::Good | Fate::AnswerLost) {
            bmc.pointed = Some(lead.clone());
        }
        Box::pin(async move { Bmc::answer(fate) })
    }

    fn holds_boot<'a>(&'a self, _: &'a BmcOf, lead: &'a Lead) -> BoxFuture<'a, Result<Option<bool>, HandError>> {
        let mut bmc = self.0.lock().unwrap();
        bmc.settle();
        let held = bmc.pointed.as_ref() == Some(lead);
        Box::pin(async move { Ok(Some(held)) })
    }

    fn eject<'a>(&'a self, _: &'a BmcOf, _: &'a str) -> BoxFuture<'a, Result<(), HandError>> {
        Box::pin(async { Ok(()) })
    }
}

fn access() -> BmcOf {
    let access = muster_catalog::BmcAccess {
        protocol: muster_catalog::Protocol::Ipmi,
        address: "127.0.0.1:623".into(),
        user: "u".into(),
        password_file: Some("p".into()),
        profile: None,
    };
    BmcOf { machine: muster_names::MachineId(1), access }
}

/// The stored phase, and how many more marks the courier lives for.
struct Row(Mutex<(Phase, usize)>);

impl Row {
    fn immortal() -> Self {
        Self(Mutex::new((Phase::Start, usize::MAX)))
    }
}

/// What was said of the ways: those tried, the one taken, and those refused before it.
#[derive(Default)]
struct Told(Mutex<(Vec<Lead>, Option<Lead>, Vec<Refused>)>, Mutex<Vec<bool>>);

impl Log for Told {
    fn tries<'a>(&'a self, lead: &'a Lead) -> BoxFuture<'a, bool> {
        self.0.lock().unwrap().0.push(lead.clone());
        Box::pin(async { true })
    }

    fn outlived(&self, held: bool) -> BoxFuture<'_, ()> {
        self.1.lock().unwrap().push(held);
        Box::pin(async {})
    }

    fn took<'a>(&'a self, lead: &'a Lead, refused: &'a [Refused]) -> BoxFuture<'a, bool> {
        let mut told = self.0.lock().unwrap();
        (told.1, told.2) = (Some(lead.clone()), refused.to_vec());
        Box::pin(async { true })
    }
}

async fn run(hand: &Scripted, what: &What, row: &Row) -> Result<(), Stop> {
    by(hand, what, row, &[Lead::Pxe], &Told::default()).await
}

async fn by(hand: &Scripted, what: &What, row: &Row, leads: &[Lead], log: &Told) -> Result<(), Stop> {
    let bmc = access();
    let mark = |phase: Phase| -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let mut row = row.0.lock().unwrap();
            if row.1 == 0 {
                return false;
            }
            *row = (phase, row.1 - 1);
            true
        })
    };
    let begun = row.0.lock().unwrap().0;
    let procedure = Procedure { hand, bmc: &bmc, mode: None, leads, mark: &mark, log, patience: Patience::default() };
    procedure.run(what, begun).await
}

async fn once(hand: &Scripted, what: &What) -> Result<(), Stop> {
    run(hand, what, &Row::immortal()).await
}

#[tokio::test(start_paused = true)]
async fn a_boot_is_set_then_off_confirmed_twice_then_on() {
    let hand = Scripted::new(Power::On);
    assert_eq!(once(&hand, &BOOT).await, Ok(()));
    assert_eq!(hand.effects(), [Power::Off, Power::On]);
    let calls = hand.0.lock().unwrap().calls.clone();
    let off = calls.iter().position(|call| *call == "off").unwrap();
    let on = calls.iter().position(|call| *call == "on").unwrap();
    assert_eq!(calls[0], "boot");
    assert!(calls[off..on].iter().filter(|call| **call == "power").count() >= 2, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_override_that_goes_with_the_power_is_set_again_while_the_machine_is_off() {
    let (hand, told) = (Scripted::new(Power::On).with(|bmc| bmc.loses = 1), Told::default());
    assert_eq!(by(&hand, &BOOT, &Row::immortal(), &[Lead::Pxe], &told).await, Ok(()));
    assert_eq!(hand.0.lock().unwrap().pointed, Some(Lead::Pxe));
    assert_eq!(*told.1.lock().unwrap(), [false]);
    let calls = hand.0.lock().unwrap().calls.clone();
    let at = |word: &str| calls.iter().rposition(|call| *call == word).unwrap();
    assert!(at("off") < at("boot") && at("boot") < at("on"), "{calls:?}");
    let (hand, told) = (Scripted::new(Power::On), Told::default());
    assert_eq!(by(&hand, &BOOT, &Row::immortal(), &[Lead::Pxe], &told).await, Ok(()));
    assert_eq!(*told.1.lock().unwrap(), [true]);
    let (hand, told) = (Scripted::new(Power::Off), Told::default());
    assert_eq!(by(&hand, &BOOT, &Row::immortal(), &[Lead::Pxe], &told).await, Ok(()));
    assert!(told.1.lock().unwrap().is_empty(), "a machine that was off proves nothing");
}

fn http() -> Lead {
    Lead::Http("http://10.0.0.1/boot/ipxe.efi".into())
}

fn disc() -> Lead {
    Lead::Disc("http://10.0.0.1/boot/ipxe.iso".into())
}

#[tokio::test(start_paused = true)]
async fn a_way_that_the_bmc_refuses_leads_to_the_next_before_anything_is_powered() {
    let (hand, told) = (Scripted::new(Power::On).with(|bmc| bmc.ways = vec![(http(), Fate::Refused)]), Told::default());
    assert_eq!(by(&hand, &BOOT, &Row::immortal(), &[http(), disc(), Lead::Pxe], &told).await, Ok(()));
    let (tried, took, refused) = told.0.into_inner().unwrap();
    assert_eq!((tried, took), (vec![http(), disc()], Some(disc())));
    assert_eq!(refused, [Refused { lead: http(), why: "Refused".into() }]);
    assert_eq!((hand.effects(), hand.0.lock().unwrap().pointed.clone()), (vec![Power::Off, Power::On], Some(disc())));
}

#[tokio::test(start_paused = true)]
async fn ways_that_are_all_refused_power_nothing_and_are_all_named() {
    let ways = vec![(http(), Fate::Refused), (disc(), Fate::Refused)];
    let (hand, told) = (Scripted::new(Power::On).with(|bmc| bmc.ways = ways), Told::default());
    let ended = by(&hand, &BOOT, &Row::immortal(), &[http(), disc()], &told).await;
    assert!(
        matches!(&ended, Err(Stop::Failed(why)) if why.contains("by HTTP: ") && why.contains("by virtual media: "))
    );
    assert_eq!((hand.effects(), told.0.into_inner().unwrap().1), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_silent_or_busy_is_not_asked_for_another_way() {
    for fate in [Fate::AnswerLost, Fate::Swallowed, Fate::Busy] {
        let (hand, told) = (Scripted::new(Power::On).with(|bmc| bmc.ways = vec![(http(), fate)]), Told::default());
        let ended = by(&hand, &BOOT, &Row::immortal(), &[http(), Lead::Pxe], &told).await;
        assert!(matches!(ended, Err(Stop::Failed(_))), "{fate:?} {ended:?}");
        assert_eq!((hand.effects(), told.0.into_inner().unwrap().0), (vec![], vec![http()]), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_is_only_switched_on() {
    let hand = Scripted::new(Power::Off);
    assert_eq!(once(&hand, &BOOT).await, Ok(()));
    assert_eq!(hand.effects(), [Power::On]);
}

#[tokio::test(start_paused = true)]
async fn whatever_befalls_one_order_nothing_takes_effect_twice() {
    for broken in 0..3 {
        for fate in [Fate::AnswerLost, Fate::Swallowed, Fate::Busy, Fate::Refused] {
            let mut orders = vec![Fate::Good; broken];
            orders.push(fate);
            let hand = Scripted::new(Power::On).with(|bmc| bmc.orders = orders);
            let ended = once(&hand, &BOOT).await;
            let effects = hand.effects();
            assert!([Power::Off, Power::On].starts_with(&effects), "{broken} {fate:?} {effects:?}");
            match fate {
                Fate::AnswerLost | Fate::Busy => {
                    assert_eq!(ended, Ok(()), "{broken} {fate:?}");
                    assert_eq!(effects, [Power::Off, Power::On]);
                }
                Fate::Refused => assert!(matches!(ended, Err(Stop::Failed(_))), "{broken} {ended:?}"),
                // A boot device is set again; a power order is not repeated: the reading decides.
                _ if broken == 0 => assert_eq!(ended, Ok(())),
                _ => assert!(matches!(ended, Err(Stop::Uncertain(_))), "{broken} {ended:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reset_while_the_boot_device_is_not_known_to_be_set() {
    for fate in [Fate::Swallowed, Fate::AnswerLost, Fate::Busy] {
        let hand = Scripted::new(Power::On).with(|bmc| bmc.orders = vec![fate; 9]);
        assert!(matches!(once(&hand, &BOOT).await, Err(Stop::Failed(_))));
        assert_eq!(hand.effects(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_power_is_never_taken_for_off() {
    for readings in [vec![Ok(Power::Unknown); 20], [Ok(Power::Off), Ok(Power::On)].repeat(10)] {
        for what in [BOOT, What::PowerOff, What::PowerCycle] {
            let hand = Scripted::new(Power::On).with(|bmc| bmc.readings.clone_from(&readings));
            assert!(matches!(once(&hand, &what).await, Err(Stop::Uncertain(_))), "{what:?}");
            assert_eq!(hand.effects(), [], "{what:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_odd_reading_is_looked_at_again() {
    for odd in [Ok(Power::Off), Ok(Power::Unknown), Err(())] {
        let hand = Scripted::new(Power::On).with(|bmc| bmc.readings = vec![odd]);
        assert_eq!(once(&hand, &BOOT).await, Ok(()), "{odd:?}");
        assert_eq!(hand.effects(), [Power::Off, Power::On]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_silent_while_the_power_changes_is_waited_for() {
    let silent = |good: usize| [vec![Ok(Power::On); good], vec![Err(()); 30]].concat();
    let hand = Scripted::new(Power::On).with(|bmc| bmc.readings = silent(2));
    assert_eq!(once(&hand, &BOOT).await, Ok(()));
    assert_eq!(hand.effects(), [Power::Off, Power::On]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_change_of_power_is_waited_for_and_one_that_never_comes_is_uncertain() {
    let hand = Scripted::new(Power::On).with(|bmc| bmc.slow = Duration::from_secs(40));
    assert_eq!(once(&hand, &BOOT).await, Ok(()));
    assert_eq!(hand.effects(), [Power::Off, Power::On]);
    let hand = Scripted::new(Power::On).with(|bmc| bmc.slow = Duration::from_secs(100_000));
    let begun = Instant::now();
    assert!(matches!(once(&hand, &BOOT).await, Err(Stop::Uncertain(_))));
    assert!(begun.elapsed() < Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn power_off_ends_with_off_confirmed_and_never_switches_on() {
    let hand = Scripted::new(Power::On).with(|bmc| bmc.orders = vec![Fate::AnswerLost]);
    assert_eq!(once(&hand, &What::PowerOff).await, Ok(()));
    assert_eq!(hand.effects(), [Power::Off]);
}

/// A courier that dies at any phase boundary, or at any await between them, and one that carries on from the row.
#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_moment_the_next_courier_ends_with_one_off_and_one_on() {
    for slow in [Duration::from_millis(1), Duration::from_secs(7)] {
        for what in [BOOT, What::PowerCycle] {
            for millis in (0..40_000).step_by(250) {
                let hand = Scripted::new(Power::On).with(|bmc| bmc.slow = slow);
                let row = Row::immortal();
                // Dropping the future is the crash: the row keeps the last phase that was durable.
                let _ = tokio::time::timeout(Duration::from_millis(millis), run(&hand, &what, &row)).await;
                tokio::time::sleep(Duration::from_secs(120)).await;
                assert_eq!(run(&hand, &what, &row).await, Ok(()), "{what:?} after {millis} ms");
                assert_eq!(hand.effects(), [Power::Off, Power::On], "{what:?} after {millis} ms");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_courier_that_lost_its_claim_sends_nothing_more() {
    for marks in 0..3 {
        let hand = Scripted::new(Power::On);
        let row = Row(Mutex::new((Phase::Start, marks)));
        assert_eq!(run(&hand, &BOOT, &row).await, Err(Stop::Lost));
        let calls = hand.0.lock().unwrap().calls.clone();
        assert_eq!(calls.contains(&"boot"), marks > 0, "{calls:?}");
        assert_eq!(calls.contains(&"off"), marks > 1, "{calls:?}");
        assert!(!calls.contains(&"on"), "{calls:?}");
    }
}

/// A freeze while a slow BMC is being read, or between two tries of one order.
#[tokio::test(start_paused = true)]
async fn what_is_forbidden_while_the_power_is_read_is_not_sent_after_it() {
    let forbidden_at = |millis: u64, readings: Vec<Result<Power, ()>>, orders: Vec<Fate>| async move {
        let hand = Scripted::new(Power::On).with(|bmc| (bmc.readings, bmc.orders) = (readings, orders));
        let bmc = access();
        let begun = Instant::now();
        let allowed = |_: Phase| -> BoxFuture<'_, bool> {
            Box::pin(async move { begun.elapsed() < Duration::from_millis(millis) })
        };
        let (patience, log) = (Patience::default(), Told::default());
        let procedure =
            Procedure { hand: &hand, bmc: &bmc, mode: None, leads: &[], mark: &allowed, log: &log, patience };
        let ended = procedure.run(&What::PowerOff, Phase::Start).await;
        let calls = hand.0.lock().unwrap().calls.clone();
        (ended, calls)
    };
    // The first pair of readings disagrees, so the order would leave after three seconds.
    let (ended, calls) = forbidden_at(1_500, vec![Ok(Power::Off), Ok(Power::On)], vec![]).await;
    assert_eq!((ended, calls.contains(&"off")), (Err(Stop::Lost), false));
    let (ended, calls) = forbidden_at(1_500, vec![], vec![Fate::Busy; 9]).await;
    assert_eq!((ended, calls.iter().filter(|call| **call == "off").count()), (Err(Stop::Lost), 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_courier_s_last_phase_with_unclear_power_sends_nothing() {
    let hand = Scripted::new(Power::Off).with(|bmc| bmc.readings = vec![Ok(Power::Unknown); 20]);
    let row = Row(Mutex::new((Phase::On, usize::MAX)));
    assert!(matches!(run(&hand, &BOOT, &row).await, Err(Stop::Uncertain(_))));
    assert!(!hand.0.lock().unwrap().calls.contains(&"on"));
}

#[test]
fn a_phase_reads_back_from_its_word_and_an_unknown_word_is_the_last() {
    for phase in [Phase::Start, Phase::SetBoot, Phase::Off, Phase::On] {
        assert_eq!(Phase::from_word(phase.word()), phase);
    }
    assert_eq!(Phase::from_word("a phase of a newer version"), Phase::On);
}
