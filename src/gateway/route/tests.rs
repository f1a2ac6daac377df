//! Precedence of routes, in tables and against a linear search that does not use precedence.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::condition::MatchInput;
use super::*;
use crate::config::model::{
    HeaderCondition, HeaderPattern, HostPattern, ListenerPattern, PathPattern, PathPrefix,
    Priority, Region, RouteConditions,
};
use crate::config::{Overrides, parse};
use crate::gateway::request::variables::tests::database;
use crate::geo::Codes;

/// Creates routes with a name and conditions each, such as `host = 'a'`; none has an upstream.
fn routes(conditions: &[(&str, &str)]) -> Routes {
    let route = |(name, lines): &(&str, &str)| {
        format!("[[route]]\nname = '{name}'\nrespond = {{}}\n{lines}\n")
    };
    let text = conditions.iter().map(route).collect::<Vec<_>>().concat();
    let config = parse(&text, "test", &Overrides::default()).unwrap();
    Routes::new(
        &config.routes,
        &[],
        |_| RouteLimits::default(),
        |_| Box::default(),
    )
    .unwrap()
}

/// A GET without a host, from nowhere.
fn get(headers: &HeaderMap) -> MatchInput<'_, HeaderMap> {
    MatchInput {
        host: None,
        method: &Method::GET,
        headers,
        local: None,
        tls: false,
        is_rerouted: false,
        place: None,
        variable: &|_, _| {},
    }
}

/// Routes `METHOD host path` for a client in Fuzhou. Returns the name of the route, the kind of
/// failure, or the allowed methods.
fn decide(routes: &Routes, request: &str, headers: &HeaderMap) -> String {
    let mut words = request.split(' ');
    let mut word = || words.next().unwrap();
    let method: Method = word().parse().unwrap();
    let (host, path) = (word(), word());
    let database = database();
    let asked = MatchInput {
        host: Some(host).filter(|host| *host != "-"),
        method: &method,
        place: database.lookup([1, 0, 0, 7].into()),
        ..get(headers)
    };
    let path = Some(path.as_bytes()).filter(|path| path != b"*");
    match routes.decide(&asked, path) {
        Decision::Route(taken) => routes.get(&taken).name.clone(),
        Decision::OtherMethods(allow) => format!("405 {allow}"),
        Decision::Nothing => "404".to_owned(),
        Decision::Ambiguous => "400".to_owned(),
    }
}

#[track_caller]
fn check(routes: &Routes, requests: &[(&str, &str)]) {
    for (request, expected) in requests {
        assert_eq!(
            decide(routes, request, &HeaderMap::new()),
            *expected,
            "{request}"
        );
    }
}

#[test]
fn most_specific_host_wins() {
    let routes = routes(&[
        ("any", ""),
        ("com", "host = '*.com'"),
        ("wild", "host = '*.Example.com'"),
        ("exact", "host = ['other.net', 'a.example.com.']"),
        ("six", "host = '[::1]'"),
    ]);
    check(
        &routes,
        &[
            ("GET a.example.com /", "exact"),
            ("GET other.net /", "exact"),
            ("GET b.example.com /", "wild"),
            ("GET c.b.example.com /", "wild"),
            ("GET example.com /", "com"),
            ("GET com /", "any"),
            ("GET .com /", "any"),
            ("GET xexample.com /", "com"),
            ("GET [::1] /", "six"),
            ("GET - /", "any"),
        ],
    );
}

#[test]
fn most_specific_path_wins() {
    let routes = routes(&[
        ("any", ""),
        ("php", "regex = '[.]php$'"),
        ("api", "prefix = '/api'"),
        ("v2", "prefix = '/api/v2/'"),
        ("exact", "path = '/api/v2/x.php'"),
    ]);
    check(
        &routes,
        &[
            ("GET h /", "any"),
            ("GET h /apix", "any"),
            ("GET h /API", "any"),
            ("GET h /api", "api"),
            ("GET h /api/", "api"),
            ("GET h /api/x.php", "api"),
            ("GET h /api/v2", "api"),
            ("GET h /api/v2/", "v2"),
            ("GET h /api/v2/x.php", "exact"),
            ("GET h /x.php", "php"),
            ("GET h /x.php/", "any"),
            ("OPTIONS h *", "any"),
        ],
    );
}

