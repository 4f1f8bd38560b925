//! `muster bmc found`, `scan`, `manifest`, `adopt`, `awaited`, `forget`, `trust`: the BMCs of the site, by way of the daemon.
//!
//! Manifests are CSV, as makers send them, or TOML. They are read here; passwords go to the daemon once, over TLS, and are
//! shown by nobody ever since.

use super::{password, text};
use crate::ask::{raw, since, told};
use crate::cli::Output;
use crate::client::{Api, escaped};
use crate::plan::go_on;
use crate::table::{cell, count, items, print_told};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Entries of one request.
const AT_ONCE: usize = 500;
const LONGEST: u64 = 64 << 20;

/// What the daemon answers.
#[derive(clap::Subcommand)]
pub enum SiteCommand {
    /// List the BMCs that answered on the network, whoever they belong to
    ///
    /// The daemon greets, without a login, what asked for an address and looks like a BMC, what the agents tell of, and the
    /// ranges of `scan` in its configuration. Only what a manifest or a person says is ours is adopted.
    Found,
    /// Greet every address of the configured ranges now, and say how many BMCs answered
    Scan,
    /// Say which BMCs are ours, from a file: each is adopted as soon as it answers
    ///
    /// Adopting logs in with the password that the BMC came with, checks that its machine has the serial number of the
    /// entry, gives it to a machine, and changes the password to one that nobody knows. Everything is shown first; an entry
    /// that conflicts keeps all others from being taken.
    Manifest(ReadManifest),
    /// Say that the BMC at an address is ours, and adopt it
    Adopt(Adopt),
    /// List the entries of manifests: what is awaited, what was refused and why, what was adopted
    Awaited,
    /// List what BMCs of each kind were seen to do, by maker, model and firmware
    ///
    /// It is found out when a BMC is adopted, and by `muster machine probe-bmc`.
    Learnt,
    /// Drop an entry; what was adopted stays adopted
    Forget {
        /// As `muster bmc awaited` lists it, like mac/02:00:00:00:00:05
        entry: String,
    },
    /// Say where a machine's BMC is now that was adopted
    Moved {
        machine: String,
        /// `10.0.0.5`, `HOST:PORT`
        address: String,
    },
    /// Say by which key a machine's BMC is known: with another one no password is sent there
    Trust {
        machine: String,
        /// SHA-256 of its public key, as the refusal printed it: compare it with what the BMC shows by another way
        #[arg(value_name = "SHA256", required_unless_present = "next")]
        pin: Option<String>,
        /// Whatever key it shows next
        #[arg(long, conflicts_with = "pin")]
        next: bool,
    },
}

#[derive(clap::Args)]
pub struct ReadManifest {
    /// CSV with a header, or TOML with a `[[bmc]]` table for each; the columns are mac, serial, address, protocol, user, password, machine
    file: PathBuf,
    #[command(flatten)]
    go: Go,
}

#[derive(clap::Args)]
pub struct Go {
    /// Show what would become of it, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; without a terminal to ask on, nothing happens without it
    #[arg(long, short)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct Adopt {
    /// Where it is: `10.0.0.5`, `HOST:PORT`, `https://HOST`
    address: String,
    /// The user to log in as
    #[arg(long)]
    user: String,
    /// A file with the password on its first line; - reads it from standard input
    #[arg(long)]
    password_file: PathBuf,
    /// Left out: Redfish where it answers, else IPMI
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(["redfish", "ipmi"]))]
    protocol: Option<String>,
    /// The machine's serial number; the BMC has to tell the same
    #[arg(long)]
    serial: Option<String>,
    /// The machine it belongs to; left out: the one of its serial number, or a new one
    #[arg(long)]
    machine: Option<String>,
    #[command(flatten)]
    go: Go,
}

/// One line of a manifest, as the API takes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
struct Line {
    mac: Option<String>,
    serial: Option<String>,
    address: Option<String>,
    protocol: Option<String>,
    user: String,
    password: String,
    machine: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    bmc: Vec<Line>,
}

