//! What the IPMI client reads of sensors, parts and events: from our simulator, with what goes wrong on the way, and
//! from OpenIPMI's. `ipmitool` reads the same BMCs, and both have to come to the same.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{
    Bmcs, Hardware, Health, Kind, Log, LogMark, LogTime, Protocol, Reading, ReadingKind, Secret, SelEvent, Settings,
    Since, Target,
};
use muster_catalog::Catalog;
use muster_names::Power;
use muster_tests::ipmi_peers::{OpenIpmi, ipmitool, needs};
use muster_tests::ipmi_sim::{self, Factors, IpmiSim, Mishap, Store, Traits};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const GET_RECORD: (u8, u8) = (0x0a, 0x23);

fn target(address: impl ToString) -> Target {
    Target::new(Protocol::Ipmi, address.to_string(), "admin", Secret::new("secret"))
}

fn engine() -> Bmcs {
    Bmcs::new(Settings { answer: Duration::from_millis(150), rest_after: 100, ..Settings::default() })
}

async fn server(change: impl FnOnce(&mut Store)) -> (IpmiSim, Bmcs, Target) {
    let sim = IpmiSim::start(Traits::default()).await;
    sim.state().store = ipmi_sim::store();
    sim.state().on = true;
    change(&mut sim.state().store);
    let target = target(sim.address);
    (sim, engine(), target)
}

async fn read_log(bmcs: &Bmcs, target: &Target, after: Option<&LogMark>) -> Log {
    let [log] =
        bmcs.event_log(target, after.map(std::slice::from_ref).unwrap_or_default()).await.unwrap().try_into().unwrap();
    log
}

async fn inspect(bmcs: &Bmcs, target: &Target) -> Hardware {
    bmcs.inspect(target, &Catalog::default(), &|_| {}).await.unwrap()
}

fn named<'a>(readings: &'a [Reading], name: &str) -> &'a Reading {
    readings.iter().find(|reading| reading.name == name).unwrap_or_else(|| panic!("no {name} in {readings:?}"))
}

// ---- sensors

#[tokio::test]
async fn sensors_are_told_with_value_unit_state_and_health() {
    let (_sim, bmcs, target) = server(|_| ()).await;
    let readings = bmcs.sensors(&target).await.unwrap();
    assert_eq!(readings.len(), 13, "{readings:?}");
    let measured = [
        ("CPU1 Temp", ReadingKind::Temperature, 61.0, "celsius"),
        ("Inlet Temp", ReadingKind::Temperature, -5.0, "celsius"),
        ("P12V", ReadingKind::Voltage, 12.0, "volts"),
        ("FAN1", ReadingKind::Fan, 5400.0, "rpm"),
        ("PS1 Input Power", ReadingKind::Power, 220.0, "watts"),
        ("FAN3", ReadingKind::Fan, 40.0, "percent"),
    ];
    for (name, kind, value, unit) in measured {
        let reading = named(&readings, name);
        assert_eq!((reading.kind, reading.value, reading.unit.as_deref()), (kind, Some(value), Some(unit)), "{name}");
        assert_eq!((reading.health, reading.state.is_empty()), (Health::Ok, true), "{name}");
    }
    let silent = named(&readings, "FAN2");
    assert_eq!(
        (silent.value, silent.health, &silent.state[..]),
        (None, Health::Unknown, &["no reading".to_string()][..])
    );
    let failed = named(&readings, "PSU2");
    assert_eq!(
        (failed.health, &failed.state[..]),
        (Health::Critical, &["present".to_string(), "input lost".into()][..])
    );
    assert_eq!(named(&readings, "PSU1").health, Health::Ok);
    assert_eq!(named(&readings, "Intrusion").health, Health::Warning);
}

#[tokio::test]
async fn a_crossed_threshold_and_a_sensor_that_is_gone_are_told() {
    let (_sim, bmcs, target) = server(|store| {
        store.readings.insert(1, vec![99, 0xc0, 0xd0]);
        store.readings.remove(&4);
        store.readings.insert(3, vec![200]);
    })
    .await;
    let readings = bmcs.sensors(&target).await.unwrap();
    let hot = named(&readings, "CPU1 Temp");
    assert_eq!((hot.value, hot.health), (Some(99.0), Health::Critical));
    assert_eq!(hot.state, ["above upper critical"]);
    for (name, why) in [("FAN1", "not there"), ("P12V", "its answer is too short")] {
        let reading = named(&readings, name);
        assert_eq!((reading.value, reading.health), (None, Health::Unknown), "{name}");
        assert_eq!(reading.state, [why]);
    }
}

