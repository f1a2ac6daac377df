//! Protection of a block that cannot be carried over. Such a block is closed: it answers 403 until
//! the operator decides, because an answer of 403 is noticed and missing protection is not.
//!
//! An unknown directive may protect as well: modules for authentication and firewalls have names of
//! their own. So within a server an unknown directive closes its block, and so does an included
//! file that cannot be read.

use super::unsupported;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Directives that require more of clients than geogate can check, with the reason. A name that
/// ends with `*` is a prefix.
const ASKING: [(&str, &str); 10] = [
    (
        "auth_request",
        "geogate asks no other server whether a client may come",
    ),
    ("auth_jwt", "geogate reads no tokens"),
    (
        "auth_digest",
        "geogate asks for passwords by `auth_basic` alone",
    ),
    ("secure_link", "geogate checks no signed links"),
    ("secure_link_secret", "geogate checks no signed links"),
    (
        "ssl_crl",
        "geogate does not read lists of revoked certificates",
    ),
    ("ssl_ocsp", "geogate asks nobody for revoked certificates"),
    ("access_by_lua*", "geogate runs no Lua"),
    (
        "rewrite_by_lua*",
        "geogate runs no Lua, and this may forbid",
    ),
    (
        "server_rewrite_by_lua*",
        "geogate runs no Lua, and this may forbid",
    ),
];

/// Parts of the names of modules that protect.
const PROTECTING: [&str; 9] = [
    "auth", "security", "waf", "deny", "block", "access", "captcha", "guard", "naxsi",
];

/// Common files whose content forbids nothing.
const HARMLESS_FILES: [&str; 9] = [
    "mime.types",
    "fastcgi_params",
    "fastcgi.conf",
    "fastcgi-php.conf",
    "uwsgi_params",
    "scgi_params",
    "proxy_params",
    "proxy.conf",
    "ssl",
];

/// Reason for closing a block.
#[derive(Debug)]
pub(super) struct Closing<'s> {
    pub(super) by: &'s Directive,
    pub(super) why: String,
}

/// Returns all reasons for closing a block, from the block itself and from those around it.
pub(super) fn closings<'s>(scope: &Scope<'s>) -> Vec<Closing<'s>> {
    let mut found: Vec<Closing> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for level in scope.chain() {
        let is_inside = level.is("server") || level.is("location");
        let here = seen.len();
        let block = level.directives();
        let mut all: Vec<&Directive> = Vec::new();
        // `http` may have thousands of servers, and a server closes no other one, so names are
        // checked first.
        for name in block.names() {
            // The innermost block with a name overrides the others. Within one block all of a name
            // count.
            if !seen[..here].contains(&name) && may_close(name, is_inside) {
                all.extend(block.named(name));
            }
        }
        all.sort_unstable_by_key(|directive| directive.id);
        for directive in all {
            if let Some(why) = why_closed(directive, is_inside) {
                seen.push(&directive.name);
                if directive.arg(0) != "off" {
                    found.push(Closing { by: directive, why });
                }
            }
        }
    }
    found
}

/// Returns `true` if a directive of this name may close a block.
fn may_close(name: &str, is_inside: bool) -> bool {
    name == "include" && is_inside || asking(name).is_some() || is_unknown(name, is_inside)
}

fn why_closed(directive: &Directive, is_inside: bool) -> Option<String> {
    let name = directive.name.as_str();
    if let Some(why) = asking(name) {
        return Some(why.to_owned());
    }
    if name == "include" {
        let is_harmless = HARMLESS_FILES.iter().any(|known| {
            let file = directive.arg(0).rsplit('/').next().unwrap_or_default();
            file == *known || *known == "ssl" && file.contains(known)
        });
        return (is_inside && !is_harmless)
            .then(|| "the file cannot be read, and it may forbid".to_owned());
    }
    is_unknown(name, is_inside)
        .then(|| "geogate does not know this directive, and it may forbid".to_owned())
}

/// Returns the reason why a directive that requires more of clients closes its block.
fn asking(name: &str) -> Option<&'static str> {
    let is_it = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == known,
    };
    let known = ASKING.iter().find(|(known, _)| is_it(known));
    known.map(|(_, why)| *why)
}

/// Returns `true` if a directive is unknown and may protect.
fn is_unknown(name: &str, is_inside: bool) -> bool {
    let may_protect = is_inside || PROTECTING.iter().any(|part| name.contains(part));
    name != "include" && may_protect && !unsupported::is_known(name)
}

/// Variables that do not identify a client, so a redirect that depends on them protects nothing.
const OPEN: [&str; 18] = [
    "host",
    "http_host",
    "scheme",
    "https",
    "server_port",
    "server_name",
    "request_uri",
    "uri",
    "document_uri",
    "request_filename",
    "document_root",
    "args",
    "query_string",
    "is_args",
    "request_method",
    "http_x_forwarded_proto",
    "http_user_agent",
    "http_upgrade",
];

/// Returns `true` if an `if` that cannot be carried over forbids something: it answers with an
/// error, or redirects clients by what identifies them.
pub(super) fn is_protecting(condition: &Directive) -> bool {
    let text = condition.args.join(" ");
    let mut variables = text.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    // A dollar at the end of an expression begins no name.
    let is_open = variables.all(|name| name.is_empty() || OPEN.contains(&name));
    condition
        .inside()
        .iter()
        .any(|inner| match inner.name.as_str() {
            "return" => {
                let status = inner.arg(0).parse::<u64>().unwrap_or(302);
                status >= 400 || !is_open
            }
            "rewrite" => !is_open,
            name => !unsupported::is_known(name) || name == "include",
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::nginx::include::Files;
    use crate::nginx::parser;

    #[track_caller]
    fn check_condition(text: &str, expected: bool) {
        let files = Files::of(Path::new("f"));
        let tree = parser::parse(text.as_bytes(), "f", files).unwrap();
        assert_eq!(is_protecting(&tree.directives[0]), expected, "{text}");
    }

    #[test]
    fn a_condition_that_forbids_protects() {
        check_condition("if ($bad_bot) { return 403; }", true);
        check_condition("if ($request_method !~ ^(GET|POST)$) { return 444; }", true);
        check_condition("if ($cookie_session = '') { return 302 /login; }", true);
        check_condition("if ($ssl_client_verify != SUCCESS) { return 403; }", true);
        check_condition("if ($arg_key != x) { rewrite ^ /denied last; }", true);
        check_condition(
            "if ($host = www.a) { return 301 https://a$request_uri; }",
            false,
        );
        check_condition("if (!-f $request_filename) { rewrite ^ /x last; }", false);
        check_condition("if ($uri ~ /$) { return 301 /x; }", false);
        check_condition("if ($http_cookie ~ a) { set $skip 1; }", false);
    }
}