pub async fn ask(api: &Api, command: SiteCommand, output: Output) -> Result<ExitCode> {
    match command {
        SiteCommand::Found => found(api, output).await?,
        SiteCommand::Scan => scan(api, output).await?,
        SiteCommand::Awaited => awaited(api, output).await?,
        SiteCommand::Learnt => learnt(api, output).await?,
        SiteCommand::Manifest(asked) => enter(api, lines(&asked.file)?, &asked.go, output).await?,
        SiteCommand::Adopt(asked) => {
            let line = Line {
                mac: None,
                serial: asked.serial,
                address: Some(asked.address),
                protocol: asked.protocol,
                user: asked.user,
                password: password(&asked.password_file)?.reveal().to_owned(),
                machine: asked.machine,
            };
            enter(api, vec![line], &asked.go, output).await?;
        }
        SiteCommand::Forget { entry } => {
            let answer = api.delete(&format!("/api/v1/bmcs/awaited/{}", escaped(&entry))).await?;
            told(&answer, output, &format!("the entry {entry} is forgotten; what was adopted stays adopted"))?;
        }
        SiteCommand::Moved { machine, address } => {
            let id = api.machine(&machine).await?;
            let path = format!("/api/v1/machines/{id}/bmc/address");
            let answer = api.put(&path, &json!({ "address": address })).await?;
            told(&answer, output, &format!("the BMC of {machine} is asked at {address} from now on"))?;
        }
        SiteCommand::Trust { machine, pin, next } => {
            let id = api.machine(&machine).await?;
            let pin = if next { None } else { pin };
            let answer =
                api.put(&format!("/api/v1/machines/{id}/bmc/pin"), &json!({ "pin": pin, "next": next })).await?;
            let said = match &pin {
                Some(pin) => format!("the BMC of {machine} is known by the key {pin} from now on"),
                None => format!("the BMC of {machine} is known by the next key that it shows"),
            };
            told(&answer, output, &said)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn found(api: &Api, output: Output) -> Result<()> {
    let all = api.get("/api/v1/bmcs/found").await?;
    if output == Output::Json {
        return raw(&all);
    }
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(found_row).collect();
    print_told(
        &["address", "mac", "standing", "machine", "found by", "what it says", "open to anybody", "seen"],
        &rows,
    );
    let observed = all.as_array().into_iter().flatten().filter(|one| cell(one, "standing") == "observed").count();
    if observed > 0 {
        println!(
            "\n{} nobody said is ours; `muster bmc manifest FILE` or `muster bmc adopt ADDRESS` does",
            count(observed, "BMC that")
        );
    }
    Ok(())
}

fn found_row(one: &Value) -> Vec<String> {
    let words = |key: &str, of: &Value| {
        let words = of.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        words.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let told = items(one, "told");
    let says: Vec<String> = told
        .iter()
        .map(|one| {
            let parts = ["protocol", "vendor", "product", "version"].map(|key| cell(one, key));
            parts.into_iter().filter(|part| part != "-").collect::<Vec<_>>().join(" ")
        })
        .collect();
    let mut open: Vec<String> = told.iter().flat_map(|one| words("exposures", one)).collect();
    open.dedup();
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        cell(one, "address"),
        cell(one, "mac"),
        cell(one, "standing"),
        cell(one, "name"),
        words("found-by", one).join(", "),
        text(&Some(says.join("; "))),
        or_dash(open.join(", ")),
        format!("{} ago", since(one, "seen")),
    ]
}

async fn scan(api: &Api, output: Output) -> Result<()> {
    let begun = api.post("/api/v1/bmcs/scan", &json!({})).await?;
    let before = begun.get("ended").cloned().unwrap_or_default();
    let shown = std::io::stderr().is_terminal();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = api.get("/api/v1/bmcs/scan").await?;
        if shown {
            eprint!(
                "\r{} of {} addresses, {} BMCs ",
                cell(&now, "greeted"),
                cell(&now, "addresses"),
                cell(&now, "answered")
            );
        }
        let running = now.get("running") == Some(&Value::Bool(true));
        if !running && now.get("ended") != Some(&before) {
            if shown {
                eprint!("\r\x1b[K");
            }
            let said = format!(
                "{} of {} addresses have a BMC; `muster bmc found` lists them",
                cell(&now, "answered"),
                cell(&now, "addresses")
            );
            return told(&now, output, &said);
        }
    }
}

async fn awaited(api: &Api, output: Output) -> Result<()> {
    let all = api.get("/api/v1/bmcs/awaited").await?;
    if output == Output::Json {
        return raw(&all);
    }
    let row = |one: &Value| {
        let place = [cell(one, "address"), cell(one, "seen")].into_iter().find(|place| place != "-");
        vec![
            cell(one, "id"),
            cell(one, "state"),
            place.unwrap_or_else(|| "not seen".into()),
            cell(one, "user"),
            cell(one, "machine"),
            cell(one, "by"),
            cell(one, "why"),
        ]
    };
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(row).collect();
    print_told(&["entry", "state", "where", "user", "machine", "entered by", "what stood in its way"], &rows);
    let refused = all.as_array().into_iter().flatten().filter(|one| cell(one, "state") == "refused").count();
    if refused >= muster_conductor::MOST_REFUSED {
        println!(
            "\n{} refused: nothing more is adopted until they are put right or forgotten",
            count(refused, "entry")
        );
    }
    Ok(())
}

async fn learnt(api: &Api, output: Output) -> Result<()> {
    let all = api.get("/api/v1/bmcs/learnt").await?;
    if output == Output::Json {
        return raw(&all);
    }
    let row = |one: &Value| {
        let learnt = one.get("learnt").cloned().unwrap_or_default();
        let keys = learnt.get("keys-after-reset").and_then(Value::as_array);
        let keys = keys.map_or("-".to_owned(), |keys| match keys.len() {
            0 => "none".to_owned(),
            _ => keys.iter().filter_map(Value::as_str).map(crate::table::plain_text).collect::<Vec<_>>().join(", "),
        });
        vec![cell(one, "kind"), cell(&learnt, "if-match"), cell(&learnt, "survives-off"), keys]
    };
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(row).collect();
    print_told(&["maker/model/firmware", "if-match", "override outlives off", "keys hidden until its restart"], &rows);
    Ok(())
}

fn lines(file: &Path) -> Result<Vec<Line>> {
    let shown = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("the manifest {shown} does not read"))?.len();
    if size > LONGEST {
        bail!("the manifest {shown} has {size} bytes, and {LONGEST} are the most");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("the manifest {shown} does not read"))?;
    let read = if file.extension().is_some_and(|end| end == "toml") { tables(&text) } else { columns(&text) };
    let read = read.with_context(|| format!("the manifest {shown}"))?;
    if read.is_empty() {
        bail!("the manifest {shown} names no BMC");
    }
    Ok(read)
}

fn tables(text: &str) -> Result<Vec<Line>> {
    let read: Result<Tables, toml::de::Error> = toml::from_str(text);
    // Its text would repeat the line, and with it a password.
    let read = read.map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        let said = error.message();
        let named = said.starts_with("unknown field") || said.starts_with("missing field");
        anyhow::anyhow!("line {line} {}", if named { said } else { "does not read" })
    })?;
    Ok(read.bmc)
}

