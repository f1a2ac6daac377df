//! What upstreams are told of a client, and what a client cannot make them believe.

use crate::harness::{Chain, ENGINES, Engine, HTTP1_CLIENT_ENGINES, Origin};

const TRUST_LOOPBACK: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']\n";

/// Sends header lines through each engine, and checks what the origin gets.
#[track_caller]
fn check(more: &str, headers: &str, expected: &[(&str, &[&str])]) {
    check_on(&ENGINES, more, headers, expected);
}

#[track_caller]
fn check_on(engines: &[Engine], more: &str, headers: &str, expected: &[(&str, &[&str])]) {
    for engine in engines {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", more);
        check_sent(&gateway, &origin, headers, expected);
        if engine.is_http1() {
            // Lines of one hop, which HTTP/2 does not have.
            let hop = "Connection: keep-alive, X-Nothing\r\nX-Nothing: 1\r\n";
            let lines = format!("{headers}{hop}");
            check_sent(&gateway, &origin, &lines, expected);
        }
    }
}

#[track_caller]
fn check_sent(gateway: &Chain, origin: &Origin, lines: &str, expected: &[(&str, &[&str])]) {
    assert_eq!(gateway.client().get("/", lines).status, 200);
    let request = origin.last();
    for (name, values) in expected {
        assert_eq!(request.values(name), *values, "{name} of {lines:?}");
    }
    for name in ["connection", "keep-alive", "proxy-connection", "x-nothing"] {
        assert_eq!(request.values(name), [""; 0], "{name} of {lines:?}");
    }
    // Of HTTP/2 on both sides it says that trailers can be passed on, which gRPC asks for.
    let passes_te = gateway.engine == ENGINES[3] && lines.contains("TE: trailers\r\n");
    let te: &[&str] = if passes_te { &["trailers"] } else { &[] };
    assert_eq!(request.values("te"), te, "{lines:?}");
}

#[test]
fn the_socket_counts_if_nobody_is_trusted() {
    check(
        "",
        "X-Forwarded-For: 1.0.0.1\r\nX-Real-IP: 1.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=1.0.0.1\r\n",
        &[
            ("x-real-ip", &["127.0.0.1"]),
            ("x-forwarded-for", &["127.0.0.1"]),
            ("x-forwarded-proto", &["http"]),
            ("x-forwarded-host", &["test"]),
            ("forwarded", &[]),
            ("host", &["test"]),
            ("x-geo-country", &[]),
            (
                "x-geo-country-name",
                &["%E6%9C%AC%E6%9C%BA%E5%9C%B0%E5%9D%80"],
            ),
        ],
    );
}

#[test]
fn a_trusted_proxy_names_the_client_and_the_client_has_a_place() {
    check(
        TRUST_LOOPBACK,
        "X-Forwarded-For: 6.6.6.6, 1.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\n",
        &[
            ("x-real-ip", &["1.0.0.1"]),
            ("x-forwarded-for", &["1.0.0.1, 10.0.0.2, 127.0.0.1"]),
            ("x-forwarded-proto", &["https"]),
            ("x-forwarded-host", &["outer"]),
            ("x-geo-country", &["CN"]),
            ("x-geo-country-name", &["%E4%B8%AD%E5%9B%BD"]),
            ("x-geo-region", &["%E7%A6%8F%E5%BB%BA"]),
            ("x-geo-region-code", &["350000"]),
            ("x-geo-city", &["%E7%A6%8F%E5%B7%9E"]),
            ("x-geo-city-code", &["350100"]),
            ("x-geo-org", &["%E6%9F%90%E5%A4%A7%E5%AD%A6"]),
            ("x-geo-isp", &["%E7%94%B5%E4%BF%A1"]),
        ],
    );
}

const IDENTITY: &str = "X-Forwarded-Client-Cert: a\r\nx_forwarded_port: 1\r\nProxy: b\r\n\
     X-Original-URL: /c\r\nX.Envoy-External-Address: d\r\nRemote_User: e\r\n\
     X-SSL-Client-Verify: f\r\nClient-Cert: g\r\nCF-Connecting-IP: h\r\nX-User: i\r\n";