#[tokio::test]
async fn factors_that_differ_with_the_reading_are_asked_for() {
    let (sim, bmcs, target) = server(|store| {
        let mut record = ipmi_sim::full(2, (1, 1, 1, 3, 1), "Curved", (0, 1), Factors(1, 0, 0, 0), (5, 95));
        record[23] = 0x70;
        store.records = vec![record];
        store.factors.insert(1, vec![0x3e, 3, 0, 2, 0, 0, 0]);
    })
    .await;
    assert_eq!(named(&bmcs.sensors(&target).await.unwrap(), "Curved").value, Some(185.0));
    assert!(sim.state().done.contains(&(0x04, 0x23, vec![1, 0x3d])));
}

#[tokio::test]
async fn b8_6_a_lost_reservation_begins_the_record_again() {
    let (_sim, bmcs, target) = server(|_| ()).await;
    let expected = bmcs.sensors(&target).await.unwrap();
    let (sim, bmcs, target) = server(|store| store.cancels = 12).await;
    assert_eq!(bmcs.sensors(&target).await.unwrap(), expected);
    assert_eq!(sim.state().store.cancels, 0);
}

#[tokio::test]
async fn b8_6_a_reservation_that_is_always_lost_means_later() {
    let (_sim, bmcs, target) = server(|store| store.cancels = usize::MAX).await;
    let error = bmcs.sensors(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Later, "busy"));
    assert!(error.fault().to_string().contains("reservation"), "{}", error.fault());
}

#[tokio::test]
async fn b8_6_a_bmc_that_cannot_answer_at_length_is_asked_for_less() {
    let (_sim, bmcs, target) = server(|_| ()).await;
    let (sensors, hardware) = (bmcs.sensors(&target).await.unwrap(), inspect(&bmcs, &target).await);
    let (_sim, bmcs, target) = server(|store| store.longest = 6).await;
    assert_eq!(bmcs.sensors(&target).await.unwrap(), sensors);
    assert_eq!(inspect(&bmcs, &target).await, hardware);
}

#[tokio::test]
async fn b8_6_records_are_read_again_only_when_the_repository_has_changed() {
    let (sim, bmcs, target) = server(|_| ()).await;
    let asked = || sim.state().carried_out(GET_RECORD.0, GET_RECORD.1);
    bmcs.sensors(&target).await.unwrap();
    let first = asked();
    assert!(first > 0);
    bmcs.sensors(&target).await.unwrap();
    assert_eq!(asked(), first);
    let one = ipmi_sim::full(1, (1, 1, 1, 3, 1), "Only", (0, 1), Factors(1, 0, 0, 0), (5, 95));
    sim.state().store.change_records(vec![one]);
    let readings = bmcs.sensors(&target).await.unwrap();
    assert_eq!((readings.len(), readings[0].name.as_str()), (1, "Only"));
}

#[tokio::test]
async fn records_that_lead_in_a_circle_are_read_once() {
    let (_sim, bmcs, target) = server(|store| {
        let again = store.records[0].clone();
        store.records.push(again);
    })
    .await;
    assert_eq!(bmcs.sensors(&target).await.unwrap().len(), 13);
}

#[tokio::test]
async fn b8_5_a_repository_whose_last_record_leads_on_ends_at_its_count() {
    let (_sim, bmcs, target) = server(|store| store.leads_on = Some(0x7777)).await;
    assert_eq!(bmcs.sensors(&target).await.unwrap().len(), 13);
    assert_eq!(inspect(&bmcs, &target).await.gaps, inspect_plain().await.gaps);
    // One that leads nowhere before that has lost something, and says so.
    let (_sim, bmcs, target) = server(|store| {
        store.leads_on = Some(0x7777);
        store.counts_more = 1;
    })
    .await;
    assert_eq!(bmcs.sensors(&target).await.unwrap_err().kind(), Kind::Refused);
}

