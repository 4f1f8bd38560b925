//! The rules: a message goes in, an answer comes out (B4.1; RFC 8415, sections 16 and 18.3).
//!
//! An ADVERTISE is a hint in memory. A REQUEST takes the address, and its REPLY leaves only after the change is durable,
//! as over IPv4. A machine is its hardware address and has one address a network, whatever its firmware, its loader and
//! its system call themselves and their needs.
//!
//! Firmware has two needs at once: its boot program and its network stack both ask, get the same address, and give it
//! back one after the other, the first while the other still loads (seen on OVMF). So an address is free only when
//! nobody it was granted for is left; when that is not known, at the end of its lease.

use super::identity::identify;
use super::lease::{Lease, LeaseChange};
use super::network::{Served, server_id};
use super::render::{self, Term};
use super::reply::{Reply, ReplyKind, Status};
use super::request::{Ingress, Kind, Request};
use super::silence::Silence;
use super::table::{Need, Slot, Table};
use crate::brake::{Brake, Stage};
use crate::choice::{Choice, Client, choose, client_on};
use crate::hold::{DECLINE_MS, FOREIGN_MS, Hold, OFFER_MS};
use crate::host::Host;
use crate::lease::{LeaseState, Outcome};
use crate::network::{Network, Networks};
use muster_names::{Mac, Millis};
use std::net::Ipv6Addr;

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Silent(Silence),
    /// Send it.
    Now(Box<Reply>),
    /// Make the change durable first.
    AfterCommit(Box<LeaseChange>, Box<Reply>),
}

/// All IPv6 leases of this daemon, owned by the one task that answers.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    table: Table,
    brake: Brake,
    store_away: bool,
}

/// One message with all that is known of it.
pub(super) struct Ask<'a> {
    pub request: &'a Request,
    pub mac: Mac,
    pub network: &'a Network,
    pub served: &'a Served,
    pub host: Host,
    pub ingress: Ingress<'a>,
    /// The question as IPv4 would put it: what boots is decided there.
    plain: crate::Request,
    now: Millis,
}

