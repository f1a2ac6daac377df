//! Client certificates as text, for upstreams and logs.
//!
//! The authority vouches for the contents of a certificate, but some authorities sign whatever an
//! applicant writes. So every value is printable ASCII, and no part of a name can be mistaken for
//! another part.

use std::any::Any;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::protocols::tls::TlsRef;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::config::model::ClientCertificateField;

/// Attributes of names with a short form (RFC 4514, 3; the last one as in OpenSSL).
const ATTRIBUTES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Client certificate that was verified in the handshake.
#[derive(Debug, Default)]
pub struct ClientCertificate {
    subject: String,
    issuer: String,
    serial: String,
    fingerprint: String,
    names: String,
}

impl ClientCertificate {
    /// Reads a certificate in DER. Fields that cannot be parsed are empty.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        let fingerprint = hex(&Sha256::digest(der));
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return ClientCertificate {
                fingerprint,
                ..ClientCertificate::default()
            };
        };
        ClientCertificate {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            serial: hex(certificate.raw_serial()).to_ascii_uppercase(),
            fingerprint,
            names: alternative_names(&certificate),
        }
    }

    /// Returns the text of a field.
    #[must_use]
    pub fn text(&self, field: ClientCertificateField) -> &str {
        match field {
            ClientCertificateField::Verify => "SUCCESS",
            ClientCertificateField::Subject => &self.subject,
            ClientCertificateField::Issuer => &self.issuer,
            ClientCertificateField::Serial => &self.serial,
            ClientCertificateField::Fingerprint => &self.fingerprint,
            ClientCertificateField::Names => &self.names,
        }
    }
}

/// Handshake callback that stores the client certificate with its connection.
pub struct KeepCertificate;

#[async_trait]
impl TlsAccept for KeepCertificate {
    async fn handshake_complete_callback(
        &self,
        session: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let der = session.peer_certificate_der()?;
        Some(Arc::new(ClientCertificate::read(der)))
    }
}

/// Formats a name as in RFC 4514, the most specific part first.
fn distinguished_name(name: &X509Name) -> String {
    let part = |attributes: Vec<String>| attributes.join("+");
    let parts = name.iter_rdn();
    let mut parts: Vec<_> = parts
        .map(|attributes| part(attributes.iter().map(attribute).collect()))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == oid);
    let name = known.map_or(&*oid, |(_, name)| *name);
    match attribute.as_str() {
        Ok(text) => format!("{name}={}", escaped(text)),
        // A value that is not text is written as its bytes (RFC 4514, 2.4).
        Err(_) => format!("{name}=#{}", hex(attribute.attr_value().data)),
    }
}

/// Escapes a value, so that no character has a special meaning (RFC 4514, 2.4).
fn escaped(text: &str) -> String {
    let (mut out, last) = (String::new(), text.len().saturating_sub(1));
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.extend(['\\', char::from(byte)]);
            }
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b'#' if at == 0 => out.push_str("\\#"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

/// Formats the names of `subjectAltName` in the syntax of OpenSSL's configuration.
fn alternative_names(certificate: &X509Certificate) -> String {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return String::new();
    };
    let names = extension.value.general_names.iter();
    let names: Vec<_> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("DNS:{}", printable(name))),
            GeneralName::RFC822Name(name) => Some(format!("email:{}", printable(name))),
            GeneralName::URI(name) => Some(format!("URI:{}", printable(name))),
            GeneralName::IPAddress(bytes) => Some(format!("IP:{}", address(bytes)?)),
            _ => None,
        })
        .collect();
    names.join(",")
}

/// Percent-encodes the comma, which separates names, and all bytes that are not visible ASCII.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b',' | ..=b' ' | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4.or_else(|_| v6()).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    /// Creates a certificate with these attributes and alternative names.
    fn certificate(
        attributes: &[(DnType, &str)],
        names: Vec<SanType>,
    ) -> (ClientCertificate, Vec<u8>) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (ClientCertificate::read(der.der()), der.der().to_vec())
    }

    #[test]
    fn a_certificate_is_told_in_text() {
        let attributes = [
            (DnType::CountryName, "CN"),
            (DnType::OrganizationName, "Example"),
            (DnType::CommonName, "client 1"),
        ];
        let names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://a/b".try_into().unwrap()),
            SanType::Rfc822Name("x@a.example".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
        ];
        let (certificate, der) = certificate(&attributes, names);
        for (field, expected) in [
            (ClientCertificateField::Verify, "SUCCESS"),
            (
                ClientCertificateField::Subject,
                "CN=client 1,O=Example,C=CN",
            ),
            (ClientCertificateField::Issuer, "CN=client 1,O=Example,C=CN"),
            (ClientCertificateField::Serial, "0ABC"),
            (
                ClientCertificateField::Names,
                "DNS:a.example,URI:spiffe://a/b,email:x@a.example,IP:192.0.2.1",
            ),
        ] {
            assert_eq!(certificate.text(field), expected);
        }
        let fingerprint = certificate.text(ClientCertificateField::Fingerprint);
        assert_eq!(fingerprint, format!("{:x}", Sha256::digest(&der)));
    }

    #[test]
    fn a_value_cannot_look_like_another_attribute_or_line() {
        for (value, expected) in [
            ("a,O=b", "CN=a\\,O=b"),
            ("a+CN=b", "CN=a\\+CN=b"),
            ("a\r\nX-Evil: 1", "CN=a\\0D\\0AX-Evil: 1"),
            (" a ", "CN=\\ a\\ "),
            ("#a", "CN=\\#a"),
            ("\\\"<>;", "CN=\\\\\\\"\\<\\>\\;"),
            ("\u{4e2d}", "CN=\\E4\\B8\\AD"),
        ] {
            let (certificate, _) = certificate(&[(DnType::CommonName, value)], Vec::new());
            let subject = certificate.text(ClientCertificateField::Subject);
            assert_eq!(subject, expected, "{value:?}");
        }
        let uri = SanType::URI("spiffe://a/,DNS:admin\r\n".try_into().unwrap());
        let (certificate, _) = certificate(&[], vec![uri]);
        let names = certificate.text(ClientCertificateField::Names);
        assert_eq!(names, "URI:spiffe://a/%2CDNS:admin%0D%0A");
    }

    #[test]
    fn what_is_no_certificate_has_a_fingerprint_only() {
        let certificate = ClientCertificate::read(b"x");
        assert_eq!(certificate.text(ClientCertificateField::Subject), "");
        assert_eq!(
            certificate.text(ClientCertificateField::Fingerprint).len(),
            64
        );
    }
}
