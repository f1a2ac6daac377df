//! Files of a folder, as clients get them.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Chain, ENGINES, Engine, LOCAL_ENGINES, Origin, Response};

/// A gateway whose files are in `www` of its folder.
fn gateway(engine: Engine, settings: &str, more: &str) -> Chain {
    let configuration = format!(
        "{more}\n[[route]]\nprefix = '/'\nfiles = {{ root = '{{folder}}/www'{settings} }}\n"
    );
    engine.start_in(&configuration, prepare)
}

fn prepare(folder: &Path) {
    let root = folder.join("www");
    std::fs::create_dir_all(root.join("docs/no index")).unwrap();
    for (name, text) in [
        ("secret", "secret"),
        ("www/index.html", "<p>index</p>"),
        ("www/page.html", "<p>page</p>"),
        ("www/docs/index.html", "<p>docs</p>"),
        ("www/.env", "hidden"),
        ("www/empty.txt", ""),
        ("www/a b+c%.txt", "odd name"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    std::fs::write(root.join("large.bin"), large()).unwrap();
    symlink("../secret", root.join("link")).unwrap();
}

/// More than several pieces of a file, and no whole number of them.
fn large() -> Vec<u8> {
    (0..300_007_u32).map(|byte| (byte % 251) as u8).collect()
}

#[test]
fn a_file_is_served_with_what_a_cache_needs() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, "", "");
        let mut client = gateway.client();
        let page = client.get("/page.html?x=1", "");
        assert_eq!((page.status, page.text()), (200, "<p>page</p>"));
        assert_eq!(page.header("content-type"), Some("text/html"));
        assert_eq!(page.header("accept-ranges"), Some("bytes"));
        let (tag, modified) = (page.header("etag"), page.header("last-modified"));
        let (tag, modified) = (tag.unwrap().to_owned(), modified.unwrap().to_owned());
        for condition in [
            format!("If-None-Match: {tag}\r\n"),
            format!("If-Modified-Since: {modified}\r\n"),
        ] {
            let unchanged = client.get("/page.html", &condition);
            assert_eq!(unchanged.status, 304);
            assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
            assert_eq!(unchanged.header("content-length"), None);
        }
        std::fs::write(gateway.file("www/page.html"), "<p>another</p>").unwrap();
        let changed = client.get("/page.html", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((changed.status, changed.text()), (200, "<p>another</p>"));
        let failed = client.get("/page.html", &format!("If-Match: {tag}\r\n"));
        assert_eq!(failed.status, 412);
        let version = if engine.is_http1() {
            "HTTP/1.1"
        } else {
            "HTTP/2.0"
        };
        let log = gateway.stop();
        assert!(
            log[0].contains(&format!("\"GET /page.html?x=1 {version}\" 200 11 ")),
            "{log:?}"
        );
    }
}

#[test]
fn large_files_come_whole_and_in_parts() {
    let large = large();
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, "", "");
        let mut client = gateway.client();
        assert!(client.get("/large.bin", "").body == large);
        for (range, part) in [
            ("0-0", 0..1),
            ("65535-65536", 65_535..65_537),
            ("100000-299999", 100_000..300_000),
            ("300000-", 300_000..300_007),
            ("-7", 300_000..300_007),
            ("-999999", 0..300_007),
            ("200000-999999", 200_000..300_007),
        ] {
            let response = client.get("/large.bin", &format!("Range: bytes={range}\r\n"));
            assert_eq!(response.status, 206, "{range}");
            let (first, last) = (part.start, part.end - 1);
            let expected = format!("bytes {first}-{last}/300007");
            assert_eq!(response.header("content-range"), Some(expected.as_str()));
            assert!(response.body == large[part], "{range}");
        }
        let none = client.get("/large.bin", "Range: bytes=300007-\r\n");
        assert_eq!(none.status, 416);
        assert_eq!(none.header("content-range"), Some("bytes */300007"));
        let stale = "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n";
        assert_eq!(client.get("/large.bin", stale).status, 200);
    }
}

