//! Static files of a folder, served by the gateway itself.
//!
//! System calls that may block (names, sizes, contents) run on threads for blocking work. A file is
//! read piece by piece as the client takes it, so a large file costs a worker neither time nor
//! memory. Nothing is cached between requests: a replaced file is served in its current state.

mod body;
mod found;
mod listing;
mod media_type;
mod selection;

use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

pub use self::body::FileBody;
use self::body::Segments;
use self::found::Found;
pub use self::found::{Paths, Served, Tried};
use self::selection::{Selection, Validators};
use super::hsts;
use super::local_reply::{self, Reply};
use crate::config::model::{Coding, Fallback, Files, Listing};
use crate::gateway::compression;
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::View;
use crate::gateway::route::Replaced;
use crate::gateway::route::target::append_query;
use crate::proto::headers::Headers;

const METHODS: &str = "GET, HEAD";

/// Maximum number of bytes of a file that are in memory at a time.
const PIECE: u64 = 64 << 10;

/// Characters to escape in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Request for a file, before the lookup.
#[derive(Debug)]
pub struct FileRequest {
    /// Folder and its settings.
    pub files: Arc<Files>,
    /// File to look up.
    pub lookup: Lookup,
}

/// File of a request.
#[derive(Debug)]
pub enum Lookup {
    /// The file of these paths in the folder: decoded, normalised, with a leading slash.
    Paths(Paths),
    /// This file, which the lookup of an index has opened.
    Opened(Served),
}

/// Request that continues elsewhere.
#[derive(Debug)]
pub enum Elsewhere {
    /// With this target, by the route that it has. If that is the same route, this file is served.
    Index {
        /// Path.
        target: Vec<u8>,
        /// Folder and its settings.
        files: Arc<Files>,
        /// File of the index.
        opened: Served,
    },
    /// As the fallback of these files says: by the route of a target or of a name.
    Fallback(Arc<Files>),
    /// With this target, path and query, by the route that it has, unless that has the first priority.
    Rerouted(Vec<u8>),
}

/// Answer to a request for a file.
pub enum FileReply {
    /// A page, a redirect or an error.
    Reply(Box<Reply>),
    /// The file, or a part of it.
    File {
        /// Head of the response.
        header: Box<ResponseHeader>,
        /// Body.
        body: FileBody,
    },
    /// An internal redirect.
    Elsewhere(Elsewhere),
}

impl FileReply {
    fn reply(reply: Reply) -> Self {
        FileReply::Reply(Box::new(reply))
    }
}

/// Looks up a file and prepares the response.
///
/// # Errors
/// If a header value is invalid, or work on a thread for files fails.
pub async fn answer<H: Headers>(
    request: &RequestView<'_, H>,
    ctx: &Context,
    asked: FileRequest,
) -> Result<FileReply> {
    let FileRequest { files, lookup } = asked;
    let found = match lookup {
        Lookup::Opened(file) if files.precompressed.is_empty() => Found::File(file),
        lookup => {
            let preferred = compression::preferred(request, &files.precompressed);
            let files = Arc::clone(&files);
            off_worker(move || look(&files, lookup, &preferred)).await?
        }
    };
    let reply = match found {
        Found::File(_) if !matches!(*request.method, Method::GET | Method::HEAD) => {
            local_reply::method_not_allowed(request, ctx, METHODS)
        }
        Found::FolderWithoutSlash if is_wrong_method(request) => {
            local_reply::method_not_allowed(request, ctx, METHODS)
        }
        Found::Nothing
            if is_wrong_method(request) && matches!(files.fallback, Fallback::Status(404)) =>
        {
            local_reply::method_not_allowed(request, ctx, METHODS)
        }
        Found::File(file) => return file_reply(request, ctx, &files, file),
        Found::Index(name, opened) => {
            let view = View::of(request, ctx);
            return Ok(FileReply::Elsewhere(Elsewhere::Index {
                target: target_within(&view, name.as_bytes()),
                files,
                opened,
            }));
        }
        Found::Listing(_) if !matches!(*request.method, Method::GET | Method::HEAD) => {
            local_reply::method_not_allowed(request, ctx, METHODS)
        }
        Found::Listing(entries) => list(request, ctx, &files, &entries),
        Found::FolderWithoutSlash => redirect_to_folder(request, ctx),
        Found::Nothing => match &files.fallback {
            Fallback::Status(status) => local_reply::page(request, ctx, *status),
            Fallback::Path(_) | Fallback::Route(_) => {
                return Ok(FileReply::Elsewhere(Elsewhere::Fallback(files)));
            }
        },
        Found::Refused => local_reply::page(request, ctx, 403),
        Found::Failed(error) => {
            log::error!("serving files of {}: {error}", files.root.display());
            local_reply::page(request, ctx, 500)
        }
    };
    reply.map(FileReply::reply)
}

