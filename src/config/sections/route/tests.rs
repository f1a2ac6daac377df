use crate::config::model::{Action, Config, Expires, HostPattern, PathPattern, UpstreamChoice};
use crate::config::{Overrides, parse};

const UPSTREAMS: &str = "[[upstream]]\nname = 'a'\npeers = ['127.0.0.1:1']\n[[upstream]]\nname = 'b'\npeers = ['127.0.0.1:2']\n";

fn read(text: &str) -> Result<Config, String> {
    parse(text, "file", &Overrides::default()).map_err(|error| error.to_string())
}

/// Checks the problem of a route with these lines, the first of which is line 3.
#[track_caller]
fn check_problem(lines: &str, expected: &str) {
    let text = format!("[[route]]\nrespond = {{}}\n{lines}\n");
    let error = read(&text).unwrap_err();
    assert!(error.starts_with(&format!("file: {expected}")), "{error}");
}

/// Checks the problem of a route with these lines and an upstream `a`.
#[track_caller]
fn check_action_problem(lines: &str, expected: &str) {
    let text = format!("[[route]]\n{lines}\n[[upstream]]\nname = 'a'\npeers = ['127.0.0.1:1']\n");
    let error = read(&text).unwrap_err();
    assert!(error.starts_with(&format!("file: {expected}")), "{error}");
}

#[test]
fn a_route_has_conditions_and_an_action() {
    let text = format!(
        "{UPSTREAMS}[[route]]\nname = 'one'\nhost = ['Example.com', '*.example.com.']\n\
         prefix = '/api'\nupstream = 'b'\nrewrite = '/'\n\
         [[route]]\nregex = '^/x/(.*)$'\nredirect = {{ to = 'https://$host/$1' }}\n\
         [[route]]\nupstream = 'a'\n"
    );
    let routes = read(&text).unwrap().routes;
    let [one, two, three] = &routes[..] else {
        panic!("{routes:?}")
    };
    assert_eq!((&one.name[..], &two.name[..]), ("one", "route[1]"));
    assert!(matches!(
        &one.conditions.hosts[..],
        [HostPattern::Exact(name), HostPattern::Suffix(end)]
            if name == "example.com" && end == ".example.com"
    ));
    let path = &one.conditions.path;
    assert!(matches!(path, PathPattern::Prefix(prefix) if prefix.text == "/api"));
    assert!(matches!(
        &one.action,
        Action::Upstream {
            choice: UpstreamChoice::One(1),
            rewrite: Some(_),
            ..
        }
    ));
    assert!(matches!(&two.action, Action::Redirect { status: 302, .. }));
    assert!(matches!(
        &three.action,
        Action::Upstream {
            choice: UpstreamChoice::One(0),
            rewrite: None,
            ..
        }
    ));
}

#[test]
fn every_upstream_has_a_way_to_it() {
    assert_eq!(
        read(UPSTREAMS).unwrap_err(),
        "file: upstream[0]: is one of several, and no [[route]] says what goes where (line 1)"
    );
    assert_eq!(
        read(&format!("{UPSTREAMS}[[route]]\nupstream = 'a'\n")).unwrap_err(),
        "file: upstream[1]: no route leads here (line 4)"
    );
    assert_eq!(
        read("[[route]]\nupstream = 'a'\n").unwrap_err(),
        "file: route[0].upstream: there is no upstream \"a\"; there is none at all (line 2)"
    );
    check_action_problem(
        "upstream = 'c'",
        "route[0].upstream: there is no upstream \"c\"; there is \"a\" (line 2)",
    );
}

#[test]
fn the_command_lines_upstream_takes_what_routes_send_to_any() {
    let overrides = Overrides {
        upstream: vec!["127.0.0.1:9".to_owned()],
        ..Overrides::default()
    };
    let text = format!("{UPSTREAMS}[[route]]\nupstream = 'b'\n");
    let config = parse(&text, "file", &overrides).unwrap();
    assert!(matches!(
        config.routes[0].action,
        Action::Upstream {
            choice: UpstreamChoice::One(0),
            ..
        }
    ));
    assert_eq!(config.upstreams.len(), 1);
}

