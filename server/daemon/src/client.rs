//! The client's side of the API: one address, one token, one certificate authority.
//!
//! What goes wrong on the way is told by its cause (no daemon, another authority, a token that is none), never as the
//! library's text alone, and tells a script by the exit code whether asking again can help.

use crate::table::{plain, plain_text};
use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method, Response, Url};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Where the daemon is, and who we are.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// The daemon's API
    #[arg(
        long,
        env = "MUSTER_SERVER",
        default_value = "https://127.0.0.1:8443",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    pub server: String,
    /// File with the token
    #[arg(
        long,
        env = "MUSTER_TOKEN_FILE",
        default_value = "/var/lib/muster/admin.token",
        value_name = "FILE",
        hide_env_values = true,
        global = true
    )]
    pub token_file: PathBuf,
    /// The site's certificate authority
    #[arg(
        long,
        env = "MUSTER_CA",
        default_value = "/var/lib/muster/ca.pem",
        value_name = "FILE",
        hide_env_values = true,
        global = true
    )]
    pub ca: PathBuf,
}

/// The daemon did not answer, or cannot now: the same again may work later.
#[derive(Debug)]
pub struct Away(String);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

#[derive(Clone)]
pub struct Api {
    client: Client,
    server: String,
    token: String,
    access: Access,
}

impl Api {
    pub fn new(access: &Access) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = server(&access.server)?;
        let token = token(&access.token_file)?;
        let client = Client::builder().tls_certs_only([authority(&access.ca)?]).no_proxy().build()?;
        Ok(Self { client, server, token, access: access.clone() })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(self.refused(status.as_u16(), &text))
    }

    /// What an answer that is no success says.
    fn refused(&self, status: u16, text: &str) -> anyhow::Error {
        let problem: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let detail = match problem.get("detail").and_then(Value::as_str) {
            Some(detail) => plain_text(detail),
            None => format!("{} answers {status}: {}", self.server, plain_text(text)),
        };
        match status {
            401 => anyhow::anyhow!("{detail} (the token is that of {})", self.access.token_file.display()),
            502..=504 => Away(detail).into(),
            _ => anyhow::anyhow!("{detail}"),
        }
    }

    /// Why nothing came back, by its innermost cause.
    fn unanswered(&self, error: &reqwest::Error) -> anyhow::Error {
        let mut causes = Vec::new();
        let mut source: Option<&dyn std::error::Error> = Some(error);
        while let Some(found) = source {
            causes.push(found.to_string());
            source = found.source();
        }
        let innermost = causes.last().cloned().unwrap_or_default();
        let server = &self.server;
        if let Some(cause) = causes.iter().find(|cause| cause.contains("certificate")) {
            return anyhow::anyhow!(
                "{server} is not believed: {} did not sign its certificate ({cause}); take ca.pem from that daemon's data folder and name it with --ca",
                self.access.ca.display()
            );
        }
        Away(format!(
            "{server} does not answer ({innermost}); is `muster serve` running there? --server names another address"
        ))
        .into()
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(plain(self.send(Method::GET, path, None).await?.json().await?))
    }

    pub async fn text(&self, path: &str) -> Result<String> {
        Ok(self.send(Method::GET, path, None).await?.text().await?)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(plain(self.send(Method::POST, path, Some(body)).await?.json().await?))
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(plain(self.send(Method::PUT, path, Some(body)).await?.json().await?))
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        Ok(plain(self.send(Method::DELETE, path, None).await?.json().await?))
    }

    /// What is not JSON.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.send(Method::GET, path, None).await?.bytes().await?.to_vec())
    }

    /// A WebSocket at this path. Its refusals are those of every other request.
    pub async fn socket(&self, path: &str) -> Result<Socket> {
        let url = Url::parse(&format!("{}{path}", self.server))?;
        let (host, port) = (url.host_str().unwrap_or_default().to_string(), url.port_or_known_default().unwrap_or(443));
        let away = |cause: String| {
            Away(format!("{} does not answer ({cause}); is `muster serve` running there?", self.server))
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await.map_err(|error| away(error.to_string()))?;
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(&self.access.ca)?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate?)?;
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(bare.to_string())?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| away(error.to_string()))?;
        let mut request = format!("wss{}", url.as_str().trim_start_matches("https")).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                let text = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
                Err(self.refused(response.status().as_u16(), &text))
            }
            Err(error) => Err(away(error.to_string()).into()),
        }
    }

    /// The event stream, from a number on.
    pub async fn stream(&self, after: i64) -> Result<Response> {
        self.send(Method::GET, &format!("/api/v1/events?after={after}"), None).await
    }

    /// The newest event's number.
    pub async fn newest(&self) -> Result<i64> {
        // The head's number stands in the metrics; reading the log from its end needs no paging.
        let text = self.text("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix("muster_events_total "));
        Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
    }

    /// All machines, or those of one state, page by page.
    pub async fn machines(&self, state: Option<&str>) -> Result<Vec<Value>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let mut path = format!("/api/v1/machines?limit=1000&after={}", escaped(&after));
            if let Some(state) = state {
                path = format!("{path}&state={}", escaped(state));
            }
            let page = self.get(&path).await?;
            all.extend(page.get("machines").and_then(Value::as_array).cloned().unwrap_or_default());
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = next.to_string(),
                None => return Ok(all),
            }
        }
    }

    /// The id of the one machine that a person means by a word.
    pub async fn machine(&self, word: &str) -> Result<String> {
        let found = self.get(&format!("/api/v1/find?word={}", escaped(word))).await?;
        match found.as_array().map(Vec::as_slice) {
            Some([one]) => Ok(one.get("id").and_then(Value::as_str).unwrap_or_default().to_string()),
            Some([]) | None => bail!("no machine is called {word:?}; `muster machine list` shows those that are known"),
            Some(several) => {
                let named =
                    |one: &Value| format!("{} ({})", crate::table::cell(one, "name"), crate::table::cell(one, "id"));
                let names: Vec<String> = several.iter().map(named).collect();
                bail!("{word:?} means {} machines: {}; name one by its id", several.len(), names.join(", "))
            }
        }
    }
}

