//! Scripts behind FastCGI, from clients of either version of HTTP.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::commands::check_configuration;
use crate::harness::fastcgi::{FastCgiServer, end, record, response, stderr, stdout};
use crate::harness::{Chain, Client, Engine, Gateway, Port, until};
use crate::processes::Process;

/// FastCGI behind a client of each version.
const ENGINES: [Engine; 2] = [
    Engine {
        client: "http1",
        upstream: "fastcgi",
    },
    Engine {
        client: "http2",
        upstream: "fastcgi",
    },
];

const HELLO: &str = "Content-Type: text/plain\r\nX-Script: yes\r\n\r\nhello";

/// A gateway before servers, with two scripts, a picture, and more settings.
fn start(engine: Engine, servers: &[&FastCgiServer], upstream: &str, fastcgi: &str) -> Chain {
    start_with(engine, servers, upstream, fastcgi, "")
}

fn start_with(
    engine: Engine,
    servers: &[&FastCgiServer],
    upstream: &str,
    fastcgi: &str,
    more: &str,
) -> Chain {
    let peers = servers.iter().map(|server| format!("'{}'", server.address));
    let peers = peers.collect::<Vec<_>>().join(", ");
    let configuration = format!(
        "[[upstream]]\nname = 'php'\nprotocol = 'fastcgi'\npeers = [{peers}]\n{upstream}\n\
         [[route]]\nupstream = 'php'\n{more}\nfastcgi = {{ root = '{{folder}}', {fastcgi} }}\n"
    );
    engine.start_in(&configuration, prepare)
}

fn prepare(folder: &Path) {
    std::fs::create_dir_all(folder.join("upload")).unwrap();
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    for file in ["index.php", "app.php", "upload/x.jpg", ".git/a.php"] {
        std::fs::write(folder.join(file), "").unwrap();
    }
}

#[test]
fn a_script_gets_the_parameters_of_nginx() {
    // Keys: route.fastcgi.params
    for engine in ENGINES {
        let server = FastCgiServer::fixed(response(HELLO));
        let more = "request_headers = { set = { X-Own = 'of $remote_addr' } }";
        let settings =
            "path_info = true, params = { APP_ENV = 'prod', WHO = '$remote_addr $arg_a' }";
        let chain = start_with(engine, &[&server], "", settings, more);
        let root = chain.file("").display().to_string();
        let root = root.trim_end_matches('/').to_owned();
        let mut client = chain.client();
        let got = client.request(
            "POST",
            "/app.php/a%20b/c?a=1&b=%20",
            "Content-Type: x/y\r\nX-Real-IP: 6.6.6.6\r\nX-Two: a\r\nX-Two: b\r\nCookie: a=1\r\n\
             Cookie: b=2\r\nProxy: http://evil\r\nAuthorization: Basic YTpi\r\n",
            b"a body",
        );
        assert_eq!((got.status, got.text()), (200, "hello"));
        assert_eq!(got.header("x-script"), Some("yes"));
        let request = server.last();
        let protocol = if engine.is_http1() {
            "HTTP/1.1"
        } else {
            "HTTP/2.0"
        };
        let port = chain.address().port().to_string();
        for (name, expected) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_PROTOCOL", protocol),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/app.php/a%20b/c?a=1&b=%20"),
            ("QUERY_STRING", "a=1&b=%20"),
            ("REQUEST_SCHEME", "http"),
            ("DOCUMENT_ROOT", &root),
            ("DOCUMENT_URI", "/app.php/a b/c"),
            ("SCRIPT_NAME", "/app.php"),
            ("SCRIPT_FILENAME", &format!("{root}/app.php")),
            ("PATH_INFO", "/a b/c"),
            ("PATH_TRANSLATED", &format!("{root}/a b/c")),
            ("CONTENT_TYPE", "x/y"),
            ("CONTENT_LENGTH", "6"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("SERVER_PORT", &port),
            ("SERVER_NAME", "test"),
            ("REDIRECT_STATUS", "200"),
            ("APP_ENV", "prod"),
            ("WHO", "127.0.0.1 1"),
            ("HTTP_HOST", "test"),
            // What the gateway knows, not what the client says.
            ("HTTP_X_REAL_IP", "127.0.0.1"),
            ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
            ("HTTP_X_OWN", "of 127.0.0.1"),
            ("HTTP_X_TWO", "a, b"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_AUTHORIZATION", "Basic YTpi"),
        ] {
            assert_eq!(request.param(name), Some(expected), "{name}");
        }
        assert!(
            request
                .param("SERVER_SOFTWARE")
                .unwrap()
                .starts_with("geogate/")
        );
        assert!(request.param("REMOTE_PORT").unwrap().parse::<u16>().is_ok());
        for none in [
            "HTTP_PROXY",
            "HTTPS",
            "HTTP_CONTENT_TYPE",
            "HTTP_CONTENT_LENGTH",
        ] {
            assert_eq!(request.param(none), None, "{none}");
        }
        assert_eq!(request.body, b"a body");
    }
}

