//! `[request_id]` and `[tracing]`.

use http::HeaderName;

use super::one_of;
use crate::config::document::{Item, Section};
use crate::config::model::{RequestIds, TraceSource, Tracing};

/// Headers that mean something else to servers or proxies.
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
        return Err(format!("{text:?} means something else"));
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