#[test]
fn a_route_has_one_action() {
    check_action_problem("prefix = '/'", "route[0]: has neither upstream nor");
    check_action_problem(
        "upstream = 'a'\nrespond = {}",
        "route[0]: has several of upstream, ",
    );
    check_action_problem(
        "upstream = 'a'\nredirect = { to = '/' }",
        "route[0]: has several of upstream, ",
    );
    check_problem(
        "rewrite = '/x'",
        "route[0].rewrite: is for requests to an upstream and for files (line 3)",
    );
    check_problem(
        "rewrite_location = [{ from = 'http://a/', to = '/' }]",
        "route[0].rewrite_location: is for responses of an upstream (line 3)",
    );
    for (rules, expected) in [
        ("[{ to = '/' }]", "[0].from: is missing (line 3)"),
        ("[{ from = 'http://a/' }]", "[0].to: is missing (line 3)"),
        (
            "[{ from = '', to = '/' }]",
            "[0].from: a beginning is expected",
        ),
        (
            "[{ from = '$status', to = '/' }]",
            "[0].from: there is no $status",
        ),
        (
            "[{ from = 'http://a/', to = \"/\\n\" }]",
            "[0].to: has a control character",
        ),
        ("[{ from = 'a', to = '/', x = 1 }]", "[0].x: "),
        ("'http://a/'", ": an array is expected"),
    ] {
        check_action_problem(
            &format!("upstream = 'a'\nrewrite_location = {rules}"),
            &format!("route[0].rewrite_location{expected}"),
        );
    }
    check_action_problem("redirect = {}", "route[0].redirect.to: is missing (line 2)");
    check_action_problem(
        "redirect = { to = '/', status = 304 }",
        "route[0].redirect.status: 304 is not one of [301, 302, 303, 307, 308] (line 2)",
    );
    check_action_problem(
        "redirect = { to = '/$nothing' }",
        "route[0].redirect.to: there is no $nothing",
    );
    check_action_problem(
        "redirect = { to = '/$status' }",
        "route[0].redirect.to: there is no $status",
    );
    check_action_problem(
        "redirect = { to = \"/\\r\\nX: 1\" }",
        "route[0].redirect.to: has a control",
    );
    check_action_problem(
        "respond = { status = 199 }",
        "route[0].respond.status: 199 is not within",
    );
    check_action_problem(
        "respond = { status = 204, body = 'x' }",
        "route[0].respond.body: a response with status 204 has none (line 2)",
    );
    check_action_problem(
        "respond = { type = 'text' }",
        "route[0].respond.type: \"text\" is not a media type",
    );
    check_action_problem(
        "upstream = 'a'\nrewrite = 'x'",
        "route[0].rewrite: a path is expected, which begins with \"/\" (line 3)",
    );
}

#[test]
fn conditions_must_be_ones_that_can_be_met() {
    check_problem(
        "path = '/'\nprefix = '/'",
        "route[0]: has several of path, prefix and starts_with (line 1)",
    );
    check_problem(
        "path = '/'\nregex = 'x'",
        "route[0]: has path and regex (line 1)",
    );
    check_problem(
        "regex = 'x'\npriority = 'below_regex'",
        "route[0].priority: \"below_regex\" is for routes with prefix or starts_with",
    );
    check_problem(
        "priority = 'high'",
        "route[0].priority: \"high\" is not \"first\" or \"below_regex\"",
    );
    check_problem(
        "scheme = 'ftp'",
        "route[0].scheme: \"ftp\" is not \"http\" or",
    );
    check_problem("host = '~('", "route[0].host: \"(\": unclosed group");
    for listener in ["'127.0.0.1:1'", "81"] {
        check_problem(
            &format!("listener = {listener}"),
            "route[0].listener: is not in server.listen, which has 0.0.0.0:9000 (line 3)",
        );
    }
    check_problem(
        "listener = 'x'",
        "route[0].listener: \"x\" is neither an address and port such as",
    );
    check_problem(
        "path = 'x'",
        "route[0].path: \"x\" does not begin with \"/\" (line 3)",
    );
    for path in ["//", "/a//b", "/a/../b", "/./a", "/a/..", "/a//"] {
        check_problem(
            &format!("prefix = '{path}'"),
            "route[0].prefix: paths are matched without \"//\"",
        );
    }
    check_problem("path = '/%41'", "route[0].path: paths are matched decoded");
    check_problem(
        "path = '/a?b'",
        "route[0].path: a path has neither query nor fragment",
    );
    check_problem(
        "regex = '(x'",
        "route[0].regex: \"(x\": unclosed group (line 3)",
    );
    check_problem("regex = '(x{1000}){1000}'", "route[0].regex: ");
    for host in [
        "", "*", "a:80", "a..b", "*.*.b", "*.a.*", "a.*.*", ".*", ".a", "http://a", "[x]",
    ] {
        check_problem(&format!("host = '{host}'"), "route[0].host: ");
    }
    check_problem(
        "host = []",
        "route[0].host: at least one is needed; leave it out to take all",
    );
    check_problem(
        "methods = ['GET', 'get']",
        "route[0].methods[1]: \"get\" is no method such as \"GET\"",
    );
    check_problem(
        "countries = ['XX']",
        "route[0].countries[0]: \"XX\" is no country's code (line 3)",
    );
    check_problem(
        "regions = 5",
        "route[0].regions: a string is expected, not an integer (line 3)",
    );
    check_problem(
        "headers = { 'X Y' = '1' }",
        "route[0].headers.X Y: \"X Y\" is no name of a header",
    );
    check_problem(
        "headers = { X_Geo_City = '1' }",
        "route[0].headers.X_Geo_City: is what clients say",
    );
    check_problem("color = 'red'", "route[0].color: unknown key; known here: ");
}

