//! One HTTP client and one login per BMC (B7.2, B7.6, A5.6, A5.9, A5.10).
//!
//! Basic authentication only where a quirk asks for it, or where the BMC has no sessions and never had one for us; never as
//! a way out of a session that failed. Proxies of the environment and redirects are not followed:
//! the only address that gets a credential is the configured one.

use super::json;
use super::tls::{self, Seen};
use crate::lane::{Lane, Sent};
use crate::pace::Pace;
use crate::{Fault, Quirk, Target, Trust};
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// As the standard has it, and as some BMCs want it all the same.
pub const ROOTS: [&str; 2] = ["/redfish/v1/", "/redfish/v1"];
const MOST_BYTES: usize = 4 << 20;
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(20);
/// How long an answer that does not end by itself is read.
const STREAM: Duration = Duration::from_secs(3600);
const EVENTS: &str = "text/event-stream";
const GET_TRIES: u32 = 3;
const GET_PAUSE: Duration = Duration::from_secs(1);

/// Cheap to clone; shared by the operations on one BMC.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    base: String,
    login: Target,
    seen: Arc<Seen>,
    access: Mutex<Access>,
    /// The system's path, by what names it.
    systems: Lock<HashMap<Option<String>, String>>,
    /// The account whose password has to be changed first, as told with the login.
    own_account: Lock<Option<String>>,
    used: Lock<Instant>,
    pace: Arc<Pace>,
    /// What no answer is late within.
    patience: Duration,
    usual: Lock<Option<Duration>>,
}

/// How the BMC is told who asks.
#[derive(Default)]
enum Access {
    #[default]
    Open,
    Session(Session),
    /// It has no sessions: found out before any was had, and never gone back to after one (A5.10).
    Basic,
}

/// What goes with one request.
enum Pass<'a> {
    Nobody,
    Token(&'a HeaderValue),
    Basic,
}

#[derive(Clone)]
struct Session {
    token: HeaderValue,
    place: Option<String>,
}

/// An answer with a good status.
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    headers: HeaderMap,
}

impl Answer {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn etag(&self) -> Option<String> {
        self.header(&ETAG).map(str::to_string).or_else(|| json::text(&self.body, "/@odata.etag"))
    }

    /// Where what was made is.
    pub fn place(&self) -> Option<String> {
        self.header(&LOCATION).and_then(json::path)
    }

    /// Where the task is that this answer promises: the task itself rather than its monitor, since reading the
    /// monitor of a finished task deletes it on some BMCs (B7.7).
    pub fn task(&self) -> Option<String> {
        let told = json::text(&self.body, "/@odata.id").filter(|place| place.contains("/Tasks/"));
        told.as_deref().or_else(|| self.header(&LOCATION)).and_then(json::path)
    }
}

/// One request. `etag` is the `If-Match` to send.
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<&'a Value>,
    pub etag: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, etag: None }
    }
}

/// What came of one exchange that reached the BMC.
pub enum Outcome {
    Good(Answer),
    /// Status and body of an error.
    Bad(u16, Value),
}

impl Connection {
    /// The lane's connection, made anew when the credential or the trust has changed.
    pub async fn shared(
        slot: &Mutex<Option<Connection>>,
        engine: &crate::Inner,
        lane: &Lane,
        target: &Target,
    ) -> Result<Connection, Fault> {
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.fits(target)) {
            connection.touch();
            return Ok(connection.clone());
        }
        if let Some(old) = slot.take() {
            old.close().await;
        }
        let connection = Self::new(engine, lane, target)?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    fn new(engine: &crate::Inner, lane: &Lane, target: &Target) -> Result<Self, Fault> {
        let (base, settings, seen) = (base(target)?, &engine.settings, lane.seen.clone());
        let tls = tls::config(target.trust, seen.clone(), settings.authority.clone())?;
        let limits = (CONNECT.min(settings.deadline), REQUEST.min(settings.deadline));
        let client = client(tls, limits, settings.idle_close)?;
        Ok(Self(Arc::new(Inner {
            client,
            base,
            login: target.clone(),
            seen,
            access: Mutex::default(),
            systems: Lock::default(),
            own_account: Lock::default(),
            used: Lock::new(Instant::now()),
            pace: engine.pace.clone(),
            patience: settings.answer,
            usual: Lock::default(),
        })))
    }

