//! Parameters of a request: pairs of names and values (section 3.4 of the specification).

use super::{HEADER, MAX_CONTENT, PARAMS, header};

/// A parameter that no record can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the FastCGI parameter {0} is longer than a record")]
pub struct ParamTooLong(pub String);

/// Writer of parameters into records. A pair is never split: php-fpm reads the pairs of each record by
/// themselves.
#[derive(Debug)]
pub struct Params<'o> {
    out: &'o mut Vec<u8>,
    /// Position of the header of the record that is being filled; `None` before the first pair.
    record: Option<usize>,
}

impl<'o> Params<'o> {
    /// A writer that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Params { out, record: None }
    }

    /// Appends a parameter.
    ///
    /// # Errors
    /// If it does not fit a record.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), ParamTooLong> {
        let size = |length: usize| if length < 0x80 { 1 } else { 4 };
        let length = size(name.len()) + size(value.len()) + name.len() + value.len();
        if length > MAX_CONTENT {
            return Err(ParamTooLong(name.to_owned()));
        }
        let room = |record| MAX_CONTENT - (self.out.len() - record - HEADER);
        if self.record.is_none_or(|record| room(record) < length) {
            self.close();
            self.record = Some(self.out.len());
            self.out.extend_from_slice(&header(PARAMS, 0));
        }
        self.push_length(name.len());
        self.push_length(value.len());
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Appends the end of the parameters.
    pub fn end(mut self) {
        self.close();
        self.out.extend_from_slice(&header(PARAMS, 0));
    }

    fn push_length(&mut self, length: usize) {
        if let Ok(short @ 0..0x80) = u8::try_from(length) {
            self.out.push(short);
        } else {
            // A pair is shorter than a record, so the highest bit is free.
            let length = length as u32 | 1 << 31;
            self.out.extend_from_slice(&length.to_be_bytes());
        }
    }

    /// Sets the length of the record that is being filled.
    fn close(&mut self) {
        if let Some(record) = self.record.take() {
            let length = self.out.len() - record - HEADER;
            let full = header(PARAMS, u16::try_from(length).unwrap_or(u16::MAX));
            self.out[record..record + HEADER].copy_from_slice(&full);
        }
    }
}

/// Returns the parameter that a header of the request becomes (RFC 3875, 4.1.18): `HTTP_X_REAL_IP` of
/// `X-Real-IP`. `None` for a header that no script may get: `Proxy`, which programs take for their own
/// proxy, the two that have parameters of their own, and every name with another character than letters,
/// digits and `-`: `X_Real_IP` would be the same parameter as `X-Real-IP`.
#[must_use]
pub fn header_param(name: &str) -> Option<String> {
    const LEFT_OUT: [&str; 4] = ["proxy", "content-type", "content-length", "expect"];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty()
        || !name.bytes().all(is_plain)
        || LEFT_OUT
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let mut param = String::with_capacity("HTTP_".len() + name.len());
    param.push_str("HTTP_");
    param.extend(name.chars().map(|c| match c {
        '-' => '_',
        c => c.to_ascii_uppercase(),
    }));
    Some(param)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Naive reader of parameters, record by record.
    fn read(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut pairs = Vec::new();
        loop {
            assert_eq!(bytes[..4], [1, 4, 0, 1]);
            let length = usize::from(bytes[4]) << 8 | usize::from(bytes[5]);
            assert_eq!(bytes[6], 0);
            let mut content = &bytes[8..8 + length];
            bytes = &bytes[8 + length..];
            if length == 0 {
                assert_eq!(bytes, b"");
                return pairs;
            }
            let number = |content: &mut &[u8]| {
                let first = usize::from(content[0]);
                let (number, size) = if first < 128 {
                    (first, 1)
                } else {
                    let rest = content[1..4].iter().map(|byte| usize::from(*byte));
                    (rest.fold(first & 127, |number, byte| number << 8 | byte), 4)
                };
                *content = &content[size..];
                number
            };
            while !content.is_empty() {
                let (name, value) = (number(&mut content), number(&mut content));
                let text = String::from_utf8(content[..name].to_vec()).unwrap();
                pairs.push((text, content[name..name + value].to_vec()));
                content = &content[name + value..];
            }
        }
    }

    proptest! {
        #[test]
        fn a_naive_reader_finds_the_pairs(
            pairs in proptest::collection::vec(
                ("[A-Z_]{0,200}", proptest::collection::vec(any::<u8>(), 0..40_000)), 0..6)
        ) {
            let mut out = Vec::new();
            let mut params = Params::new(&mut out);
            for (name, value) in &pairs {
                params.push(name, value).unwrap();
            }
            params.end();
            prop_assert_eq!(read(&out), pairs);
        }

        #[test]
        fn a_header_is_never_taken_for_another(name in "[A-Za-z0-9_.!-]{0,12}") {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            match header_param(&name) {
                Some(param) => {
                    prop_assert!(plain);
                    prop_assert_eq!(param, format!("HTTP_{}", name.to_uppercase().replace('-', "_")));
                }
                None => prop_assert!(
                    !plain || name.is_empty()
                        || ["proxy", "expect"].contains(&&*name.to_lowercase())
                ),
            }
        }
    }

    #[test]
    fn what_fits_no_record_is_an_error() {
        let mut out = Vec::new();
        let mut params = Params::new(&mut out);
        let longest = vec![b'x'; MAX_CONTENT - 6];
        assert_eq!(params.push("A", &longest), Ok(()));
        let longer = [&longest[..], b"x"].concat();
        assert_eq!(params.push("A", &longer), Err(ParamTooLong("A".to_owned())));
        params.end();
        assert_eq!(read(&out).len(), 1);
    }

    #[test]
    fn some_headers_have_no_parameter() {
        for name in [
            "Proxy",
            "PROXY",
            "Content-Length",
            "content-type",
            "X_A",
            "",
            "a b",
        ] {
            assert_eq!(header_param(name), None, "{name}");
        }
        assert_eq!(header_param("x-Real-Ip").as_deref(), Some("HTTP_X_REAL_IP"));
    }
}
