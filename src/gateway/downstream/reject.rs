//! Rejection of a connection above a limit: sends a response, and closes.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use pingora::protocols::{ALPN, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::response;
use crate::gateway::access::Rejection;
use crate::gateway::{Gateway, error_page};

/// Maximum time to write the response. Nothing else was written to the socket before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends the reason without waiting for a request, and closes the connection.
pub async fn reject(gateway: &Gateway, mut stream: Stream, rejection: &Rejection) {
    if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
        // HTTP/2 would need more than these bytes; just close.
        return;
    }
    let (status, mut out) = (rejection.status(), Vec::new());
    let settings = gateway.settings();
    let mut lines = rejection.lines();
    lines.extend(settings.hsts_line(stream.get_ssl_digest().is_some()));
    let page = settings.error_pages.page(status);
    drop(settings);
    response::write_refusal(&mut out, status, &lines, error_page::CONTENT_TYPE, &page);
    let write = async {
        let _ = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &out)).await;
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await
    };
    let _ = tokio::time::timeout(PATIENCE, write).await;
    // Closing with a request unread resets the connection, and the client may lose the response.
    let mut request = [0; 4096];
    let mut request = ReadBuf::new(&mut request);
    let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut request));
    let _ = read.now_or_never();
}
