//! geogate: an edge gateway that knows where its clients are.
//!
//! One process terminates client connections, TLS and HTTP/2 included, balances them over upstream
//! peers, answers `/api/ip_query` from an IP database in memory, and tells upstreams where each
//! client is.
//!
//! # The house
//!
//! A folder is a layer, and arrows only point down; `tests/architecture.rs` holds them.
//!
//! ```text
//! main      flags -> command -> exit code
//! cli       one file a subcommand: run, check, lookup, db, completions
//! server    composition root: database, logs, listeners, reload, stop
//! admin     metrics, health and reload, on a listener of their own
//! gateway   what happens to a connection
//! query     the IP query API, free of any transport
//! nginx     an nginx.conf -> the geogate.toml that does the same, and what is left
//! config    a file with positions -> types that cannot be invalid
//! geo       what an address means: formats, layers, codes, database, reports
//! tree      address -> number; the only hot loop
//!
//! main -> cli -> server -> admin -> gateway -> query -> geo -> tree      server, gateway -> config -> geo
//!         cli -> nginx -> config
//! ```
//!
//! pingora is named in `server`, `admin` and `gateway` only; `geo` and `tree` know no HTTP.
//!
//! # One request
//!
//! pingora accepts a connection and gives it to [`gateway::lane`]. If its listener asks for it, a
//! [PROXY header](gateway::proxy_protocol) says who the client is, and [`gateway::tls`] shakes hands.
//! HTTP/2 goes to pingora's proxy from there. Of HTTP/1 the lane reads the head of each request,
//! strictly, and answers a plain IP query there and then with [`query`]. Anything else goes through
//! the phases of [`gateway::proxy`]: driven by the lane's own straight path if the request has no
//! body, by pingora's proxy otherwise, with the same decisions either way.
//!
//! [`gateway::client_ip`] finds the client behind trusted hops, one lookup in [`geo::Database`] finds
//! its place, and both stay in the request's context, beside its id and its trace.
//! [`gateway::policy`] and [`gateway::limit`] say whether it may come. A query in whatever spelling of
//! its path is answered by the same code as in the lane; what else comes takes the most specific
//! route, which answers it itself, with a file perhaps, or leads to a peer that [`gateway::upstream`]
//! selects, after [`gateway::geo_headers`] has replaced what the client said of itself by what we
//! know. A failure is tried on another peer where that is safe, or ends in [`gateway::error_page`].
//! Every request, through whichever door, is counted in [`gateway::metrics`] and leaves one line in
//! [`gateway::access_log`].
//!
//! All of it is done with one [`gateway::Settings`], from a request's head to its end. `server` makes
//! the next one when the configuration is read again, and swaps it in whole.

pub mod admin;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod geo;
pub mod nginx;
pub mod query;
pub mod server;
pub mod tree;
