//! The OpenAPI document as it is served: made once, when the router is.

use axum::Extension;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

#[derive(Clone)]
pub(crate) struct Document(pub Bytes);

pub(crate) async fn openapi(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document.0)
}
