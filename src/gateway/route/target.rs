//! Templates that produce a URL: the location of a redirect, and the target of an upstream request.
//!
//! A value is encoded so that it stays within its part of the URL. Decoded values are encoded
//! again: otherwise `%0d%0a` in a path would end a header line and `%3F` would begin a query.
//! Values that are parts of a URL keep their escapes.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::{Rewrite, RewrittenPart};
use crate::config::model::{Part, RequestVariable, Template};
use crate::gateway::request::own_value::{Leaf, each_leaf};
use crate::gateway::request::variables::{View, split_query};
use crate::proto::headers::Headers;

/// Characters that are not allowed in a URL (RFC 3986, 2). Bytes that are not ASCII are always
/// encoded.
const TEXT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Characters to encode in a value that is a path and query already: also `#`, which would begin a
/// fragment.
const URL: &AsciiSet = &TEXT.add(b'#');

/// Characters to encode in a value that is plain text in a path.
const PATH: &AsciiSet = &URL.add(b'%').add(b'?');

/// Characters to encode in a value that is plain text in a query.
const QUERY: &AsciiSet = &PATH.add(b'&').add(b'+');

/// Expands the location of a redirect.
pub fn location<H: Headers>(to: &Template<RequestVariable>, view: &View<H>) -> Vec<u8> {
    let Url { text, names_host } = expand(to, view);
    // Two leading slashes begin a host. They are kept only if they are part of the template, not if
    // they come from the client.
    if names_host {
        text
    } else {
        with_one_slash(text)
    }
}

/// Returns the request target for the upstream that replaces the normalised `path` and the `query`.
/// Returns `None` if a segment would lead to a parent folder.
pub fn rewritten<H: Headers>(
    rewrite: &Rewrite,
    view: &View<H>,
    path: &[u8],
    query: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let url = expand(&rewrite.to, view).text;
    let (to, own_query) = split_query(&url);
    let mut target = to.to_vec();
    match rewrite.part {
        RewrittenPart::Path => {}
        RewrittenPart::Segments(length) => {
            append_rest(&mut target, path.get(length..).unwrap_or_default());
        }
        RewrittenPart::Beginning(length) => {
            encode(path.get(length..).unwrap_or_default(), PATH, &mut target);
        }
    }
    checked(target, own_query.or(query))
}

/// Returns the target that a template names, with `query` if it has none of its own. Returns `None` if
/// a segment would lead to a parent folder.
pub fn requested<H: Headers>(
    to: &Template<RequestVariable>,
    view: &View<H>,
    query: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let url = expand(to, view).text;
    let (path, own_query) = split_query(&url);
    checked(path.to_vec(), own_query.or(query))
}

/// Returns the target that an upstream names, path and perhaps query, with what may not be in a target
/// encoded. Returns `None` if it does not begin with a slash or a segment would lead to a parent folder.
pub fn named(target: &[u8]) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    encode(target, URL, &mut encoded);
    let (path, query) = split_query(&encoded);
    if path.first() != Some(&b'/') {
        return None;
    }
    checked(path.to_vec(), query)
}

/// Returns a target of this path and query; `None` if a segment would lead to a parent folder.
fn checked(mut path: Vec<u8>, query: Option<&[u8]>) -> Option<Vec<u8>> {
    if path.first() != Some(&b'/') {
        path.insert(0, b'/');
    }
    let mut target = with_one_slash(path);
    let leads_up = |segment: &[u8]| {
        let decoded: Vec<u8> = percent_encoding::percent_decode(segment).collect();
        matches!(&decoded[..], b"." | b"..")
    };
    if target.split(|&byte| byte == b'/').any(leads_up) {
        return None;
    }
    append_query(&mut target, query);
    Some(target)
}

/// Appends a query, if there is one.
pub fn append_query(target: &mut Vec<u8>, query: Option<&[u8]>) {
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
}

/// Appends the rest of the path after the prefix to the replacement of the prefix, with one slash
/// between them.
fn append_rest(target: &mut Vec<u8>, rest: &[u8]) {
    if rest.is_empty() {
        return;
    }
    if target.last() == Some(&b'/') {
        target.pop();
    }
    target.push(b'/');
    encode(rest.strip_prefix(b"/").unwrap_or(rest), PATH, target);
}

