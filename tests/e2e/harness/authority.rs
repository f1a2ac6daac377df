//! An authority that signs certificates, of servers and of clients, and clients that believe it.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
    SigningKey,
};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "tests");
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Authority {
            pem: cert.pem(),
            der: cert.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names.
    pub fn sign(&self, names: &[&str]) -> Identity {
        self.sign_with(names, |_| ())
    }

    /// As [`Authority::sign`], with more said of it.
    pub fn sign_with(&self, names: &[&str], say: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.sign_key(names, &KeyPair::generate().unwrap(), say)
    }

    /// As [`Authority::sign`], with a key of this kind.
    pub fn sign_for(&self, names: &[&str], kind: &'static SignatureAlgorithm) -> Identity {
        self.sign_key(names, &KeyPair::generate_for(kind).unwrap(), |_| ())
    }

    fn sign_key(
        &self,
        names: &[&str],
        key: &KeyPair,
        say: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        say(&mut params);
        let cert = params.signed_by(key, &self.issuer).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that cannot check such signatures.
    pub fn client_without(&self, scheme: SignatureScheme) -> Arc<ClientConfig> {
        let mut provider = ring::default_provider();
        let all = provider.signature_verification_algorithms.mapping;
        let others = all.iter().copied().filter(|(other, _)| *other != scheme);
        provider.signature_verification_algorithms.mapping = others.collect::<Vec<_>>().leak();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        Arc::new(builder.with_no_client_auth())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    /// A client that trusts this authority and offers these protocols. Each of its handshakes is
    /// a whole one.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
        let mut config = (*self.client_with(protocols, &versions, None)).clone();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// As [`Authority::client`], with these versions and a certificate; it takes up sessions.
    pub fn client_with(
        &self,
        protocols: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Identity {
    /// A certificate of X.509 version 1, as `openssl x509 -req` makes it without extensions: one of
    /// version 3 without its version and its extensions, signed anew.
    pub fn version_1() -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(Vec::new()).unwrap();
        let version_3 = params.self_signed(&key).unwrap();
        let whole = elements(version_3.der());
        let (body, algorithm) = (elements(whole[0]), whole[1]);
        let body = element(0x30, &body[1..7].concat());
        let mut signature = vec![0];
        signature.extend(key.sign(&body).unwrap());
        let parts = [&body, algorithm, &element(0x03, &signature)].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(element(0x30, &parts));
        Identity {
            cert: format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"),
            key: key.serialize_pem(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key`, each at once, as one should.
    pub fn write(&self, folder: &Path, name: &str) {
        for (ending, text) in [("key", &self.key), ("pem", &self.cert)] {
            let file = folder.join(format!("{name}.{ending}"));
            let new = file.with_extension("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &file).unwrap();
        }
    }
}

/// The elements of a sequence in DER, each with its head.
fn elements(sequence: &[u8]) -> Vec<&[u8]> {
    let (start, length) = head(sequence);
    let mut rest = &sequence[start..start + length];
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (start, length) = head(rest);
        let (element, behind) = rest.split_at(start + length);
        elements.push(element);
        rest = behind;
    }
    elements
}

/// Where the content of an element in DER starts, and its length.
fn head(der: &[u8]) -> (usize, usize) {
    if der[1] < 0x80 {
        return (2, usize::from(der[1]));
    }
    let size = usize::from(der[1] & 0x7f);
    let digits = der[2..2 + size].iter();
    (
        2 + size,
        digits.fold(0, |length, &digit| length << 8 | usize::from(digit)),
    )
}

/// An element in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut element = vec![tag, 0x82, length[0], length[1]];
    match content.len() {
        0..0x80 => element = vec![tag, length[1]],
        0x80..0x100 => element = vec![tag, 0x81, length[1]],
        _ => {}
    }
    element.extend(content);
    element
}
