//! The lease rules: a request goes in, an answer comes out.
//!
//! An OFFER is a hint in memory. A REQUEST takes the address, and its ACK leaves only after the change is durable, so
//! that no crash can lead to one address at two machines. A machine is its hardware address (B1.20): firmware, iPXE
//! and the operating system send different client ids in one boot.

mod ahead;
mod render;
mod table;

pub use ahead::Probe;

use crate::brake::{Brake, Stage};
use crate::choice::{Choice, Client, choose, client, client_on};
use crate::clients::ProxyStyle;
use crate::conflict::ConflictKind;
use crate::hold::{DECLINE_MS, FOREIGN_MS, Hold, OFFER_MS};
use crate::host::Host;
use crate::lease::{Lease, LeaseChange, LeaseState, Outcome};
use crate::network::{Dhcp, Ingress, Network, Networks};
use crate::reply::{Reply, ReplyKind};
use crate::request::{Kind, Request};
use crate::silence::Silence;
use muster_names::{Mac, Millis};
use render::Term;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use table::{Slot, Table};

/// At most one NAK to a machine in this time (B1.16).
const NAK_MS: i64 = 1000;
const NAKS_REMEMBERED: usize = 20_000;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Silent(Silence),
    /// Send it.
    Now(Box<Reply>),
    /// Make the change durable first; then send the reply, if there is one (RELEASE and DECLINE have none).
    AfterCommit(Box<LeaseChange>, Option<Box<Reply>>),
}

/// All leases of this daemon, owned by the one thread that answers.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    table: Table,
    brake: Brake,
    naks: BTreeMap<Mac, Millis>,
    watched: BTreeMap<Ipv4Addr, ahead::Watched>,
    store_away: bool,
}

/// One request with all that is known of it.
struct Ask<'a> {
    request: &'a Request,
    kind: Kind,
    mac: Mac,
    network: &'a Network,
    host: Host,
    ingress: Ingress<'a>,
    now: Millis,
}

impl Ask<'_> {
    /// RFC 5107: a relay may stand in for the server.
    fn server_id(&self) -> Ipv4Addr {
        self.request.relay.as_ref().and_then(|relay| relay.server_override).unwrap_or(self.network.server)
    }

    /// A reservation of another network does not bind here.
    fn reservation(&self) -> Option<Ipv4Addr> {
        self.host.reservation.filter(|address| self.network.subnet.is_host(*address) && *address != self.network.server)
    }

    /// B1.27: short in a boot stage, longer for a system, and as data says for a kind of client it knows.
    fn seconds(&self) -> u32 {
        let kind = self.network.loaders.kind_of(self.request);
        let usual = match client_on(self.request, self.network) {
            Client::Plain => self.network.os_seconds,
            _ => self.network.pxe_seconds,
        };
        kind.and_then(|kind| kind.lease_seconds).unwrap_or(usual)
    }

    /// B2.10: firmware that chose a boot item asks for its file, not for an address.
    fn asks_for_boot_item(&self) -> bool {
        let request = self.request;
        let item = request.vendor_options.as_deref().and_then(render::boot_item);
        self.kind == Kind::Request
            && item.is_some()
            && request.requested.is_none()
            && client(request) == Client::Pxe
            && request.server_id.is_none_or(|server| server == self.server_id() || server == self.network.server)
    }
}

/// How a REQUEST came about (RFC 2131, section 4.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Selecting,
    InitReboot,
    Renewing,
    Rebinding,
}

enum Verdict {
    Grant,
    /// The machine must not have this address.
    Refuse,
    /// Nothing is known of the address: another server may answer for it.
    Unknown,
}

impl Leases {
    /// After a restart: the rows the store has.
    pub fn restore(rows: impl IntoIterator<Item = Lease>) -> Self {
        let mut leases = Self::default();
        for row in rows {
            leases.table.restore(row);
        }
        leases
    }

