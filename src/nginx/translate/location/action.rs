//! Action of a location: `return`, an upstream, files, or an answer that geogate does not have.

use super::super::fastcgi;
use super::super::files::{self, Served};
use super::super::headers;
use super::super::order::RoutePath;
use super::super::pattern::{Pattern, pattern};
use super::super::proxy;
use super::super::rewrite;
use super::super::variables::At;
use super::{Common, Routes};
use crate::nginx::Output;
use crate::nginx::document::Table;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// Directives that pass requests on by other protocols than HTTP and FastCGI.
const OTHER_PROTOCOLS: [&str; 3] = ["uwsgi_pass", "scgi_pass", "memcached_pass"];

/// Directives of answers that geogate does not have, with the reason.
const OTHER_ANSWERS: [(&str, &str); 14] = [
    (
        "stub_status",
        "Metrics have a listener of their own: `[admin] listen`.",
    ),
    ("dav_methods", "Files are read only."),
    (
        "empty_gif",
        "There is no built-in picture; a file is as good.",
    ),
    ("flv", "Parts of files are served by range requests alone."),
    ("mp4", "Parts of files are served by range requests alone."),
    ("hls", "Parts of files are served by range requests alone."),
    ("random_index", "geogate chooses no files at random."),
    ("content_by_lua_block", "geogate runs no Lua."),
    ("content_by_lua_file", "geogate runs no Lua."),
    ("content_by_lua", "geogate runs no Lua."),
    ("js_content", "geogate runs no scripts."),
    ("perl", "geogate runs no scripts."),
    (
        "api",
        "Metrics have a listener of their own: `[admin] listen`.",
    ),
    ("echo", "`respond` answers with a text."),
];

/// Directives that pass requests on, so that nginx redirects `/admin` to `/admin/`.
const PASSES: [&str; 6] = [
    "proxy_pass",
    "grpc_pass",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
];

impl<'s> Routes<'_, 's> {
    /// Sets the action of a route: `return`, an upstream, files.
    pub(super) fn action<'d>(
        &mut self,
        scope: &Scope<'d>,
        location: &'d Directive,
        pattern: &Pattern,
        route: &mut Table,
        output: &mut Output,
    ) {
        let here = |name: &str| scope.here(name).last();
        if let Some(answer) = here("return") {
            let path = match pattern {
                Pattern::Exact(path) => Some(path.as_str()),
                _ => None,
            };
            let at = At::by(scope, answer);
            if !rewrite::answer(answer, path, at, self.variables, route, output) {
                rewrite::closed(501, answer, route);
            }
            return;
        }
        for name in OTHER_PROTOCOLS {
            if let Some(pass) = here(name) {
                let why = "Upstreams speak HTTP or FastCGI; gunicorn and uWSGI can. The route answers \
                           501 until then.";
                output.notes.lost(pass, why);
                return rewrite::closed(501, pass, route);
            }
        }
        for (name, why) in OTHER_ANSWERS {
            if let Some(directive) = here(name) {
                output
                    .notes
                    .lost(directive, format!("{why} The route answers 501."));
                return rewrite::closed(501, directive, route);
            }
        }
        if let Some(pass) = here("fastcgi_pass") {
            let (http, variables) = (self.http, self.variables);
            if !fastcgi::translate(http, scope, pass, pattern, variables, route, output) {
                rewrite::closed(501, pass, route);
            }
            return;
        }
        if let Some(pass) = here("proxy_pass").or_else(|| here("grpc_pass")) {
            return self.pass(pass, scope, pattern, route, output);
        }
        self.serve(scope, location, pattern, route, output);
    }

    /// Makes a route serve files.
    pub(super) fn serve<'d>(
        &mut self,
        scope: &Scope<'d>,
        location: &'d Directive,
        pattern: &Pattern,
        route: &mut Table,
        output: &mut Output,
    ) {
        let variables = self.variables;
        match files::translate(
            scope,
            location,
            pattern,
            &self.names,
            variables,
            route,
            output,
        ) {
            Served::Files => {}
            Served::Lost => rewrite::closed(501, location, route),
        }
    }

    pub(super) fn pass<'d>(
        &self,
        pass: &'d Directive,
        scope: &Scope<'d>,
        pattern: &Pattern,
        route: &mut Table,
        output: &mut Output,
    ) {
        if !proxy::translate(
            self.http,
            scope,
            pass,
            pattern,
            self.variables,
            route,
            output,
        ) {
            return rewrite::closed(501, pass, route);
        }
        let family = if pass.name == "grpc_pass" {
            "grpc_set_header"
        } else {
            "proxy_set_header"
        };
        headers::to_upstream(scope, family, self.variables, route, output);
        proxy::say_host(self.http, scope, pass, self.variables, route, output);
    }

    /// Adds the redirect from `/admin` to `/admin/`, which nginx sends if a location of that name
    /// passes requests on, or if `/admin` is the alias of a folder.
    pub(super) fn redirect_to_slash(
        &mut self,
        scope: &Scope,
        location: &Directive,
        own: &Pattern,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        let (Pattern::Prefix(path) | Pattern::Exact(path)) = own else {
            return;
        };
        let inside = location.inside().iter();
        let passes = inside.clone().find(|d| PASSES.contains(&d.name.as_str()));
        let alias = inside
            .clone()
            .find(|d| d.name == "alias" && d.arg(0).ends_with('/'));
        let is_prefix = matches!(own, Pattern::Prefix(_));
        let (pass, short) = match (passes, alias, path.strip_suffix('/')) {
            (Some(pass), _, Some(short)) => (pass, short),
            // The folder itself.
            (None, Some(alias), None) if is_prefix => (alias, path.as_str()),
            _ => return,
        };
        let is_taken = common.plan.all().iter().any(|other| match pattern(other) {
            Some(Pattern::Exact(other)) => other == short,
            Some(Pattern::Prefix(other)) => other == short && other != *path,
            _ => false,
        });
        if short.is_empty() || is_taken {
            return;
        }
        let mut route = Table::new("route", Some(pass));
        let to = format!("{}/$is_args$args", short.replace('$', "$$"));
        rewrite::redirect(&to, 301, pass, &mut route);
        headers::to_client(scope, self.hsts, self.variables, &mut route, output);
        Self::site_keys(common, &mut route);
        self.pending.push((RoutePath::exact(short), route));
    }
}
