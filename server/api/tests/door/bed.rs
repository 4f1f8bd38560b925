//! A conductor on a store of the test's own, behind the real routers.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_core::future::BoxFuture;
use muster_api::{App, Role, agent_router, mint, router};
use muster_bmc::{
    Health, Log, LogEntry, LogMark, LogTime, PaceTold, Reading, ReadingKind, Since, Subscription, Thresholds,
};
use muster_catalog::{BiosTold, BmcAccess, Catalog, Protocol, read};
use muster_conductor::{
    BmcOf, Conductor, ConsoleHand, EventHand, FindHand, FirmwareHand, Hail, Hand, HandError, Hands, Heard, Hearing,
    Lead, Listening, Login, Met, PasswordHand, ProbeHand, Running, Secret, Settings, SiteKey, Vault, Visit, WatchHand,
    WriteHabit,
};
use muster_diagnosis::Budgets;
use muster_names::{FirmwareMode, MachineId, Power};
use muster_store::{Place, Store, machines};
use muster_tests::data_files::data_files;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// No BMC answers here.
struct Nobody;

fn silence<T: Send + 'static>() -> BoxFuture<'static, Result<T, HandError>> {
    let error = HandError { reason: "no answer".into(), may_have_happened: false, later: true };
    Box::pin(async move { Err(error) })
}

impl Hand for Nobody {
    fn power<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<Power, HandError>> {
        silence()
    }
    fn set_power<'a>(&'a self, _: &'a BmcOf, _: Power) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
    fn set_boot<'a>(
        &'a self,
        _: &'a BmcOf,
        _: &'a Lead,
        _: Option<FirmwareMode>,
    ) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
    fn holds_boot<'a>(&'a self, _: &'a BmcOf, _: &'a Lead) -> BoxFuture<'a, Result<Option<bool>, HandError>> {
        silence()
    }
    fn eject<'a>(&'a self, _: &'a BmcOf, _: &'a str) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
}

impl WatchHand for Nobody {
    fn visit<'a>(&'a self, _: &'a BmcOf, _: &'a [LogMark]) -> BoxFuture<'a, Visit> {
        let thermal = Reading {
            name: "Inlet".into(),
            kind: ReadingKind::Temperature,
            value: Some(21.5),
            unit: Some("celsius".into()),
            state: vec![],
            health: Health::Warning,
            thresholds: Thresholds::default(),
        };
        let entry = LogEntry {
            log: "SEL".into(),
            id: "0001".into(),
            raw: vec![],
            time: LogTime::Clock(1_718_082_780),
            health: Health::Critical,
            message_id: None,
            component: Some("fan".into()),
            message: "Fan2 stands".into(),
            event: None,
        };
        let log = Log {
            name: "SEL".into(),
            entries: vec![entry],
            since: Since::Beginning,
            mark: None,
            more: false,
            clock_offset: Some(-7200),
            overflowed: false,
            gap: None,
        };
        Box::pin(async move {
            Visit { power: Ok(Power::On), readings: Ok(vec![thermal]), logs: Ok(vec![log]), shown: None }
        })
    }

    fn listen<'a>(&'a self, _: &'a BmcOf, _: Listening<'a>) -> Hearing<'a> {
        Box::pin(async { Ok(Heard::NoStream) })
    }

    fn pace(&self) -> PaceTold {
        PaceTold { at_once: 16, answers: 9, late: 2 }
    }
}

impl ConsoleHand for Nobody {
    fn console<'a>(&'a self, _: &'a BmcOf, _: bool) -> BoxFuture<'a, Result<muster_conductor::Console, HandError>> {
        silence()
    }
}

impl PasswordHand for Nobody {
    fn password_limit<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<usize, HandError>> {
        silence()
    }
    fn set_password<'a>(&'a self, _: &'a BmcOf, _: &'a Secret) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
    fn logs_in<'a>(&'a self, _: &'a BmcOf, _: Login<'a>) -> BoxFuture<'a, Result<bool, HandError>> {
        silence()
    }
    fn of_file<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<Secret, HandError>> {
        silence()
    }
}

impl FindHand for Nobody {
    fn hail<'a>(&'a self, _: Protocol, _: &'a str) -> BoxFuture<'a, Result<Hail, HandError>> {
        silence()
    }
    fn forget_key(&self, _: &str) {}

    fn meet<'a>(&'a self, _: &'a BmcAccess, _: &'a Secret, _: &'a Hail) -> BoxFuture<'a, Result<Met, HandError>> {
        silence()
    }
}

