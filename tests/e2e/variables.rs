//! Variables of the operator's own, and the built-in ones, in every place that has templates.

use crate::harness::{Chain, ENGINES, Engine, Gateway, LOCAL_ENGINES, Origin, Port};

/// A group of clients by their cookie.
const POOL: &str = "[[variable]]\nname = 'pool'\nfrom = '$cookie_group'\n\
     values = { beta = 'b', '~^v([0-9])$' = 'a' }\ndefault = 'a'\n";

/// A gateway with the upstreams `a` and `b`.
fn gateway(engine: Engine, origins: [&Origin; 2], more: &str) -> Chain {
    let [a, b] = origins.map(|origin| origin.address);
    engine.start(&format!(
        "{more}\n[[upstream]]\nname = 'a'\npeers = ['{a}']\n[[upstream]]\nname = 'b'\npeers = ['{b}']\n"
    ))
}

#[test]
fn an_upstream_is_chosen_by_a_variable() {
    // Keys: variable.name, variable.from, variable.values, variable.default, route.upstream
    for engine in ENGINES {
        let (a, b) = (Origin::start(), Origin::start());
        let routes = format!("{POOL}[[route]]\nupstream = '$pool'\n");
        let gateway = gateway(engine, [&a, &b], &routes);
        let mut client = gateway.client();
        for (cookie, is_b) in [("beta", true), ("BETA", true), ("v1", false), ("x", false)] {
            let before = (a.requests().len(), b.requests().len());
            let response = client.get("/", &format!("Cookie: group={cookie}\r\n"));
            assert_eq!(response.status, 200);
            let now = (a.requests().len(), b.requests().len());
            let expected = (before.0 + usize::from(!is_b), before.1 + usize::from(is_b));
            assert_eq!(now, expected, "{cookie}");
        }
    }
}

#[test]
fn routes_have_conditions_on_variables() {
    // Keys: route.variables
    let routes = format!(
        "{POOL}[[route]]\nvariables = {{ pool = 'b' }}\nrespond = {{ body = 'beta' }}\n\
         [[route]]\nvariables = {{ arg_page = '~^[0-9]+$' }}\nrespond = {{ body = 'page' }}\n\
         [[route]]\nvariables = {{ arg_page = '', scheme = 'http' }}\nrespond = {{ body = 'start' }}\n\
         [[route]]\nrespond = {{ body = 'other' }}\n"
    );
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(&routes);
        let mut client = gateway.client();
        for (target, cookie, body) in [
            // The route with more conditions counts, and of as many the first.
            ("/", "beta", "start"),
            ("/?page=", "beta", "start"),
            ("/?page=x", "beta", "beta"),
            ("/?page=12", "x", "page"),
            ("/?page=12", "beta", "beta"),
            ("/?page=x", "x", "other"),
            ("/", "x", "start"),
        ] {
            let response = client.get(target, &format!("Cookie: group={cookie}\r\n"));
            assert_eq!(response.text(), body, "{target} {cookie}");
        }
    }
}

#[test]
fn values_follow_from_hosts_addresses_and_shares() {
    // Keys: variable.hostnames, variable.networks, variable.shares
    let config = "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n\
         [[variable]]\nname = 'site'\nfrom = '$host'\nhostnames = true\ndefault = 'none'\n\
         values = { 'www.a.test' = 'exact', '*.a.test' = 'below', '.b.test' = 'b', 'c.*' = 'c $zone', '~^d(.)' = 'd$1' }\n\
         [[variable]]\nname = 'zone'\nnetworks = { '10.0.0.0/8' = 'office', '10.1.0.0-10.1.0.9' = 'lab' }\ndefault = 'world'\n\
         [[variable]]\nname = 'variant'\nfrom = '$arg_user'\nshares = { all = '100%' }\ndefault = 'rest'\n\
         [[variable]]\nname = 'none'\nfrom = '$arg_user'\nshares = { all = '0%' }\ndefault = 'rest'\n\
         [[route]]\nrespond = { body = '$site|$zone|$variant|$none' }\n";
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(config);
        let mut client = gateway.client();
        for (host, from, expected) in [
            ("www.a.test", "10.1.0.9", "exact|lab|all|rest"),
            ("WWW.x.a.test", "10.1.0.10", "below|office|all|rest"),
            ("a.test", "1.2.3.4", "none|world|all|rest"),
            ("b.test", "2001:db8::1", "b|world|all|rest"),
            ("x.b.test", "10.1.0.1", "b|lab|all|rest"),
            ("c.test", "10.0.0.1", "c office|office|all|rest"),
            ("dx.test", "10.0.0.1", "dx|office|all|rest"),
        ] {
            let lines = format!("X-Forwarded-For: {from}\r\n");
            let response = client.request_to(host, "GET", "/?user=1", &lines, b"");
            assert_eq!(response.text(), expected, "{host} {from}");
        }
    }
}

