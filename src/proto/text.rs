//! Formatting of values as bytes, without `format!`: a log line is written for every request, and
//! `format!` would cost more than all other work of a query.
//!
//! A value is first appended raw and then escaped in place. Most values need no escaping; they are
//! copied once and scanned once.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Escapes `out` from `start` on for a line of text, as nginx does: `"`, `\` and every byte that is
/// not printable ASCII become `\xHH`, so that no client can end a field or a line.
pub fn escape_from(start: usize, out: &mut Vec<u8>) {
    escape_where(start, out, is_special);
}

/// Escapes text of geogate itself, such as names of places: letters of every script are kept.
pub fn escape_controls_from(start: usize, out: &mut Vec<u8>) {
    escape_where(start, out, |byte| byte < 0x80 && is_special(byte));
}

fn is_special(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

fn escape_where(start: usize, out: &mut Vec<u8>, is_special: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    // Without an early exit the compiler vectorises this loop.
    if !out[start..]
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
    {
        return;
    }
    for byte in out.split_off(start) {
        if is_special(byte) {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        } else {
            out.push(byte);
        }
    }
}

/// Escapes `out` from `start` on as the content of a JSON string (RFC 8259). Invalid UTF-8 becomes
/// U+FFFD.
pub fn escape_json_from(start: usize, out: &mut Vec<u8>) {
    if !out[start..]
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
    {
        return;
    }
    let raw = out.split_off(start);
    for char in String::from_utf8_lossy(&raw).chars() {
        match char {
            '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // Writing to a Vec cannot fail.
            '\0'..='\u{1f}' => drop(write!(out, "\\u{:04x}", u32::from(char))),
            _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Writes seconds with three decimals.
pub fn write_seconds(time: Duration, out: &mut Vec<u8>) {
    write_number(time.as_secs(), out);
    let millis = time.subsec_millis();
    let digit = |value: u32| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

/// Writes a fraction from 0 to 1 with as many decimals as necessary, at most three.
pub fn write_share(share: f64, out: &mut Vec<u8>) {
    write_seconds(Duration::from_secs_f64(share), out);
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

/// Writes a number in decimal.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Maximum length of an IPv4 address as text, with a dot behind it.
const MAX_IPV4: usize = 16;

/// Each octet as text with a dot behind it, and the length of both.
static OCTETS: [([u8; 4], u8); 256] = octets();

const fn octets() -> [([u8; 4], u8); 256] {
    let mut all = [([b'.'; 4], 2); 256];
    let mut octet = 0;
    while octet < all.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let count = 1 + (octet >= 10) as usize + (octet >= 100) as usize;
        let mut place = 0;
        while place < count {
            all[octet].0[place] = b'0' + digits[3 - count + place] as u8;
            place += 1;
        }
        all[octet].1 = count as u8 + 1;
        octet += 1;
    }
    all
}

/// Writes an IP address in its canonical form.
pub fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let (mut text, mut length) = ([0; MAX_IPV4], 0);
            for octet in address.octets() {
                let (digits, count) = OCTETS[usize::from(octet)];
                text[length..length + digits.len()].copy_from_slice(&digits);
                length += usize::from(count);
            }
            out.extend_from_slice(&text[..length - 1]);
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(_) => drop(write!(out, "{address}")),
    }
}

/// Writes an address with its port.
pub fn write_peer(peer: SocketAddr, out: &mut Vec<u8>) {
    match peer {
        SocketAddr::V4(peer) => {
            write_address(IpAddr::V4(*peer.ip()), out);
            out.push(b':');
            write_number(u64::from(peer.port()), out);
        }
        SocketAddr::V6(_) => drop(write!(out, "{peer}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escape: fn(usize, &mut Vec<u8>), text: &[u8], expected: &str) {
        // Text before `start` is not changed.
        let mut out = b"\"before\n".to_vec();
        let start = out.len();
        out.extend_from_slice(text);
        escape(start, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("\"before\n{expected}")
        );
    }

    #[test]
    fn text_of_clients_is_printable_ascii_and_ends_nothing() {
        check(escape_from, b"", "");
        check(escape_from, b"/a?b=c ~'", "/a?b=c ~'");
        check(
            escape_from,
            b"/\"\r\n\\\xff\x7f",
            "/\\x22\\x0D\\x0A\\x5C\\xFF\\x7F",
        );
        check(escape_from, "a\tb中".as_bytes(), "a\\x09b\\xE4\\xB8\\xAD");
    }

    #[test]
    fn text_of_ours_keeps_its_letters() {
        check(
            escape_controls_from,
            "福建 \"\n\0".as_bytes(),
            "福建 \\x22\\x0A\\x00",
        );
    }

    #[test]
    fn json_is_what_json_says() {
        for text in ["", "plain", "\"\\\n\r\t\u{0}\u{1f}\u{7f}/", "中\u{2028}🙂"] {
            let mut out = vec![b'"'];
            out.extend_from_slice(text.as_bytes());
            escape_json_from(1, &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(read, text);
        }
        check(escape_json_from, b"a\xff\xfeb", "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn addresses_and_times_are_written_as_they_are_everywhere() {
        let mut out = Vec::new();
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "10.20.130.9",
            "1.99.100.101",
            "2001:db8::1",
        ] {
            out.clear();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for octet in 0..=u8::MAX {
            let address = IpAddr::from([octet, 0, octet, 255 - octet]);
            out.clear();
            write_address(address, &mut out);
            assert_eq!(out, address.to_string().as_bytes());
        }
        for text in ["127.0.0.1:65535", "[2001:db8::1]:80"] {
            out.clear();
            write_peer(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for (millis, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (61_045, "61.045"),
            (999, "0.999"),
        ] {
            out.clear();
            write_seconds(Duration::from_millis(millis), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for (share, text) in [
            (0.0, "0"),
            (0.001, "0.001"),
            (0.1, "0.1"),
            (0.29, "0.29"),
            (1.0, "1"),
        ] {
            out.clear();
            write_share(share, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
