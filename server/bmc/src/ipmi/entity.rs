//! What a sensor or FRU belongs to (IPMI 2.0, section 39, table 43-13).

use std::fmt;

/// Kind of thing, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    pub id: u8,
    pub instance: u8,
}

/// From here on instances are counted within one controller instead of the whole system.
const DEVICE_RELATIVE: u8 = 0x60;

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = self.instance & 0x7f;
        let instance = instance.checked_sub(DEVICE_RELATIVE).unwrap_or(instance);
        match NAMES.split('|').nth(usize::from(self.id)).filter(|name| !name.is_empty()) {
            Some(name) => write!(f, "{name} {instance}"),
            None => write!(f, "entity {:02x}h {instance}", self.id),
        }
    }
}

/// By number; the first three mean nothing in particular.
const NAMES: &str = "|||processor|disk|peripheral bay|system management module|system board|memory module|\
    processor module|power supply|add-in card|front panel board|back panel board|power system board|drive backplane|\
    expansion board|other system board|processor board|power unit|power module|power board|chassis back panel board|\
    chassis|sub-chassis|other chassis board|drive bay|peripheral bay|device bay|fan|cooling unit|cable|memory device|\
    system management software|system firmware|operating system|system bus|group|remote management device|\
    environment|battery|processing blade|connectivity switch|processor and memory module|I/O module|\
    processor and I/O module|controller firmware|IPMI channel|PCI bus|PCIe bus|SCSI bus|SATA or SAS bus|\
    front-side bus|clock||air inlet|||||||||air inlet|processor|system board";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_told_in_words() {
        let told = |id, instance| Entity { id, instance }.to_string();
        assert_eq!((told(0x0a, 2), told(0x03, 0x61)), ("power supply 2".to_string(), "processor 1".to_string()));
        assert_eq!((told(0x20, 1), told(0x1d, 3)), ("memory device 1".to_string(), "fan 3".to_string()));
        assert_eq!((told(0x37, 1), told(0x40, 1)), ("air inlet 1".to_string(), "air inlet 1".to_string()));
        assert_eq!((told(0x41, 1), told(0x42, 1)), ("processor 1".to_string(), "system board 1".to_string()));
        assert_eq!((told(0x00, 1), told(0xd0, 0xe2)), ("entity 00h 1".to_string(), "entity d0h 2".to_string()));
    }
}
