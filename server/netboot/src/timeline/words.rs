//! Entries and diagnoses as sentences for a person, and what to do next.

use super::Stage;
use super::diagnosis::Diagnosis;
use super::entry::{Entry, Fetch, How, LogLine, Via, What};
use crate::sighting::SightingKind;
use std::fmt;

/// `8.5 GB`, in powers of ten.
pub fn size(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, one)| bytes >= *one) {
        Some((unit, one)) => format!("{}.{} {unit}", bytes / one, bytes % one * 10 / one),
        None => format!("{bytes} B"),
    }
}

/// `10.9 MB/s`
pub fn rate(bytes: u64, millis: u64) -> String {
    format!("{}/s", size(bytes.saturating_mul(1000) / millis.max(1)))
}

/// `1.5 s`, `2 min 5 s`, `3 h 2 min`
pub fn span(millis: i64) -> String {
    let (millis, seconds) = (millis.max(0), millis.max(0) / 1000);
    match seconds {
        0..=99 => format!("{seconds}.{} s", millis % 1000 / 100),
        100..=5999 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn seconds(seconds: i64) -> String {
    if seconds < 100 { format!("{seconds} s") } else { span(seconds.saturating_mul(1000)) }
}

fn times(times: usize) -> String {
    match times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        times => format!("{times} times"),
    }
}

impl Entry {
    /// One word for the kind of thing.
    pub fn kind(&self) -> &'static str {
        match &self.what {
            What::Power { .. } => "power",
            What::Packet(packet) => packet.kind.label(),
            What::Fetch(Fetch { via: Via::Tftp, .. }) => "tftp",
            What::Fetch(Fetch { via: Via::Http, .. }) => "http",
            What::Fetch(Fetch { via: Via::Https, .. }) => "https",
            What::Script { .. } => "script",
            What::Log(_) => "log",
            What::Agent(_) => "agent",
            What::Event { .. } => "event",
            What::Unknown => "unknown",
        }
    }

    /// What was asked or done.
    pub fn asked(&self) -> String {
        match &self.what {
            What::Power { on: true, agent: true } => "on, into the boot image".to_owned(),
            What::Power { on, .. } => if *on { "on" } else { "off" }.to_owned(),
            What::Packet(packet) => {
                let who = packet.known_as.clone().unwrap_or_else(|| packet.client.to_string());
                match (packet.giaddr, &packet.circuit_id) {
                    (None, _) => who,
                    (Some(relay), None) => format!("{who}, relay {relay}"),
                    (Some(relay), Some(port)) => format!("{who}, relay {relay} {port}"),
                }
            }
            What::Fetch(fetch) if fetch.path.is_empty() => "TLS".to_owned(),
            What::Fetch(fetch) => fetch.path.clone(),
            What::Script { agent, .. } => if *agent { "agent" } else { "disk" }.to_owned(),
            What::Log(line) => line.program.clone(),
            What::Agent(agent) => if agent.resident { "resident" } else { "ram" }.to_owned(),
            What::Event { .. } | What::Unknown => String::new(),
        }
    }
}

/// The answer, or what became of it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Power { on, .. } => write!(f, "the BMC was told to switch it {}", if *on { "on" } else { "off" }),
            What::Packet(packet) => f.write_str(&packet.words),
            What::Fetch(fetch) => write!(f, "{fetch}"),
            What::Script { agent: true, .. } => f.write_str("the script that boots the agent"),
            What::Script { why, .. } if why.is_empty() => f.write_str("the script that boots its disk"),
            What::Script { why, .. } => write!(f, "the script that boots its disk: {why}"),
            What::Log(line) => write!(f, "{line}"),
            What::Agent(agent) if agent.resident => f.write_str("the agent of its own system speaks"),
            What::Agent(agent) => {
                f.write_str("the agent speaks")?;
                let kernel = agent.kernel_ms.map(|millis| span(i64::try_from(millis).unwrap_or(i64::MAX)));
                kernel.map_or(Ok(()), |kernel| write!(f, ", {kernel} after its kernel began"))
            }
            What::Event { words } => f.write_str(words),
            What::Unknown => f.write_str("written by a later version"),
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = ["EMERGENCY: ", "ALERT: ", "CRITICAL: ", "error: ", "warning: "];
        write!(f, "{}{}", word.get(usize::from(self.severity)).unwrap_or(&""), self.text)
    }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = span(i64::try_from(self.took_ms).unwrap_or(i64::MAX));
        match self.how {
            How::Whole => write!(f, "{} in {took}, {}", size(self.bytes), rate(self.bytes, self.took_ms))?,
            How::Probed => write!(f, "asked only how long it is")?,
            How::NotFound => write!(f, "THERE IS NO SUCH FILE")?,
            How::Refused(code) => write!(f, "REFUSED with code {code}")?,
            How::Untrusted => write!(f, "IT DOES NOT TRUST OUR CERTIFICATE")?,
            How::NoTls => write!(f, "NO TLS came of it")?,
            How::GaveUp | How::Lost | How::Replaced => {
                f.write_str("CUT OFF")?;
                match self.percent() {
                    Some(percent) => write!(f, " at {percent} %")?,
                    None => write!(f, " after {}", size(self.bytes))?,
                }
                write!(f, " after {took}: ")?;
                f.write_str(match self.how {
                    How::GaveUp => "the machine gave up",
                    How::Replaced => "the machine asked for something else",
                    _ => "the machine fell silent",
                })?;
            }
        }
        if self.repeats > 0 {
            write!(f, ", {} packets repeated", self.repeats)?;
        }
        Ok(())
    }
}

