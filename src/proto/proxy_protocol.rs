//! PROXY protocol: a header before all other bytes, in which a load balancer that does not speak
//! HTTP sends the address of its client
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! This module parses the header, and writes it for peers. The configuration decides which connections have one, so
//! that this is never guessed, and which peers may send one. In version 2, the fields behind the
//! addresses (TLVs) are skipped, but they must fill the header: a load balancer does not send a cut
//! field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Maximum length of a header, in bytes. A header of version 2 announces its own length, which
/// could be 64 KiB.
pub const LIMIT: usize = 4096;

/// Maximum length of a header of version 1, with its line end.
const TEXT_LIMIT: usize = 107;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Length of a header of version 2 up to its addresses.
const BINARY_START: usize = 16;

/// Version 2, for a connection of the proxy itself.
const LOCAL: u8 = 0x20;

/// Version 2, for a connection on behalf of a client.
const PROXY: u8 = 0x21;

/// Length of the two paths of a connection over Unix sockets.
const UNIX_ADDRESSES: usize = 216;

/// Result of reading the start of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// An incomplete header.
    Partial,
    /// A complete header.
    Header(Header),
}

/// Header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Address of the proxy's client; `None` if the proxy connects for itself, as in a health
    /// check, or for a client without an IP address.
    pub source: Option<SocketAddr>,
    /// Length in bytes.
    pub length: usize,
}

/// Reason why the start of a connection is no valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes do not begin with a header.
    #[error("it begins without a PROXY header")]
    None,
    /// The bytes begin with a header that is malformed.
    #[error("its PROXY header is malformed")]
    Header,
    /// The header is longer than any header in practice.
    #[error("its PROXY header is longer than {LIMIT} bytes")]
    TooLong,
}

/// Returns the header of version 1 of a connection from a client to an address; `UNKNOWN` without them.
#[must_use]
pub fn write_text(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (family, [source_ip, destination_ip]) = match (source.ip(), destination.ip()) {
        (source @ IpAddr::V4(_), destination @ IpAddr::V4(_)) => {
            ("TCP4", [source.to_string(), destination.to_string()])
        }
        (source, destination) => (
            "TCP6",
            [source, destination].map(|ip| as_v6(ip).to_string()),
        ),
    };
    let ports = [source.port(), destination.port()];
    let [from, to] = ports;
    format!("PROXY {family} {source_ip} {destination_ip} {from} {to}\r\n").into_bytes()
}

/// Returns the header of version 2 of a connection from a client to an address; that of a connection of
/// the proxy itself without them.
#[must_use]
pub fn write_binary(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = BINARY.to_vec();
    let Some((source, destination)) = ends else {
        header.extend_from_slice(&[LOCAL, 0, 0, 0]);
        return header;
    };
    header.push(PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend_from_slice(&[0x11, 0, 12]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            header.extend_from_slice(&[0x21, 0, 36]);
            header.extend_from_slice(&as_v6(source).octets());
            header.extend_from_slice(&as_v6(destination).octets());
        }
    }
    for port in [source.port(), destination.port()] {
        header.extend_from_slice(&port.to_be_bytes());
    }
    header
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Reads the header at the start of `bytes`.
///
/// # Errors
/// If the bytes are not the start of a valid header. [`LIMIT`] bytes are never partial.
pub fn read(bytes: &[u8]) -> Result<Reading, Malformed> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(a, b)| a == b);
    if begins(TEXT) {
        read_text(bytes)
    } else if begins(BINARY) {
        read_binary(bytes)
    } else {
        Err(Malformed::None)
    }
}

/// Reads version 1: `PROXY TCP4 1.2.3.4 5.6.7.8 1111 80` and a line end.
fn read_text(bytes: &[u8]) -> Result<Reading, Malformed> {
    let bytes = &bytes[..bytes.len().min(TEXT_LIMIT)];
    let Some(length) = memchr::memmem::find(bytes, b"\r\n") else {
        if bytes.len() == TEXT_LIMIT || memchr::memchr2(b'\n', b'\0', bytes).is_some() {
            return Err(Malformed::Header);
        }
        return Ok(Reading::Partial);
    };
    let line = std::str::from_utf8(&bytes[..length]).map_err(|_| Malformed::Header)?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        // The rest of the line is to be ignored.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let source = text_source(family, words).ok_or(Malformed::Header)?;
            Some(source)
        }
        _ => return Err(Malformed::Header),
    };
    Ok(Reading::Header(Header {
        source,
        length: length + 2,
    }))
}

fn text_source<'w>(family: &str, mut words: impl Iterator<Item = &'w str>) -> Option<SocketAddr> {
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse().ok().map(IpAddr::V4),
            _ => text.parse().ok().map(IpAddr::V6),
        }
    };
    let _ = (address(destination)?, destination_port);
    let source = SocketAddr::new(address(source)?, source_port);
    words.next().is_none().then_some(source)
}

/// Parses a port: digits only, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok()?;
    (plain && (text == "0" || !text.starts_with('0'))).then_some(port)
}

