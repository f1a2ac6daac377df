//! Answers in place of errors.

use super::template::Template;
use super::variable::RequestVariable;

/// Answers of a route in place of errors.
#[derive(Debug, Clone, Default)]
pub struct ErrorPages {
    /// Pages; the first one with the status of an error is its answer.
    pub pages: Vec<ErrorPage>,
    /// True if responses of an upstream are replaced, too, and not only errors of the gateway.
    pub intercept: bool,
}

/// Answer in place of errors with some statuses.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// Statuses of the errors, from 300 to 599.
    pub on: Vec<u16>,
    /// Source of the answer.
    pub source: ErrorSource,
}

/// Source of an answer in place of an error.
#[derive(Debug, Clone)]
pub enum ErrorSource {
    /// Request of a path, by the route that it has, with the method `GET` and without a body.
    Path {
        /// Path, perhaps with a query.
        to: Template<RequestVariable>,
        /// Status of the answer.
        status: ErrorStatus,
    },
    /// The request itself, by the route of this name.
    Route {
        /// Name of the route.
        name: String,
        /// Status of the answer.
        status: ErrorStatus,
    },
    /// Redirect of the client.
    Redirect {
        /// Target URL or path.
        to: Template<RequestVariable>,
        /// Status: 301, 302, 303, 307 or 308.
        status: u16,
    },
}

/// Status of the answer to a request that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStatus {
    /// Status of the error.
    OfError,
    /// Status that the answer has by itself.
    OfAnswer,
    /// This status, from 200 to 599.
    Fixed(u16),
}

impl ErrorPages {
    /// Returns `true` if a request that has failed may go to another route as it is.
    #[must_use]
    pub fn lead_to_routes(&self) -> bool {
        let mut sources = self.pages.iter().map(|page| &page.source);
        sources.any(|source| matches!(source, ErrorSource::Route { .. }))
    }

    /// Returns the page for errors with this status.
    #[must_use]
    pub fn page(&self, status: u16) -> Option<&ErrorPage> {
        self.pages.iter().find(|page| page.on.contains(&status))
    }
}
