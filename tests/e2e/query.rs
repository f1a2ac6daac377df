//! `/api/ip_query` as clients use it.

use crate::harness::{Client, Gateway, Origin, Response};

const FUZHOU: &str = r#"["中国","CN","福建","350000","福州","350100","某大学","电信"]"#;

#[track_caller]
fn check(response: &Response, status: u16, body: &str) {
    assert_eq!((response.status, response.text()), (status, body));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.header("content-length"),
        Some(body.len().to_string().as_str())
    );
    assert!(response.header("date").is_some());
}

fn post(client: &mut Client, body: &str) -> Response {
    client.request(
        "POST",
        "/api/ip_query",
        "Content-Type: application/json\r\n",
        body.as_bytes(),
    )
}

#[test]
fn known_addresses_have_their_eight_fields_by_get_and_post() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    for (ip, answer) in [
        ("1.0.0.0", FUZHOU),
        ("1.0.255.255", FUZHOU),
        (
            "0.0.0.0",
            r#"["保留地址","None","保留地址","None","","None","",""]"#,
        ),
        ("1.1.0.0", r#"["韩国","KR","韩国","None","","None","",""]"#),
        (
            "1.3.0.0",
            r#"["美国","US","加利福尼亚","None","\"Quoted\" City","None","","Comcast"]"#,
        ),
        (
            "126.255.255.255",
            r#"["美国","US","加利福尼亚","None","\"Quoted\" City","None","","Comcast"]"#,
        ),
        (
            "127.0.0.1",
            r#"["本机地址","None","本机地址","None","","None","",""]"#,
        ),
        ("::ffff:1.0.0.1", FUZHOU),
    ] {
        check(
            &client.get(&format!("/api/ip_query?ip={ip}"), ""),
            200,
            answer,
        );
        check(
            &post(&mut client, &format!(r#"{{"ip":"{ip}"}}"#)),
            200,
            answer,
        );
    }
}

#[test]
fn an_object_has_names() {
    let gateway = Gateway::start("");
    let response = gateway
        .client()
        .get("/api/ip_query?ip=1.0.0.1&format=object", "");
    let object: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(object["city"], "福州");
    assert_eq!(object["city_code"], "350100");
    assert_eq!(object["organization"], "某大学");
}

#[test]
fn errors_keep_the_connection() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let error = |code: &str, message: &str| {
        format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
    };
    let invalid = error("invalid_ip", "010.1.1.1 is not a ip");
    let missing = error(
        "missing_parameter",
        "bad request: no param ip in your request",
    );
    let no_key = error(
        "missing_key",
        "bad request: no key ip in your request json body",
    );
    let no_json = error("invalid_json", "bad request: your request body is not json");
    let no_record = error("no_record", "no ip info in ip db for ip: 200.1.1.1");
    let version = error("no_record", "no ip info in ip db for ip: 255.255.255.1");
    for _ in 0..2 {
        check(&client.get("/api/ip_query?ip=010.1.1.1", ""), 400, &invalid);
        check(&client.get("/api/ip_query", ""), 400, &missing);
        check(&post(&mut client, "{}"), 400, &no_key);
        check(&post(&mut client, "ip=1.1.1.1"), 400, &no_json);
        check(
            &client.get("/api/ip_query?ip=200.1.1.1", ""),
            501,
            &no_record,
        );
        check(
            &client.get("/api/ip_query?ip=255.255.255.1", ""),
            501,
            &version,
        );
        check(&client.get("/api/ip_query?ip=1.0.0.1", ""), 200, FUZHOU);
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("HEAD /api/ip_query?ip=1.0.0.1 HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.response_without_body();
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-length"),
            Some(FUZHOU.len().to_string().as_str())
        );
    }
    check(&client.get("/api/ip_query?ip=1.0.0.1", ""), 200, FUZHOU);
}

#[test]
fn other_methods_are_told_which_there_are() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let options = client.request("OPTIONS", "/api/ip_query", "", b"");
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, POST, OPTIONS"))
    );
    for method in ["PUT", "DELETE", "PATCH", "get"] {
        let response = client.request(method, "/api/ip_query?ip=1.0.0.1", "", b"ignored body");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let response = post(
        &mut client,
        &format!("{{\"ip\":\"{}\"}}", "1".repeat(70_000)),
    );
    assert_eq!(response.status, 413);
    assert!(
        response.text().contains("body_too_large"),
        "{}",
        response.text()
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let body = r#"{"ip":"1.0.0.1"}"#;
    client.send(format!(
        "POST /api/ip_query HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.response().status, 100);
    client.send(body);
    check(&client.response(), 200, FUZHOU);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start("");
    let mut client = gateway.client();
    let get = |ip: &str| format!("GET /api/ip_query?ip={ip} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(get("1.0.0.1") + &get("x") + &get("1.1.0.1"));
    check(&client.response(), 200, FUZHOU);
    assert_eq!(client.response().status, 400);
    assert_eq!(
        client.response().text(),
        r#"["韩国","KR","韩国","None","","None","",""]"#
    );
}

#[test]
fn no_spelling_of_the_path_reaches_an_upstream() {
    let origin = Origin::start();
    let gateway = Gateway::with_peers(&[origin.address], "", "");
    let mut client = gateway.client();
    for path in [
        "/api/ip_query",
        "/api/ip_query/",
        "//api//ip_query",
        "/x/../api/ip_query",
        "/api/./ip_query",
        "/api/ip%5Fquery",
        "/%61%70%69/ip_query",
        "/api%2fip_query",
        "/x/%2e%2e/api/ip_query",
        "http://test/api/ip_query",
    ] {
        check(&client.get(&format!("{path}?ip=1.0.0.1"), ""), 200, FUZHOU);
    }
    assert!(origin.requests().is_empty());
}