impl Ask<'_> {
    fn seconds(&self) -> u32 {
        let usual = match self.client() {
            Client::Plain => self.network.os_seconds,
            _ => self.network.pxe_seconds,
        };
        let kind = self.network.loaders.kind_of(&self.plain);
        kind.and_then(|kind| kind.lease_seconds).unwrap_or(usual)
    }

    fn client(&self) -> Client {
        client_on(&self.plain, self.network)
    }

    /// The addresses the client names, in whichever of its needs.
    fn named(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.request.ias.iter().flat_map(|ia| ia.addresses.iter().copied())
    }

    fn duid(&self) -> Vec<u8> {
        self.request.client_id.clone().unwrap_or_default()
    }

    fn need(&self) -> Need {
        (self.duid(), self.request.ias.first().map_or(0, |ia| ia.iaid))
    }
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

    /// While the store is away, known leases are confirmed for their remaining time and nothing is allocated.
    pub fn store_is_away(&mut self, away: bool) {
        self.store_away = away;
    }

    /// Ranges changed.
    pub fn networks_changed(&mut self) {
        self.table.rewind();
    }

    /// Addresses remembered.
    pub fn remembered(&self) -> usize {
        self.table.len()
    }

    /// Which machine speaks, as far as anybody can tell.
    pub fn identify(&self, request: &Request, ingress: Ingress<'_>) -> Option<Mac> {
        identify(request, ingress, &|duid| self.table.mac_of(duid))
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
        match self.ask(networks, request, ingress, view, now) {
            Ok(ask) => self.decide(&ask),
            Err(why) => Answer::Silent(why),
        }
    }

    /// All that is known of a message; or why nothing is to be said to it.
    fn ask<'a>(
        &self,
        networks: &'a Networks,
        request: &'a Request,
        ingress: Ingress<'a>,
        view: &dyn Fn(Mac) -> Host,
        now: Millis,
    ) -> Result<Ask<'a>, Silence> {
        well_formed(request)?;
        let (network, served) = place(networks, request, ingress)?;
        if !request.is_relayed() && !is_of_the_link(ingress.source, served) {
            return Err(Silence::ForeignSource(ingress.source));
        }
        let mac = self.identify(request, ingress).ok_or(Silence::NoHardwareAddress)?;
        let host = view(mac);
        if !host.ours && !network.answers_strangers() {
            return Err(Silence::Stranger);
        }
        let plain = request.as_asked_over_v4(mac);
        Ok(Ask { request, mac, network, served, host, ingress, plain, now })
    }

    fn decide(&mut self, ask: &Ask<'_>) -> Answer {
        let Ask { request, ingress, .. } = ask;
        let direct = ingress.unicast && !request.is_relayed();
        let addressed = matches!(request.kind, Kind::Request | Kind::Renew | Kind::Release | Kind::Decline);
        if direct && !addressed {
            return Answer::Silent(Silence::SentToOneServer(request.kind));
        }
        let ours = request.server_id.as_ref().is_none_or(|id| *id == server_id(ask.served.server));
        if !ours {
            if request.kind == Kind::Request {
                self.lost(ask);
            }
            return Answer::Silent(Silence::OtherServer);
        }
        if direct {
            return Answer::Now(Box::new(render::blank(ask, ReplyKind::Reply, Some(Status::UseMulticast))));
        }
        match request.kind {
            Kind::Solicit => self.solicit(ask),
            Kind::Request => self.request(ask),
            Kind::Confirm => confirm(ask),
            Kind::Renew => self.renew(ask),
            Kind::Rebind => self.rebind(ask),
            Kind::Release | Kind::Decline => self.give_back(ask),
            Kind::InformationRequest => {
                let choice = self.choice(ask);
                Answer::Now(Box::new(render::reply(ask, ReplyKind::Reply, Term::Refused(Status::NoAddrsAvail), choice)))
            }
            Kind::Other(code) => Answer::Silent(Silence::UnknownKind(code)),
        }
    }

    /// It took another server's address; ours is withdrawn without a word.
    fn lost(&mut self, ask: &Ask<'_>) {
        let offered = self.table.own(ask.mac, ask.network, ask.served);
        if let Some(address) = offered
            && self.table.get(address).is_some_and(|slot| slot.hold == Hold::Offered)
        {
            self.table.update(address, |slot| {
                slot.hold = Hold::Free;
                slot.until = ask.now;
            });
        }
    }

    fn solicit(&mut self, ask: &Ask<'_>) -> Answer {
        if ask.request.ias.is_empty() {
            let choice = self.choice(ask);
            return Answer::Now(Box::new(render::reply(ask, ReplyKind::Advertise, NO_ADDRESS, choice)));
        }
        let Some(address) = self.pick(ask) else {
            return self.none_to_give(ask);
        };
        if ask.request.rapid_commit && ask.served.rapid_commit && !self.store_away {
            let mut answer = self.grant(ask, address);
            if let Answer::AfterCommit(_, reply) = &mut answer {
                render::rapid(reply);
            }
            return answer;
        }
        if !self.table.is_bound(address, ask.mac, ask.now) {
            self.table.put(address, slot(ask, Hold::Offered, Millis(ask.now.0.saturating_add(OFFER_MS)), None));
        }
        let choice = self.choice(ask);
        let term = Term::Lease(address, ask.seconds());
        Answer::Now(Box::new(render::reply(ask, ReplyKind::Advertise, term, choice)))
    }

    /// The address for a machine: what it has or had, what it asks for, the next free one.
    fn pick(&mut self, ask: &Ask<'_>) -> Option<Ipv6Addr> {
        let Ask { mac, network, served, now, .. } = *ask;
        let own = self.table.own(mac, network, served);
        if self.store_away {
            return own.filter(|address| self.table.durable(*address, mac, now).is_some());
        }
        let free = |address: &Ipv6Addr| served.may_hand_out(*address) && !self.table.is_taken(*address, mac, now);
        own.or_else(|| ask.named().find(free)).or_else(|| self.table.next_free(network, served, now))
    }

    fn none_to_give(&self, ask: &Ask<'_>) -> Answer {
        if self.store_away {
            return Answer::Silent(Silence::StoreAway);
        }
        let kind = render::kind_for(ask.request.kind);
        Answer::Now(Box::new(render::reply(ask, kind, NO_ADDRESS, Choice::Nothing)))
    }

    fn request(&mut self, ask: &Ask<'_>) -> Answer {
        if ask.request.ias.is_empty() {
            let choice = self.choice(ask);
            return Answer::Now(Box::new(render::reply(ask, ReplyKind::Reply, NO_ADDRESS, choice)));
        }
        if ask.named().any(|address| !ask.served.prefix.contains(address)) {
            return refuse(ask, Status::NotOnLink);
        }
        match self.pick(ask) {
            Some(address) => self.grant(ask, address),
            None => self.none_to_give(ask),
        }
    }

    fn renew(&mut self, ask: &Ask<'_>) -> Answer {
        match self.claimed(ask) {
            Some(address) => self.grant(ask, address),
            None if self.store_away => Answer::Silent(Silence::StoreAway),
            // The client asks anew, and gets what is its own.
            None => refuse(ask, Status::NoBinding),
        }
    }

    fn rebind(&mut self, ask: &Ask<'_>) -> Answer {
        match self.claimed(ask) {
            Some(address) => self.grant(ask, address),
            None if self.store_away => Answer::Silent(Silence::StoreAway),
            None if ask.network.authoritative => {
                let mut reply = render::blank(ask, ReplyKind::Reply, None);
                reply.ias = render::withdrawn(ask);
                Answer::Now(Box::new(reply))
            }
            None => Answer::Silent(Silence::NotOurLease),
        }
    }

    /// The address among those named that may be the machine's: its own, or a free one if it has none (a lease that was
    /// forgotten, or another daemon's).
    fn claimed(&self, ask: &Ask<'_>) -> Option<Ipv6Addr> {
        let Ask { mac, network, served, now, .. } = *ask;
        if let Some(own) = self.table.own(mac, network, served) {
            return ask.named().find(|address| *address == own);
        }
        ask.named().find(|address| served.may_hand_out(*address) && !self.table.is_taken(*address, mac, now))
    }

    fn grant(&mut self, ask: &Ask<'_>, address: Ipv6Addr) -> Answer {
        let Ask { mac, now, .. } = *ask;
        let durable = self.table.durable(address, mac, now);
        let choice = self.choice(ask);
        if self.store_away {
            let left = durable.map_or(0, |until| until.0.saturating_sub(now.0) / 1000);
            let seconds = u32::try_from(left).unwrap_or(u32::MAX).min(ask.seconds());
            if seconds == 0 {
                return Answer::Silent(Silence::StoreAway);
            }
            return Answer::Now(Box::new(render::reply(ask, ReplyKind::Reply, Term::Lease(address, seconds), choice)));
        }
        // A shorter lease of a boot stage never cuts a longer one that was promised.
        let bound = self.table.is_bound(address, mac, now);
        let promised = self.table.get(address).filter(|_| bound).map_or(now, |slot| slot.until);
        let until = Millis(now.0.saturating_add(i64::from(ask.seconds()) * 1000)).max(promised);
        let needs = self.table.needs_with(address, mac, ask.need(), now);
        self.table.put(address, Slot { needs, ..slot(ask, Hold::Bound, until, durable) });
        if let (true, Some(stage)) = (choice.boots(), Stage::of(ask.client())) {
            self.brake.count(mac, stage, ask.host.order, ask.request.xid, now);
        }
        let reply = render::reply(ask, ReplyKind::Reply, Term::Lease(address, ask.seconds()), choice);
        Answer::AfterCommit(Box::new(change(ask, address, LeaseState::Bound, until)), Box::new(reply))
    }

    /// RELEASE and DECLINE: answered, but only after the address is really given up.
    fn give_back(&mut self, ask: &Ask<'_>) -> Answer {
        let held = |address: &Ipv6Addr| {
            let slot = self.table.get(*address);
            slot.is_some_and(|slot| slot.mac == ask.mac && matches!(slot.hold, Hold::Bound | Hold::Offered))
        };
        let Some(address) = ask.named().find(held) else {
            return refuse(ask, Status::NoBinding);
        };
        if ask.request.kind == Kind::Release && self.is_still_needed(ask, address) {
            return Answer::Now(Box::new(render::blank(ask, ReplyKind::Reply, Some(Status::Success))));
        }
        let (hold, state, until) = match ask.request.kind {
            Kind::Decline => (Hold::Declined, LeaseState::Declined, Millis(ask.now.0.saturating_add(DECLINE_MS))),
            _ => (Hold::Free, LeaseState::Released, ask.now),
        };
        self.table.put(address, slot(ask, hold, until, None));
        let reply = render::blank(ask, ReplyKind::Reply, Some(Status::Success));
        Answer::AfterCommit(Box::new(change(ask, address, state, until)), Box::new(reply))
    }

    /// Does the address serve another need of its machine? The one that gives it back is forgotten.
    fn is_still_needed(&mut self, ask: &Ask<'_>, address: Ipv6Addr) -> bool {
        let Some(slot) = self.table.get(address).filter(|slot| slot.hold == Hold::Bound) else { return false };
        let Some(mut needs) = slot.needs.clone() else { return true };
        needs.retain(|need| *need != ask.need());
        let others = !needs.is_empty();
        self.table.update(address, |slot| slot.needs = Some(needs));
        others
    }

    fn choice(&self, ask: &Ask<'_>) -> Choice {
        let stage = Stage::of(ask.client());
        let looping =
            stage.is_some_and(|stage| self.brake.holds(ask.mac, stage, ask.host.order, ask.request.xid, ask.now));
        let mut network = ask.network.clone();
        network.boot_http.clone_from(&ask.served.boot_http);
        network.boot_https.clone_from(&ask.served.boot_https);
        choose(&ask.plain, &ask.host, &network, looping)
    }
}