fn ends_in(stage: Stage) -> &'static str {
    match stage {
        Stage::Power | Stage::Address => "before it fetched anything",
        Stage::Loader => "after its loader",
        Stage::Script => "after its script",
        Stage::Kernel => "while it fetched its kernel",
        Stage::System => "after its kernel had started",
        Stage::Agent | Stage::Disk => "at its disk",
    }
}

fn awaited(stage: Stage) -> &'static str {
    match stage {
        Stage::Power => "its firmware is expected to ask",
        Stage::Address => "it has asked for an address, and its next step is expected",
        Stage::Loader => "its loader was fetched and is expected to speak",
        Stage::Script => "it has its script, and its kernel is expected to be fetched",
        Stage::Kernel => "it is fetching its kernel",
        Stage::System => "its kernel has started, and its agent is expected",
        Stage::Agent | Stage::Disk => "it is on its way",
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSeen => f.write_str("never asked: nothing was ever heard of it"),
            Self::SwitchedOff => f.write_str("it was switched off by Muster"),
            Self::NeverAsked { seconds: s, .. } => {
                write!(f, "never asked: power was switched on {} ago and nothing was heard", seconds(*s))
            }
            Self::NoAnswer { times: n, why } => write!(f, "asked {}, no offer: {why}", times(*n)),
            Self::NotTaken { times: n } => write!(f, "was offered an address {} and did not take it", times(*n)),
            Self::Refused { why } => write!(f, "was refused its address ({why}) and did not ask anew"),
            Self::LoaderNotFetched { file } => write!(f, "has an address and never fetched its loader {file}"),
            Self::NoTls { file, untrusted: true } => {
                write!(f, "does not trust the certificate that its loader {file} is given under")
            }
            Self::NoTls { file, .. } => write!(f, "came to no TLS for its loader {file}"),
            Self::NotGiven { stage, path, how: How::Refused(code) } => {
                write!(f, "the {stage}'s file {path} was refused with code {code}")
            }
            Self::NotGiven { stage, path, .. } => write!(f, "the {stage}'s file {path} is not there"),
            Self::CutOff { stage, path, via, percent, bytes } => {
                let via = match via {
                    Via::Tftp => "TFTP",
                    Via::Http => "HTTP",
                    Via::Https => "HTTPS",
                };
                match percent {
                    Some(percent) => write!(f, "the {stage} was cut off at {percent} %: {path} by {via}"),
                    None => write!(f, "the {stage} was cut off after {}: {path} by {via}", size(*bytes)),
                }
            }
            Self::LoaderSilent { path, seconds: s } => {
                write!(f, "fetched its loader {path} whole, and the loader has said nothing for {}", seconds(*s))
            }
            Self::ScriptNotFetched => f.write_str("its loader has an address and never fetched its script"),
            Self::ToDisk { why, .. } if why.is_empty() => f.write_str("was sent to its own disk"),
            Self::ToDisk { why, .. } => write!(f, "was sent to its own disk: {why}"),
            Self::KernelNotFetched => f.write_str("has its script and never fetched the kernel"),
            Self::KernelIncomplete => f.write_str("fetched a part of kernel, initramfs and token, and then no more"),
            Self::KernelSilent { seconds: s, said } => {
                write!(f, "the kernel started {} ago and the agent never spoke", seconds(*s))?;
                said.as_ref().map_or(Ok(()), |said| write!(f, "; the last it said: {said}"))
            }
            Self::Loop { times: n, minutes, stage, braked } => {
                f.write_str("boot loop: ")?;
                if *n > 0 {
                    write!(
                        f,
                        "fetched the loader {} within {minutes} min, ending each time {}",
                        times(*n),
                        ends_in(*stage)
                    )?;
                }
                match (*n > 0, braked) {
                    (true, true) => write!(f, "; {}", crate::brake::SENT),
                    (false, true) => f.write_str(crate::brake::SENT),
                    _ => Ok(()),
                }
            }
            Self::Going { stage, seconds: s } => write!(f, "{} ({})", awaited(*stage), seconds(*s)),
            Self::Fetching { path, percent, rate } => {
                let percent = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
                write!(f, "is fetching {path}{percent}, {}/s", size(*rate))
            }
            Self::SystemRuns => f.write_str("the system of its own disk runs"),
            Self::DiskInstead => {
                f.write_str("was to boot from the network, and the system of its disk started without asking")
            }
            Self::AgentSpoke { resident, seconds: after } => {
                f.write_str(if *resident { "the agent of its own system spoke" } else { "the agent spoke" })?;
                after.map_or(Ok(()), |after| write!(f, " after {}", seconds(after)))
            }
        }
    }
}

