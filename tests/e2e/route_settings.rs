//! Conditions and settings of routes that other files do not show.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::{Chain, ENGINES, Engine, EngineClient, LOCAL_ENGINES, Origin, Peer};

const TRUSTING: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn from(ip: &str) -> String {
    format!("X-Forwarded-For: {ip}\r\n")
}

fn text(client: &mut EngineClient, headers: &str) -> String {
    client.get("/", headers).text().to_owned()
}

#[test]
fn countries_are_named_by_code_or_by_name() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(&format!(
            "{TRUSTING}[[route]]\ncountries = ['CN', '韩国']\nrespond = {{ body = 'near' }}\n\
             [[route]]\ncountries = 'US'\nrespond = {{ body = 'far' }}\n\
             [[route]]\nrespond = {{ body = 'elsewhere' }}\n"
        ));
        let mut client = gateway.client();
        for (ip, expected) in [
            ("1.0.0.1", "near"),
            ("1.1.0.1", "near"),
            ("50.0.0.1", "far"),
            ("200.0.0.1", "elsewhere"),
        ] {
            assert_eq!(text(&mut client, &from(ip)), expected, "{ip}");
        }
    }
}

#[test]
fn headers_are_conditions_by_value_or_by_regex() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(
            "[[route]]\nheaders = { X-Version = '2' }\nrespond = { body = 'two' }\n\
             [[route]]\nheaders = { User-Agent = '~(?i)mobile' }\nrespond = { body = 'mobile' }\n\
             [[route]]\nheaders = { X-Version = '2', User-Agent = '~(?i)mobile' }\n\
             respond = { body = 'both' }\n\
             [[route]]\nrespond = { body = 'neither' }\n",
        );
        let mut client = gateway.client();
        for (headers, expected) in [
            ("", "neither"),
            ("X-Version: 2\r\n", "two"),
            ("X-Version: 20\r\n", "neither"),
            ("User-Agent: A (MOBILE)\r\n", "mobile"),
            ("User-Agent: A (MOBILE)\r\nX-Version: 2\r\n", "both"),
        ] {
            assert_eq!(text(&mut client, headers), expected, "{headers}");
        }
    }
}

/// What a route says of compression stands above `[compression]`.
#[test]
fn compression_is_turned_on_and_off_by_route() {
    for (enabled, compress, expected) in [
        (true, "", Some("gzip")),
        (true, "compress = false", None),
        (false, "compress = true", Some("gzip")),
        (false, "", None),
    ] {
        let more = format!(
            "[compression]\nenabled = {enabled}\nmin_size = 1\n\
             [[route]]\nupstream = 'api'\n{compress}\n"
        );
        for engine in ENGINES {
            let peer = Peer::listen();
            let bridge = engine.bridge(peer.address);
            let gateway = engine.with_peers(&[bridge.address], "name = 'api'", &more);
            let mut client = gateway.client();
            client.ask("GET", "/", "Accept-Encoding: gzip\r\n", b"");
            let mut upstream = peer.accept();
            upstream.head();
            upstream.send(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                 Content-Length: 11\r\n\r\nlong enough",
            );
            let response = client.response();
            let found = response.header("content-encoding");
            assert_eq!(found, expected, "{enabled} {compress}");
        }
    }
}

/// A gateway that sends an address's location to an origin, from a database with many fields.
fn located(engine: Engine, origin: SocketAddr, geo_headers: &str) -> Chain {
    let database = "start,end,country,country_code,city,postal_code,asn,time_zone\n\
                    1.0.0.0,1.0.0.255,Japan,JP,Tokyo,100-0001,64496,Asia/Tokyo\n";
    let configuration = format!(
        "{TRUSTING}[[database]]\nfile = '{{folder}}/places.csv'\n[geo_headers]\n{geo_headers}\n\
         [[upstream]]\npeers = ['{origin}']\n"
    );
    let prepare = |folder: &Path| std::fs::write(folder.join("places.csv"), database).unwrap();
    engine.start_in(&configuration, prepare)
}

#[test]
fn location_has_the_names_that_are_asked_for() {
    for (settings, sent, not_sent) in [
        (
            "",
            &[("x-geo-country", "JP"), ("x-geo-city", "Tokyo")][..],
            "x-geo-asn",
        ),
        (
            "names = 'cloudflare'",
            &[
                ("cf-ipcountry", "JP"),
                ("cf-ipcity", "Tokyo"),
                ("cf-postal-code", "100-0001"),
            ],
            "x-geo-country",
        ),
        (
            "names = 'cloudfront'",
            &[
                ("cloudfront-viewer-country", "JP"),
                ("cloudfront-viewer-asn", "64496"),
            ],
            "cf-ipcountry",
        ),
        (
            "names = 'vercel'",
            &[
                ("x-vercel-ip-country", "JP"),
                ("x-vercel-ip-timezone", "Asia/Tokyo"),
            ],
            "x-geo-country",
        ),
        (
            "more = ['asn', 'postal_code']",
            &[
                ("x-geo-country", "JP"),
                ("x-geo-asn", "64496"),
                ("x-geo-postal-code", "100-0001"),
            ],
            "x-geo-time-zone",
        ),
    ] {
        for engine in ENGINES {
            let origin = Origin::start();
            let gateway = located(engine, origin.address, settings);
            let response = gateway.client().get("/", &from("1.0.0.1"));
            assert_eq!(response.status, 200);
            let request = origin.last();
            for (name, value) in sent {
                assert_eq!(request.values(name), [*value], "{settings} {name}");
            }
            assert!(request.values(not_sent).is_empty(), "{settings} {not_sent}");
        }
    }
}
