//! Who was given which address: the proof that a fast server is still a right one.

use super::message::Clients;
use super::{FIRST_FREE, LAST_FREE};
use std::net::Ipv4Addr;

/// Addresses given out, and every one that was wrong.
pub struct Pool {
    clients: Clients,
    /// By address from [`FIRST_FREE`] on: the machine that was offered it, and the one that was given it, counted from 1.
    offered: Vec<u32>,
    given: Vec<u32>,
    pub faults: Faults,
}

#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Neither of the pool nor the one that was reserved.
    pub wrong: u64,
    /// Offered to two machines. A server that only decides at the REQUEST may do so; it is counted, and no fault yet.
    pub offered_twice: u64,
    /// Given to two machines: this is what a DHCP server is there to prevent.
    pub given_twice: u64,
    /// An ACK of another address than the OFFER's.
    pub changed: u64,
    pub refused: u64,
}

impl Pool {
    pub fn new(clients: Clients) -> Self {
        let size = match clients {
            Clients::New => usize::try_from(LAST_FREE.to_bits() - FIRST_FREE.to_bits()).unwrap_or(0) + 1,
            Clients::Reserved => 0,
        };
        Self { clients, offered: vec![0; size], given: vec![0; size], faults: Faults::default() }
    }

    pub fn offered(&mut self, machine: u32, address: Ipv4Addr) {
        if let Some(reserved) = self.clients.reserved(machine) {
            self.faults.wrong += u64::from(address != reserved);
            return;
        }
        match slot(&mut self.offered, address) {
            Some(holder) => self.faults.offered_twice += u64::from(taken(holder, machine)),
            None => self.faults.wrong += 1,
        }
    }

    pub fn given(&mut self, machine: u32, offered: Ipv4Addr, address: Ipv4Addr) {
        self.faults.changed += u64::from(address != offered);
        if let Some(reserved) = self.clients.reserved(machine) {
            self.faults.wrong += u64::from(address != reserved);
            return;
        }
        match slot(&mut self.given, address) {
            Some(holder) => self.faults.given_twice += u64::from(taken(holder, machine)),
            None => self.faults.wrong += 1,
        }
    }
}

fn slot(addresses: &mut [u32], address: Ipv4Addr) -> Option<&mut u32> {
    let at = address.to_bits().checked_sub(FIRST_FREE.to_bits())?;
    addresses.get_mut(usize::try_from(at).ok()?)
}

fn taken(holder: &mut u32, machine: u32) -> bool {
    let before = std::mem::replace(holder, machine + 1);
    before != 0 && before != machine + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_to_two_machines_is_seen() {
        let mut pool = Pool::new(Clients::New);
        pool.given(1, FIRST_FREE, FIRST_FREE);
        pool.given(1, FIRST_FREE, FIRST_FREE);
        assert_eq!(pool.faults.given_twice, 0);
        pool.given(2, FIRST_FREE, FIRST_FREE);
        assert_eq!(pool.faults.given_twice, 1);
    }

    #[test]
    fn an_address_of_neither_pool_nor_reservation_is_seen() {
        let mut pool = Pool::new(Clients::New);
        pool.offered(1, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(pool.faults.wrong, 1);
        let mut pool = Pool::new(Clients::Reserved);
        let right = Clients::Reserved.reserved(7).unwrap();
        pool.given(7, right, right);
        assert_eq!(pool.faults.wrong, 0);
        pool.given(8, right, right);
        assert_eq!(pool.faults.wrong, 1);
    }
}
