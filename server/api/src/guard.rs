//! Who may do what: a bearer token has a role, a route has a policy, and nothing is allowed that no row allows.

use crate::policy::Policy;
use crate::problem::Problem;
use crate::{App, tokens};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Stands before every handler.
pub async fn guard(State((app, policy)): State<(App, Policy)>, mut request: Request, next: Next) -> Response {
    let Policy::Roles(roles) = policy else { return next.run(request).await };
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|text| text.strip_prefix("Bearer ")) else {
        let detail =
            "send a token: `Authorization: Bearer mstr_...`; the first one lies in admin.token in the data folder";
        return Problem::new(StatusCode::UNAUTHORIZED, "no-token", "Who are you?", detail).into_response();
    };
    match tokens::who(&app, token).await {
        Ok(Some(who)) if roles.contains(&who.role) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Ok(Some(who)) => {
            let allowed: Vec<&str> = roles.iter().map(|role| role.word()).collect();
            let detail = format!("{} has the role {}; this takes {}", who.name, who.role.word(), allowed.join(" or "));
            Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not with this token", detail).into_response()
        }
        Ok(None) => {
            let detail = "the token is not known, has expired or was revoked; ask an admin for another";
            Problem::new(StatusCode::UNAUTHORIZED, "bad-token", "This token is not valid", detail).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}
