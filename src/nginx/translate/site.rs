//! Virtual servers: their names and their listeners.
//!
//! geogate's routes do not distinguish listeners, so every server that is carried over must be on
//! every listener that is carried over. [`all`] keeps the listeners for which that is true of the
//! largest part of the file. Servers on other listeners are left out, and a server on only some of
//! the kept ones is closed.

use std::collections::{HashMap, HashSet};

use super::listen::{self, Listen, Speaks};
use super::rewrite;
use crate::nginx::Output;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// One `server` block.
#[derive(Debug)]
pub(super) struct Site<'s> {
    pub(super) block: &'s Directive,
    /// Hosts as geogate writes them, `name` or `*.name`.
    pub(super) hosts: Vec<String>,
    /// True if the server gets requests for hosts that no server names.
    pub(super) is_default: bool,
    /// True if the server has names that geogate cannot have.
    has_lost_names: bool,
    /// Listeners; nginx's default if the server has no `listen`.
    pub(super) listens: Vec<Listen<'s>>,
    /// Port of the redirect to TLS, if the server does nothing else on listeners without TLS.
    pub(super) to_https: Option<u16>,
    /// True if the server does nothing but this redirect.
    pub(super) only_redirects: bool,
    /// Reason why the server answers 403 to everything.
    pub(super) closed: Option<&'static str>,
}

impl Site<'_> {
    /// Returns the addresses where the server does more than redirect clients to TLS.
    fn serving(&self) -> Vec<&str> {
        let serving = |listen: &&Listen| self.to_https.is_none() || listen.is_tls();
        let listens = self.listens.iter().filter(serving);
        let mut addresses: Vec<&str> = listens.map(|listen| listen.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    fn is_on(&self, address: &str) -> bool {
        self.listens.iter().any(|listen| listen.address == address)
    }
}

/// The servers of a configuration.
#[derive(Debug)]
pub(super) struct Sites<'s> {
    /// Servers that are carried over, in the order of the file.
    pub(super) all: Vec<Site<'s>>,
    /// Server with names that geogate cannot have. Because of it, requests for hosts that no server
    /// names are rejected.
    pub(super) nameless: Option<&'s Directive>,
}

/// Returns all servers of the file that are carried over.
pub(super) fn all<'s>(http: &'s Scope<'s>, output: &mut Output) -> Sites<'s> {
    let mut sites: Vec<Site> = Vec::new();
    for block in http.here("server") {
        sites.push(site(http, block, output));
    }
    close_other_authorities(http, &mut sites);
    redirect_together(&mut sites);
    keep_common_listeners(&mut sites, output);
    drop_repeated_names(&mut sites, output);
    let nameless = choose_default(&mut sites, output);
    Sites {
        all: sites,
        nameless,
    }
}

/// Closes servers that accept client certificates of another authority than `tls.client_ca`, which
/// is the first of the file.
fn close_other_authorities(http: &Scope, sites: &mut [Site]) {
    let authority = |site: &Site| {
        let scope = http.inner(site.block);
        let asks = scope.one("ssl_verify_client")?.arg(0) != "off";
        let file = scope.one("ssl_client_certificate").filter(|_| asks)?;
        Some(file.arg(0).to_owned())
    };
    let all = http.everywhere("ssl_client_certificate");
    let first = http.here("ssl_client_certificate").last();
    let first = first
        .or_else(|| all.first().copied())
        .map(|file| file.arg(0));
    for site in sites {
        let own = authority(site);
        if own.is_some() && own.as_deref() != first {
            site.closed = Some(
                "There is one `tls.client_ca` for all, and it is another one than this server's. It \
                 answers 403.",
            );
        }
    }
}

