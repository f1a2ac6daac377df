//! Details of rate limits: what may come at once, who is one client, how many are remembered.

use crate::harness::{Client, ENGINES, EngineClient, Gateway, Origin, Peer, QUERY_FORMS};

const QUERY: &str = "/api/ip_query?ip=1.0.0.1";

/// Trusts loopback, so that a client says who it is.
const TRUSTING: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";

/// A gateway with a rate for all requests, which comes back so slowly that no test sees it.
fn limited(settings: &str) -> Gateway {
    Gateway::start(&format!(
        "{TRUSTING}[limits]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\n{settings}\n"
    ))
}

fn from(ip: &str) -> String {
    format!("X-Forwarded-For: {ip}\r\n")
}

/// How many requests of a client are served, one after the other.
fn served(client: &mut Client, ip: &str) -> usize {
    let mut served = 0;
    while client.get(QUERY, &from(ip)).status == 200 {
        served += 1;
    }
    served
}

#[test]
fn a_burst_is_served_at_once() {
    for (settings, expected) in [
        ("rate = '3/d'", 3),
        ("rate = '3/d'\nburst = 1", 1),
        ("rate = '3/d'\nburst = 7", 7),
    ] {
        let gateway = limited(settings);
        assert_eq!(
            served(&mut gateway.client(), "1.0.0.1"),
            expected,
            "{settings}"
        );
    }
}

// Keys: rate_limit.ipv6_prefix
#[test]
fn addresses_of_one_network_are_one_client() {
    for (settings, expected) in [
        ("", [1, 1, 1, 0]),
        ("ipv6_prefix = 48", [1, 0, 1, 0]),
        ("ipv6_prefix = 128", [1, 1, 1, 1]),
    ] {
        let gateway = limited(&format!("rate = '1/d'\n{settings}"));
        let mut client = gateway.client();
        let addresses = [
            "2001:db8:1:1::1",
            "2001:db8:1:2::1",
            "2001:db8:2:1::1",
            "2001:db8:2:1::2",
        ];
        let found = addresses.map(|ip| served(&mut client, ip));
        assert_eq!(found, expected, "{settings}");
    }
}

#[test]
fn of_more_keys_than_there_is_room_for_the_first_is_forgotten() {
    for (settings, is_forgotten) in [("max_keys = 64", true), ("", false)] {
        let gateway = limited(&format!("rate = '1/d'\n{settings}"));
        let mut client = gateway.client();
        assert_eq!(served(&mut client, "1.0.0.1"), 1);
        for other in 0..500 {
            let ip = format!("2.0.{}.{}", other / 250, other % 250);
            assert_eq!(client.get(QUERY, &from(&ip)).status, 200);
        }
        let again = client.get(QUERY, &from("1.0.0.1")).status;
        assert_eq!(again == 200, is_forgotten, "{settings}");
    }
}

#[test]
fn a_rate_of_queries_limits_queries_alone() {
    let origin = Origin::start();
    let rate = "[query]\nrate_limit = 'r'\n[[rate_limit]]\nname = 'r'\nrate = '1/d'\n";
    let gateway = Gateway::with_peers(&[origin.address], "", rate);
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.get("/page", "").status, 200);
    }
    assert_eq!(client.get(QUERY, "").status, 200);
    for form in QUERY_FORMS {
        assert_eq!(client.get(QUERY, form).status, 429);
        assert_eq!(client.get("/page", "").status, 200);
    }
}

// Keys: limits.ipv6_prefix
#[test]
fn requests_of_one_network_are_counted_together() {
    for (prefix, expected) in [("", 200), ("ipv6_prefix = 48", 429)] {
        for engine in ENGINES {
            let peer = Peer::listen();
            let bridge = engine.bridge(peer.address);
            let limits = format!("{TRUSTING}[limits]\nmax_requests_per_client = 1\n{prefix}\n");
            let gateway = engine.with_peers(&[bridge.address], "", &limits);
            let ask = |client: &mut EngineClient, ip: &str| {
                client.ask("GET", "/page", &from(ip), b"");
            };
            let mut waiting = gateway.client();
            ask(&mut waiting, "2001:db8:1:1::1");
            let mut held = peer.accept();
            held.head();
            let mut neighbour = gateway.client();
            ask(&mut neighbour, "2001:db8:1:2::1");
            if expected == 200 {
                let mut upstream = peer.accept();
                upstream.head();
                upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            assert_eq!(neighbour.response().status, expected, "{prefix}");
            // Nobody waits for the first answer, or the gateway would when it stops.
            waiting.leave();
        }
    }
}
