//! What the offsets of a sensor's states and events mean, in words, and how bad each is (IPMI 2.0, tables 42-1 to 42-3).
//!
//! A row lists the words of offsets 0, 1, 2, ... A word that ends in `!` is a warning, in `!!` critical; `?` says that
//! one cannot know without knowing the board; `-` has no meaning. The rest is fine.

use crate::{Health, ReadingKind};

/// A state by the sensor's type, its event/reading type and the offset.
pub fn state(kind: u8, event: u8, offset: u8) -> Option<(String, Health)> {
    let table = if event == 0x6f { SPECIFIC } else { GENERIC };
    let of = if event == 0x6f { kind } else { event };
    let (_, row) = table.iter().find(|(number, _)| *number == of)?;
    let words = row.split('|').nth(usize::from(offset)).filter(|words| *words != "-")?;
    let health = match words {
        _ if words.ends_with("!!") => Health::Critical,
        _ if words.ends_with('!') => Health::Warning,
        _ if words.ends_with('?') => Health::Unknown,
        _ => Health::Ok,
    };
    Some((words.trim_end_matches(['!', '?']).to_string(), health))
}

/// The thresholds that are crossed, from the last byte of a reading.
pub fn crossed(bits: u8) -> impl Iterator<Item = (&'static str, Health)> {
    CROSSED
        .iter()
        .zip(0_u8..)
        .filter(move |(_, bit)| bits & 1 << bit != 0)
        .map(|((words, health), _)| (*words, *health))
}

const CROSSED: [(&str, Health); 6] = [
    ("below lower non-critical", Health::Warning),
    ("below lower critical", Health::Critical),
    ("below lower non-recoverable", Health::Critical),
    ("above upper non-critical", Health::Warning),
    ("above upper critical", Health::Critical),
    ("above upper non-recoverable", Health::Critical),
];

/// The name of a sensor type.
pub fn type_name(kind: u8) -> Option<&'static str> {
    TYPES.split('|').nth(usize::from(kind)).filter(|name| *name != "-")
}

/// What a sensor looks at, by its type and its unit.
pub fn reading_kind(kind: u8, unit: Option<&str>) -> ReadingKind {
    match (kind, unit) {
        (0x08 | 0x09 | 0x0b | 0x03 | 0x02, Some("watts")) => ReadingKind::Power,
        (0x01, _) => ReadingKind::Temperature,
        (0x02, _) => ReadingKind::Voltage,
        (0x03, _) => ReadingKind::Current,
        (0x04 | 0x0a, _) => ReadingKind::Fan,
        (0x05, _) => ReadingKind::Intrusion,
        (0x07, _) => ReadingKind::Processor,
        (0x08, _) => ReadingKind::PowerSupply,
        (0x0c, _) => ReadingKind::Memory,
        (0x0d, _) => ReadingKind::Drive,
        (0x29, _) => ReadingKind::Battery,
        _ => ReadingKind::Other,
    }
}

const TYPES: &str = "-|temperature|voltage|current|fan|physical security|platform security|processor|power supply|\
    power unit|cooling device|measurement|memory|drive slot|POST memory resize|system firmware|event logging|\
    watchdog|system event|critical interrupt|button|board|microcontroller|add-in card|chassis|chipset|other FRU|\
    cable|terminator|boot initiated|boot error|operating system boot|operating system stop|slot|ACPI power state|\
    watchdog|platform alert|entity presence|monitor chip|LAN|management subsystem|battery|session audit|\
    version change|FRU state";

/// By event/reading type.
const GENERIC: &[(u8, &str)] = &[
    (
        0x01,
        "lower non-critical going low!|lower non-critical going high|lower critical going low!!|\
         lower critical going high|lower non-recoverable going low!!|lower non-recoverable going high|\
         upper non-critical going low|upper non-critical going high!|upper critical going low|\
         upper critical going high!!|upper non-recoverable going low|upper non-recoverable going high!!",
    ),
    (0x02, "idle|active|busy"),
    (0x03, "deasserted|asserted?"),
    (0x04, "no failure predicted|failure predicted!"),
    (0x05, "limit not exceeded|limit exceeded!"),
    (0x06, "performance met|performance lags!"),
    (
        0x07,
        "ok|became non-critical!|became critical!!|became non-recoverable!!|fell to non-critical!|\
         fell to critical!!|non-recoverable!!|monitored|informational",
    ),
    (0x08, "absent|present"),
    (0x09, "disabled|enabled"),
    (0x0a, "running|in test|power off|on line|off line|off duty|degraded!|power save|install error!"),
    (
        0x0b,
        "fully redundant|redundancy lost!|redundancy degraded!|not redundant, enough left!|\
         not redundant, enough again!|not redundant, not enough left!!|redundancy degraded from full!|\
         redundancy degraded from none!",
    ),
    (0x0c, "D0|D1|D2|D3"),
];