// Keys: client_ip.untrusted_headers, client_ip.untrusted_headers.remove
#[test]
fn headers_of_identity_pass_from_trusted_proxies_alone() {
    let nothing: &[&str] = &[];
    let own = |value| move |name| (name, value);
    let names = [
        "x-forwarded-client-cert",
        "x_forwarded_port",
        "proxy",
        "x-original-url",
        "x.envoy-external-address",
        "remote_user",
        "x-ssl-client-verify",
        "client-cert",
        "cf-connecting-ip",
    ];
    let mut expected: Vec<_> = names.map(own(nothing)).into();
    expected.push(("x-user", &["i"]));
    check("", IDENTITY, &expected);
    check(
        TRUST_LOOPBACK,
        IDENTITY,
        &[
            ("x-forwarded-client-cert", &["a"]),
            ("x_forwarded_port", &["1"]),
            ("proxy", &["b"]),
            ("x-original-url", &["/c"]),
            ("remote_user", &["e"]),
            ("client-cert", &["g"]),
            ("cf-connecting-ip", &["h"]),
            ("x-user", &["i"]),
        ],
    );
    check(
        "[client_ip.untrusted_headers]\nadd = ['X-User']\nremove = ['Proxy', 'X-Forwarded-Port']\n",
        IDENTITY,
        &[
            ("x-user", nothing),
            ("proxy", &["b"]),
            ("x_forwarded_port", &["1"]),
            ("client-cert", nothing),
        ],
    );
}

/// A stranger's word is deleted before a route reads it; what the route itself sets is sent.
#[test]
fn routes_read_no_strangers_word_and_may_set_their_own() {
    let routes = "[[route]]\nupstream = 'default'\n[route.request_headers.set]\n\
         Remote-User = 'nobody'\nX-Copy = '[$http_x_ssl_client_verify]'\n\
         [[route]]\nheaders = { X-SSL-Client-Verify = 'f' }\nrespond = { status = 403 }\n";
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "name = 'default'", routes);
        assert_eq!(gateway.client().get("/", IDENTITY).status, 200);
        let sent = origin.last();
        assert_eq!(sent.values("remote-user"), ["nobody"]);
        assert_eq!(sent.values("remote_user"), [""; 0]);
        assert_eq!(sent.values("x-copy"), ["[]"]);
    }
}

/// Trusted lines of X-Forwarded-For, and the client that they lead to.
#[test]
fn the_walk_ends_at_the_first_hop_that_is_not_trusted() {
    for (line, client) in [
        ("1.0.0.1", "1.0.0.1"),
        ("6.6.6.6, 1.0.0.1", "1.0.0.1"),
        ("1.0.0.1, 10.9.9.9", "1.0.0.1"),
        ("6.6.6.6, unknown, 10.9.9.9", "10.9.9.9"),
        ("6.6.6.6, 010.0.0.1", "127.0.0.1"),
        ("6.6.6.6,", "127.0.0.1"),
        ("10.0.0.3, 10.0.0.4", "10.0.0.3"),
        ("1.0.0.1:4711", "1.0.0.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:1.0.0.1", "1.0.0.1"),
    ] {
        let header = format!("X-Forwarded-For: {line}\r\n");
        check(TRUST_LOOPBACK, &header, &[("x-real-ip", &[client])]);
    }
}

// Keys: client_ip.header
#[test]
fn forwarded_can_be_the_header_instead() {
    check(
        &format!("{TRUST_LOOPBACK}header = 'Forwarded'\n"),
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6, for=\"1.0.0.1:80\";proto=https\r\n",
        &[
            ("x-real-ip", &["1.0.0.1"]),
            ("x-forwarded-for", &["1.0.0.1, 127.0.0.1"]),
            ("forwarded", &[]),
        ],
    );
}

#[test]
fn any_header_can_have_the_address_of_the_client() {
    // Keys: client_ip.header
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Client-Address: 1.0.0.1\r\n";
    let header = "header = 'X-Client-Address'\n";
    check(
        &format!("{TRUST_LOOPBACK}{header}"),
        lines,
        &[
            ("x-real-ip", &["1.0.0.1"]),
            ("x-forwarded-for", &["1.0.0.1, 127.0.0.1"]),
            ("x-client-address", &["1.0.0.1"]),
        ],
    );
    // A stranger cannot say where it is, not even to the upstream.
    check(
        &format!("[client_ip]\n{header}"),
        lines,
        &[
            ("x-real-ip", &["127.0.0.1"]),
            ("x-forwarded-for", &["127.0.0.1"]),
            ("x-client-address", &[]),
        ],
    );
}