/// `X_A` and `X-A` would be one parameter, so a client could forge the gateway's.
#[test]
fn a_header_with_an_underscore_is_none_for_a_script() {
    let server = FastCgiServer::fixed(response(HELLO));
    for engine in ENGINES {
        let chain = start(engine, &[&server], "", "");
        let lines = "X_A: forged\r\nX-A: told\r\nX_B: forged\r\nX_Geo_Country: XX\r\n";
        assert_eq!(chain.client().get("/app.php", lines).status, 200);
        let request = server.last();
        assert_eq!(request.param("HTTP_X_A"), Some("told"));
        assert_eq!(request.param("HTTP_X_B"), None);
        assert_ne!(request.param("HTTP_X_GEO_COUNTRY"), Some("XX"));
    }
}

#[test]
fn only_scripts_that_exist_run() {
    // Keys: route.fastcgi.path_info
    for engine in ENGINES {
        let server = FastCgiServer::fixed(response(HELLO));
        let chain = start(engine, &[&server], "", "path_info = true");
        for path in [
            "/upload/x.jpg",
            "/upload/x.jpg/y.php",
            "/upload/x.jpg%2Fy.php",
            "/upload/x.jpg%00.php",
            "/none.php",
            "/.git/a.php",
            "/app.php5",
            "/upload/",
            "/%2e%2e/app.php.txt",
        ] {
            let status = chain.client().get(path, "").status;
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
        assert_eq!(server.requests().len(), 0);
        let mut client = chain.client();
        for (path, name, info) in [
            ("/", "/index.php", ""),
            ("/app.php", "/app.php", ""),
            ("/upload/../app.php", "/app.php", ""),
            ("/app.php/upload/x.jpg", "/app.php", "/upload/x.jpg"),
        ] {
            assert_eq!(client.get(path, "").status, 200, "{path}");
            let request = server.last();
            assert_eq!(request.param("SCRIPT_NAME"), Some(name));
            assert_eq!(request.param("PATH_INFO"), Some(info));
        }
    }
}

#[test]
fn a_route_says_which_scripts_there_are() {
    // Keys: route.fastcgi, route.fastcgi.root, route.fastcgi.script, route.fastcgi.extensions
    // Keys: route.fastcgi.check_file, route.fastcgi.follow_links, route.fastcgi.index
    for (settings, path, expected) in [
        ("script = '/app.php'", "/anything/at?all", Some("/app.php")),
        ("script = '/none.php'", "/", None),
        ("index = 'app.php'", "/", Some("/app.php")),
        (
            "extensions = '.jpg'",
            "/upload/x.jpg",
            Some("/upload/x.jpg"),
        ),
        ("extensions = '.jpg'", "/app.php", None),
        ("check_file = false", "/none.php", Some("/none.php")),
        ("check_file = false", "/a.txt", None),
        ("path_info = false", "/app.php/a", None),
        ("follow_links = false", "/link.php", None),
        ("follow_links = true", "/link.php", Some("/link.php")),
    ] {
        let server = FastCgiServer::fixed(response(HELLO));
        let chain = start(ENGINES[0], &[&server], "", settings);
        std::os::unix::fs::symlink("/etc/passwd", chain.file("link.php")).unwrap();
        let status = chain.client().get(path, "").status;
        let name = server.requests().pop();
        let name = name
            .as_ref()
            .and_then(|request| request.param("SCRIPT_NAME"));
        assert_eq!(name, expected, "{settings}: {path}");
        assert_eq!(status, if expected.is_some() { 200 } else { 404 });
        if expected.is_none() {
            drop(chain.unreached());
        }
    }
}

#[test]
fn bodies_go_both_ways() {
    // Keys: route.fastcgi.body_buffer
    for engine in ENGINES {
        let server = FastCgiServer::start(|request, stream| {
            let output = [&b"Content-Type: x/y\r\n\r\n"[..], &request.body].concat();
            stream.write_all(&response(output)).is_ok()
        });
        let chain = start(engine, &[&server], "", "body_buffer = '64k'");
        let mut client = chain.client();
        let long: Vec<u8> = (0..1_000_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let got = client.request("POST", "/app.php", "", &long);
        assert!(got.body == long, "{} bytes", got.body.len());
        let request = server.last();
        assert!(request.body == long && request.parts > 1);
        assert_eq!(request.param("CONTENT_LENGTH"), Some("1000000"));
        // Without a body there is no length.
        assert_eq!(client.get("/app.php", "").body, b"");
        assert_eq!(server.last().param("CONTENT_LENGTH"), Some(""));
        // Without a length the body is read first.
        client.begin("POST", "/app.php", "");
        client.send(b"a body ");
        client.send_last(b"in parts");
        assert_eq!(client.response().text(), "a body in parts");
        assert_eq!(server.last().param("CONTENT_LENGTH"), Some("15"));
        let count = server.requests().len();
        let mut client = chain.client();
        client.begin("POST", "/app.php", "");
        client.send(vec![b'x'; 65_537]);
        assert_eq!(client.response().status, 411);
        assert_eq!(server.requests().len(), count);
    }
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let server = FastCgiServer::start(|request, stream| {
        let output = [&b"A: b\n\n"[..], &request.body].concat();
        stream.write_all(&response(output)).is_ok()
    });
    let chain = start(ENGINES[0], &[&server], "", "");
    for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let mut client = chain.http1_client();
        client.send(format!(
            "POST /app.php HTTP/1.1\r\nHost: a\r\n{framing}\r\nExpect: 100-continue\r\n\r\n"
        ));
        assert_eq!(client.response_without_body().status, 100);
        client.send(if framing.contains("chunked") {
            "4\r\nbody\r\n0\r\n\r\n"
        } else {
            "body"
        });
        assert_eq!(client.response().text(), "body");
        assert_eq!(server.last().param("HTTP_EXPECT"), None);
    }
}

#[test]
fn the_head_of_a_script_is_one_of_http() {
    for engine in ENGINES {
        for (output, status, header, body) in [
            ("Status: 404 Gone Fishing\n\nnone", 404, None, "none"),
            ("Location: /a\n\n", 302, Some(("location", "/a")), ""),
            (
                "Status: 301 x\nLocation: http://b/\n\n",
                301,
                Some(("location", "http://b/")),
                "",
            ),
            (
                "Content-Length: 2\r\n\r\nab",
                200,
                Some(("content-length", "2")),
                "ab",
            ),
            // More than was announced is left out.
            (
                "Content-Length: 2\r\n\r\nabcd",
                200,
                Some(("content-length", "2")),
                "ab",
            ),
            ("Status: 204 x\n\nbody", 204, None, ""),
            ("Connection: close\nA: b\n\nx", 200, Some(("a", "b")), "x"),
        ] {
            let server = FastCgiServer::fixed(response(output));
            let chain = start(engine, &[&server], "", "");
            let mut client = chain.client();
            for _ in 0..2 {
                let got = client.get("/app.php", "");
                assert_eq!((got.status, got.text()), (status, body), "{output}");
                if let Some((name, value)) = header {
                    assert_eq!(got.header(name), Some(value));
                }
                assert_eq!(got.header("status"), None);
            }
        }
    }
}

#[test]
fn the_output_for_a_head_request_is_dropped() {
    for engine in ENGINES {
        let server = FastCgiServer::fixed(response(HELLO));
        let chain = start(engine, &[&server], "", "");
        let mut client = chain.client();
        let got = client.request("HEAD", "/app.php", "", b"");
        assert_eq!((got.status, &got.body[..]), (200, &b""[..]));
        assert_eq!(client.get("/app.php", "").text(), "hello");
    }
}

#[test]
fn what_is_no_response_is_a_502_with_its_reason() {
    let huge = format!("A: {}\n", "x".repeat(70_000));
    for engine in ENGINES {
        for (answer, reason) in [
            (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), "upstream_bad_response"),
            (stdout("<html>\n\n"), "upstream_bad_response"),
            (response("Status: 700\n\n"), "upstream_bad_response"),
            (
                response("Transfer-Encoding: chunked\n\n"),
                "upstream_bad_response",
            ),
            (
                response("Content-Length: 1\nContent-Length: 2\n\nab"),
                "upstream_bad_response",
            ),
            (response("A: b\n"), "upstream_bad_response"),
            (stdout(&huge), "upstream_bad_response"),
            (end(1, 0), "upstream_bad_response"),
            (end(0, 3), "upstream_bad_response"),
            (end(0, 2), "upstream_refused"),
            (record(9, b""), "upstream_bad_response"),
            (stdout("A: b"), "upstream_closed"),
            (Vec::new(), "upstream_closed"),
        ] {
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
            let server = FastCgiServer::fixed(answer);
            let log = "[access_log]\nformat = '$status $failure_reason'\n";
            let more = format!("max_fails = 0\ntries = 1\n{log}");
            let chain = start(engine, &[&server], &more, "");
            assert_eq!(chain.client().get("/app.php", "").status, 502, "{shown}");
            let lines = chain.stop();
            assert_eq!(lines, [format!("502 {reason}")], "{shown}");
        }
    }
}