/// Returns a URL with all that no URL has encoded.
pub fn encoded(url: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    encode(url, TEXT, &mut encoded);
    encoded
}

fn with_one_slash(mut url: Vec<u8>) -> Vec<u8> {
    let slashes = url.iter().take_while(|&&byte| byte == b'/').count();
    url.drain(1.min(slashes)..slashes);
    url
}

/// URL that a template has become.
#[derive(Default)]
struct Url {
    text: Vec<u8>,
    /// `true` if text of the configuration begins the URL with two slashes.
    names_host: bool,
}

fn expand<H: Headers>(template: &Template<RequestVariable>, view: &View<H>) -> Url {
    let (mut url, mut value) = (Url::default(), Vec::new());
    for part in template.parts() {
        match part {
            Part::Text(text) => url.add(&Leaf::Text(text), view, &mut value),
            Part::Variable(RequestVariable::Own(own)) => {
                each_leaf(own, view, &mut |leaf| url.add(leaf, view, &mut value));
            }
            Part::Variable(variable) => url.add(&Leaf::Request(variable), view, &mut value),
        }
    }
    url
}

impl Url {
    /// Adds a piece. `value` is memory for it.
    fn add<H: Headers>(&mut self, leaf: &Leaf, view: &View<H>, value: &mut Vec<u8>) {
        let of_text = if self.text.contains(&b'?') {
            QUERY
        } else {
            PATH
        };
        match leaf {
            Leaf::Text(text) => {
                self.names_host |= self.text.is_empty() && text.starts_with("//");
                encode(text.as_bytes(), TEXT, &mut self.text);
            }
            Leaf::Request(variable) => {
                value.clear();
                view.append(variable, value);
                let set = match variable {
                    RequestVariable::RequestUri
                    | RequestVariable::Args
                    | RequestVariable::IsArgs
                    | RequestVariable::Arg(_) => URL,
                    _ => of_text,
                };
                encode(value, set, &mut self.text);
            }
            Leaf::Group {
                text,
                is_decoded: false,
            } => encode(text, URL, &mut self.text),
            Leaf::Group { text, .. } => encode(text, of_text, &mut self.text),
            Leaf::Response(_) => {}
        }
    }
}

