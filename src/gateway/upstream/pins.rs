//! Pinned certificates: `ca_file` contains the certificate of the peer itself, not of an authority.
//!
//! Internal services often use a self-signed certificate. rustls accepts it as a server certificate
//! only if it is not marked as a CA, but `openssl req -x509` marks it as one. pingora has no hook
//! for custom verification. So for such a peer the handshake proves only that the peer has the
//! private key of the certificate that it presents. Directly after the handshake, before any
//! request is sent, this module compares that certificate with those of the file: it must be one of
//! them, byte for byte, valid for the peer's name and at the current time.

use std::time::{SystemTime, UNIX_EPOCH};

use pingora::protocols::tls::SslDigest;
use pingora::{Error, ErrorType, Result};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reason for which the certificate of a peer is not one of those that are pinned for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not one of the pinned certificates.
    #[error("unknown issuer: not the certificate that ca_file has for this peer")]
    Other,
    /// A pinned certificate that has expired.
    #[error("certificate expired")]
    Expired,
    /// A pinned certificate that is not valid yet.
    #[error("certificate not valid yet")]
    NotValidYet,
}

/// Set of the only certificates that a peer may present.
#[derive(Clone, Debug)]
pub struct Pins(Box<[Pin]>);

#[derive(Clone, Debug)]
struct Pin {
    sha256: [u8; 32],
    /// Start of the validity, in seconds since 1970.
    not_before: i64,
    not_after: i64,
}

impl Pins {
    /// Returns pins for the certificates that are valid for the name of a peer, if one of them is
    /// not acceptable to rustls as a server certificate. Returns `None` if the certificates are
    /// authorities: rustls then verifies the peer itself.
    #[must_use]
    pub fn of_peer(certificates: &[CertificateDer<'static>], name: &str) -> Option<Pins> {
        let name = ServerName::try_from(name).ok()?;
        let own = certificates.iter().filter(|der| {
            let parsed = ParsedCertificate::try_from(*der);
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        });
        let own = own.filter_map(|der| Some((der, X509Certificate::from_der(der).ok()?.1)));
        let (mut pins, mut is_needed) = (Vec::new(), false);
        for (der, certificate) in own {
            is_needed |= certificate.is_ca() || certificate.subject() != certificate.issuer();
            pins.push(Pin {
                sha256: Sha256::digest(der).into(),
                not_before: certificate.validity().not_before.timestamp(),
                not_after: certificate.validity().not_after.timestamp(),
            });
        }
        is_needed.then(|| Pins(pins.into()))
    }

    /// Checks the certificate that a peer presented.
    ///
    /// # Errors
    /// If it is not one of the pinned certificates, or not valid now.
    pub fn check(&self, session: Option<&SslDigest>) -> Result<()> {
        self.check_at(session, SystemTime::now())
            .map_err(|error| Error::explain(ErrorType::InvalidCert, error.to_string()).into_up())
    }

    /// As [`Pins::check`], of the certificate itself, at a time in seconds since 1970.
    ///
    /// # Errors
    /// If it is another one, or not valid then.
    pub fn check_certificate(&self, der: &CertificateDer, time: u64) -> Result<(), PinError> {
        self.check_digest(&Sha256::digest(der), time)
    }

    fn check_at(&self, session: Option<&SslDigest>, time: SystemTime) -> Result<(), PinError> {
        let shown = session.map_or(&[][..], |session| &session.cert_digest);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.check_digest(shown, since.as_secs())
    }

    fn check_digest(&self, shown: &[u8], time: u64) -> Result<(), PinError> {
        let pin = self.0.iter().find(|pin| pin.sha256 == shown);
        let pin = pin.ok_or(PinError::Other)?;
        let now = i64::try_from(time).unwrap_or(i64::MAX);
        if now > pin.not_after {
            Err(PinError::Expired)
        } else if now < pin.not_before {
            Err(PinError::NotValidYet)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    fn params(names: &[&str], is_ca: bool) -> CertificateParams {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params
    }

    fn self_signed(names: &[&str], is_ca: bool) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let cert = params(names, is_ca).self_signed(&key).unwrap();
        cert.der().clone()
    }

    fn session(certificate: &CertificateDer) -> SslDigest {
        let digest = Sha256::digest(certificate).to_vec();
        SslDigest::new("", "", None, None, digest)
    }

    fn year(year: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
    }

    #[test]
    fn a_self_signed_certificate_that_is_marked_as_an_authority_is_pinned() {
        let own = self_signed(&["a.test", "10.0.0.1"], true);
        let other = self_signed(&["a.test"], true);
        for name in ["a.test", "10.0.0.1"] {
            let pins = Pins::of_peer(std::slice::from_ref(&own), name).expect("pins");
            assert_eq!(pins.check_at(Some(&session(&own)), year(2026)), Ok(()));
            for (shown, when, reason) in [
                (Some(&other), 2026, PinError::Other),
                (None, 2026, PinError::Other),
                (Some(&own), 2031, PinError::Expired),
                (Some(&own), 2019, PinError::NotValidYet),
            ] {
                let digest = shown.map(session);
                let error = pins.check_at(digest.as_ref(), year(when)).unwrap_err();
                assert_eq!(error, reason);
                if let Some(shown) = shown {
                    let seconds = year(when).duration_since(UNIX_EPOCH).unwrap().as_secs();
                    assert_eq!(pins.check_certificate(shown, seconds), Err(reason));
                }
            }
        }
    }

    #[test]
    fn all_certificates_of_the_name_are_good() {
        let (old, new) = (
            self_signed(&["a.test"], true),
            self_signed(&["a.test"], false),
        );
        let pins = Pins::of_peer(&[old.clone(), new.clone()], "a.test").unwrap();
        for certificate in [old, new] {
            assert_eq!(
                pins.check_at(Some(&session(&certificate)), year(2026)),
                Ok(())
            );
        }
    }

    #[test]
    fn a_certificate_signed_by_another_is_pinned_and_its_authority_is_not() {
        let key = KeyPair::generate().unwrap();
        let mut ca = params(&[], true);
        ca.distinguished_name.push(DnType::CommonName, "authority");
        let authority = ca.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(ca, key);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = params(&["a.test"], false);
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().der().clone();
        assert!(Pins::of_peer(&[leaf], "a.test").is_some());
        assert!(Pins::of_peer(&[authority], "a.test").is_none());
    }

    #[test]
    fn rustls_verifies_what_it_can() {
        let leaf = self_signed(&["a.test"], false);
        assert!(Pins::of_peer(&[leaf], "a.test").is_none());
        let authority = self_signed(&["a.test"], true);
        for name in ["b.test", "", "not a name"] {
            assert!(Pins::of_peer(std::slice::from_ref(&authority), name).is_none());
        }
    }
}
