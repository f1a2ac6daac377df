//! Requests to a configuration, made from its own servers, locations and conditions. The order and
//! the choice are the same in each run.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::client::Request;
use crate::locate;
use crate::nginx_file::{self, Directive};
use crate::origin::KINDS;
use crate::sample;
use crate::stage::{FILES, Stage};

/// Requests to one file at most.
const MOST: usize = 250;
const SEED: u64 = 7;

/// Paths that any site is asked for.
const USUAL: [&str; 14] = [
    "/",
    "/index.html",
    "/none",
    "/sub",
    "/sub/",
    "/a.txt",
    "/index.php",
    "/favicon.ico",
    "/robots.txt",
    "/.git/config",
    "/.env",
    "/dump.sql",
    "/.well-known/acme-challenge/token",
    "/a%20b/%C3%A9?q=%20x",
];

/// Returns the requests to the servers of a file.
pub fn of(stage: &Stage) -> Vec<Request> {
    let mut all = Requests {
        list: Vec::new(),
        values: Values::of(&stage.directives),
    };
    for server in stage.servers() {
        for (listener, host) in addresses(stage, server) {
            all.server(server, &listener, &host);
        }
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    random.shuffle(&mut all.list);
    all.list.truncate(MOST);
    for (number, request) in all.list.iter_mut().enumerate() {
        request.number = number;
        request.is_tls = stage.listeners[&request.listener].tls;
    }
    all.list
}

/// Listeners of a server, each with the hosts to ask for.
fn addresses(stage: &Stage, server: &Directive) -> Vec<(String, String)> {
    let mut hosts: Vec<String> = Vec::new();
    for name in server.named("server_name").flat_map(Directive::args) {
        match name.strip_prefix('~') {
            Some(regex) => hosts.extend(sample::of(regex)),
            None => hosts.push(match name.strip_prefix('.') {
                Some(rest) => format!("www.{rest}"),
                None => name.replace('*', "any"),
            }),
        }
        if let Some(rest) = name.strip_prefix('.') {
            hosts.push(rest.to_owned());
        }
    }
    let is_host = |host: &String| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        !host.is_empty() && !host.ends_with('.') && host.chars().all(allowed)
    };
    hosts.retain(is_host);
    hosts.push("unknown.example".to_owned());
    let mut addresses = Vec::new();
    for (written, listener) in &stage.listeners {
        let address = listener.address.to_string();
        if !listener.http2
            && server
                .named("listen")
                .any(|listen| listen.arg(0) == address)
        {
            addresses.extend(hosts.iter().map(|host| (written.clone(), host.clone())));
        }
    }
    addresses
}

struct Requests {
    list: Vec<Request>,
    values: Values,
}

impl Requests {
    fn server(&mut self, server: &Directive, listener: &str, host: &str) {
        let mut paths: BTreeSet<String> = USUAL.iter().map(|path| (*path).to_owned()).collect();
        server.walk(&mut |one| match one.name() {
            "location" => paths.extend(of_location(one)),
            "rewrite" => paths.extend(of_regex(one.arg(0))),
            "if" => paths.extend(of_condition(one)),
            _ => {}
        });
        let paths: Vec<String> = paths.into_iter().filter(|path| is_target(path)).collect();
        for (number, path) in paths.iter().enumerate() {
            let kind = KINDS[number % KINDS.len()];
            let mut request = Request::get(listener, host, path, kind);
            self.list.push(request.clone());
            vary(&mut request, number);
            self.list.push(request);
        }
        self.with_values(&paths, listener, host);
    }

    /// Requests with the headers, cookies and arguments that the file reads.
    fn with_values(&mut self, paths: &[String], listener: &str, host: &str) {
        for (number, (name, value)) in self.values.0.iter().enumerate() {
            for path in paths.iter().cycle().skip(number * 3).take(3) {
                let mut request = Request::get(listener, host, path, "text");
                match name {
                    Value::Header(name) => request.headers.push((name.clone(), value.clone())),
                    Value::Cookie(name) => {
                        request
                            .headers
                            .push(("Cookie".to_owned(), format!("x=1; {name}={value}")));
                    }
                    Value::Argument(name) => {
                        let separator = if path.contains('?') { '&' } else { '?' };
                        let _ = write!(request.target, "{separator}{name}={value}");
                    }
                    Value::Method => match METHODS.iter().find(|method| *method == value) {
                        Some(method) => request.method = method,
                        None => continue,
                    },
                }
                self.list.push(request);
            }
        }
    }
}

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND",
];

/// Changes one thing of a request: its method, its query, its headers, its version.
fn vary(request: &mut Request, number: usize) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match number % 14 {
        0 => request.method = "HEAD",
        1 => {
            request.method = "POST";
            request.body = "a=1&b=2";
        }
        2 => request.target += "?a=1&b=%20&c",
        3 => request.headers.push(header("Accept-Encoding", "gzip, br")),
        4 => request.headers.push(header("Range", "bytes=0-3")),
        5 => {
            let time = "Sun, 13 Sep 2020 12:26:40 GMT";
            request.headers.push(header("If-Modified-Since", time));
        }
        6 => request.is_http10 = true,
        7 => {
            let headers = [
                header("X-Forwarded-For", "203.0.113.7"),
                header("X-Forwarded-Proto", "https"),
            ];
            request.headers.extend(headers);
        }
        8 => request.method = METHODS[3 + number % 5],
        9 => {
            let headers = [
                header("Connection", "upgrade"),
                header("Upgrade", "websocket"),
            ];
            request.headers.extend(headers);
            request.kind = "upgrade";
        }
        10 => request.host.make_ascii_uppercase(),
        11 => request.host += ":8443",
        12 => request.headers.push(header("Range", "bytes=5-")),
        _ => {
            request
                .headers
                .push(header("Cookie", "session=1; theme=dark"));
            request.headers.push(header("User-Agent", "curl/8"));
            request
                .headers
                .push(header("Referer", "https://other.example/page"));
        }
    }
}