    /// Shared with nobody.
    pub fn apart(engine: &crate::Inner, lane: &Lane, target: &Target) -> Result<Self, Fault> {
        Self::new(engine, lane, target)
    }

    pub fn fits(&self, target: &Target) -> bool {
        let mine = &self.0.login;
        let basic = Quirk::BasicAuth;
        let one_place = base(target).is_ok_and(|base| base == self.0.base);
        let login = (&mine.user, &mine.password, mine.trust, mine.has(basic));
        one_place && login == (&target.user, &target.password, target.trust, target.has(basic))
    }

    fn touch(&self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Late is what takes long by any measure, and twice as long as this BMC takes: some are slow by nature.
    fn timed(&self, lane: &Lane, took: Duration) {
        let mut usual = self.0.usual.lock().unwrap_or_else(PoisonError::into_inner);
        let late = took >= self.0.patience && usual.is_some_and(|usual| took > usual * 2);
        *usual = Some(usual.map_or(took, |usual| (usual * 3 + took) / 4));
        lane.hears();
        self.0.pace.answered(took, late);
    }

    pub fn idle(&self) -> Duration {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// Where the system is that the target means, if that was found out already.
    pub fn known_system(&self, target: &Target) -> Option<String> {
        self.0.systems.lock().unwrap_or_else(PoisonError::into_inner).get(&target.system).cloned()
    }

    pub fn know_system(&self, target: &Target, path: &str) {
        let mut systems = self.0.systems.lock().unwrap_or_else(PoisonError::into_inner);
        systems.insert(target.system.clone(), path.to_string());
    }

    pub fn own_account(&self) -> Option<String> {
        self.0.own_account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// DELETE of the session: some BMCs have sixteen, and keep them for half an hour.
    pub async fn close(self) {
        let access = std::mem::take(&mut *self.0.access.lock().await);
        if let Access::Session(Session { token, place: Some(place) }) = access {
            let request = self.0.client.delete(format!("{}{place}", self.0.base)).header(TOKEN, token);
            if let Err(error) = request.timeout(CONNECT).send().await {
                tracing::debug!(%error, bmc = self.0.base, "Redfish session not closed");
            }
        }
    }

    /// GET, asked again when the BMC is not well (B7.6), with the session renewed once when it has run out.
    pub async fn get(&self, lane: &Lane, path: &str) -> Result<Answer, Fault> {
        self.get_as(lane, path, true).await
    }

    async fn get_as(&self, lane: &Lane, path: &str, somebody: bool) -> Result<Answer, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (request, sent) = (Request::get(path), Sent::default());
            let outcome = match somebody {
                // Boxed: it asks for the root by this same way.
                true => Box::pin(self.exchange(lane, &request, &sent)).await,
                false => self.send(lane, &request, Pass::Nobody, &sent).await,
            };
            match outcome {
                Ok(Outcome::Good(answer)) => return Ok(answer),
                Ok(Outcome::Bad(500 | 502 | 503, _)) | Err(Fault::Http(_)) if tries < GET_TRIES => {
                    tokio::time::sleep(GET_PAUSE).await;
                }
                Ok(Outcome::Bad(status, body)) => return Err(json::fault(status, &body, path)),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The service root, which is for everybody, at whichever of its two addresses the BMC has it.
    pub async fn root(&self, lane: &Lane) -> Result<Answer, Fault> {
        let [root, other] = ROOTS;
        let answer = match self.get_as(lane, root, false).await {
            Err(Fault::NotOffered(_) | Fault::Declined(_)) => self.get_as(lane, other, false).await,
            answer => answer,
        };
        match answer {
            Ok(answer) if !answer.body.is_object() => Err(Fault::Garbled(format!("{root} is no object of JSON"))),
            Err(Fault::NotOffered(said)) => {
                Err(Fault::NotOffered(format!("{said}; is this the address of a BMC that speaks Redfish?")))
            }
            answer => answer,
        }
    }

    /// One authenticated exchange. A session that has run out is renewed once; a mutation is never repeated otherwise.
    pub async fn exchange(&self, lane: &Lane, request: &Request<'_>, sent: &Sent) -> Result<Outcome, Fault> {
        let Some(token) = self.token(lane, None).await? else { return self.basic(lane, request, sent).await };
        match self.send(lane, request, Pass::Token(&token), sent).await? {
            Outcome::Bad(401, _) => match self.token(lane, Some(&token)).await? {
                Some(token) => self.send(lane, request, Pass::Token(&token), sent).await,
                None => self.basic(lane, request, sent).await,
            },
            outcome => Ok(outcome),
        }
    }

    /// Whether the BMC takes the credential: by a session, or by one reading where it has none. Asked whatever was
    /// changed: it is how that is found out.
    pub async fn logs_in(&self, lane: &Lane) -> Result<bool, Fault> {
        let session = match self.0.login.has(Quirk::BasicAuth) {
            true => Ok(None),
            false => {
                let mut access = self.0.access.lock().await;
                self.open(lane, &mut access).await
            }
        };
        match session {
            Ok(Some(_)) | Err(Fault::WantsNewPassword(_)) => return Ok(true),
            Ok(None) => {}
            Err(Fault::Login) => return Ok(false),
            Err(fault) => return Err(fault),
        }
        let root = self.root(lane).await?.body;
        let systems = json::link(&root, "/Systems").unwrap_or_else(|| "/redfish/v1/Systems".to_string());
        match self.told(lane, &Request::get(&systems), &Sent::default()).await? {
            Outcome::Good(_) => Ok(true),
            Outcome::Bad(401, _) => Ok(false),
            Outcome::Bad(status, body) => match json::fault(status, &body, "a login") {
                Fault::WantsNewPassword(_) => Ok(true),
                fault => Err(fault),
            },
        }
    }

    /// A reading by a password that was changed since would be a failed login. What changes it comes this way too.
    async fn basic(&self, lane: &Lane, request: &Request<'_>, sent: &Sent) -> Result<Outcome, Fault> {
        if request.method == Method::GET {
            lane.is_current(&self.0.login)?;
        }
        self.told(lane, request, sent).await
    }

    /// The user and the password told with the request itself.
    async fn told(&self, lane: &Lane, request: &Request<'_>, sent: &Sent) -> Result<Outcome, Fault> {
        lane.may_log_in()?;
        let outcome = self.send(lane, request, Pass::Basic, sent).await?;
        match outcome {
            Outcome::Bad(401, _) => match lane.login_failed(&self.0.login) {
                Fault::Login => Ok(outcome),
                away => Err(away),
            },
            Outcome::Good(_) => {
                lane.login_worked();
                Ok(outcome)
            }
            Outcome::Bad(..) => Ok(outcome),
        }
    }

    /// The session's token; a new one when there is none, or when it is still the `stale` one. `None`: the BMC has no
    /// sessions, or the site wants none.
    async fn token(&self, lane: &Lane, stale: Option<&HeaderValue>) -> Result<Option<HeaderValue>, Fault> {
        if self.0.login.has(Quirk::BasicAuth) {
            return Ok(None);
        }
        let mut access = self.0.access.lock().await;
        match &*access {
            Access::Session(session) if Some(&session.token) != stale => return Ok(Some(session.token.clone())),
            Access::Basic => return Ok(None),
            Access::Session(_) | Access::Open => {}
        }
        lane.is_current(&self.0.login)?;
        self.open(lane, &mut access).await
    }

    /// A new session, or the finding that there are none.
    async fn open(&self, lane: &Lane, access: &mut Access) -> Result<Option<HeaderValue>, Fault> {
        *access = Access::Open;
        // Nobody is named yet: this only finds out where sessions are made, and whether the key is the right one.
        let root = match self.root(lane).await {
            Ok(root) => root.body,
            Err(Fault::Login | Fault::Declined(_)) => Value::Null,
            Err(fault) => return Err(fault),
        };
        let sessions =
            json::link(&root, "/Links/Sessions").unwrap_or_else(|| "/redfish/v1/SessionService/Sessions".to_string());
        lane.may_log_in()?;
        let login = &self.0.login;
        let body = json!({"UserName": login.user, "Password": login.password.reveal()});
        let ask = Request { method: Method::POST, path: &sessions, body: Some(&body), etag: None };
        match self.send(lane, &ask, Pass::Nobody, &Sent::default()).await? {
            Outcome::Good(answer) => {
                let Some(mut token) = answer.headers.get(&TOKEN).cloned() else {
                    return self.without_sessions(access, Fault::Garbled("a session without X-Auth-Token".into()));
                };
                lane.login_worked();
                self.0.seen.session_made();
                token.set_sensitive(true);
                let place = answer.place();
                let place = place.or_else(|| json::path(&json::text(&answer.body, "/@odata.id")?));
                if let Some(account) = json::wants_new_password(&answer.body) {
                    *self.0.own_account.lock().unwrap_or_else(PoisonError::into_inner) = account;
                }
                *access = Access::Session(Session { token: token.clone(), place });
                Ok(Some(token))
            }
            Outcome::Bad(status, body) => {
                let fault = json::fault(status, &body, "a new session");
                match (status, &fault) {
                    (_, Fault::NoSlot) => Err(fault),
                    (404 | 405 | 501, _) => self.without_sessions(access, fault),
                    // It knows who asks, and gives no session before the password is changed.
                    (_, Fault::WantsNewPassword(account)) => {
                        *self.0.own_account.lock().unwrap_or_else(PoisonError::into_inner) = account.clone();
                        self.without_sessions(access, fault)
                    }
                    (400 | 401 | 403, other) if !matches!(other, Fault::Busy(_)) => match lane.login_failed(login) {
                        Fault::Login => Err(json::refused_login(&body)),
                        away => Err(away),
                    },
                    _ => Err(fault),
                }
            }
        }
    }

    /// A BMC that never had a session for us may be told the user with each request: the password went to it already.
    fn without_sessions(&self, access: &mut Access, fault: Fault) -> Result<Option<HeaderValue>, Fault> {
        if self.0.seen.had_session() {
            return Err(fault);
        }
        *access = Access::Basic;
        Ok(None)
    }

    fn request(&self, method: &Method, path: &str, pass: Pass<'_>) -> reqwest::RequestBuilder {
        let Inner { client, base, login, .. } = &*self.0;
        let request = client.request(method.clone(), format!("{base}{path}")).header("OData-Version", "4.0");
        match pass {
            Pass::Nobody => request,
            Pass::Token(token) => request.header(TOKEN, token),
            Pass::Basic => request.basic_auth(&login.user, Some(login.password.reveal())),
        }
    }

    /// A GET of events that are sent as they happen: its answer is read for an hour at most.
    pub async fn stream(&self, lane: &Lane, path: &str) -> Result<reqwest::Response, Fault> {
        let token = self.token(lane, None).await?;
        let pass = match &token {
            Some(token) => Pass::Token(token),
            None => {
                lane.is_current(&self.0.login)?;
                lane.may_log_in()?;
                Pass::Basic
            }
        };
        let request = self.request(&Method::GET, path, pass).header(ACCEPT, EVENTS).timeout(STREAM);
        let failed = |error: reqwest::Error| self.0.seen.foreign().unwrap_or(Fault::Http(error.without_url()));
        let answer = tokio::time::timeout(REQUEST, request.send()).await.map_err(|_| Fault::NoAnswer(REQUEST))?;
        let answer = answer.map_err(failed)?;
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED && token.is_none() {
            return Err(lane.login_failed(&self.0.login));
        }
        if !status.is_success() {
            return Err(json::fault(status.as_u16(), &Value::Null, path));
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.trim_start().to_ascii_lowercase().starts_with(EVENTS) {
            true => Ok(answer),
            false => Err(Fault::NotOffered(format!("events at {path}: it sends {kind:?} there"))),
        }
    }

    async fn send(&self, lane: &Lane, ask: &Request<'_>, pass: Pass<'_>, sent: &Sent) -> Result<Outcome, Fault> {
        let inner = &self.0;
        let mut request = self.request(&ask.method, ask.path, pass);
        if let Some(etag) = ask.etag {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        if ask.method != Method::GET {
            sent.mark();
        }
        let asked = Instant::now();
        let mut outcome = receive(request, &inner.seen, MOST_BYTES).await;
        self.touch();
        if outcome.is_ok() {
            self.timed(lane, asked.elapsed());
        }
        if let Ok(Outcome::Bad(_, body)) = &mut outcome {
            let told = |name: &str| ask.body.and_then(|body| body.get(name)?.as_str()).unwrap_or_default();
            // The end of the address that a BMC sends events to is known to it and to us.
            let token = told("Destination").rsplit('/').next().unwrap_or_default();
            json::hush(body, &[inner.login.password.reveal(), told("Password"), token]);
        }
        match &outcome {
            // Not connected, or told no: it did not happen. After a 5xx nobody knows.
            Err(Fault::Http(error)) if error.is_connect() => sent.denied(),
            Err(Fault::ForeignKey { .. }) => sent.denied(),
            Ok(Outcome::Bad(300..500, _)) => sent.denied(),
            _ => {}
        }
        outcome
    }
}

/// One that goes to the address it is given and nowhere else. The limits are for the connection and for a whole exchange.
pub fn client(tls: rustls::ClientConfig, limits: (Duration, Duration), idle: Duration) -> Result<Client, Fault> {
    let (connect, whole) = limits;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .timeout(whole)
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(idle)
        .build()
        .map_err(|error| Fault::Broken(format!("no HTTP client: {error}")))
}

/// Sends it and reads the answer, `most` bytes of it at most.
pub async fn receive(request: reqwest::RequestBuilder, seen: &Seen, most: usize) -> Result<Outcome, Fault> {
    let failed = |error: reqwest::Error| seen.foreign().unwrap_or(Fault::Http(error.without_url()));
    let mut response = request.send().await.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return Err(Fault::Garbled(format!("an answer of more than {most} bytes")));
        }
    }
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        Err(_) if bytes.iter().all(u8::is_ascii_whitespace) || !status.is_success() => Value::Null,
        Err(error) => return Err(Fault::Garbled(format!("no JSON, line {}: {error}", error.line()))),
    };
    Ok(match status.is_success() {
        true => Outcome::Good(Answer { status, body, headers }),
        false => Outcome::Bad(status.as_u16(), body),
    })
}

/// `https://host:port`, from whatever form the address has.
pub fn base(target: &Target) -> Result<String, Fault> {
    let address = target.address.trim();
    let (scheme, host) = match address.split_once("://") {
        Some(("http", _)) if target.trust != Trust::Plain => return Err(Fault::PlainHttp),
        Some((scheme @ ("http" | "https"), host)) => (scheme, host),
        Some(_) => return Err(Fault::NoAddress(target.address.clone())),
        None if target.trust == Trust::Plain => ("http", address),
        None => ("https", address),
    };
    let host = host.trim_end_matches('/');
    // An IPv6 address without brackets.
    let host = match host.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => host.to_string(),
    };
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if host.is_empty() || !plain {
        return Err(Fault::NoAddress(target.address.clone()));
    }
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, Secret};

    #[test]
    fn plain_http_is_spoken_only_where_it_was_allowed() {
        let base = |address: &str, trust| {
            let mut target = Target::new(Protocol::Redfish, address, "u", Secret::new("p"));
            target.trust = trust;
            base(&target)
        };
        assert!(matches!(base("http://10.0.0.1", Trust::FirstUse), Err(Fault::PlainHttp)));
        assert_eq!(base("http://10.0.0.1/", Trust::Plain).unwrap(), "http://10.0.0.1");
        assert_eq!(base("10.0.0.1:8443", Trust::FirstUse).unwrap(), "https://10.0.0.1:8443");
        assert_eq!(base("fe80::1", Trust::FirstUse).unwrap(), "https://[fe80::1]");
        for bad in ["", "ftp://x", "user@host", "host/path", "https://"] {
            assert!(matches!(base(bad, Trust::FirstUse), Err(Fault::NoAddress(_))), "{bad}");
        }
    }
}
