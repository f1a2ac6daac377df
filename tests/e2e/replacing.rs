//! Answers in place of responses: error pages, and what an upstream names by `X-Accel-Redirect`.

use std::path::Path;

use crate::harness::{Bridge, Chain, ENGINES, Engine, LOCAL_ENGINES, Origin, Port, Scripted};

/// A gateway before a scripted upstream `app`, and one that answers with what it is sent, `other`.
struct Site {
    scripted: Scripted,
    other: Origin,
    chain: Chain,
    _bridge: Bridge,
}

impl Site {
    fn start(engine: Engine, app: &str, routes: &str) -> Site {
        let (scripted, other) = (Scripted::start(), Origin::start());
        let bridge = engine.bridge(scripted.address);
        let configuration = format!(
            "[[upstream]]\nname = 'app'\npeers = ['{}']\n{app}\n\
             [[upstream]]\nname = 'other'\npeers = ['{}']\n{routes}",
            bridge.address, other.address
        );
        Site {
            chain: engine.start_in(&configuration, prepare),
            scripted,
            other,
            _bridge: bridge,
        }
    }
}

fn prepare(folder: &Path) {
    std::fs::create_dir_all(folder.join("www/files")).unwrap();
    for (name, text) in [
        ("404.html", "<p>not here</p>"),
        ("50x.html", "<p>back soon</p>"),
        ("files/a b.txt", "0123456789"),
    ] {
        std::fs::write(folder.join("www").join(name), text).unwrap();
    }
}

/// The header that tells the scripted upstream its answer.
fn answer(lines: &str) -> String {
    format!("X-Answer: {lines}\r\n")
}

const PAGES: &str = "\
    [[route]]\nname = 'app'\nprefix = '/'\nupstream = 'app'\nintercept_errors = true\n\
    error_pages = [\n\
    { on = 404, path = '/pages/404.html' },\n\
    { on = [500, 503], path = '/pages/50x.html', status = 200 },\n\
    { on = 502, path = '/pages/50x.html', status = 'answer' },\n\
    { on = [403, 410], route = 'other', status = 'answer' },\n\
    { on = 418, route = 'other' },\n\
    { on = 415, route = 'on-the-way' },\n\
    { on = 401, redirect = 'https://login.test/?to=$request_uri', status = 303 },\n\
    { on = 405, path = '/pages/none.html' },\n\
    ]\n\
    [[route]]\nprefix = '/pages'\ninternal = true\nrewrite = '/'\nfiles = { root = '{folder}/www' }\n\
    [[route]]\nname = 'on-the-way'\ninternal = true\nreroute = '/to-other'\n\
    [[route]]\npath = '/to-other'\nupstream = 'other'\n\
    [[route]]\nname = 'other'\ninternal = true\nupstream = 'other'\n\
    response_headers = { set = { X-Route = '$route $uri', X-Second = '$upstream_http_x_origin' }, on_success = { add = { X-Good = '1' } } }\n";

#[test]
fn an_error_of_an_upstream_has_a_page() {
    // Keys: route.error_pages, route.error_pages.on, route.error_pages.path, route.intercept_errors
    for engine in ENGINES {
        let site = Site::start(engine, "", PAGES);
        let mut client = site.chain.client();
        let missing = answer("404 Not Found|X-Secret: trace|Content-Length: 5||trace");
        for (method, body) in [("GET", ""), ("POST", "form"), ("PUT", "thing")] {
            let page = client.request(method, "/x?q", &missing, body.as_bytes());
            assert_eq!(
                (page.status, page.text()),
                (404, "<p>not here</p>"),
                "{method}"
            );
            assert_eq!(page.header("content-type"), Some("text/html"));
            assert_eq!(
                (page.header("x-secret"), page.header("x-good")),
                (None, None)
            );
        }
        let head = client.request("HEAD", "/x", &answer("404 No|Content-Length: 5||"), b"");
        assert_eq!(
            (head.status, head.header("content-length")),
            (404, Some("15"))
        );
        // Neither a part nor its absence is an answer.
        let tag = client
            .get("/x", &missing)
            .header("etag")
            .unwrap()
            .to_owned();
        for condition in [
            "Range: bytes=0-1\r\n".to_owned(),
            format!("If-None-Match: {tag}\r\n"),
        ] {
            let page = client.get("/x", &format!("{missing}{condition}"));
            assert_eq!((page.status, page.text()), (404, "<p>not here</p>"));
        }
        let fine = client.get("/x", &answer("200 OK|Content-Length: 2||ok"));
        assert_eq!((fine.status, fine.text()), (200, "ok"));
        let teapot = client.get("/x", &answer("422 No|Content-Length: 2||no"));
        assert_eq!((teapot.status, teapot.text()), (422, "no"));
        // Clients do not reach the pages themselves.
        assert_eq!(client.get("/pages/404.html", "").status, 404);
        assert_eq!(
            site.scripted.connections(),
            1,
            "{engine:?}: a connection is kept"
        );
    }
}

