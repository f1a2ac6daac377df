//! Server certificates, selected by the name that a client asks for (SNI).
//!
//! A certificate contains its names, so the configuration does not repeat them. If several
//! certificates are for one name, for example with keys of two kinds, the first one whose signature
//! the client can verify is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Version;

use super::{TlsError, read_chain};
use crate::config::model::Certificate;

type Keys = Vec<Arc<CertifiedKey>>;

/// All certificates with their keys, by name.
#[derive(Debug)]
pub struct Certificates {
    /// Names in lower case; a wildcard is stored as `*.example.com`.
    names: HashMap<String, Keys>,
    default: Keys,
    warnings: Vec<String>,
}

const NAMES_NO_HOST: &str = "names no host (subjectAltName), so no client asks for it";

impl Certificates {
    /// Reads all pairs; the first one is the default.
    pub fn load(pairs: &[Certificate], provider: &CryptoProvider) -> Result<Self, TlsError> {
        let mut certificates = Certificates {
            names: HashMap::new(),
            default: Vec::new(),
            warnings: Vec::new(),
        };
        for (number, pair) in pairs.iter().enumerate() {
            certificates.add(number, pair, provider)?;
        }
        Ok(certificates)
    }

    fn add(
        &mut self,
        number: usize,
        pair: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        let in_chain = |reason: String| TlsError::Chain {
            number,
            file: pair.chain.clone(),
            reason,
        };
        let in_key = |reason: String| TlsError::Key {
            number,
            file: pair.key.clone(),
            reason,
        };
        let chain = read_chain(&pair.chain).map_err(in_chain)?;
        let key = read_key(&pair.key).map_err(in_key)?;
        let facts = Facts::read(&chain[0]).map_err(in_chain)?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| in_key(error.to_string()))?;
        // `CertifiedKey::from_der` compares the keys too, but accepts only certificates of version
        // 3.
        let public = key.public_key();
        if public.is_some_and(|public| *public != *facts.public_key) {
            let reason = format!("is not the key of {}", pair.chain.display());
            return Err(in_key(reason));
        }
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let place = format!("tls.certificates[{number}].cert: {}", pair.chain.display());
        let doubts = facts.doubts(SystemTime::now());
        let warnings = doubts.iter().map(|doubt| format!("{place}: {doubt}"));
        self.warnings.extend(warnings);
        if number == 0 {
            self.default.push(Arc::clone(&certified));
        } else if facts.names.is_empty() {
            return Err(in_chain(NAMES_NO_HOST.to_owned()));
        }
        for name in facts.names {
            self.names
                .entry(name)
                .or_default()
                .push(Arc::clone(&certified));
        }
        Ok(())
    }

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the certificates for a name, or the default if there is none.
    fn find(&self, name: &str) -> &Keys {
        let name = name.to_ascii_lowercase();
        if let Some(keys) = self.names.get(&name) {
            return keys;
        }
        // A wildcard matches exactly one label.
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let keys = wildcard.and_then(|name| self.names.get(&name));
        keys.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = match hello.server_name() {
            Some(name) => self.find(name),
            None => &self.default,
        };
        let schemes = hello.signature_schemes();
        let can_check = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let best = keys.iter().find(can_check).or(keys.first());
        best.cloned()
    }
}

fn read_key(file: &std::path::Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            "has no private key (PEM is expected, and not encrypted)".to_owned()
        }
        error => error.to_string(),
    })
}

/// Attributes of a certificate.
struct Facts {
    version: X509Version,
    /// `SubjectPublicKeyInfo` in DER.
    public_key: Vec<u8>,
    /// DNS names in lower case; the common name if there are none.
    names: Vec<String>,
    /// True if the names are those of subjectAltName.
    has_alternative_name: bool,
    /// Start of the validity, in seconds since 1970.
    not_before: i64,
    not_after: i64,
}

impl Facts {
    fn read(certificate: &[u8]) -> Result<Self, String> {
        let parsed = X509Certificate::from_der(certificate);
        let (_, certificate) = parsed.map_err(|_| "is not a certificate".to_owned())?;
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| "has names that cannot be read".to_owned())?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let common_name = common_name(&certificate);
        let name = |name: &GeneralName| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let validity = certificate.validity();
        let mut names: Vec<String> = names.iter().filter_map(name).collect();
        let has_names = !names.is_empty();
        if !has_names {
            names.extend(common_name);
        }
        Ok(Facts {
            version: certificate.version(),
            public_key: certificate.public_key().raw.to_vec(),
            has_alternative_name: has_names,
            names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Reasons why clients may refuse the certificate.
    fn doubts(&self, now: SystemTime) -> Vec<String> {
        let mut doubts = Vec::new();
        doubts.extend(self.is_outside(now).map(str::to_owned));
        if self.version != X509Version::V3 {
            doubts.push(format!(
                "is an X.509 certificate of version {}, which many clients refuse: version 3 is \
                 expected (openssl req -x509 with -addext subjectAltName=DNS:...)",
                self.version.0 + 1
            ));
        }
        if self.names.is_empty() {
            doubts.push(NAMES_NO_HOST.to_owned());
        } else if !self.has_alternative_name {
            let doubt = "names its host by the common name alone, which many clients ignore: subjectAltName is expected";
            doubts.push(doubt.to_owned());
        }
        doubts
    }

    /// Returns the reason if the certificate is not valid at this time, so that clients will reject
    /// it.
    fn is_outside(&self, time: SystemTime) -> Option<&'static str> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if now > self.not_after {
            Some("has expired")
        } else if now < self.not_before {
            Some("is not valid yet")
        } else {
            None
        }
    }
}