#[test]
fn more_conditions_win_and_then_the_first() {
    let routes = routes(&[
        (
            "second",
            "prefix = '/a'\nmethods = 'POST'\nheaders = { X-A = '1' }",
        ),
        ("first", "prefix = '/a'\nheaders = { X-A = '1' }"),
        ("other", "prefix = '/a'\ncountries = ['CN']"),
        ("regex", "regex = '^/b'"),
        ("later", "regex = '^/b.*'"),
    ]);
    let mut headers = HeaderMap::new();
    assert_eq!(decide(&routes, "GET h /a", &headers), "other");
    headers.insert("x-a", HeaderValue::from_static("2"));
    headers.append("x-a", HeaderValue::from_static("1"));
    assert_eq!(decide(&routes, "GET h /a", &headers), "first");
    assert_eq!(decide(&routes, "POST h /a", &headers), "second");
    assert_eq!(decide(&routes, "GET h /b", &headers), "regex");
}

#[test]
fn host_goes_above_path_and_path_above_conditions() {
    let routes = routes(&[
        ("path", "path = '/a'"),
        (
            "conditions",
            "headers = { X-A = '~.' }\ncountries = '中国'\nmethods = 'GET'",
        ),
        ("host", "host = 'h'\nprefix = '/a/b'"),
    ]);
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    assert_eq!(decide(&routes, "GET h /a", &headers), "path");
    assert_eq!(decide(&routes, "GET h /a/b", &headers), "host");
    assert_eq!(decide(&routes, "GET h /c", &headers), "conditions");
}

#[test]
fn clients_are_routed_by_their_place() {
    let routes = routes(&[
        ("japan", "countries = ['JP', 'US']"),
        ("fujian", "regions = ['福建省', '广东']\npath = '/region'"),
        ("code", "regions = '350000'\npath = '/code'"),
        ("guangdong", "regions = '440000'\npath = '/other'"),
        ("china", "countries = 'cn'\nprefix = '/china'"),
    ]);
    check(
        &routes,
        &[
            ("GET h /", "404"),
            ("GET h /region", "fujian"),
            ("GET h /code", "code"),
            ("GET h /other", "404"),
            ("GET h /china", "china"),
        ],
    );
}

#[test]
fn other_methods_are_named() {
    let routes = routes(&[
        ("get", "prefix = '/a'\nmethods = ['GET', 'PUT']"),
        ("post", "path = '/a'\nmethods = 'POST'"),
        ("host", "host = 'h'\npath = '/a/b'\nmethods = 'DELETE'"),
    ]);
    check(
        &routes,
        &[
            ("GET h /a", "get"),
            ("HEAD h /a", "get"),
            ("POST h /a", "post"),
            ("DELETE h /a", "405 GET, HEAD, POST, PUT"),
            ("POST h /a/b", "405 DELETE, GET, HEAD, PUT"),
            ("POST x /a/b", "405 GET, HEAD, PUT"),
            ("POST h /b", "404"),
        ],
    );
}

#[test]
fn no_spelling_of_a_path_gets_past_its_route() {
    let routes = routes(&[
        ("public", "prefix = '/'"),
        ("admin", "prefix = '/admin'"),
        ("exact", "path = '/public/page'"),
    ]);
    for spelling in [
        "/admin",
        "//admin",
        "/./admin/x",
        "/x/../admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x/%2E./admin/",
        "/admin/x/../y",
        "/admin//x",
    ] {
        check(&routes, &[(&format!("GET h {spelling}"), "admin")]);
    }
    for spelling in [
        "/x/..%2fadmin",
        "/x%2f../admin",
        "/x/..%5Cadmin",
        "/x\\..\\admin",
        "/admin%2Fx",
        "/admin/..%2fpublic",
        "/admin%00.txt",
        "/x/..;/admin",
        "/public%2Fpage",
        "/admin;x=1",
        "/;x/admin",
        "/admin%3Bx/y",
    ] {
        check(&routes, &[(&format!("GET h {spelling}"), "400")]);
    }
    for spelling in [
        "/@scope%2Fname",
        "/fetch/https://host/x",
        "/a\\b",
        "/adminx",
        "/matrix;a=1/b;c",
    ] {
        check(&routes, &[(&format!("GET h {spelling}"), "public")]);
    }
}