/// Paths at the edges of a location.
fn of_location(location: &Directive) -> Vec<String> {
    let (kind, pattern) = locate::parts(location);
    if kind.starts_with('~') {
        return of_regex(pattern);
    }
    if !pattern.starts_with('/') {
        return Vec::new();
    }
    let short = pattern.trim_end_matches('/');
    let folder = format!("{short}/");
    let mut paths = vec![
        pattern.to_owned(),
        folder.clone(),
        if short.is_empty() {
            "/".to_owned()
        } else {
            short.to_owned()
        },
        format!("{short}x"),
        format!("{folder}x"),
        format!("{folder}a/b%20c?d=1"),
        format!("{folder}%61%2Fb"),
        format!("{folder}/double//slash"),
        format!("{folder}./dot/../x"),
        format!("{folder}../up"),
        format!("{folder}.hidden"),
        format!("{short}?x=1"),
        pattern.to_ascii_uppercase(),
    ];
    paths.extend(FILES.iter().map(|(name, _)| format!("{folder}{name}")));
    paths
}

/// Paths that an expression matches, some with more around them.
fn of_regex(regex: &str) -> Vec<String> {
    let samples = sample::of(regex).into_iter();
    let rooted = samples.map(|text| {
        if text.starts_with('/') {
            text
        } else {
            format!("/a{text}")
        }
    });
    let mut paths = Vec::new();
    for path in rooted {
        paths.push(format!("{path}/more"));
        paths.push(format!("{path}?x=1"));
        paths.push(path.to_ascii_uppercase());
        paths.push(format!("{path}x"));
        paths.push(path);
    }
    paths
}

/// Paths from a condition on the request's own path.
fn of_condition(condition: &Directive) -> Vec<String> {
    let words: Vec<&str> = condition.args().collect();
    let first = words
        .first()
        .map_or("", |word| word.trim_start_matches('('));
    if !matches!(first, "$request_uri" | "$uri") {
        return Vec::new();
    }
    words
        .last()
        .map_or(Vec::new(), |regex| of_regex(trimmed(regex)))
}

/// The last word of a condition without the condition's parenthesis.
fn trimmed(word: &str) -> &str {
    word.strip_suffix(')').unwrap_or(word)
}

/// True if clients can send this as it is: other targets are a matter of the parser.
fn is_target(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}#".contains(c);
    path.starts_with('/') && path.chars().all(allowed)
}

/// Something of a request that the file reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Header(String),
    Cookie(String),
    Argument(String),
    Method,
}

/// Values to send for what the file reads.
struct Values(BTreeSet<(Value, String)>);

impl Values {
    fn of(directives: &[Directive]) -> Values {
        let mut found = Values(BTreeSet::new());
        nginx_file::walk(directives, &mut |one| match one.name() {
            "if" => {
                let words: Vec<&str> = one.args().collect();
                if let Some((first, rest)) = words.split_first() {
                    let source = first.trim_start_matches('(');
                    let value = rest.last().map_or("1", |word| trimmed(word));
                    found.add(trimmed(source), value);
                }
            }
            "map" => {
                for entry in &one.inside {
                    found.add(one.arg(0), entry.name());
                }
                found.add(one.arg(0), "other");
            }
            "limit_except" => {
                for method in METHODS {
                    found.0.insert((Value::Method, method.to_owned()));
                }
            }
            "auth_basic" => {
                found.0.insert((
                    Value::Header("Authorization".to_owned()),
                    "Basic dXNlcjpzZWNyZXQ=".to_owned(),
                ));
                found.0.insert((
                    Value::Header("Authorization".to_owned()),
                    "Basic dXNlcjp3cm9uZw==".to_owned(),
                ));
            }
            _ => {}
        });
        found
    }

    fn add(&mut self, variable: &str, value: &str) {
        let name = variable.trim_start_matches('$').trim_matches(['{', '}']);
        let dashed = |name: &str| name.replace('_', "-");
        let source = if matches!(name, "http_upgrade" | "http_connection" | "http_host") {
            return;
        } else if let Some(name) = name.strip_prefix("http_") {
            Value::Header(dashed(name))
        } else if let Some(name) = name.strip_prefix("cookie_") {
            Value::Cookie(name.to_owned())
        } else if let Some(name) = name.strip_prefix("arg_") {
            Value::Argument(name.to_owned())
        } else if name == "request_method" {
            Value::Method
        } else {
            return;
        };
        let samples = match value.trim_start_matches('~').trim_start_matches('*') {
            regex if value.starts_with('~') || value.contains(['|', '^', '(']) => sample::of(regex),
            value => vec![value.to_owned()],
        };
        let plain = |c: char| c.is_ascii_graphic() || c == ' ';
        for value in samples {
            let value = value.trim();
            if value.chars().all(plain) && !value.is_empty() {
                self.0.insert((source.clone(), value.to_owned()));
            }
        }
    }
}