#[test]
fn the_status_of_a_page_is_the_errors_its_own_or_another() {
    // Keys: route.error_pages.status
    for engine in ENGINES {
        let site = Site::start(engine, "", PAGES);
        let mut client = site.chain.client();
        for (script, status) in [
            ("404 Not Found", 404),
            ("500 Oh", 200),
            ("503 Oh", 200),
            ("502 Oh", 200),
        ] {
            let page = client.get("/x", &answer(&format!("{script}|Content-Length: 0||")));
            assert_eq!(page.status, status, "{script}");
            assert!(page.text().starts_with("<p>"), "{script}");
        }
        // A page that is not there says so.
        let page = client.get("/x", &answer("405 No|Content-Length: 0||"));
        assert_eq!(page.status, 404);
    }
}

#[test]
fn a_failed_request_goes_to_another_route_as_it_is() {
    // Keys: route.error_pages.route
    for engine in ENGINES {
        let site = Site::start(engine, "max_fails = 0\nretry_on = []", PAGES);
        let mut client = site.chain.client();
        let gone = answer("410 Gone|content-length: 4||gone");
        for (method, body) in [("GET", ""), ("POST", "form"), ("DELETE", "")] {
            let second = client.request(method, "/a%20b?q=1", &gone, body.as_bytes());
            assert_eq!((second.status, second.text()), (200, body), "{method}");
            assert_eq!(second.header("x-route"), Some("other /a b"));
            assert_eq!(second.header("x-good"), Some("1"));
            assert_eq!(second.header("x-second"), Some("yes"));
            assert_eq!(site.other.last().target(), format!("{method} /a%20b?q=1"));
        }
        // A chunked body, and one that is sent after the answer.
        client.begin("POST", "/late", &gone);
        client.send("one ");
        client.send("two ");
        client.send_last("three");
        let second = client.response();
        assert_eq!((second.status, second.text()), (200, "one two three"));
        // The error's status, with headers of no success.
        let teapot = client.get("/x", &answer("418 Tea|Content-Length: 0||"));
        assert_eq!((teapot.status, teapot.header("x-good")), (418, None));
        assert_eq!(teapot.header("x-route"), Some("other /x"));
        // What cannot be sent again is answered by the upstream.
        let asked = site.other.requests().len();
        let long = vec![b'x'; 200_000];
        let first = client.request("POST", "/long", &gone, &long);
        assert_eq!((first.status, first.text()), (410, "gone"));
        assert_eq!(site.other.requests().len(), asked);
        // It is known only on the way that another upstream is to get it.
        let other = answer("415 No|content-length: 4||none");
        let short = client.request("POST", "/short", &other, b"form");
        assert_eq!((short.status, short.text()), (415, "form"));
        let lost = site.chain.client().request("POST", "/long", &other, &long);
        assert_eq!(lost.status, 502);
        assert_eq!(site.other.requests().len(), asked + 1);
        assert_eq!(
            client
                .get("/after", &answer("200 OK|Content-Length: 0||"))
                .status,
            200
        );
    }
}

#[test]
fn an_error_may_lead_the_client_elsewhere() {
    // Keys: route.error_pages.redirect
    for engine in ENGINES {
        let site = Site::start(engine, "", PAGES);
        let denied = "401 No|WWW-Authenticate: Basic realm=\"x\"|Content-Length: 0||";
        let login = site.chain.client().get("/a?b=c", &answer(denied));
        assert_eq!(login.status, 303);
        assert_eq!(
            login.header("location"),
            Some("https://login.test/?to=/a?b=c")
        );
    }
}

