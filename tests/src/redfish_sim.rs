//! A BMC that speaks Redfish over HTTP or HTTPS, with the bad habits of real ones on demand.
//!
//! The HTTP in it is written out by hand on purpose: it sees every byte a client sends, counts credentials, and can
//! answer what no decent server would. It listens on a loopback port of its own until it is dropped.

// A simulator is test code in a library's clothes: it may fall over.
#![allow(clippy::indexing_slicing, clippy::expect_used)]

mod accounts;
mod bios;
mod events;
mod manager;
mod media;
mod site;

pub use accounts::Accounts;
pub use bios::BiosStore;
pub use events::Events;
pub use manager::Manager;
pub use media::{Chassis, Slot};
pub use site::Site;

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

/// How this BMC differs from the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Habit {
    /// PATCH without `If-Match` gets 428.
    DemandsIfMatch,
    /// PATCH with any `If-Match` gets 412.
    ChokesOnIfMatch,
    /// Takes only the tag without `W/` and quotes.
    WantsBareTag,
    /// Hands out `ETag: ""` and refuses it when it comes back.
    EmptyTag,
    /// PATCH of the boot override without all three fields gets 400.
    DemandsFullBoot,
    /// PATCH answers 200 and changes nothing.
    ForgetsBoot,
    /// Reset answers 202 with a task that ends so.
    ResetByTask(&'static str),
    /// 202 without a Location.
    TaskNowhere,
    /// Reset closes the connection after having done it.
    DropsResetReply,
    /// Basic authentication is taken, sessions do not exist.
    NoSessions,
    /// PATCH of `BootSourceOverrideMode` gets 400, whatever it says.
    ModeIsReadOnly,
    /// `Continuous` gets 400.
    KnowsOnlyOnce,
    /// PATCH of the override gets 400 at the system and is taken at the settings resource, which never shows one.
    BootInSettings,
    /// PATCH of the override gets 400 while `BootProgress` says self-test.
    RefusesInPost,
    /// PATCH of the override gets 400 while this job is not over.
    WaitsForJob(&'static str),
    /// To disable what is disabled gets 400.
    RefusesNoChange,
    /// A forced restart is answered and the power stays on all the while.
    RestartsWarm,
    /// The first `On` after a `ForceOff` gets 409.
    BusyAfterOff,
    /// `On` after a `ForceOff` gets 400.
    StaysOff,
    /// PATCH of a password answers 200 and changes nothing.
    ForgetsPassword,
    /// PATCH of a password closes the connection after having done it.
    DropsPasswordReply,
    /// PATCH of a password ends every session.
    PasswordEndsSessions,
    /// PATCH of a password answers 202 with a task.
    PasswordByTask,
    /// PATCH of a password gets 400 with the password in its message.
    RepeatsPassword,
    /// A session may read and change its own account and nothing else, until the password is changed.
    WantsNewPassword,
    /// The same, with no way told but in the answer to the login.
    WantsNewPasswordAtLogin,
    /// No session before the password is changed, which basic authentication may.
    NoSessionBeforeNewPassword,
    /// A login gets 403, whoever asks: somebody tried too often.
    AccountIsLocked,
    /// PATCH of BIOS attributes answers 200 and changes nothing.
    ForgetsBios,
    /// PATCH of BIOS attributes answers 202 with a job that waits for the next boot, and wants to be told that time.
    BiosByJob,
    /// PATCH of BIOS attributes answers 202 with a job that has failed.
    BiosJobFails,
    /// PATCH of BIOS attributes gets 400: somebody locked the configuration.
    BiosLocked,
    /// PATCH of BIOS attributes closes the connection after having taken them.
    DropsBiosReply,
    /// `IndicatorLED` takes Lit and Off, and 400 comes for Blinking.
    LampDoesNotBlink,
    /// `IndicatorLED` takes Blinking and Lit, and 400 comes for Off.
    LampIsNeverOff,
    /// PATCH of a light answers 200 and changes nothing.
    ForgetsLight,
    /// Manager.Reset closes the connection after having begun.
    DropsRestartReply,
    /// PATCH of an override to UefiHttp gets 400, though it is listed.
    RefusesHttp,
    /// PATCH of `HttpBootUri` is answered and changes nothing.
    ForgetsUri,
    /// `InsertMedia` is answered, and the slot then says inserted and holds nothing.
    InsertsNothing,
    /// Slots have no actions: PATCH inserts and ejects.
    MediaByPatch,
    /// The manager's list of slots is a dead link; they hang under the system.
    MediaUnderSystem,
    /// `InsertMedia` without `TransferProtocolType` gets 400 that names it.
    WantsProtocol,
    /// `InsertMedia` tells by an ActionInfo that it requires `TransferMethod`, and gets 400 without a word.
    RequiresMethod,
    /// `InsertMedia` answers 202 with a task.
    InsertsByTask,
    /// What was inserted shows after two more reads.
    InsertsLate,
    /// `InsertMedia` while something is inserted gets 400.
    EjectsFirst,
    /// `InsertMedia` closes the connection after having done it.
    DropsInsertReply,
    /// `EjectMedia` gets 500.
    NeverEjects,
    /// A system gets 404 until the list of systems was read; after a restart again.
    HidesUntilListed,
    /// A subscription without `EventTypes` gets 400.
    WantsEventTypes,
    /// A subscription is answered with 201 and not kept.
    ForgetsSubscription,
}

pub struct State {
    pub user: String,
    pub password: String,
    pub habits: Vec<Habit>,
    /// By its member name: `PowerState`, `Boot`, serial number and the rest, as served.
    pub systems: BTreeMap<String, Value>,
    pub accounts: Accounts,
    /// The settings of system 1; `None`: it has no Bios resource.
    pub bios: Option<BiosStore>,
    /// The BMC itself.
    pub manager: Manager,
    /// Chassis 1, as served; null: there is none.
    pub lights: Value,
    /// Its slots for virtual media.
    pub slots_of_media: Vec<Slot>,
    /// What really happened with them, in order: `insert Cd http://...`, `eject Cd`.
    pub media_log: Vec<String>,
    /// How it tells of events; `None`: it has no event service.
    pub events: Option<Events>,
    /// A real machine behind it.
    pub chassis: Option<Box<dyn Chassis>>,
    /// What is served before all that, by its path without a slash at its end: a whole recording, if need be.
    pub tree: BTreeMap<String, Value>,
    pub slots: usize,
    /// (method, path) as received.
    pub seen: Vec<(String, String)>,
    /// Statuses that the next requests get instead of an answer.
    pub moods: VecDeque<(u16, Value)>,
    /// Requests that carried a credential: a password, a token or an Authorization header.
    pub credentials: usize,
    /// Requests with an Authorization header.
    pub basics: usize,
    /// Paths whose answer ends in the middle of its JSON.
    pub cut: Vec<String>,
    pub logins: usize,
    /// The reset types that were asked for, in order.
    pub resets: Vec<String>,
    sessions: BTreeMap<String, String>,
    listed: bool,
    tag: u32,
    task_reads: u32,
}

impl State {
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The BMC restarts: what was open is forgotten.
    pub fn restart(&mut self) {
        self.sessions.clear();
        self.listed = false;
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen.iter().filter(|(m, path)| m == method && path.contains(part)).count()
    }

    pub fn set(&mut self, field: &str, value: Value) {
        self.systems.get_mut("1").expect("system 1")[field] = value;
    }

    pub fn get(&self, pointer: &str) -> Value {
        self.systems["1"].pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    fn has(&self, habit: &Habit) -> bool {
        self.habits.contains(habit)
    }
}

/// A running simulator.
pub struct RedfishSim {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: Option<TlsAcceptor>,
    tasks: Vec<JoinHandle<()>>,
}

/// A self-made certificate and its key, as a BMC ships with.
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// SHA-256 of the public key, in hexadecimal.
    pub pin: String,
}

impl Identity {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(vec!["bmc".into()]).expect("names");
        let certificate = certificate.self_signed(&key).expect("a certificate");
        Self::of(&certificate, &key)
    }

    fn of(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> Self {
        let public = rcgen::PublicKeyData::subject_public_key_info(key);
        let pin = ring::digest::digest(&ring::digest::SHA256, &public);
        Self {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            pin: pin.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

/// A tree recorded of a real BMC, by the name of its file without the ending; `None` where the variable `MUSTER_CAPTURES`
/// names no folder of recordings.
pub fn recorded(name: &str) -> Option<BTreeMap<String, Value>> {
    let file = format!("{}/redfish/{name}.json.gz", std::env::var("MUSTER_CAPTURES").ok()?);
    let unpacked = std::process::Command::new("zcat").arg(&file).output().expect("zcat").stdout;
    let tree: BTreeMap<String, Value> = serde_json::from_slice(&unpacked).expect("a recorded tree");
    Some(tree.into_iter().map(|(path, body)| (path.trim_end_matches('/').to_string(), body)).collect())
}

pub fn system(serial: &str) -> Value {
    json!({
        "Manufacturer": "ACME", "Model": "R-2", "SerialNumber": serial, "UUID": "00112233-4455-6677-8899-AABBCCDDEEFF",
        "PowerState": "Off",
        "Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None",
            "BootSourceOverrideMode": "Legacy",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "UefiHttp"]},
        "Actions": {"#ComputerSystem.Reset": {
            "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"]}},
        "Links": {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/1"}]},
    })
}

impl RedfishSim {
    pub async fn start(habits: Vec<Habit>, tls: Option<&Identity>) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), habits, tls).await
    }

    /// At a given address: for a stranger who takes over a BMC's place.
    pub async fn start_at(at: SocketAddr, habits: Vec<Habit>, tls: Option<&Identity>) -> Self {
        let listener = TcpListener::bind(at).await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            user: "admin".into(),
            password: "secret".into(),
            habits,
            systems: BTreeMap::from([("1".to_string(), system("SN-1"))]),
            accounts: Accounts::default(),
            bios: None,
            manager: Manager::default(),
            lights: Value::Null,
            slots_of_media: Vec::new(),
            media_log: Vec::new(),
            events: None,
            chassis: None,
            tree: BTreeMap::new(),
            slots: 16,
            seen: Vec::new(),
            moods: VecDeque::new(),
            credentials: 0,
            basics: 0,
            cut: Vec::new(),
            logins: 0,
            resets: Vec::new(),
            sessions: BTreeMap::new(),
            listed: false,
            tag: 1,
            task_reads: 0,
        }));
        let mut sim = Self { address, state, acceptor: tls.map(acceptor), tasks: Vec::new() };
        sim.listens(listener);
        sim
    }

    /// The same BMC at one more address: where only the number of addresses counts, one tree is enough.
    pub async fn also_at(&mut self, at: SocketAddr) {
        self.listens(TcpListener::bind(at).await.expect("a loopback port"));
    }

    fn listens(&mut self, listener: TcpListener) {
        let (acceptor, shared) = (self.acceptor.clone(), self.state.clone());
        self.tasks.push(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (shared.clone(), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                converse(stream, state).await;
                            }
                        }
                        None => converse(stream, state).await,
                    }
                });
            }
        }));
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedfishSim {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(identity.key.clone()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone().into()], key)
        .expect("a certificate that fits");
    TlsAcceptor::from(Arc::new(config))
}

struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

struct Told {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

fn told(status: u16, body: Value) -> Told {
    Told { status, headers: Vec::new(), body }
}

fn refused(status: u16, id: &str) -> Told {
    told(status, json!({"error": {"@Message.ExtendedInfo": [{"MessageId": id, "Message": "no"}]}}))
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut stream, &mut buffer).await {
        let listens = state.lock().unwrap_or_else(PoisonError::into_inner).listener(&asked);
        if let Some(listener) = listens {
            return events::tell(&mut stream, listener).await;
        }
        let told = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&asked);
        let Some(told) = told else { return };
        let mut body = if told.body.is_null() { String::new() } else { told.body.to_string() };
        if state.lock().unwrap_or_else(PoisonError::into_inner).cut.contains(&asked.path) {
            body.truncate(body.len() / 2);
        }
        let mut text = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", told.status, body.len());
        for (name, value) in told.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.lines();
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_string(), first.next()?.to_string());
            let headers: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_string()))
                .collect();
            let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).unwrap_or(Value::Null);
            buffer.drain(..end + 4 + length);
            return Some(Asked { method, path, headers, body });
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

impl State {
    /// `None` closes the connection without a word.
    fn answer(&mut self, asked: &Asked) -> Option<Told> {
        self.seen.push((asked.method.clone(), asked.path.clone()));
        let secret = asked.body.get("Password").is_some()
            || ["authorization", "x-auth-token"].iter().any(|name| asked.headers.contains_key(*name));
        self.credentials += usize::from(secret);
        self.basics += usize::from(asked.headers.contains_key("authorization"));
        let path = asked.path.trim_end_matches('/');
        if self.is_away() {
            return None;
        }
        if let Some(root) = self.tree.get("/redfish/v1").filter(|_| path == "/redfish/v1") {
            return Some(told(200, root.clone()));
        }
        if path == "/redfish/v1" {
            let mut root = json!({"Systems": {"@odata.id": "/redfish/v1/Systems"},
                "AccountService": {"@odata.id": "/redfish/v1/AccountService"},
                "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}});
            if self.events.is_some() {
                root["EventService"] = json!({"@odata.id": "/redfish/v1/EventService"});
            }
            return Some(told(200, root));
        }
        if let Some((status, body)) = self.moods.pop_front() {
            return Some(told(status, body));
        }
        if asked.method == "POST" && path.ends_with("/SessionService/Sessions") {
            return Some(self.log_in(asked));
        }
        if !self.admits(asked) {
            return Some(refused(401, "Base.1.12.NoValidSession"));
        }
        if let Some(refusal) = self.wants_new_password(asked, path) {
            return Some(refusal);
        }
        if let Some(body) = self.tree.get(path).filter(|_| asked.method == "GET") {
            return Some(told(200, body.clone()));
        }
        let served = self.bios_service(asked, path).or_else(|| self.manager_service(asked, path));
        if let Some(told) = served.or_else(|| self.media_service(asked, path)) {
            return told;
        }
        match (asked.method.as_str(), path.split('/').skip(3).collect::<Vec<_>>().as_slice()) {
            ("DELETE", ["SessionService", "Sessions", id]) => {
                self.sessions.retain(|_, session| session != id);
                Some(told(204, Value::Null))
            }
            ("GET", ["Systems"]) => {
                self.listed = true;
                let members: Vec<Value> =
                    self.systems.keys().map(|id| json!({"@odata.id": format!("/redfish/v1/Systems/{id}")})).collect();
                Some(told(200, json!({"Members": members})))
            }
            ("GET", ["Systems", _]) if self.has(&Habit::HidesUntilListed) && !self.listed => {
                Some(refused(404, "Base.1.12.ResourceMissingAtURI"))
            }
            ("GET", ["Systems", id]) => Some(self.system(id)),
            ("PATCH", ["Systems", _]) if self.has(&Habit::BootInSettings) => {
                Some(refused(400, "Ami.1.0.OperationSupportedInFutureStateURI"))
            }
            ("GET", ["Systems", _, "SD"]) => Some(told(200, json!({"Name": "Pending"}))),
            ("PATCH", ["Systems", id] | ["Systems", id, "SD"]) => Some(self.patch(id, asked)),
            ("POST", ["Systems", id, "Actions", "ComputerSystem.Reset"]) => self.reset(id, asked),
            (_, ["EventService", rest @ ..]) if self.events.is_some() => Some(self.event_service(asked, rest)),
            ("GET", ["Jobs"]) => Some(told(200, json!({"Members": [{"@odata.id": "/redfish/v1/Jobs/JID_7"}]}))),
            ("GET", ["Jobs", id]) => Some(self.job(id)),
            (_, ["AccountService", rest @ ..]) => self.account_service(asked, rest),
            ("GET", ["TaskService", "Tasks", "7"]) => Some(self.task()),
            _ => Some(refused(404, "Base.1.12.ResourceMissingAtURI")),
        }
    }

    fn log_in(&mut self, asked: &Asked) -> Told {
        if self.has(&Habit::NoSessions) {
            return refused(404, "Base.1.12.ResourceMissingAtURI");
        }
        if self.has(&Habit::AccountIsLocked) {
            return refused(403, "iBMC.1.0.UserLocked");
        }
        if self.is_starting() || asked.body["UserName"] != self.user || asked.body["Password"] != self.password {
            return refused(401, "Base.1.12.InsufficientPrivilege");
        }
        if self.has(&Habit::NoSessionBeforeNewPassword) {
            return self.change_first(403, true);
        }
        if self.sessions.len() >= self.slots {
            return refused(503, "Base.1.12.SessionLimitExceeded");
        }
        self.logins += 1;
        let (id, token) = (format!("s{}", self.logins), format!("token-{}", self.logins));
        self.sessions.insert(token.clone(), id.clone());
        let place = format!("https://[fe80::1]/redfish/v1/SessionService/Sessions/{id}");
        Told { status: 201, headers: vec![("X-Auth-Token", token), ("Location", place)], body: self.login_notes() }
    }

    fn admits(&self, asked: &Asked) -> bool {
        let token = asked.headers.get("x-auth-token");
        let expected = accounts::basic(&self.user, &self.password);
        let basic = asked.headers.get("authorization") == Some(&expected);
        let sessionless = self.has(&Habit::NoSessions) || self.has(&Habit::NoSessionBeforeNewPassword);
        token.is_some_and(|token| self.sessions.contains_key(token)) || (sessionless && basic)
    }

    fn tag(&self) -> String {
        if self.has(&Habit::EmptyTag) { "\"\"".into() } else { format!("W/\"{}\"", self.tag) }
    }

    fn system(&self, id: &str) -> Told {
        let Some(mut system) = self.systems.get(id).cloned() else {
            return refused(404, "Base.1.12.ResourceMissingAtURI");
        };
        if self.has(&Habit::BootInSettings) {
            let settings = format!("/redfish/v1/Systems/{id}/SD");
            system["@Redfish.Settings"] = json!({"SettingsObject": {"@odata.id": settings}});
        }
        if self.bios.is_some() {
            system["Bios"] = json!({"@odata.id": format!("/redfish/v1/Systems/{id}/Bios")});
        }
        self.hide(&mut system);
        if self.has(&Habit::MediaUnderSystem) {
            system["VirtualMedia"] = json!({"@odata.id": format!("/redfish/v1/Systems/{id}/VirtualMedia")});
        }
        if let Some(on) = self.chassis.as_ref().map(|chassis| chassis.is_on()) {
            system["PowerState"] = if on { "On" } else { "Off" }.into();
        }
        if let Some(reset) = system.pointer_mut("/Actions/#ComputerSystem.Reset") {
            reset["target"] = format!("/redfish/v1/Systems/{id}/Actions/ComputerSystem.Reset").into();
        }
        Told { status: 200, headers: vec![("ETag", self.tag())], body: system }
    }

    /// Why this BMC does not take this `If-Match`, or the lack of one.
    fn tag_refusal(&self, asked: &Asked) -> Option<Told> {
        let bare = self.tag.to_string();
        match asked.headers.get("if-match") {
            None if self.has(&Habit::DemandsIfMatch) => Some(refused(428, "Base.1.12.PreconditionRequired")),
            Some(_) if self.has(&Habit::ChokesOnIfMatch) || self.has(&Habit::EmptyTag) => {
                Some(refused(412, "Base.1.12.PreconditionFailed"))
            }
            Some(tag) if self.has(&Habit::WantsBareTag) && *tag != bare => {
                Some(refused(412, "Base.1.12.PreconditionFailed"))
            }
            _ => None,
        }
    }

    fn patch(&mut self, id: &str, asked: &Asked) -> Told {
        if let Some(refusal) = self.tag_refusal(asked) {
            return refusal;
        }
        if asked.body["Boot"].is_null() {
            return self.switch_light(id, asked);
        }
        if let Some(id) = self.boot_refusal(id, &asked.body["Boot"]) {
            return refused(400, id);
        }
        let fields = ["Enabled", "Target", "Mode"].map(|name| format!("BootSourceOverride{name}"));
        let boot = &asked.body["Boot"];
        if self.has(&Habit::DemandsFullBoot) && fields.iter().any(|field| boot.get(field).is_none()) {
            return refused(400, "Base.1.12.PropertyMissing");
        }
        if !self.has(&Habit::ForgetsBoot) {
            let system = self.systems.get_mut(id).expect("a system");
            for field in fields {
                if let Some(value) = boot.get(&field) {
                    system["Boot"][field] = value.clone();
                }
            }
            if let Some(uri) = boot.get("HttpBootUri").filter(|_| !self.habits.contains(&Habit::ForgetsUri)) {
                system["Boot"]["HttpBootUri"] = uri.clone();
            }
            self.tag += 1;
        }
        told(200, json!({}))
    }

    /// Why this BMC does not take this override.
    fn boot_refusal(&self, id: &str, boot: &Value) -> Option<&'static str> {
        let system = &self.systems[id];
        let testing = system["BootProgress"]["LastState"] == "MemoryInitializationStarted";
        let disabled = system["Boot"]["BootSourceOverrideEnabled"] == "Disabled";
        self.habits.iter().find_map(|habit| match habit {
            Habit::ModeIsReadOnly if !boot["BootSourceOverrideMode"].is_null() => Some("Base.1.12.PropertyNotWritable"),
            Habit::KnowsOnlyOnce if boot["BootSourceOverrideEnabled"] == "Continuous" => {
                Some("Base.1.12.PropertyValueNotInList")
            }
            Habit::RefusesInPost if testing => Some("iLO.2.14.UnableToModifyDuringSystemPOST"),
            Habit::RefusesHttp if boot["BootSourceOverrideTarget"] == "UefiHttp" => {
                Some("Base.1.12.ActionNotSupported")
            }
            Habit::WaitsForJob(state) if *state != "Completed" => Some("IDRAC.2.8.SYS011"),
            Habit::RefusesNoChange if disabled && boot["BootSourceOverrideEnabled"] == "Disabled" => {
                Some("Base.1.12.PropertyValueConflict")
            }
            _ => None,
        })
    }

    fn job(&self, id: &str) -> Told {
        let state = self.habits.iter().find_map(|habit| match habit {
            Habit::WaitsForJob(state) => Some(*state),
            _ => None,
        });
        told(200, json!({"Id": id, "Name": "Configure: BIOS", "JobState": state.unwrap_or("Completed")}))
    }

    fn reset(&mut self, id: &str, asked: &Asked) -> Option<Told> {
        let kind = asked.body["ResetType"].as_str().unwrap_or_default().to_string();
        let after_off = self.resets.last().is_some_and(|last| last == "ForceOff");
        self.resets.push(kind.clone());
        match kind.as_str() {
            "ForceRestart" if self.has(&Habit::RestartsWarm) => return Some(told(204, Value::Null)),
            "On" if after_off && self.has(&Habit::BusyAfterOff) => {
                return Some(refused(409, "Base.1.12.ActionParameterValueConflict"));
            }
            "On" if self.has(&Habit::StaysOff) => return Some(refused(400, "Base.1.12.ActionNotSupported")),
            _ => {}
        }
        let failing = self.habits.iter().any(|habit| matches!(habit, Habit::ResetByTask(end) if *end != "Completed"));
        let system = self.systems.get_mut(id)?;
        let power = match asked.body["ResetType"].as_str()? {
            "On" | "ForceOn" | "ForceRestart" | "PowerCycle" => "On",
            "ForceOff" | "GracefulShutdown" => "Off",
            _ => return Some(refused(400, "Base.1.12.ActionParameterValueNotInList")),
        };
        if !failing {
            system["PowerState"] = power.into();
            if let Some(chassis) = &mut self.chassis {
                let once = power == "On" && system["Boot"]["BootSourceOverrideEnabled"] == "Once";
                chassis.switch(power == "On", Some(&system["Boot"]).filter(|_| once));
                if once {
                    system["Boot"]["BootSourceOverrideEnabled"] = "Disabled".into();
                }
            }
        }
        self.task_reads = 0;
        let place = ("Location", "/redfish/v1/TaskService/Tasks/7".to_string());
        let by_task = self.habits.iter().any(|habit| matches!(habit, Habit::ResetByTask(_)));
        match () {
            () if self.has(&Habit::DropsResetReply) => None,
            () if by_task => Some(Told { status: 202, headers: vec![place], body: json!({}) }),
            () if self.has(&Habit::TaskNowhere) => Some(told(202, json!({}))),
            () => Some(told(204, Value::Null)),
        }
    }

    fn task(&mut self) -> Told {
        self.task_reads += 1;
        let end = self.habits.iter().find_map(|habit| match habit {
            Habit::ResetByTask(end) => Some(*end),
            _ => None,
        });
        let state = if self.task_reads < 2 { "Running" } else { end.unwrap_or("Completed") };
        told(200, json!({"TaskState": state}))
    }
}
