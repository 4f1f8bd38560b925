//! The property that counts, under whatever order of messages, restarts and races: no address to two machines.

use super::scene::{Scene, asks, at, duid, mac};
use super::*;
use crate::lease::LeaseState;
use crate::{Outcome, Sighting};
use muster_names::{Mac, Millis};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

#[derive(Clone, Debug)]
enum Step {
    Says {
        who: u8,
        kind: u8,
        address: u16,
        names_it: bool,
    },
    Waits {
        seconds: i64,
    },
    /// The daemon dies: what was not written is gone, and so are its answers.
    Dies,
    /// The store's answers come in.
    Written,
    Away(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..6, prop_oneof![Just(1), Just(3), Just(4), Just(5), Just(6), Just(8), Just(9), Just(11)], 0u16..6, any::<bool>())
            .prop_map(|(who, kind, address, names_it)| Step::Says { who, kind, address, names_it }),
        3 => (1i64..5000).prop_map(|seconds| Step::Waits { seconds }),
        1 => Just(Step::Dies),
        4 => Just(Step::Written),
        1 => any::<bool>().prop_map(Step::Away),
    ]
}

/// What each machine was told in a REPLY, and until when it may use it.
#[derive(Default)]
struct Told(BTreeMap<Ipv6Addr, (Mac, Millis)>);

impl Told {
    fn hear(&mut self, mac: Mac, reply: &Reply, now: Millis) -> Result<(), TestCaseError> {
        if reply.kind != ReplyKind::Reply {
            return Ok(());
        }
        for (address, _, valid) in reply.ias.iter().flat_map(|ia| &ia.addresses) {
            let until = Millis(now.0 + i64::from(*valid) * 1000);
            if *valid == 0 {
                if self.0.get(address).is_some_and(|(holder, _)| *holder == mac) {
                    self.0.remove(address);
                }
            } else if let Some((holder, ends)) = self.0.get(address)
                && *holder != mac
            {
                prop_assert!(*ends <= now, "{address} is {holder}'s until {ends:?} and was given to {mac} at {now:?}");
                self.0.insert(*address, (mac, until));
            } else {
                self.0.insert(*address, (mac, until));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn b4_1_no_address_is_ever_two_machines(steps in proptest::collection::vec(step(), 1..120)) {
        let mut scene = Scene::new();
        let mut told = Told::default();
        let mut rows: BTreeMap<Ipv6Addr, Lease> = BTreeMap::new();
        let mut pending: Vec<(Mac, Box<LeaseChange>, Box<Reply>)> = Vec::new();
        for step in steps {
            match step {
                Step::Waits { seconds } => scene.now.0 += seconds * 1000,
                Step::Away(away) => scene.leases.store_is_away(away),
                Step::Dies => {
                    pending.clear();
                    scene.leases = Leases::restore(rows.values().cloned());
                }
                Step::Written => for (mac, change, reply) in pending.drain(..) {
                    let free = rows.get(&change.lease.address).is_none_or(|row| change.may_replace(row));
                    let outcome = if free { Outcome::Done } else { Outcome::Taken };
                    if free {
                        rows.insert(change.lease.address, change.lease.clone());
                        if change.lease.state != LeaseState::Bound {
                            told.0.remove(&change.lease.address);
                        }
                        // Its lifetimes count from when it was decided.
                        told.hear(mac, &reply, change.at)?;
                    }
                    scene.leases.settle(&change, outcome, scene.now);
                },
                Step::Says { who, kind, address, names_it } => {
                    let address = Ipv6Addr::from_bits(at("fd00:77::1000").to_bits() + u128::from(address));
                    let named = [address];
                    let mut request = asks(Kind::from(kind), who, if names_it { &named } else { &[] });
                    if kind == 11 {
                        request.ias.clear();
                    }
                    match scene.answer(who, &request) {
                        Answer::Silent(_) => {}
                        Answer::Now(reply) => told.hear(mac(who), &reply, scene.now)?,
                        Answer::AfterCommit(change, reply) => pending.push((mac(who), change, reply)),
                    }
                }
            }
            prop_assert!(scene.leases.remembered() <= 4);
        }
    }

    /// Whatever a message names, its answer goes to who sent it and carries its own identifier.
    #[test]
    fn b4_1_an_answer_is_the_askers_own(kind: u8, who: u8, iaid: u32, address: [u8; 16], client: Option<Vec<u8>>, link: [u8; 16], relayed: bool) {
        let mut scene = Scene::new();
        let mut request = asks(Kind::from(kind), who, &[Ipv6Addr::from(address)]);
        request.ias[0].iaid = iaid;
        request.client_id = client.or(request.client_id);
        if relayed {
            request.relays.push(Relay::new(Ipv6Addr::from(link), Scene::ingress(who).source));
        }
        if let Answer::Now(reply) | Answer::AfterCommit(_, reply) = scene.answer(who, &request) {
            prop_assert_eq!(reply.to.ip(), &Scene::ingress(who).source);
            prop_assert_eq!(&reply.client_id, &request.client_id);
            prop_assert_eq!(&reply.relays, &request.relays);
            prop_assert!(reply.ias.iter().all(|ia| ia.iaid == iaid));
        }
    }
}

#[test]
fn a_lease_is_kept_with_who_asked_for_it() {
    let mut scene = Scene::new();
    scene.lease(1);
    assert_eq!((scene.rows[0].duid.clone(), scene.rows[0].network.as_str()), (duid(1), "rack"));
    let seen = Sighting::of(scene.now, mac(1), crate::SightingKind::Solicit, crate::Said::Silence6(Silence::StoreAway));
    assert!(seen.said.to_string().starts_with("no answer: "));
}