#[test]
fn without_intercept_errors_an_upstreams_errors_are_its_own() {
    for engine in ENGINES {
        let site = Site::start(engine, "", &PAGES.replace("intercept_errors = true\n", ""));
        let page = site
            .chain
            .client()
            .get("/x", &answer("404 No|Content-Length: 3||own"));
        assert_eq!((page.status, page.text()), (404, "own"));
    }
}

#[test]
fn an_upstream_that_is_down_has_a_page() {
    let port = Port::reserve();
    for engine in ENGINES {
        let other = Origin::start();
        let configuration = format!(
            "[[upstream]]\nname = 'app'\npeers = ['{}']\n\
             [[upstream]]\nname = 'other'\npeers = ['{}']\nread_timeout = '100ms'\n\
             [[route]]\nprefix = '/'\nupstream = 'app'\n\
             error_pages = [{{ on = 502, path = '/pages/50x.html' }}]\n\
             [[route]]\nprefix = '/second'\nupstream = 'app'\n\
             error_pages = [{{ on = [502, 504], route = 'other', status = 'answer' }}]\n\
             [[route]]\nprefix = '/slow'\nupstream = 'other'\nrewrite = '/stall'\n\
             error_pages = [{{ on = 504, path = '/pages/50x.html' }}]\n\
             [[route]]\nprefix = '/short'\nupstream = 'other'\nrewrite = '/stall'\ntimeout = '50ms'\n\
             error_pages = [{{ on = 504, path = '/pages/50x.html' }}]\n\
             [[route]]\nname = 'other'\ninternal = true\nupstream = 'other'\n\
             [[route]]\nprefix = '/pages'\ntimeout = '30s'\nrewrite = '/'\nfiles = {{ root = '{{folder}}/www' }}\n",
            port.address, other.address
        );
        let gateway = engine.start_in(&configuration, prepare);
        for (target, status) in [("/x", 502), ("/slow", 504), ("/short", 504)] {
            for (method, body) in [("GET", ""), ("POST", "form")] {
                let page = gateway
                    .client()
                    .request(method, target, "", body.as_bytes());
                assert_eq!(
                    (page.status, page.text()),
                    (status, "<p>back soon</p>"),
                    "{target}"
                );
            }
        }
        let second = gateway.client().request("POST", "/second/a?b", "", b"form");
        assert_eq!((second.status, second.text()), (200, "form"));
        assert_eq!(other.last().target(), "POST /second/a?b");
        let log = gateway.stop();
        let of_page = log.iter().find(|line| line.contains("\"GET /x ")).unwrap();
        assert!(of_page.contains("\" 502 16 "), "{of_page}");
    }
}