    /// A lease that was written past this table: imported, or seen at another server. One of ours that lasts longer stays.
    pub fn learn(&mut self, lease: Lease) {
        let longer = self.table.bound_until(lease.address, lease.mac) >= lease.until;
        if !(longer && lease.state == LeaseState::Bound) {
            self.table.restore(lease);
        }
    }

    /// While the store is away, known leases are confirmed for their remaining time and nothing is allocated.
    pub fn store_is_away(&mut self, away: bool) {
        self.store_away = away;
    }

    /// Ranges or reservations changed.
    pub fn networks_changed(&mut self) {
        self.table.rewind();
    }

    /// Whether anything is remembered of this machine.
    pub fn knows(&self, mac: Mac) -> bool {
        self.table.knows(mac)
    }

    /// Addresses held now (leased, offered, quarantined).
    pub fn held(&self, network: &str, now: Millis) -> usize {
        self.table.live(network, now)
    }

    /// What the store made of a change.
    pub fn settle(&mut self, change: &LeaseChange, outcome: Outcome, now: Millis) {
        let Lease { address, mac, state, until, .. } = change.lease;
        if !self.table.get(address).is_some_and(|slot| slot.mac == mac && slot.hold == Hold::Bound) {
            return;
        }
        self.table.update(address, |slot| match outcome {
            Outcome::Done if state == LeaseState::Bound => {
                slot.durable_until = slot.durable_until.max(Some(until));
            }
            Outcome::Done => {}
            Outcome::Taken => {
                slot.hold = Hold::Foreign;
                slot.durable_until = None;
                slot.until = Millis(now.0.saturating_add(FOREIGN_MS));
            }
        });
    }

    pub fn answer(
        &mut self,
        networks: &Networks,
        request: &Request,
        ingress: Ingress<'_>,
        view: &dyn Fn(Mac) -> Host,
        now: Millis,
    ) -> Answer {
        let kind = match request.kind {
            _ if request.op != 1 => return Answer::Silent(Silence::NotARequest),
            None => return Answer::Silent(Silence::Bootp),
            Some(Kind::Offer | Kind::Ack | Kind::Nak) => return Answer::Silent(Silence::NotARequest),
            Some(Kind::Other(code)) => return Answer::Silent(Silence::UnknownKind(code)),
            Some(kind) => kind,
        };
        let Some(mac) = request.mac() else { return Answer::Silent(Silence::NoHardwareAddress) };
        let Some(network) = networks.of(request, ingress) else {
            let relayed = request.is_relayed();
            return Answer::Silent(if relayed { Silence::UnknownRelay(request.giaddr) } else { Silence::NoNetwork });
        };
        let host = view(mac);
        if !host.ours && !network.answers_strangers() {
            return Answer::Silent(Silence::Stranger);
        }
        let ask = Ask { request, kind, mac, network, host, ingress, now };
        if ingress.port != 67 || ask.asks_for_boot_item() {
            return self.boot_server(&ask);
        }
        if network.dhcp == Dhcp::Proxy {
            return self.beside(&ask);
        }
        match ask.kind {
            Kind::Discover => self.discover(&ask),
            Kind::Request => self.request(&ask),
            Kind::Decline => self.decline(&ask),
            Kind::Release => self.release(&ask),
            Kind::Inform => {
                let reply =
                    render::reply(&ask, ReplyKind::Ack, Term::OptionsOnly, Choice::Nothing, request.size_limit());
                Answer::Now(Box::new(reply))
            }
            Kind::Offer | Kind::Ack | Kind::Nak | Kind::Other(_) => Answer::Silent(Silence::NotARequest),
        }
    }

