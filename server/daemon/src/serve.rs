//! `muster serve`: everything wired together. Ports are bound and data files read before anything answers; a task that
//! ends by itself ends the process with the reason, and the next start carries on from the database.

use crate::boot::BootPath;
use crate::config::Config;
use crate::transfers::Transfers;
use crate::{data, here, https, listen, program, tls, vault};
use anyhow::{Context as _, Result, bail};
use arc_swap::ArcSwap;
use muster_api::{App, agent_router, keep_first, router};
use muster_bootserver::{dhcp, dhcp6, http, ra, syslog, tftp};
use muster_catalog::Catalog;
use muster_conductor::console::{Tapes, keep_consoles};
use muster_conductor::{
    Authority, BmcHand, Candidates, Conductor, Hands, PasswordAge, Settings, Vault, adopt_bmcs, change_old_passwords,
    couriers, deadlines, find_bmcs, fresh_id, fresh_token, keep_conflicts, refresh, tidy, timeline, watch_bmcs,
};
use muster_store::{Place, Store};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The file with the first admin's token, in the data folder.
pub const FIRST_TOKEN: &str = "admin.token";

/// Counters of the boot path.
struct Counted {
    dhcp: Arc<dhcp::Counters>,
    dhcp6: Arc<dhcp::Counters>,
    tftp: Arc<tftp::Counters>,
    http: Arc<http::Counters>,
    syslog: Arc<syslog::Counters>,
}

