//! One request of an HTTP/2 client, as a pingora session.
//!
//! pingora's own session drops every interim response (1xx), and waits for a body without a limit.
//! This session uses the h2 crate to avoid both. [`Session`] is pingora's trait for protocols that
//! it does not implement itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream as Messages;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::authority::validate_request_authority;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::http::v2::write_body;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::{Digest, Stream};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::time::timeout;

use crate::gateway::strict::CONNECTION_SPECIFIC;

/// Maximum number of bytes of a request's body that are kept for a retry.
const RETRY_LIMIT: usize = 64 << 10;

/// One stream of a connection.
pub struct H2Stream {
    request: RequestHeader,
    body: RecvStream,
    /// `true` if the end of the body was read.
    body_ended: bool,
    body_read: usize,
    respond: SendResponse<Bytes>,
    /// Sender of the body; `None` until the final response has begun.
    out: Option<SendStream<Bytes>>,
    written: Option<Box<ResponseHeader>>,
    /// `true` if the end of the response was sent.
    ended: bool,
    body_sent: usize,
    retry: Retry,
    digest: Arc<Digest>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

/// Part of a request's body that a retry can send again.
enum Retry {
    Off,
    Kept(BytesMut),
    TooLong,
}

/// Result of accepting a request of a connection.
pub enum Accepted {
    /// A request to serve.
    Request(Box<H2Stream>),
    /// A request that was rejected, because its authority is missing, invalid or ambiguous.
    Refused,
}

/// Accepts the next request of a connection. Returns `None` at the end of the connection.
///
/// # Errors
/// If the connection failed.
pub async fn accept(
    connection: &mut Connection<Stream, Bytes>,
    digest: &Arc<Digest>,
) -> Result<Option<Accepted>, h2::Error> {
    let Some((request, mut respond)) = connection.accept().await.transpose()? else {
        return Ok(None);
    };
    let (request, body) = request.into_parts();
    let request = RequestHeader::from(request);
    let has_authority =
        request.uri.authority().is_some() || request.headers.contains_key(header::HOST);
    if !has_authority || validate_request_authority(&request).is_err() {
        let mut refusal = Response::new(());
        *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
        // An error means that the client has left this stream; its other requests may go on.
        let _ = respond.send_response(refusal, true);
        return Ok(Some(Accepted::Refused));
    }
    Ok(Some(Accepted::Request(Box::new(H2Stream {
        request,
        body,
        body_ended: false,
        body_read: 0,
        respond,
        out: None,
        written: None,
        ended: false,
        body_sent: 0,
        retry: Retry::Off,
        digest: Arc::clone(digest),
        read_timeout: None,
        write_timeout: None,
        drain_timeout: None,
    }))))
}

impl H2Stream {
    /// Ends the response, if it has begun and has not ended.
    fn end(&mut self) -> Result<()> {
        if let (false, Some(out)) = (self.ended, &mut self.out) {
            let sent = out.send_data(Bytes::new(), true);
            sent.or_err(ErrorType::WriteError, "while ending an HTTP/2 response")?;
            self.ended = true;
        }
        Ok(())
    }

    fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.written.is_some() {
            return Ok(());
        }
        for name in CONNECTION_SPECIFIC {
            head.remove_header(name);
        }
        let is_interim = head.status.is_informational();
        if !is_interim {
            head.insert_header(header::DATE, get_cached_date())?;
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        if is_interim {
            let sent = self.respond.send_informational(response);
            return sent.or_err(ErrorType::WriteError, "while writing an interim response");
        }
        let sent = self.respond.send_response(response, end);
        let out = sent.or_err(ErrorType::WriteError, "while writing an HTTP/2 response")?;
        (self.out, self.written, self.ended) = (Some(out), Some(head), end);
        Ok(())
    }

