//! A machine's serial console through its BMC: what it says, what it is told, and who has it.
//!
//! A BMC gives its console to one session at a time. [`Bmcs::console`] takes it with a session beside the one that
//! all other operations share, so that an open console holds up no order; it is given back when the [`Console`] is
//! closed or dropped, when somebody else takes it, and when the BMC is gone.

use crate::{Bmcs, Error, Fault, Protocol, Target, ipmi, redfish};
use std::fmt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Characters that are handed over at once.
pub(crate) const CHUNK: usize = 1024;
/// What waits for a slow listener; the BMC keeps what has no room, and says when it has lost some.
const HEARD: usize = 64;

/// What happens on a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// As the machine sent it: any bytes.
    Text(Vec<u8>),
    Mark(Mark),
    /// The last word.
    Ended(ConsoleEnd),
}

/// What a BMC says of a console beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Overrun,
    Break,
    Away,
    Back,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overrun => "the BMC was too slow for the machine: characters are missing here",
            Self::Break => "the machine sent a break",
            Self::Away => "the machine takes no characters now: it is off, or starts anew",
            Self::Back => "the machine takes characters again",
        })
    }
}

/// Why a console is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleEnd {
    /// By us.
    Closed,
    /// Another session took it, or the BMC ended it.
    TakenAway,
    /// The BMC answers nothing any more.
    Silent,
    /// The BMC answers, and takes nothing of what is typed.
    Unheard,
}

impl fmt::Display for ConsoleEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the console is closed",
            Self::TakenAway => "the BMC ended the console: another session took it over, or it was switched off there",
            Self::Silent => "the BMC answers no more; look whether it restarts, then open the console again",
            Self::Unheard => {
                "the BMC acknowledges nothing that is typed; open the console again, and if it stays so restart the BMC"
            }
        })
    }
}

#[derive(Debug)]
pub(crate) enum Order {
    Type(Vec<u8>),
    Break,
}

/// An open console.
pub struct Console {
    heard: mpsc::Receiver<Heard>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// Types into a console, for as long as that is open.
#[derive(Clone)]
pub struct Keys {
    orders: mpsc::WeakSender<Order>,
}

impl Console {
    /// What comes next. After [`Heard::Ended`] nothing new does.
    pub async fn heard(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Ended(ConsoleEnd::Closed))
    }

    pub fn keys(&self) -> Keys {
        Keys { orders: self.orders.downgrade() }
    }

    /// Gives it back and waits until the BMC says so, or does not.
    pub async fn close(self) {
        let Self { heard, orders, task } = self;
        drop((heard, orders));
        let _ = task.await;
    }
}

impl Keys {
    /// Whether the characters were taken. A machine that is off takes none, and only so many may wait for it.
    pub fn write(&self, bytes: &[u8]) -> bool {
        bytes.chunks(CHUNK).all(|chunk| self.order(Order::Type(chunk.to_vec())))
    }

    /// The break that systems answer with their own debugger or key; Linux has Magic SysRq behind it.
    pub fn send_break(&self) -> bool {
        self.order(Order::Break)
    }

    fn order(&self, order: Order) -> bool {
        self.orders.upgrade().is_some_and(|orders| orders.try_send(order).is_ok())
    }
}

impl Bmcs {
    /// Takes the console of the BMC's machine. Where another session has it, that is named, and nothing is taken from it
    /// unless `take_over`.
    pub async fn console(&self, target: &Target, take_over: bool) -> Result<Console, Error> {
        let failed = |source| Error::OpenConsole { bmc: target.address.clone(), source };
        let settings = &self.inner.settings;
        let there = match target.protocol {
            Protocol::Ipmi => target.clone(),
            Protocol::Redfish => self.under_ipmi(target).await.map_err(failed)?,
        };
        let (own, lane) = (self.lane(target), self.lane(&there));
        // The account is one, whichever way it is used: its failed logins count together, and a password that is being
        // changed over Redfish is not tried over IPMI.
        own.is_current(target).and_then(|()| own.may_log_in()).map_err(failed)?;
        let held = lane.run(settings, ipmi::open_console(&self.inner, &lane, &there, take_over)).await;
        let held = match held {
            Err(Fault::Login) if target.protocol == Protocol::Redfish => Err(own.login_failed(target)),
            held => held,
        };
        let held = held.map_err(failed)?;
        let (says, heard) = mpsc::channel(HEARD);
        let (orders, ordered) = mpsc::channel(16);
        // The socket is the engine's: an open console keeps it.
        let (engine, settings) = (self.inner.clone(), settings.clone());
        let task = tokio::spawn(async move {
            held.run(settings, ordered, says).await;
            drop(engine);
        });
        Ok(Console { heard, orders, task })
    }

    /// Where a BMC of Redfish has its console: by IPMI, with the same account.
    async fn under_ipmi(&self, target: &Target) -> Result<Target, Fault> {
        let lane = self.lane(target);
        let asking = async { redfish::console_port(&lane.redfish_read(&self.inner, target).await?).await };
        let port = lane.run(&self.inner.settings, asking).await?;
        let address = redfish::ipmi_address(&target.address, port);
        let mut there = Target::new(Protocol::Ipmi, address, target.user.clone(), target.password.clone());
        there.quirks.clone_from(&target.quirks);
        Ok(there)
    }
}
