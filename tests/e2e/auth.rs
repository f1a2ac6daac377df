//! Routes that ask for a password.

use std::path::Path;

use crate::harness::{ENGINES, Engine, EngineClient, LOCAL_ENGINES, Origin};

/// Credentials of `Authorization: Basic`: `joe:secret`, `joe:wrong`, `ann:secret`.
const JOE: &str = "Authorization: Basic am9lOnNlY3JldA==\r\n";
const WRONG: &str = "Authorization: Basic am9lOndyb25n\r\n";
const ANN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";

/// Hashes of `secret`.
const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

const TRUSTING: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";

fn statuses<'l>(client: &mut EngineClient, path: &str, lines: &[&'l str]) -> Vec<(&'l str, u16)> {
    let ask = |line: &&'l str| (*line, client.get(path, line).status);
    lines.iter().map(ask).collect()
}

#[test]
fn a_password_is_asked_for_and_checked() {
    for engine in ENGINES {
        let origin = Origin::start();
        let users = format!(
            "[[auth]]\nname = 'staff'\nrealm = 'the \"staff\"'\nusers = {{ joe = '{BCRYPT}', bob = '{SHA}' }}\n\
             [[route]]\nprefix = '/private'\nupstream = 'default'\nauth = 'staff'\n\
             [[route]]\nupstream = 'default'\n"
        );
        let gateway = engine.with_peers(&[origin.address], "", &users);
        // One connection for all: a refusal does not end it.
        let mut client = gateway.client();
        let asked = client.get("/private/x", "");
        assert_eq!(asked.status, 401);
        assert_eq!(
            asked.header("www-authenticate"),
            Some("Basic realm=\"the \\\"staff\\\"\"")
        );
        assert!(
            asked.text().contains("401 Unauthorized"),
            "{}",
            asked.text()
        );
        let lines = [
            (WRONG, 401),
            (ANN, 401),
            (JOE, 200),
            (WRONG, 401),
            ("Authorization: Basic am9l\r\n", 401),
            ("Authorization: Bearer am9lOnNlY3JldA==\r\n", 401),
            (&format!("{JOE}{JOE}"), 401),
            (JOE, 200),
        ];
        let found = statuses(&mut client, "/private/x", &lines.map(|(line, _)| line));
        assert_eq!(found, lines);
        assert_eq!(client.get("/open", "").status, 200);
        let post = client.request("POST", "/private/x", WRONG, b"some body");
        assert_eq!(post.status, 401);
        let post = client.request("POST", "/private/x", JOE, b"some body");
        assert_eq!(post.status, 200);
        let reached = origin.requests();
        assert_eq!(reached.len(), 4);
        let passed = JOE.trim_end().split_once(": ").map(|(_, value)| value);
        assert_eq!(reached[0].values("authorization"), [passed.unwrap()]);
        let metrics = gateway.metrics();
        let counted = "geogate_auth_refused_total{auth=\"staff\"} 8\n";
        assert!(metrics.contains(counted), "{metrics}");
        let log = gateway.stop();
        let refused = log.iter().filter(|line| line.contains(" 401 "));
        let refused: Vec<_> = refused.collect();
        assert_eq!(refused.len(), 8, "{log:#?}");
        assert!(refused[1].contains(" joe ") && refused[1].ends_with("unauthenticated"));
    }
}

#[test]
fn users_are_read_again_at_a_reload() {
    for engine in LOCAL_ENGINES {
        let route = "[[auth]]\nname = 'staff'\nusers_file = '{folder}/users'\n\
                     [[route]]\nauth = ['staff']\nrespond = { body = 'inside' }\n";
        let write = |folder: &Path, text: &str| std::fs::write(folder.join("users"), text).unwrap();
        let gateway = engine.start_in(route, |folder| write(folder, &format!("joe:{SHA}\n")));
        let file = gateway.file("users");
        let folder = file.parent().unwrap();
        let mut client = gateway.client();
        let both = [JOE, ANN];
        assert_eq!(statuses(&mut client, "/", &both), [(JOE, 200), (ANN, 401)]);
        write(folder, "joe:rl.3StKT.4T8M\n");
        let (status, text) = gateway.reload(|text| text);
        assert_eq!(status, 422, "{text}");
        assert!(text.contains("users: line 1: the password of"), "{text}");
        assert_eq!(statuses(&mut client, "/", &both), [(JOE, 200), (ANN, 401)]);
        std::fs::remove_file(&file).unwrap();
        let (status, text) = gateway.reload(|text| text);
        assert_eq!(status, 422, "{text}");
        assert!(text.contains("users: does not exist any more"), "{text}");
        assert_eq!(statuses(&mut client, "/", &both), [(JOE, 200), (ANN, 401)]);
        write(folder, &format!("# no joe\nann:{SHA}\n"));
        let (status, text) = gateway.reload(|text| text);
        assert_eq!(status, 200, "{text}");
        assert_eq!(statuses(&mut client, "/", &both), [(JOE, 401), (ANN, 200)]);
    }
}