/// Returns the common name, if it can be a host. Servers used it before there were alternative names, and
/// self-signed certificates of small sites still have no other.
fn common_name(certificate: &X509Certificate) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_ascii_lowercase();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*_".contains(&byte);
    (!name.is_empty() && name.bytes().all(allowed)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::ring;

    use super::*;

    /// Writes `NAME.pem` and `NAME.key`.
    fn write(folder: &Path, name: &str, hosts: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(hosts)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(folder.join(name).with_extension("pem"), cert.pem()).unwrap();
        std::fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a", &["a.example", "*.A.example"]);
        write(folder.path(), "b", &["b.example"]);
        write(folder.path(), "nameless", &[]);
        std::fs::write(folder.path().join("empty"), "").unwrap();
        folder
    }

    /// Loads pairs of file names.
    fn load(folder: &Path, pairs: &[(&str, &str)]) -> Result<Certificates, String> {
        let pair = |(chain, key): &(&str, &str)| Certificate {
            chain: folder.join(chain),
            key: folder.join(key),
        };
        let pairs: Vec<_> = pairs.iter().map(pair).collect();
        let loaded = Certificates::load(&pairs, &ring::default_provider());
        loaded.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_error(pairs: &[(&str, &str)], place: &str, reason: &str) {
        let folder = folder();
        let error = load(folder.path(), pairs).unwrap_err();
        assert!(
            error.starts_with(place) && error.contains(reason),
            "{error}"
        );
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it() {
        let (in_cert, in_key) = ("tls.certificates[0].cert: ", "tls.certificates[0].key: ");
        check_error(&[("none", "a.key")], in_cert, "No such file");
        check_error(&[("a.pem", "none")], in_key, "No such file");
        check_error(&[("empty", "a.key")], in_cert, "has no certificate");
        check_error(&[("a.key", "a.key")], in_cert, "has no certificate");
        check_error(&[("a.pem", "empty")], in_key, "has no private key");
        check_error(&[("a.pem", "b.key")], in_key, "is not the key of");
        let pairs = [("a.pem", "a.key"), ("nameless.pem", "nameless.key")];
        check_error(&pairs, "tls.certificates[1].cert: ", "names no host");
    }

    #[test]
    fn the_first_needs_no_name_and_is_warned_of() {
        let folder = folder();
        let pairs = [("nameless.pem", "nameless.key"), ("a.pem", "a.key")];
        let certificates = load(folder.path(), &pairs).unwrap();
        let [warning] = certificates.warnings() else {
            panic!("{:?}", certificates.warnings())
        };
        assert!(warning.contains("names no host"), "{warning}");
    }

    #[test]
    fn a_certificate_without_alternative_names_is_for_its_common_name() {
        let folder = folder();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = rcgen::DnType::CommonName;
        params.distinguished_name.push(name, "Old.example");
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("old.pem"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("old.key"), key.serialize_pem()).unwrap();
        let pairs = [("a.pem", "a.key"), ("old.pem", "old.key")];
        let certificates = load(folder.path(), &pairs).unwrap();
        let warnings = certificates.warnings();
        assert!(
            warnings[0].contains("names its host by the common name alone"),
            "{warnings:?}"
        );
        let found = certificates.find("old.example");
        assert_eq!(found[0].cert[0].as_ref(), cert.der().as_ref());
    }

    #[test]
    fn a_star_is_one_label_and_the_first_is_for_everybody_else() {
        let folder = folder();
        let pairs = [("b.pem", "b.key"), ("a.pem", "a.key")];
        let certificates = load(folder.path(), &pairs).unwrap();
        let [b, a] = ["b.example", "a.example"].map(|name| &certificates.names[name][0]);
        for (name, expected) in [
            ("a.example", a),
            ("A.Example", a),
            ("x.a.example", a),
            ("b.example", b),
            ("x.y.a.example", b),
            ("example", b),
            ("", b),
        ] {
            assert!(
                Arc::ptr_eq(&certificates.find(name)[0], expected),
                "{name:?}"
            );
        }
    }
}