/// Drops redirects to TLS where the servers of a listener disagree, because a listener redirects
/// for all or for none.
fn redirect_together(sites: &mut [Site]) {
    fn plain<'a>(site: &'a Site) -> impl Iterator<Item = &'a str> {
        let listens = site.listens.iter().filter(|listen| !listen.is_tls());
        listens.map(|listen| listen.address.as_str())
    }
    loop {
        let mut agreed: HashMap<String, (Option<u16>, bool)> = HashMap::new();
        for site in sites.iter() {
            for address in plain(site) {
                let (port, is_same) = agreed
                    .entry(address.to_owned())
                    .or_insert((site.to_https, true));
                *is_same &= *port == site.to_https;
            }
        }
        let mut is_settled = true;
        for site in sites.iter_mut().filter(|site| site.to_https.is_some()) {
            if plain(site).any(|address| !agreed[address].1) {
                site.to_https = None;
                site.only_redirects = false;
                is_settled = false;
            }
        }
        if is_settled {
            return;
        }
    }
}

/// Keeps the listeners that serve the same servers, and the servers on these listeners.
fn keep_common_listeners(sites: &mut Vec<Site<'_>>, output: &mut Output) {
    let serving = || sites.iter().filter(|site| !site.only_redirects);
    let mut kept: Vec<String> = Vec::new();
    let mut most = 0;
    let mut tried: HashSet<Vec<&str>> = HashSet::new();
    for candidate in serving() {
        let addresses = candidate.serving();
        if !tried.insert(addresses.clone()) {
            continue;
        }
        let is_there = |site: &&Site| {
            let own = site.serving();
            !own.is_empty() && addresses.iter().all(|address| own.contains(address))
        };
        let size: usize = serving()
            .filter(is_there)
            .map(|site| size(site.block))
            .sum();
        let is_wider = size == most && addresses.len() > kept.len();
        if !addresses.is_empty() && (size > most || is_wider) {
            most = size;
            kept = addresses.into_iter().map(str::to_owned).collect();
        }
    }
    let listed = kept.join(", ");
    let is_kept = |listen: &Listen| kept.contains(&listen.address);
    sites.retain_mut(|site| {
        if site.only_redirects {
            return true;
        }
        let own: Vec<String> = site.serving().into_iter().map(str::to_owned).collect();
        let has_any = own.iter().any(|address| kept.contains(address));
        let has_all = kept.iter().all(|address| own.contains(address));
        if !has_any {
            let why = format!(
                "Routes do not tell listeners apart. The listeners that are carried over are {listed}, \
                 and this server is on none of them. Run a second geogate for it."
            );
            output.notes.lost(site.block, why);
            super::silence(site.block, output);
            return false;
        }
        if !has_all {
            site.closed = Some(
                "Routes do not tell listeners apart, and this server is not on all of those that are \
                 carried over. It answers 403 there.",
            );
        }
        let redirects = site.to_https.is_some();
        site.listens.retain(|listen| {
            let stays = is_kept(listen) || redirects && !listen.is_tls();
            if let (false, Some(directive)) = (stays, listen.directive) {
                let why = format!(
                    "Routes do not tell listeners apart, and other servers are not on this one. The \
                     listeners that are carried over are {listed}."
                );
                output.notes.lost(directive, why);
            }
            stays
        });
        true
    });
}

/// Returns the number of directives in a block, with the block itself.
fn size(block: &Directive) -> usize {
    1 + block.inside().iter().map(size).sum::<usize>()
}

/// Drops names that an earlier server has, because nginx takes the first of two servers with one
/// name.
fn drop_repeated_names(sites: &mut [Site], output: &mut Output) {
    let mut known: HashSet<String> = HashSet::new();
    for site in sites.iter_mut().filter(|site| !site.only_redirects) {
        let block = site.block;
        site.hosts.retain(|host| {
            let is_new = !known.contains(host);
            if !is_new {
                let why =
                    format!("An earlier server of this listener has the name {host}, as in nginx.");
                output.notes.minor(block, why);
            }
            is_new
        });
        known.extend(site.hosts.iter().cloned());
    }
}

