//! Errors of a query. Codes and messages are a contract: clients match on them.

use super::METHODS;

/// Maximum length of client text that an error repeats, in characters.
const ECHO_LIMIT: usize = 128;

/// Reason for which a query fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `GET` without `ip=`.
    #[error("bad request: no param ip in your request")]
    NoParameter,
    /// A JSON body without the key `ip`.
    #[error("bad request: no key ip in your request json body")]
    NoKey,
    /// A body that is not JSON.
    #[error("bad request: your request body is not json")]
    NotJson,
    /// A text that is not an address.
    #[error("{} is not a ip", echo(.0))]
    NotAnIp(String),
    /// An unknown value of `format`.
    #[error("bad request: format is neither array nor object: {}", echo(.0))]
    UnknownFormat(String),
    /// An address without a place in the database.
    #[error("no ip info in ip db for ip: {0}")]
    NoRecord(String),
    /// A method that the API does not support.
    #[error("method not allowed: use {METHODS}")]
    MethodNotAllowed,
    /// A body longer than [`BODY_LIMIT`](super::BODY_LIMIT).
    #[error("request body too large: at most {} bytes", super::BODY_LIMIT)]
    BodyTooLarge,
    /// A client that the access rules reject.
    #[error("forbidden: you may not ask")]
    Denied,
    /// A client over its rate limit.
    #[error("too many requests: try again later")]
    TooManyRequests,
    /// The gateway is overloaded.
    #[error("overloaded: try again later")]
    Overloaded,
    /// An unexpected internal failure.
    #[error("internal error: {0}")]
    Internal(String),
}

impl QueryError {
    /// Returns the HTTP status of the error.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            QueryError::NoParameter
            | QueryError::NoKey
            | QueryError::NotJson
            | QueryError::NotAnIp(_)
            | QueryError::UnknownFormat(_) => 400,
            QueryError::Denied => 403,
            QueryError::MethodNotAllowed => 405,
            QueryError::BodyTooLarge => 413,
            QueryError::TooManyRequests => 429,
            QueryError::Internal(_) => 500,
            QueryError::NoRecord(_) => 501,
            QueryError::Overloaded => 503,
        }
    }

    /// Returns the stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::NoParameter => "missing_parameter",
            QueryError::NoKey => "missing_key",
            QueryError::NotJson => "invalid_json",
            QueryError::NotAnIp(_) => "invalid_ip",
            QueryError::UnknownFormat(_) => "unknown_format",
            QueryError::NoRecord(_) => "no_record",
            QueryError::MethodNotAllowed => "method_not_allowed",
            QueryError::BodyTooLarge => "body_too_large",
            QueryError::Denied => "forbidden",
            QueryError::TooManyRequests => "too_many_requests",
            QueryError::Overloaded => "overloaded",
            QueryError::Internal(_) => "internal",
        }
    }

    /// Returns the body: `{"error":{"code":"...","message":"..."}}`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let message = serde_json::Value::String(self.to_string());
        format!(
            r#"{{"error":{{"code":"{}","message":{message}}}}}"#,
            self.code()
        )
        .into_bytes()
    }
}

fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
