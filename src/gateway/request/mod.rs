//! Requests: whose they are, and what decisions read and write of them.
//!
//! `request_view` is a request as every decision sees it. `validate` rejects heads that two
//! servers could read differently. [`client_ip`] finds the client behind trusted proxies,
//! `place_cache` its place, and `identity` its ids. `variables` are the values for templates, and
//! [`geo_headers`] and `header_rules` the changes to header lines.

pub(in crate::gateway) mod basic_auth;
pub mod client_ip;
mod expires;
pub mod geo_headers;
pub(in crate::gateway) mod header_rules;
pub(in crate::gateway) mod host;
pub(in crate::gateway) mod identity;
pub(in crate::gateway) mod place_cache;
pub(in crate::gateway) mod random;
pub(in crate::gateway) mod request_id;
pub(in crate::gateway) mod request_view;
pub(in crate::gateway) mod trace_context;
pub(in crate::gateway) mod validate;
pub(in crate::gateway) mod variables;
