//! The table of routes.

use crate::guard::guard;
use crate::policy::{Policy, Role, Row};
use crate::{App, adoption, bmcs, boots, console, document, events, firmware, machines, metrics, plans, site, tokens};
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Router};

const READ: Policy = Policy::Roles(&Role::ALL);
const RACK: Policy = Policy::Roles(&[Role::Tech, Role::Operator, Role::Approver, Role::Admin]);
const CHANGE: Policy = Policy::Roles(&[Role::Operator, Role::Approver, Role::Admin]);
const SECOND: Policy = Policy::Roles(&[Role::Approver, Role::Admin]);
const ADMIN: Policy = Policy::Roles(&[Role::Admin]);

fn row(
    (method, path): (&'static str, &'static str),
    policy: Policy,
    summary: &'static str,
    (takes, gives): (Option<&'static str>, Option<&'static str>),
    handler: fn() -> MethodRouter<App>,
) -> Row {
    Row { method, path, policy, summary, takes, gives, handler }
}

/// Every route there is.
pub fn routes() -> Vec<Row> {
    let mut rows = open();
    rows.extend(of_machines());
    rows.extend(of_bmcs());
    rows.extend(of_the_site());
    rows
}

fn gives(name: &'static str) -> (Option<&'static str>, Option<&'static str>) {
    (None, Some(name))
}

const PLAIN: (Option<&str>, Option<&str>) = (None, None);

fn open() -> Vec<Row> {
    vec![
        row(("GET", "/healthz"), Policy::Public, "The process runs", PLAIN, || get(metrics::healthz)),
        row(("GET", "/readyz"), Policy::Public, "The database answers", PLAIN, || get(metrics::readyz)),
        row(("GET", "/metrics"), Policy::Public, "Figures for Prometheus", PLAIN, || get(metrics::metrics)),
        row(("GET", "/api/openapi.json"), Policy::Public, "This document", PLAIN, || get(document::openapi)),
    ]
}

fn of_machines() -> Vec<Row> {
    vec![
        row(("GET", "/api/v1/machines"), READ, "Machines by name, a page at a time", gives("Page"), || {
            get(machines::list)
        }),
        row(("GET", "/api/v1/machines/{id}"), READ, "One machine, whole", gives("Machine"), || get(machines::show)),
        row(("GET", "/api/v1/machines/{id}/events"), READ, "The machine's log, oldest first", gives("Events"), || {
            get(machines::log)
        }),
        row(
            ("GET", "/api/v1/machines/{id}/console"),
            READ,
            "The machine's console as a WebSocket; typing takes an operator: read-only=true, take-over=true",
            PLAIN,
            || get(console::sit),
        ),
        row(
            ("GET", "/api/v1/machines/{id}/console/recorded"),
            READ,
            "What is kept of the machine's console: since=, until= in milliseconds, raw=true",
            gives("Recorded"),
            || get(console::recorded),
        ),
        row(("GET", "/api/v1/machines/{id}/model"), READ, "A model file learnt from this machine", PLAIN, || {
            get(machines::learn)
        }),
    ]
}

fn of_the_site() -> Vec<Row> {
    vec![
        row(("GET", "/api/v1/find"), READ, "Machines of a name, id, serial or MAC", gives("Machines"), || {
            get(machines::find)
        }),
        row(("GET", "/api/v1/racks"), READ, "Rack layouts and who stands there", gives("Racks"), || get(site::racks)),
        row(("GET", "/api/v1/models"), READ, "Hardware models", gives("Models"), || get(site::models)),
        row(("GET", "/api/v1/images"), READ, "Images that can be installed", gives("Images"), || get(site::images)),
        row(("GET", "/api/v1/orders"), READ, "Install orders that are open", gives("Orders"), || get(site::orders)),
        row(("GET", "/api/v1/tickets"), READ, "What waits for a person", gives("Tickets"), || get(site::tickets)),
        row(("GET", "/api/v1/events"), READ, "The event log as server-sent events, after=SEQ", PLAIN, || {
            get(events::stream)
        }),
        row(("GET", "/api/v1/log"), READ, "A page of the event log, after=SEQ", gives("Events"), || get(events::page)),
        row(("GET", "/api/v1/log/verify"), READ, "Whether the log's chain is whole", gives("Verified"), || {
            get(events::verify)
        }),
        row(
            ("GET", "/api/v1/boot/{word}"),
            READ,
            "The last boots of a MAC or machine, each with its stages and what it came to: boots=N, brief=true",
            gives("Boots"),
            || get(boots::show),
        ),
        row(
            ("GET", "/api/v1/conflicts"),
            READ,
            "Who else speaks for what is ours on the boot networks",
            gives("Conflicts"),
            || get(site::conflicts),
        ),
        row(("GET", "/api/v1/firmware"), RACK, "Firmware plan, machines=ID,ID", gives("FirmwareReport"), || {
            get(firmware::plan)
        }),
        row(
            ("POST", "/api/v1/plans"),
            RACK,
            "Make a plan; changes nothing else",
            (Some("PlanRequest"), Some("Planned")),
            || post(plans::make),
        ),
        row(
            ("POST", "/api/v1/plans/{digest}/execute"),
            RACK,
            "Carry a plan out, once",
            (None, Some("Executed")),
            || post(plans::execute),
        ),
        row(
            ("POST", "/api/v1/plans/{digest}/approve"),
            SECOND,
            "The second person's word",
            (Some("Approval"), None),
            || post(plans::approve),
        ),
        row(
            ("POST", "/api/v1/imports"),
            CHANGE,
            "Plan an import of reservations and leases; changes nothing else",
            (Some("ImportRequest"), Some("ImportPlanned")),
            || post(plans::plan_import),
        ),
        row(
            ("POST", "/api/v1/imports/{digest}/execute"),
            CHANGE,
            "Carry the plan of an import out, once",
            (None, Some("Imported")),
            || post(plans::execute_import),
        ),
        row(("GET", "/api/v1/freeze"), READ, "Whether everything is frozen", gives("Freeze"), || get(site::frozen)),
        row(("PUT", "/api/v1/freeze"), RACK, "The red button", (Some("FreezeRequest"), None), || put(site::freeze)),
        row(("POST", "/api/v1/reload"), CHANGE, "Read the data files again", PLAIN, || post(site::reload)),
        row(("GET", "/api/v1/tokens"), ADMIN, "Tokens, without their secrets", gives("Tokens"), || get(tokens::list)),
        row(
            ("POST", "/api/v1/tokens"),
            ADMIN,
            "Make a token; it is shown once",
            (Some("TokenRequest"), Some("TokenMade")),
            || post(tokens::make),
        ),
        row(("DELETE", "/api/v1/tokens/{id}"), ADMIN, "Revoke a token", PLAIN, || delete(tokens::revoke)),
    ]
}