const NO_ADDRESS: Term = Term::Refused(Status::NoAddrsAvail);

/// RFC 8415, section 16: what a server discards without looking further.
fn well_formed(request: &Request) -> Result<(), Silence> {
    let kind = request.kind;
    let (needs_client, server) = match kind {
        Kind::Solicit | Kind::Confirm | Kind::Rebind => (true, Some(false)),
        Kind::Request | Kind::Renew | Kind::Release | Kind::Decline => (true, Some(true)),
        Kind::InformationRequest => (false, None),
        Kind::Other(code) => return Err(Silence::UnknownKind(code)),
    };
    match (server, &request.server_id) {
        _ if needs_client && request.client_id.is_none() => Err(Silence::NoClientId(kind)),
        (Some(true), None) => Err(Silence::NoServerId(kind)),
        (Some(false), Some(_)) => Err(Silence::ServerIdNotExpected(kind)),
        (None, _) if !request.ias.is_empty() || !request.others.is_empty() => Err(Silence::AddressesNotExpected),
        _ => Ok(()),
    }
}

/// The network the client is on: by the relay nearest to it that names a link, else by the interface. A link that we do
/// not serve ends the search: guessing would lease from a wrong prefix.
fn place<'a>(
    networks: &'a Networks,
    request: &Request,
    ingress: Ingress<'_>,
) -> Result<(&'a Network, &'a Served), Silence> {
    let unnamed = request.is_relayed() && !ingress.source.is_unicast_link_local();
    match request.link() {
        Some(link) => networks.holding_v6(link).ok_or(Silence::UnknownRelay(link)),
        None if unnamed => Err(Silence::UnknownRelay(Ipv6Addr::UNSPECIFIED)),
        None => {
            let on = |(network, _): &(&Network, &Served)| network.interface.as_deref() == Some(ingress.interface);
            networks.with_v6().find(on).ok_or(Silence::NoNetwork)
        }
    }
}