/// Statuses of a client inside and outside of 10.0.0.0/8, with the password and without.
fn four(engine: Engine, route: &str) -> [u16; 4] {
    let configuration = format!(
        "{TRUSTING}[[access]]\nname = 'inside'\ndefault = 'deny'\nrules = [{{ allow = '10.0.0.0/8' }}]\n\
         [[auth]]\nname = 'a'\nusers = {{ joe = '{SHA}' }}\n\
         [[auth]]\nname = 'b'\nusers = {{ ann = '{SHA}' }}\n\
         [[route]]\nrespond = {{ status = 200 }}\n{route}\n"
    );
    let gateway = engine.start(&configuration);
    let mut client = gateway.client();
    let from = ["10.0.0.1", "11.0.0.1"].map(|ip| format!("X-Forwarded-For: {ip}\r\n"));
    let lines = [
        format!("{}{JOE}", from[0]),
        from[0].clone(),
        format!("{}{JOE}", from[1]),
        from[1].clone(),
    ];
    lines.map(|lines| client.get("/", &lines).status)
}

#[test]
fn addresses_and_passwords_are_alternatives_or_both() {
    for engine in LOCAL_ENGINES {
        let check = |route: &str, expected: [u16; 4]| {
            assert_eq!(four(engine, route), expected, "{route}");
        };
        check("auth = 'a'\naccess = 'inside'", [200, 401, 403, 403]);
        check(
            "auth = 'a'\naccess = 'inside'\nsatisfy = 'all'",
            [200, 401, 403, 403],
        );
        check(
            "auth = 'a'\naccess = 'inside'\nsatisfy = 'any'",
            [200, 200, 200, 401],
        );
        // No rule allows anything where there is none.
        check("auth = 'a'\nsatisfy = 'any'", [200, 401, 200, 401]);
        // Of two sets of users, both or one.
        check("auth = ['a', 'b']", [401; 4]);
        check("auth = ['b', 'a']\nsatisfy = 'any'", [200, 401, 200, 401]);
    }
}

#[test]
fn an_internal_redirect_asks_for_the_password_of_its_route() {
    for engine in LOCAL_ENGINES {
        let routes = format!(
            "[[auth]]\nname = 'staff'\nusers = {{ joe = '{BCRYPT}' }}\n\
             [[route]]\nprefix = '/'\nfiles = {{ root = '{{folder}}/www' }}\n\
             [[route]]\npath = '/index.html'\nauth = 'staff'\nfiles = {{ root = '{{folder}}/www' }}\n"
        );
        let gateway = engine.start_in(&routes, |folder| {
            std::fs::create_dir(folder.join("www")).unwrap();
            std::fs::write(folder.join("www/index.html"), "inside").unwrap();
        });
        let mut client = gateway.client();
        assert_eq!(client.get("/", "").status, 401);
        assert_eq!(client.get("/", WRONG).status, 401);
        let page = client.get("/", JOE);
        assert_eq!((page.status, page.text()), (200, "inside"));
    }
}

#[test]
fn a_rate_counts_guesses_before_they_are_checked() {
    for engine in LOCAL_ENGINES {
        let configuration = format!(
            "[[rate_limit]]\nname = 'guesses'\nrate = '3/h'\n\
             [[auth]]\nname = 'staff'\nusers = {{ joe = '{BCRYPT}' }}\n\
             [[route]]\nauth = 'staff'\nrate_limit = 'guesses'\nrespond = {{ status = 200 }}\n"
        );
        let gateway = engine.start(&configuration);
        let found = statuses(&mut gateway.client(), "/", &[WRONG, WRONG, JOE, JOE, WRONG]);
        let found: Vec<_> = found.into_iter().map(|(_, status)| status).collect();
        assert_eq!(found, [401, 401, 200, 429, 429]);
    }
}

#[test]
fn without_the_file_of_users_nobody_is_accepted() {
    for engine in LOCAL_ENGINES {
        let route = "[[auth]]\nname = 'staff'\nusers_file = '{folder}/users'\n\
                     [[route]]\npath = '/in'\nauth = 'staff'\nrespond = { body = 'inside' }\n\
                     [[route]]\nrespond = { body = 'open' }\n";
        let gateway = engine.start(route);
        let mut client = gateway.client();
        assert_eq!(client.get("/", "").status, 200);
        let both = ["", JOE];
        assert_eq!(statuses(&mut client, "/in", &both), [("", 401), (JOE, 403)]);
        std::fs::write(gateway.file("users"), format!("joe:{SHA}\n")).unwrap();
        let (status, text) = gateway.reload(|text| text);
        assert_eq!(status, 200, "{text}");
        assert_eq!(statuses(&mut client, "/in", &both), [("", 401), (JOE, 200)]);
    }
}
