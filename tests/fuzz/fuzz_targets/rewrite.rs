//! Edits of a head's lines, against the same edits of a map: what is written reads back as what was
//! decided.

#![no_main]

use bytes::Bytes;
use geogate::proto::h1::rewrite::{MAX_LINES, Rewrite};
use geogate::proto::headers::{EditHeaders, Headers, LineBuffer, Name, is_value};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Header, Status};

const NAMES: [&str; 4] = ["host", "x-a", "X-B", "content-length"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A line or an edit each: which, of which name, and the value behind them.
    let mut steps = bytes.split(|&byte| byte == b'\n');
    let lines = steps.next().unwrap_or_default();
    let lines: Vec<_> = lines.split(|&byte| byte == b'\r').filter_map(line).collect();
    let mut map = HeaderMap::new();
    for line in lines.iter().take(MAX_LINES) {
        map.append(name(line.name), HeaderValue::from_bytes(line.value).unwrap());
    }
    let mut sent = Rewrite::new((), &lines, LineBuffer::default());
    for step in steps.take(64) {
        if let [kind, which, value @ ..] = step {
            let spelled = NAMES[usize::from(*which) % NAMES.len()];
            edit(&mut sent, &mut map, *kind, spelled, value);
        }
    }
    let mut out = Vec::new();
    sent.write(&mut out);
    out.extend_from_slice(b"\r\n");
    let mut slots = [EMPTY_HEADER; 2 * MAX_LINES];
    let Ok(Status::Complete((length, read))) = httparse::parse_headers(&out, &mut slots) else {
        panic!("{:?}", String::from_utf8_lossy(&out));
    };
    assert_eq!(length, out.len());
    let mut again = HeaderMap::new();
    for line in read {
        again.append(name(line.name), HeaderValue::from_bytes(line.value).unwrap());
    }
    assert_eq!(again, map);
    for name in NAMES.map(str::to_lowercase) {
        let found: Vec<_> = Headers::lines(&sent, &name).map(<[u8]>::trim_ascii).collect();
        let expected: Vec<_> = map.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(found, expected);
    }
});

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

/// A line of a head: its name by the first byte, and the value behind it.
fn line(bytes: &[u8]) -> Option<Header<'_>> {
    let (&which, value) = bytes.split_first()?;
    let value = value.trim_ascii();
    is_value(value).then_some(Header {
        name: NAMES[usize::from(which) % NAMES.len()],
        value,
    })
}

fn edit(sent: &mut Rewrite<()>, map: &mut HeaderMap, kind: u8, spelled: &'static str, value: &[u8]) {
    // As it is read back.
    let value = value.trim_ascii();
    let parsed = is_value(value).then(|| HeaderValue::from_bytes(value).unwrap());
    let (key, spelling) = (name(spelled), Bytes::from_static(spelled.as_bytes()));
    match kind % 4 {
        0 => {
            sent.set(Name::Static(spelled), value);
            map.remove(&key);
            map.extend(parsed.map(|value| (key, value)));
        }
        1 => {
            sent.append(Name::Spelled(&spelling), value);
            if let Some(value) = parsed {
                map.append(key, value);
            }
        }
        2 => {
            sent.remove(spelled);
            map.remove(&key);
        }
        _ => {
            sent.remove_if(|name| name.len() == spelled.len());
            for other in NAMES.iter().filter(|other| other.len() == spelled.len()) {
                map.remove(*other);
            }
        }
    }
}