/// Runs until a signal.
pub async fn serve(config: Config) -> Result<()> {
    let catalog = data::catalog(&config)?;
    let _lock = lock(&config)?;
    let obstacles = here::obstacles(&config);
    if !obstacles.is_empty() {
        bail!("cannot serve:\n  {}", obstacles.join("\n  "));
    }
    let cancel = CancellationToken::new();
    let addresses = [IpAddr::V4(config.boot.address), config.api.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let secured = tls::load(&config.data, &addresses)?;
    let api = listen::bind(config.api).await?;
    let agents = listen::bind((config.boot.address, config.boot.agent_port).into()).await?;
    let db = Store::open(&config.place()).await.context("the database cannot be opened")?;

    let settings = settings(&config, &secured.ca_pem)?;
    let in_force = Arc::new(ArcSwap::from_pointee(catalog.clone()));
    let (bmcs, vault) = hands(&config, &db, in_force.clone()).await?;
    let (me, tasks) =
        Conductor::new(db, settings, Hands::of(bmcs.clone(), vault), catalog.clone(), config.budgets, &cancel);
    let mut running = JoinSet::new();
    running.spawn(named("scribe", tasks.scribe, cancel.clone()));

    let (built, mut told) = data::images(&config, &catalog);
    let (mut entries, more) = data::entries(&config, &catalog, &built);
    told.extend(more);
    match program::entry(&config) {
        Ok(entry) => entries.push(entry),
        Err(why) => told.push(why),
    }
    // A machine whose BMC cannot be spoken to is no reason to leave all others without addresses.
    told.extend(data::passwords(&config, &catalog));
    told.iter().for_each(|line| tracing::warn!("{line}"));
    me.set_images(built);
    let files = tokio::task::spawn_blocking(move || http::Files::load(&entries))
        .await?
        .context("a served file does not read")?;
    me.set_agent_program(program::program(&files));
    let loaders = |secure| data::loaders(&config, &catalog, secure);
    let configured = config.networks(&loaders)?;
    me.set_networks(config.every_network(&loaders)?);
    let networks = Arc::new(ArcSwap::from_pointee(configured.clone()));
    let path = Arc::new(BootPath {
        me: me.clone(),
        files: Arc::new(files),
        networks: networks.clone(),
        configured: ArcSwap::from_pointee(configured.clone()),
        base: config.boot_http(),
        log_args: config.log_args(),
        base6: config.boot_http6(),
    });

    if let Place::Sqlite(_) = config.place() {
        // The lock says that whoever served from this folder before is gone.
        let acts = me.take_over().await?;
        if acts > 0 {
            tracing::info!(acts, "a former run left acts behind; they are looked at and carried on");
        }
    }
    let new = me.follow_layouts().await?;
    let known = me.fill_view().await?;
    path.put_networks(configured);
    tracing::info!(new, known, "machines of the rack layouts and the database");
    first_token(&config, &me).await?;

    running.spawn(named("view", refresh(me.clone(), tasks.refresher, cancel.clone()), cancel.clone()));
    running.spawn(named("conflicts", keep_conflicts(me.clone(), tasks.conflicts, cancel.clone()), cancel.clone()));
    let (follows, stop) = (path.clone(), cancel.clone());
    let followed = async move { follows.follow_reservations(stop).await };
    running.spawn(named("reservations", followed, cancel.clone()));
    let kept = timeline::keep_timeline(me.clone(), tasks.timeline, cancel.clone());
    running.spawn(named("boot timeline", kept, cancel.clone()));
    running.spawn(named("boots", timeline::judge_boots(me.clone(), cancel.clone()), cancel.clone()));
    running.spawn(named("couriers", couriers(me.clone(), cancel.clone()), cancel.clone()));
    running.spawn(named("tidying", tidy(me.clone(), cancel.clone()), cancel.clone()));
    let consoles = keep_consoles(me.clone(), config.bmc.console.record, cancel.clone());
    running.spawn(named("consoles", consoles, cancel.clone()));
    over_bmcs(&config, &me, tasks.candidates, &mut running, &cancel).await?;
    running.spawn(named("deadlines", deadlines(me.clone(), cancel.clone()), cancel.clone()));
    let counted = boot_servers(&config, &path, &networks, &mut running, &cancel)?;

    let app = App { me: me.clone(), reload: reloader(&config, &path, in_force), counters: counters(counted) };
    let served = listen::serve(api, secured.server.clone(), router(app), cancel.clone());
    running.spawn(named("api", served, cancel.clone()));
    let served = listen::serve(agents, secured.server, agent_router(me.clone()), cancel.clone());
    running.spawn(named("agents", served, cancel.clone()));
    tracing::info!(api = %config.api, boot = %config.boot_http(), agents = %config.agent_url(), "serving");

    let ended = tokio::select! {
        () = signalled() => Ok(()),
        Some(ended) = running.join_next() => match ended {
            Ok(Err(error)) => Err(error),
            Ok(Ok(name)) => Err(anyhow::anyhow!("the {name} task ended by itself")),
            Err(panic) => Err(anyhow::anyhow!("a task panicked: {panic}")),
        },
    };
    cancel.cancel();
    while running.join_next().await.is_some() {}
    bmcs.close().await;
    me.db.close().await;
    ended
}

fn settings(config: &Config, ca_pem: &str) -> Result<Settings> {
    Ok(Settings {
        agent_url: config.agent_url(),
        boot_http: config.boot_http(),
        ca_pem: ca_pem.to_owned(),
        // A new name each start: it is the fence against a courier that was thought dead.
        name: format!("muster/{:032x}", fresh_id()?),
        bmc_accounts: config.bmc.accounts_by_agent,
        events_to: config.bmc.events_to.clone(),
        tapes: Tapes { folder: config.data.join("console"), kept: config.bmc.console.kept_bytes },
    })
}

/// What is done at BMCs by the clock, and at those that are nobody's yet.
async fn over_bmcs(
    config: &Config,
    me: &Arc<Conductor>,
    candidates: Candidates,
    running: &mut JoinSet<Result<&'static str>>,
    cancel: &CancellationToken,
) -> Result<()> {
    let found = find_bmcs(me.clone(), candidates, config.bmc.ranges(), config.bmc.scan_every(), cancel.clone());
    running.spawn(named("finding of BMCs", found, cancel.clone()));
    running.spawn(named("adoption of BMCs", adopt_bmcs(me.clone(), cancel.clone()), cancel.clone()));
    if let Some(days) = config.bmc.password_days {
        let old = change_old_passwords(me.clone(), PasswordAge { days }, cancel.clone());
        running.spawn(named("old passwords", old, cancel.clone()));
    }
    if let Some(rounds) = config.bmc.watch() {
        me.remember_bmcs().await?;
        running.spawn(named("watch over BMCs", watch_bmcs(me.clone(), rounds, cancel.clone()), cancel.clone()));
    }
    Ok(())
}

/// How BMCs are reached, with the passwords that open.
async fn hands(config: &Config, db: &Store, in_force: Arc<ArcSwap<Catalog>>) -> Result<(Arc<BmcHand>, Arc<Vault>)> {
    let (vault, said) = vault::open(config, db).await?;
    said.iter().for_each(|line| tracing::warn!("{line}"));
    let vault = Arc::new(vault);
    let hand = Arc::new(BmcHand::new(vault.clone(), config.secrets.clone(), in_force, authority(config)?));
    Ok((hand, vault))
}

/// Whoever signs certificates for the BMCs of this site.
fn authority(config: &Config) -> Result<Option<Authority>> {
    let Some(file) = &config.bmc.ca else { return Ok(None) };
    let shown = file.display();
    let pem = std::fs::read_to_string(file).with_context(|| format!("the authority for BMCs {shown} does not read"))?;
    Authority::read(&pem).map(Some).map_err(|why| anyhow::anyhow!("the authority for BMCs {shown}: {why}"))
}

/// One daemon a data folder. The file tells who has it, for the second one's message.
fn lock(config: &Config) -> Result<std::fs::File> {
    std::fs::create_dir_all(&config.data).with_context(|| {
        format!(
            "cannot make the data folder {}; start as a user who may, or set `data` to another folder",
            config.data.display()
        )
    })?;
    let file = config.data.join("muster.lock");
    let opened = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
    let mut lock = opened.with_context(|| {
        format!("{} cannot be written; the data folder belongs to the user that the daemon runs as", file.display())
    })?;
    if lock.try_lock().is_err() {
        let mut by = String::new();
        let _ = lock.read_to_string(&mut by);
        let by = by.trim();
        let by = if by.is_empty() { String::new() } else { format!(" (process {by})") };
        bail!("another muster{by} serves from {}; stop it first", config.data.display());
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

async fn named<F, T>(name: &'static str, task: F, cancel: CancellationToken) -> Result<&'static str>
where
    F: Future<Output = T>,
    T: Ended,
{
    let told = task.await.told();
    match told {
        Ok(()) if cancel.is_cancelled() => Ok(name),
        Ok(()) => bail!("the {name} task ended by itself"),
        Err(error) => Err(error.context(format!("the {name} task failed"))),
    }
}

/// What a task may end with.
trait Ended {
    fn told(self) -> Result<()>;
}

impl Ended for () {
    fn told(self) -> Result<()> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error>> Ended for Result<(), E> {
    fn told(self) -> Result<()> {
        self.map_err(Into::into)
    }
}

fn boot_servers(
    config: &Config,
    path: &Arc<BootPath>,
    networks: &Arc<ArcSwap<muster_netboot::Networks>>,
    running: &mut JoinSet<Result<&'static str>>,
    cancel: &CancellationToken,
) -> Result<Counted> {
    let counted = Counted {
        dhcp: Arc::default(),
        dhcp6: Arc::new(dhcp6::counters()),
        tftp: Arc::default(),
        http: Arc::default(),
        syslog: Arc::default(),
    };
    let transfers = Arc::new(Transfers { me: path.me.clone() });
    let interfaces = config.interfaces();
    for interface in interfaces.clone() {
        let stop = cancel.clone();
        let prefix = networks.load().on(&interface).and_then(|network| Some(network.v6.as_ref()?.prefix));
        running.spawn(named(
            "router advertisements",
            async move { ra::advertise(&interface, prefix, stop).await },
            cancel.clone(),
        ));
    }
    if interfaces.is_empty() {
        tracing::warn!("no network is answered: none is configured, or all are quiet; no machine can boot from here");
    } else {
        let dhcp = dhcp::Config { networks: networks.clone(), interfaces, counters: counted.dhcp.clone() };
        let served = dhcp::serve(dhcp, path.clone(), path.clone(), path.clone(), cancel.clone());
        running.spawn(named("DHCP", served, cancel.clone()));
        let over_v6 = config.interfaces6();
        if !over_v6.is_empty() {
            let dhcp6 =
                dhcp6::Config { networks: networks.clone(), interfaces: over_v6, counters: counted.dhcp6.clone() };
            let served = dhcp6::serve(dhcp6, path.clone(), path.clone(), path.clone(), cancel.clone());
            running.spawn(named("DHCPv6", served, cancel.clone()));
        }
        let mut sockets = Vec::new();
        for address in config.boot_addresses() {
            let socket = tftp::listen(SocketAddr::from((address, 69)));
            sockets.push(socket.with_context(|| format!("cannot listen for TFTP on {address}"))?);
        }
        let mut tftp = tftp::Config::new(sockets);
        tftp.counters = counted.tftp.clone();
        let allow = {
            let path = path.clone();
            Arc::new(move |ip| path.allows(ip))
        };
        let served = tftp::serve(tftp, path.clone(), allow, transfers.clone(), cancel.clone());
        running.spawn(named("TFTP", served, cancel.clone()));
    }
    let mut listeners = Vec::new();
    for address in config.boot_addresses() {
        let address = SocketAddr::from((address, config.boot.http_port));
        let listener = http::listen(address);
        listeners.push(listener.with_context(|| format!("cannot listen for boot HTTP on {address}"))?);
    }
    let mut http = http::Config::new(listeners);
    http.counters = counted.http.clone();
    http.secured = https::listeners(config)?;
    let served = http::serve(http, path.clone(), transfers.clone(), cancel.clone());
    running.spawn(named("boot HTTP", served, cancel.clone()));
    logs(config, transfers, &counted.syslog, running, cancel);
    Ok(counted)
}

/// Logs of booting machines are a help and not needed: where another program has the port, everything else serves.
fn logs(
    config: &Config,
    listener: Arc<Transfers>,
    counters: &Arc<syslog::Counters>,
    running: &mut JoinSet<Result<&'static str>>,
    cancel: &CancellationToken,
) {
    let address = SocketAddr::from((config.boot.address, config.boot.syslog_port));
    if address.port() == 0 {
        return;
    }
    match syslog::listen(address) {
        Ok(socket) => {
            let served = syslog::serve(socket, listener, counters.clone(), cancel.clone());
            running.spawn(named("syslog", served, cancel.clone()));
        }
        Err(error) => tracing::warn!(
            %address, %error,
            "no logs of booting machines: `ss -ulpn` shows who has the port; set [boot] syslog-port to another, or to 0"
        ),
    }
}

fn counters(counted: Counted) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(move || {
        let mut text = String::from(
            "# HELP muster_boot_total What the boot path did, by service and reason.\n# TYPE muster_boot_total counter\n",
        );
        for (family, label, count) in counted.dhcp.iter() {
            let _ =
                writeln!(text, "muster_boot_total{{service=\"dhcp\",what=\"{family}\",reason=\"{label}\"}} {count}");
        }
        for (family, label, count) in counted.dhcp6.iter() {
            let _ =
                writeln!(text, "muster_boot_total{{service=\"dhcp6\",what=\"{family}\",reason=\"{label}\"}} {count}");
        }
        for (label, count) in counted.tftp.all() {
            let _ = writeln!(text, "muster_boot_total{{service=\"tftp\",what=\"{label}\",reason=\"\"}} {count}");
        }
        for (label, count) in counted.syslog.all() {
            let _ = writeln!(text, "muster_boot_total{{service=\"syslog\",what=\"{label}\",reason=\"\"}} {count}");
        }
        for (label, count) in counted.http.all() {
            let _ = writeln!(text, "muster_boot_total{{service=\"http\",what=\"{label}\",reason=\"\"}} {count}");
        }
        text
    })
}

/// Reads everything again and puts it in force as a whole; on any slip the old set stays.
fn reloader(
    config: &Config,
    path: &Arc<BootPath>,
    in_force: Arc<ArcSwap<Catalog>>,
) -> Arc<dyn Fn() -> Result<String, String> + Send + Sync> {
    let (config, path) = (config.clone(), path.clone());
    Arc::new(move || {
        let again = || -> Result<String> {
            let catalog = data::catalog(&config)?;
            let (built, mut told) = data::images(&config, &catalog);
            let (mut entries, more) = data::entries(&config, &catalog, &built);
            told.extend(more);
            match program::entry(&config) {
                Ok(entry) => entries.push(entry),
                Err(why) => told.push(why),
            }
            let loaders = |secure| data::loaders(&config, &catalog, secure);
            let networks = config.networks(&loaders)?;
            path.files.reload(&entries)?;
            path.me.set_agent_program(program::program(&path.files));
            path.put_networks(networks);
            path.me.set_networks(config.every_network(&loaders)?);
            path.me.set_images(built);
            in_force.store(Arc::new(catalog.clone()));
            path.me.set_catalog(catalog);
            Ok(told.join("\n"))
        };
        again().map_err(|error| format!("{error:#}; the old set stays in force"))
    })
}

async fn first_token(config: &Config, me: &Conductor) -> Result<()> {
    let file = config.data.join(FIRST_TOKEN);
    let mut tx = me.db.read().await?;
    let none = muster_store::tokens::list(&mut tx).await?.is_empty();
    drop(tx);
    if none {
        // The file first: a token that only its digest is left of would lock everybody out.
        let token = match std::fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => {
                let token = fresh_token()?;
                tls::keep(&file, &format!("{token}\n"))?;
                token
            }
        };
        keep_first(me, &token).await?;
        tracing::info!(file = %file.display(), "made the first admin token");
    }
    Ok(())
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping");
}