fn encode(text: &[u8], set: &'static AsciiSet, out: &mut Vec<u8>) {
    for piece in percent_encode(text, set) {
        out.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::config::model::Captures;
    use crate::gateway::request::variables::{Captured, ConnectionView, RoutedTarget};
    use crate::proto::scheme::Scheme;

    /// Request for this target whose captures are the text and the text from its second byte on.
    fn with_view<T>(target: &str, captured: &str, read: impl FnOnce(&View<HeaderMap>) -> T) -> T {
        let groups = [Some(0..captured.len()), Some(1..captured.len())];
        read(&View {
            origin: None,
            place: None,
            scheme: Scheme::Http,
            method: "GET",
            target: RoutedTarget::sent(target.as_bytes()),
            protocol: "HTTP/1.1",
            authority: Some("h.test"),
            headers: &HeaderMap::new(),
            request_id: "",
            route: "",
            captures: Captured {
                text: captured.as_bytes(),
                groups: &groups,
                hosts: &[],
            },
            connection: ConnectionView::default(),
        })
    }

    fn template(text: &str) -> Template<RequestVariable> {
        Template::parse(text, &Captures::new([None, None])).unwrap()
    }

    #[track_caller]
    fn check_location(to: &str, captured: &str, expected: &str) {
        let location = with_view("/p%20q?r=%20#s", captured, |view| {
            location(&template(to), view)
        });
        assert_eq!(String::from_utf8(location).unwrap(), expected, "{to}");
    }

    #[test]
    fn a_value_stays_within_its_part_of_a_url() {
        check_location(
            "https://$host$request_uri",
            "",
            "https://h.test/p%20q?r=%20%23s",
        );
        check_location("/x?u=$uri", "", "/x?u=/p%20q");
        check_location("/$1", "/a\r\nb", "/a%0D%0Ab");
        check_location("/$1", "/a?b#c%d&e", "/a%3Fb%23c%25d&e");
        check_location("/?x=$1", "/a&b+c", "/?x=a%26b%2Bc");
        check_location("/y/$is_args$args", "", "/y/?r=%20%23s");
        check_location("/中 $1", "/国", "/%E4%B8%AD%20%E5%9B%BD");
    }

    #[test]
    fn only_the_template_names_another_host() {
        check_location("//cdn.test/$1", "//x", "//cdn.test//x");
        check_location("/$1", "//evil.test", "/evil.test");
        check_location("$1", "/\\evil.test", "%5Cevil.test");
    }

    #[track_caller]
    fn check_rewritten(to: &str, part: RewrittenPart, path: &str, expected: Option<&str>) {
        let rewrite = Rewrite {
            to: template(to),
            part,
        };
        let target = with_view(path, path, |view| {
            rewritten(&rewrite, view, path.as_bytes(), Some(b"q"))
        });
        let target = target.map(|target| String::from_utf8(target).unwrap());
        assert_eq!(target.as_deref(), expected, "{to} {path}");
    }

    #[test]
    fn a_prefix_is_replaced_with_one_slash_between() {
        for to in ["/new", "/new/"] {
            check_rewritten(to, RewrittenPart::Segments(4), "/api/x", Some("/new/x?q"));
            check_rewritten(to, RewrittenPart::Segments(5), "/api/x", Some("/new/x?q"));
        }
        check_rewritten("/", RewrittenPart::Segments(4), "/api", Some("/?q"));
        check_rewritten("/", RewrittenPart::Segments(4), "/api/", Some("/?q"));
        check_rewritten("/a", RewrittenPart::Segments(0), "/b c", Some("/a/b%20c?q"));
    }

    #[test]
    fn the_rest_of_a_beginning_follows_as_it_is() {
        let beginning = RewrittenPart::Beginning(4);
        check_rewritten("/v2", beginning, "/api/x", Some("/v2/x?q"));
        check_rewritten("/v2", beginning, "/apix", Some("/v2x?q"));
        check_rewritten("/v2/", beginning, "/api b", Some("/v2/%20b?q"));
        check_rewritten("/", beginning, "/api/x", Some("/x?q"));
    }

    #[test]
    fn a_rewrite_may_have_a_query_of_its_own() {
        check_rewritten(
            "/new?a=$1",
            RewrittenPart::Path,
            "/b?c",
            Some("/new?a=b%3Fc"),
        );
        check_rewritten(
            "/new?a",
            RewrittenPart::Segments(4),
            "/api/x",
            Some("/new/x?a"),
        );
        check_rewritten("/new", RewrittenPart::Path, "/b", Some("/new?q"));
    }

    #[test]
    fn a_request_anew_has_the_query_that_it_names() {
        let requested = |to: &str, query: Option<&[u8]>| {
            let target = with_view("/a b?q", "", |view| requested(&template(to), view, query));
            target.map(|target| String::from_utf8(target).unwrap())
        };
        assert_eq!(requested("/x$uri", None).as_deref(), Some("/x/a%20b"));
        assert_eq!(requested("/x", Some(b"q")).as_deref(), Some("/x?q"));
        assert_eq!(
            requested("/x?p&$args", Some(b"q")).as_deref(),
            Some("/x?p&q")
        );
        assert_eq!(requested("/x/../y", None), None);
    }

    #[test]
    fn a_target_that_an_upstream_names_is_encoded() {
        let named = |target: &str| {
            let named = named(target.as_bytes());
            named.map(|target| String::from_utf8(target).unwrap())
        };
        for (target, expected) in [
            ("/a b/中.txt?q=1", "/a%20b/%E4%B8%AD.txt?q=1"),
            ("/a%20b#c", "/a%20b%23c"),
            ("//a", "/a"),
        ] {
            assert_eq!(named(target).as_deref(), Some(expected), "{target}");
        }
        for target in ["", "a", "http://a/", "/a/../b", "/%2e%2e/b"] {
            assert_eq!(named(target), None, "{target}");
        }
    }

    #[test]
    fn a_rewrite_leads_nowhere_else() {
        check_rewritten("/x/$1", RewrittenPart::Path, "/../y", None);
        check_rewritten("/x/$1", RewrittenPart::Path, "/.", None);
        check_rewritten(
            "$1",
            RewrittenPart::Path,
            "//evil.test",
            Some("/evil.test?q"),
        );
    }
}