#[test]
fn values_are_escaped_where_they_are_used() {
    // A value is escaped for its place as if it stood there itself.
    let config = "[[variable]]\nname = 'target'\nfrom = '$uri'\n\
         values = { '~^/old/(.*)$' = '/new/$1?from=$uri' }\ndefault = '/none'\n\
         [[variable]]\nname = 'tag'\nfrom = '$uri'\nvalues = { '~^/old/(?<rest>.*)$' = '<$rest>' }\n\
         [[route]]\nredirect = { to = '$target' }\nresponse_headers.set = { X-Tag = '$tag' }\n";
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(config);
        let mut client = gateway.client();
        let response = client.get("/old/a%0d%0aX:%20b%3Fc", "");
        assert_eq!(
            response.header("location"),
            Some("/new/a%0D%0AX:%20b%3Fc?from=/old/a%0D%0AX:%20b%3Fc")
        );
        assert_eq!(response.header("x-tag"), Some("<a%0D%0AX: b?c>"));
        assert_eq!(response.header("x"), None);
        assert_eq!(client.get("/x", "").header("location"), Some("/none"));
    }
}

#[test]
fn headers_of_responses_tell_of_the_upstream() {
    let dead = Port::reserve();
    for engine in ENGINES {
        let origin = Origin::start();
        let config = format!(
            "[[upstream]]\nname = 'a'\nmax_fails = 0\npeers = ['{}', {{ address = '{}', backup = true }}]\n\
             [[variable]]\nname = 'late'\nfrom = '$upstream_http_x_origin'\nvalues = {{ yes = 'it is $upstream_name' }}\n\
             [[route]]\nupstream = 'a'\n[route.response_headers.set]\n\
             X-Up = '$upstream_status|$upstream_name|$status|$sent_http_x_origin|$late'\n\
             X-Addr = '$upstream_addr'\nX-Time = '$upstream_connect_time $upstream_header_time'\n",
            dead.address, origin.address
        );
        let gateway = engine.start(&config);
        let response = gateway.client().get("/status/404", "");
        assert_eq!(response.status, 404);
        assert_eq!(
            response.header("x-up"),
            Some("502, 404|a|404|yes|it is a"),
            "{engine:?}"
        );
        let peers = format!("{}, {}", dead.address, origin.address);
        assert_eq!(response.header("x-addr"), Some(&*peers));
        let times = response.header("x-time").unwrap();
        let is_time = |time: &str| time.len() == 5 && time.parse::<f64>().is_ok();
        assert!(times.split(' ').all(is_time), "{times}");
    }
}

#[test]
fn connections_have_their_properties() {
    let config = "[[route]]\nrespond = { body = '$server_port $server_addr $connection_requests $https$http2 $forwarded_for' }\n";
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(config);
        let port = gateway.address().port();
        let mut client = gateway.client();
        let http2 = if engine.is_http1() { "" } else { "h2c" };
        for number in 1..3 {
            assert_eq!(
                client.get("/", "").text(),
                format!("{port} 127.0.0.1 {number} {http2} 127.0.0.1")
            );
        }
    }
    let gateway = Gateway::start(
        "[[route]]\nrespond = { body = '$connection $remote_port $peer_port $msec $time_iso8601 $pid' }\n",
    );
    let bodies: Vec<_> = (0..2)
        .map(|_| gateway.client().get("/", "").text().to_owned())
        .collect();
    let words = |body: &str| -> Vec<String> { body.split(' ').map(str::to_owned).collect() };
    let (first, second) = (words(&bodies[0]), words(&bodies[1]));
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert_eq!(number(&first[0]) + 1, number(&second[0]));
    assert_eq!(first[1], first[2]);
    assert_ne!(first[1], second[1]);
    assert_eq!(first[3].split_once('.').unwrap().1.len(), 3);
    assert_eq!(first[4].as_bytes()[10], b'T');
    assert_eq!(first[5], std::process::id().to_string());
}

