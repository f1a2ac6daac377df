//! One line a request, from whichever way it was answered.

use crate::harness::{Gateway, Origin, Port};

#[test]
fn every_request_leaves_one_line() {
    let origin = Origin::start();
    let dead = Port::reserve();
    let peers = [origin.address, dead.address];
    let more = "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n";
    let gateway = Gateway::with_peers(&peers, "fail_timeout = '1h'", more);
    let mut client = gateway.client();
    let from_china = "X-Forwarded-For: 1.0.0.1\r\nUser-Agent: a \"b\"\r\nReferer: /c\r\n";
    client.get("/api/ip_query?ip=1.1.1.1", from_china);
    client.get("/api/ip_query?ip=x", "");
    for _ in 0..2 {
        client.get("/path", "Authorization: Basic am9lOng=\r\n");
    }
    let (origin, dead) = (origin.address.to_string(), dead.address.to_string());
    let lines = gateway.stop();
    assert_eq!(lines.len(), 4, "{lines:#?}");

    let [query, error, proxied @ ..] = &lines[..] else {
        unreachable!()
    };
    assert!(query.starts_with("1.0.0.1 - - ["), "{query}");
    assert!(
        query.contains(
            "] \"GET /api/ip_query?ip=1.1.1.1 HTTP/1.1\" 200 47 \"/c\" \"a \\x22b\\x22\" \"1.0.0.1\" \"-\" "
        ),
        "{query}"
    );
    assert!(query.ends_with(" - CN"), "{query}");
    assert!(
        error.contains("\"GET /api/ip_query?ip=x HTTP/1.1\" 400 "),
        "{error}"
    );
    for line in proxied {
        assert!(line.starts_with("127.0.0.1 - joe ["), "{line}");
        assert!(line.contains("\"GET /path HTTP/1.1\" 200 0 "), "{line}");
        assert!(line.contains(&origin), "{line}");
    }
    // One of the two was tried on the dead peer first.
    let retried = format!("\"{dead}, {origin}\"");
    assert_eq!(
        proxied
            .iter()
            .filter(|line| line.contains(&retried))
            .count(),
        1,
        "{proxied:#?}"
    );
}

#[test]
fn json_lines_are_json() {
    let gateway = Gateway::start("[access_log]\nformat = 'json'\n");
    gateway
        .client()
        .get("/api/ip_query?ip=1.0.0.1", "User-Agent: \"\\\t\r\n");
    let lines = gateway.stop();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["status"], 200);
    assert_eq!(line["uri"], "/api/ip_query?ip=1.0.0.1");
    assert_eq!(line["http_user_agent"], "\"\\");
}