/// A server answers where the question came from: not to addresses that anybody far away may have written there.
fn is_of_the_link(source: Ipv6Addr, served: &Served) -> bool {
    source.is_unicast_link_local() || (served.prefix.is_host(source) && source != served.server)
}

/// Whether what the client remembers is of the link it is on; who has it is not the question.
fn confirm(ask: &Ask<'_>) -> Answer {
    let mut named = ask.named().peekable();
    if named.peek().is_none() {
        return Answer::Silent(Silence::NothingToConfirm);
    }
    let all = named.all(|address| ask.served.prefix.contains(address));
    let status = if all { Status::Success } else { Status::NotOnLink };
    Answer::Now(Box::new(render::blank(ask, ReplyKind::Reply, Some(status))))
}

fn refuse(ask: &Ask<'_>, status: Status) -> Answer {
    Answer::Now(Box::new(render::reply(ask, ReplyKind::Reply, Term::Refused(status), Choice::Nothing)))
}

fn slot(ask: &Ask<'_>, hold: Hold, until: Millis, durable_until: Option<Millis>) -> Slot {
    Slot { network: ask.network.name.clone(), mac: ask.mac, duid: ask.duid(), hold, until, durable_until, needs: None }
}

fn change(ask: &Ask<'_>, address: Ipv6Addr, state: LeaseState, until: Millis) -> LeaseChange {
    let network = ask.network.name.clone();
    LeaseChange { at: ask.now, lease: Lease { network, address, mac: ask.mac, state, until, duid: ask.duid() } }
}