/// The address without a slash at its end. The token is never sent in the clear.
fn server(text: &str) -> Result<String> {
    let wrong = || format!("--server {text} is not an address of the API; write it like https://HOST:8443");
    let url = Url::parse(text).with_context(wrong)?;
    ensure!(url.scheme() == "https" && url.host_str().is_some(), wrong());
    Ok(text.trim_end_matches('/').to_string())
}

fn token(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "the token file {} does not read; name another with --token-file, or ask an admin for `muster token make`",
            file.display()
        )
    })?;
    let token = text.trim();
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(
        token.starts_with("mstr_") && plain,
        "{} holds no token: expected one line that begins with mstr_; name another file with --token-file",
        file.display()
    );
    Ok(token.to_string())
}

fn authority(file: &Path) -> Result<reqwest::Certificate> {
    let pem = std::fs::read(file).with_context(|| {
        format!(
            "the certificate authority {} does not read; take ca.pem from the daemon's data folder and name it with --ca",
            file.display()
        )
    })?;
    let holds = pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----");
    ensure!(
        holds,
        "{} holds no certificate; take ca.pem from the daemon's data folder and name it with --ca",
        file.display()
    );
    reqwest::Certificate::from_pem(&pem).with_context(|| format!("in {}", file.display()))
}

/// Percent-encodes what is not plain in a query.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_over_tls_or_not_at_all() {
        assert_eq!(server("https://muster.example:8443/").unwrap(), "https://muster.example:8443");
        for wrong in ["http://muster.example:8443", "muster.example:8443", "nonsense", ""] {
            assert!(format!("{:#}", server(wrong).unwrap_err()).contains("https://HOST:8443"), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_holds_something_else_is_told_before_anything_is_sent() {
        let file = std::env::temp_dir().join(format!("muster-client-{}", std::process::id()));
        std::fs::write(&file, "root:x:0:0\ndaemon:x:1:1\n").unwrap();
        let (token, authority) = (token(&file).unwrap_err(), authority(&file).unwrap_err());
        std::fs::remove_file(&file).unwrap();
        assert!(token.to_string().contains("mstr_"), "{token}");
        assert!(authority.to_string().contains("holds no certificate"), "{authority}");
        assert!(format!("{:#}", super::token(&file).unwrap_err()).contains("muster token make"));
    }

    #[test]
    fn what_a_person_types_is_one_part_of_a_query() {
        assert_eq!(escaped("a b&state=x/é"), "a%20b%26state%3Dx%2F%C3%A9");
    }
}
