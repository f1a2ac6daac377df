//! Error pages for local replies.

use std::path::Path;

use bytes::Bytes;

/// Media type of every page.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// Error pages of local replies.
pub struct ErrorPages {
    /// Custom page for 500, 502, 503 and 504.
    own: Option<Bytes>,
}

impl ErrorPages {
    /// Reads the custom page, if one is configured. It is kept in memory, because during a failure
    /// opening files may fail, too.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(file: Option<&Path>) -> std::io::Result<Self> {
        let own = file.map(std::fs::read).transpose()?.map(Bytes::from);
        Ok(ErrorPages { own })
    }

    /// Returns the page for a status.
    #[must_use]
    pub fn page(&self, status: u16) -> Bytes {
        match &self.own {
            Some(page) if matches!(status, 500 | 502 | 503 | 504) => page.clone(),
            _ => Bytes::from(built_in(status)),
        }
    }
}

fn built_in(status: u16) -> String {
    let code = http::StatusCode::from_u16(status).ok();
    let reason = code
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Error");
    let advice = match status {
        300..=399 => "What you are looking for is elsewhere.",
        403 => "This server does not answer requests from where you are.",
        404 => "There is nothing at this address.",
        405 => "What is at this address is not for this method.",
        408 => "The request took too long to arrive.",
        413 => "The request is larger than this server accepts.",
        429 => "You have sent too many requests. Please try again later.",
        500..=599 => {
            "The page you are looking for is currently unavailable. Please try again later."
        }
        _ => "This server cannot answer the request.",
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <title>{status} {reason}</title></head>\n\
         <body style=\"font-family:sans-serif;max-width:35em;margin:4em auto;padding:0 1em\">\n\
         <h1>{status} {reason}</h1>\n<p>{advice}</p>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_page_is_for_server_errors_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("50x.html");
        std::fs::write(&file, "sorry").unwrap();
        let pages = ErrorPages::load(Some(&file)).unwrap();
        for status in [500, 502, 503, 504] {
            assert_eq!(pages.page(status), "sorry");
        }
        for (status, text) in [(404, "404 Not Found"), (413, "413 Payload Too Large")] {
            let page = String::from_utf8(pages.page(status).to_vec()).unwrap();
            assert!(page.contains(text), "{page}");
        }
        assert!(ErrorPages::load(Some(&folder.path().join("none"))).is_err());
    }
}