#[test]
fn a_folder_has_an_index_and_a_slash() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, "", "");
        let mut client = gateway.client();
        assert_eq!(client.get("/", "").text(), "<p>index</p>");
        assert_eq!(client.get("/docs/", "").text(), "<p>docs</p>");
        for (target, location) in [
            ("/docs?x=1", "/docs/?x=1"),
            ("/docs/no%20index", "/docs/no%20index/"),
            // Not the host "docs".
            ("//docs", "/docs/"),
        ] {
            let response = client.get(target, "");
            assert_eq!(response.status, 301, "{target}");
            assert_eq!(response.header("location"), Some(location));
        }
        assert_eq!(client.get("/docs/no%20index/", "").status, 403);
    }
}

#[test]
fn nothing_outside_of_the_folder_is_served() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, "", "");
        let mut client = gateway.client();
        for target in [
            "/../secret",
            "/%2e%2e/secret",
            "/docs/..%2f..%2fsecret",
            "/%2e%2e%2fsecret",
            "/.env",
            "/%2eenv",
            "/page.html/",
            "/none",
            "/none/",
        ] {
            assert_eq!(client.get(target, "").status, 404, "{target}");
        }
        for target in ["/page.html%00", "/page.html%00.txt"] {
            assert_eq!(gateway.client().get(target, "").status, 400, "{target}");
        }
        assert_eq!(client.get("/link", "").status, 403);
        assert_eq!(client.get("/a%20b+c%25.txt", "").text(), "odd name");
    }
}

// Keys: route.files.follow_links, route.files.hidden
#[test]
fn what_is_refused_by_default_can_be_allowed() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, ", follow_links = true, hidden = true", "");
        let mut client = gateway.client();
        assert_eq!(client.get("/link", "").text(), "secret");
        assert_eq!(client.get("/.env", "").text(), "hidden");
        assert_eq!(client.get("/../secret", "").status, 404);
    }
}

#[test]
fn head_has_no_body_and_other_methods_are_refused() {
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, "", "");
        let mut client = gateway.client();
        let head = client.request("HEAD", "/large.bin", "", b"");
        assert_eq!(head.header("content-length"), Some("300007"));
        let head = client.request("HEAD", "/large.bin", "Range: bytes=0-1\r\n", b"");
        assert_eq!(head.status, 200);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let refused = client.request(method, "/page.html", "", b"body");
            assert_eq!(refused.status, 405);
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        }
        let empty = client.get("/empty.txt", "");
        assert_eq!((empty.status, empty.text()), (200, ""));
        assert_eq!(client.get("/empty.txt", "Range: bytes=0-\r\n").status, 416);
        assert_eq!(client.get("/page.html", "").text(), "<p>page</p>");
    }
}

// Keys: route.files.index, route.files.types, route.files.fallback, route.files.default_type
#[test]
fn the_user_names_index_types_and_fallback() {
    let settings = ", index = ['none.html', 'page.html'], fallback = '/index.html', \
                    types = { bin = 'x/bin' }, default_type = 'x/any'";
    for engine in LOCAL_ENGINES {
        let gateway = gateway(engine, settings, "");
        let mut client = gateway.client();
        assert_eq!(client.get("/", "").text(), "<p>page</p>");
        assert_eq!(client.get("/app/page/7", "").text(), "<p>index</p>");
        let large = client.get("/large.bin", "");
        assert_eq!(large.header("content-type"), Some("x/bin"));
        std::fs::write(gateway.file("www/README"), "read me").unwrap();
        let other = client.get("/README", "");
        assert_eq!(other.header("content-type"), Some("x/any"));
    }
}

