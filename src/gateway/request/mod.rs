//! Requests: whose they are, and what decisions read and write of them.
//!
//! `request_view` is a request as every decision sees it. `validate` rejects heads that two
//! servers could read differently. [`client_ip`] finds the client behind trusted proxies,
//! `place_cache` its place, and `identity` its ids. `variables` are the values for templates, with
//! `own_value` for those of the operator and `upstream_view` for those of the upstream's response, and
//! [`geo_headers`] and `header_rules` the changes to header lines.

pub(in crate::gateway) mod basic_auth;
pub mod client_ip;
pub(in crate::gateway) mod escaping;
mod expires;
pub mod geo_headers;
pub(in crate::gateway) mod head_lines;
pub(in crate::gateway) mod header_rules;
pub(in crate::gateway) mod host;
pub(in crate::gateway) mod identity;
pub(in crate::gateway) mod own_value;
pub(in crate::gateway) mod place_cache;
pub(in crate::gateway) mod random;
pub(in crate::gateway) mod request_id;
pub(in crate::gateway) mod request_view;
pub(in crate::gateway) mod times;
pub(in crate::gateway) mod trace_context;
pub(in crate::gateway) mod upstream_view;
pub(in crate::gateway) mod validate;
pub(in crate::gateway) mod variables;
