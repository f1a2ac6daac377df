//! Negotiation of the content coding: `Accept-Encoding` (RFC 9110, 12.5.3).

use crate::config::model::Coding;
use crate::proto::quality::weight;

/// Returns the coding of `known` that the client prefers; among equal ones the first in `known`.
/// Returns `None` if the plain form is to be sent: if the client accepts none of the codings, if it
/// gives `identity` a higher weight than each of them, and if it sends no preference. In the last
/// case any coding may be sent, and every client understands the plain form.
///
/// nginx and Caddy ignore the weight of `identity` and compress if any coding is acceptable. Here
/// the coding of the highest weight is preferred, as in RFC 9110: a client that gives `identity` the
/// highest weight wants the plain form, for instance to save CPU time. The weight of `*` does not
/// count for `identity`: a client that accepts everything does not prefer the plain form.
pub fn best<'l>(lines: impl Iterator<Item = &'l [u8]>, known: &[Coding]) -> Option<Coding> {
    let mut weights: [Option<u16>; 3] = [None; 3];
    let (mut any, mut plain) = (None, 0);
    let elements = lines.flat_map(|line| line.split(|&byte| byte == b','));
    for element in elements {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = weight(parts);
        if name == b"*" {
            any = Some(weight);
        } else if name.eq_ignore_ascii_case(b"identity") {
            plain = weight;
        } else if let Some(place) = known.iter().position(|&coding| is(name, coding)) {
            weights[place] = Some(weight);
        }
    }
    let mut best: Option<(Coding, u16)> = None;
    for (&coding, weight) in known.iter().zip(weights) {
        let weight = weight.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((coding, weight));
        }
    }
    let best = best.filter(|&(_, weight)| weight >= plain);
    best.map(|(coding, _)| coding)
}

fn is(name: &[u8], coding: Coding) -> bool {
    let old = coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
    old || name.eq_ignore_ascii_case(coding.token().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Option<Coding>) {
        let known = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        let found = best(lines.iter().map(|line| line.as_bytes()), &known);
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn our_order_counts_where_the_client_has_none() {
        check(&["gzip, deflate, br, zstd"], Some(Coding::Zstd));
        check(&["gzip, deflate, br"], Some(Coding::Brotli));
        check(&["gzip;q=0.8", "br;q=0.8"], Some(Coding::Brotli));
        check(&["*"], Some(Coding::Zstd));
        check(&["X-GZip"], Some(Coding::Gzip));
    }

    #[test]
    fn the_clients_order_counts_before_ours() {
        check(&["zstd;q=0.5, gzip;q=0.501, br;q=0.1"], Some(Coding::Gzip));
        check(&["br ; Q=0.9 , zstd;q=0.899"], Some(Coding::Brotli));
        check(&["zstd;q=0, *;q=0.1, gzip;q=1.000"], Some(Coding::Gzip));
    }

    #[test]
    fn the_plain_form_is_sent_if_the_client_prefers_it() {
        check(&["identity;q=1, gzip;q=0.5"], None);
        check(&["gzip;q=0.5", "Identity"], None);
        check(&["identity;q=0.6, *;q=0.5"], None);
        check(&["identity, *;q=0"], None);
        check(&["identity;q=0.5, gzip;q=0.5"], Some(Coding::Gzip));
        check(&["gzip, identity"], Some(Coding::Gzip));
        check(&["identity;q=0.4, gzip;q=0.5"], Some(Coding::Gzip));
        check(&["identity;q=0, gzip;q=0.1"], Some(Coding::Gzip));
        check(&["*, gzip;q=0.5"], Some(Coding::Zstd));
    }

    #[test]
    fn what_is_not_taken_is_not_sent() {
        check(&[], None);
        check(&[""], None);
        check(&["identity"], None);
        check(&["deflate"], None);
        check(&["gzip;q=0"], None);
        check(&["gzip;q=0.000, *;q=0"], None);
        check(&["*;q=0.5, zstd;q=0"], Some(Coding::Brotli));
    }

    #[test]
    fn a_weight_that_is_none_takes_nothing() {
        for weight in ["", "2", "1.5", "1.001", "0.1234", "x", ".5", "-1", "0,5"] {
            check(&[&format!("gzip;q={weight}")], None);
        }
    }
}