/// Looks up a file, in the coding that the client prefers. This may block.
fn look(files: &Files, lookup: Lookup, preferred: &[Coding]) -> Found {
    let found = match lookup {
        Lookup::Opened(file) => Found::File(file),
        Lookup::Paths(paths) => found::find(files, &paths),
    };
    match found {
        Found::File(file) if !files.precompressed.is_empty() => {
            Found::File(found::precompressed(files, file, preferred))
        }
        found => found,
    }
}

/// Lists a folder. The path is that of the request, which a rewrite may have led here from.
fn list<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    files: &Files,
    entries: &[listing::Entry],
) -> Result<Reply> {
    let form = files.listing.unwrap_or(Listing::Html);
    let path = View::of(request, ctx).path().into_owned();
    let text = listing::write(form, &path, entries);
    local_reply::respond(request, ctx, 200, listing::media_type(form), text.into())
}

/// Returns `true` if nothing here takes the method, whatever the name. A form that is sent to a missing
/// file still gets 404.
fn is_wrong_method<H: Headers>(request: &RequestView<H>) -> bool {
    !matches!(*request.method, Method::GET | Method::HEAD | Method::POST)
}

fn file_reply<H: Headers>(
    request: &RequestView<H>,
    ctx: &Context,
    files: &Files,
    served: Served,
) -> Result<FileReply> {
    let now = SystemTime::now();
    let coding = served.encoded.coding;
    let validators = Validators::new(served.modified, served.length, coding, now);
    let selection = match ctx.final_status(StatusCode::OK) {
        StatusCode::OK => selection::select(request, &validators, served.length, files.max_ranges),
        // Neither a part of the page nor its absence is an answer to the request.
        _ => Selection::Whole,
    };
    let mut header = whole_header(ctx, files, &served, &validators)?;
    local_reply::change_headers(&mut header, request, ctx);
    let mut encoder = None;
    let mut segments = Segments::default();
    if let (Selection::Part(_) | Selection::Parts(_), Some(config)) =
        (&selection, ctx.compression())
    {
        compression::announce(config, &mut header);
    }
    match selection {
        Selection::Whole => {
            if let Some(config) = ctx.compression() {
                encoder = compression::begin(config, request, &mut header)?;
            }
            segments.push_file(0..served.length);
        }
        Selection::Part(part) => {
            make_part(&mut header, &part, served.length)?;
            segments.push_file(part);
        }
        Selection::Parts(parts) => {
            segments = make_parts(&mut header, &parts, served.length)?;
        }
        Selection::NotModified => {
            if let Some(config) = ctx.compression() {
                compression::recode(config, request, &mut header);
            }
            make_not_modified(&mut header)?;
        }
        Selection::Failed => return local_reply::page(request, ctx, 412).map(FileReply::reply),
        Selection::Unsatisfiable => {
            header.set_status(416)?;
            header.insert_header("Content-Range", format!("bytes */{}", served.length))?;
            header.insert_header(header::CONTENT_LENGTH, 0)?;
            header.remove_header(&header::CONTENT_TYPE);
        }
    }
    if *request.method == Method::HEAD {
        segments = Segments::default();
    }
    hsts::add(request.tls.is_some(), &ctx.settings, &mut header);
    let body = FileBody::new(served.file, served.first, segments, encoder);
    Ok(FileReply::File {
        header: Box::new(header),
        body,
    })
}

/// Head of the response with a whole file.
fn whole_header(
    ctx: &Context,
    files: &Files,
    served: &Served,
    validators: &Validators,
) -> Result<ResponseHeader> {
    let status = ctx.final_status(StatusCode::OK);
    let mut header = ResponseHeader::build(status, Some(8))?;
    let of_upstream = ctx.replaced().and_then(Replaced::media_type);
    let of_file = || media_type::of(files, &served.name).as_bytes();
    header.insert_header(header::CONTENT_TYPE, of_upstream.unwrap_or_else(of_file))?;
    header.insert_header(header::CONTENT_LENGTH, served.length)?;
    header.insert_header("Last-Modified", validators.last_modified())?;
    header.insert_header("ETag", validators.tag())?;
    if status == StatusCode::OK && files.max_ranges > 0 {
        header.insert_header("Accept-Ranges", "bytes")?;
    }
    let (coding, varies) = (served.encoded.coding, served.encoded.varies);
    if let Some(coding) = coding {
        header.insert_header(header::CONTENT_ENCODING, coding.token())?;
    }
    if varies {
        compression::add_vary(&mut header);
    }
    Ok(header)
}