/// Checks the target that the upstream is asked for instead of the client's, if any.
#[track_caller]
fn check_target(path: &str, expected: Option<&str>) {
    let routes = routes(&[("public", ""), ("admin", "prefix = '/admin'")]);
    let headers = HeaderMap::new();
    let asked = get(&headers);
    let Decision::Route(taken) = routes.decide(&asked, Some(path.as_bytes())) else {
        panic!("{path} is refused")
    };
    let target = taken
        .target
        .map(|target| String::from_utf8(target).unwrap());
    assert_eq!(target.as_deref(), expected, "{path}");
}

#[test]
fn what_is_sent_is_what_was_matched() {
    check_target("/a/b%20c", None);
    check_target("/@scope%2Fname", None);
    check_target("/fetch/https://host/x", None);
    check_target("/x/../admin/%61", Some("/admin/%61"));
    check_target("/%61dmin", None);
    check_target("//admin", Some("/admin"));
    check_target("/x//../y", Some("/x/y"));
}

#[test]
fn a_pattern_has_its_captures() {
    let routes = routes(&[("a", "regex = '^/(?<kind>[a-z]+)/([0-9]+)?'")]);
    let headers = HeaderMap::new();
    let asked = get(&headers);
    let Decision::Route(taken) = routes.decide(&asked, Some(b"/%61b/77/c")) else {
        panic!("refused")
    };
    assert_eq!(taken.path(), Some(&b"/ab/77/c"[..]));
    assert_eq!(taken.captures(), [Some(0..6), Some(1..3), Some(4..6)]);
}

#[test]
fn a_beginning_ends_within_a_segment_as_well() {
    let routes = routes(&[
        ("beginning", "starts_with = '/api'"),
        ("segments", "prefix = '/api'"),
        ("rest", ""),
    ]);
    check(
        &routes,
        &[
            ("GET h /api", "segments"),
            ("GET h /api/x", "segments"),
            ("GET h /apix", "beginning"),
            ("GET h /ap", "rest"),
        ],
    );
}

/// The order of nginx: the longest prefix, then regular expressions unless it has `^~`.
#[test]
fn regular_expressions_go_before_the_prefixes_that_say_so() {
    let routes = routes(&[
        ("exact", "path = '/up/x.php'"),
        ("up", "starts_with = '/up/'\npriority = 'below_regex'"),
        ("static", "starts_with = '/static/'"),
        (
            "inside",
            "starts_with = '/static/in/'\npriority = 'below_regex'",
        ),
        ("nested", "starts_with = '/up/'\nregex = '[.]sql$'"),
        ("php", "regex = '[.]php$'"),
        ("both", "regex = ['[.]gif$', '^/b']"),
        ("a", "regex = '/a'"),
        ("rest", ""),
    ]);
    check(
        &routes,
        &[
            ("GET h /up/x.php", "exact"),
            ("GET h /up/y.php", "php"),
            ("GET h /up/y", "up"),
            ("GET h /up/y.sql", "nested"),
            ("GET h /y.sql", "rest"),
            ("GET h /static/x.php", "static"),
            ("GET h /static/in/x.php", "php"),
            ("GET h /static/in/x", "inside"),
            ("GET h /a.php", "php"),
            ("GET h /a", "a"),
            ("GET h /b.gif", "both"),
            ("GET h /c.gif", "rest"),
        ],
    );
}

#[test]
fn a_regular_expression_of_another_host_does_not_go_before_a_prefix() {
    let routes = routes(&[
        ("any", "regex = 'x'"),
        ("a", "host = 'a'\nprefix = '/x'\npriority = 'below_regex'"),
    ]);
    check(&routes, &[("GET a /x", "a"), ("GET b /x", "any")]);
}

#[test]
fn the_first_routes_go_before_an_exact_path() {
    let routes = routes(&[
        ("exact", "path = '/x'"),
        (
            "first",
            "priority = 'first'\nregex = 'x$'\nmethods = 'POST'",
        ),
        ("bots", "priority = 'first'\nheaders = { X-A = '1' }"),
    ]);
    check(&routes, &[("GET h /x", "exact"), ("POST h /x", "first")]);
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    assert_eq!(decide(&routes, "GET h /x", &headers), "bots");
    assert_eq!(decide(&routes, "POST h /x", &headers), "first");
}