/// By sensor type, for event/reading type 6fh.
const SPECIFIC: &[(u8, &str)] = &[
    (
        0x05,
        "chassis open!|drive bay open!|I/O card area open!|processor area open!|LAN cable lost!|\
         undocked without leave!|fan area open!",
    ),
    (
        0x06,
        "front panel lockout violated!|wrong user password before boot!|wrong setup password before boot!|\
         wrong network boot password!|wrong password before boot!|wrong out-of-band password!",
    ),
    (
        0x07,
        "IERR!!|thermal trip!!|built-in self test failed!!|hang in POST!!|startup failed!!|configuration error!|\
         uncorrectable processor error!!|present|disabled!|terminator present|throttled!|\
         uncorrectable machine check!!|correctable machine check!",
    ),
    (
        0x08,
        "present|failure!!|failure predicted!|input lost!!|input lost or out of range!!|\
         input out of range, but present!|configuration error!|inactive",
    ),
    (
        0x09,
        "off|power cycle|240 VA power down!!|interlock power down!|AC lost!!|soft power control failed!!|failure!!|\
         failure predicted!",
    ),
    (
        0x0c,
        "correctable ECC!|uncorrectable ECC!!|parity error!!|scrub failed!!|memory device disabled!|\
         correctable ECC limit reached!|present|configuration error!|spare|throttled!|critical over-temperature!!",
    ),
    (
        0x0d,
        "present|fault!!|failure predicted!|hot spare|consistency check|in critical array!!|in failed array!!|\
         rebuilding!|rebuild aborted!!",
    ),
    (0x0f, "firmware error!!|firmware hang!!|firmware progress"),
    (
        0x10,
        "logging of correctable memory errors disabled!|logging of an event type disabled!|log cleared|\
         all logging disabled!|log full!|log almost full!|logging of correctable machine checks disabled!",
    ),
    (
        0x11,
        "BIOS reset!|operating system reset!|operating system shutdown!|operating system power down!|\
         operating system power cycle!|diagnostic interrupt!|expired!|about to expire!",
    ),
    (
        0x12,
        "reconfigured|OEM boot event|hardware failure of unknown kind!!|entry in auxiliary log|\
         platform event action|clock set",
    ),
    (
        0x13,
        "diagnostic interrupt!|bus timeout!!|I/O channel check!!|software NMI!|PCI PERR!!|PCI SERR!!|\
         EISA fail-safe timeout!|correctable bus error!|uncorrectable bus error!!|fatal NMI!!|fatal bus error!!|\
         bus degraded!",
    ),
    (0x14, "power button|sleep button|reset button|FRU latch open|FRU service requested"),
    (0x19, "soft power control failed!!|thermal trip!!"),
    (0x1b, "connected|configuration error!"),
    (
        0x1d,
        "power up|hard reset|warm reset|PXE boot by user|automatic boot to diagnostics|\
         hard reset by operating system|warm reset by operating system|restart",
    ),
    (
        0x1e,
        "no bootable medium!|diskette not bootable!|PXE server not found!|invalid boot sector!|\
         boot selection timed out!",
    ),
    (
        0x1f,
        "booted from A:|booted from C:|booted over PXE|booted to diagnostics|booted from CD|booted from ROM|booted|\
         installation started|installation completed|installation aborted!|installation failed!",
    ),
    (
        0x20,
        "critical stop at start!!|critical stop while running!!|graceful stop|graceful shutdown|\
         shutdown by platform event|agent does not answer!",
    ),
    (
        0x21,
        "fault!!|identify|device attached|ready to attach|ready to remove|power off|removal requested|interlock|\
         disabled|holds a spare",
    ),
    (
        0x22,
        "S0, working|S1|S2|S3|S4|S5, soft off|S4 or S5, soft off|G3, mechanical off|asleep|G1, asleep|\
         S5 by override|legacy on|legacy off|-|unknown?",
    ),
    (0x23, "expired!|hard reset!|power down!|power cycle!|-|-|-|-|about to expire!"),
    (0x24, "page sent|LAN alert sent|event trap sent|SNMP trap sent"),
    (0x25, "present|absent|disabled"),
    (0x27, "heartbeat lost!|heartbeat"),
    (
        0x28,
        "sensor access degraded!|controller access degraded!|controller off line!!|controller unavailable!!|\
         sensor failure!|FRU failure!",
    ),
    (0x29, "low!|failed!!|present"),
    (0x2a, "session opened|session closed|wrong user or password!|account disabled after wrong passwords!"),
    (
        0x2b,
        "hardware changed|firmware or software changed|hardware incompatible!|firmware incompatible!|\
         hardware not supported!|firmware not supported!|hardware change succeeded|firmware change succeeded",
    ),
    (
        0x2c,
        "not installed|inactive|activation requested|activating|active|deactivation requested|deactivating|\
         contact lost!",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn health(kind: u8, offset: u8) -> Health {
        state(kind, 0x6f, offset).unwrap_or_else(|| panic!("{kind:02x}.{offset:x}")).1
    }

    #[test]
    fn b8_sel_what_maps_to_a_fault_is_bad_and_what_does_not_is_fine() {
        let critical: &[(u8, &[u8])] = &[
            (0x07, &[0, 1, 2, 3, 4, 6, 11]),
            (0x0c, &[1, 2, 3, 10]),
            (0x08, &[1, 3, 4]),
            (0x09, &[4, 5, 6]),
            (0x0d, &[1, 5, 6, 8]),
            (0x13, &[4, 5, 8, 10]),
            (0x20, &[1]),
        ];
        let warning: &[(u8, &[u8])] = &[
            (0x07, &[5, 8, 10, 12]),
            (0x0c, &[0, 5]),
            (0x08, &[2, 6]),
            (0x1e, &[0, 2]),
            (0x23, &[1, 2, 3]),
            (0x05, &[0]),
            (0x10, &[4, 5]),
            (0x29, &[0]),
        ];
        let fine: &[(u8, &[u8])] = &[(0x07, &[7]), (0x08, &[0]), (0x0c, &[6]), (0x0d, &[0]), (0x1f, &[6, 7, 8])];
        for (rows, expected) in [(critical, Health::Critical), (warning, Health::Warning), (fine, Health::Ok)] {
            for (kind, offsets) in rows {
                for offset in *offsets {
                    assert_eq!(health(*kind, *offset), expected, "{kind:02x}.{offset:x}");
                }
            }
        }
    }

    #[test]
    fn rows_are_as_long_as_the_specification_says() {
        assert_eq!(state(0x01, 0x01, 9), Some(("upper critical going high".into(), Health::Critical)));
        assert_eq!(state(0x01, 0x01, 11).unwrap().0, "upper non-recoverable going high");
        assert_eq!(state(0x23, 0x6f, 8).unwrap().0, "about to expire");
        assert_eq!(state(0x23, 0x6f, 5), None);
        assert_eq!(state(0xc0, 0x6f, 0), None);
        assert_eq!(state(0x07, 0x70, 0), None, "an OEM's event type");
        assert_eq!(state(0x01, 0x03, 1), Some(("asserted".into(), Health::Unknown)));
        assert_eq!((type_name(0x2c), type_name(0x2d), type_name(0)), (Some("FRU state"), None, None));
        assert_eq!(type_name(0x23), Some("watchdog"));
    }

    #[test]
    fn every_crossed_threshold_is_told() {
        let told: Vec<_> = crossed(0b011000).collect();
        assert_eq!(told, [("above upper non-critical", Health::Warning), ("above upper critical", Health::Critical)]);
        assert_eq!(crossed(0xc0).count(), 0);
    }
}