async fn inspect_plain() -> Hardware {
    let (_sim, bmcs, target) = server(|_| ()).await;
    inspect(&bmcs, &target).await
}

#[tokio::test]
async fn a_controller_without_a_repository_tells_its_own_sensors() {
    let (sim, bmcs, target) = server(|store| store.device_records = true).await;
    assert_eq!(bmcs.sensors(&target).await.unwrap().len(), 13);
    assert_eq!(sim.state().carried_out(GET_RECORD.0, GET_RECORD.1), 0);
}

#[tokio::test]
async fn b8_1_lost_replies_change_nothing_of_what_is_read() {
    let (_sim, bmcs, target) = server(|_| ()).await;
    let (sensors, log) = (bmcs.sensors(&target).await.unwrap(), read_log(&bmcs, &target, None).await);
    let (sim, bmcs, target) = server(|_| ()).await;
    let mishaps =
        [Mishap::LoseReply, Mishap::Fine, Mishap::Triple, Mishap::LoseRequest, Mishap::Code(0xc0), Mishap::Bend];
    sim.plan(mishaps.into_iter().cycle().take(18));
    assert_eq!(bmcs.sensors(&target).await.unwrap(), sensors);
    sim.plan([Mishap::Fine, Mishap::LoseReply, Mishap::Fine, Mishap::LoseRequest]);
    assert_eq!(read_log(&bmcs, &target, None).await.entries, log.entries);
}

// ---- the event log

#[tokio::test]
async fn b8_7_the_log_is_read_once_and_then_what_is_new() {
    let (sim, bmcs, target) = server(|_| ()).await;
    let log = read_log(&bmcs, &target, None).await;
    assert_eq!((log.name.as_str(), log.since, log.more, log.overflowed), ("SEL", Since::Beginning, false, false));
    let told: Vec<_> = log.entries.iter().map(|entry| (entry.id.as_str(), entry.time, entry.health)).collect();
    let expected = [
        ("0001", LogTime::SinceStart(0x12), Health::Ok),
        ("0002", LogTime::Clock(0x6000_0100), Health::Critical),
        ("0004", LogTime::Clock(0x6000_0200), Health::Critical),
    ];
    assert_eq!(told, expected);
    assert_eq!(log.entries[1].message, "power supply PSU2: input lost");
    assert_eq!(log.entries[2].message, "temperature CPU1 Temp: upper critical going high, 96 celsius (threshold 95)");
    assert_eq!(log.entries[1].raw, ipmi_sim::store().log[1]);
    let event = SelEvent {
        generator: 0x0020,
        sensor_type: 0x08,
        sensor: 0x31,
        event_type: 0x6f,
        offset: 3,
        deassert: false,
        data: [0x03, 0xff, 0xff],
    };
    assert_eq!(log.entries[1].event, Some(event));

    let mark = log.mark.unwrap();
    let idle = read_log(&bmcs, &target, Some(&mark)).await;
    assert_eq!((idle.since, idle.entries.len(), idle.mark.as_ref()), (Since::Mark, 0, Some(&mark)));
    // Ids need not rise.
    sim.state().store.log.push(ipmi_sim::event(3, 0x6000_0300, 0x08, 0x31, 0xef, [0x03, 0xff, 0xff]));
    let new = read_log(&bmcs, &target, Some(&mark)).await;
    assert_eq!((new.since, new.entries.len(), new.entries[0].id.as_str()), (Since::Mark, 1, "0003"));
    assert_eq!(
        (new.entries[0].message.as_str(), new.entries[0].health),
        ("power supply PSU2: input lost, ended", Health::Ok)
    );
    assert_eq!(sim.state().carried_out(0x0a, 0x47), 0, "nobody clears a log");
}