#[test]
fn hosts_are_told_apart_as_by_nginx() {
    let routes = routes(&[
        ("pattern", "host = '~^w(?<number>[0-9]+)[.]a[.]test$'"),
        ("later", "host = '~w1'"),
        ("prefix", "host = 'www.*'"),
        ("longer", "host = 'www.a.*'"),
        ("suffix", "host = '*.b.test'"),
        ("exact", "host = 'www.c.test'"),
        ("rest", ""),
    ]);
    check(
        &routes,
        &[
            ("GET w1.a.test /", "pattern"),
            ("GET w1.b.test /", "suffix"),
            ("GET www.b.test /", "suffix"),
            ("GET www.a.test /", "longer"),
            ("GET www.c.test /", "exact"),
            ("GET www.d.test /", "prefix"),
            ("GET www /", "rest"),
            ("GET www. /", "rest"),
            ("GET xw12 /", "later"),
        ],
    );
}

#[test]
fn a_route_may_be_of_one_listener_or_scheme() {
    let text = "server.listen = ['0.0.0.0:80', '127.0.0.1:8080', { address = '0.0.0.0:443', tls = true }]\n\
                tls.certificates = [{ cert = 'c', key = 'k' }]\n\
                [[route]]\nname = 'address'\nlistener = '127.0.0.1:8080'\nrespond = {}\n\
                [[route]]\nname = 'port'\nlistener = 80\nrespond = {}\n\
                [[route]]\nname = 'secure'\nscheme = 'https'\nrespond = {}\n\
                [[route]]\nname = 'rest'\nrespond = {}\n";
    let config = parse(text, "test", &Overrides::default()).unwrap();
    let routes = Routes::new(
        &config.routes,
        &[],
        |_| RouteLimits::default(),
        |_| Box::default(),
    )
    .unwrap();
    assert!(routes.has_listeners());
    for (local, tls, expected) in [
        ("127.0.0.1:8080", false, "address"),
        ("127.0.0.2:8080", false, "rest"),
        ("192.0.2.1:80", false, "port"),
        ("192.0.2.1:443", true, "secure"),
        ("-", false, "rest"),
    ] {
        let headers = HeaderMap::new();
        let asked = MatchInput {
            local: local.parse().ok(),
            tls,
            ..get(&headers)
        };
        let Decision::Route(taken) = routes.decide(&asked, Some(b"/")) else {
            panic!("{local} is refused")
        };
        assert_eq!(routes.get(&taken).name, expected, "{local}");
    }
}

#[test]
fn a_route_may_be_reached_by_its_name_alone() {
    let routes = routes(&[
        ("named", "internal = true"),
        ("first", "priority = 'first'\nregex = '^/x'"),
        ("rest", "prefix = '/'"),
    ]);
    check(
        &routes,
        &[
            ("GET h /y", "rest"),
            ("GET h *", "rest"),
            ("GET h /x", "first"),
        ],
    );
    let headers = HeaderMap::new();
    let asked = MatchInput {
        is_rerouted: true,
        ..get(&headers)
    };
    let Decision::Route(taken) = routes.decide(&asked, Some(b"/x")) else {
        panic!("refused")
    };
    assert_eq!(routes.get(&taken).name, "rest");
    let taken = routes.enter("named", b"/a/../b%20c").unwrap();
    assert!(routes.get(&taken).internal);
    assert_eq!(taken.path(), Some(&b"/b c"[..]));
    assert_eq!(taken.target.as_deref(), Some(&b"/b%20c"[..]));
    assert!(routes.enter("none", b"/").is_none());
}

const HOSTS: [&str; 9] = [
    "a.com",
    "b.a.com",
    "*.a.com",
    "*.com",
    "*.b.a.com",
    "x",
    "b.*",
    "b.a.*",
    "~^[ab]",
];
const PATHS: [(&str, &str); 15] = [
    ("any", ""),
    ("exact", "/"),
    ("exact", "/x"),
    ("exact", "/x/y"),
    ("prefix", "/"),
    ("prefix", "/x"),
    ("prefix", "/x/"),
    ("prefix", "/x/y"),
    ("below", "/x"),
    ("below", "/x/"),
    ("starts", "/x"),
    ("within", "/x"),
    ("regex", "^/x"),
    ("regex", "y$"),
    ("first", "z$"),
];