#[test]
fn a_response_that_breaks_off_is_no_whole_one() {
    for engine in ENGINES {
        for answer in [
            [stdout("Content-Length: 10\n\nhalf"), end(0, 0)].concat(),
            stdout("A: b\n\nhalf"),
            [stdout("A: b\n\nhalf"), end(0, 2)].concat(),
            [stdout("A: b\n\nhalf"), b"garbage!".to_vec()].concat(),
        ] {
            let server = FastCgiServer::fixed(answer);
            let chain = start(engine, &[&server], "max_fails = 0", "");
            let mut client = chain.client();
            client.ask("GET", "/app.php", "", b"");
            // As long as the client has nothing of it, there is still an error page.
            match client.head().status {
                200 => drop(client.wait_for_break()),
                status => assert_eq!(status, 502),
            }
        }
    }
}

#[test]
fn a_server_that_only_closes_after_the_end_of_its_output_has_answered() {
    let server = FastCgiServer::fixed([stdout(HELLO), record(6, b"")].concat());
    for engine in ENGINES {
        let chain = start(engine, &[&server], "", "");
        assert_eq!(chain.client().get("/app.php", "").text(), "hello");
    }
}

#[test]
fn connections_are_kept_only_if_told_so() {
    for engine in ENGINES {
        for (settings, connections) in [("", 3), ("keepalive = 0", 3), ("keepalive = 8", 1)] {
            let server = FastCgiServer::start(|request, stream| {
                let output = format!("A: b\n\n{}", request.connection);
                stream.write_all(&response(output)).is_ok()
            });
            let chain = start(engine, &[&server], settings, "");
            let mut client = chain.client();
            let served: Vec<_> = (0..3)
                .map(|_| client.get("/app.php", "").text().to_owned())
                .collect();
            let last = (connections - 1).to_string();
            assert_eq!(served.last(), Some(&last), "{settings}: {served:?}");
            assert_eq!(server.last().keeps, connections == 1);
        }
    }
}

