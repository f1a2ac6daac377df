//! Requests to change a connection to a `WebSocket` (RFC 6455, 4.1).

use super::headers::Headers;

/// Returns `true` if a request asks for a `WebSocket` as RFC 6455 defines it. No other upgrade is
/// supported: a request for another protocol is served without the upgrade, as RFC 9110, 7.8,
/// allows. An upgrade to HTTP/2 would bypass all checks of later requests.
pub fn asks_for_websocket(method: &str, is_1_1: bool, headers: &impl Headers) -> bool {
    let mut protocols = headers.lines("upgrade");
    let protocol = protocols.next();
    is_1_1
        && method == "GET"
        && protocols.next().is_none()
        && protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && has_option(headers, "upgrade")
        && headers.lines("transfer-encoding").next().is_none()
        && headers.lines("content-length").all(|length| length == b"0")
}

/// Returns `true` if `Connection` lists an option.
fn has_option(headers: &impl Headers, name: &str) -> bool {
    let mut options = headers
        .lines("connection")
        .flat_map(|line| line.split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        for (method, text, expected) in [
            ("GET", "upgrade: websocket; connection: upgrade", true),
            (
                "GET",
                "upgrade: WebSocket; connection: keep-alive, Upgrade",
                true,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 0",
                true,
            ),
            ("GET", "upgrade: websocket", false),
            ("GET", "upgrade: websocket; connection: close", false),
            ("POST", "upgrade: websocket; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; content-length: 1",
                false,
            ),
            (
                "GET",
                "upgrade: websocket; connection: upgrade; transfer-encoding: chunked",
                false,
            ),
            (
                "GET",
                "upgrade: h2c; connection: upgrade, http2-settings",
                false,
            ),
            ("GET", "upgrade: websocket, h2c; connection: upgrade", false),
            (
                "GET",
                "upgrade: websocket; upgrade: h2c; connection: upgrade",
                false,
            ),
            ("GET", "connection: upgrade", false),
        ] {
            let lines = text.split("; ").map(|line| line.split_once(": ").unwrap());
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value.parse().unwrap());
            }
            let asks = |is_1_1| asks_for_websocket(method, is_1_1, &headers);
            assert_eq!(asks(true), expected, "{method} {text}");
            assert!(!asks(false), "{text}");
        }
    }
}