fn read_binary(bytes: &[u8]) -> Result<Reading, Malformed> {
    let Some(start) = bytes.first_chunk::<BINARY_START>() else {
        return Ok(Reading::Partial);
    };
    let (command, family) = (start[12], start[13]);
    let length = BINARY_START + usize::from(u16::from_be_bytes([start[14], start[15]]));
    if length > LIMIT {
        return Err(Malformed::TooLong);
    }
    let Some(addresses) = bytes.get(BINARY_START..length) else {
        return Ok(Reading::Partial);
    };
    let source = match (command, family) {
        // TCP, or UDP, over which QUIC reaches a proxy.
        (PROXY, 0x11 | 0x12) => {
            let parts = split_fields::<12>(addresses)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *parts;
            let address = Ipv4Addr::new(a, b, c, d);
            Some(SocketAddr::from((address, u16::from_be_bytes([high, low]))))
        }
        (PROXY, 0x21 | 0x22) => {
            let parts = split_fields::<36>(addresses)?;
            let address = parts.first_chunk::<16>().ok_or(Malformed::Header)?;
            let port = u16::from_be_bytes([parts[32], parts[33]]);
            Some(SocketAddr::from((Ipv6Addr::from(*address), port)))
        }
        // A Unix socket of the proxy's host: two paths, without an address of a client.
        (PROXY, 0x31 | 0x32) => {
            split_fields::<UNIX_ADDRESSES>(addresses)?;
            None
        }
        // An unknown client, or the proxy itself: the addresses are to be ignored, and for the
        // latter the family, too.
        (PROXY, 0x00) | (LOCAL, _) => None,
        // Every other family and transport must be refused.
        _ => return Err(Malformed::Header),
    };
    Ok(Reading::Header(Header { source, length }))
}