#[test]
fn what_is_no_file_has_another_route() {
    // Keys: route.internal, route.files.try, route.reroute
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.start_in(
            &format!(
                "[[upstream]]\nname = 'php'\npeers = ['{}']\n\
                 [[route]]\nprefix = '/'\npriority = 'below_regex'\nfiles = {{ \
                 root = '{{folder}}/www', index = ['index.php', 'index.html'], \
                 try = ['$uri', '$uri.html', '$uri/'], fallback = {{ route = 'app' }} }}\n\
                 [[route]]\nregex = '[.]php$'\nupstream = 'php'\n\
                 [[route]]\nname = 'app'\ninternal = true\nupstream = 'php'\n\
                 response_headers = {{ set = {{ X-Route = '$route $uri' }} }}\n\
                 [[route]]\npath = '/page.html'\nfiles = {{ root = '{{folder}}/www' }}\n\
                 response_headers = {{ set = {{ Cache-Control = 'no-store' }} }}\n\
                 [[route]]\npath = '/secret.html'\ninternal = true\nfiles = {{ root = '{{folder}}/www' }}\n\
                 [[route]]\nregex = '^/old/(.*)$'\nreroute = '/new.php?p=$1&$args'\n\
                 [[route]]\npath = '/round'\nreroute = '/round'\n",
                origin.address
            ),
            |folder| {
                prepare(folder);
                std::fs::write(folder.join("www/docs/index.php"), "<?php").unwrap();
                std::fs::write(folder.join("www/secret.html"), "secret").unwrap();
            },
        );
        let mut client = gateway.client();
        // The index is requested anew, and never sent as a file.
        assert_eq!(client.get("/docs/?a=1", "").status, 200);
        assert_eq!(origin.last().target(), "GET /docs/index.php?a=1");
        assert_eq!(client.request("POST", "/docs/", "", b"form").text(), "form");
        assert_eq!(origin.last().target(), "POST /docs/index.php");
        // What is tried is served by the route itself, an index by the one that is specific for it.
        let page = client.get("/page", "");
        assert_eq!(
            (page.text(), page.header("cache-control")),
            ("<p>page</p>", None)
        );
        let page = client.get("/page.html", "");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(client.get("/", "").text(), "<p>index</p>");
        // The fallback has the path and the body of the client.
        let sent = client.request("PUT", "/app/%20x?q", "", b"body");
        assert_eq!(
            (sent.text(), sent.header("x-route")),
            ("body", Some("app /app/ x"))
        );
        assert_eq!(origin.last().target(), "PUT /app/%20x?q");
        assert_eq!(client.get("/secret.html", "").status, 404);
        for (sent, expected) in [
            ("/old/a b", "GET /new.php?p=a%20b"),
            ("/old/a?x=1", "GET /new.php?p=a&x=1"),
        ] {
            assert_eq!(client.get(&sent.replace(' ', "%20"), "").status, 200);
            assert_eq!(origin.last().target(), expected);
        }
        let asked = origin.requests().len();
        assert_eq!(client.get("/round", "").status, 404);
        assert_eq!(origin.requests().len(), asked);
    }
}

#[test]
fn internal_redirects_end() {
    for engine in LOCAL_ENGINES {
        let gateway = engine.start(
            "[[route]]\npath = '/a'\nreroute = '/b'\n[[route]]\npath = '/b'\nreroute = '/a'\n\
             [[access]]\nname = 'nobody'\nrules = []\ndefault = 'deny'\n\
             [[route]]\npath = '/c'\nreroute = '/closed'\n\
             [[route]]\npath = '/closed'\naccess = 'nobody'\nrespond = { body = 'open' }\n",
        );
        let mut client = gateway.client();
        assert_eq!(client.get("/a", "").status, 500);
        assert_eq!(client.get("/c", "").status, 403);
        assert_eq!(client.get("/b", "").status, 500);
    }
}