#[test]
fn errors_of_the_gateway_have_pages() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start_in(
            "[[access]]\nname = 'none'\nrules = []\ndefault = 'deny'\n\
             [[rate_limit]]\nname = 'once'\nrate = '1/h'\nburst = 1\n\
             [[route]]\nprefix = '/'\nfiles = { root = '{folder}/www' }\n\
             error_pages = [{ on = 404, path = '/404.html' }, { on = 405, path = '/404.html', status = 200 }]\n\
             [[route]]\nprefix = '/closed'\naccess = 'none'\nfiles = { root = '{folder}/www' }\n\
             error_pages = [{ on = 403, path = '/404.html' }]\n\
             [[route]]\nprefix = '/self'\naccess = 'none'\nfiles = { root = '{folder}/www' }\n\
             error_pages = [{ on = 403, path = '/self/404.html' }]\nrewrite = '/'\n\
             [[route]]\npath = '/limited'\nrate_limit = 'once'\nrespond = { body = 'ok' }\n\
             error_pages = [{ on = 429, path = '/limited' }, { on = 404, path = '/x' }]\n\
             [[route]]\npath = '/busy'\nrate_limit = 'once'\nrespond = { body = 'ok' }\n\
             error_pages = [{ on = 429, path = '/50x.html' }]\n\
             [[route]]\npath = '/teapot'\nrespond = { status = 418 }\n\
             error_pages = [{ on = 418, path = '/said' }]\n\
             [[route]]\npath = '/said'\nrespond = { body = 'tea for $uri' }\n\
             [[route]]\npath = '/text'\nrespond = { status = 418, body = 'own' }\n\
             error_pages = [{ on = 418, path = '/said' }]\n\
             [[route]]\npath = '/large'\nmax_body_size = 10\nrespond = { body = 'ok' }\n\
             error_pages = [{ on = 413, path = '/50x.html' }]\n\
             [[route]]\npath = '/round'\nreroute = '/round2'\nerror_pages = [{ on = 500, path = '/round' }]\n\
             [[route]]\npath = '/round2'\nreroute = '/round'\nerror_pages = [{ on = 500, path = '/round' }]\n",
            prepare,
        );
        let get = |target: &str| {
            let response = gateway.client().get(target, "");
            (response.status, response.text().to_owned())
        };
        let page = |status: u16| (status, "<p>not here</p>".to_owned());
        assert_eq!(get("/nothing"), page(404));
        let put = gateway.client().request("PUT", "/50x.html", "", b"text");
        assert_eq!((put.status, put.text()), (200, "<p>not here</p>"));
        assert_eq!(get("/closed/x"), page(403));
        // The page is as closed as the route.
        let (status, text) = get("/self/x");
        assert!(status == 403 && text.contains("403 Forbidden"), "{text}");
        assert_eq!(get("/limited"), (200, "ok".to_owned()));
        // The page of a limit is not limited.
        assert_eq!(get("/limited"), (429, "ok".to_owned()));
        let limited = gateway.client().get("/busy", "");
        assert_eq!((limited.status, limited.text()), (429, "<p>back soon</p>"));
        assert!(limited.header("retry-after").is_some());
        assert_eq!(get("/teapot"), (418, "tea for /said".to_owned()));
        assert_eq!(get("/text"), (418, "own".to_owned()));
        let large = gateway.client().request("POST", "/large", "", &[b'x'; 100]);
        assert_eq!((large.status, large.text()), (413, "<p>back soon</p>"));
        let mut client = gateway.client();
        client.begin("POST", "/large", "Content-Length: 10000000\r\n");
        let refused = client.response();
        assert_eq!((refused.status, refused.text()), (413, "<p>back soon</p>"));
        assert_eq!(get("/round").0, 500);
    }
}

const ACCELERATED: &str = "\
    [[route]]\nprefix = '/'\nupstream = 'app'\n\
    rewrite_cookies = { path = [{ from = '/app', to = '/' }] }\n\
    error_pages = [{ on = [404, 502], path = '/files/a b.txt' }]\n\
    [[route]]\nprefix = '/files'\ninternal = true\nfiles = { root = '{folder}/www' }\n\
    response_headers = { set = { X-Served = '$uri' } }\n\
    [[route]]\nprefix = '/other'\ninternal = true\nupstream = 'other'\n\
    [[route]]\nname = 'by-name'\ninternal = true\nupstream = 'other'\n\
    [[route]]\nname = 'public'\npath = '/public'\nrespond = { body = 'public' }\n\
    [[access]]\nname = 'none'\nrules = []\ndefault = 'deny'\n\
    [[route]]\nprefix = '/closed'\naccess = 'none'\nfiles = { root = '{folder}/www' }\n";

#[test]
fn an_upstream_names_the_file_that_the_client_gets() {
    // Keys: upstream.x_accel_redirect
    for engine in ENGINES {
        let site = Site::start(engine, "x_accel_redirect = true", ACCELERATED);
        let mut client = site.chain.client();
        let script = "200 OK|X-Accel-Redirect: /files/a b.txt|Content-Type: text/csv|Set-Cookie: a=1|\
                      Set-Cookie: b=2; Path=/app|Content-Disposition: attachment|Cache-Control: private|\
                      ETag: \"app\"|X-App: 1|Content-Length: 7||ignored";
        for (method, body) in [("GET", ""), ("POST", "form")] {
            let file = client.request(method, "/download?x", &answer(script), body.as_bytes());
            assert_eq!((file.status, file.text()), (200, "0123456789"), "{method}");
            assert_eq!(file.header("content-type"), Some("text/csv"));
            assert_eq!(file.header("content-disposition"), Some("attachment"));
            assert_eq!(file.header("cache-control"), Some("private"));
            assert_eq!(file.header("x-served"), Some("/files/a b.txt"));
            assert_eq!(file.values("set-cookie"), ["a=1", "b=2; Path=/"]);
            assert_eq!(
                (file.header("x-app"), file.header("x-accel-redirect")),
                (None, None)
            );
            assert_ne!(file.header("etag"), Some("\"app\""));
        }
        let part = client.get(
            "/download",
            &format!("{}Range: bytes=2-4\r\n", answer(script)),
        );
        assert_eq!((part.status, part.text()), (206, "234"));
        let head = client.request(
            "HEAD",
            "/download",
            &answer("200 OK|X-Accel-Redirect: /files/a%20b.txt||"),
            b"",
        );
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some("10"))
        );
        assert_eq!(
            site.scripted.connections(),
            1,
            "{engine:?}: a connection is kept"
        );
        assert_eq!(client.get("/files/a%20b.txt", "").status, 404);
    }
}