/// What a client must not say of itself: our own names, those of others who speak for clients, and
/// those of networks that tell where a client is.
const MANAGED: [&str; 44] = [
    "X-Geo-Country",
    "X-Geo-Country-Name",
    "X-Geo-Region",
    "X-Geo-Region-Code",
    "X-Geo-City",
    "X-Geo-City-Code",
    "X-Geo-Org",
    "X-Geo-ISP",
    "X-Geo-ASN",
    "X-Geo-Latitude",
    "X-Geo-Time-Zone",
    "X-Geo-Whatever",
    "X-Real-IP",
    "X-Forwarded",
    "X-Forwarded-By",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Original-Forwarded-For",
    "Forwarded",
    "Forwarded-For",
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "CF-IPCountry",
    "CF-IPContinent",
    "CF-Region",
    "CF-Region-Code",
    "CF-IPCity",
    "CF-IPLatitude",
    "CF-Timezone",
    "CloudFront-Viewer-Country",
    "CloudFront-Viewer-City",
    "CloudFront-Viewer-Latitude",
    "CloudFront-Viewer-ASN",
    "X-Vercel-IP-Country",
    "X-Vercel-IP-City",
    "X-Vercel-IP-Latitude",
    "X-Vercel-IP-Timezone",
];

/// How a client may write a name so that some server takes it for that name.
fn spellings(name: &str) -> [String; 7] {
    let mixed = name.char_indices().map(|(at, letter)| match at % 2 {
        0 => letter.to_ascii_lowercase(),
        _ => letter.to_ascii_uppercase(),
    });
    let last = name.rsplit_once('-');
    [
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        mixed.collect(),
        name.replace('-', "_"),
        name.to_lowercase().replacen('-', "_", 1),
        last.map_or(name.to_owned(), |(start, end)| format!("{start}_{end}")),
    ]
}

/// What an origin was told of a client at 127.0.0.1, of whom a database knows the country or does
/// not, must be what we say, and nothing else.
#[track_caller]
fn check_told(origin: &Origin, country: &[&str], lines: &str) {
    for request in origin.requests() {
        for (name, value) in &request.headers {
            assert!(!value.contains("SPOOFED"), "{name}: {value} of {lines:?}");
            assert!(!name.contains('_'), "{name} of {lines:?}");
        }
        for (name, expected) in [
            ("x-real-ip", &["127.0.0.1"][..]),
            ("x-forwarded-for", &["127.0.0.1"]),
            ("x-forwarded-proto", &["http"]),
            ("x-forwarded-host", &["test"]),
            ("x-geo-country", country),
        ] {
            assert_eq!(request.values(name), expected, "{name} of {lines:?}");
        }
    }
}

/// Every managed header, in every spelling, once and twice, and for a client with a known place and
/// one without: none reaches the origin, and ours do.
#[test]
fn no_spelling_of_a_managed_header_gets_through() {
    for (engine, places, country) in ENGINES.into_iter().flat_map(|engine| {
        [
            (engine, "127.0.0.0/8,中国", &["CN"][..]),
            (engine, "9.9.9.9/32,中国", &[]),
        ]
    }) {
        let origin = Origin::start();
        let configuration = format!(
            "[[database]]\nfile = '{{folder}}/places.csv'\n[[upstream]]\npeers = ['{}']\n",
            origin.address
        );
        let gateway = engine.start_in(&configuration, |folder| {
            let places = format!("cidr,country\n{places}\n");
            std::fs::write(folder.join("places.csv"), places).unwrap();
        });
        let mut client = gateway.client();
        for name in MANAGED {
            let spoofed = |spelling| format!("{spelling}: SPOOFED\r\n").repeat(2);
            let lines: String = spellings(name).into_iter().map(spoofed).collect();
            assert_eq!(client.get("/", &lines).status, 200, "{name}");
            if engine.is_http1() {
                check_nominations(&gateway, name);
            }
            check_told(&origin, country, name);
        }
        assert!(origin.requests().len() >= MANAGED.len());
    }
}