#[test]
fn files_are_compressed_and_their_parts_are_not() {
    let text = "a line that comes again\n".repeat(10_000);
    for engine in LOCAL_ENGINES {
        let compress = "[compression]\nenabled = true\nmin_size = 1\n";
        let gateway = gateway(engine, "", compress);
        let mut client = gateway.client();
        std::fs::write(gateway.file("www/long.txt"), &text).unwrap();
        let accept = "Accept-Encoding: gzip\r\n";
        let response = client.get("/long.txt", accept);
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let mut body = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&response.body[..]);
        decoder.read_to_string(&mut body).unwrap();
        assert_eq!(body, text);
        let tag = response.header("etag").unwrap();
        assert!(tag.starts_with("W/"));
        let unchanged = client.get("/long.txt", &format!("If-None-Match: {tag}\r\n{accept}"));
        assert_eq!(
            (unchanged.status, unchanged.header("etag")),
            (304, Some(tag))
        );
        assert_eq!(unchanged.header("vary"), Some("Accept-Encoding"));
        let part = client.get("/long.txt", &format!("Range: bytes=0-5\r\n{accept}"));
        assert_eq!((part.status, part.text()), (206, "a line"));
        assert_eq!(part.header("vary"), Some("Accept-Encoding"));
        assert_eq!(part.header("content-encoding"), None);
    }
}

/// The folder may be a link to a release, which is replaced by a link to the next.
#[test]
fn a_new_release_is_served_at_once() {
    let configuration = "[[route]]\nprefix = '/'\nfiles = { root = '{folder}/current' }\n";
    for engine in LOCAL_ENGINES {
        let gateway = engine.start_in(configuration, |folder| {
            for release in ["one", "two"] {
                std::fs::create_dir(folder.join(release)).unwrap();
                std::fs::write(folder.join(release).join("index.html"), release).unwrap();
            }
            symlink("one", folder.join("current")).unwrap();
        });
        let mut client = gateway.client();
        assert_eq!(client.get("/", "").text(), "one");
        let (next, current) = (gateway.file("next"), gateway.file("current"));
        symlink("two", &next).unwrap();
        std::fs::rename(next, current).unwrap();
        assert_eq!(client.get("/", "").text(), "two");
    }
}

#[test]
fn a_route_of_files_stands_beside_one_to_an_upstream() {
    for engine in ENGINES {
        let origin = Origin::start();
        let configuration = format!(
            "[[upstream]]\nname = 'app'\npeers = ['{}']\n\
             [[route]]\nprefix = '/static'\nrewrite = '/'\nfiles = {{ root = '{{folder}}/www' }}\n\
             [[route]]\nprefix = '/'\nupstream = 'app'\n",
            origin.address
        );
        let gateway = engine.start_in(&configuration, prepare);
        let mut client = gateway.client();
        assert_eq!(client.get("/static/page.html", "").text(), "<p>page</p>");
        assert_eq!(client.get("/static/", "").text(), "<p>index</p>");
        let root = client.get("/static?x=1", "");
        assert_eq!(root.header("location"), Some("/static/?x=1"));
        let folder = client.get("/static/docs", "");
        assert_eq!(folder.header("location"), Some("/static/docs/"));
        assert_eq!(client.get("/page.html", "").header("x-origin"), Some("yes"));
    }
}

/// Parts of a response of type `multipart/byteranges`: the lines of their heads, and their content.
fn parts(response: &Response) -> Vec<(String, Vec<u8>)> {
    let kind = response.header("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let find = |text: &[u8], what: &str| {
        let at = text
            .windows(what.len())
            .position(|part| part == what.as_bytes());
        at.map(|at| (text[..at].to_vec(), text[at + what.len()..].to_vec()))
    };
    let (before, mut rest) = find(&response.body, &delimiter).unwrap();
    assert!(before.is_empty());
    let mut parts = Vec::new();
    while rest != b"--\r\n" {
        let (part, after) = find(&rest, &delimiter).unwrap();
        let (head, content) = find(&part, "\r\n\r\n").unwrap();
        parts.push((String::from_utf8(head).unwrap(), content));
        rest = after;
    }
    parts
}