#[test]
fn no_two_routes_are_the_same() {
    let twice = "[[route]]\nname = 'a'\npath = '/x'\nrespond = {}\n[[route]]\nname = 'b'\npath = '/x'\nrespond = {}\n";
    assert_eq!(
        read(twice).unwrap_err(),
        "file: route[1]: takes the same requests as \"a\", so none comes here (line 5)"
    );
    let named =
        "[[route]]\nname = 'a'\npath = '/x'\nrespond = {}\n[[route]]\nname = 'a'\nrespond = {}\n";
    assert_eq!(
        read(named).unwrap_err(),
        "file: route[1].name: there is another \"a\" (line 6)"
    );
}

/// Regular expressions are tried in the order of the file, so one without other conditions hides
/// what follows.
#[test]
fn a_pattern_hides_the_same_one_behind_it() {
    let route = |lines: &str| format!("[[route]]\n{lines}\nrespond = {{}}\n");
    let (plain, narrow) = (route("regex = 'x'"), route("regex = 'x'\nmethods = 'GET'"));
    assert_eq!(
        read(&format!("{plain}{narrow}")).unwrap_err(),
        "file: route[1]: takes the same requests as \"route[0]\", so none comes here (line 4)"
    );
    read(&format!("{narrow}{plain}")).unwrap();
}

#[test]
fn groups_of_a_hosts_pattern_are_variables() {
    let route = "[[route]]\nhost = ['~^(?<shop>[a-z]+)[.]([a-z]+)[.]test$', 'x']\n";
    read(&format!(
        "{route}redirect = {{ to = '/$host_shop/$host_2$host' }}\n"
    ))
    .unwrap();
    let error = read(&format!("{route}redirect = {{ to = '$host_3' }}\n")).unwrap_err();
    assert!(error.contains("there is no $host_3 here"), "{error}");
    assert!(error.contains("host_1, host_2, host_shop"), "{error}");
}

#[test]
fn responses_have_changes_for_successes_and_an_expiry() {
    let text = "[[route]]\nrespond = {}\nexpires = '30d'\nresponse_headers = { \
                add = { Link = ['a', 'b'], X-A = '$host' }, \
                on_success = { set = { X-B = '1' }, remove = ['X-C'] } }\n";
    let changes = &read(text).unwrap().routes[0].response_headers;
    let names: Vec<_> = changes.always.add.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["Link", "Link", "X-A"]);
    assert_eq!(changes.on_success.set[0].0, "X-B");
    assert_eq!(changes.on_success.remove, ["x-c"]);
    assert_eq!(changes.expires, Some(Expires::AfterResponse(2_592_000)));
    check_problem(
        "expires = 'soon'",
        "route[0].expires: \"soon\" is not a time",
    );
    check_problem(
        "response_headers = { on_success = { on_success = {} } }",
        "route[0].response_headers.on_success.on_success: unknown key",
    );
    check_problem(
        "response_headers = { add = { Connection = 'x' } }",
        "route[0].response_headers.add.Connection: belongs to the connection",
    );
}

#[test]
fn some_headers_are_not_a_routes_to_change() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Upgrade",
    ] {
        for key in ["request_headers", "response_headers"] {
            check_problem(
                &format!("{key}.set = {{ {name} = '1' }}"),
                &format!("route[0].{key}.set.{name}: belongs to the connection"),
            );
            check_problem(
                &format!("{key}.remove = ['{name}']"),
                &format!("route[0].{key}.remove[0]: belongs to the connection"),
            );
        }
    }
    for name in [
        "X-Geo-Country",
        "x_geo_city",
        "X-Real-IP",
        "X-Forwarded-For",
        "Forwarded",
    ] {
        check_problem(
            &format!("request_headers.set = {{ {name} = '1' }}"),
            &format!("route[0].request_headers.set.{name}: is what geogate tells"),
        );
    }
    check_problem(
        "request_headers.remove = ['Host']",
        "route[0].request_headers.remove[0]: a request needs one",
    );
    check_problem(
        "response_headers.set = { X-A = \"a\\nb\" }",
        "route[0].response_headers.set.X-A: has a control character (line 3)",
    );
    let fine = "[[route]]\nrespond = {}\nrequest_headers.set = { Host = 'inner', X-A = '$country' }\n\
                response_headers = { set = { X-Geo-Country = '$country' }, remove = ['Server'] }\n";
    assert!(read(fine).is_ok());
}
