//! `[request_id]` and `[tracing]`.

use std::sync::LazyLock;

use http::HeaderName;

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{
    HeaderNameSet, RequestIds, TraceSource, Tracing, UntrustedHeaders, is_managed_name,
};

/// Headers with another purpose, which cannot be used for request ids, in addition to those that
/// describe the client.
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
    if is_taken(name.as_str()) {
        return Err(format!(
            "{text:?} means something else to servers and proxies"
        ));
    }
    Ok(name)
}

/// Returns `true` if the header has another purpose. Names are compared as servers and the rest of
/// geogate compare them: by their letters and digits alone.
fn is_taken(name: &str) -> bool {
    static NAMES: LazyLock<(HeaderNameSet, UntrustedHeaders)> = LazyLock::new(|| {
        let taken = HeaderNameSet::new(TAKEN).expect("these are names");
        (taken, UntrustedHeaders::default())
    });
    let (taken, untrusted) = &*NAMES;
    taken.contains(name) || is_managed_name(name) || untrusted.contains(name)
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
        for name in ["forwarded-id", "x-geo", "x-realm", "x-host-request-id"] {
            let text = format!("[request_id]\nheader = '{name}'");
            assert_eq!(header(&text).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_header_that_means_something_else_is_refused() {
        for name in [
            "Host",
            "Content-Length",
            "Content_Length",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Port",
            "X_Forwarded_Proto",
            "X-Geo-ID",
            "X_Geo_Country",
            "X-Real-IP",
            "X_Real_IP",
            "CF-Connecting-IP",
            "traceparent",
            "Trace-Parent",
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