#[test]
fn routes_choose_their_access_logs() {
    // Keys: access_log.if, access_log.also, extra_log.name, extra_log.target, extra_log.format,
    // extra_log.if, extra_log.json, extra_log.sample, extra_log.slow, extra_log.flush, route.access_log
    let config = "[access_log]\nformat = '$uri $status'\nalso = 'every'\nif = '$loggable'\n\
         [[extra_log]]\nname = 'every'\ntarget = '{folder}/every.log'\nformat = 'every $uri'\n\
         [[extra_log]]\nname = 'audit'\ntarget = '{folder}/audit.log'\njson = { path = '$uri' }\nif = '$arg_audit'\nflush = '10ms'\n\
         [[extra_log]]\nname = 'few'\ntarget = '{folder}/few.log'\nformat = '$uri'\nsample = '0%'\nslow = '1h'\n\
         [[variable]]\nname = 'loggable'\nfrom = '$status'\nvalues = { '~^2' = '0' }\ndefault = '1'\n\
         [[route]]\nrespond = {}\n\
         [[route]]\nprefix = '/gone'\nrespond = { status = 410 }\n\
         [[route]]\nprefix = '/quiet'\nrespond = { status = 404 }\naccess_log = false\n\
         [[route]]\nprefix = '/audit'\nrespond = { status = 410 }\naccess_log = ['audit', 'default']\n\
         [[route]]\nprefix = '/few'\nrespond = {}\naccess_log = 'few'\n\
         [[route]]\nprefix = '/few/bad'\nrespond = { status = 410 }\naccess_log = 'few'\n";
    let mut gateway = Gateway::start(config);
    let mut client = gateway.client();
    for target in [
        "/",
        "/gone",
        "/quiet",
        "/audit",
        "/audit?audit=1",
        "/audit?audit=0",
        "/few",
        "/few/bad",
    ] {
        client.get(target, "");
    }
    drop(client);
    gateway.shut_down();
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(gateway.file(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!(
        gateway.log(),
        ["/gone 410", "/audit 410", "/audit 410", "/audit 410"]
    );
    let every = [
        "every /",
        "every /gone",
        "every /audit",
        "every /audit",
        "every /audit",
    ];
    assert_eq!(lines("every.log"), every);
    assert_eq!(lines("audit.log"), ["{\"path\":\"/audit\"}"]);
    assert_eq!(lines("few.log"), ["/few/bad"]);
}

#[test]
fn logs_tell_what_the_upstream_answered() {
    let format = "$upstream_status $upstream_http_x_origin $request_length $bytes_sent $body_bytes_sent \
                  $connection_requests";
    for engine in ENGINES {
        let origin = Origin::start();
        let more = format!("[access_log]\nformat = '{format}'\n");
        let gateway = engine.with_peers(&[origin.address], "name = 'a'", &more);
        gateway
            .client()
            .request("POST", "/status/503", "", b"12345");
        let lines = gateway.stop();
        let words: Vec<_> = lines[0].split(' ').collect();
        assert_eq!(words[..2], ["503", "yes"], "{lines:?}");
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        assert!(number(2) > 20, "{lines:?}");
        assert_eq!(number(4), 5);
        // The head of HTTP/2 is compressed and not counted.
        let has_head = number(3) > number(4);
        assert_eq!(has_head, engine.is_http1(), "{lines:?}");
        assert_eq!(words[5], "1");
    }
}