#[tokio::test]
async fn b8_7_a_cleared_or_wrapped_log_is_noticed_and_read_anew() {
    let (sim, bmcs, target) = server(|_| ()).await;
    let mark = read_log(&bmcs, &target, None).await.mark.unwrap();
    // Wrapped past the mark: its id is gone.
    sim.state().store.log = vec![ipmi_sim::event(9, 0x6000_0400, 8, 0x31, 0x6f, [0, 0xff, 0xff])];
    let log = read_log(&bmcs, &target, Some(&mark)).await;
    assert_eq!((log.since, log.entries.len()), (Since::Broken, 1));
    // Cleared, and so full again that the marked id stands once more, for something else.
    sim.state().store.clear_log(0x6000_0500);
    let again = (1..=5).map(|id| ipmi_sim::event(id, 0x6000_0500 + u32::from(id), 8, 0x31, 0x6f, [0, 0xff, 0xff]));
    sim.state().store.log.extend(again);
    let log = read_log(&bmcs, &target, Some(&mark)).await;
    assert_eq!((log.since, log.entries.len()), (Since::Broken, 5));
    sim.state().store.clear_log(0x6000_0600);
    let log = read_log(&bmcs, &target, Some(&mark)).await;
    assert_eq!((log.since, log.entries.len(), log.mark), (Since::Broken, 0, None));
    assert_eq!(read_log(&bmcs, &target, None).await.since, Since::Beginning);
}

#[tokio::test]
async fn b8_7_the_clocks_difference_is_told_and_so_is_an_overflow() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let (_sim, bmcs, target) = server(|store| (store.clock, store.overflowed) = (now - 7200, true)).await;
    let log = read_log(&bmcs, &target, None).await;
    let offset = log.clock_offset.unwrap();
    assert!((-7210..=-7199).contains(&offset), "{offset}");
    assert!(log.overflowed);
}

#[tokio::test]
async fn a_long_log_comes_in_parts_and_a_circle_ends() {
    let (sim, bmcs, target) = server(|store| {
        store.log = (1..=700).map(|id| ipmi_sim::event(id, 0x6000_0000, 8, 0x31, 0x6f, [0, 0xff, 0xff])).collect();
    })
    .await;
    let first = read_log(&bmcs, &target, None).await;
    assert_eq!((first.entries.len(), first.more), (512, true));
    let second = read_log(&bmcs, &target, first.mark.as_ref()).await;
    assert_eq!((second.entries.len(), second.more, second.since), (188, false, Since::Mark));
    assert_eq!(second.entries[0].id, "0201");
    let two = sim.state().store.log[..2].to_vec();
    sim.state().store.log = [&two[..], &two[..1]].concat();
    let circle = read_log(&bmcs, &target, None).await;
    assert!((2..=3).contains(&circle.entries.len()), "{}", circle.entries.len());
}

#[tokio::test]
async fn a_bmc_without_log_or_repository_says_so() {
    let sim = IpmiSim::start(Traits::default()).await;
    let (bmcs, target) = (engine(), target(sim.address));
    sim.plan([Mishap::Fine, Mishap::Code(0xc1)]);
    let error = bmcs.event_log(&target, &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Refused, "not-offered"));
    sim.plan([Mishap::Code(0xc1), Mishap::Code(0xc1)]);
    let error = bmcs.sensors(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Refused, "not-offered"));
}

// ---- the inventory

#[tokio::test]
async fn the_inventory_has_every_part_once_and_nothing_that_is_absent() {
    let (_sim, bmcs, target) = server(|_| ()).await;
    let hardware = inspect(&bmcs, &target).await;
    assert_eq!(hardware.manufacturer.as_deref(), Some("ACME"));
    assert_eq!((hardware.model.as_deref(), hardware.serial.as_deref()), (Some("R-2"), Some("SN-0042")));
    assert_eq!(hardware.uuid.as_deref(), Some("00112233-4455-4677-8809-0a0b0c0d0e0f"));
    assert_eq!(hardware.power, Some(Power::On));
    assert_eq!((hardware.bmc.model.as_deref(), hardware.bmc.firmware.as_deref()), (Some("BMC"), Some("3.47")));
    assert_eq!(hardware.bmc.mac.unwrap().to_string(), "02:10:20:30:40:50");
    let supplies: Vec<_> = hardware.power_supplies.iter().collect();
    assert_eq!(supplies.len(), 2, "an inventory and a presence sensor are one supply: {supplies:?}");
    for (supply, slot, serial, health) in
        [(supplies[0], "PSU1", "PS-SN-1", "OK"), (supplies[1], "PSU2", "PS-SN-2", "Critical")]
    {
        assert_eq!((supply.slot.as_deref(), supply.serial.as_deref()), (Some(slot), Some(serial)));
        assert_eq!((supply.model.as_deref(), supply.watts), (Some("PWS-920P"), Some(920)));
        assert_eq!(supply.health.as_deref(), Some(health));
    }
    let memory: Vec<_> = hardware.memory.iter().map(|one| (one.slot.as_deref(), one.serial.as_deref())).collect();
    assert_eq!(memory, [(Some("DIMM_A1"), Some("359A0CF1")), (Some("DIMM_B1"), Some("359A0CF2"))]);
    assert_eq!((hardware.memory[0].size_mib, hardware.memory[0].speed_mts), (Some(32768), Some(2666)));
    let processors: Vec<_> = hardware.processors.iter().map(|one| one.slot.as_deref()).collect();
    assert_eq!(processors, [Some("CPU1")]);
    assert_eq!(hardware.drives.iter().map(|one| one.bay.as_deref()).collect::<Vec<_>>(), [Some("HDD1")]);
    let fans: Vec<_> = hardware.fans.iter().map(|fan| (fan.slot.as_deref(), fan.rpm, fan.percent)).collect();
    assert_eq!(fans, [(Some("FAN1"), Some(5400), None), (Some("FAN3"), None, Some(40))]);
    let gaps: Vec<_> = hardware.gaps.iter().map(|gap| gap.at.as_str()).collect();
    assert_eq!(gaps, ["fans", "nics"], "{:?}", hardware.gaps);
    assert!(hardware.gaps[0].reason.contains("FAN2"));
}

