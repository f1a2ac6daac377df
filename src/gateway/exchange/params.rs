//! Parameters that a FastCGI server gets: those of nginx's `fastcgi.conf`, the headers of the request as
//! an upstream of HTTP would get them, and the route's own.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

use pingora::Result;

use super::edit::is_https;
use super::head::request_lines;
use super::script_request::ScriptRequest;
use crate::gateway::context::Context;
use crate::gateway::failure::status_error;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::{View, path_and_query, split_query};
use crate::proto::fastcgi::{Params, header_param};
use crate::proto::h1::stored_head::StoredHead;
use crate::proto::headers::Headers;

/// Name and version in `SERVER_SOFTWARE`.
const SOFTWARE: &str = concat!("geogate/", env!("CARGO_PKG_VERSION"));

/// Appends the parameters of a request to `out`.
///
/// # Errors
/// With status 400 if `Connection` names what it may not, or 431 if a header is longer than a record.
pub fn write_params(
    out: &mut Vec<u8>,
    request: &RequestView<StoredHead>,
    ctx: &Context,
    script: &ScriptRequest,
) -> Result<()> {
    let mut params = Params::new(out);
    let mut result = Ok(());
    let own = &script.settings.params;
    let is_own = |name: &str| own.iter().any(|(known, _)| known == name);
    let mut push = |name: &str, value: &[u8]| {
        if result.is_ok() {
            result = params.push(name, value);
        }
    };
    let view = View::of(request, ctx);
    each_standard(request, ctx, script, &view, |name, value| {
        if !is_own(name) {
            push(name, value);
        }
    });
    for (name, value) in own {
        push(name, &view.expand(value));
    }
    for (name, value) in headers(request, ctx)? {
        if !is_own(&name) {
            push(&name, &value);
        }
    }
    result.map_err(|_| status_error(431, "a header that is too long for FastCGI"))?;
    params.end();
    Ok(())
}

/// Headers of the request as parameters. Lines of one name are one list (RFC 9110, 5.3); cookies are
/// joined as in RFC 9113, 8.2.3.
fn headers(request: &RequestView<StoredHead>, ctx: &Context) -> Result<Vec<(String, Vec<u8>)>> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    request_lines(request, ctx, |sent| {
        sent.each(|name, value| {
            let Some(name) = header_param(name) else {
                return;
            };
            match headers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, list)) => {
                    let separator: &[u8] = if name == "HTTP_COOKIE" { b"; " } else { b", " };
                    list.extend_from_slice(separator);
                    list.extend_from_slice(value);
                }
                None => headers.push((name, value.to_vec())),
            }
        });
    })?;
    Ok(headers)
}

/// Calls `push` with each of the standard parameters.
fn each_standard(
    request: &RequestView<StoredHead>,
    ctx: &Context,
    script: &ScriptRequest,
    view: &View<StoredHead>,
    mut push: impl FnMut(&str, &[u8]),
) {
    let root = script.settings.root.as_os_str().as_bytes();
    let (name, path_info) = (&script.script.name[..], &script.script.path_info[..]);
    // That of an internal redirect, if there was one; the URI is the client's.
    let query = split_query(path_and_query(view.target.routed)).1;
    let is_https = is_https(request, ctx);
    push("GATEWAY_INTERFACE", b"CGI/1.1");
    push("SERVER_SOFTWARE", SOFTWARE.as_bytes());
    push("SERVER_PROTOCOL", request.protocol().as_bytes());
    // PHP that was built with force-cgi-redirect runs nothing without it.
    push("REDIRECT_STATUS", b"200");
    push("REQUEST_METHOD", request.method.as_str().as_bytes());
    push("REQUEST_URI", path_and_query(request.target));
    push("REQUEST_SCHEME", if is_https { b"https" } else { b"http" });
    if is_https {
        push("HTTPS", b"on");
    }
    push("QUERY_STRING", query.unwrap_or_default());
    push("DOCUMENT_ROOT", root);
    push("DOCUMENT_URI", &[name, path_info].concat());
    push("SCRIPT_NAME", name);
    push("SCRIPT_FILENAME", &[root, name].concat());
    push("PATH_INFO", path_info);
    if !path_info.is_empty() {
        push("PATH_TRANSLATED", &[root, path_info].concat());
    }
    let content_type = request.headers.first("content-type");
    push("CONTENT_TYPE", content_type.unwrap_or_default());
    let length = script.content_length.map(|length| length.to_string());
    push("CONTENT_LENGTH", length.unwrap_or_default().as_bytes());
    each_address(request, ctx, is_https, &mut push);
    let host = view.host().unwrap_or(Cow::Borrowed("localhost"));
    push("SERVER_NAME", host.as_bytes());
}

/// Addresses of both ends. A client behind trusted proxies has no port that is known here.
fn each_address(
    request: &RequestView<StoredHead>,
    ctx: &Context,
    is_https: bool,
    push: &mut impl FnMut(&str, &[u8]),
) {
    let socket = request.socket;
    if let Some(origin) = &ctx.origin {
        push("REMOTE_ADDR", origin.client.to_string().as_bytes());
        let peer = socket.and_then(|socket| socket.peer_addr()?.as_inet());
        if let Some(peer) = peer.filter(|_| origin.client.ip() == origin.peer.ip()) {
            push("REMOTE_PORT", peer.port().to_string().as_bytes());
        }
    }
    let local = socket.and_then(|socket| socket.local_addr()?.as_inet());
    if let Some(local) = local {
        push(
            "SERVER_ADDR",
            local.ip().to_canonical().to_string().as_bytes(),
        );
    }
    let usual = if is_https { 443 } else { 80 };
    let port = local.map_or(usual, std::net::SocketAddr::port);
    push("SERVER_PORT", port.to_string().as_bytes());
}
