//! The OpenAPI document as it is served.

use axum::Json;

pub(crate) async fn openapi() -> Json<serde_json::Value> {
    Json(crate::openapi())
}
