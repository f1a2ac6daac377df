//! HTTP/1: parsing of heads and bodies, and writing of heads.

pub mod body;
pub mod chunked;
pub mod head;
pub mod response_head;
pub mod rewrite;
pub mod stored_head;