fn host_pattern(text: &str) -> HostPattern {
    if let Some(regex) = text.strip_prefix('~') {
        HostPattern::Regex(Regex::new(regex).unwrap())
    } else if let Some(end) = text.strip_prefix('*') {
        HostPattern::Suffix(end.to_owned())
    } else if let Some(begin) = text.strip_suffix('*') {
        HostPattern::Prefix(begin.to_owned())
    } else {
        HostPattern::Exact(text.to_owned())
    }
}

fn path_pattern(kind: &str, path: &str) -> PathPattern {
    let regex = |text| Regex::new(text).unwrap();
    match kind {
        "exact" => PathPattern::Exact(path.to_owned()),
        "regex" | "first" => PathPattern::Regex(vec![regex(path)]),
        "any" => PathPattern::Any,
        _ => PathPattern::Prefix(PathPrefix {
            text: path.to_owned(),
            whole_segments: kind != "starts",
            regexes: (kind == "within").then(|| regex("y")).into_iter().collect(),
        }),
    }
}

prop_compose! {
    fn any_route()(
        hosts in prop::sample::subsequence(HOSTS.to_vec(), 0..3),
        (kind, path) in prop::sample::select(PATHS.to_vec()),
        methods in prop::sample::subsequence(vec!["GET", "POST"], 0..2),
        header in prop::option::of(prop::sample::select(vec!["1", "2"])),
        country in prop::option::of(prop::sample::select(vec!["CN", "JP"])),
        port in prop::option::of(prop::sample::select(vec![80, 81])),
        tls in prop::option::of(any::<bool>()),
    ) -> RouteConditions {
        let country = country.map(|code| Region::country(code, &BUILT_IN).unwrap());
        RouteConditions {
            variables: Vec::new(),
            hosts: hosts.iter().map(|host| host_pattern(host)).collect(),
            listeners: port.map(ListenerPattern::Port).into_iter().collect(),
            tls,
            internal: false,
            path: path_pattern(kind, path),
            priority: match kind {
                "first" => Priority::First,
                "below" => Priority::BelowRegex,
                _ => Priority::Normal,
            },
            methods: methods.iter().map(|method| method.parse().unwrap()).collect(),
            headers: header
                .map(|text| HeaderCondition {
                    name: "x-a".to_owned(),
                    value: HeaderPattern::Exact(text.to_owned()),
                })
                .into_iter()
                .collect(),
            countries: country.into_iter().collect(),
            regions: Vec::new(),
        }
    }
}

static BUILT_IN: std::sync::LazyLock<Codes> = std::sync::LazyLock::new(Codes::built_in);

/// Specificity of a route that takes the request, compared part by part: host, path, conditions.
fn rank(route: &RouteConditions, request: &Request) -> Option<(usize, usize, usize)> {
    let conditions = rank_of_conditions(route, request)?;
    let (path, in_order) = rank_of_path(route, request.path)?;
    let conditions = if in_order { 0 } else { conditions };
    Some((rank_of_host(route, request.host)?, path, conditions))
}

fn rank_of_host(route: &RouteConditions, host: &str) -> Option<usize> {
    let ranks = route.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(1000),
        HostPattern::Suffix(end) => host.ends_with(&**end).then_some(500 + end.len()),
        HostPattern::Prefix(begin) => host.starts_with(&**begin).then_some(200 + begin.len()),
        HostPattern::Regex(regex) => regex.is_match(host.as_bytes()).then_some(100),
    });
    if route.hosts.is_empty() {
        Some(0)
    } else {
        ranks.max()
    }
}

