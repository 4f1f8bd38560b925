//! IPMI 2.0 over RMCP+.
use crate::lane::{Lane, Sent};
use crate::{BootOrder, BootSet, Fault, Identity, Inner, PowerAction, PowerSet, Target};
use muster_names::Power;
use std::time::Duration;

#[derive(Default)]
pub struct Sockets;
pub struct Session;
pub struct Turn<'a> {
    _session: tokio::sync::MutexGuard<'a, Option<Session>>,
}
impl Session {
    pub fn idle(&self) -> Duration {
        Duration::ZERO
    }
    pub async fn close(self) {}
}
impl<'a> Turn<'a> {
    pub fn new(
        session: tokio::sync::MutexGuard<'a, Option<Session>>,
        _: &'a Inner,
        _: &'a Lane,
        _: &'a Target,
    ) -> Self {
        Self { _session: session }
    }
}
fn soon<T>() -> Result<T, Fault> {
    Err(Fault::NotOffered("IPMI yet".into()))
}
pub fn parse(_: &[u8]) {}
pub async fn power(_: &Turn<'_>) -> Result<Power, Fault> {
    soon()
}
pub async fn set_power(_: &Turn<'_>, _: PowerAction, _: &Sent) -> Result<PowerSet, Fault> {
    soon()
}
pub async fn get_boot(_: &Turn<'_>) -> Result<BootSet, Fault> {
    soon()
}
pub async fn set_boot(_: &Turn<'_>, _: BootOrder, _: &Sent) -> Result<BootSet, Fault> {
    soon()
}
pub async fn identify(_: &Turn<'_>) -> Result<Identity, Fault> {
    soon()
}