impl Diagnosis {
    /// What a person does next; empty when nothing.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NeverSeen => {
                "check its cable, its port's VLAN and relay, and that it boots from the network; switch it on"
            }
            Self::NeverAsked { over: false, .. } => {
                "wait, firmware of large servers takes minutes; then check cable, VLAN and relay of its port, and boot order"
            }
            Self::NeverAsked { .. } => {
                "check the cable and its link light, VLAN and relay of its port, and that its boot order has the network first; look at its console"
            }
            Self::NoAnswer { .. } => "remove the reason; firmware asks again, or power-cycle it",
            Self::NotTaken { .. } => {
                "look for another DHCP server on its network, and whether our answers reach it: VLAN, relay's way back, DHCP snooping on the switch"
            }
            Self::Refused { .. } => "power-cycle it; when it stays so, another server leases addresses on its network",
            Self::LoaderNotFetched { .. } => {
                "look for what filters TFTP (UDP 69 and the ports it answers from) or boot HTTP between it and us; look at its console"
            }
            Self::NoTls { .. } => {
                "give its firmware the site's authority, or the network a certificate that it reads (older firmware: RSA alone); its clock has to be right"
            }
            Self::NotGiven { stage: Stage::Loader, .. } => {
                "install the package that holds the loader, `muster check` names it; then `muster reload`"
            }
            Self::NotGiven { .. } => "`muster check` names what is missing; build the boot image, then `muster reload`",
            Self::CutOff { .. } => {
                "look for errors on its cable and switch port, and for a path with a smaller MTU; look at its console"
            }
            Self::LoaderSilent { .. } => {
                "look at its console: Secure Boot refuses unsigned loaders, or the loader has no driver for this card; another loader of the catalog may fit"
            }
            Self::ScriptNotFetched => "look for what filters boot HTTP between it and us; look at its console",
            Self::ToDisk { wanted: true, .. } | Self::SwitchedOff | Self::SystemRuns | Self::AgentSpoke { .. } => "",
            Self::ToDisk { .. } => "remove the reason, then boot it again",
            Self::KernelNotFetched | Self::KernelIncomplete => {
                "look at its console; the script tries six times and then boots the disk"
            }
            Self::KernelSilent { .. } => {
                "look at its console for a panic or a missing driver of its card; the model's kernel arguments set the console"
            }
            Self::Loop { .. } => {
                "look at its console during one boot, mend what ends it, then order the boot again: an ordered boot begins a new count"
            }
            Self::Going { .. } | Self::Fetching { .. } => "wait",
            Self::DiskInstead => {
                "put the network first in its boot order, or check that its BMC sets the boot device for the next boot"
            }
        }
    }
}

impl SightingKind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Solicit => "solicit",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Release => "release",
            Self::Inform => "inform",
            Self::BootServer => "boot-server",
            Self::Tftp => "tftp",
            Self::Http => "http",
            Self::Other => "other",
        }
    }
}