#[test]
fn several_ranges_come_in_parts() {
    let large = large();
    for engine in LOCAL_ENGINES {
        let chain = gateway(engine, "", "");
        let mut client = chain.client();
        // The second one is longer than a piece of the file, and the third one is outside of it.
        let lines = "Range: bytes=0-1,100000-299999,400000-,-7\r\n";
        let response = client.get("/large.bin", lines);
        assert_eq!(response.status, 206);
        assert_eq!(response.header("content-range"), None);
        let expected = [(0, 1), (100_000, 299_999), (300_000, 300_006)];
        let expected: Vec<_> = expected
            .iter()
            .map(|(first, last)| {
                let head = format!(
                    "\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/300007"
                );
                (head, large[*first..=*last].to_vec())
            })
            .collect();
        assert!(parts(&response) == expected);
        let small = client.get("/page.html", "Range: bytes=0-1,-2\r\n");
        let contents: Vec<_> = parts(&small)
            .into_iter()
            .map(|(_, content)| content)
            .collect();
        assert_eq!(contents, [b"<p", b"p>"]);
        let one = client.get("/page.html", "Range: bytes=0-1,99-\r\n");
        assert_eq!(one.header("content-range"), Some("bytes 0-1/11"));
        // Together longer than the file.
        let whole = client.get("/page.html", "Range: bytes=0-9,1-10\r\n");
        assert_eq!((whole.status, whole.text()), (200, "<p>page</p>"));
        let none = client.get("/page.html", "Range: bytes=11-,12-13\r\n");
        assert_eq!(none.status, 416);
        let chain = gateway(engine, ", max_ranges = 2", "");
        let mut client = chain.client();
        let statuses = ["0-0", "0-0,2-2", "0-0,2-2,4-4"].map(|range| {
            client
                .get("/page.html", &format!("Range: bytes={range}\r\n"))
                .status
        });
        assert_eq!(statuses, [206, 206, 200]);
        let chain = gateway(engine, ", max_ranges = 0", "");
        let whole = chain.client().get("/page.html", "Range: bytes=0-0\r\n");
        assert_eq!((whole.status, whole.header("accept-ranges")), (200, None));
    }
}

#[test]
fn a_coding_beside_a_file_is_sent_to_who_accepts_it() {
    for engine in LOCAL_ENGINES {
        let configuration = "[[route]]\nprefix = '/'\n\
             files = { root = '{folder}/www', precompressed = ['brotli', 'gzip'] }\n\
             [[route]]\nprefix = '/plain'\nrewrite = '/'\nfiles = { root = '{folder}/www' }\n";
        let gateway = engine.start_in(configuration, |folder| {
            prepare(folder);
            for name in [
                "page.html.br",
                "page.html.gz",
                "page.html.zst",
                "only.js.gz",
            ] {
                std::fs::write(folder.join("www").join(name), name).unwrap();
            }
        });
        let mut client = gateway.client();
        let mut tags = Vec::new();
        for (accepted, content, coding) in [
            ("", "<p>page</p>", None),
            ("Accept-Encoding: zstd\r\n", "<p>page</p>", None),
            (
                "Accept-Encoding: gzip;q=0, identity\r\n",
                "<p>page</p>",
                None,
            ),
            ("Accept-Encoding: gzip\r\n", "page.html.gz", Some("gzip")),
            ("Accept-Encoding: gzip, br\r\n", "page.html.br", Some("br")),
            (
                "Accept-Encoding: gzip, br;q=0.5\r\n",
                "page.html.gz",
                Some("gzip"),
            ),
        ] {
            let page = client.get("/page.html", accepted);
            assert_eq!((page.status, page.text()), (200, content), "{accepted}");
            assert_eq!(page.header("content-encoding"), coding);
            assert_eq!(page.header("content-type"), Some("text/html"));
            assert_eq!(page.header("vary"), Some("Accept-Encoding"));
            let tag = page.header("etag").unwrap().to_owned();
            let same = client.get("/page.html", &format!("{accepted}If-None-Match: {tag}\r\n"));
            assert_eq!(same.status, 304);
            assert_eq!(same.header("vary"), Some("Accept-Encoding"));
            tags.push(tag);
        }
        assert!(tags[0] == tags[1] && tags[3] == tags[5]);
        assert!(tags[0] != tags[3] && tags[3] != tags[4]);
        let part = "Accept-Encoding: gzip\r\nRange: bytes=-3\r\n";
        let part = client.get("/page.html", part);
        assert_eq!((part.status, part.text()), (206, ".gz"));
        assert_eq!(part.header("content-encoding"), Some("gzip"));
        // The file that a coding is of is not there, or has no coding, or is requested elsewhere.
        let gzip = "Accept-Encoding: gzip\r\n";
        assert_eq!(client.get("/only.js", gzip).status, 404);
        let other = client.get("/docs/", gzip);
        assert_eq!((other.text(), other.header("vary")), ("<p>docs</p>", None));
        let plain = client.get("/plain/page.html", gzip);
        assert_eq!((plain.text(), plain.header("vary")), ("<p>page</p>", None));
        // Now the coding of an index, and one that is older than its file.
        std::fs::write(gateway.file("www/docs/index.html.gz"), "docs.gz").unwrap();
        assert_eq!(client.get("/docs/", gzip).text(), "docs.gz");
        let old = std::fs::File::options();
        let old = old
            .clone()
            .write(true)
            .open(gateway.file("www/page.html.gz"));
        old.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(client.get("/page.html", gzip).text(), "<p>page</p>");
    }
}