    fn discover(&mut self, ask: &Ask<'_>) -> Answer {
        let address = match self.pick(ask) {
            Ok(address) => address,
            Err(why) => return Answer::Silent(why),
        };
        let limit = ask.request.size_limit();
        let bound = self
            .table
            .get(address)
            .is_some_and(|slot| slot.mac == ask.mac && slot.hold == Hold::Bound && slot.until > ask.now);
        if bound {
            self.table.update(address, |slot| slot.size_limit = Some(limit));
        } else {
            let relay = self.relay_of(ask, address);
            let slot = Slot {
                network: ask.network.name.clone(),
                mac: ask.mac,
                hold: Hold::Offered,
                until: Millis(ask.now.0.saturating_add(OFFER_MS)),
                durable_until: None,
                size_limit: Some(limit),
                relay,
            };
            self.table.put(address, slot);
        }
        let choice = self.choice(ask);
        let reply = render::reply(ask, ReplyKind::Offer, Term::Lease(address, ask.seconds()), choice, limit);
        Answer::Now(Box::new(reply))
    }

    /// The address for a DISCOVER: reservation, what it has or had, what it asks for, the next free one (B1.9).
    fn pick(&mut self, ask: &Ask<'_>) -> Result<Ipv4Addr, Silence> {
        let Ask { mac, network, now, .. } = *ask;
        let reservation = ask.reservation();
        let own = reservation.or_else(|| self.table.own(mac, network, now));
        if self.store_away {
            let durable = own.filter(|address| self.table.durable(*address, mac, now).is_some());
            return durable.ok_or(Silence::StoreAway);
        }
        if let Some(address) = reservation {
            if self.table.is_declined(address, now) {
                return Err(Silence::ReservationDeclined(address));
            }
            if self.table.is_taken(address, mac, now) {
                return Err(Silence::ReservationTaken(address));
            }
        }
        let asked = ask
            .request
            .requested
            .filter(|address| network.may_hand_out(*address) && !self.table.is_taken(*address, mac, now));
        own.or(asked).or_else(|| self.table.next_free(network, now)).ok_or(Silence::PoolExhausted)
    }

    fn request(&mut self, ask: &Ask<'_>) -> Answer {
        let request = ask.request;
        let ours = |server| server == ask.server_id() || server == ask.network.server;
        let (phase, address) = match (request.server_id, request.requested, request.believed_ciaddr()) {
            (Some(server), requested, _) if !ours(server) => return self.lost_to(ask, server, requested),
            (Some(_), Some(requested), _) => (Phase::Selecting, requested),
            (None, Some(requested), _) => (Phase::InitReboot, requested),
            (_, None, Some(ciaddr)) => {
                let direct = ask.ingress.unicast || request.relay.as_ref().is_some_and(|relay| relay.was_unicast);
                (
                    if direct && !(request.is_relayed() && request.relay.is_none()) {
                        Phase::Renewing
                    } else {
                        Phase::Rebinding
                    },
                    ciaddr,
                )
            }
            (_, None, None) => return Answer::Silent(Silence::NoAddressAsked),
        };
        let verdict = self.judge(ask, address);
        let authoritative = ask.network.authoritative;
        let refused = match (verdict, phase) {
            (Verdict::Grant, _) => return self.grant(ask, address),
            (_, Phase::Selecting | Phase::Renewing) => true,
            (Verdict::Refuse, Phase::InitReboot) => authoritative || self.table.knows(ask.mac),
            (Verdict::Unknown, Phase::InitReboot) | (Verdict::Refuse, Phase::Rebinding) => authoritative,
            (Verdict::Unknown, Phase::Rebinding) => false,
        };
        if !refused {
            return Answer::Silent(Silence::NotOurLease);
        }
        if self.naks.get(&ask.mac).is_some_and(|last| ask.now.0.saturating_sub(last.0) < NAK_MS) {
            return Answer::Silent(Silence::NakTooSoon);
        }
        if self.naks.len() >= NAKS_REMEMBERED {
            self.naks.retain(|_, last| ask.now.0.saturating_sub(last.0) < NAK_MS);
        }
        self.naks.insert(ask.mac, ask.now);
        Answer::Now(Box::new(render::nak(ask)))
    }

