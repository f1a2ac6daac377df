//! `[request_id]` and `[tracing]`.

use http::HeaderName;

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{RequestIds, TraceSource, Tracing};

/// Headers with another purpose, which cannot be used for request ids.
const TAKEN: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
    "tracestate",
];

pub(super) fn request_ids(section: &Section) -> Option<RequestIds> {
    let default = HeaderName::from_static("x-request-id");
    let header = section.value("header", Some(default), |item| match item.string()? {
        "off" => Ok(None),
        _ => header(item).map(Some),
    });
    let to_client = section.value("to_client", false, Item::boolean);
    section.refuse_unknown();
    header.map(|header| RequestIds { header, to_client })
}

fn header(item: &Item) -> Result<HeaderName, String> {
    let text = item.string()?;
    let name: Result<HeaderName, _> = text.parse();
    let Ok(name) = name else {
        return Err(format!("{text:?} is not the name of a header"));
    };
    let managed = ["x-forwarded-", "x-geo-", "x-real-ip", "forwarded"];
    let is_taken = TAKEN.contains(&name.as_str())
        || managed.iter().any(|start| name.as_str().starts_with(start));
    if is_taken {
        return Err(format!(
            "{text:?} means something else to servers and proxies"
        ));
    }
    Ok(name)
}

pub(super) fn tracing(section: &Section) -> Tracing {
    let tracing = Tracing {
        accept: section.value("accept", TraceSource::Trusted, |item| {
            let known = [
                ("trusted", TraceSource::Trusted),
                ("anyone", TraceSource::Anyone),
                ("nobody", TraceSource::Nobody),
            ];
            one_of(item, &known)
        }),
        participate: section.value("participate", false, Item::boolean),
        sampled: section.value("sampled", 1.0, Item::share),
    };
    section.refuse_unknown();
    tracing
}

#[cfg(test)]
mod tests {
    use crate::config::model::Config;
    use crate::config::{Overrides, parse};

    fn read(text: &str) -> Result<Config, String> {
        let config = parse(text, "file", &Overrides::default());
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn the_header_may_have_another_name_or_none() {
        let header = |text: &str| {
            let ids = read(text).unwrap().request_ids;
            ids.map(|ids| ids.header.as_str().to_owned())
        };
        assert_eq!(header("").as_deref(), Some("x-request-id"));
        let other = header("[request_id]\nheader = 'X-Correlation-ID'");
        assert_eq!(other.as_deref(), Some("x-correlation-id"));
        assert_eq!(header("[request_id]\nheader = 'off'"), None);
    }

    #[test]
    fn a_header_that_means_something_else_is_refused() {
        for name in [
            "Host",
            "Content-Length",
            "X-Forwarded-For",
            "X-Geo-ID",
            "traceparent",
        ] {
            let error = read(&format!("[request_id]\nheader = '{name}'")).unwrap_err();
            assert!(error.contains("means something else"), "{error}");
        }
        for name in ["", "a b", "é"] {
            let error = read(&format!("[request_id]\nheader = '{name}'")).unwrap_err();
            assert!(error.contains("is not the name of a header"), "{error}");
        }
    }
}
