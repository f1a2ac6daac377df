//! Connections of the admin listener. They are HTTP/1, parsed by the same strict parser and with
//! the same timeouts as client connections. Request bodies are not used, so they are read and
//! dropped.

use std::io;
use std::time::SystemTime;

use bytes::{Buf, BytesMut};
use http::header;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::{Admin, Answer};
use crate::config::model::Client;
use crate::proto::h1::body::Body;
use crate::proto::h1::head::{self, Demand, Limits, Parse};

/// Size of one read in bytes.
const READ_SIZE: usize = 4 << 10;

/// Largest accepted body in bytes.
const BODY_LIMIT: usize = 64 << 10;

/// Time limit for the client to read the last response.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection between two requests.
struct Connection<'a> {
    admin: &'a Admin,
    stream: Stream,
    /// Bytes that were read and not parsed yet.
    read_buf: BytesMut,
    served: u32,
}

/// A request without its body.
struct Request {
    header: RequestHeader,
    /// True if the connection may be kept after this request.
    keep: bool,
}

/// End of a connection, with the status of the error response, if one is sent.
struct Ended(Option<u16>);

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Ended(None)
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(admin: &Admin, stream: Stream) {
    let mut connection = Connection {
        admin,
        stream,
        read_buf: BytesMut::new(),
        served: 0,
    };
    loop {
        let client = admin.gateway.settings().client().clone();
        let Err(Ended(status)) = connection.serve_one(&client).await else {
            continue;
        };
        if let Some(status) = status {
            let answer = Answer::of_status(status);
            let _ = connection.send(&answer, true, false, &client).await;
        }
        return connection.close().await;
    }
}

impl Connection<'_> {
    /// Reads a request and answers it. An error ends the connection.
    async fn serve_one(&mut self, client: &Client) -> Result<(), Ended> {
        let request = self.read_request(client).await?;
        self.served += 1;
        let answer = self.admin.answer_if_allowed(&request.header).await;
        let draining = self.admin.gateway.drain().is_draining();
        let keep = request.keep && self.served < client.keepalive_requests && !draining;
        let with_body = request.header.method != http::Method::HEAD;
        self.send(&answer, with_body, keep, client).await?;
        if keep { Ok(()) } else { Err(Ended(None)) }
    }

    async fn read_request(&mut self, client: &Client) -> Result<Request, Ended> {
        let mut deadline = self.first_deadline(client);
        loop {
            if let Some((mut request, body)) = self.parse(client)? {
                match body {
                    // The client waits for a `100 Continue`, which this listener never sends.
                    Some(_) if request.header.headers.contains_key(header::EXPECT) => {
                        request.keep = false;
                    }
                    Some(body) => self.drop_body(body, client).await?,
                    None => request.keep = false,
                }
                return Ok(request);
            }
            let was_empty = self.read_buf.is_empty();
            self.read_buf.reserve(READ_SIZE);
            match timeout_at(deadline, self.stream.read_buf(&mut self.read_buf)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Err(Ended(None)),
                Err(_) => return Err(Ended((!self.read_buf.is_empty()).then_some(408))),
            }
            if was_empty {
                deadline = Instant::now() + client.header_timeout;
            }
        }
    }

    /// Returns the deadline for the first byte of a request, or for the whole head if a part has
    /// arrived.
    fn first_deadline(&self, client: &Client) -> Instant {
        let is_idle = self.served > 0 && self.read_buf.is_empty();
        let time = if is_idle {
            client.keepalive_timeout
        } else {
            client.header_timeout
        };
        Instant::now() + time
    }

    /// Parses the request at the start of the buffer, and returns it with its body; `None` if the
    /// head is incomplete. An upgrade request has no body of a known end.
    fn parse(&mut self, client: &Client) -> Result<Option<(Request, Option<Body>)>, Ended> {
        // Old clients may send one empty line before a request (RFC 9112, 2.2).
        if self.read_buf.starts_with(b"\r\n") {
            self.read_buf.advance(2);
        }
        if self.read_buf.is_empty() {
            return Ok(None);
        }
        let limits = Limits::new(client.max_header_size, client.max_headers);
        let mut slots = head::slots();
        let head = match head::read(&self.read_buf, limits, &mut slots) {
            Parse::Incomplete => return Ok(None),
            Parse::Invalid(status) => return Err(Ended(Some(status))),
            Parse::Complete(head) => head,
        };
        let malformed = |_| Ended(Some(400));
        if let Some(mut written) = head.to_origin_form() {
            written.extend_from_slice(&self.read_buf[head.length..]);
            self.read_buf = BytesMut::from(&written[..]);
            return self.parse(client);
        }
        let mut header =
            RequestHeader::build(head.method, head.target.as_bytes(), None).map_err(malformed)?;
        for (name, value) in head.fields() {
            let added = header.append_header(name.to_owned(), value);
            added.map_err(malformed)?;
        }
        let is_upgrade = head.demand == Demand::Upgrade;
        let body = (!is_upgrade).then(|| Body::of(&head));
        let keep = head.is_1_1 && !head.close;
        let length = head.length;
        self.read_buf.advance(length);
        Ok(Some((Request { header, keep }, body)))
    }

    async fn drop_body(&mut self, mut body: Body, client: &Client) -> Result<(), Ended> {
        let deadline = Instant::now() + client.read_timeout;
        let mut length = 0;
        loop {
            self.read_buf.reserve(READ_SIZE);
            let taken = body.take(&self.read_buf).map_err(|_| Ended(Some(400)))?;
            self.read_buf.advance(taken);
            length += taken;
            if body.is_complete() {
                return Ok(());
            }
            if length > BODY_LIMIT {
                return Err(Ended(Some(413)));
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.read_buf)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Err(Ended(None)),
                Err(_) => return Err(Ended(Some(408))),
            }
        }
    }

    async fn send(
        &mut self,
        answer: &Answer,
        with_body: bool,
        keep: bool,
        client: &Client,
    ) -> Result<(), Ended> {
        let mut bytes = answer.head(keep, SystemTime::now()).into_bytes();
        if with_body {
            bytes.extend_from_slice(answer.body.as_bytes());
        }
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        let sent = timeout(client.write_timeout, sent).await;
        Ok(sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    }

    /// Ends the connection. Data that the client still sends is read for a moment: closing a
    /// connection with unread data resets it, and the client may lose the response.
    async fn close(mut self) {
        let ended = async {
            AsyncWriteExt::shutdown(&mut self.stream).await?;
            let mut rest = (&mut self.stream).take(BODY_LIMIT as u64);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        let _ = timeout(CLOSE_TIMEOUT, ended).await;
    }
}
