//! Where a BMC that is spoken to over Redfish has its machine's console (DSP0268: `SerialConsole` of a ComputerSystem,
//! of a Manager before 2020, `IPMI` of the ManagerNetworkProtocol).
//!
//! Redfish carries no console itself: it names the services that do. IPMI is the one that we speak, with the same
//! account. Where it is off or not there, what the BMC does offer is named, for a person.

use super::fields::{Fields, target};
use super::{Turn, json};
use crate::Fault;
use serde_json::Value;

const IPMI_PORT: u16 = 623;

/// The UDP port of IPMI there. The resources beside the system may be missing: then they say nothing.
pub async fn console_port(turn: &Turn<'_>) -> Result<u16, Fault> {
    let (_, system) = turn.system().await?;
    let by = Fields(&system.body).list("Links/ManagedBy").next().and_then(target);
    let manager = optional(turn, by).await?;
    let network = optional(turn, json::link(&manager, "/NetworkProtocol")).await?;
    port(&system.body, &manager, &network)
}

async fn optional(turn: &Turn<'_>, path: Option<String>) -> Result<Value, Fault> {
    let Some(path) = path else { return Ok(Value::Null) };
    match turn.get(&path).await {
        Ok(answer) => Ok(answer.body),
        Err(Fault::NotOffered(_) | Fault::Declined(_) | Fault::Garbled(_) | Fault::Busy(_)) => Ok(Value::Null),
        Err(fault) => Err(fault),
    }
}

fn enabled(value: &Value, pointer: &str) -> Option<bool> {
    value.pointer(pointer).and_then(Value::as_bool)
}

fn number(value: &Value, pointer: &str) -> Option<u16> {
    value.pointer(pointer).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn port(system: &Value, manager: &Value, network: &Value) -> Result<u16, Fault> {
    let told = number(system, "/SerialConsole/IPMI/Port").or_else(|| number(network, "/IPMI/Port"));
    let kinds = json::texts(manager, "/SerialConsole/ConnectTypesSupported").unwrap_or_default();
    let by_kind =
        kinds.iter().any(|kind| kind == "IPMI") && enabled(manager, "/SerialConsole/ServiceEnabled") != Some(false);
    let switched = enabled(network, "/IPMI/ProtocolEnabled");
    let named = enabled(system, "/SerialConsole/IPMI/ServiceEnabled");
    let there = named.unwrap_or(by_kind || switched == Some(true));
    if there && switched != Some(false) {
        return Ok(told.unwrap_or(IPMI_PORT));
    }
    let others: Vec<String> = ["SSH", "Telnet"].into_iter().filter_map(|name| offered(system, &kinds, name)).collect();
    let others = if others.is_empty() { "no other way".into() } else { others.join(" and ") };
    let off = if named == Some(false) || switched == Some(false) {
        "IPMI is switched off there"
    } else {
        "it tells of no IPMI"
    };
    Err(Fault::NotOffered(format!(
        "a console over IPMI: {off}, and it offers {others}; switch on IPMI over LAN in its settings, or use its own console"
    )))
}

/// `SSH on port 2200`
fn offered(system: &Value, kinds: &[String], name: &str) -> Option<String> {
    match enabled(system, &format!("/SerialConsole/{name}/ServiceEnabled")) {
        Some(true) => Some(match number(system, &format!("/SerialConsole/{name}/Port")) {
            Some(port) => format!("{name} on port {port}"),
            None => name.into(),
        }),
        Some(false) => None,
        None => kinds.iter().any(|kind| kind == name).then(|| name.into()),
    }
}

/// The same BMC under IPMI: its host without scheme, port and path.
pub fn ipmi_address(address: &str, port: u16) -> String {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or(bare);
    let end = match host.rfind(':') {
        // The colons of an address in brackets, or of a bare one, are its own.
        Some(at) if !host.get(at..).unwrap_or_default().contains(']') && host.matches(':').count() == 1 => at,
        Some(at) if host.get(..at).is_some_and(|before| before.ends_with(']')) => at,
        _ => host.len(),
    };
    let host = host.get(..end).unwrap_or(host);
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// For the fuzzer: every reader of this file on any JSON.
pub fn parse(body: &Value) {
    let _ = port(body, body, body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_port_is_that_of_whoever_tells_of_ipmi() {
        let (none, on) = (Value::Null, json!({"IPMI": {"ProtocolEnabled": true, "Port": 1623}}));
        let system = json!({"SerialConsole": {"IPMI": {"ServiceEnabled": true}, "SSH": {"ServiceEnabled": true}}});
        let manager = json!({"SerialConsole": {"ServiceEnabled": true, "ConnectTypesSupported": ["SSH", "IPMI"]}});
        assert_eq!(port(&system, &none, &none).unwrap(), 623);
        assert_eq!(port(&system, &none, &on).unwrap(), 1623);
        assert_eq!(port(&none, &manager, &none).unwrap(), 623);
        assert_eq!(port(&none, &none, &on).unwrap(), 1623);
        let own = json!({"SerialConsole": {"IPMI": {"ServiceEnabled": true, "Port": 6230}}});
        assert_eq!(port(&own, &none, &on).unwrap(), 6230);
    }

    #[test]
    fn where_ipmi_is_off_what_there_is_instead_is_named_with_the_next_step() {
        let ssh = json!({"SerialConsole": {"IPMI": {"ServiceEnabled": false}, "SSH": {"ServiceEnabled": true, "Port": 2200}}});
        let off = json!({"IPMI": {"ProtocolEnabled": false}});
        let on = json!({"SerialConsole": {"IPMI": {"ServiceEnabled": true}}});
        let old = json!({"SerialConsole": {"ServiceEnabled": true, "ConnectTypesSupported": ["SSH", "Telnet"]}});
        for (system, manager, network, words) in [
            (&ssh, &Value::Null, &Value::Null, ["switched off", "SSH on port 2200"]),
            (&on, &Value::Null, &off, ["switched off", "no other way"]),
            (&Value::Null, &old, &Value::Null, ["tells of no IPMI", "SSH and Telnet"]),
            (&Value::Null, &Value::Null, &Value::Null, ["tells of no IPMI", "no other way"]),
            (&json!({"SerialConsole": 7}), &json!([]), &json!("x"), ["tells of no IPMI", "no other way"]),
        ] {
            let said = port(system, manager, network).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)) && said.contains("switch on IPMI"), "{said}");
        }
    }

    #[test]
    fn the_same_host_is_asked_whatever_its_address_looks_like() {
        for (address, expected) in [
            ("10.0.0.1", "10.0.0.1:623"),
            ("https://bmc:8443", "bmc:623"),
            ("http://127.0.0.1:8000/redfish/v1", "127.0.0.1:623"),
            ("https://[fe80::1]:443/", "[fe80::1]:623"),
            ("[fe80::1]", "[fe80::1]:623"),
            ("fe80::1", "[fe80::1]:623"),
        ] {
            assert_eq!(ipmi_address(address, 623), expected);
        }
    }
}
