//! `muster bmc power`: whether the machines behind many BMCs are on, a line each as they are known.

use super::{password, quirks, target};
use crate::cli::Output;
use crate::table::{count, plain_text, print_told};
use anyhow::{Context as _, Result, bail};
use muster_bmc::{Bmcs, Kind, Target};
use muster_names::Power;
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Asked in one go: a /16.
const MOST: usize = 1 << 16;

#[derive(clap::Args)]
pub struct ReadPower {
    /// BMCs as with the other verbs; a range in brackets means each of them: `ipmi://10.0.0.[1-40]`, `https://bmc[001-200]`
    #[arg(required_unless_present = "list")]
    urls: Vec<String>,
    /// A file with one BMC or range a line; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// The user to log in as
    #[arg(long)]
    user: String,
    /// A file with the password on its first line
    #[arg(long)]
    password_file: PathBuf,
    /// The BMCs' kind, by the name of one of the profiles built in: its workarounds are used
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

/// What one BMC said.
struct Told {
    url: String,
    power: Result<Power, muster_bmc::Error>,
    took: Duration,
}

pub async fn look(bmcs: &Bmcs, asked: &ReadPower, output: Output) -> Result<ExitCode> {
    let secret = password(&asked.password_file)?;
    let quirks = quirks(asked.profile.as_deref())?;
    let mut targets = Vec::new();
    for url in asked.each()? {
        let mut target = target(&url, &asked.user, secret.clone())?;
        target.quirks = quirks.clone();
        targets.push((url, target));
    }
    let told = sweep(bmcs, targets).await?;
    match output {
        Output::Json => {
            let all: Vec<_> = told.iter().map(object).collect();
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Output::Table => {
            print_told(&["BMC", "power", "seconds", ""], &told.iter().map(row).collect::<Vec<_>>());
            println!("{}", summary(&told));
        }
    }
    let kinds = || told.iter().filter_map(|one| Some(one.power.as_ref().err()?.kind()));
    Ok(if kinds().any(|kind| matches!(kind, Kind::Refused | Kind::Bug)) {
        ExitCode::FAILURE
    } else if kinds().next().is_some() {
        ExitCode::from(crate::AWAY)
    } else {
        ExitCode::SUCCESS
    })
}

impl ReadPower {
    /// Every BMC that is meant, once each, in the order they were named.
    fn each(&self) -> Result<Vec<String>> {
        let mut named = self.urls.clone();
        if let Some(list) = &self.list {
            let text = match list.as_os_str() == "-" {
                true => std::io::read_to_string(std::io::stdin()).context("standard input does not read")?,
                false => std::fs::read_to_string(list).with_context(|| format!("{} does not read", list.display()))?,
            };
            named.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string));
        }
        let mut seen = std::collections::HashSet::new();
        let mut each = Vec::new();
        for one in &named {
            let Some(more) = spread(one, MOST - each.len())? else { bail!("{one:?}: more than {MOST} BMCs are named") };
            each.extend(more.into_iter().filter(|url| seen.insert(url.clone())));
        }
        if each.is_empty() {
            bail!("no BMC is named");
        }
        Ok(each)
    }
}

