//! A Redfish BMC with virtual media and UEFI HTTP boot for one machine of a test bed, beside the IPMI one that it has: the
//! simulator in front of the same chassis (`tests/bed/chassis.sh`), so that what a BMC is told by Redfish really happens to a QEMU.
//!
//! OpenIPMI's simulator, which the beds have, knows neither. What is inserted is fetched from where it lies, as a BMC does
//! it, and put into the machine's drive; an address for HTTP boot goes to the firmware as it was sent.

use anyhow::{Result, bail};
use muster_tests::redfish_sim::{Chassis, Events, RedfishSim, Slot, system};
use muster_tests::told::Told;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::sync::broadcast;

const USAGE: &str = "usage:
  redfish-bmc at=10.77.1.11:8000 chassis=tests/bed/chassis.sh bed=DIR machine=NAME serial=SERIAL uuid=UUID [http-boot=yes]
              [events=subscriptions|stream]
                                      until it is ended; `ready` when it listens. User admin, password secret.
                                      It lists UEFI HTTP boot, with room for an address, where it is told to; it
                                      takes subscriptions to its events, or tells one a second to whoever listens.";

struct Bed {
    chassis: PathBuf,
    bed: String,
    machine: String,
}

impl Bed {
    fn ask(&self, words: &[&str]) -> String {
        let asked = Command::new(&self.chassis).args([&self.bed, &self.machine]).args(words).output();
        asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    fn disc(&self) -> PathBuf {
        PathBuf::from(&self.bed).join("machines").join(&self.machine).join("disc.iso")
    }
}

impl Chassis for Bed {
    fn is_on(&self) -> bool {
        self.ask(&["get", "power"]).contains("power:1")
    }

    fn switch(&mut self, on: bool, boot: Option<&Value>) {
        if !on {
            self.ask(&["set", "power", "0"]);
            return;
        }
        let told = |field: &str| boot.and_then(|boot| boot.get(field)).and_then(Value::as_str);
        let boot = match told("BootSourceOverrideTarget") {
            Some("Pxe") => "pxe",
            Some("Cd") => "cdrom",
            Some("UefiHttp") => told("HttpBootUri").unwrap_or("default"),
            _ => "default",
        };
        self.ask(&["set", "boot", boot, "power", "1"]);
    }

    fn medium(&mut self, image: Option<&str>) -> bool {
        let disc = self.disc();
        match image {
            Some(image) => {
                let fetched =
                    Command::new("curl").args(["-sf", "--max-time", "20", "-o"]).arg(&disc).arg(image).status();
                fetched.is_ok_and(|status| status.success())
            }
            None => std::fs::remove_file(disc).is_ok(),
        }
    }
}

async fn tell(stream: broadcast::Sender<String>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Nobody may listen yet.
        let _ = stream.send("data: {\"Events\": []}\n\n".into());
    }
}

fn main() -> Result<()> {
    let told = Told::read(std::env::args().skip(1), USAGE)?;
    let at: SocketAddr = told.must("at")?;
    let bed = Bed { chassis: told.must("chassis")?, bed: told.must("bed")?, machine: told.must("machine")? };
    let (serial, uuid): (String, String) = (told.must("serial")?, told.must("uuid")?);
    let http = match told.maybe::<String>("http-boot")?.as_deref() {
        Some("yes") => true,
        None | Some("no") => false,
        Some(other) => bail!("http-boot={other} is neither yes nor no\n{USAGE}"),
    };
    let (events, stream) = match told.maybe::<String>("events")?.as_deref() {
        Some("subscriptions") => (Some(Events::default()), None),
        Some("stream") => {
            let stream = broadcast::channel(4).0;
            (Some(Events::streaming(stream.clone())), Some(stream))
        }
        None => (None, None),
        Some(other) => bail!("events={other} is neither subscriptions nor stream\n{USAGE}"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let sim = RedfishSim::start_at(at, Vec::new(), None).await;
        {
            let mut state = sim.state();
            state.systems.insert("1".into(), system(&serial));
            state.set("UUID", json!(uuid));
            let mut boot = state.get("/Boot");
            if let Some(boot) = boot.as_object_mut() {
                let mut listed = vec!["None", "Pxe", "Hdd", "Cd"];
                if http {
                    listed.push("UefiHttp");
                    boot.insert("HttpBootUri".into(), Value::Null);
                }
                boot.insert("BootSourceOverrideTarget@Redfish.AllowableValues".into(), json!(listed));
            }
            state.set("Boot", boot);
            state.slots_of_media = vec![Slot::of("Floppy", &["Floppy"]), Slot::of("Cd", &["CD", "DVD"])];
            state.chassis = Some(Box::new(bed));
            state.events = events;
        }
        if let Some(stream) = stream {
            tokio::spawn(tell(stream));
        }
        println!("ready");
        std::future::pending::<()>().await;
        drop(sim);
        Ok(())
    })
}
