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
use pingora_proxy::Session;

use self::found::{Found, Served};
use self::selection::{Selection, Validators};
use super::compression::{self, Encoder};
use super::context::Context;
use super::failure::too_large;
use super::hsts;
use super::message::{Discard, hold_writes, read_body};
use super::own;
use crate::config::model::Files;
use crate::query::normalize;

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

/// Responds to a request with the file that `path` names in the folder. The path is decoded and
/// normalised, and begins with a slash.
///
/// # Errors
/// If the client closes the connection, or a file cannot be read to its end.
pub async fn serve(
    session: &mut Session,
    ctx: &Context,
    files: &Arc<Files>,
    path: &[u8],
) -> Result<()> {
    let method = &session.req_header().method;
    if method != Method::GET && method != Method::HEAD {
        return own::answer_method_not_allowed(session, ctx, METHODS).await;
    }
    let (folder, path) = (Arc::clone(files), path.to_vec());
    match off_worker(move || found::find(&folder, &path)).await? {
        Found::File(file) => send_file(session, ctx, files, file).await,
        Found::FolderWithoutSlash => redirect_to_folder(session, ctx).await,
        Found::Nothing => own::answer_with_page(session, ctx, 404).await,
        Found::Refused => own::answer_with_page(session, ctx, 403).await,
        Found::Failed(error) => {
            log::error!("serving files of {}: {error}", files.root.display());
            own::answer_with_page(session, ctx, 500).await
        }
    }
}

async fn send_file(
    session: &mut Session,
    ctx: &Context,
    files: &Files,
    served: Served,
) -> Result<()> {
    if !read_body(
        session,
        &ctx.settings.client,
        ctx.max_body_size,
        &mut Discard,
    )
    .await?
    {
        return Err(too_large());
    }
    let validators = Validators::new(served.modified, served.length, SystemTime::now());
    let request = session.req_header();
    let selection = selection::select(request, &validators, served.length);
    let mut header = ResponseHeader::build(200, Some(8))?;
    let media_type = media_type::of(files, &served.name);
    header.insert_header(header::CONTENT_TYPE, media_type)?;
    header.insert_header(header::CONTENT_LENGTH, served.length)?;
    header.insert_header("Last-Modified", validators.last_modified())?;
    header.insert_header("ETag", validators.tag())?;
    header.insert_header("Accept-Ranges", "bytes")?;
    own::change_headers(&mut header, session, ctx)?;
    let mut encoder = None;
    let mut range = 0..served.length;
    match selection {
        Selection::Whole => {
            if let Some(config) = ctx.compression() {
                encoder = compression::begin(config, request, &mut header)?;
            }
        }
        Selection::Part(part) => {
            header.set_status(206)?;
            let (first, last) = (part.start, part.end - 1);
            let of = format!("bytes {first}-{last}/{}", served.length);
            header.insert_header("Content-Range", of)?;
            header.insert_header(header::CONTENT_LENGTH, part.end - part.start)?;
            range = part;
        }
        Selection::NotModified => {
            if let Some(config) = ctx.compression() {
                compression::recode(config, request, &mut header)?;
            }
            header.set_status(304)?;
            for name in [
                header::CONTENT_TYPE,
                header::CONTENT_LENGTH,
                header::CONTENT_ENCODING,
            ] {
                header.remove_header(&name);
            }
            range = 0..0;
        }
        Selection::Failed => return own::send_page(session, ctx, 412).await,
        Selection::Unsatisfiable => {
            header.set_status(416)?;
            header.insert_header("Content-Range", format!("bytes */{}", served.length))?;
            header.insert_header(header::CONTENT_LENGTH, 0)?;
            header.remove_header(&header::CONTENT_TYPE);
            range = 0..0;
        }
    }
    if request.method == Method::HEAD {
        range = 0..0;
    }
    hsts::add(session, &ctx.settings, &mut header)?;
    if !range.is_empty() {
        // The first piece of a compressed file is one with its end, if the file has no other.
        let ends = encoder.is_some() && served.first.is_some();
        hold_writes(session, 1 + u8::from(ends));
    }
    session
        .write_response_header(Box::new(header), range.is_empty())
        .await?;
    send_part(session, ctx, served, range, encoder).await
}

/// Sends a range of a file, each piece after the client has taken the previous one.
async fn send_part(
    session: &mut Session,
    ctx: &Context,
    mut served: Served,
    mut range: Range<u64>,
    mut encoder: Option<Box<Encoder>>,
) -> Result<()> {
    let file = Arc::new(served.file);
    while !range.is_empty() {
        ctx.still_in_time()?;
        let piece = match served.first.take() {
            Some(all) => all.slice(range.start as usize..range.end as usize),
            None => read_piece(&file, range.start, length_of(&range)).await?,
        };
        range.start += piece.len() as u64;
        let end = range.is_empty();
        let piece = match &mut encoder {
            Some(encoder) => encoder.encode(&piece, end)?,
            None => piece,
        };
        if !piece.is_empty() || end {
            session.write_response_body(Some(piece), end).await?;
        }
    }
    Ok(())
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
async fn redirect_to_folder(session: &mut Session, ctx: &Context) -> Result<()> {
    let uri = &session.req_header().uri;
    let path = normalize(uri.path().as_bytes()).into_owned();
    if path.ends_with(b"/") {
        // A rewrite has removed the slash; a redirect would lead here again.
        return own::answer_with_page(session, ctx, 404).await;
    }
    let mut location = percent_encode(&path, PATH).to_string();
    location.push('/');
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    own::redirect(session, ctx, 301, location.as_bytes()).await
}

/// Returns seconds since 1970, for HTTP dates.
fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