fn columns(text: &str) -> Result<Vec<Line>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let head = reader.headers().context("its first line names no columns")?.clone();
    let known = ["mac", "serial", "address", "protocol", "user", "password", "machine"];
    let column = |name: &str| head.iter().position(|word| word.eq_ignore_ascii_case(name));
    if let Some(odd) = head.iter().find(|word| !known.iter().any(|name| word.eq_ignore_ascii_case(name))) {
        bail!("line 1: {odd:?} is none of the columns {}", known.join(", "));
    }
    for name in ["user", "password"] {
        if column(name).is_none() {
            bail!("line 1: there is no column {name:?}");
        }
    }
    let mut all = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            anyhow::anyhow!("line {line}: it has not as many fields as the first line")
        })?;
        let field = |name: &str| column(name).and_then(|at| record.get(at)).filter(|text| !text.is_empty());
        let some = |name: &str| field(name).map(str::to_owned);
        all.push(Line {
            mac: some("mac"),
            serial: some("serial"),
            address: some("address"),
            protocol: field("protocol").map(str::to_ascii_lowercase),
            user: some("user").unwrap_or_default(),
            password: some("password").unwrap_or_default(),
            machine: some("machine"),
        });
    }
    Ok(all)
}

/// All entries are looked at and shown before the first is taken.
async fn enter(api: &Api, all: Vec<Line>, go: &Go, output: Output) -> Result<()> {
    let path = "/api/v1/bmcs/manifest";
    let mut looked = Vec::new();
    for part in all.chunks(AT_ONCE) {
        looked.push(api.post(path, &json!({ "entries": part })).await?);
    }
    let entries: Vec<Value> = looked.iter().flat_map(|one| items(one, "entries")).collect();
    let of = |verdict: &str| entries.iter().filter(|one| cell(one, "verdict") == verdict).count();
    if output == Output::Table {
        let rows: Vec<Vec<String>> =
            entries.iter().map(|one| ["id", "verdict", "words"].map(|key| cell(one, key)).to_vec()).collect();
        print_told(&["entry", "", "what becomes of it"], &rows);
        println!(
            "\n{} new, {} changed, {} adopted already, {} in conflict",
            of("new"),
            of("change"),
            of("adopted"),
            of("conflict")
        );
    }
    let conflicts = of("conflict");
    let changing = of("new") + of("change");
    if go.dry_run || conflicts > 0 || changing == 0 {
        if output == Output::Json {
            raw(&json!(looked))?;
        }
        if conflicts > 0 {
            bail!("nothing was taken: {} in conflict; put them right first", count(conflicts, "entry"));
        }
        if output == Output::Table {
            println!("{}", if go.dry_run { "nothing was changed (--dry-run)" } else { "nothing to do" });
        }
        return Ok(());
    }
    if output == Output::Table {
        println!(
            "each is logged in to when it answers, and gets a password that nobody knows; of a kind that was not tried yet one BMC may be \
             restarted"
        );
    }
    go_on(go.yes)?;
    let mut taken = Vec::new();
    for (part, look) in all.chunks(AT_ONCE).zip(&looked) {
        let digest = look.get("digest").cloned().unwrap_or_default();
        taken.push(api.post(path, &json!({ "entries": part, "digest": digest })).await?);
    }
    let said = format!("{} awaited; `muster bmc awaited` tells how far they are", count(changing, "BMC"));
    told(&json!(taken), output, &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_the_same_from_csv_and_from_toml() {
        let csv = "# from the maker\nMAC, serial ,user,password,Protocol\n02:00:00:00:00:05,S1,root,\"a,b\",Redfish\n,S2,admin,x,\n";
        let toml = "[[bmc]]\nmac = \"02:00:00:00:00:05\"\nserial = \"S1\"\nuser = \"root\"\npassword = \"a,b\"\nprotocol = \"redfish\"\n\
                    [[bmc]]\nserial = \"S2\"\nuser = \"admin\"\npassword = \"x\"\n";
        let read = columns(csv).unwrap();
        assert_eq!(read, tables(toml).unwrap());
        assert_eq!((read.len(), read[1].mac.as_deref(), read[0].password.as_str()), (2, None, "a,b"));
    }

    #[test]
    fn what_does_not_read_is_named_by_its_line_and_never_with_a_password() {
        for (text, wanted) in [
            ("mac,user\n", "password"),
            ("mac,user,password,colour\n", "colour"),
            ("user,password\nroot,s3cret\nroot,s3cret,more\n", "line 3"),
        ] {
            let said = format!("{:#}", columns(text).unwrap_err());
            assert!(said.contains(wanted) && !said.contains("s3cret"), "{said}");
        }
        for text in ["[[bmc]]\nuser = \"root\"\npassword = \"s3cret\"\ncolour = 1\n", "[[bmc]]\npassword = \"s3cret\n"]
        {
            let said = format!("{:#}", tables(text).unwrap_err());
            assert!(said.contains("line") && !said.contains("s3cret"), "{said}");
        }
    }
}