#[tokio::test]
async fn no_more_of_an_inventory_is_read_than_it_fills() {
    let (sim, bmcs, target) = server(|store| store.records.clear()).await;
    inspect(&bmcs, &target).await;
    let pieces = sim.state().carried_out(0x0a, 0x11);
    assert!(pieces <= 5, "{pieces} pieces of an inventory of 48 bytes on a chip of 2048");
}

#[tokio::test]
async fn an_empty_list_never_stands_for_an_empty_machine() {
    let sim = IpmiSim::start(Traits::default()).await;
    let hardware = inspect(&engine(), &target(sim.address)).await;
    assert_eq!((hardware.serial, hardware.power), (None, Some(Power::Off)));
    let gaps: Vec<_> = hardware.gaps.iter().map(|gap| gap.at.as_str()).collect();
    assert_eq!(gaps, ["processors", "memory", "drives", "power_supplies", "fans", "nics"]);
}

#[tokio::test]
async fn a_part_that_cannot_be_read_is_a_gap_and_a_copy_is_no_second_part() {
    let (_sim, bmcs, target) = server(|store| {
        // A second number and a second record for the same supply, and one whose inventory is rubbish.
        let copy = store.frus[&1].clone();
        store.frus.insert(7, copy);
        store.frus.insert(8, vec![0xff; 64]);
        store.records.push(ipmi_sim::fru_locator(0x40, 7, 0x0a, 9, "PSU1 copy"));
        store.records.push(ipmi_sim::fru_locator(0x41, 1, 0x0a, 1, "PSU1 FRU"));
        store.records.push(ipmi_sim::fru_locator(0x42, 8, 0x0a, 3, "PSU3 FRU"));
    })
    .await;
    let hardware = inspect(&bmcs, &target).await;
    assert_eq!(hardware.power_supplies.len(), 2, "{:?}", hardware.power_supplies);
    let gap = hardware.gaps.iter().find(|gap| gap.at == "PSU3").unwrap();
    assert!(gap.reason.contains("format"), "{gap:?}");
}

#[tokio::test]
async fn supplies_without_an_inventory_are_told_by_their_sensors() {
    let (_sim, bmcs, target) = server(|store| {
        store.frus.retain(|device, _| *device == 0);
        store.readings.insert(0x31, vec![0, 0xc0, 0x00, 0x80]);
    })
    .await;
    let hardware = inspect(&bmcs, &target).await;
    let supplies: Vec<_> = hardware.power_supplies.iter().map(|one| (one.slot.as_deref(), &one.serial)).collect();
    assert_eq!(supplies, [(Some("PSU1"), &None)]);
}

