//! Redfish.
use crate::lane::{Lane, Sent, Settings};
use crate::{BootOrder, BootSet, Fault, Identity, PowerAction, PowerSet, Target};
use muster_names::Power;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, SemaphorePermit};

#[derive(Clone)]
pub struct Connection;
pub struct Turn<'a>(std::marker::PhantomData<&'a ()>);
impl Connection {
    pub fn idle(&self) -> Duration {
        Duration::ZERO
    }
    pub async fn close(self) {}
    pub async fn shared(
        _: &Mutex<Option<Connection>>,
        _: &Settings,
        _: &Lane,
        _: &Target,
    ) -> Result<Connection, Fault> {
        soon()
    }
}
impl<'a> Turn<'a> {
    pub fn reading(_: Connection, _: &'a Lane, _: &'a Target, _: SemaphorePermit<'a>) -> Self {
        Self(Default::default())
    }
    pub fn mutation(_: Connection, _: &'a Lane, _: &'a Target, _: MutexGuard<'a, ()>) -> Self {
        Self(Default::default())
    }
}
fn soon<T>() -> Result<T, Fault> {
    Err(Fault::NotOffered("Redfish yet".into()))
}
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
