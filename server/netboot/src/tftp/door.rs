//! Who may come in: the caps that keep one client, or one forger, from taking all places, and the sources that no
//! server should ever answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Addresses remembered for "once a second"; when full, nobody new is told anything until some expire.
const TOLD_MAX: usize = 4096;
const TOLD_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Transfers at once for one address.
    pub per_ip: u32,
    /// Transfers at once for all.
    pub global: u32,
}

impl Default for Caps {
    /// 1,024 windows of 64 KiB are 64 MiB in flight at worst, and a hall of 500 machines powers on within it.
    fn default() -> Self {
        Caps { per_ip: 4, global: 1024 }
    }
}

/// Why nobody more is let in now. The request is dropped; the client asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    ThisAddress,
    Everybody,
}

#[derive(Debug, Default)]
pub struct Door {
    caps: Caps,
    inside: BTreeMap<IpAddr, u32>,
    total: u32,
    told: BTreeMap<IpAddr, Duration>,
}

impl Door {
    pub fn new(caps: Caps) -> Door {
        Door { caps, ..Door::default() }
    }

    /// # Errors
    /// [`Full`] when this address or the whole server has no place left.
    pub fn enter(&mut self, ip: IpAddr) -> Result<(), Full> {
        if self.inside.get(&ip).copied().unwrap_or(0) >= self.caps.per_ip {
            return Err(Full::ThisAddress);
        }
        if self.total >= self.caps.global {
            return Err(Full::Everybody);
        }
        *self.inside.entry(ip).or_insert(0) += 1;
        self.total += 1;
        Ok(())
    }

    pub fn leave(&mut self, ip: IpAddr) {
        if let Some(count) = self.inside.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.inside.remove(&ip);
            }
            self.total = self.total.saturating_sub(1);
        }
    }

    pub fn inside(&self) -> u32 {
        self.total
    }

    /// Whether this address may be sent an error now: once a second, so that a forged source is not flooded (A2.1).
    pub fn may_tell(&mut self, ip: IpAddr, now: Duration) -> bool {
        if self.told.get(&ip).is_some_and(|at| now.saturating_sub(*at) < TOLD_AGAIN) {
            return false;
        }
        if self.told.len() >= TOLD_MAX {
            self.told.retain(|_, at| now.saturating_sub(*at) < TOLD_AGAIN);
        }
        if self.told.len() >= TOLD_MAX {
            return false;
        }
        self.told.insert(ip, now);
        true
    }
}

/// A source that may be a client (A2.3): not another server's port 69, with which two servers would answer each other
/// for ever, and not a group of machines. A subnet's own broadcast address is for the caller's `allow` to know.
pub fn is_sound_source(from: SocketAddr) -> bool {
    let group = match from.ip() {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_multicast() || ip.octets().first() == Some(&0),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified(),
    };
    !group && from.port() != 69 && from.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 9, 0, last])
    }

    #[test]
    fn a2_2_four_from_one_address_and_then_no_more_until_one_leaves() {
        let mut door = Door::new(Caps { per_ip: 4, global: 6 });
        for _ in 0..4 {
            assert_eq!(door.enter(ip(1)), Ok(()));
        }
        assert_eq!(door.enter(ip(1)), Err(Full::ThisAddress));
        assert_eq!(door.enter(ip(2)), Ok(()));
        door.leave(ip(1));
        assert_eq!(door.enter(ip(1)), Ok(()));
    }

    #[test]
    fn a2_2_the_whole_server_has_a_cap() {
        let mut door = Door::new(Caps { per_ip: 4, global: 2 });
        assert_eq!(door.enter(ip(1)), Ok(()));
        assert_eq!(door.enter(ip(2)), Ok(()));
        assert_eq!(door.enter(ip(3)), Err(Full::Everybody));
        door.leave(ip(9));
        assert_eq!(door.inside(), 2, "who never came in cannot leave");
    }

    #[test]
    fn a2_1_one_address_is_told_once_a_second() {
        let mut door = Door::default();
        let at = Duration::from_millis;
        assert!(door.may_tell(ip(1), at(0)));
        assert!(!door.may_tell(ip(1), at(999)));
        assert!(door.may_tell(ip(2), at(999)));
        assert!(door.may_tell(ip(1), at(1000)));
    }

    #[test]
    fn a2_2_the_memory_of_who_was_told_is_bounded() {
        let mut door = Door::default();
        let all =
            |door: &mut Door, now| (0..10_000u32).filter(|n| door.may_tell(IpAddr::from(n.to_be_bytes()), now)).count();
        assert_eq!(all(&mut door, Duration::ZERO), TOLD_MAX);
        assert!(door.may_tell(ip(1), Duration::from_secs(2)));
    }

    #[test]
    fn a2_3_servers_and_groups_are_no_clients() {
        for bad in
            ["10.0.0.1:69", "10.0.0.1:0", "255.255.255.255:3000", "224.0.0.1:3000", "0.0.0.0:3000", "[ff02::1]:3000"]
        {
            assert!(!is_sound_source(bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.0.0.1:2070", "[fe80::1]:2070"] {
            assert!(is_sound_source(good.parse().unwrap()), "{good}");
        }
    }

    #[test]
    fn a2_2_who_leaves_makes_room_for_one_and_is_not_remembered() {
        let mut door = Door::new(Caps { per_ip: 2, global: 3 });
        assert_eq!([door.enter(ip(1)), door.enter(ip(1)), door.enter(ip(2))], [Ok(()); 3]);
        assert_eq!(
            (door.inside(), door.enter(ip(1)), door.enter(ip(2))),
            (3, Err(Full::ThisAddress), Err(Full::Everybody))
        );
        door.leave(ip(1));
        assert_eq!((door.inside(), door.inside.get(&ip(1))), (2, Some(&1)));
        assert_eq!((door.enter(ip(1)), door.enter(ip(1))), (Ok(()), Err(Full::ThisAddress)));
        [1, 1, 2].into_iter().for_each(|last| door.leave(ip(last)));
        assert_eq!((door.inside(), door.inside.len()), (0, 0));
    }

    #[test]
    fn a2_1_who_was_told_is_forgotten_after_a_second_when_there_is_no_room() {
        let mut door = Door::default();
        let at = Duration::from_millis;
        for number in 0..4096u32 {
            assert!(door.may_tell(IpAddr::from(number.to_be_bytes()), at(0)));
        }
        assert!(!door.may_tell(ip(1), at(999)));
        assert_eq!(door.told.len(), 4096);
        assert!(door.may_tell(ip(1), at(1000)));
        assert_eq!(door.told.len(), 1);
        assert!(door.may_tell(ip(2), at(9000)));
        assert_eq!(door.told.len(), 2, "no walk while there is room");
    }

    #[test]
    fn a2_3_each_mark_of_no_client_is_enough_by_itself() {
        for bad in ["0.1.2.3:3000", "239.1.2.3:3000", "[::]:3000", "[fe80::1]:69", "[fe80::1]:0"] {
            assert!(!is_sound_source(bad.parse().unwrap()), "{bad}");
        }
        assert!(is_sound_source("1.0.0.1:68".parse().unwrap()) && is_sound_source("1.0.0.1:70".parse().unwrap()));
    }
}