/// Nothing was processed, so any request may go to another server.
#[test]
fn a_server_without_room_is_no_reason_to_fail() {
    for engine in ENGINES {
        let full = FastCgiServer::fixed(end(0, 2));
        let free = FastCgiServer::fixed(response(HELLO));
        let chain = start(engine, &[&full, &free], "", "");
        let mut client = chain.client();
        for _ in 0..4 {
            assert_eq!(
                client.request("POST", "/app.php", "", b"a body").text(),
                "hello"
            );
            assert_eq!(free.last().body, b"a body");
        }
        assert!(!full.requests().is_empty());
    }
}

#[test]
fn a_request_that_may_have_run_is_sent_once() {
    for engine in ENGINES {
        let gone = FastCgiServer::start(|_, _| false);
        let free = FastCgiServer::fixed(response(HELLO));
        let chain = start(engine, &[&gone, &free], "max_fails = 0", "");
        let post = || chain.client().request("POST", "/app.php", "", b"x").status;
        let statuses: Vec<_> = (0..4).map(|_| post()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 2);
        // What may be repeated is.
        for _ in 0..4 {
            assert_eq!(chain.client().get("/app.php", "").status, 200);
        }
    }
}

#[test]
fn what_a_script_complains_of_is_in_the_error_log() {
    let answer = [
        stderr("PHP Warning:  first\nsecond"),
        stdout("A: b\n\n"),
        stderr(&"x".repeat(9000)),
        end(0, 0),
    ];
    let server = FastCgiServer::fixed(answer.concat());
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    prepare(folder.path());
    let configuration = format!(
        "[[upstream]]\nprotocol = 'fastcgi'\npeers = ['{}']\n\
         [[route]]\nupstream = 'default'\nfastcgi = {{ root = '{}' }}\n",
        server.address,
        folder.path().display()
    );
    let mut process = Process::start_with(&configuration, folder.path(), port.address, &[]);
    process.wait_for("listening");
    for _ in 0..15 {
        let mut client = Client::connect(port.address);
        assert_eq!(client.get("/app.php", "").status, 200);
    }
    let line = process.wait_for("script on peer");
    let expected = format!(
        "upstream \"default\": script on peer {}: PHP Warning:  first second",
        server.address
    );
    assert!(line.contains(&expected), "{line}");
    assert!(line.len() < 2500, "{} bytes", line.len());
}