/// Rank of a path that matches, and `true` if routes of this kind are tried in their order.
fn rank_of_path(route: &RouteConditions, path: &str) -> Option<(usize, bool)> {
    match &route.path {
        PathPattern::Any => Some((0, false)),
        PathPattern::Regex(regexes) => {
            let is_first = route.priority == Priority::First;
            let rank = if is_first { 1000 } else { 1 };
            regexes[0].is_match(path.as_bytes()).then_some((rank, true))
        }
        PathPattern::Prefix(PathPrefix {
            text,
            whole_segments,
            regexes,
        }) => {
            let under = format!("{}/", text.trim_end_matches('/'));
            let is_met = if *whole_segments {
                path == text || path.starts_with(&under)
            } else {
                path.starts_with(&**text)
            };
            let has_regex = !regexes.is_empty();
            let is_met = is_met && (!has_regex || path.contains('y'));
            let rest = usize::from(has_regex) * 2 + usize::from(*whole_segments);
            is_met.then_some((2 + 4 * text.len() + rest, has_regex))
        }
        PathPattern::Exact(exact) => (path == exact).then_some((500, false)),
    }
}

/// Number of the other conditions, if the request meets all of them.
fn rank_of_conditions(route: &RouteConditions, request: &Request) -> Option<usize> {
    let mut conditions = 0;
    if !route.methods.is_empty() {
        let method = if request.method == "HEAD" {
            "GET"
        } else {
            request.method
        };
        route
            .methods
            .iter()
            .find(|known| known.as_str() == method)?;
        conditions += 1;
    }
    for header in &route.headers {
        let HeaderPattern::Exact(text) = &header.value else {
            return None;
        };
        (request.header == Some(text)).then_some(())?;
        conditions += 1;
    }
    if let [country] = &route.countries[..] {
        // The client is in China.
        (*country == Region::country("CN", &BUILT_IN).unwrap()).then_some(())?;
        conditions += 1;
    }
    if let [ListenerPattern::Port(port)] = route.listeners[..] {
        (port == request.port).then_some(())?;
        conditions += 1;
    }
    if let Some(tls) = route.tls {
        (tls == (request.port == 81)).then_some(())?;
        conditions += 1;
    }
    Some(conditions)
}

struct Request<'r> {
    method: &'r str,
    host: &'r str,
    path: &'r str,
    header: Option<&'r str>,
    /// Port of the listener; 81 has TLS.
    port: u16,
}

/// Finds the route of a request by a comparison of all.
fn linear_search(routes: &[RouteConditions], request: &Request) -> Option<usize> {
    let ranks = routes.iter().enumerate().filter_map(|(number, route)| {
        let rank = rank(route, request)?;
        // Among equal routes the first one wins.
        Some((rank, usize::MAX - number, number))
    });
    let ranks: Vec<_> = ranks.collect();
    let ((host, ..), _, number) = ranks.iter().max().copied()?;
    if routes[number].priority != Priority::BelowRegex {
        return Some(number);
    }
    let is_regex = |number: usize| matches!(routes[number].path, PathPattern::Regex(_));
    let regexes = ranks
        .iter()
        .filter(|((other, ..), _, number)| *other == host && is_regex(*number));
    regexes.map(|(.., number)| *number).min().or(Some(number))
}

proptest! {
    #[test]
    fn the_table_finds_what_a_linear_search_finds(
        routes in prop::collection::vec(any_route(), 1..12),
        method in prop::sample::select(vec!["GET", "HEAD", "POST"]),
        host in prop::sample::select(vec!["a.com", "b.a.com", "c.b.a.com", "com", "x", "d.com"]),
        path in prop::sample::select(vec!["/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/z"]),
        header in prop::option::of(prop::sample::select(vec!["1", "2"])),
        port in prop::sample::select(vec![80, 81]),
    ) {
        let request = Request { method, host, path, header, port };
        let expected = linear_search(&routes, &request);

        let method: Method = method.parse().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(HeaderName::from_static("x-a"), value.parse().unwrap());
        }
        let database = database();
        let asked = MatchInput {
            host: Some(host),
            method: &method,
            headers: &headers,
            local: Some(([127, 0, 0, 1], port).into()),
            tls: port == 81,
            is_rerouted: false,
            place: database.lookup([1, 0, 0, 7].into()),
            variable: &|_, _| {},
        };
        let found = match Table::new(&routes).find(&asked, Some(path.as_bytes())) {
            TableMatch::Route(number) => Some(number),
            TableMatch::OtherMethods | TableMatch::Nothing => None,
        };
        prop_assert_eq!(found, expected);
    }
}
