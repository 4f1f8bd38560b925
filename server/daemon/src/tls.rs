//! TLS from the first start: a certificate authority of this site's own, and a certificate for this daemon.
//!
//! Agents trust this authority alone; people take `ca.pem` from the data folder.

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// What the listeners need.
pub struct Tls {
    pub ca_pem: String,
    pub server: Arc<ServerConfig>,
}

/// Reads the keys of the data folder, or makes them.
pub fn load(data: &Path, addresses: &[IpAddr]) -> Result<Tls> {
    let (ca_pem, chain, private) = issue(data, addresses)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { ca_pem, server: Arc::new(server) })
}

type Issued = (String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The authority, made where there is none, and a certificate of it for these addresses, with its key.
pub fn issue(data: &Path, addresses: &[IpAddr]) -> Result<Issued> {
    let (ca_file, ca_key_file) = (data.join("ca.pem"), data.join("ca.key"));
    if !ca_key_file.exists() {
        let (pem, key) = authority()?;
        // The key last: where it is, everything is.
        keep(&ca_file, &pem)?;
        keep(&ca_key_file, &key)?;
    }
    let ca_pem = std::fs::read_to_string(&ca_file).with_context(|| format!("{} does not read", ca_file.display()))?;
    let ca_key =
        std::fs::read_to_string(&ca_key_file).with_context(|| format!("{} does not read", ca_key_file.display()))?;
    let key = KeyPair::from_pem(&ca_key).with_context(|| format!("in {}", ca_key_file.display()))?;
    // The authority's certificate always says the same of itself: who signs is given by the key.
    let issuer = Issuer::new(authority_params(), key);
    // The daemon's own certificate is made at each start: its addresses may have changed.
    let own = KeyPair::generate()?;
    let certificate = params(addresses)?.signed_by(&own, &issuer)?;
    let chain = vec![certificate.der().clone(), CertificateDer::from_pem_slice(ca_pem.as_bytes())?];
    let private = PrivateKeyDer::try_from(own.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok((ca_pem, chain, private))
}

fn authority() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let certificate = authority_params().self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Muster site authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    far(&mut params);
    params
}

fn params(addresses: &[IpAddr]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(vec!["localhost".to_string(), "muster".to_string()])?;
    params.distinguished_name.push(DnType::CommonName, "muster");
    params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    far(&mut params);
    Ok(params)
}

/// Machines in a rack may have lost their clock: the certificate holds from long ago to far ahead.
fn far(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 12, 31);
}

/// Writes a file that its owner alone reads, whole or not at all.
pub fn keep(file: &Path, text: &str) -> Result<()> {
    let half = file.with_extension("new");
    let failed = || format!("{} cannot be written", file.display());
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&half)
        .with_context(failed)?;
    out.write_all(text.as_bytes()).with_context(failed)?;
    out.sync_all().with_context(failed)?;
    std::fs::rename(&half, file).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_that_died_between_its_files_is_begun_again() {
        let dir = std::env::temp_dir().join(format!("muster-tls-half-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let address = [IpAddr::from([127, 0, 0, 1])];
        let first = load(&dir, &address).unwrap();
        std::fs::remove_file(dir.join("ca.key")).unwrap();
        let second = load(&dir, &address).unwrap();
        let third = load(&dir, &address).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_ne!(first.ca_pem, second.ca_pem, "nobody trusts an authority whose key is gone");
        assert_eq!(second.ca_pem, third.ca_pem);
    }

    #[test]
    fn a_certificate_of_a_second_start_is_trusted_by_the_first_starts_authority() {
        let dir = std::env::temp_dir().join(format!("muster-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let address = [IpAddr::from([127, 0, 0, 1])];
        let first = load(&dir, &address).unwrap();
        let second = load(&dir, &address).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(first.ca_pem, second.ca_pem);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(first.ca_pem.as_bytes()).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(second.server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}
