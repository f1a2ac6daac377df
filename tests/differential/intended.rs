//! The differences from nginx that are intended, each with its reason. The comparison makes both sides
//! equal in what an entry is about, and in nothing else.

use std::sync::LazyLock;

use crate::compare::{Exchange, Side};

/// One intended difference.
pub struct Intended {
    pub name: &'static str,
    pub reason: &'static str,
    /// Makes both sides equal in it.
    pub apply: fn(&mut Exchange),
}

pub const INTENDED: &[Intended] = &[
    Intended {
        name: "identity",
        reason: "each server has its own name and its own clock",
        apply: identity,
    },
    Intended {
        name: "connection",
        reason: "options of one connection; a body has a length or chunks as a server has it at hand",
        apply: connection,
    },
    Intended {
        name: "own pages",
        reason: "each server has its own text for its errors and redirects",
        apply: own_pages,
    },
    Intended {
        name: "relative redirects",
        reason: "a path is enough for a client, and right behind a proxy that terminates TLS",
        apply: relative_redirects,
    },
    Intended {
        name: "entity tags",
        reason: "they are opaque; geogate's tell changes within a second apart",
        apply: entity_tags,
    },
    Intended {
        name: "ranges",
        reason: "geogate says in all answers about a file that it has ranges, and in 416 which version it is of",
        apply: |exchange| {
            if matches!(exchange.nginx.answer.status, 206 | 304 | 416) {
                remove(exchange, "accept-ranges");
            }
            if exchange.nginx.answer.status == 416 {
                remove(exchange, "etag");
                remove(exchange, "last-modified");
            }
        },
    },
    Intended {
        name: "allow",
        reason: "RFC 9110 asks for Allow in an answer 405",
        apply: |exchange| {
            if exchange.nginx.answer.status == 405 {
                remove(exchange, "allow");
            }
        },
    },
    Intended {
        name: "methods of files",
        reason: "a method that no file has is rejected with 405, if there is a file or not",
        apply: |exchange| {
            let statuses = [exchange.nginx.answer.status, exchange.geogate.answer.status];
            let is_of_files = !matches!(exchange.request.method, "GET" | "HEAD" | "POST");
            if is_of_files && statuses == [404, 405] && exchange.geogate.received.is_empty() {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "listed methods",
        reason: "a method that client.methods does not list is rejected with 501 or 405",
        apply: |exchange| {
            let is_local = exchange.geogate.received.is_empty();
            if exchange.request.method == "PROPFIND"
                && is_local
                && exchange.geogate.answer.status == 501
            {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "circles",
        reason: "a fallback that leads back to itself is 404 here, and 500 in nginx",
        apply: |exchange| {
            let statuses = [exchange.nginx.answer.status, exchange.geogate.answer.status];
            if statuses == [500, 404] && exchange.nginx.received.is_empty() {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "vary",
        reason: "what may be compressed says so in Vary, with gzip_vary and without",
        apply: |exchange| {
            let own =
                |(name, value): &(String, String)| name == "vary" && value == "Accept-Encoding";
            let has = |side: &Side| side.answer.headers.iter().any(own);
            if has(&exchange.geogate) && !has(&exchange.nginx) {
                exchange
                    .geogate
                    .answer
                    .headers
                    .retain(|header| !own(header));
            }
        },
    },
    Intended {
        name: "hidden scripts",
        reason: "a script whose name or folder begins with a dot never runs",
        apply: |exchange| {
            let is_hidden = exchange.request.target.contains("/.");
            let ran = exchange
                .nginx
                .received
                .iter()
                .any(|one| one.header("SCRIPT_FILENAME").is_some());
            if is_hidden && ran && exchange.geogate.answer.status == 404 {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "media types",
        reason: "a common extension that nginx's list lacks has its own type",
        apply: media_types,
    },
    Intended {
        name: "upstream version",
        reason: "upstreams are spoken to in HTTP/1.1, nginx 1.22 does so if it is told",
        apply: |exchange| {
            for received in sides(exchange)
                .into_iter()
                .flat_map(|side| &mut side.received)
            {
                if let Some(line) = received.line.strip_suffix(" HTTP/1.0") {
                    received.line = format!("{line} HTTP/1.1");
                }
            }
        },
    },
    Intended {
        name: "spellings of a path",
        reason: "a path is passed on as it was matched, so that no spelling of it passes a rule",
        apply: spellings,
    },
    Intended {
        name: "websocket",
        reason: "an upgrade to WebSocket is passed on without being told",
        apply: |exchange| {
            let asked = |side: &Side| {
                side.received
                    .iter()
                    .any(|one| one.header("upgrade").is_some())
            };
            if exchange.request.header("upgrade").is_some()
                && !asked(&exchange.nginx)
                && asked(&exchange.geogate)
            {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "forwarded",
        reason: "what a client says of itself is not passed on, and what is known of it is added",
        apply: forwarded,
    },
    Intended {
        name: "request ids",
        reason: "each request has an id of its own",
        apply: |exchange| {
            let is_id =
                |value: &str| value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
            let pairs = exchange.nginx.received.iter_mut();
            for (theirs, ours) in pairs.zip(&mut exchange.geogate.received) {
                let name = "x-request-id";
                if [&*theirs, &*ours]
                    .iter()
                    .all(|one| one.header(name).is_some_and(is_id))
                {
                    theirs.headers.retain(|(known, _)| known != name);
                    ours.headers.retain(|(known, _)| known != name);
                }
            }
        },
    },
    Intended {
        name: "challenges",
        reason: "a listener that redirects to TLS answers tokens of ACME, and redirects what is none",
        apply: |exchange| {
            let token = exchange
                .request
                .target
                .strip_prefix("/.well-known/acme-challenge/");
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            let is_token =
                token.is_some_and(|token| !token.is_empty() && token.chars().all(is_part));
            if exchange.request.target.starts_with("/.well-known/")
                && !is_token
                && exchange.geogate.answer.status == 308
            {
                exchange.geogate = exchange.nginx.clone();
            }
        },
    },
    Intended {
        name: "script parameters",
        reason: "scripts get no headers of the connection; the server's name, the client's port and what \
                 follows from PATH_INFO are each server's own, and PATH_INFO is decoded",
        apply: script_parameters,
    },
    Intended {
        name: "location tags",
        reason: "geogate adds the client's location to what it forwards",
        apply: |exchange| {
            for received in &mut exchange.geogate.received {
                let is_tag =
                    |name: &str| name.starts_with("x-geo-") || name.starts_with("HTTP_X_GEO_");
                received.headers.retain(|(name, _)| !is_tag(name));
            }
        },
    },
];

fn identity(exchange: &mut Exchange) {
    for side in sides(exchange) {
        side.answer.remove("server");
        side.answer.remove("date");
    }
    let date = |side: &Side| httpdate::parse_http_date(side.answer.header("expires")?).ok();
    if let (Some(theirs), Some(ours)) = (date(&exchange.nginx), date(&exchange.geogate)) {
        let apart = ours
            .duration_since(theirs)
            .unwrap_or_else(|error| error.duration());
        if apart < std::time::Duration::from_secs(60) {
            remove(exchange, "expires");
        }
    }
}

fn connection(exchange: &mut Exchange) {
    for side in sides(exchange) {
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            side.answer.remove(name);
        }
        for received in &mut side.received {
            let is_framing = |name: &str| matches!(name, "connection" | "transfer-encoding");
            received.headers.retain(|(name, _)| !is_framing(name));
        }
    }
    // The bodies themselves are compared.
    let is_missing = |side: &Side| side.answer.header("content-length").is_none();
    if is_missing(&exchange.nginx) || is_missing(&exchange.geogate) {
        remove(exchange, "content-length");
    }
}

fn own_pages(exchange: &mut Exchange) {
    let theirs = &exchange.nginx.answer;
    let is_page = theirs.text().contains("<hr><center>nginx");
    let may_be_page = exchange.request.method == "HEAD"
        && theirs
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"));
    let ours = exchange.geogate.answer.status;
    let is_same = theirs.status == ours || theirs.status / 100 == 3 && ours / 100 == 3;
    if theirs.status >= 300 && is_same && (is_page || may_be_page) {
        for side in sides(exchange) {
            side.answer.body.clear();
            side.answer.remove("content-type");
            side.answer.remove("content-length");
            // nginx compresses its pages.
            side.answer.remove("content-encoding");
            let own =
                |(name, value): &(String, String)| name == "vary" && value == "Accept-Encoding";
            side.answer.headers.retain(|header| !own(header));
        }
    }
}

fn relative_redirects(exchange: &mut Exchange) {
    let host = exchange
        .request
        .host
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let own_scheme = if exchange.request.is_tls {
        "https"
    } else {
        "http"
    };
    for side in sides(exchange) {
        for (name, value) in &mut side.answer.headers {
            let Some((scheme, rest)) = value.split_once("://").filter(|_| name == "location")
            else {
                continue;
            };
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (own, _) = authority.split_once(':').unwrap_or((authority, ""));
            if own.to_ascii_lowercase() == host && scheme == own_scheme {
                *value = path.to_owned();
            }
        }
    }
}

fn entity_tags(exchange: &mut Exchange) {
    let is_file = |side: &Side| side.received.is_empty() && side.answer.header("etag").is_some();
    if is_file(&exchange.nginx) && is_file(&exchange.geogate) {
        remove(exchange, "etag");
    }
}

/// Media types that Debian's nginx knows. They are read when a test runs, so that the tests can be built
/// without nginx.
static KNOWN_TYPES: LazyLock<String> = LazyLock::new(|| {
    let file = "/etc/nginx/mime.types";
    std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{file}: {error}; it comes with Debian's nginx"))
});

fn media_types(exchange: &mut Exchange) {
    let extension = exchange
        .request
        .path()
        .rsplit('.')
        .next()
        .unwrap_or_default();
    let mut words = KNOWN_TYPES
        .split_ascii_whitespace()
        .map(|word| word.trim_end_matches(';'));
    let is_file = exchange.nginx.received.is_empty() && exchange.nginx.answer.status / 100 == 2;
    if is_file && !words.any(|word| word == extension) {
        remove(exchange, "content-type");
    }
}

fn script_parameters(exchange: &mut Exchange) {
    const OWN: [&str; 7] = [
        "DOCUMENT_URI",
        "HTTP_CONNECTION",
        "HTTP_CONTENT_LENGTH",
        "HTTP_UPGRADE",
        "PATH_TRANSLATED",
        "REMOTE_PORT",
        "SERVER_SOFTWARE",
    ];
    for received in sides(exchange)
        .into_iter()
        .flat_map(|side| &mut side.received)
    {
        received.headers.retain(|(name, value)| {
            !(OWN.contains(&name.as_str()) || name == "PATH_INFO" && value.is_empty())
        });
        for (name, value) in &mut received.headers {
            if name == "PATH_INFO" {
                let bytes: Vec<u8> = value
                    .chars()
                    .map(|byte| u8::try_from(byte).unwrap())
                    .collect();
                let decoded = percent_encoding::percent_decode(&bytes);
                *value = decoded
                    .map(char::from)
                    .collect::<String>()
                    .replace("//", "/");
            }
        }
    }
}

fn spellings(exchange: &mut Exchange) {
    let path = exchange.request.path();
    let mut depth = 0;
    let climbs = path.split('/').skip(1).any(|segment| {
        depth += match segment {
            ".." => -1,
            "." | "" => 0,
            _ => 1,
        };
        depth < 0
    });
    // nginx rejects a path that leads out of the root; here the root is its own parent.
    // A fallback that consists of such a path, as it was sent, is rejected here.
    let is_rejected = |side: &Side| side.answer.status == 400;
    if climbs && is_rejected(&exchange.nginx)
        || path.contains("/.") && is_rejected(&exchange.geogate)
    {
        exchange.geogate = exchange.nginx.clone();
    }
    if !["//", "/./", "/../"]
        .iter()
        .any(|spelling| path.contains(spelling))
    {
        return;
    }
    for received in sides(exchange)
        .into_iter()
        .flat_map(|side| &mut side.received)
    {
        let words: Vec<&str> = received.line.splitn(3, ' ').collect();
        if let [method, target, version] = words[..] {
            let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
            received.line = format!("{method} {}{query} {version}", resolved(path));
        }
    }
}

/// A path without dot segments and empty segments.
fn resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path
        .split('/')
        .filter(|segment| !matches!(*segment, "" | "."))
    {
        match segment {
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

fn forwarded(exchange: &mut Exchange) {
    for name in CLIENT_HEADERS {
        let said = exchange.request.header(name).map(str::to_owned);
        let parameter = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
        let pairs = exchange.nginx.received.iter_mut();
        for (theirs, ours) in pairs.zip(&mut exchange.geogate.received) {
            for name in [name, &parameter] {
                // nginx appends to what a client says.
                let appended = said.as_ref().map(|said| format!("{said}, "));
                for (known, value) in &mut theirs.headers {
                    if let Some(own) = appended
                        .as_ref()
                        .and_then(|said| value.strip_prefix(said.as_str()))
                        && known == name
                    {
                        *value = own.to_owned();
                    }
                }
                if theirs.header(name).map(str::to_owned) == said {
                    theirs.headers.retain(|(known, _)| known != name);
                    ours.headers.retain(|(known, _)| known != name);
                }
            }
        }
    }
}

/// Headers about the client that geogate writes anew.
const CLIENT_HEADERS: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
];

fn remove(exchange: &mut Exchange, name: &str) {
    for side in sides(exchange) {
        side.answer.remove(name);
    }
}

fn sides(exchange: &mut Exchange) -> [&mut Side; 2] {
    [&mut exchange.nginx, &mut exchange.geogate]
}

#[test]
fn each_difference_has_a_name_and_a_reason() {
    let names: std::collections::BTreeSet<_> = INTENDED.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), INTENDED.len());
    assert!(INTENDED.iter().all(|one| one.reason.len() > 20));
}