#[test]
fn a_silent_script_times_out() {
    for engine in ENGINES {
        let server = FastCgiServer::start(|_, stream| {
            let _ = stream.read(&mut [0]);
            false
        });
        let settings = "read_timeout = '50ms'\ntries = 1";
        let chain = start(engine, &[&server], settings, "");
        assert_eq!(chain.client().get("/app.php", "").status, 504);
    }
}

#[test]
fn a_client_that_leaves_ends_the_request() {
    for engine in ENGINES {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        let before = ENDED.load(Ordering::SeqCst);
        let server = FastCgiServer::start(|_, stream| {
            // The end of the connection is all that a server is told.
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
            ENDED.fetch_add(1, Ordering::SeqCst);
            false
        });
        let chain = start(engine, &[&server], "", "");
        let mut client = chain.client();
        client.ask("GET", "/app.php", "", b"");
        until(|| !server.requests().is_empty());
        client.leave();
        until(|| ENDED.load(Ordering::SeqCst) > before);
    }
}

#[test]
fn a_slow_client_holds_a_script_back() {
    let server = FastCgiServer::start(|_, stream| {
        let head = stdout("A: b\n\n");
        stream.write_all(&head).unwrap();
        let part = stdout(vec![b'x'; 30_000]);
        for _ in 0..1000 {
            if stream.write_all(&part).is_err() {
                return false;
            }
        }
        stream.write_all(&end(0, 0)).is_ok()
    });
    for engine in ENGINES {
        let chain = start(engine, &[&server], "", "");
        assert_eq!(chain.client().get("/app.php", "").body.len(), 30_000_000);
    }
}

