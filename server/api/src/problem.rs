//! Errors as RFC 9457 problem details: what happened, and what to do next.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_conductor::Error;
use muster_store::Kind;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// A stable word for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
    /// For a person: the thing, what was expected, what was found, the next step.
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, title, status: status.as_u16(), detail: detail.into() }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request does not read", detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        match error.kind() {
            Kind::Refused => Self::new(StatusCode::CONFLICT, "refused", "Refused", text),
            Kind::Later => Self::new(StatusCode::SERVICE_UNAVAILABLE, "later", "Try again", text),
            Kind::Unreachable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The database does not answer", text)
            }
            Kind::Bug => {
                tracing::error!(error = %text, label = error.label(), "a request met a bug");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "bug", "Our mistake", "the daemon's log tells more")
            }
        }
    }
}

impl From<muster_store::Error> for Problem {
    fn from(source: muster_store::Error) -> Self {
        Error::Store { source }.into()
    }
}

/// Whatever refuses a request, a handler of ours or the framework before it, answers with a problem.
pub(crate) async fn whole(response: Response) -> Response {
    let status = response.status();
    let json = HeaderValue::from_static("application/problem+json");
    if !(status.is_client_error() || status.is_server_error())
        || response.headers().get(header::CONTENT_TYPE) == Some(&json)
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The framework's own refusals are one line.
    let text = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let detail = match text.is_empty() {
        true => "this method is not served here; /api/openapi.json lists what is".to_owned(),
        false => text,
    };
    let title = "The request was refused";
    let (fresh, body) = Problem::new(status, "bad-request", title, detail).into_response().into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(fresh.headers);
    Response::from_parts(head, body)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}
