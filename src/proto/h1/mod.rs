//! HTTP/1: heads, bodies and what is written of them.

pub mod body;
pub mod chunked;
pub mod head;
pub mod response_head;
pub mod rewrite;
pub mod stored_head;