#[test]
fn a_configuration_without_scripts_is_refused() {
    let upstream = "[[upstream]]\nprotocol = 'fastcgi'\npeers = ['127.0.0.1:9000']\n";
    let folder = tempfile::tempdir().unwrap();
    for (more, expected) in [
        ("", "needs a [[route]] with fastcgi"),
        (
            "[[route]]\nupstream = 'default'\n",
            "needs fastcgi = { root = ... }",
        ),
        ("tls = true\n", "means nothing with protocol"),
        (
            "[upstream.health_check]\ntype = 'http'\n",
            "is \"tcp\" with protocol",
        ),
    ] {
        let (status, text) = check_configuration(folder.path(), &format!("{upstream}{more}"));
        assert_eq!(status, Some(1));
        assert!(text.contains(expected), "{text}");
    }
}

/// php-fpm of Debian, which ends with the test. `NEEDS=php-fpm deploy/setup` installs it.
struct Php(Child);

impl Php {
    fn start(folder: &Path) -> Php {
        let programs = std::fs::read_dir("/usr/sbin").unwrap();
        let mut programs = programs.map(|entry| entry.unwrap().path());
        let program = programs.find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("php-fpm")
        });
        let path = folder.display();
        let configuration = format!(
            "[global]\nerror_log = {path}/fpm.log\ndaemonize = no\n\
             [www]\nlisten = {path}/php.sock\npm = static\npm.max_children = 2\n\
             catch_workers_output = no\nphp_admin_flag[log_errors] = on\n"
        );
        let file = folder.join("fpm.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut php = Command::new(program.expect("php-fpm, which deploy/setup installs"));
        php.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"])
            .arg(&file)
            .stderr(Stdio::null());
        let php = Php(php.spawn().unwrap());
        until(|| std::os::unix::net::UnixStream::connect(folder.join("php.sock")).is_ok());
        php
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        // SIGQUIT would wait for requests; the children end with their parent's sockets.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn php_runs_behind_the_gateway() {
    let mut php = None;
    let gateway = Gateway::start_in(
        "[[upstream]]\nname = 'php'\nprotocol = 'fastcgi'\npeers = ['unix:{folder}/php.sock']\n\
         [[route]]\nupstream = 'php'\nfastcgi = { root = '{folder}/www', path_info = true }\n",
        |folder| {
            let www = folder.join("www");
            std::fs::create_dir(&www).unwrap();
            std::fs::write(www.join("picture.jpg"), "<?php echo 'run';").unwrap();
            let index = "<?php\n\
                if (isset($_GET['fail'])) { throw new Exception('a fault of the script'); }\n\
                if (isset($_GET['go'])) { header('Location: /elsewhere'); exit; }\n\
                http_response_code(201);\n\
                header('X-Info: ' . ($_SERVER['PATH_INFO'] ?? ''));\n\
                echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REMOTE_ADDR'], ' ',\n\
                    $_POST['a'] ?? '-', ' ', strlen(file_get_contents('php://input')), ' ',\n\
                    $_SERVER['HTTP_X_REAL_IP'];\n";
            std::fs::write(www.join("index.php"), index).unwrap();
            php = Some(Php::start(folder));
        },
    );
    let mut client = gateway.client();
    let got = client.get("/index.php/a/b", "X-Real-IP: 6.6.6.6\r\n");
    assert_eq!(
        (got.status, got.text()),
        (201, "GET 127.0.0.1 - 0 127.0.0.1")
    );
    assert_eq!(got.header("x-info"), Some("/a/b"));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let got = client.request("POST", "/", form, b"a=word");
    assert_eq!(got.text(), "POST 127.0.0.1 word 6 127.0.0.1");
    let got = client.get("/?go", "");
    assert_eq!(
        (got.status, got.header("location")),
        (302, Some("/elsewhere"))
    );
    assert_eq!(client.get("/?fail", "").status, 500);
    assert_eq!(client.get("/picture.jpg/x.php", "").status, 404);
    let long = vec![b'x'; 3_000_000];
    let got = client.request("PUT", "/", "", &long);
    assert!(got.text().contains(" 3000000 "), "{}", got.text());
    // A process of php-fpm serves one connection, and the gateway holds none.
    let mut others: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for other in &mut others {
        assert_eq!(other.get("/", "").status, 201);
    }
}
