//! geogate: a reverse proxy that knows where each client is.
//!
//! One process terminates client connections (TLS and HTTP/2 included), balances requests over
//! upstream peers, answers `/api/ip_query` from an IP database in memory, and sends upstreams the
//! location of each client.
//!
//! # Layout
//!
//! A folder is a layer, and dependencies point only downwards; `tests/architecture.rs` enforces it.
//!
//! ```text
//! main      flags -> command -> exit code
//! cli       one file a subcommand: run, check, lookup, db, completions
//! server    composition root: database, logs, listeners, reload, stop
//! admin     metrics, health and reload, on a listener of their own
//! gateway   what happens to a connection
//! query     the IP query API, free of any transport
//! proto     HTTP as values: heads, bodies, header lines; no I/O
//! nginx     an nginx.conf -> an equivalent geogate.toml, and the list of what was not translated
//! config    a file with positions -> types that cannot be invalid
//! geo       what an address means: formats, layers, codes, database, reports
//! tree      address -> number; the only hot loop
//!
//! main -> cli -> server -> admin -> gateway -> query -> geo -> tree      server, gateway -> config -> geo
//!         cli -> nginx -> config
//! ```
//!
//! pingora is used in `server`, `admin` and `gateway` only; `geo` and `tree` contain no HTTP.
//!
//! # One request
//!
//! pingora accepts a connection and passes it to [`gateway::downstream`]. If the listener is configured
//! for it, a [PROXY header](proto::proxy_protocol) gives the client's address, and
//! [`gateway::listener::tls`] does the TLS handshake. Each stream of an HTTP/2 connection is a request. For
//! HTTP/1, it parses the head of each request strictly, and answers a plain IP query at once
//! with [`query`]. `gateway::exchange` serves every other request, of either version of HTTP: it
//! decides by values, without a socket, and its engine carries the decision out, as a local reply, or
//! between the client and an upstream peer.
//!
//! [`gateway::request::client_ip`] finds the client behind trusted proxies, and one lookup in
//! [`geo::Database`] finds the client's place. Both are kept in the request's context, beside its
//! request ID and trace. [`gateway::access`] accepts or rejects the request.
//! An IP query that is not plain, for example with a path in another form, is answered by the same
//! code. Any other request takes the most specific route. The route answers the
//! request itself, for example with a file, or forwards it to a peer that [`gateway::upstream`]
//! selects. Before that, [`gateway::request::geo_headers`] replaces any location headers of the client by
//! those of the database. A failed attempt is retried on another peer where that is safe; otherwise
//! [`gateway::error_page`] answers. Every request is counted in
//! [`gateway::telemetry::metrics`] and leaves one line in [`gateway::telemetry::access_log`].
//!
//! A request uses one [`gateway::Settings`] from its head to its end. On a reload, `server` builds
//! new settings and swaps them in as a whole.

pub mod admin;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod geo;
pub mod nginx;
pub mod proto;
pub mod query;
pub mod server;
pub mod tree;
