//! Boot options 3 and 5, byte by byte (IPMI 2.0, table 28-14; B8.3).

use crate::{BootDevice, BootOrder, BootSet, Fault};
use muster_names::FirmwareMode;

const VALID: u8 = 0x80;
const PERSISTENT: u8 = 0x40;
const EFI: u8 = 0x20;

/// Parameter 3: keep the override although the machine takes longer than 60 s to ask for it.
pub const KEEP_LONGER: [u8; 2] = [0x03, 0x08];
/// Asks for parameter 5.
pub const FLAGS: [u8; 3] = [0x05, 0x00, 0x00];

/// Parameter 5 with the override. The EFI bit is always stated: without it some boards fall back to legacy boot. Where
/// `remote_disk` holds ([`crate::Quirk::UefiDiskAsRemote`]), 08h under UEFI is a disk that is not there.
pub fn flags(order: BootOrder, remote_disk: bool) -> Result<[u8; 6], Fault> {
    let device = match order.device {
        BootDevice::None => 0x00,
        BootDevice::Pxe => 0x04,
        BootDevice::Disk if remote_disk && order.mode == FirmwareMode::Uefi => 0x24,
        BootDevice::Disk => 0x08,
        BootDevice::Cd => 0x14,
        BootDevice::Http => return Err(Fault::NotOffered("UEFI HTTP boot over IPMI".into())),
    };
    let efi = if order.mode == FirmwareMode::Uefi { EFI } else { 0 };
    let lasting = if order.once { 0 } else { PERSISTENT };
    Ok([0x05, VALID | efi | lasting, device, 0x00, 0x00, 0x00])
}

/// The answer to [`FLAGS`]: parameter version, parameter number, then the flags. A `partial` answer tells the device
/// alone and leaves the flags at zero, "valid" among them.
pub fn read(answer: &[u8], partial: bool) -> Option<BootSet> {
    let [_, number, first, second, ..] = answer else { return None };
    if number & 0x7f != 0x05 {
        return None;
    }
    let set = first & VALID != 0;
    let device = match second & 0x3c {
        _ if !set && !partial => Some(BootDevice::None),
        0x00 => Some(BootDevice::None),
        0x04 => Some(BootDevice::Pxe),
        // 24h, which some boards use for a disk under UEFI, differs in bit 5 only.
        0x08 | 0x24 => Some(BootDevice::Disk),
        0x14 => Some(BootDevice::Cd),
        _ => None,
    };
    let mode = if first & EFI != 0 { FirmwareMode::Uefi } else { FirmwareMode::Bios };
    Some(BootSet {
        device,
        mode: set.then_some(mode),
        once: set.then_some(first & PERSISTENT == 0),
        said: format!("boot flags {first:02x}h {second:02x}h"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b8_3_the_bytes_of_each_override() {
        use BootDevice::{Cd, Disk, None as Nothing, Pxe};
        use FirmwareMode::{Bios, Uefi};
        let rows = [
            (Pxe, Uefi, true, [0xa0, 0x04]),
            (Pxe, Uefi, false, [0xe0, 0x04]),
            (Pxe, Bios, true, [0x80, 0x04]),
            (Pxe, Bios, false, [0xc0, 0x04]),
            (Disk, Uefi, true, [0xa0, 0x08]),
            (Disk, Bios, true, [0x80, 0x08]),
            (Cd, Uefi, true, [0xa0, 0x14]),
            (Nothing, Uefi, true, [0xa0, 0x00]),
        ];
        for (device, mode, once, expected) in rows {
            let order = BootOrder { device, mode, once };
            let flags = flags(order, false).unwrap();
            assert_eq!(flags, [0x05, expected[0], expected[1], 0, 0, 0], "{order:?}");
            let read = read(&[&[0x01], &flags[..]].concat(), false).unwrap();
            assert_eq!((read.device, read.mode, read.once), (Some(device), Some(mode), Some(once)));
        }
        assert_eq!(KEEP_LONGER, [0x03, 0x08]);
    }

    #[test]
    fn b8_3_the_disk_of_a_uefi_boot_is_remote_media_to_some() {
        let disk = BootOrder { device: BootDevice::Disk, mode: FirmwareMode::Uefi, once: true };
        let sent = flags(disk, true).unwrap();
        assert_eq!(sent, [0x05, 0xa0, 0x24, 0, 0, 0]);
        assert_eq!(read(&[&[0x01], &sent[..]].concat(), false).unwrap().device, Some(BootDevice::Disk));
        let bios = flags(BootOrder { mode: FirmwareMode::Bios, ..disk }, true).unwrap();
        assert_eq!(bios, [0x05, 0x80, 0x08, 0, 0, 0]);
    }

    #[test]
    fn flags_that_are_not_valid_override_nothing() {
        let answer = [0x01, 0x05, 0x20, 0x04, 0, 0, 0];
        let strict = read(&answer, false).unwrap();
        assert_eq!((strict.device, strict.mode, strict.once), (Some(BootDevice::None), None, None));
        let partial = read(&answer, true).unwrap();
        assert_eq!((partial.device, partial.mode, partial.once), (Some(BootDevice::Pxe), None, None));
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = read(&bytes, false);
        }
    }
}
