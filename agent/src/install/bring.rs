//! How the agent comes to a system whose image does not carry it: a script that cloud-init runs at the first boot.
//!
//! The script makes a unit, and the unit fetches the program before it starts it: systemd then tries again for as long
//! as the network or the daemon is away, while cloud-init ends (the agent's check waits for that end). What is fetched
//! runs as root, so it is nothing until its digest is the one of the order; plain HTTP is then good enough.

use muster_names::Digest;

pub const SCRIPT_PATH: &str = "/etc/muster/bring-agent";

/// The script; `@URL@` and `@SHA256@` stand in quotes. Any of the three programs that fetch will do, since images differ.
const SCRIPT: &str = r#"#!/bin/sh
# Brings muster-agent to a system that has none. Written by Muster when it installed this system.
#   bring-agent         makes and starts the unit
#   bring-agent fetch   what the unit does first
set -eu
url=@URL@
sha256=@SHA256@
root=${MUSTER_ROOT:-}
program=$root/usr/sbin/muster-agent
unit=$root/etc/systemd/system/muster-agent.service

if [ -x "$program" ]; then exit 0; fi

if [ "${1:-}" = fetch ]; then
    new=$program.new
    trap 'rm -f "$new"' EXIT
    if command -v curl >/dev/null; then
        curl -fsS --connect-timeout 10 --max-time 240 -o "$new" "$url"
    elif command -v wget >/dev/null; then
        wget -q -T 30 -O "$new" "$url"
    elif command -v python3 >/dev/null; then
        python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$url" "$new"
    else
        echo "muster: this image has neither curl nor wget nor python3 to fetch the agent with" >&2
        exit 1
    fi
    found=$(sha256sum <"$new" | cut -d' ' -f1)
    if [ "$found" != "$sha256" ]; then
        echo "muster: $url has SHA-256 $found, expected $sha256: not started" >&2
        exit 1
    fi
    chmod 755 "$new"
    mv "$new" "$program"
    exit 0
fi

cat >"$unit" <<'UNIT'
# Written by Muster, since the image brought no agent.
[Unit]
Description=Muster agent
After=network.target
StartLimitIntervalSec=0

[Service]
ExecStartPre=/bin/sh /etc/muster/bring-agent fetch
ExecStart=/usr/sbin/muster-agent resident
Restart=always
RestartSec=5
TimeoutStartSec=300
StateDirectory=muster
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
UNIT
# Reads the unit too. Not waiting, since what it fetches may be long in coming.
systemctl enable --now --no-block muster-agent.service
"#;

pub fn script(url: &str, digest: &Digest) -> String {
    SCRIPT.replace("@SHA256@", &quoted(&digest.to_string())).replacen("@URL@", &quoted(url), 1)
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::hex;
    use ring::digest::{SHA256, digest};
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    const PROGRAM: &[u8] = b"#!/bin/sh\n";

    fn right() -> Digest {
        hex(digest(&SHA256, PROGRAM).as_ref()).parse().unwrap()
    }

    /// An installed system's root with a systemctl that writes down what it is asked.
    fn system(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("muster-bring-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in ["usr/sbin", "etc/systemd/system", "bin"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        write(&root.join("bin/systemctl"), format!("#!/bin/sh\necho \"$*\" >>'{}/asked'\n", root.display()).as_bytes());
        root
    }

    fn write(file: &Path, content: &[u8]) {
        fs::write(file, content).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(root: &Path, script: &str, words: &[&str]) -> Output {
        let file = root.join("bring-agent");
        fs::write(&file, script).unwrap();
        let path = format!("{}/bin:{}", root.display(), std::env::var("PATH").unwrap());
        Command::new("sh").arg(file).args(words).env("MUSTER_ROOT", root).env("PATH", path).output().unwrap()
    }

    /// Serves [`PROGRAM`] for one request.
    fn served() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", PROGRAM.len());
            stream.write_all(&[head.as_bytes(), PROGRAM].concat()).unwrap();
        });
        format!("http://{address}/boot/muster-agent")
    }

    #[test]
    fn an_image_that_has_an_agent_keeps_it() {
        let root = system("has");
        write(&root.join("usr/sbin/muster-agent"), b"its own");
        let script = script("http://127.0.0.1:1/", &right());
        for words in [&[][..], &["fetch"]] {
            assert!(run(&root, &script, words).status.success());
        }
        assert_eq!(fs::read(root.join("usr/sbin/muster-agent")).unwrap(), b"its own");
        assert!(!root.join("asked").exists() && !root.join("etc/systemd/system/muster-agent.service").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_image_without_one_gets_a_unit_that_fetches_it() {
        let root = system("unit");
        assert!(run(&root, &script("http://127.0.0.1:1/", &right()), &[]).status.success());
        let unit = fs::read_to_string(root.join("etc/systemd/system/muster-agent.service")).unwrap();
        assert!(unit.contains(&format!("ExecStartPre=/bin/sh {SCRIPT_PATH} fetch\n")), "{unit}");
        let asked = fs::read_to_string(root.join("asked")).unwrap();
        assert_eq!(asked, "enable --now --no-block muster-agent.service\n");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_fetched_is_the_program_of_the_order_or_nothing() {
        let root = system("fetch");
        let program = root.join("usr/sbin/muster-agent");
        let bad = run(&root, &script(&served(), &Digest([7; 32])), &["fetch"]);
        assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("expected 0707"), "{bad:?}");
        assert_eq!(fs::read_dir(root.join("usr/sbin")).unwrap().count(), 0, "nothing stays of it");
        let away = run(&root, &script("http://127.0.0.1:1/", &right()), &["fetch"]);
        assert!(!away.status.success(), "systemd tries again");
        let good = run(&root, &script(&served(), &right()), &["fetch"]);
        assert!(good.status.success(), "{good:?}");
        assert_eq!(fs::read(&program).unwrap(), PROGRAM);
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_wild_address_stays_one_word() {
        let root = system("wild");
        let wild = format!("http://127.0.0.1:1/'$(touch {}/harm)\"`\n@SHA256@", root.display());
        assert!(!run(&root, &script(&wild, &right()), &["fetch"]).status.success());
        assert!(!root.join("harm").exists());
        assert_eq!(quoted("a'b"), r"'a'\''b'");
        fs::remove_dir_all(root).unwrap();
    }
}