#[tokio::test]
async fn parts_that_are_all_called_alike_are_told_apart() {
    let (_sim, bmcs, target) = server(|store| {
        store.records.retain(|record| record[3] == 0x01 || record[3] == 0x12);
        store.frus.retain(|device, _| matches!(device, 0 | 3 | 4));
        for instance in 1..=2 {
            let number = 0x2f + instance;
            let of = (number, 0x08, 0x6f, 0x0a, instance);
            store.records.push(ipmi_sim::compact(0x40 + u16::from(instance), of, "Status", 1));
            store.readings.insert(number, vec![0, 0xc0, 0x01, 0x80]);
            let id = 0x50 + u16::from(instance);
            store.records.push(ipmi_sim::fru_locator(id, 2 + instance, 0x20, instance, "DIMM"));
        }
    })
    .await;
    let readings = bmcs.sensors(&target).await.unwrap();
    for name in ["Status (power supply 1)", "Status (power supply 2)"] {
        assert_eq!(named(&readings, name).state, ["present"]);
    }
    let hardware = inspect(&bmcs, &target).await;
    let supplies: Vec<_> = hardware.power_supplies.iter().map(|one| one.slot.as_deref().unwrap()).collect();
    assert_eq!(supplies, ["power supply 1", "power supply 2"]);
    let memory: Vec<_> = hardware.memory.iter().map(|one| one.slot.as_deref().unwrap()).collect();
    assert_eq!(memory, ["memory device 1", "memory device 2"]);
    let log = read_log(&bmcs, &target, None).await;
    assert_eq!(log.entries[1].message, "power supply Status (power supply 2): input lost");
}

#[tokio::test]
async fn an_order_gets_between_the_turns_of_a_long_reading() {
    let (sim, bmcs, target) = server(|_| ()).await;
    let reading = tokio::spawn({
        let (bmcs, target) = (bmcs.clone(), target.clone());
        async move { bmcs.inspect(&target, &Catalog::default(), &|_| {}).await }
    });
    while sim.state().carried_out(0x00, 0x01) == 0 {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::On);
    reading.await.unwrap().unwrap();
    let done = sim.state().done.clone();
    let last = |net_fn, command| done.iter().rposition(|(f, c, _)| (*f, *c) == (net_fn, command)).unwrap();
    assert!(last(0x00, 0x01) < last(0x0a, 0x11), "the power was asked for only after the whole inventory");
}