#[test]
fn a_folder_is_listed_where_it_may_be() {
    for engine in LOCAL_ENGINES {
        let configuration = "[[route]]\nprefix = '/'\nfiles = { root = '{folder}/www', listing = 'html' }\n\
             [[route]]\nprefix = '/json'\nrewrite = '/'\nfiles = { root = '{folder}/www', listing = 'json' }\n\
             [[route]]\nprefix = '/off'\nrewrite = '/'\nfiles = { root = '{folder}/www', listing = 'off' }\n";
        let gateway = engine.start_in(configuration, |folder| {
            prepare(folder);
            std::fs::remove_file(folder.join("www/index.html")).unwrap();
            std::fs::write(folder.join("www/<a>"), "").unwrap();
        });
        let mut client = gateway.client();
        let list = client.get("/", "");
        assert_eq!(list.status, 200);
        assert_eq!(
            list.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let links: Vec<_> = list.text().split("<a href=\"").skip(1).collect();
        let links: Vec<_> = links
            .iter()
            .map(|link| link.split("</a>").next().unwrap())
            .collect();
        // Neither the hidden file nor the link out of the folder.
        let expected = [
            "../\">../",
            "docs/\">docs/",
            "%3Ca%3E\">&lt;a&gt;",
            "a%20b%2Bc%25.txt\">a b+c%.txt",
            "empty.txt\">empty.txt",
            "large.bin\">large.bin",
            "page.html\">page.html",
        ];
        assert_eq!(links, expected);
        assert_eq!(client.get("/docs/", "").text(), "<p>docs</p>");
        assert_eq!(client.get("/docs/no%20index", "").status, 301);
        let empty = client.get("/docs/no%20index/", "");
        assert!(empty.text().contains("<h1>Index of /docs/no index/</h1>"));
        assert_eq!(client.request("POST", "/", "", b"x").status, 405);
        let list = client.get("/json/", "");
        assert_eq!(list.header("content-type"), Some("application/json"));
        let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
        assert_eq!(list[0]["name"], "docs");
        assert_eq!(list[0]["type"], "directory");
        assert_eq!(
            (&list[4]["name"], &list[4]["size"]),
            (&"large.bin".into(), &300_007.into())
        );
        assert_eq!(list.as_array().unwrap().len(), 6);
        assert_eq!(client.get("/off/", "").status, 403);
    }
}

#[test]
fn own_types_may_be_all() {
    for engine in LOCAL_ENGINES {
        let settings = ", types = { bin = 'application/x-bin' }, default_type = 'text/x-any'";
        let kinds = |settings: &str| {
            let gateway = gateway(engine, settings, "");
            let mut client = gateway.client();
            ["/page.html", "/large.bin", "/empty.txt"].map(|path| {
                let page = client.get(path, "");
                page.header("content-type").unwrap().to_owned()
            })
        };
        assert_eq!(
            kinds(settings),
            ["text/html", "application/x-bin", "text/plain"]
        );
        let all = format!("{settings}, known_types = false");
        assert_eq!(
            kinds(&all),
            ["text/x-any", "application/x-bin", "text/x-any"]
        );
    }
}
