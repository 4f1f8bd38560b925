//! Power procedures, phase by phase. The phase is durable before its order is sent, so that whoever carries on after a
//! crash knows what may have happened, and looks before acting again.
//!
//! `boot`: set the boot device, by the first way that the BMC takes -> Off, two Off readings -> On -> an On reading. A reset in one order is turned down: it
//! leaves no moment at which the machine is known to be off, and a lost answer cannot be told from a done one.

use crate::hand::{BmcOf, Hand, HandError, Lead};
use futures_core::future::BoxFuture;
use muster_lifecycle::What;
use muster_names::{FirmwareMode, Power};
use std::time::Duration;

/// How far a procedure has come. Stored by these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was sent.
    Start,
    SetBoot,
    Off,
    On,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::SetBoot => "set-boot",
            Self::Off => "off",
            Self::On => "on",
        }
    }

    /// An unknown word is the last phase: the most may have happened.
    pub fn from_word(word: &str) -> Self {
        [Self::Start, Self::SetBoot, Self::Off].into_iter().find(|phase| phase.word() == word).unwrap_or(Self::On)
    }
}

/// Why a procedure stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Another courier has taken over, or the state has moved on: nothing more may be sent.
    Lost,
    /// The BMC did not do it; nothing is uncertain.
    Failed(String),
    /// Nobody knows what the BMC did.
    Uncertain(String),
}

/// Makes a phase durable; `false` when the claim is lost.
pub type Mark<'a> = dyn Fn(Phase) -> BoxFuture<'a, bool> + Send + Sync + 'a;

/// Told which way a boot goes; each answers `false` when the claim is lost.
pub trait Log: Send + Sync {
    /// Before the BMC is asked for it.
    fn tries<'a>(&'a self, lead: &'a Lead) -> BoxFuture<'a, bool>;
    /// It took this one, and refused those.
    fn took<'a>(&'a self, lead: &'a Lead, refused: &'a [Refused]) -> BoxFuture<'a, bool>;
    /// Whether what was set was still there once the machine was off.
    fn outlived(&self, held: bool) -> BoxFuture<'_, ()>;
}

/// A way that a BMC did not take, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub lead: Lead,
    pub why: String,
}

/// How patient a procedure is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two readings that must agree.
    pub apart: Duration,
    /// For a change of power to show.
    pub change: Duration,
    /// Tries of one order that a BMC turned away for the moment.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { apart: Duration::from_secs(1), change: Duration::from_secs(60), tries: 3 }
    }
}

pub struct Procedure<'a> {
    pub hand: &'a dyn Hand,
    pub bmc: &'a BmcOf,
    pub mode: Option<FirmwareMode>,
    /// Where a boot may lead, in the order in which the BMC is asked.
    pub leads: &'a [Lead],
    pub mark: &'a Mark<'a>,
    pub log: &'a dyn Log,
    pub patience: Patience,
}