/// Splits the addresses from the bytes behind a header's first 16 bytes. Fields follow them, each
/// with a type, a length of two bytes and that many bytes.
fn split_fields<const LENGTH: usize>(bytes: &[u8]) -> Result<&[u8; LENGTH], Malformed> {
    let (addresses, mut fields) = bytes
        .split_first_chunk::<LENGTH>()
        .ok_or(Malformed::Header)?;
    while !fields.is_empty() {
        let [_, high, low] = *fields.first_chunk().ok_or(Malformed::Header)?;
        let end = 3 + usize::from(u16::from_be_bytes([high, low]));
        fields = fields.get(end..).ok_or(Malformed::Header)?;
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the source of a complete header, `-` for none, or a word for another result.
    fn word(bytes: &[u8]) -> String {
        match read(bytes) {
            Ok(Reading::Partial) => "partial".to_owned(),
            Ok(Reading::Header(Header { source, length })) => {
                assert!(length <= bytes.len() && length <= LIMIT);
                source.map_or("-".to_owned(), |source| source.to_string())
            }
            Err(Malformed::None) => "none".to_owned(),
            Err(Malformed::Header) => "malformed".to_owned(),
            Err(Malformed::TooLong) => "too long".to_owned(),
        }
    }

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expected: &str) {
        let bytes = bytes.as_ref();
        assert_eq!(
            word(bytes),
            expected,
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }

    /// Returns a header of version 2 with these addresses.
    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, addresses].concat()
    }

    const V4: [u8; 12] = [1, 2, 3, 4, 10, 0, 0, 1, 0x04, 0x57, 0, 80];

    fn v6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x04, 0x57, 0, 80]].concat()
    }

    #[test]
    fn text_names_its_source() {
        check("PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\n", "1.2.3.4:1111");
        check("PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\nGET /", "1.2.3.4:0");
        check(
            "PROXY TCP6 2001:db8::1 ::1 1111 80\r\n",
            "[2001:db8::1]:1111",
        );
        check("PROXY UNKNOWN\r\n", "-");
        check("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "-");
    }

    #[test]
    fn text_has_one_form() {
        for line in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2",
            "PROXY tcp4 1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7 1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 -",
            "PROXY TCP4 ::1 ::1 1 2",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2",
            "PROXY TCP6 [::1] [::1] 1 2",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2",
            "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2",
            "PROXY \u{e9}",
        ] {
            check(format!("{line}\r\n"), "malformed");
        }
        check("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "malformed");
        check("PROXY TCP4 \0", "malformed");
        check(format!("PROXY UNKNOWN {}", "x".repeat(93)), "malformed");
        check(format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)), "-");
        check(format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), "malformed");
    }

    #[test]
    fn binary_names_its_source() {
        check(binary(0x21, 0x11, &V4), "1.2.3.4:1111");
        check(binary(0x21, 0x12, &V4), "1.2.3.4:1111");
        check(binary(0x21, 0x21, &v6()), "[2001:db8::1]:1111");
        let with_more = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        check(binary(0x21, 0x11, &with_more), "1.2.3.4:1111");
        check(binary(0x20, 0x11, &V4), "-");
        check(binary(0x20, 0x00, &[]), "-");
        check(binary(0x21, 0x00, &[]), "-");
        check(binary(0x21, 0x22, &v6()), "[2001:db8::1]:1111");
        check(binary(0x21, 0x31, &[0; 216]), "-");
        check(binary(0x21, 0x32, &[0; 219]), "-");
    }

    #[test]
    fn what_is_not_for_us_is_ignored_whatever_it_is() {
        for length in [0, 1, 11, 12, 36, 216, 300] {
            check(binary(0x21, 0x00, &vec![b'x'; length]), "-");
            for family in [0x00, 0x11, 0x21, 0x31, 0x41, 0x13, 0xff] {
                check(binary(0x20, family, &vec![b'x'; length]), "-");
            }
        }
    }

    #[test]
    fn every_family_has_its_length() {
        for (families, length) in [([0x11, 0x12], 12), ([0x21, 0x22], 36), ([0x31, 0x32], 216)] {
            for family in families {
                for shorter in 0..length {
                    check(binary(0x21, family, &vec![0; shorter]), "malformed");
                }
                let word = word(&binary(0x21, family, &vec![0; length]));
                assert!(!["malformed", "partial"].contains(&&*word), "{family:#x}");
            }
        }
    }

    #[test]
    fn unknown_families_and_transports_are_malformed() {
        for family in 0..=u8::MAX {
            if ![0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32].contains(&family) {
                check(binary(0x21, family, &[0; 300]), "malformed");
            }
        }
    }

    #[test]
    fn fields_fill_the_header() {
        let fields = |fields: &[u8]| binary(0x21, 0x11, &[&V4[..], fields].concat());
        for whole in [
            &[4, 0, 0][..],
            &[1, 0, 2, b'h', b'2'],
            &[4, 0, 0, 0xe0, 0, 1, 9],
        ] {
            check(fields(whole), "1.2.3.4:1111");
        }
        for cut in [&[4][..], &[4, 0], &[1, 0, 3, b'h', b'2'], &[4, 0, 0, 4]] {
            check(fields(cut), "malformed");
            let unix = [&[0; UNIX_ADDRESSES][..], cut].concat();
            check(binary(0x21, 0x31, &unix), "malformed");
        }
    }

    #[test]
    fn binary_has_one_form() {
        check(binary(0x21, 0x11, &V4[..11]), "malformed");
        check(binary(0x21, 0x21, &V4), "malformed");
        check(binary(0x22, 0x11, &V4), "malformed");
        check(binary(0x11, 0x11, &V4), "malformed");
        check(binary(0x21, 0x41, &v6()), "malformed");
        check(binary(0x21, 0x13, &V4), "malformed");
        check(binary(0x21, 0x11, &[0; LIMIT - 16]), "0.0.0.0:0");
        check(binary(0x21, 0x11, &[0; LIMIT - 15]), "too long");
        // The announced length is enough.
        check(&binary(0x21, 0x11, &[0; LIMIT - 15])[..16], "too long");
    }

    #[test]
    fn a_header_cut_anywhere_is_partial() {
        let headers = [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\n".to_vec(),
            binary(0x21, 0x11, &V4),
            binary(0x21, 0x21, &v6()),
        ];
        for header in headers {
            for length in 0..header.len() {
                check(&header[..length], "partial");
            }
        }
    }

    #[test]
    fn anything_else_is_none() {
        for bytes in [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "\r\n\r\nGET",
            "\x16\x03\x01",
            "P\0",
        ] {
            check(bytes, "none");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            start in proptest::sample::select(vec![&b""[..], TEXT, b"PROXY TCP4 ", BINARY, b"\r\n\r\n\0\r\nQUIT\n!\x11"]),
            rest in proptest::collection::vec(proptest::num::u8::ANY, 0..5000),
        ) {
            let bytes = [start, &rest].concat();
            let whole = word(&bytes);
            proptest::prop_assert!(whole != "partial" || bytes.len() < LIMIT);
            // More bytes behind a header change nothing.
            if let Ok(Reading::Header(header)) = read(&bytes) {
                proptest::prop_assert_eq!(
                    read(&bytes[..header.length]),
                    Ok(Reading::Header(header))
                );
            }
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let ends = [
            ("192.0.2.1:1234", "198.51.100.2:443"),
            ("[2001:db8::1]:1234", "[2001:db8::2]:443"),
            ("192.0.2.1:0", "[2001:db8::2]:443"),
        ];
        for (source, destination) in ends.map(|(from, to)| (address(from), address(to))) {
            for header in [write_text, write_binary].map(|write| write(Some((source, destination))))
            {
                let Ok(Reading::Header(read)) = read(&header) else {
                    panic!("{header:?}");
                };
                let found = read.source.unwrap();
                assert_eq!(found.ip().to_canonical(), source.ip());
                assert_eq!((found.port(), read.length), (source.port(), header.len()));
            }
        }
        for header in [write_text(None), write_binary(None)] {
            let expected = Header {
                source: None,
                length: header.len(),
            };
            assert_eq!(read(&header), Ok(Reading::Header(expected)));
        }
        let ends = Some((address("192.0.2.1:1"), address("198.51.100.2:443")));
        assert_eq!(
            write_text(ends),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 443\r\n"
        );
    }
}
