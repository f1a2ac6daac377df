//! Responses to clients of HTTP/1.0, which know no chunks (RFC 9112, 6.1).
//!
//! pingora makes the response of an HTTP/2 upstream a chunked one after all phases of the proxy, so
//! the last word on its head is a module's.

use std::any::Any;

use async_trait::async_trait;
use http::{Version, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};

/// Builds the module of a request.
pub struct WithoutChunks;

struct OfRequest {
    is_1_0: bool,
}

impl HttpModuleBuilder for WithoutChunks {
    fn init(&self) -> Module {
        Box::new(OfRequest { is_1_0: false })
    }
}

#[async_trait]
impl HttpModule for OfRequest {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        self.is_1_0 = request.version == Version::HTTP_10;
        Ok(())
    }

    /// Without a length, too, the connection's end is the body's; it was not to be kept anyway.
    async fn response_header_filter(
        &mut self,
        response: &mut ResponseHeader,
        _end_of_stream: bool,
    ) -> Result<()> {
        if self.is_1_0 {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