/// Sends every spelling of a header, named by `Connection`, which HTTP/2 does not have.
fn check_nominations(gateway: &Chain, name: &str) {
    for spelling in spellings(name) {
        let lines = format!("Connection: keep-alive, {spelling}\r\n{spelling}: SPOOFED\r\n");
        // What names an address is refused as a nomination.
        let status = gateway.client().get("/", &lines).status;
        assert!(matches!(status, 200 | 400), "{status}: {lines:?}");
    }
}

#[test]
fn managed_headers_are_deleted_even_if_none_are_sent() {
    for engine in ENGINES {
        for more in ["[geo_headers]\nenabled = false\n", TRUST_LOOPBACK] {
            let origin = Origin::start();
            let gateway = engine.with_peers(&[origin.address], "", more);
            let mut client = gateway.client();
            for name in &MANAGED[..12] {
                let spoofed = |spelling| format!("{spelling}: SPOOFED\r\n");
                let lines: String = spellings(name).into_iter().map(spoofed).collect();
                assert_eq!(client.get("/", &lines).status, 200);
            }
            check_told(&origin, &[], more);
        }
    }
}

#[test]
fn upstreams_are_not_told_the_place_if_they_need_not_know() {
    for engine in ENGINES {
        for (settings, expected) in [("", 1), ("[geo_headers]\nenabled = false\n", 0)] {
            let origin = Origin::start();
            let more = format!("{TRUST_LOOPBACK}{settings}");
            let gateway = engine.with_peers(&[origin.address], "", &more);
            let lines = "X-Forwarded-For: 1.0.0.1\r\n";
            assert_eq!(gateway.client().get("/", lines).status, 200);
            let requests = origin.requests();
            for name in ["x-geo-country", "x-geo-city"] {
                assert_eq!(requests[0].values(name).len(), expected, "{name}");
            }
        }
    }
}

/// A client may ask a proxy to drop headers on the way; not ours.
#[test]
fn connection_cannot_nominate_our_headers() {
    check_on(
        &HTTP1_CLIENT_ENGINES,
        TRUST_LOOPBACK,
        "Connection: keep-alive, X-Geo-Country, x-geo-city, X-Hop\r\n\
         X-Forwarded-For: 1.0.0.1\r\nX-Hop: 1\r\n",
        &[
            ("x-real-ip", &["1.0.0.1"]),
            ("x-geo-country", &["CN"]),
            ("x-geo-city", &["%E7%A6%8F%E5%B7%9E"]),
            ("x-hop", &[]),
        ],
    );
}

#[test]
fn a_request_that_nominates_its_forwarding_headers_is_refused() {
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "");
        for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Host"] {
            let header = format!("Connection: {name}\r\n");
            let response = gateway.client().get("/", &header);
            let mut reached = origin
                .requests()
                .into_iter()
                .map(|request| request.values("x-real-ip").len());
            assert!(
                response.status == 400 || reached.next_back() == Some(1),
                "{name}: {}",
                response.status
            );
        }
    }
}

#[test]
fn headers_of_one_hop_stay_there() {
    let expected: [(&str, &[&str]); 3] = [
        ("trailer", &[]),
        ("proxy-authorization", &[]),
        ("authorization", &["Basic y"]),
    ];
    let lines = "TE: trailers\r\nTrailer: X\r\nProxy-Authorization: Basic x\r\n\
                 Authorization: Basic y\r\n";
    check("", lines, &expected);
    // What HTTP/2 does not have at all.
    let lines = format!("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n{lines}");
    check_on(&HTTP1_CLIENT_ENGINES, "", &lines, &expected);
}

#[test]
fn location_can_be_sent_as_it_is() {
    check(
        &format!("{TRUST_LOOPBACK}[geo_headers]\nencoding = 'utf-8'\n"),
        "X-Forwarded-For: 1.0.0.1\r\n",
        &[("x-geo-country-name", &["中国"]), ("x-geo-city", &["福州"])],
    );
}
