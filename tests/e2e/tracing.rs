//! W3C Trace Context: whose trace goes on, and what upstreams are told.

use crate::harness::{ENGINES, Gateway, Origin, QUERY_FORMS};

const TRUST_LOOPBACK: &str = "[client_ip]\ntrusted_proxies = ['127.0.0.0/8']\n";
const LOG_TRACE: &str = "[access_log]\nformat = '$trace_id $span_id'\n";
const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// `traceparent` and `tracestate` as the origin has them, and the line of the log.
struct Told {
    parents: Vec<String>,
    states: Vec<String>,
    logged: String,
}

/// By each engine.
fn told(more: &str, headers: &str) -> [Told; 4] {
    ENGINES.map(|engine| {
        let origin = Origin::start();
        let gateway = engine.with_peers(&[origin.address], "", &format!("{more}{LOG_TRACE}"));
        assert_eq!(gateway.client().get("/", headers).status, 200);
        let request = origin.last();
        let values = |name| {
            request
                .values(name)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        Told {
            parents: values("traceparent"),
            states: values("tracestate"),
            logged: gateway.stop().remove(0),
        }
    })
}

fn sent() -> String {
    format!("TraceParent: 00-{ID}-{SPAN}-01\r\nTraceState: a=1,b=2\r\n")
}

#[track_caller]
fn check_deleted(more: &str, headers: &str) {
    for told in told(more, headers) {
        assert!(
            told.parents.is_empty() && told.states.is_empty(),
            "{:?}",
            told.parents
        );
        assert_eq!(told.logged, "- -");
    }
}

#[test]
fn a_clients_trace_ends_here() {
    check_deleted("", &sent());
    check_deleted(
        &format!("{TRUST_LOOPBACK}[tracing]\naccept = 'nobody'\n"),
        &sent(),
    );
}

#[test]
fn a_trusted_trace_is_passed_on_as_it_is() {
    for more in [TRUST_LOOPBACK, "[tracing]\naccept = 'anyone'\n"] {
        for told in told(more, &sent()) {
            assert_eq!(told.parents, [format!("00-{ID}-{SPAN}-01")]);
            assert_eq!(told.states, ["a=1,b=2"]);
            assert_eq!(told.logged, format!("{ID} {SPAN}"));
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_passed_on() {
    check_deleted(
        TRUST_LOOPBACK,
        &format!("traceparent: 00-{ID}-{SPAN}-1\r\ntracestate: a=1\r\n"),
    );
    check_deleted(TRUST_LOOPBACK, &format!("{}{}", sent(), sent()));
    check_deleted(TRUST_LOOPBACK, "tracestate: a=1\r\n");
}

#[test]
fn a_gateway_that_takes_part_goes_on_with_a_trace_or_starts_one() {
    let more = "[tracing]\nparticipate = true\nsampled = '0%'\n";
    for (trust, goes_on) in [(TRUST_LOOPBACK, true), ("", false)] {
        for told in told(&format!("{trust}{more}"), &sent()) {
            let [parent] = &told.parents[..] else {
                panic!("{:?}", told.parents)
            };
            let parts: Vec<_> = parent.split('-').collect();
            let [version, id, span, flags] = parts[..] else {
                panic!("{parent}")
            };
            assert_eq!((version, id == ID, span == SPAN), ("00", goes_on, false));
            assert_eq!(
                (flags, told.states.len()),
                if goes_on { ("01", 1) } else { ("02", 0) }
            );
            assert_eq!(told.logged, format!("{id} {span}"));
        }
    }
}

#[test]
fn the_trace_of_a_query_is_logged() {
    let gateway = Gateway::start(&format!("{TRUST_LOOPBACK}{LOG_TRACE}"));
    for form in QUERY_FORMS {
        gateway
            .client()
            .get("/api/ip_query?ip=1.0.0.1", &format!("{}{form}", sent()));
    }
    let expected = format!("{ID} {SPAN}");
    assert_eq!(gateway.stop(), [&*expected, &expected]);
}
