//! Virtual servers: their names, and where they listen.

use super::super::Output;
use super::super::scope::Scope;
use super::super::tree::Directive;
use super::rewrite;

/// One block `server`.
#[derive(Debug)]
pub(super) struct Site<'s> {
    pub(super) block: &'s Directive,
    /// As geogate writes them, `name` or `*.name`. Empty for any host.
    pub(super) hosts: Vec<String>,
    /// Where it listens; nginx's default if it does not say.
    pub(super) listens: Vec<Listen<'s>>,
    /// Whether all that it does on listeners without TLS is to send clients to TLS.
    pub(super) redirects_to_https: bool,
    /// Whether it is only there for that.
    pub(super) only_redirects: bool,
}

/// One `listen`.
#[derive(Debug, Clone)]
pub(super) struct Listen<'s> {
    pub(super) directive: Option<&'s Directive>,
    /// As geogate writes it.
    pub(super) address: String,
    pub(super) speaks: Speaks,
    pub(super) proxy_protocol: bool,
    pub(super) is_default: bool,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    /// HTTP/2 without TLS as well.
    H2c,
    Tls,
}

impl Listen<'_> {
    pub(super) fn is_tls(&self) -> bool {
        self.speaks == Speaks::Tls
    }
}

/// The servers, in the order of the file.
pub(super) fn all<'s>(http: &'s Scope<'s>, output: &mut Output) -> Vec<Site<'s>> {
    let blocks: Vec<&Directive> = http.here("server").collect();
    let mut sites: Vec<Site> = blocks
        .iter()
        .map(|block| site(http, block, output))
        .collect();
    // The first of a listener answers for hosts that no server names, if no other one is told to.
    let is_default = |site: &Site| site.listens.iter().any(|listen| listen.is_default);
    let default = sites
        .iter()
        .position(|site| is_default(site) && !site.only_redirects);
    let default = default.or_else(|| sites.iter().position(|site| !site.only_redirects));
    if let Some(default) = default {
        sites[default].hosts.clear();
    }
    sites
}

fn site<'s>(http: &'s Scope<'s>, block: &'s Directive, output: &mut Output) -> Site<'s> {
    output.notes.carried(block);
    let scope = http.inner(block);
    let mut hosts = Vec::new();
    for directive in scope.here("server_name") {
        output.notes.carried(directive);
        for name in &directive.args {
            hosts.extend(host(name, directive, output));
        }
    }
    let ssl = scope.one("ssl").is_some_and(|ssl| ssl.arg(0) == "on");
    let mut listens: Vec<Listen> = scope
        .here("listen")
        .filter_map(|directive| super::listen::listen(directive, ssl, output))
        .collect();
    if scope.here("listen").next().is_none() {
        listens.push(super::listen::unsaid(ssl));
    }
    let redirects = rewrite::redirects_to_https(block);
    let has_tls = listens.iter().any(Listen::is_tls);
    let redirects_to_https = redirects.is_some() && listens.iter().any(|listen| !listen.is_tls());
    Site {
        block,
        hosts,
        redirects_to_https,
        only_redirects: redirects_to_https && !has_tls,
        listens,
    }
}

/// A name in geogate's words; none for those that no client asks for.
fn host(name: &str, directive: &Directive, output: &mut Output) -> Vec<String> {
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    let is_host = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    if plain.is_empty() || plain == "_" {
        return Vec::new();
    }
    if name.starts_with('~') {
        let why = format!(
            "{name}: a host is a name or `*.name`; a regular expression is none. List the names."
        );
        output.notes.lost(directive, why);
        return Vec::new();
    }
    if let Some(rest) = plain.strip_prefix("*.").filter(|rest| is_host(rest)) {
        return vec![format!("*.{rest}")];
    }
    if let Some(rest) = plain.strip_prefix('.').filter(|rest| is_host(rest)) {
        return vec![rest.to_owned(), format!("*.{rest}")];
    }
    if is_host(&plain) {
        return vec![plain];
    }
    let why = format!("{name}: a host is a name or `*.name`. List the names.");
    output.notes.lost(directive, why);
    Vec::new()
}
