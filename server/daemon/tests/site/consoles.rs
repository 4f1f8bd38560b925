//! A console through the daemon as people have it: over TLS, with roles, recorded, and read back without orders to the
//! terminal.

use crate::bed::Site;
use muster_tests::ipmi_sim::{IpmiSim, Traits};
use std::io::Write as _;
use std::process::Stdio;

fn site(name: &str, sim: &IpmiSim) -> Site {
    let mut site = Site::new(name, None);
    let layout = std::fs::read_to_string(site.dir.join("files/rack-layouts/s/r1.toml")).unwrap();
    let bmc = format!(
        "bmc = {{ protocol = \"ipmi\", address = \"{}\", user = \"admin\", password-file = \"bmc\" }}\n",
        sim.address
    );
    std::fs::create_dir_all(site.dir.join("secrets")).unwrap();
    site.file("secrets/bmc", "secret\n");
    site.file("files/rack-layouts/s/r1.toml", &(layout + &bmc));
    site.serve();
    site
}

fn typed(site: &Site, arguments: &[&str], text: &[u8]) -> (i32, String, String) {
    let mut child =
        site.muster(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_console_is_shown_typed_to_recorded_and_read_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let sim = runtime.block_on(IpmiSim::start(Traits::default()));
    let site = site("console", &sim);
    sim.state().sol.echoes = true;
    sim.state().sol.say(b"\x1b[2Jlogin: ");
    let (code, out, err) = typed(&site, &["console", "node1", "--for", "4"], b"root\r\n");
    assert_eq!((code, out.as_str()), (0, "\x1b[2Jlogin: root\r\n"), "{err}");
    assert!(err.contains("the console of node1") && err.contains("first admin is here"), "{err}");
    assert_eq!(sim.state().sol.typed, b"root\r\n");

    let read = site.table(&["console", "node1", "--recorded"]);
    assert!(read.contains("login: root") && read.contains("[first admin is here]"), "{read}");
    assert!(!read.contains('\x1b'), "no orders to the reader's terminal: {read:?}");
    let found = site.json(&["console", "node1", "--recorded"]);
    assert_eq!((found["bytes"].as_i64(), found["cut"].as_bool()), (Some(17), Some(false)), "{found}");
    assert_eq!(site.succeeds(&["console", "node1", "--recorded", "--raw"]), "\x1b[2Jlogin: root\r\n");
    assert!(site.table(&["console", "node1", "--recorded", "--since", "60"]).contains("login"));

    // Who may only look types nothing, and takes nothing from anybody.
    let auditor = site.table(&["token", "make", "ann", "--role", "auditor"]);
    let auditor = site.file("auditor.token", &auditor);
    let token = auditor.to_str().unwrap();
    sim.state().sol.say(b"still here");
    let (code, out, err) = typed(&site, &["console", "node1", "--for", "3", "--token-file", token], b"rm -rf /\n");
    assert_eq!((code, out.as_str()), (0, "still here"), "{err}");
    assert!(err.contains("you look on here"), "{err}");
    let said = site.refused(&["console", "node1", "--take-over"], 1, &auditor);
    assert!(said.contains("auditor") && said.contains("operator"), "{said}");

    // In other hands, and where there is none.
    sim.state().sol.foreign = Some(0x0900_0009);
    let said = site.refused(&["console", "node1"], 3, &site.dir.join("data/admin.token"));
    assert!(said.contains("user number 7 from 10.0.0.9"), "{said}");
    assert!(site.refused(&["console", "nosuch"], 1, &auditor).contains("nosuch"));
    let all = usize::try_from(site.json(&["status"])["events"].as_i64().unwrap()).unwrap();
    let kinds: Vec<String> = site.log(0, all).iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.contains(&"console-opened".to_owned()) && kinds.contains(&"console-closed".to_owned()), "{kinds:?}");
    assert_eq!(sim.state().sol.typed, b"root\r\n");
}
