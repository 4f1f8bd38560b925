//! The OpenAPI document, made of the table of routes and the types' own schemas. `docs/openapi.json` is its golden copy.

use crate::policy::{Policy, Row};
use crate::{adoption, bmcs, boots, console, events, machines, plans, problem, site, tokens};
use muster_conductor::{import, plans as made};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The document of these routes.
pub fn document(rows: &[Row]) -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.meta_schema = None);
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for row in rows {
        let mut operation = json!({
            "summary": row.summary,
            "responses": {
                "200": answer(&mut generator, row.gives),
                "default": { "description": "A problem", "content": { "application/problem+json": {
                    "schema": generator.subschema_for::<problem::Problem>() } } },
            },
        });
        if let Some(name) = row.takes {
            let schema = schema(&mut generator, name);
            let content = json!({ "application/json": { "schema": schema } });
            insert(&mut operation, "requestBody", json!({ "required": true, "content": content }));
        }
        let parameters: Vec<Value> = row
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        insert(&mut operation, "parameters", Value::Array(parameters));
        if let Policy::Roles(roles) = row.policy {
            let words: Vec<&str> = roles.iter().map(|role| role.word()).collect();
            insert(&mut operation, "security", json!([{ "token": [] }]));
            insert(&mut operation, "x-roles", json!(words));
        }
        let path = paths.entry(row.path.to_string()).or_insert_with(|| json!({}));
        insert(path, &row.method.to_lowercase(), operation);
    }
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Muster", "version": "v1", "license": { "name": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_string(), value);
    }
}

fn answer(generator: &mut SchemaGenerator, name: Option<&str>) -> Value {
    match name {
        Some(name) => {
            let schema = schema(generator, name);
            json!({ "description": "Done", "content": { "application/json": { "schema": schema } } })
        }
        None => json!({ "description": "Done" }),
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// A name that the table uses and this list lacks shows as an empty schema, and a test refuses it.
fn schema(generator: &mut SchemaGenerator, name: &str) -> Value {
    match name {
        "Page" => of::<machines::Page>(generator),
        "FirmwareReport" => of::<muster_conductor::FirmwareReport>(generator),
        "Machine" => of::<machines::Machine>(generator),
        "Machines" => of::<Vec<machines::Line>>(generator),
        "Events" => of::<Vec<events::EventShown>>(generator),
        "Verified" => of::<events::Verified>(generator),
        "Racks" => of::<Vec<muster_catalog::Rack>>(generator),
        "Models" => of::<Vec<muster_catalog::Model>>(generator),
        "Images" => of::<Vec<site::ImageShown>>(generator),
        "Orders" => of::<Vec<site::OrderShown>>(generator),
        "Tickets" => of::<Vec<site::TicketShown>>(generator),
        "Conflicts" => of::<Vec<site::ConflictShown>>(generator),
        "FoundBmcs" => of::<Vec<muster_conductor::FoundBmc>>(generator),
        "LearntBmcs" => of::<Vec<muster_conductor::LearntShown>>(generator),
        "Scan" => of::<muster_conductor::ScanTold>(generator),
        "AwaitedBmcs" => of::<Vec<muster_conductor::AwaitedShown>>(generator),
        "Manifest" => of::<muster_conductor::Manifest>(generator),
        "ManifestPlanned" => of::<muster_conductor::ManifestPlanned>(generator),
        "MoveRequest" => of::<adoption::MoveRequest>(generator),
        "TrustRequest" => of::<adoption::TrustRequest>(generator),
        "Bmc" => of::<bmcs::BmcShown>(generator),
        "BmcEntries" => of::<Vec<bmcs::BmcEntryShown>>(generator),
        "Readings" => of::<Vec<bmcs::ReadingShown>>(generator),
        "Recorded" => of::<console::Recorded>(generator),
        "Boots" => of::<boots::BootsShown>(generator),
        "Freeze" => of::<site::Freeze>(generator),
        "FreezeRequest" => of::<site::FreezeRequest>(generator),
        "PlanRequest" => of::<made::PlanRequest>(generator),
        "Planned" => of::<made::Planned>(generator),
        "Executed" => of::<made::Executed>(generator),
        "ImportRequest" => of::<import::ImportRequest>(generator),
        "ImportPlanned" => of::<import::ImportPlanned>(generator),
        "Imported" => of::<import::Imported>(generator),
        "Approval" => of::<plans::Approval>(generator),
        "TokenRequest" => of::<tokens::TokenRequest>(generator),
        "TokenMade" => of::<tokens::TokenMade>(generator),
        "Tokens" => of::<Vec<tokens::TokenShown>>(generator),
        _ => Value::Null,
    }
}
