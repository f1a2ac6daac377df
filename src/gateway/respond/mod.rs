//! Responses that the gateway makes itself, as values: pages, redirects, answers to IP queries and
//! files. Nothing is sent here.

pub mod files;
pub mod hsts;
pub mod https_redirect;
pub mod local_reply;
pub mod script;
