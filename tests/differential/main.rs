//! Debian's nginx and geogate with its own translation of the same file, before one recording origin.
//!
//! Each file of `sites` is a configuration in the idioms of a kind of site. Requests are made from its
//! servers, locations and conditions, and go to both servers. Status, headers, body and what the origin
//! received must be equal, except for [`intended::INTENDED`] and for what a directive is marked with:
//!
//! ```nginx
//! proxy_cache one;  # listed: header x-cache
//! ```
//!
//! Such a mark needs a line about that directive in the report of `geogate check --nginx`, it holds for
//! requests to the block that contains the directive, and it must be needed.
//!
//! To compare other files: `GEOGATE_SITES="a.conf b.conf" cargo test --test differential -- --ignored
//! --nocapture`.

mod client;
mod compare;
mod fastcgi;
mod intended;
mod locate;
mod nginx_file;
mod origin;
mod requests;
mod sample;
mod servers;
mod sites;
mod stage;
#[path = "../common/trusting_client.rs"]
mod trusting_client;
