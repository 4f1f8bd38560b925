//! As whom boot HTTPS speaks to firmware: a certificate that the site gives, or one of the site's own authority.
//!
//! What is given is looked at before anything listens. Firmware says of a certificate that it refuses nothing but an
//! error on its own screen, so what can be found wrong here is told here.

use crate::config::Config;
use crate::{data, tls};
use anyhow::{Context as _, Result, ensure};
use muster_bootserver::http;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// What is wrong with the certificate that is given; one of our own is right.
pub fn wrong(config: &Config) -> Option<String> {
    let (certificate, key) = config.boot.https_files()?;
    given(certificate, key, &config.boot_addresses()).err().map(|error| format!("boot HTTPS: {error:#}"))
}

/// The listeners under TLS, where they are wanted.
pub fn listeners(config: &Config) -> Result<Option<http::Secured>> {
    let Some(port) = config.boot.https_port else { return Ok(None) };
    let addresses = config.boot_addresses();
    let tls = match config.boot.https_files() {
        Some((certificate, key)) => given(certificate, key, &addresses)?,
        None => {
            let (_, chain, key) = tls::issue(&config.data, &addresses)?;
            http::secured(chain, key)?
        }
    };
    let mut listeners = Vec::new();
    for address in addresses {
        let address = SocketAddr::from((address, port));
        listeners.push(http::listen(address).with_context(|| format!("cannot listen for boot HTTPS on {address}"))?);
    }
    Ok(Some(http::Secured { listeners, tls }))
}

fn given(certificate: &Path, key: &Path, addresses: &[IpAddr]) -> Result<Arc<ServerConfig>> {
    let (file, key_file) = (certificate.display(), key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("the certificate {file} does not read"))?;
    let first = chain
        .first()
        .with_context(|| format!("{file} holds no certificate; PEM is expected: ours first, then what signed it"))?;
    let parsed = ParsedCertificate::try_from(first).with_context(|| format!("{file} holds no certificate of ours"))?;
    for address in addresses {
        verify_server_name(&parsed, &ServerName::from(*address)).map_err(|_| {
            anyhow::anyhow!(
                "the certificate {file} is not for {address}, and firmware is sent there; make it anew with subjectAltName IP:{address}"
            )
        })?;
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("the key {key_file} does not read; PEM is expected"))?;
    ensure!(!data::open_to_others(key), "the key {key_file} can be read by others on this machine; `chmod 600` it");
    http::secured(chain, private).with_context(|| format!("{key_file} is not the key of {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    const HERE: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 1))];

    fn pair(folder: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let dir = std::env::temp_dir().join(format!("muster-https-{}-{folder}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let (certificate, key) = (dir.join("boot.pem"), dir.join("boot.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        tls::keep(&key, &made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    fn refused(certificate: &Path, key: &Path) -> String {
        format!("{:#}", given(certificate, key, &HERE).unwrap_err())
    }

    #[test]
    fn b3_2_a_certificate_has_to_name_the_address_that_firmware_is_sent_to() {
        let (certificate, key) = pair("address", &["10.77.0.1"]);
        assert!(given(&certificate, &key, &HERE).is_ok());
        let (certificate, key) = pair("name", &["muster.example", "10.77.0.2"]);
        let said = refused(&certificate, &key);
        assert!(said.contains("is not for 10.77.0.1") && said.contains("subjectAltName IP:10.77.0.1"), "{said}");
    }

    #[test]
    fn what_firmware_would_not_say_of_a_certificate_is_said_at_the_start() {
        let (certificate, key) = pair("one", &["10.77.0.1"]);
        let (_, other) = pair("other", &["10.77.0.1"]);
        assert!(refused(&certificate, &other).contains("is not the key of"));
        assert!(refused(&key, &key).contains("holds no certificate"));
        assert!(refused(&certificate, &certificate).contains("does not read; PEM is expected"));
        assert!(refused(Path::new("/nowhere"), &key).contains("/nowhere does not read"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused(&certificate, &key).contains("chmod 600"));
    }
}
