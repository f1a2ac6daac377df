//! What happens to a connection.
//!
//! [`proxy`] is where pingora calls in; each of its phases is a few calls to the modules beside it,
//! which decide with values and pure functions and know no session.

pub mod access_log;
pub mod client_ip;
pub mod drain;
pub mod error_page;
pub mod geo_headers;
pub mod proxy;
pub mod upstream;

pub use drain::Drain;
pub use proxy::Gateway;
