//! Responses to HTTP/1.0 clients, which do not know chunks (RFC 9112, 6.1).
//!
//! pingora makes the response of an HTTP/2 upstream a chunked one after all phases of the proxy, so
//! only a module can change the head after that.

use std::any::Any;

use async_trait::async_trait;
use http::{Version, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};

/// Builder of the module for each request.
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

    /// Removes the transfer coding. The end of the connection then ends the body; such a connection
    /// is not kept anyway.
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