impl ProbeHand for Nobody {
    fn kind<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<String, HandError>> {
        silence()
    }
    fn missing<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<Vec<String>, HandError>> {
        silence()
    }
    fn write_habit<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<WriteHabit, HandError>> {
        silence()
    }
    fn restart<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
}

impl EventHand for Nobody {
    fn subscribed<'a>(&'a self, _: &'a BmcOf, _: &'a Subscription) -> BoxFuture<'a, Result<bool, HandError>> {
        silence()
    }

    fn subscribe<'a>(&'a self, _: &'a BmcOf, _: &'a Subscription) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
}

impl FirmwareHand for Nobody {
    fn firmware<'a>(&'a self, _: &'a BmcOf) -> BoxFuture<'a, Result<Running, HandError>> {
        silence()
    }
    fn bios<'a>(&'a self, _: &'a BmcOf, _: bool) -> BoxFuture<'a, Result<BiosTold, HandError>> {
        silence()
    }
    fn set_bios<'a>(&'a self, _: &'a BmcOf, _: &'a BTreeMap<String, String>) -> BoxFuture<'a, Result<(), HandError>> {
        silence()
    }
}

pub struct Bed {
    pub me: Arc<Conductor>,
    pub router: Router,
    pub agents: Router,
    /// A token of each role.
    pub tokens: Vec<(Role, String)>,
    dir: PathBuf,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.tasks.abort_all();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn catalog() -> Catalog {
    let mut files = data_files();
    let rack = r#"
        site = "test"
        rack = "r1"
        evidence = "declared"
        units = 42
        [[machine]]
        name = "n1"
        u = 1
        model = "qemu-q35"
        serial = "S1"
        bmc = { protocol = "ipmi", address = "127.0.0.1:6001", user = "admin", password-file = "the-password" }
        [[machine]]
        name = "n2"
        u = 2
        model = "qemu-q35"
        serial = "S2"
    "#;
    files.push(("rack-layouts/test/r1.toml".into(), rack.into()));
    read(&files).unwrap_or_else(|slips| panic!("{slips:?}"))
}

impl Bed {
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("muster-api-{}-{count}", std::process::id()));
        let db = Store::open(&Place::Sqlite(dir.clone())).await.unwrap();
        let settings = Settings {
            agent_url: "https://10.0.0.1:8443".into(),
            boot_http: "http://10.0.0.1:8080".into(),
            ca_pem: "a certificate".into(),
            bmc_accounts: true,
            events_to: None,
            name: "daemon".into(),
            tapes: muster_conductor::console::Tapes { folder: dir.join("console"), kept: 1 << 20 },
        };
        let cancel = CancellationToken::new();
        let vault = Arc::new(Vault::new(db.clone(), SiteKey::read(&"5a".repeat(32)).unwrap()));
        let hands = Hands::of(Arc::new(Nobody), vault);
        let (me, running) = Conductor::new(db, settings, hands, catalog(), Budgets::default(), &cancel);
        let mut tasks = JoinSet::new();
        tasks.spawn(running.scribe);
        tasks.spawn(muster_conductor::refresh(me.clone(), running.refresher, cancel.clone()));
        tasks.spawn(muster_conductor::timeline::keep_timeline(me.clone(), running.timeline, cancel.clone()));
        me.follow_layouts().await.unwrap();
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let (_, token) = mint(&me, format!("the {}", role.word()), role, None).await.unwrap();
            tokens.push((role, token));
        }
        let app = App {
            me: me.clone(),
            reload: Arc::new(|| Ok("read".into())),
            counters: Arc::new(|| "muster_test 1\n".into()),
        };
        Self { router: router(app), agents: agent_router(me.clone()), me, tokens, dir, cancel, tasks }
    }

    pub fn token(&self, role: Role) -> &str {
        &self.tokens.iter().find(|(other, _)| *other == role).unwrap().1
    }

    pub async fn id(&self, name: &str) -> MachineId {
        let mut tx = self.me.db.read().await.unwrap();
        machines::by_name(&mut tx, name).await.unwrap().unwrap().id
    }

    /// `body` as JSON, where there is one.
    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap();
        answer(self.router.clone(), request).await
    }

    pub async fn as_role(&self, role: Role, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.call(method, path, Some(self.token(role)), body).await
    }
}

pub async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).into();
    // A stream never ends: its head is enough.
    if content_type == "text/event-stream" {
        return Answer { status, content_type, text: String::new() };
    }
    let bytes = axum::body::to_bytes(response.into_body(), 32 << 20).await.unwrap();
    Answer { status, content_type, text: String::from_utf8(bytes.to_vec()).unwrap() }
}
