//! The client's side of the API: one address, one token, one certificate authority.

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where the daemon is, and who we are.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// The daemon's API
    #[arg(long, env = "MUSTER_SERVER", default_value = "https://127.0.0.1:8443", global = true)]
    pub server: String,
    /// File with the token
    #[arg(long, env = "MUSTER_TOKEN_FILE", default_value = "/var/lib/muster/admin.token", global = true)]
    pub token_file: PathBuf,
    /// The site's certificate authority
    #[arg(long, env = "MUSTER_CA", default_value = "/var/lib/muster/ca.pem", global = true)]
    pub ca: PathBuf,
}

#[derive(Clone)]
pub struct Api {
    client: Client,
    server: String,
    token: String,
}

impl Api {
    pub fn new(access: &Access) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |file: &Path, what: &str, flag: &str| {
            std::fs::read_to_string(file)
                .with_context(|| format!("{what} {} does not read; name another with {flag}", file.display()))
        };
        let ca = read(&access.ca, "the certificate authority", "--ca")?;
        let token = read(&access.token_file, "the token file", "--token-file")?.trim().to_string();
        let client =
            Client::builder().tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes())?]).no_proxy().build()?;
        Ok(Self { client, server: access.server.trim_end_matches('/').to_string(), token })
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let sent = request.send().await;
        let response =
            sent.with_context(|| format!("the daemon at {} does not answer; is `muster serve` running?", self.server))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        match problem.get("detail").and_then(Value::as_str) {
            Some(detail) => bail!("{detail}"),
            None => bail!("{status}: {text}"),
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.send(Method::GET, path, None).await?.json().await?)
    }

    pub async fn text(&self, path: &str) -> Result<String> {
        Ok(self.send(Method::GET, path, None).await?.text().await?)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(Method::POST, path, Some(body)).await?.json().await?)
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.send(Method::PUT, path, Some(body)).await?.json().await?)
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        Ok(self.send(Method::DELETE, path, None).await?.json().await?)
    }

    /// The event stream, from a number on.
    pub async fn stream(&self, after: i64) -> Result<Response> {
        self.send(Method::GET, &format!("/api/v1/events?after={after}"), None).await
    }

    /// The id of the one machine that a person means by a word.
    pub async fn machine(&self, word: &str) -> Result<String> {
        let found = self.get(&format!("/api/v1/find?word={}", escaped(word))).await?;
        match found.as_array().map(Vec::as_slice) {
            Some([one]) => Ok(one.get("id").and_then(Value::as_str).unwrap_or_default().to_string()),
            Some([]) | None => bail!("no machine is called {word:?}"),
            Some(several) => bail!("{} machines are meant by {word:?}; name one by its id", several.len()),
        }
    }
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