// ---- what goes wrong

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bent_answers_end_in_what_can_be_read_or_in_a_fault() {
    for seed in 0..40 {
        let (_sim, bmcs, target) = server(|store| store.bends = Some(seed * 7919)).await;
        let reading = async {
            let outcomes = (
                bmcs.sensors(&target).await,
                bmcs.inspect(&target, &Catalog::default(), &|_| {}).await,
                bmcs.event_log(&target, &[]).await,
            );
            for error in [outcomes.0.err(), outcomes.1.err(), outcomes.2.err()].into_iter().flatten() {
                assert!(!error.may_have_happened() && error.kind() != Kind::Unreachable, "seed {seed}: {error:?}");
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reading)
            .await
            .unwrap_or_else(|_| panic!("seed {seed} has no end"));
    }
}

// ---- peers that know nothing of us

/// Names, numbers and units as `ipmitool -c sdr list` prints them, against ours. Returns how many were compared.
fn agree(readings: &[Reading], printed: &str) -> usize {
    let units =
        [("degrees C", "celsius"), ("Volts", "volts"), ("RPM", "rpm"), ("Watts", "watts"), ("percent", "percent")];
    let mut compared = 0;
    for line in printed.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, value, unit, state, ..] = fields[..] else { continue };
        let Some(ours) = readings.iter().find(|reading| reading.name == name) else {
            panic!("{name} is not among ours: {line}")
        };
        if let Ok(value) = value.parse::<f64>() {
            let found = ours.value.unwrap_or_else(|| panic!("{name} has a value: {line}"));
            assert!((found - value).abs() <= 0.005 * value.abs().max(1.0), "{line}: ours is {found}");
            let expected = units.iter().find(|(theirs, _)| *theirs == unit).map(|(_, ours)| *ours);
            assert_eq!(ours.unit.as_deref(), expected, "{line}");
        }
        match state {
            "ok" => assert!(ours.health != Health::Unknown, "{line}: {ours:?}"),
            "ns" => assert_eq!(ours.value, None, "{line}"),
            "cr" | "nr" | "ucr" | "lcr" => assert_eq!(ours.health, Health::Critical, "{line}"),
            other => panic!("ipmitool's {other} of {line}"),
        }
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipmitool_reads_of_our_simulator_what_we_read() {
    needs("ipmitool", "ipmitool");
    let (sim, bmcs, target) = server(|store| {
        store.readings.insert(3, vec![0xe0, 0xc0, 0xd0]);
    })
    .await;
    let port = sim.address.port();
    let readings = bmcs.sensors(&target).await.unwrap();
    assert_eq!(agree(&readings, &ipmitool("17", port, "-c sdr list full").await), 7);

    let log = read_log(&bmcs, &target, None).await;
    let printed = ipmitool("17", port, "sel list").await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), log.entries.len(), "{printed}");
    for (line, words) in lines.iter().zip([
        ["1 |", "Pre-Init", "Event Logging", "Log area reset/cleared"],
        ["2 |", "Power Supply #0x31", "Power Supply AC lost", "Asserted"],
        ["4 |", "Temperature #0x01", "Upper Critical going high", "Asserted"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{words:?} in {line}");
    }
    let printed = ipmitool("17", port, "fru print").await;
    let hardware = inspect(&bmcs, &target).await;
    let told = [hardware.manufacturer, hardware.model, hardware.serial];
    let supplies = hardware.power_supplies.into_iter().flat_map(|one| [one.manufacturer, one.model, one.serial]);
    for text in told.into_iter().chain(supplies).flatten() {
        assert!(printed.contains(&format!(": {text}\n")), "{text} in {printed}");
    }
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!(" {byte:#04x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openipmis_simulator_is_read_as_ipmitool_reads_it() {
    needs("ipmi_sim", "openipmi");
    needs("ipmitool", "ipmitool");
    let mut emulation = "sel_enable 0x20 1000 0x0a\n".to_string();
    let server = ipmi_sim::store();
    for record in server.records.iter().filter(|record| record[3] == 0x01) {
        let (number, kind, value) = (record[7], record[12], server.readings[&record[7]][0]);
        emulation += &format!("sensor_add 0x20 0 {number} {kind} 1\nsensor_set_value 0x20 0 {number} {value} 0\n");
        emulation += &format!("sensor_set_event_support 0x20 0 {number} enable scanning per-state 000000000000000 ");
        emulation += "000000000000000 000000000000000 000000000000000\n";
        emulation += &format!("main_sdr_add 0x20{}\n", bytes(record));
    }
    for record in server.records.iter().filter(|record| record[3] == 0x11 && record[6] == 1) {
        emulation += &format!("main_sdr_add 0x20{}\n", bytes(record));
    }
    for (device, fru) in server.frus.iter().filter(|(device, _)| **device < 2) {
        emulation += &format!("mc_add_fru_data 0x20 {device} 256 data{}\n", bytes(&fru[..128]));
    }
    for record in &server.log {
        emulation += &format!("sel_add 0x20 0x02{}\n", bytes(&record[3..]));
    }
    let peer = OpenIpmi::start(&emulation);
    let (bmcs, target) = (engine(), target(format!("127.0.0.1:{}", peer.port)));
    for _ in 0..20 {
        if bmcs.power(&target).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let readings = bmcs.sensors(&target).await.unwrap();
    assert_eq!(agree(&readings, &ipmitool("3", peer.port, "-c sdr list full").await), 7, "{readings:?}");
    assert_eq!(named(&readings, "P12V").value, Some(12.0));
    let log = read_log(&bmcs, &target, None).await;
    let printed = ipmitool("3", peer.port, "sel list").await;
    assert_eq!(printed.lines().count(), log.entries.len(), "{printed}");
    assert_eq!(log.entries.len(), 3);
    assert!(log.entries[1].message.contains("input lost"), "{:?}", log.entries[1]);
    let hardware = inspect(&bmcs, &target).await;
    assert_eq!((hardware.model.as_deref(), hardware.serial.as_deref()), (Some("R-2"), Some("SN-0042")));
    let supplies: Vec<_> = hardware.power_supplies.iter().map(|one| (one.serial.as_deref(), one.watts)).collect();
    assert_eq!(supplies, [(Some("PS-SN-1"), Some(920))]);
    assert_eq!(hardware.fans.len(), 3, "{:?}", hardware.fans);
}
