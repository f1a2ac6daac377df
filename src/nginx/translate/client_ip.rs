//! Who is believed about a client's address: `[client_ip]`.

use super::super::Output;
use super::super::document::Item;
use super::super::scope::Scope;
use super::one_for_all;

pub(super) fn translate(http: &Scope, output: &mut Output) {
    let networks = http.everywhere("set_real_ip_from");
    for &network in &networks {
        if network.arg(0).starts_with("unix") {
            output
                .notes
                .lost(network, "There are no listeners on UNIX sockets.");
            continue;
        }
        output.notes.carried(network);
        let item = Item::new(network.arg(0), Some(network));
        output
            .document
            .table("client_ip")
            .push("trusted_proxies", item);
    }
    let header = one_for_all(http, "real_ip_header", "client_ip.header", output);
    let name = header.map(|header| header.arg(0)).unwrap_or_default();
    if let Some(header) = header {
        let table = output.document.table("client_ip");
        match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => table.set("header", "X-Forwarded-For", Some(header)),
            "forwarded" => table.set("header", "Forwarded", Some(header)),
            "proxy_protocol" => {
                let why = "A listener with `proxy_protocol` has the client's address from there.";
                output.notes.needless(header, why);
            }
            _ => output.notes.lost(
                header,
                "geogate reads X-Forwarded-For or Forwarded, from the trusted proxies above. Let \
                 the proxy in front write one of them.",
            ),
        }
    } else if let Some(first) = networks.first() {
        let why = "Without real_ip_header nginx reads X-Real-IP; geogate reads X-Forwarded-For.";
        output.notes.differs(first, why);
    }
    for recursive in http.everywhere("real_ip_recursive") {
        if recursive.arg(0) == "on" {
            output.notes.needless(
                recursive,
                "Always: the header is read up to the first address that is not trusted.",
            );
        } else {
            let why = "The header is always read up to the first address that is not trusted.";
            output.notes.differs(recursive, why);
        }
    }
}
