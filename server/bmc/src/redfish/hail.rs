//! The service root as anybody may read it, asked of an address where perhaps nobody is.

use super::connection::{Outcome, ROOTS, base, client, receive};
use super::json;
use super::tls::{self, Seen};
use crate::{Fault, Hail, Inner, Protocol, Secret, Target, Trust};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A BMC on the network of the site answers within milliseconds; who has not by then is not there.
const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(6);
/// A service root is a page or two; whatever else lives at an address may go on for ever.
const MOST_BYTES: usize = 256 << 10;

pub async fn hail(engine: &Inner, address: &str) -> Result<Hail, Fault> {
    let mut nobody = Target::new(Protocol::Redfish, address, "", Secret::new(""));
    if address.starts_with("http://") {
        nobody.trust = Trust::Plain;
    }
    let (base, seen) = (base(&nobody)?, Arc::new(Seen::default()));
    let most = engine.settings.deadline;
    let client = client(tls::config(nobody.trust, seen.clone(), None)?, (CONNECT.min(most), WHOLE.min(most)), WHOLE)?;
    let mut said = String::new();
    for root in ROOTS {
        let request = client.get(format!("{base}{root}")).header("OData-Version", "4.0");
        match receive(request, &seen, MOST_BYTES).await {
            Ok(Outcome::Good(answer)) => match told(&answer.body) {
                Some(hail) => return Ok(Hail { tls_pin: seen.pin(), ..hail }),
                None => said = format!("its answer at {root} is no service root of Redfish"),
            },
            Ok(Outcome::Bad(status, body)) => match json::fault(status, &body, root) {
                Fault::Busy(said) => return Err(Fault::Busy(said)),
                _ => said = format!("it answers {root} with HTTP {status}"),
            },
            Err(Fault::Garbled(what)) => said = format!("its answer at {root} is {what}"),
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::NoBmc(said))
}

/// What a service root tells; `None` where it is none.
fn told(root: &Value) -> Option<Hail> {
    let text = |at: &str| json::text(root, at).map(|text| plain(&text));
    let version = text("/RedfishVersion");
    let typed = text("/@odata.type").is_some_and(|kind| kind.contains("ServiceRoot"));
    let led = ["/Systems", "/Managers", "/Chassis"].iter().any(|at| json::link(root, at).is_some());
    if version.is_none() && !typed && !led {
        return None;
    }
    // Who does not say the vendor has at least a corner of its own.
    let corner = || root.get("Oem")?.as_object()?.keys().find(|key| !key.starts_with('@')).map(|key| plain(key));
    Some(Hail {
        vendor: text("/Vendor").or_else(corner),
        product: text("/Product"),
        uuids: text("/UUID").map(|uuid| uuid.to_ascii_lowercase()).into_iter().collect(),
        version,
        ..Hail::of(Protocol::Redfish)
    })
}

/// What a stranger says is shown to people: short, and without orders to their terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn b7_1_a_root_tells_whose_it_is_and_what_is_none_tells_nothing() {
        let root = json!({"@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "RedfishVersion": "1.6.0", "Vendor": "ACME ",
            "Product": "Board\u{1b}[2J", "UUID": "00112233-4455-6677-8899-AABBCCDDEEFF"});
        let hail = told(&root).unwrap();
        assert_eq!((hail.vendor.as_deref(), hail.product.as_deref()), (Some("ACME"), Some("Board[2J")));
        assert_eq!((hail.version.as_deref(), hail.uuids.len()), (Some("1.6.0"), 1));
        assert_eq!(hail.uuids[0], "00112233-4455-6677-8899-aabbccddeeff");
        let old = told(&json!({"RedfishVersion": "1.0.0", "Oem": {"@odata.type": "x", "Acme": {}}})).unwrap();
        assert_eq!(old.vendor.as_deref(), Some("Acme"));
        assert!(told(&json!({"Systems": {"@odata.id": "/redfish/v1/Systems"}})).is_some());
        for other in [json!({}), json!([]), json!(null), json!({"status": "ok"}), json!({"RedfishVersion": {}})] {
            assert_eq!(told(&other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_root_panics(text in "\\PC*", number: f64) {
            for value in [json!(text), json!(number), json!([text]), json!({"@odata.id": text}), json!({&text: text})] {
                let _ = told(&json!({"RedfishVersion": value, "@odata.type": value, "Vendor": value, "Product": value,
                    "UUID": value, "Oem": value, "Systems": value}));
                let _ = told(&value);
            }
        }
    }
}