#[test]
fn an_upstream_leads_to_another_route() {
    for engine in ENGINES {
        let site = Site::start(engine, "x_accel_redirect = true", ACCELERATED);
        let mut client = site.chain.client();
        let to = |target: &str| {
            answer(&format!(
                "200 OK|X-Accel-Redirect: {target}|Set-Cookie: c=1|Content-Type: x/y|Content-Length: 0||"
            ))
        };
        let other = client.request("POST", "/x", &to("/other/y?z=1"), b"form");
        assert_eq!((other.status, other.text()), (200, ""));
        assert_eq!(site.other.last().target(), "GET /other/y?z=1");
        assert_eq!(
            site.other.last().values("content-length"),
            Vec::<&str>::new()
        );
        assert_eq!(other.values("set-cookie"), ["c=1"]);
        let named = client.request("POST", "/x?q", &to("@by-name"), b"form");
        assert_eq!((named.status, named.text()), (200, "form"));
        assert_eq!(site.other.last().target(), "POST /x?q");
        let public = client.get("/x", &to("/public"));
        assert_eq!(
            (public.text(), public.header("content-type")),
            ("public", Some("x/y"))
        );
        // Rules of the other route hold, and an error there has none of the headers for a file.
        let closed = client.get("/x", &to("/closed/404.html"));
        assert_eq!(
            (closed.status, closed.values("set-cookie")),
            (403, vec!["c=1"])
        );
        assert_eq!(
            closed.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let missing = client.get("/x", &to("/files/none"));
        assert_eq!(
            (missing.status, missing.values("set-cookie")),
            (404, vec!["c=1"])
        );
        // What is no place is not found; the page is the route's.
        for nowhere in [
            "files/a",
            "",
            "/files/../x",
            "http://a/",
            "@none",
            "@public",
        ] {
            let page = client.get("/x", &to(nowhere));
            assert_eq!(
                (page.status, page.text()),
                (404, "0123456789"),
                "{nowhere:?}"
            );
        }
        // A circle ends.
        assert_eq!(client.get("/x", &to("/x")).status, 500);
    }
}

#[test]
fn an_upstream_that_may_not_redirect_does_not() {
    for engine in ENGINES {
        let site = Site::start(engine, "", ACCELERATED);
        let script = answer("200 OK|X-Accel-Redirect: /files/404.html|Content-Length: 2||ok");
        let response = site.chain.client().get("/x", &script);
        assert_eq!((response.status, response.text()), (200, "ok"));
        assert_eq!(response.header("x-accel-redirect"), Some("/files/404.html"));
    }
}

/// The client waits to be asked for a body that the answer does not need.
#[test]
fn a_body_that_is_held_back_is_not_asked_for() {
    for engine in ENGINES {
        let site = Site::start(engine, "", PAGES);
        let mut client = site.chain.client();
        let script = answer("404 No|Content-Length: 0||");
        client.begin(
            "POST",
            "/early",
            &format!("{script}Expect: 100-continue\r\nContent-Length: 9\r\n"),
        );
        let mut response = client.response();
        if response.status == 100 {
            // The gateway asks in place of an upstream of HTTP/2.
            client.send_last("some body");
            response = client.response();
        }
        assert_eq!((response.status, response.text()), (404, "<p>not here</p>"));
    }
}
