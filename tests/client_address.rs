//! Who the client is: `client_address.txt`, row by row, and what holds whatever a client writes.

use std::net::{IpAddr, SocketAddr};

use geogate::config::model::{ClientIp, ForwardedHeader, TrustedProxies, UntrustedHeaders};
use geogate::gateway::request::client_ip::{Origin, PeerAddr, resolve};
use geogate::proto::proxy_protocol::{self, Reading};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const TABLE: &str = include_str!("client_address.txt");

/// A connection, and who the client is on it; `None` if it is closed instead.
fn client(peer: IpAddr, trusted: &str, brings: &str) -> Option<Origin> {
    let networks = trusted.split_whitespace().map(|text| text.parse().unwrap());
    let trusted_proxies = TrustedProxies::new(networks.collect());
    let mut peer = PeerAddr::new(SocketAddr::new(peer, 4711));
    let mut lines = brings
        .split("\\n")
        .filter(|line| !line.is_empty())
        .peekable();
    if let Some(header) = lines.next_if(|line| line.starts_with("PROXY")) {
        if !trusted_proxies.contains(peer.ip()) {
            return None;
        }
        let header = bytes(header);
        let Ok(Reading::Header(read)) = proxy_protocol::read(&header) else {
            return None;
        };
        assert_eq!(read.length, header.len());
        peer = read.source.map_or(peer, PeerAddr::new);
    }
    let header = match lines.peek() {
        Some(line) if line.starts_with("Forwarded:") => ForwardedHeader::Forwarded,
        _ => ForwardedHeader::XForwardedFor,
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let config = ClientIp {
        trusted_proxies,
        header,
        untrusted_headers: UntrustedHeaders::default(),
    };
    Some(resolve(peer, &headers, &config))
}

/// A PROXY header as it is sent.
fn bytes(header: &str) -> Vec<u8> {
    let Some(hex) = header.strip_prefix("PROXY2 ") else {
        return format!("{header}\r\n").into_bytes();
    };
    let digits: Vec<_> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<_> = pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect();
    let length = u16::try_from(bytes.len() - 2).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &bytes[..2], &length, &bytes[2..]].concat()
}

#[test]
fn the_table_holds() {
    let rows = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [peer, trusted, brings, expected, hops] = cells[..] else {
            panic!("a row of five: {row}")
        };
        let found = client(peer.parse().unwrap(), trusted, brings);
        let name = |origin: &Origin| origin.client.to_string();
        let name = found.as_ref().map_or("closed".to_owned(), name);
        assert_eq!(name, expected, "{row}");
        let verified = found.iter().flat_map(|origin| &origin.hops);
        let verified: Vec<_> = verified.map(IpAddr::to_string).collect();
        let expected: Vec<_> = hops.split_whitespace().filter(|hop| *hop != "-").collect();
        assert_eq!(verified, expected, "{row}");
        count += 1;
    }
    assert!(count > 50, "{count} rows");
}

/// What clients write into lists of addresses, right and wrong.
fn claim() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<IpAddr>().prop_map(|address| address.to_string()),
        any::<[u8; 3]>().prop_map(|[a, b, c]| format!("10.{a}.{b}.{c}")),
        any::<SocketAddr>().prop_map(|address| format!("for=\"{address}\";proto=https")),
        "[ -~]{0,40}",
        Just("unknown".to_owned()),
        Just("\"".to_owned()),
    ]
}

/// Lines of both headers.
fn lines() -> impl Strategy<Value = String> {
    let claims = proptest::collection::vec(claim(), 0..6);
    let name = prop_oneof![Just("X-Forwarded-For"), Just("Forwarded")];
    let line = (name, claims)
        .prop_map(|(name, claims)| format!("{name}: {}", claims.join(",").replace('\\', "/")));
    let lines = proptest::collection::vec(line, 0..4);
    lines.prop_map(|lines| lines.join("\\n"))
}

fn outside() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>().prop_filter("outside 10/8", |address| match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] != 10 && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unspecified(),
    })
}

proptest! {
    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_writes(peer in outside(), lines in lines()) {
        let origin = client(peer, "10.0.0.0/8", &lines).unwrap();
        prop_assert_eq!(origin.client.ip(), peer.to_canonical());
        prop_assert!(origin.hops.is_empty());
    }

    #[test]
    fn an_untrusted_source_is_the_client_whatever_it_writes(peer in outside(), lines in lines()) {
        let kind = if peer.is_ipv4() { "TCP4 0.0.0.0" } else { "TCP6 ::" };
        let (kind, destination) = kind.split_once(' ').unwrap();
        let brings = format!("PROXY {kind} {peer} {destination} 1 2\\n{lines}");
        let origin = client("10.0.0.1".parse().unwrap(), "10.0.0.0/8", &brings).unwrap();
        prop_assert_eq!(origin.client.ip(), peer.to_canonical());
    }

    /// The first hop that is not trusted hides all that stands left of it.
    #[test]
    fn left_of_the_first_untrusted_hop_nothing_matters(
        hop in outside(),
        trusted in proptest::collection::vec(any::<[u8; 3]>(), 0..4),
        written in lines(),
    ) {
        let own = written.split("\\n").filter(|line| line.starts_with("X-"));
        let own: Vec<_> = own.map(str::to_owned).collect();
        let chain = trusted.iter().map(|[a, b, c]| format!(", 10.{a}.{b}.{c}"));
        let chain: String = chain.collect();
        let brings = [own, vec![format!("X-Forwarded-For: {hop}{chain}")]].concat().join("\\n");
        let origin = client("10.0.0.1".parse().unwrap(), "10.0.0.0/8", &brings).unwrap();
        prop_assert_eq!(origin.client.ip(), hop.to_canonical());
        prop_assert_eq!(origin.hops.len(), trusted.len() + 1);
    }

    /// Whatever comes, the client is the peer or an address that the header has.
    #[test]
    fn the_client_is_somebody_who_was_named(lines in lines()) {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let origin = client(peer, "10.0.0.0/8", &lines).unwrap();
        prop_assert!(origin.client.ip() == peer || origin.hops.first() == Some(&origin.client.ip()));
        prop_assert!(!origin.client.ip().is_unspecified());
    }
}