/// The texts that `a[1-3]b` stands for: a1b, a2b, a3b. Digits that begin with 0 keep their width. `None`: too many.
fn spread(text: &str, most: usize) -> Result<Option<Vec<String>>> {
    let bracket = text.match_indices('[').find_map(|(at, _)| {
        let inside = text.get(at + 1..)?;
        let (range, behind) = inside.split_once(']')?;
        // An IPv6 address stands in brackets too.
        let (from, to) = range.split_once('-').filter(|_| !range.contains(':'))?;
        Some((text.get(..at)?, from, to, behind))
    });
    let Some((before, from, to, behind)) = bracket else {
        return Ok((most > 0).then(|| vec![text.to_string()]));
    };
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let (Some(first), Some(last)) = (number(from), number(to)) else {
        bail!("{text:?}: [{from}-{to}] is no range; expected numbers, as in [1-40]");
    };
    if first > last {
        bail!("{text:?}: the range [{from}-{to}] is empty; the smaller number comes first");
    }
    if usize::try_from(last - first).map_or(true, |more| more >= most) {
        return Ok(None);
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    let mut all = Vec::new();
    for number in first..=last {
        match spread(&format!("{before}{number:0width$}{behind}"), most - all.len())? {
            Some(more) => all.extend(more),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

async fn sweep(bmcs: &Bmcs, targets: Vec<(String, Target)>) -> Result<Vec<Told>> {
    let (all, shown) = (targets.len(), std::io::stderr().is_terminal());
    let mut asked = JoinSet::new();
    for (at, (url, target)) in targets.into_iter().enumerate() {
        let bmcs = bmcs.clone();
        asked.spawn(async move {
            let reading = async {
                let begun = Instant::now();
                let power = bmcs.power(&target).await;
                let took = begun.elapsed();
                bmcs.close(&target).await;
                Told { url, power, took }
            };
            (at, bmcs.among_many(&target, reading).await)
        });
    }
    let mut told = Vec::with_capacity(all);
    while let Some(one) = asked.join_next().await {
        told.push(one?);
        if shown {
            eprint!("\r{} of {all} ", told.len());
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    told.sort_by_key(|(at, _)| *at);
    Ok(told.into_iter().map(|(_, one)| one).collect())
}

fn why(error: &muster_bmc::Error) -> String {
    // The address stands at the line's head already.
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn row(one: &Told) -> Vec<String> {
    let (power, why) = match &one.power {
        Ok(power) => (power.to_string(), String::new()),
        Err(error) => ("unknown".into(), plain_text(&why(error))),
    };
    vec![plain_text(&one.url), power, format!("{:.3}", one.took.as_secs_f64()), why]
}

fn object(one: &Told) -> serde_json::Value {
    let power = one.power.as_ref().map_or(Power::Unknown, |power| *power).to_string();
    json!({
        "bmc": one.url, "power": power, "seconds": one.took.as_secs_f64(), "error": one.power.as_ref().err().map(why),
    })
}

/// `40 BMCs: 38 on, 1 off, 1 unknown`
fn summary(told: &[Told]) -> String {
    let states = [Power::On, Power::Off, Power::Unknown].map(|power| {
        let of = |one: &&Told| one.power.as_ref().map_or(Power::Unknown, |power| *power) == power;
        (told.iter().filter(of).count(), power)
    });
    let states: Vec<String> =
        states.iter().filter(|(number, _)| *number > 0).map(|(number, power)| format!("{number} {power}")).collect();
    format!("{}: {}", count(told.len(), "BMC"), states.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stands_for_each_of_its_numbers() {
        let spread = |text: &str| spread(text, MOST).map(Option::unwrap_or_default);
        assert_eq!(
            spread("ipmi://10.0.0.[9-11]").unwrap(),
            ["ipmi://10.0.0.9", "ipmi://10.0.0.10", "ipmi://10.0.0.11"]
        );
        assert_eq!(
            spread("https://r[1-2]n[08-09]").unwrap().join(" "),
            "https://r1n08 https://r1n09 https://r2n08 https://r2n09"
        );
        for whole in ["ipmi://[fd00::1-2]:623", "ipmi://[fd00::1]", "ipmi://a[b", "ipmi://a"] {
            assert_eq!(spread(whole).unwrap(), [whole]);
        }
    }

    #[test]
    fn a_range_that_is_none_or_too_long_is_refused_with_its_text() {
        for (bad, words) in [
            ("x[2-1]", "smaller number comes first"),
            ("x[a-b]", "expected numbers"),
            ("x[1-]", "expected numbers"),
            ("x[+1-2]", "expected numbers"),
        ] {
            let said = spread(bad, MOST).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains(bad.get(..2).unwrap()), "{bad}: {said}");
        }
        for many in ["x[0-65536]", "x[0-999][0-999]", "x[0-4294967295]"] {
            assert_eq!(spread(many, MOST).unwrap(), None, "{many}");
        }
        assert_eq!(spread("x[0-65535]", MOST).unwrap().unwrap().len(), MOST);
    }

    #[test]
    fn what_was_told_is_counted_and_unknown_is_not_off() {
        let told = |power| Told { url: "ipmi://a".into(), power, took: Duration::from_millis(1) };
        let all = [told(Ok(Power::On)), told(Ok(Power::Unknown)), told(Ok(Power::On))];
        assert_eq!(summary(&all), "3 BMCs: 2 on, 1 unknown");
        assert_eq!(row(&all[0]), ["ipmi://a", "on", "0.001", ""]);
    }
}