    /// Ready when the client has reset the stream or left.
    async fn closed(&mut self) -> Result<Reason> {
        let reason = poll_fn(|cx| match &mut self.out {
            Some(out) => out.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        });
        let reason = reason.await;
        reason.or_err(ErrorType::H2Error, "while waiting for the client to leave")
    }
}

#[async_trait]
impl Session for H2Stream {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    /// Reads a part of the body. The timeout ends when the response begins: from then on, a client
    /// may send slowly, as in streams of messages.
    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let limit = self.read_timeout.filter(|_| self.written.is_none());
        let read = self.body.data();
        let read = match limit {
            Some(limit) => timeout(limit, read).await.map_err(|_| {
                let reason = format!("no part of the request's body within {limit:?}");
                Error::explain(ErrorType::ReadTimedout, reason)
            })?,
            None => read.await,
        };
        let read = read.transpose();
        let read = read.or_err(ErrorType::ReadError, "while reading a request's body")?;
        let Some(data) = read else {
            self.body_ended = true;
            return Ok(None);
        };
        self.body_read += data.len();
        self.retry.add(&data);
        // An error means that the stream was closed; the next read returns the reason.
        let _ = self.body.flow_control().release_capacity(data.len());
        Ok(Some(data))
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        let limit = self.drain_timeout;
        let drain = async {
            while !self.is_body_done() && self.read_body_bytes().await?.is_some() {}
            Ok(())
        };
        match limit {
            Some(limit) => timeout(limit, drain).await.map_err(|_| {
                let reason = format!("the rest of the request's body took longer than {limit:?}");
                Error::explain(ErrorType::ReadTimedout, reason)
            })?,
            None => drain.await,
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.send_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.send_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(out) = &mut self.out else {
            let reason = "a response's body before its head";
            return Err(Error::explain(ErrorType::H2Error, reason));
        };
        let length = data.len();
        let sent = write_body(out, data, end, self.write_timeout).await;
        sent.map_err(Error::into_down)?;
        self.body_sent += length;
        self.ended = end;
        Ok(())
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if let (false, Some(out)) = (self.ended, &mut self.out) {
            let sent = out.send_trailers(trailers);
            sent.or_err(ErrorType::WriteError, "while writing trailers")?;
            self.ended = true;
        }
        Ok(())
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_last = false;
        for task in tasks {
            is_last |= match task {
                HttpTask::Header(head, end) => {
                    self.send_head(head, end).map_err(Error::into_down)?;
                    end
                }
                HttpTask::Body(Some(data), end) => {
                    if !data.is_empty() {
                        self.write_body(data, end).await?;
                    }
                    end
                }
                HttpTask::Body(None, end) => end,
                HttpTask::Trailer(Some(trailers)) => {
                    let sent = self.write_trailers(*trailers).await;
                    sent.map_err(Error::into_down)?;
                    true
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::UpgradedBody(..) => {
                    let reason = "an upgraded connection behind a request of HTTP/2";
                    return Err(Error::explain(ErrorType::InternalError, reason));
                }
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if is_last {
            self.end().map_err(Error::into_down)?;
        }
        Ok(is_last)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        let (method, uri) = (&self.request.method, &self.request.uri);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        format!("{method} {}, Host: {authority}", uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _reason: &str) {
        if !self.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    fn is_body_done(&mut self) -> bool {
        // After a reset, an error is still to be read, and h2 does not report it as the end.
        self.body_ended || self.body.is_end_stream()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end()
    }

    fn is_body_empty(&mut self) -> bool {
        let length = self.request.headers.get(header::CONTENT_LENGTH);
        let is_none = || length.is_some_and(|length| length.as_bytes() == b"0");
        self.body_read == 0 && (self.body_ended || self.body.is_end_stream() || is_none())
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_body_done() {
            let reason = self.closed().await?;
            let reason = format!("the client reset the stream: {reason}");
            return Err(Error::explain(ErrorType::H2Error, reason));
        }
        self.read_body_bytes().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.body_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.body_read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.request).map_or_else(Bytes::new, BytesMut::freeze)
    }

    fn enable_retry_buffering(&mut self) {
        if matches!(self.retry, Retry::Off) {
            self.retry = Retry::Kept(BytesMut::new());
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        matches!(self.retry, Retry::TooLong)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.retry {
            Retry::Kept(kept) if !kept.is_empty() => Some(Bytes::copy_from_slice(kept)),
            _ => None,
        }
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Messages<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn Messages<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}

impl Retry {
    fn add(&mut self, data: &[u8]) {
        if let Retry::Kept(kept) = self {
            if kept.len() + data.len() > RETRY_LIMIT {
                *self = Retry::TooLong;
            } else {
                kept.extend_from_slice(data);
            }
        }
    }
}
