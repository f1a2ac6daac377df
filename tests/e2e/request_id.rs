//! Ids of requests: whose are believed, and who is told.

use crate::harness::{ENGINES, Gateway, HTTP1_CLIENT_ENGINES, Origin, Port, QUERY_FORMS};

const TRUST_LOOPBACK: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";
const LOG_ID: &str = "[access_log]\nformat = '$request_id'\n";

fn is_fresh(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the origin is told under all spellings of the header, and the log, by each engine.
fn told(more: &str, headers: &str) -> Vec<(Vec<String>, String)> {
    let told = ENGINES.map(|engine| {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &format!("{more}{LOG_ID}"));
        let response = gateway.client().get("/", headers);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-request-id"), None);
        let is_id = |name: &str| name.to_lowercase().replace('_', "-") == "x-request-id";
        let headers = origin.last().headers.into_iter();
        let ids = headers.filter(|(name, _)| is_id(name)).map(|(_, id)| id);
        (ids.collect(), gateway.stop().remove(0))
    });
    told.into()
}

#[track_caller]
fn check_replaced(more: &str, headers: &str) {
    for (ids, logged) in told(more, headers) {
        assert!(is_fresh(&logged), "{logged}");
        assert_eq!(ids, [logged], "{headers:?}");
    }
}

#[track_caller]
fn check_kept(more: &str, headers: &str, id: &str) {
    for (ids, logged) in told(more, headers) {
        assert_eq!((ids, logged), (vec![id.to_owned()], id.to_owned()));
    }
}

#[test]
fn a_request_without_one_gets_one() {
    check_replaced("", "");
    check_replaced(TRUST_LOOPBACK, "");
}

#[test]
fn a_clients_own_never_reaches_the_origin() {
    let spellings = "X-Request-ID: spoofed\r\nx-request-id: spoofed\r\nX_Request_ID: spoofed\r\n\
         X-REQUEST_ID: spoofed\r\nx_request-id: spoofed\r\n";
    check_replaced("", spellings);
    check_replaced("", "X-Request-ID: spoofed\r\n");
}

#[test]
fn a_trusted_proxys_is_kept_if_it_is_harmless() {
    let good = "4bf92f35-77b3:4da6/a3ce=929d";
    check_kept(TRUST_LOOPBACK, &format!("X-Request-ID: {good}\r\n"), good);
    check_kept(
        TRUST_LOOPBACK,
        &format!("X_Request_ID: other\r\nX-Request-ID: {good}\r\n"),
        good,
    );
    for bad in ["a b", "\"x\"", "${jndi:ldap://x}", &"x".repeat(129)] {
        check_replaced(TRUST_LOOPBACK, &format!("X-Request-ID: {bad}\r\n"));
    }
    check_replaced(TRUST_LOOPBACK, "X-Request-ID: a\r\nX-Request-ID: a\r\n");
    check_replaced(TRUST_LOOPBACK, "X_Request_ID: other\r\n");
}

#[test]
fn connection_cannot_nominate_it_away() {
    for engine in HTTP1_CLIENT_ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "");
        let headers = "Connection: X-Request-ID\r\nX-Request-ID: spoofed\r\n";
        assert_eq!(gateway.client().get("/", headers).status, 200);
        let request = origin.last();
        let ids = request.values("x-request-id");
        assert!(ids.len() == 1 && is_fresh(ids[0]), "{ids:?}");
    }
}

#[test]
fn a_client_is_told_if_it_is_to_know() {
    let (origin, dead) = (Origin::start(), Port::reserve());
    let more = format!("[request_id]\nheader = 'X-Trace-Nr'\nto_client = true\n{LOG_ID}");
    for engine in ENGINES {
        let gateway = engine.with_peers(&[origin.address], "", &more);
        let response = gateway.client().get("/", "X-Trace-Nr: spoofed\r\n");
        let id = response.header("x-trace-nr").unwrap().to_owned();
        assert_eq!(origin.last().values("x-trace-nr"), [&id]);
        assert_eq!(gateway.stop(), [id]);
        // With an error's page most of all.
        let gateway = engine.with_peers(&[dead.address], "", &more).unreached();
        let response = gateway.client().get("/", "");
        assert_eq!(response.status, 502);
        let id = response.header("x-trace-nr").unwrap().to_owned();
        assert!(is_fresh(&id));
        assert_eq!(gateway.stop(), [id]);
        let denied =
            "[limits]\naccess = 'a'\n[[access]]\nname = 'a'\ndefault = 'deny'\nrules = []\n";
        let gateway = engine.with_peers(&[origin.address], "", &format!("{more}{denied}"));
        let gateway = gateway.unreached();
        let response = gateway.client().get("/", "");
        assert_eq!(response.status, 403);
        let id = response.header("x-trace-nr").unwrap().to_owned();
        assert_eq!(gateway.stop(), [id]);
    }
}

#[test]
fn each_request_of_a_connection_has_its_own() {
    for engine in ENGINES {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", "");
        let mut client = gateway.client();
        for _ in 0..6 {
            client.get("/", "");
        }
        let requests = origin.requests();
        let mut ids: Vec<_> = requests.iter().map(|r| r.values("x-request-id")).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6, "{ids:?}");
    }
}

#[test]
fn without_a_header_there_is_none_and_clients_write_what_they_like() {
    for engine in ENGINES {
        let origin = Origin::start();
        let off = "[request_id]\nheader = 'off'\n";
        let gateway = engine.with_peers(&[origin.address], "", off);
        gateway.client().get("/", "X-Request-ID: own\r\n");
        assert_eq!(origin.last().values("x-request-id"), ["own"]);
        let line = gateway.stop().remove(0);
        assert!(line.ends_with(" - -"), "{line}");
    }
}

#[test]
fn a_query_has_one_if_the_log_asks() {
    for form in QUERY_FORMS {
        let gateway = Gateway::start(&format!("{TRUST_LOOPBACK}{LOG_ID}"));
        let mut client = gateway.client();
        let query = "/api/ip_query?ip=1.0.0.1";
        client.get(query, form);
        client.get(query, &format!("X-Request-ID: given\r\n{form}"));
        let lines = gateway.stop();
        assert!(is_fresh(&lines[0]) && lines[1] == "given", "{lines:?}");
    }
}