    /// B1.10: it took another server's offer; ours is withdrawn without a word.
    fn lost_to(&mut self, ask: &Ask<'_>, server: Ipv4Addr, requested: Option<Ipv4Addr>) -> Answer {
        let offered = self.table.own(ask.mac, ask.network, ask.now).or(requested);
        if let Some(address) = offered
            && self.table.get(address).is_some_and(|slot| slot.mac == ask.mac && slot.hold == Hold::Offered)
        {
            self.table.update(address, |slot| {
                slot.hold = Hold::Free;
                slot.until = ask.now;
            });
        }
        Answer::Silent(Silence::OtherServer(server))
    }

    fn judge(&self, ask: &Ask<'_>, address: Ipv4Addr) -> Verdict {
        let Ask { mac, network, now, .. } = *ask;
        if !network.subnet.is_host(address) || self.table.is_taken(address, mac, now) {
            return Verdict::Refuse;
        }
        match ask.reservation() {
            Some(reserved) if reserved == address => return Verdict::Grant,
            Some(_) => return Verdict::Refuse,
            None => {}
        }
        let live_own = self.table.is_own(address, mac) && network.may_hand_out(address);
        if !live_own && self.table.is_bound_off(address, mac, network, now) {
            // Else one machine could take the whole pool, asking for one address after the other.
            return Verdict::Refuse;
        }
        if network.may_hand_out(address) {
            // Also after a restart that forgot the offer: the address is in our range, and free.
            return Verdict::Grant;
        }
        if self.table.is_own(address, mac) { Verdict::Refuse } else { Verdict::Unknown }
    }

    fn grant(&mut self, ask: &Ask<'_>, address: Ipv4Addr) -> Answer {
        let Ask { mac, network, now, .. } = *ask;
        let known = self.table.get(address).filter(|slot| slot.mac == mac);
        let limit = known.and_then(|slot| slot.size_limit).unwrap_or_else(|| ask.request.size_limit());
        let durable = self.table.durable(address, mac, now);
        let choice = self.choice(ask);
        if self.store_away {
            let left = durable.map_or(0, |until| until.0.saturating_sub(now.0) / 1000);
            let seconds = u32::try_from(left).unwrap_or(u32::MAX).min(ask.seconds());
            if seconds == 0 {
                return Answer::Silent(Silence::StoreAway);
            }
            let reply = render::reply(ask, ReplyKind::Ack, Term::Lease(address, seconds), choice, limit);
            return Answer::Now(Box::new(reply));
        }
        let seconds = ask.seconds();
        // A shorter lease of a boot stage never cuts a longer one, written or on its way: an ACK may be under way.
        let promised = self.table.bound_until(address, mac);
        let until = Millis(now.0.saturating_add(i64::from(seconds) * 1000)).max(promised);
        let relay = self.relay_of(ask, address);
        let slot = Slot {
            network: network.name.clone(),
            mac,
            hold: Hold::Bound,
            until,
            durable_until: durable,
            size_limit: Some(limit),
            relay: relay.clone(),
        };
        self.table.put(address, slot);
        self.count(ask, &choice);
        let reply = render::reply(ask, ReplyKind::Ack, Term::Lease(address, seconds), choice, limit);
        Answer::AfterCommit(Box::new(change(ask, address, LeaseState::Bound, until, relay)), Some(Box::new(reply)))
    }

    /// The place the request tells, else the one told before (B1.17: a renewal goes past the relay).
    fn relay_of(&self, ask: &Ask<'_>, address: Ipv4Addr) -> Option<Vec<u8>> {
        let told = ask.request.relay.as_ref().map(|relay| relay.raw.clone());
        let stashed = || self.table.get(address).filter(|slot| slot.mac == ask.mac).and_then(|slot| slot.relay.clone());
        told.or_else(stashed)
    }

    fn release(&mut self, ask: &Ask<'_>) -> Answer {
        let address = ask.request.ciaddr;
        let Some(slot) = self.table.get(address).filter(|slot| slot.mac == ask.mac && slot.hold == Hold::Bound) else {
            return Answer::Silent(Silence::NotTheHolder);
        };
        let relay = slot.relay.clone();
        self.table.update(address, |slot| {
            slot.hold = Hold::Free;
            slot.until = ask.now;
            slot.durable_until = None;
        });
        Answer::AfterCommit(Box::new(change(ask, address, LeaseState::Released, ask.now, relay)), None)
    }

