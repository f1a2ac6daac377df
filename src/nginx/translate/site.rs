//! Virtual servers: their names and their listeners.
//!
//! nginx chooses a server by the listener first, and by the host among the servers of that listener.
//! So each server has [`Names`] for each listener: those that no earlier server of the listener has,
//! and all other hosts if it is the listener's default. Listeners with the same names share routes.

use std::collections::{HashMap, HashSet};

use super::listen::{self, Listen, Speaks};
use super::pattern::translated;
use super::rewrite;
use crate::nginx::Output;
use crate::nginx::scope::Scope;
use crate::nginx::tree::Directive;

/// One `server` block.
#[derive(Debug)]
pub(super) struct Site<'s> {
    pub(super) block: &'s Directive,
    /// Hosts as geogate writes them: `name`, `*.name`, `name.*` or `~REGEX`.
    hosts: Vec<String>,
    /// Names that are written as `.name`, without the dot: the name and all below it.
    dotted: Vec<String>,
    /// True if the server has names that geogate cannot have.
    has_lost_names: bool,
    /// Hosts that the server answers, with the listeners.
    pub(super) names: Vec<Names>,
    /// Listeners; nginx's default if the server has no `listen`.
    pub(super) listens: Vec<Listen<'s>>,
    /// Port of the redirect to TLS, if the server does nothing else on listeners without TLS.
    pub(super) to_https: Option<u16>,
    /// True if the server does nothing but this redirect.
    pub(super) only_redirects: bool,
    /// Reason why the server answers 403 to everything.
    pub(super) closed: Option<&'static str>,
}

/// Hosts that a server answers on some listeners.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// Addresses of the listeners; empty for all.
    pub(super) addresses: Vec<String>,
    pub(super) hosts: Vec<String>,
    /// True if the server answers hosts that no server names.
    pub(super) is_default: bool,
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

impl Sites<'_> {
    /// Returns the servers that have patterns of hosts: `*.name`, `name.*` or a regular expression.
    pub(super) fn with_patterns(&self) -> Vec<usize> {
        let is_pattern = |host: &String| host.contains('*') || host.starts_with('~');
        let sites = self
            .all
            .iter()
            .filter(|site| site.hosts.iter().any(is_pattern));
        sites.map(|site| site.block.id).collect()
    }
}

/// Returns all servers of the file that are carried over.
pub(super) fn all<'s>(http: &'s Scope<'s>, output: &mut Output) -> Sites<'s> {
    let mut sites: Vec<Site> = Vec::new();
    for block in http.here("server") {
        sites.push(site(http, block, output));
    }
    close_other_authorities(http, &mut sites);
    redirect_together(&mut sites);
    drop_covered_listeners(&mut sites, output);
    give_names(&mut sites, output);
    let nameless = drop_unreached(&mut sites, output);
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

/// Drops listeners of one address where another listener takes all addresses of the same port, since
/// the system does not open both.
fn drop_covered_listeners(sites: &mut [Site], output: &mut Output) {
    let all: HashSet<String> = sites
        .iter()
        .flat_map(|site| site.listens.iter().map(|listen| listen.address.clone()))
        .collect();
    for site in sites {
        site.listens.retain(|listen| {
            let cover = listen::of_all_addresses(&listen.address);
            let is_covered = cover != listen.address && all.contains(&cover);
            if let (true, Some(directive)) = (is_covered, listen.directive) {
                let why = format!(
                    "{cover} is listened on, too, and takes the connections to this address."
                );
                output.notes.lost(directive, why);
            }
            !is_covered
        });
    }
}

/// Gives each server the hosts that it answers on each of its listeners.
fn give_names(sites: &mut [Site], output: &mut Output) {
    let addresses: Vec<String> = {
        let all = sites.iter().flat_map(|site| &site.listens);
        let mut known = HashSet::new();
        all.map(|listen| listen.address.clone())
            .filter(|address| known.insert(address.clone()))
            .collect()
    };
    for address in &addresses {
        let default = default_of(address, sites);
        let mut taken: HashSet<String> = HashSet::new();
        for (at, site) in sites.iter_mut().enumerate() {
            if !site.is_on(address) {
                continue;
            }
            let (hosts, repeated): (Vec<_>, Vec<_>) = site
                .hosts
                .iter()
                .cloned()
                .partition(|host| !is_taken(host, &site.dotted, &taken));
            for host in repeated {
                let why =
                    format!("An earlier server of this listener has the name {host}, as in nginx.");
                output.notes.minor(site.block, why);
            }
            taken.extend(hosts.iter().cloned());
            let is_default = default == Some(at);
            let is_same =
                |names: &&mut Names| names.hosts == hosts && names.is_default == is_default;
            match site.names.iter_mut().find(is_same) {
                Some(names) => names.addresses.push(address.clone()),
                None => site.names.push(Names {
                    addresses: vec![address.clone()],
                    hosts,
                    is_default,
                }),
            }
        }
    }
    // Listeners that redirect have no routes but those of ACME challenges.
    let serving: Vec<String> = sites
        .iter()
        .flat_map(Site::serving)
        .map(str::to_owned)
        .collect();
    for site in sites {
        for names in site.names.iter_mut().filter(|_| !site.only_redirects) {
            if serving
                .iter()
                .all(|address| names.addresses.contains(address))
            {
                names.addresses.clear();
            }
        }
        site.names
            .retain(|names| names.is_default || !names.hosts.is_empty());
    }
}

/// Returns `true` if an earlier server has a host, or the other half of a `.name`: nginx then ignores the
/// name as a whole.
fn is_taken(host: &str, dotted: &[String], taken: &HashSet<String>) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let both = [name.to_owned(), format!("*.{name}")];
    let is_dotted = dotted.iter().any(|dotted| dotted == name);
    taken.contains(host) || is_dotted && both.iter().any(|host| taken.contains(host))
}