fn make_part(header: &mut ResponseHeader, part: &Range<u64>, length: u64) -> Result<()> {
    header.set_status(206)?;
    let (first, last) = (part.start, part.end - 1);
    header.insert_header("Content-Range", format!("bytes {first}-{last}/{length}"))?;
    header.insert_header(header::CONTENT_LENGTH, part.end - part.start)
}

/// Makes the head that of a response with several parts (RFC 9110, 15.3.7.2). Returns its body.
fn make_parts(header: &mut ResponseHeader, parts: &[Range<u64>], length: u64) -> Result<Segments> {
    // It must not be in the content: it is new, so the content was written without it.
    let boundary = format!("{:032x}", fastrand::u128(..));
    let media_type = header.headers.get(header::CONTENT_TYPE);
    let media_type = media_type.map_or(&b""[..], |value| value.as_bytes());
    let mut segments = Segments::default();
    for part in parts {
        let (first, last) = (part.start, part.end - 1);
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        if !media_type.is_empty() {
            head.extend_from_slice(&[b"Content-Type: ", media_type, b"\r\n"].concat());
        }
        let range = format!("Content-Range: bytes {first}-{last}/{length}\r\n\r\n");
        head.extend_from_slice(range.as_bytes());
        segments.push_text(head.into());
        segments.push_file(part.clone());
    }
    segments.push_text(format!("\r\n--{boundary}--\r\n").into());
    let kind = format!("multipart/byteranges; boundary={boundary}");
    header.set_status(206)?;
    header.insert_header(header::CONTENT_TYPE, kind)?;
    header.insert_header(header::CONTENT_LENGTH, segments.length())?;
    Ok(segments)
}

fn make_not_modified(header: &mut ResponseHeader) -> Result<()> {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
    ] {
        header.remove_header(&name);
    }
    header.set_status(304)
}

/// Runs blocking work on a thread where it blocks no connection.
async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::because(ErrorType::InternalError, "serving a file", error))
}

/// Redirects to the same path with a trailing slash, so that relative links in the index resolve
/// within the folder. The location is built from the normalised path: the client's spelling might
/// name another host.
fn redirect_to_folder<H: Headers>(request: &RequestView<H>, ctx: &Context) -> Result<Reply> {
    let view = View::of(request, ctx);
    if view.path().ends_with(b"/") {
        // A rewrite has removed the slash; a redirect would lead here again.
        return local_reply::page(request, ctx, 404);
    }
    local_reply::redirect(request, ctx, 301, &target_within(&view, b"/"))
}

/// Returns the target of the request with more text behind its path.
fn target_within<H: Headers>(view: &View<H>, rest: &[u8]) -> Vec<u8> {
    let path = [&view.path(), rest].concat();
    let mut target = percent_encode(&path, PATH).to_string().into_bytes();
    append_query(&mut target, view.query());
    target
}

/// Returns seconds since 1970, for HTTP dates.
fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Settings of a folder with everything else as it is by default.
    pub(super) fn files(root: &Path) -> Files {
        Files {
            root: root.to_owned(),
            index: Vec::new(),
            tried: None,
            fallback: Fallback::Status(404),
            precompressed: Vec::new(),
            listing: None,
            max_ranges: 100,
            types: Vec::new(),
            known_types: true,
            default_type: "text/plain".to_owned(),
            follow_links: false,
            hidden: false,
        }
    }

    #[test]
    fn a_response_of_parts_is_as_long_as_it_says() {
        let mut header = ResponseHeader::build(200, None).unwrap();
        header.insert_header("Content-Type", "text/css").unwrap();
        let segments = make_parts(&mut header, &[0..2, 5..6], 9).unwrap();
        assert_eq!(header.status, 206);
        let kind = header.headers["content-type"].to_str().unwrap();
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let part = |range: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/css\r\nContent-Range: bytes {range}/9\r\n\r\n"
            )
        };
        let text = [part("0-1"), part("5-5"), format!("\r\n--{boundary}--\r\n")].concat();
        let length = text.len() + 3;
        assert_eq!(header.headers["content-length"], length.to_string());
        assert_eq!(segments.length(), length as u64);
    }
}