    fn decline(&mut self, ask: &Ask<'_>) -> Answer {
        let Some(address) = ask.request.requested else { return Answer::Silent(Silence::NoAddressAsked) };
        let held = |slot: &&Slot| slot.mac == ask.mac && matches!(slot.hold, Hold::Bound | Hold::Offered);
        let Some(slot) = self.table.get(address).filter(held) else {
            return Answer::Silent(Silence::NotTheHolder);
        };
        let relay = slot.relay.clone();
        let until = Millis(ask.now.0.saturating_add(DECLINE_MS));
        self.table.update(address, |slot| {
            slot.hold = Hold::Declined;
            slot.until = until;
            slot.durable_until = None;
        });
        let reserved = ask.reservation() == Some(address);
        let kind = if reserved { ConflictKind::Reservation } else { ConflictKind::Address };
        self.watch(&ask.network.name, address, (kind, None), ask.now);
        Answer::AfterCommit(Box::new(change(ask, address, LeaseState::Declined, until, relay)), None)
    }

    /// Port 4011: the lease is somebody's business already; only the file is asked for.
    fn boot_server(&mut self, ask: &Ask<'_>) -> Answer {
        let choice = self.choice(ask);
        match choice {
            _ if ask.kind != Kind::Request => return Answer::Silent(Silence::NothingToBoot),
            Choice::Nothing => return Answer::Silent(Silence::NothingToBoot),
            Choice::Disk { why, .. } => return Answer::Silent(Silence::OwnDisk(why)),
            Choice::Tftp { .. } | Choice::Http { .. } | Choice::Script { .. } => {}
        }
        if ask.network.dhcp == Dhcp::Proxy {
            self.count(ask, &choice);
        }
        Answer::Now(Box::new(render::boot_server(ask, choice)))
    }

    /// Port 67 beside another server: boots are offered, addresses are not ours to speak of.
    fn beside(&mut self, ask: &Ask<'_>) -> Answer {
        if ask.kind != Kind::Discover {
            let other = ask.request.server_id.filter(|server| *server != ask.server_id());
            return Answer::Silent(other.map_or(Silence::AddressesElsewhere, Silence::OtherServer));
        }
        let choice = self.choice(ask);
        match choice {
            Choice::Nothing => return Answer::Silent(Silence::AddressesElsewhere),
            Choice::Disk { why, script: None } => return Answer::Silent(Silence::OwnDisk(why)),
            // Its file is asked for on 4011, and counted there.
            Choice::Tftp { proxy: ProxyStyle::Binl4011, .. } => {}
            _ => self.count(ask, &choice),
        }
        Answer::Now(Box::new(render::proxy_offer(ask, choice)))
    }

    /// A boot that is on its way counts for the brake.
    fn count(&mut self, ask: &Ask<'_>, choice: &Choice) {
        if let (true, Some(stage)) = (choice.boots(), Stage::of(client_on(ask.request, ask.network))) {
            self.brake.count(ask.mac, stage, ask.host.order, ask.request.xid, ask.now);
        }
    }

    fn choice(&self, ask: &Ask<'_>) -> Choice {
        let stage = Stage::of(client_on(ask.request, ask.network));
        let looping =
            stage.is_some_and(|stage| self.brake.holds(ask.mac, stage, ask.host.order, ask.request.xid, ask.now));
        choose(ask.request, &ask.host, ask.network, looping)
    }
}

fn change(ask: &Ask<'_>, address: Ipv4Addr, state: LeaseState, until: Millis, relay: Option<Vec<u8>>) -> LeaseChange {
    let lease = Lease { network: ask.network.name.clone(), address, mac: ask.mac, state, until, relay };
    LeaseChange { at: ask.now, lease }
}

#[cfg(test)]
mod boot_tests;
#[cfg(test)]
mod edge_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod rule_tests;