/// What is known of the BMCs.
fn of_bmcs() -> Vec<Row> {
    vec![
        row(("GET", "/api/v1/machines/{id}/bmc"), READ, "The machine's BMC as it was seen last", gives("Bmc"), || {
            get(bmcs::show)
        }),
        row(
            ("GET", "/api/v1/machines/{id}/bmc/log"),
            READ,
            "What the BMC logged, oldest first: after=N, limit=N",
            gives("BmcEntries"),
            || get(bmcs::log),
        ),
        row(
            ("GET", "/api/v1/machines/{id}/bmc/readings"),
            READ,
            "Its sensors over time: grain=visit|hour|day, sensor=NAME, from=MILLIS, until=MILLIS",
            gives("Readings"),
            || get(bmcs::readings),
        ),
        row(
            ("PUT", "/api/v1/machines/{id}/bmc/address"),
            CHANGE,
            "Where the machine's BMC is now, for one that was adopted",
            (Some("MoveRequest"), None),
            || put(adoption::moved),
        ),
        row(
            ("PUT", "/api/v1/machines/{id}/bmc/pin"),
            CHANGE,
            "The key that the machine's BMC is known by",
            (Some("TrustRequest"), None),
            || put(adoption::trust),
        ),
        row(
            ("GET", "/api/v1/bmcs/found"),
            READ,
            "BMCs that answered, whoever they belong to",
            gives("FoundBmcs"),
            || get(adoption::found),
        ),
        row(
            ("GET", "/api/v1/bmcs/learnt"),
            READ,
            "What BMCs of each kind were seen to do",
            gives("LearntBmcs"),
            || get(adoption::learnt),
        ),
        row(("GET", "/api/v1/bmcs/scan"), READ, "How far the newest scan is", gives("Scan"), || get(adoption::scanned)),
        row(("POST", "/api/v1/bmcs/scan"), RACK, "Scan the configured ranges now", gives("Scan"), || {
            post(adoption::scan)
        }),
        row(("GET", "/api/v1/bmcs/awaited"), READ, "BMCs that are said to be ours", gives("AwaitedBmcs"), || {
            get(adoption::awaited)
        }),
        row(
            ("DELETE", "/api/v1/bmcs/awaited/{id}"),
            CHANGE,
            "Forget such an entry; what was adopted stays",
            PLAIN,
            || delete(adoption::forget),
        ),
        row(
            ("POST", "/api/v1/bmcs/manifest"),
            CHANGE,
            "Look at a manifest of BMCs; with the digest of that look, take it",
            (Some("Manifest"), Some("ManifestPlanned")),
            || post(adoption::manifest),
        ),
    ]
}

/// The OpenAPI document of this build.
pub fn openapi() -> serde_json::Value {
    crate::openapi::document(&routes())
}

/// The router of the API listener.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for row in routes() {
        let layer = from_fn_with_state((app.clone(), row.policy), guard);
        router = router.route(row.path, (row.handler)().layer(layer));
    }
    let limit = axum::extract::DefaultBodyLimit::max(1 << 20);
    let document = Extension(document::Document(openapi().to_string().into()));
    router.fallback(nowhere).layer(limit).layer(document).layer(map_response(crate::problem::whole)).with_state(app)
}

async fn nowhere(uri: axum::http::Uri) -> crate::Problem {
    crate::Problem::not_found(format!("there is nothing at {}; /api/openapi.json lists what there is", uri.path()))
}
