//! FastCGI 1.0 of a client: records as values, without I/O.
//!
//! A connection carries one request at a time here, with the id 1, because no server of note
//! multiplexes. The crates for the client's side of the protocol own the stream and read the whole
//! response, so the few record types are written here: the engine sends them from its own buffers, and
//! reads a response in the buffer that it was received into.
//!
//! Source: "FastCGI Specification", version 1.0, <https://fastcgi-archives.github.io/FastCGI_Specification.html>.

mod cgi_head;
mod decoder;
mod params;

pub use cgi_head::{BadCgiHead, to_http};
pub use decoder::{Decoded, Decoder, End, MalformedRecord, ProtocolStatus};
pub use params::{ParamTooLong, Params, header_param};

/// Maximum length of the content of a record, in bytes.
pub const MAX_CONTENT: usize = 0xffff;

/// Length of the header of a record, in bytes.
pub const HEADER: usize = 8;

/// Id of the request on its connection.
const REQUEST_ID: u16 = 1;

const VERSION: u8 = 1;

/// Record types (section 8 of the specification).
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// Header of a record with content of this length and no padding.
fn header(kind: u8, length: u16) -> [u8; HEADER] {
    let [id, id_low] = REQUEST_ID.to_be_bytes();
    let [length, length_low] = length.to_be_bytes();
    [VERSION, kind, id, id_low, length, length_low, 0, 0]
}

/// Header of a part of the request's body of `length` bytes, at most [`MAX_CONTENT`]. A part without
/// content is the end of the body.
#[must_use]
pub fn stdin_header(length: usize) -> [u8; HEADER] {
    header(STDIN, u16::try_from(length).unwrap_or(u16::MAX))
}

/// Appends the record that begins a request to a responder. With `keeps`, the server keeps the
/// connection open behind the response.
pub fn begin_request(out: &mut Vec<u8>, keeps: bool) {
    const RESPONDER: u8 = 1;
    out.extend_from_slice(&header(BEGIN_REQUEST, 8));
    out.extend_from_slice(&[0, RESPONDER, u8::from(keeps), 0, 0, 0, 0, 0]);
}
