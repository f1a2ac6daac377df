//! Locations become routes.
//!
//! nginx chooses the server by the host, then the longest prefix, then the first regular expression
//! before that; geogate the most specific route: host, then exact path, longest prefix, regular
//! expression. So `location /` has no path here, which leaves regular expressions before it, and a
//! server that a client has asked for by name answers 404 itself where it has no location, so that
//! no route for any host does.

use super::super::Output;
use super::super::document::{Item, Table, Value};
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::access;
use super::client;
use super::error_page;
use super::files::{self, Served};
use super::headers;
use super::pattern::{Pattern, as_regex, has_prefixes, pattern};
use super::proxy;
use super::rate;
use super::rewrite::{self, Rewritten};
use super::site::{Listen, Site};
use super::tls;
use super::variables::Variables;

/// What hands requests to servers that do not speak HTTP.
const OTHER_PROTOCOLS: [&str; 4] = ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"];

const PREFIXES_FIRST: &str = "A prefix goes before a regular expression, as with `^~`; only \
                              `location /` comes behind it.";

/// Answers that geogate does not have.
const OTHER_ANSWERS: [(&str, &str); 8] = [
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
    ("content_by_lua_block", "geogate runs no Lua."),
    ("content_by_lua_file", "geogate runs no Lua."),
    ("js_content", "geogate runs no scripts."),
];

pub(super) fn translate<'s>(
    http: &'s Scope<'s>,
    sites: &[Site<'s>],
    variables: &Variables,
    output: &mut Output,
) {
    let secure = sites
        .iter()
        .filter(|site| site.listens.iter().any(Listen::is_tls));
    let secure: Vec<&Site> = secure.collect();
    let mut routes = Routes {
        http,
        variables,
        hsts: tls::hsts_for_all(http, &secure),
        body_size: client::body_size_for_all(http),
        places: Vec::new(),
    };
    for site in sites {
        routes.site(site, sites, output);
    }
    leave_the_obvious_out(output);
    for block in http.here("upstream") {
        if !output.notes.is_spoken_for(block) {
            output.notes.needless(block, "Nothing leads to it.");
            for inner in block.inside() {
                output.notes.carried(inner);
            }
        }
    }
}

/// Without routes everything goes to the one upstream.
fn leave_the_obvious_out(output: &mut Output) {
    let mut routes = output.document.named("route");
    let is_obvious = |route: &Table| route.keys().eq(["upstream"]);
    if routes.next().is_some_and(is_obvious) && routes.next().is_none() {
        drop(routes);
        output.document.leave_out("route");
    }
}

struct Routes<'r, 's> {
    http: &'s Scope<'s>,
    variables: &'r Variables,
    hsts: Option<&'s Directive>,
    /// The size of bodies that holds where a route does not say another.
    body_size: Option<&'s Directive>,
    /// Which requests have a route already, and from where it is.
    places: Vec<(String, Table, u32)>,
}

/// What the routes of a server have in common.
struct Common<'r, 's> {
    site: &'r Site<'s>,
    scope: &'r Scope<'s>,
    /// What its conditions ask of clients.
    access: Vec<String>,
}

