//! Static files of a folder, served by the gateway itself.
//!
//! System calls that may block (names, sizes, contents) run on threads for blocking work. A file is
//! read piece by piece as the client takes it, so a large file costs a worker neither time nor
//! memory. Nothing is cached between requests: a replaced file is served in its current state.

mod found;
mod media_type;
mod selection;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use self::found::Found;
pub use self::found::{Paths, Served, Tried};
use self::selection::{Selection, Validators};
use super::hsts;
use super::local_reply::{self, Reply};
use crate::config::model::{Fallback, Files};
use crate::gateway::compression::{self, Encoder};
use crate::gateway::context::Context;
use crate::gateway::request::request_view::RequestView;
use crate::gateway::request::variables::View;
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

/// Body of a response that is read from a file as the client takes it.
pub struct FileBody {
    file: Arc<File>,
    /// Whole content of a small file.
    first: Option<Bytes>,
    /// Bytes that are still to be sent.
    range: Range<u64>,
    encoder: Option<Box<Encoder>>,
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
        Lookup::Opened(file) => Found::File(file),
        Lookup::Paths(paths) => {
            let files = Arc::clone(&files);
            off_worker(move || found::find(&files, &paths)).await?
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
    let validators = Validators::new(served.modified, served.length, SystemTime::now());
    let selection = selection::select(request, &validators, served.length);
    let mut header = ResponseHeader::build(200, Some(8))?;
    let media_type = media_type::of(files, &served.name);
    header.insert_header(header::CONTENT_TYPE, media_type)?;
    header.insert_header(header::CONTENT_LENGTH, served.length)?;
    header.insert_header("Last-Modified", validators.last_modified())?;
    header.insert_header("ETag", validators.tag())?;
    header.insert_header("Accept-Ranges", "bytes")?;
    local_reply::change_headers(&mut header, request, ctx);
    let mut encoder = None;
    let mut range = 0..0;
    match selection {
        Selection::Whole => {
            if let Some(config) = ctx.compression() {
                encoder = compression::begin(config, request, &mut header)?;
            }
            range = 0..served.length;
        }
        Selection::Part(part) => {
            make_part(&mut header, &part, served.length)?;
            range = part;
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
        range = 0..0;
    }
    hsts::add(request.tls.is_some(), &ctx.settings, &mut header);
    let body = FileBody {
        file: Arc::new(served.file),
        first: served.first,
        range,
        encoder,
    };
    Ok(FileReply::File {
        header: Box::new(header),
        body,
    })
}

fn make_part(header: &mut ResponseHeader, part: &Range<u64>, length: u64) -> Result<()> {
    header.set_status(206)?;
    let (first, last) = (part.start, part.end - 1);
    header.insert_header("Content-Range", format!("bytes {first}-{last}/{length}"))?;
    header.insert_header(header::CONTENT_LENGTH, part.end - part.start)
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

impl FileBody {
    /// Returns `true` if nothing of the body is left.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Returns the next piece of the body. It may be empty while an encoder waits for more input.
    ///
    /// # Errors
    /// If the file has become shorter, or cannot be read.
    pub async fn next(&mut self) -> Result<Bytes> {
        let range = &mut self.range;
        let piece = match self.first.take() {
            Some(all) => all.slice(range.start as usize..range.end as usize),
            None => read_piece(&self.file, range.start, length_of(range)).await?,
        };
        range.start += piece.len() as u64;
        match &mut self.encoder {
            Some(encoder) => encoder.encode(&piece, range.is_empty()),
            None => Ok(piece),
        }
    }
}

fn length_of(range: &Range<u64>) -> usize {
    (range.end - range.start).min(PIECE) as usize
}

/// Reads a piece of a file. If the file was truncated meanwhile, the announced length cannot be
/// sent, so the response is aborted.
async fn read_piece(file: &Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
    let file = Arc::clone(file);
    let read = move || -> io::Result<Bytes> {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, offset)?;
        Ok(piece.into())
    };
    let piece = off_worker(read).await?;
    piece.map_err(|error| Error::because(ErrorType::InternalError, "reading a file", error))
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