/// Chooses the server for hosts that no server names, and leaves out servers that no host leads to.
/// Returns a server with names that geogate cannot have, if there are other servers that must not
/// get its requests.
fn choose_default<'s>(sites: &mut Vec<Site<'s>>, output: &mut Output) -> Option<&'s Directive> {
    let serving: Vec<usize> = (0..sites.len())
        .filter(|at| !sites[*at].only_redirects)
        .collect();
    let addresses: Vec<String> = {
        let all = serving.iter().flat_map(|at| sites[*at].serving());
        let mut all: Vec<String> = all.map(str::to_owned).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let default_of = |address: &String| {
        let is_told = |at: &&usize| {
            let listens = sites[**at].listens.iter();
            let mut here = listens.filter(|listen| listen.address == *address);
            here.any(|listen| listen.is_default)
        };
        let told = serving.iter().find(is_told);
        told.or_else(|| serving.iter().find(|at| sites[**at].is_on(address)))
    };
    let defaults: Vec<usize> = addresses.iter().filter_map(default_of).copied().collect();
    let first = *defaults.first()?;
    let lost = serving.iter().find(|at| sites[**at].has_lost_names);
    let lost = lost
        .filter(|_| serving.len() > 1)
        .map(|at| sites[*at].block);
    if defaults.iter().any(|other| *other != first) {
        output.notes.lost(
            sites[first].block,
            "The listeners have different default servers. A host that no server names is answered \
             with 404.",
        );
    } else if lost.is_none() {
        sites[first].is_default = true;
    }
    sites.retain(|site| {
        let is_reached = site.only_redirects || site.is_default || !site.hosts.is_empty();
        if !is_reached {
            if site.has_lost_names || site.block.id == lost.map_or(usize::MAX, |block| block.id) {
                output.notes.lost(site.block, "None of its names can be carried over.");
            } else {
                output.notes.minor(
                    site.block,
                    "No host leads to this server: it has no name of its own and is not the default.",
                );
            }
            super::silence(site.block, output);
        }
        is_reached
    });
    lost
}

fn site<'s>(http: &'s Scope<'s>, block: &'s Directive, output: &mut Output) -> Site<'s> {
    output.notes.carried(block);
    let scope = http.inner(block);
    let mut hosts = Vec::new();
    let mut has_lost_names = false;
    for directive in scope.here("server_name") {
        output.notes.carried(directive);
        for name in &directive.args {
            match host(name) {
                Ok(found) => hosts.extend(found),
                Err(why) => {
                    has_lost_names = true;
                    output.notes.lost(directive, format!("{name}: {why}"));
                }
            }
        }
    }
    let ssl = scope.one("ssl").is_some_and(|ssl| ssl.arg(0) == "on");
    let mut listens: Vec<Listen> = scope
        .here("listen")
        .filter_map(|directive| listen::listen(directive, ssl, output))
        .collect();
    if scope.here("listen").next().is_none() {
        listens.push(listen::unsaid(ssl));
    }
    if scope.one("http2").is_some_and(|http2| http2.arg(0) == "on") {
        for listen in listens.iter_mut().filter(|listen| !listen.is_tls()) {
            listen.speaks = Speaks::H2c;
        }
    }
    let to_https = rewrite::to_https(block).map(|redirect| redirect.port);
    let has_tls = listens.iter().any(Listen::is_tls);
    let to_https = to_https.filter(|_| listens.iter().any(|listen| !listen.is_tls()));
    let rejects = scope.here("ssl_reject_handshake").last();
    let closed = rejects.filter(|rejects| rejects.arg(0) == "on").map(
        |_| "geogate rejects no handshake, so what comes for other hosts is answered with 403.",
    );
    Site {
        block,
        hosts,
        is_default: false,
        has_lost_names,
        only_redirects: to_https.is_some() && !has_tls,
        to_https,
        listens,
        closed,
    }
}

/// Returns the hosts of a server name in geogate; none for a name that no client asks for.
fn host(name: &str) -> Result<Vec<String>, &'static str> {
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    let is_host = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    if plain.is_empty() || plain == "_" {
        return Ok(Vec::new());
    }
    if name.starts_with('~') {
        return Err("a host is a name or `*.name`; a regular expression is none. List the names.");
    }
    if let Some(rest) = plain.strip_prefix("*.").filter(|rest| is_host(rest)) {
        return Ok(vec![format!("*.{rest}")]);
    }
    if let Some(rest) = plain.strip_prefix('.').filter(|rest| is_host(rest)) {
        return Ok(vec![rest.to_owned(), format!("*.{rest}")]);
    }
    if is_host(&plain) {
        return Ok(vec![plain]);
    }
    Err("a host is a name or `*.name`. List the names.")
}