impl<'s> Routes<'_, 's> {
    fn site(&mut self, site: &Site<'s>, sites: &[Site], output: &mut Output) {
        let scope = self.http.inner(site.block);
        let to_https = if site.redirects_to_https {
            rewrite::redirects_to_https(site.block).unwrap_or_default()
        } else {
            Vec::new()
        };
        let is_of_it =
            |directive: &Directive| to_https.iter().any(|other| other.id == directive.id);
        let access = self.conditions(&scope, &is_of_it, output);
        let common = Common {
            site,
            scope: &scope,
            access,
        };
        for rewrite in scope.here("rewrite").filter(|rewrite| !is_of_it(rewrite)) {
            let found = self.rewrite(rewrite, None, &common, output);
            if let Rewritten::All(action) = found {
                self.add(&common, None, &action, output);
                say_unreachable(&scope, rewrite, output);
                return;
            }
            if has_prefixes(&scope) {
                output.notes.differs(rewrite, PREFIXES_FIRST);
            }
        }
        if let Some(answer) = scope.here("return").find(|answer| !is_of_it(answer)) {
            let mut route = Table::new("route", Some(answer));
            if rewrite::answer(answer, &scope, self.variables, &mut route, output) {
                self.common_keys(&scope, &common, &mut route, output);
                self.add(&common, None, &route, output);
            }
            say_unreachable(&scope, answer, output);
            return;
        }
        self.locations(&scope, &common, &is_of_it, output);
        if !site.only_redirects {
            self.rest(&common, sites, output);
        }
    }

    /// What becomes of paths that no location is for.
    fn rest(&mut self, common: &Common<'_, 's>, sites: &[Site], output: &mut Output) {
        let has_all = common.scope.here("location").any(
            |location| matches!(pattern(location), Some(Pattern::Prefix(path)) if path == "/"),
        );
        if has_all {
            return;
        }
        let block = common.site.block;
        let mut route = Table::new("route", Some(block));
        if common.scope.one("root").is_some() {
            let whole = Pattern::Prefix("/".to_owned());
            match files::translate(common.scope, block, &whole, &mut route, output) {
                Served::Files => {}
                Served::Named(name) => {
                    self.named(&name, block, common, &mut route, output);
                }
                Served::Lost => return,
            }
            self.common_keys(common.scope, common, &mut route, output);
        } else if !common.site.hosts.is_empty() && sites.iter().any(|site| site.hosts.is_empty()) {
            rewrite::closed(404, block, &mut route);
        } else {
            return;
        }
        self.add(common, None, &route, output);
    }

    /// Conditions that turn clients away, as names of `[[access]]`; the others are lost.
    fn conditions(
        &self,
        scope: &Scope,
        is_done: &dyn Fn(&Directive) -> bool,
        output: &mut Output,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for condition in scope.here("if").filter(|condition| !is_done(condition)) {
            if let Some(name) = access::condition(self.http, condition, self.variables, output) {
                names.push(name);
                continue;
            }
            let why = "geogate has no conditions. Routes have `host`, `methods`, `headers`, \
                       `countries` and `regions` to choose by.";
            output.notes.lost(condition, why);
            for inner in condition.inside() {
                output.notes.carried(inner);
            }
        }
        names
    }

    fn locations(
        &mut self,
        scope: &Scope,
        common: &Common<'_, 's>,
        is_done: &dyn Fn(&Directive) -> bool,
        output: &mut Output,
    ) {
        let has_prefixes = has_prefixes(scope);
        for location in scope.here("location") {
            output.notes.carried(location);
            if is_done(location) {
                continue;
            }
            if error_page::is_page(scope, location) {
                for inner in location.inside() {
                    output.notes.carried(inner);
                }
                continue;
            }
            let inner = scope.inner(location);
            match pattern(location) {
                Some(pattern) => {
                    if has_prefixes && matches!(pattern, Pattern::Regex(_)) {
                        output.notes.differs(location, PREFIXES_FIRST);
                    }
                    self.location(&inner, location, &pattern, common, output);
                }
                // It is somebody else's; who leads to it says what becomes of it.
                None if location.arg(0).starts_with('@') => {}
                None => output
                    .notes
                    .lost(location, "geogate does not know this kind of location."),
            }
            self.locations(&inner, common, is_done, output);
        }
    }

    fn location(
        &mut self,
        scope: &Scope,
        location: &Directive,
        pattern: &Pattern,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) {
        let mut route = Table::new("route", Some(location));
        let conditions = self.conditions(scope, &|_| false, output);
        let prefix = match pattern {
            Pattern::Prefix(prefix) => Some(prefix.as_str()),
            _ => None,
        };
        let mut paths = Vec::new();
        let mut all = None;
        let mut has_regex = false;
        for rewrite in scope.here("rewrite") {
            match self.rewrite(rewrite, prefix, common, output) {
                Rewritten::Prefix(new) => route.set("rewrite", new, Some(rewrite)),
                Rewritten::Path { regex, path } => {
                    has_regex = true;
                    paths.push((regex, path, rewrite));
                }
                Rewritten::All(action) => all = all.or(Some(action)),
                Rewritten::Redirect { .. } => has_regex = true,
                Rewritten::Lost => {}
            }
        }
        // What is to come first must be of a kind that can.
        let behind = prefix
            .filter(|prefix| has_regex && *prefix != "/")
            .map(as_regex);
        if let Some(action) = all {
            return self.add(common, Some(pattern), &action, output);
        }
        self.action(scope, location, pattern, common, &mut route, output);
        let demands = access::of_block(self.http, scope, output);
        if let Some(closing) = demands.closed_by {
            route = Table::new("route", Some(location));
            rewrite::closed(403, closing, &mut route);
        }
        let sets = demands.sets.into_iter().chain(conditions);
        for name in sets {
            route.push("access", Item::new(name, Some(location)));
        }
        self.common_keys(scope, common, &mut route, output);
        let only = scope.here("limit_except").last();
        for (regex, path, rewrite) in paths {
            let mut other = route.clone();
            if other.get("upstream").is_some() {
                other.set("rewrite", path, Some(rewrite));
                self.add(common, Some(&Pattern::Regex(regex)), &other, output);
            }
        }
        let pattern = behind.as_ref().unwrap_or(pattern);
        match only {
            Some(only) => self.limited(only, pattern, common, route, output),
            None => self.add(common, Some(pattern), &route, output),
        }
    }

    /// Some methods are for everybody, the others for some or nobody.
    fn limited(
        &mut self,
        only: &Directive,
        pattern: &Pattern,
        common: &Common<'_, 's>,
        mut route: Table,
        output: &mut Output,
    ) {
        output.notes.carried(only);
        let closes = matches!(only.inside(), [deny] if deny.name == "deny" && deny.arg(0) == "all");
        for inner in only.inside() {
            output.notes.carried(inner);
        }
        if !closes {
            output
                .notes
                .lost(only, "Other methods are answered with 403 for everybody.");
        }
        let mut rest = Table::new("route", Some(only));
        rewrite::closed(403, only, &mut rest);
        self.add(common, Some(pattern), &rest, output);
        for method in &only.args {
            route.push("methods", Item::new(method.as_str(), Some(only)));
        }
        self.add(common, Some(pattern), &route, output);
    }

    /// A redirect is a route of its own and added here.
    fn rewrite(
        &mut self,
        directive: &Directive,
        prefix: Option<&str>,
        common: &Common<'_, 's>,
        output: &mut Output,
    ) -> Rewritten {
        let found = rewrite::rewritten(directive, prefix, common.scope, self.variables, output);
        if let Rewritten::Redirect { regex, action } = &found {
            self.add(common, Some(&Pattern::Regex(regex.clone())), action, output);
        }
        if prefix.is_none() && matches!(found, Rewritten::Path { .. }) {
            let why = "A path is changed by the route that it belongs to, with `rewrite`.";
            output.notes.lost(directive, why);
        }
        found
    }

    /// Who answers: `return`, an upstream, files.
    fn action(
        &mut self,
        scope: &Scope,
        location: &Directive,
        pattern: &Pattern,
        common: &Common<'_, 's>,
        route: &mut Table,
        output: &mut Output,
    ) {
        let here = |name: &str| scope.here(name).last();
        if let Some(answer) = here("return") {
            if !rewrite::answer(answer, scope, self.variables, route, output) {
                rewrite::closed(501, answer, route);
            }
            return;
        }
        for name in OTHER_PROTOCOLS {
            if let Some(pass) = here(name) {
                let why = "Upstreams speak HTTP; gunicorn, uWSGI and PHP servers can. The route answers \
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
        if let Some(pass) = here("proxy_pass").or_else(|| here("grpc_pass")) {
            return self.pass(pass, scope, pattern, route, output);
        }
        match files::translate(scope, location, pattern, route, output) {
            Served::Files => {}
            Served::Named(name) => self.named(&name, location, common, route, output),
            Served::Lost => rewrite::closed(501, location, route),
        }
    }

    fn pass(
        &self,
        pass: &Directive,
        scope: &Scope,
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
    }

    /// Files are tried first and then another location: here it is that one alone.
    fn named(
        &self,
        name: &str,
        from: &Directive,
        common: &Common<'_, 's>,
        route: &mut Table,
        output: &mut Output,
    ) {
        let named = common
            .scope
            .here("location")
            .find(|location| location.arg(0).strip_prefix('@') == Some(name));
        let pass = named.and_then(|named| named.inside().iter().find(|d| d.name == "proxy_pass"));
        let (Some(named), Some(pass)) = (named, pass) else {
            let why = format!("Where no file is, 404 is answered; @{name} cannot be tried.");
            return output.notes.lost(from, why);
        };
        *route = Table::new("route", Some(from));
        let whole = Pattern::Prefix("/".to_owned());
        self.pass(pass, &common.scope.inner(named), &whole, route, output);
        let why = format!(
            "A route has files or an upstream. This one has the upstream of @{name}; give the paths \
             that are files a route with `files`."
        );
        output.notes.lost(from, why);
    }

    /// What routes have whatever their action.
    fn common_keys(
        &self,
        scope: &Scope,
        common: &Common<'_, 's>,
        route: &mut Table,
        output: &mut Output,
    ) {
        headers::to_client(scope, self.hsts, self.variables, route, output);
        if let Some(size) = scope.one("client_max_body_size") {
            let is_for_all = self.body_size.is_some_and(|all| all.args == size.args);
            match client::body_size(size) {
                Some(_) if is_for_all => output.notes.carried(size),
                Some(text) => {
                    output.notes.carried(size);
                    if size.arg(0) == "0" {
                        output.notes.differs(size, client::WHY_UNLIMITED);
                    }
                    route.set("max_body_size", text, Some(size));
                }
                None => output.notes.lost(size, "This is no size."),
            }
        }
        let gzip = scope.one("gzip");
        let is_on = |gzip: Option<&Directive>| gzip.is_some_and(|gzip| gzip.arg(0) == "on");
        if is_on(gzip) != is_on(self.http.here("gzip").last()) {
            route.set("compress", is_on(gzip), gzip);
        }
        if let Some(gzip) = gzip {
            output.notes.carried(gzip);
        }
        for name in &common.access {
            route.push("access", Item::new(name.as_str(), Some(common.site.block)));
        }
        rate::of_block(self.http, scope, route, output);
    }

    /// Adds a route with what it is for. One for the same requests stays as it is.
    fn add(
        &mut self,
        common: &Common<'_, 's>,
        pattern: Option<&Pattern>,
        action: &Table,
        output: &mut Output,
    ) {
        let mut route = Table::new("route", None);
        match common.site.hosts.as_slice() {
            [] => {}
            [host] => route.set("host", host.as_str(), None),
            hosts => {
                for host in hosts {
                    route.push("host", Item::new(host.as_str(), None));
                }
            }
        }
        match pattern {
            None => {}
            Some(Pattern::Prefix(path)) if path == "/" => {}
            Some(Pattern::Prefix(path)) => route.set("prefix", path.as_str(), None),
            Some(Pattern::Exact(path)) => route.set("path", path.as_str(), None),
            Some(Pattern::Regex(regex)) => route.set("regex", regex.as_str(), None),
        }
        let methods = action
            .get("methods")
            .map(Value::to_text)
            .unwrap_or_default();
        let key = route.written() + &methods;
        let route = route.followed_by(action);
        let known = self.places.iter().find(|(other, ..)| *other == key);
        let Some((_, other, line)) = known else {
            self.places
                .push((key, route.clone(), common.site.block.place.line));
            output.document.add(route);
            return;
        };
        if !other.says_the_same(&route)
            && let Some(from) = action.from()
        {
            let why = format!(
                "The server in line {line} has a route for the same host and path; routes do not tell \
                 listeners apart."
            );
            output.notes.note_origin(super::Fate::Lost, from, why);
        }
    }
}

/// What stands beside a `return` that answers everything.
fn say_unreachable(scope: &Scope, answer: &Directive, output: &mut Output) {
    for location in scope.here("location") {
        let why = format!(
            "The server answers everything in line {}.",
            answer.place.line
        );
        output.notes.needless(location, why);
        silence(location, output);
    }
}

fn silence(directive: &Directive, output: &mut Output) {
    for inner in directive.inside() {
        output.notes.carried(inner);
        silence(inner, output);
    }
}