impl Procedure<'_> {
    /// Carries `what` to its end from `phase`, where an earlier courier left it.
    pub async fn run(&self, what: &What, phase: Phase) -> Result<(), Stop> {
        match what {
            What::BootInto { .. } => self.cycle(phase, self.leads).await,
            What::PowerCycle => self.cycle(phase, &[]).await,
            What::PowerOff => self.off().await.map(drop),
        }
    }

    /// Whoever carries on sets the boot device again: a BMC may forget after a minute what it was told for one boot.
    async fn cycle(&self, phase: Phase, leads: &[Lead]) -> Result<(), Stop> {
        if phase < Phase::On {
            let set = self.point(leads, phase).await?;
            if self.off().await?
                && let Some(lead) = set.filter(|lead| lead.way().is_some())
            {
                self.keep(lead).await?;
            }
            return self.on().await;
        }
        match self.settled().await? {
            // Off was confirmed before this phase began: On now is what the lost courier asked for.
            Power::On => Ok(()),
            Power::Off => {
                self.point(leads, phase).await?;
                self.on().await
            }
            Power::Unknown => Err(Stop::Uncertain("the BMC does not say whether the machine is on".into())),
        }
    }

    /// Some BMCs lose what was set when the machine goes off: then it is set again, while it is dark.
    async fn keep(&self, lead: &Lead) -> Result<(), Stop> {
        let Ok(Some(held)) = self.hand.holds_boot(self.bmc, lead).await else { return Ok(()) };
        self.log.outlived(held).await;
        // One that refuses it now may boot as it likes: what it boots shows at the boot server.
        if held { Ok(()) } else { self.set(lead, Phase::Off).await.map(drop) }
    }

    /// Says whether it was on.
    async fn off(&self) -> Result<bool, Stop> {
        match self.settled().await? {
            Power::Off => Ok(false),
            Power::On => {
                self.stubborn(Phase::Off, || self.hand.set_power(self.bmc, Power::Off)).await?;
                self.becomes(Power::Off).await.map(|()| true)
            }
            Power::Unknown => Err(Stop::Uncertain("the BMC does not say whether the machine is on".into())),
        }
    }

    async fn on(&self) -> Result<(), Stop> {
        self.stubborn(Phase::On, || self.hand.set_power(self.bmc, Power::On)).await?;
        self.becomes(Power::On).await
    }

    /// Called immediately before each order, repeated ones too: readings take minutes on a slow BMC, and a freeze or a new
    /// state in that time must still be obeyed.
    async fn enter(&self, phase: Phase) -> Result<(), Stop> {
        if (self.mark)(phase).await { Ok(()) } else { Err(Stop::Lost) }
    }

    /// Sets the boot device by the first way that the BMC takes. Nothing was powered yet, so a refusal costs nothing.
    async fn point<'l>(&self, leads: &'l [Lead], phase: Phase) -> Result<Option<&'l Lead>, Stop> {
        let mut refused: Vec<Refused> = Vec::new();
        for lead in leads {
            if lead.way().is_some() && !self.log.tries(lead).await {
                return Err(Stop::Lost);
            }
            match self.set(lead, phase).await? {
                Ok(()) if self.log.took(lead, &refused).await => return Ok(Some(lead)),
                Ok(()) => return Err(Stop::Lost),
                Err(why) => refused.push(Refused { lead: lead.clone(), why }),
            }
        }
        match refused.as_slice() {
            [] => Ok(None),
            [one] => Err(not_set(&one.why)),
            several => {
                let words = several.iter().filter_map(|one| Some(format!("by {}: {}", one.lead.way()?, one.why)));
                Err(not_set(&words.collect::<Vec<_>>().join("; ")))
            }
        }
    }

    /// Setting it twice is setting it once, so a lost answer is asked again, and nothing is reset before the BMC has said
    /// yes. The stored phase never goes back: what it says was sent may yet take effect. A clear no comes back in words; a
    /// BMC that is silent or busy is not asked for another way, which it would not answer either.
    async fn set(&self, lead: &Lead, phase: Phase) -> Result<Result<(), String>, Stop> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.enter(phase.max(Phase::SetBoot)).await?;
            match self.hand.set_boot(self.bmc, lead, self.mode).await {
                Ok(()) => return Ok(Ok(())),
                Err(error) if (error.later || error.may_have_happened) && tries < self.patience.tries => {
                    tokio::time::sleep(self.patience.apart).await;
                }
                Err(error) if error.later || error.may_have_happened => return Err(not_set(&error.reason)),
                Err(error) => return Ok(Err(error.reason)),
            }
        }
    }

    /// What the power is before anything is ordered: one odd reading is looked at again, a power that stays unclear is
    /// Unknown.
    async fn settled(&self) -> Result<Power, Stop> {
        for _ in 1..self.patience.tries {
            match self.agreed().await? {
                Power::Unknown => {}
                clear => return Ok(clear),
            }
        }
        self.agreed().await
    }

    /// Two equal readings, or Unknown.
    async fn agreed(&self) -> Result<Power, Stop> {
        let first = self.reading().await?;
        tokio::time::sleep(self.patience.apart).await;
        let second = self.reading().await?;
        Ok(if first == second { first } else { Power::Unknown })
    }

    async fn reading(&self) -> Result<Power, Stop> {
        let mut reason = String::new();
        for _ in 0..self.patience.tries.max(1) {
            match self.hand.power(self.bmc).await {
                Ok(power) => return Ok(power),
                Err(error) => reason = error.reason,
            }
            tokio::time::sleep(self.patience.apart).await;
        }
        Err(Stop::Uncertain(format!("its power cannot be read: {reason}")))
    }

    async fn becomes(&self, wanted: Power) -> Result<(), Stop> {
        let until = tokio::time::Instant::now() + self.patience.change;
        while tokio::time::Instant::now() < until {
            // Many BMCs say nothing while the power changes: silence counts as not yet.
            if matches!(self.agreed().await, Ok(power) if power == wanted) {
                return Ok(());
            }
        }
        Err(Stop::Uncertain(format!("the machine did not become {wanted:?} within {:?}", self.patience.change)))
    }

    /// Repeats an order that the BMC turned away for the moment. An order that may have happened is not repeated here:
    /// the reading that follows decides.
    async fn stubborn<'b, F>(&self, phase: Phase, order: F) -> Result<(), Stop>
    where
        F: Fn() -> BoxFuture<'b, Result<(), HandError>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            self.enter(phase).await?;
            match order().await {
                Ok(()) => return Ok(()),
                Err(error) if error.may_have_happened => return Ok(()),
                Err(error) if error.later && tries < self.patience.tries => {
                    tokio::time::sleep(self.patience.apart).await;
                }
                Err(error) => return Err(Stop::Failed(error.reason)),
            }
        }
    }
}

fn not_set(why: &str) -> Stop {
    Stop::Failed(format!("its boot device was not set: {why}"))
}

#[cfg(test)]
mod tests;