/// Returns the position of a listener's default server: the one that says so, or the first.
fn default_of(address: &str, sites: &[Site]) -> Option<usize> {
    let is_told = |site: &Site| {
        let mut here = site
            .listens
            .iter()
            .filter(|listen| listen.address == address);
        here.any(|listen| listen.is_default)
    };
    let told = sites.iter().position(is_told);
    told.or_else(|| sites.iter().position(|site| site.is_on(address)))
}

/// Leaves out servers that no host leads to. Returns a server with names that geogate cannot have,
/// if there are other servers that must not get its requests; then no server is a default.
fn drop_unreached<'s>(sites: &mut Vec<Site<'s>>, output: &mut Output) -> Option<&'s Directive> {
    let lost = sites.iter().find(|site| site.has_lost_names);
    let lost = lost.filter(|_| sites.len() > 1).map(|site| site.block);
    if lost.is_some() {
        for site in sites.iter_mut() {
            for names in &mut site.names {
                names.is_default = false;
            }
            site.names.retain(|names| !names.hosts.is_empty());
        }
    }
    sites.retain(|site| {
        let is_reached = site.only_redirects || !site.names.is_empty();
        if !is_reached {
            if site.has_lost_names || site.listens.is_empty() {
                output.notes.lost(site.block, "None of its names or listeners can be carried over.");
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

impl Site<'_> {
    /// Returns the addresses where the server does more than redirect clients to TLS.
    fn serving(&self) -> impl Iterator<Item = &str> {
        let serving = |listen: &&Listen| self.to_https.is_none() || listen.is_tls();
        let listens = self.listens.iter().filter(serving);
        listens.map(|listen| listen.address.as_str())
    }

    fn is_on(&self, address: &str) -> bool {
        self.listens.iter().any(|listen| listen.address == address)
    }
}

fn site<'s>(http: &'s Scope<'s>, block: &'s Directive, output: &mut Output) -> Site<'s> {
    output.notes.carried(block);
    let scope = http.inner(block);
    let (mut hosts, mut dotted) = (Vec::new(), Vec::new());
    let mut has_lost_names = false;
    for directive in scope.here("server_name") {
        output.notes.carried(directive);
        for name in &directive.args {
            dotted.extend(name.strip_prefix('.').map(str::to_ascii_lowercase));
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
    if let Some(http2) = scope.one("http2").filter(|http2| http2.arg(0) == "on") {
        for listen in listens.iter_mut().filter(|listen| !listen.is_tls()) {
            output.notes.carried(http2);
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
        dotted,
        has_lost_names,
        names: Vec::new(),
        only_redirects: to_https.is_some() && !has_tls,
        to_https,
        listens,
        closed,
    }
}

/// Returns the hosts of a server name in geogate; none for a name that no client asks for.
fn host(name: &str) -> Result<Vec<String>, &'static str> {
    if let Some(regex) = name.strip_prefix('~') {
        // nginx matches names in lower case, and ignores the case of the expression.
        let found = translated(&format!("(?i){regex}"));
        return if found.is_exact {
            Ok(vec![format!("~{}", found.regex)])
        } else {
            Err("geogate does not have this kind of regular expression. List the names.")
        };
    }
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    let is_host = |name: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    // nginx has no variables in names, so no client asks for `$host`.
    if plain.is_empty() || plain == "_" || plain.contains('$') {
        return Ok(Vec::new());
    }
    if let Some(rest) = plain.strip_prefix("*.").filter(|rest| is_host(rest)) {
        return Ok(vec![format!("*.{rest}")]);
    }
    if let Some(rest) = plain.strip_suffix(".*").filter(|rest| is_host(rest)) {
        return Ok(vec![format!("{rest}.*")]);
    }
    if let Some(rest) = plain.strip_prefix('.').filter(|rest| is_host(rest)) {
        return Ok(vec![rest.to_owned(), format!("*.{rest}")]);
    }
    if is_host(&plain) {
        return Ok(vec![plain]);
    }
    Err("a host is `name`, `*.name`, `name.*` or a regular expression. List the names.")
}
