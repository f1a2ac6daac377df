//! The IP query API, free of any transport: the parts of a request in, status and body out.
//!
//! `downstream`, for plain queries, and the engine answer through [`answer()`], so their answers
//! cannot differ.

mod error;
mod path;

use std::borrow::Cow;
use std::net::IpAddr;

pub use error::QueryError;
pub use path::normalize;
use path::other_readings;

use crate::geo::{Database, Field, Place, answer};

/// Path of the API, compared after [`normalize`].
pub const PATH: &[u8] = b"/api/ip_query";

/// Methods that the API supports, as the value of `Allow`.
pub const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Media type of every body.
pub const CONTENT_TYPE: &str = "application/json";

/// Largest body of a query in bytes. The longest valid one has less than 100 bytes.
pub const BODY_LIMIT: usize = 64 << 10;

/// Returns `true` if a request's path, as it was sent, is the API's path in any form.
#[must_use]
pub fn is_query(path: &[u8]) -> bool {
    if path == PATH {
        return true;
    }
    let is = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path) == PATH;
    is(&normalize(path)) || other_readings(path).iter().any(|path| is(path))
}

/// Parts of a request that a query depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Method as sent; methods are case-sensitive.
    pub method: &'r str,
    /// Text after `?`, as sent; may be empty.
    pub query: &'r [u8],
    /// Whole body of a `POST`; ignored for other methods.
    pub body: &'r [u8],
}

/// Response to a query.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'d> {
    /// HTTP status.
    pub status: u16,
    /// JSON; empty for `OPTIONS`. The response to a `HEAD` has only its length.
    pub body: Cow<'d, [u8]>,
}

impl Answer<'_> {
    /// Returns `true` if the response needs an `Allow` header.
    #[must_use]
    pub fn names_methods(&self) -> bool {
        matches!(self.status, 204 | 405)
    }
}

impl From<QueryError> for Answer<'_> {
    fn from(error: QueryError) -> Self {
        Answer {
            status: error.status(),
            body: Cow::Owned(error.body()),
        }
    }
}

/// Answers a query.
#[must_use]
pub fn answer<'d>(request: &Request, database: &'d Database) -> Answer<'d> {
    let result = match request.method {
        "GET" | "HEAD" => by_parameter(request, database),
        "POST" => by_body(request, database),
        "OPTIONS" => {
            return Answer {
                status: 204,
                body: Cow::Borrowed(b""),
            };
        }
        _ => Err(QueryError::MethodNotAllowed),
    };
    match result {
        Ok(body) => Answer { status: 200, body },
        Err(error) => error.into(),
    }
}

fn by_parameter<'d>(
    request: &Request,
    database: &'d Database,
) -> Result<Cow<'d, [u8]>, QueryError> {
    let ip = parameter(request.query, "ip").ok_or(QueryError::NoParameter)?;
    look_up(&ip, format(request.query)?, database)
}

fn by_body<'d>(request: &Request, database: &'d Database) -> Result<Cow<'d, [u8]>, QueryError> {
    let body = serde_json::from_slice(request.body).map_err(|_| QueryError::NotJson)?;
    let serde_json::Value::Object(fields) = body else {
        return Err(QueryError::NoKey);
    };
    let ip = match fields.get("ip").ok_or(QueryError::NoKey)? {
        serde_json::Value::String(ip) => Cow::Borrowed(ip.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    look_up(&ip, format(request.query)?, database)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Array,
    Object,
}

fn format(query: &[u8]) -> Result<Format, QueryError> {
    match parameter(query, "format") {
        None => Ok(Format::Array),
        Some(name) => match &*name {
            "array" => Ok(Format::Array),
            "object" => Ok(Format::Object),
            _ => Err(QueryError::UnknownFormat(name.into_owned())),
        },
    }
}

/// Returns the first value of a parameter, decoded as form data.
fn parameter<'q>(query: &'q [u8], name: &str) -> Option<Cow<'q, str>> {
    let mut pairs = form_urlencoded::parse(query);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

fn look_up<'d>(
    ip: &str,
    format: Format,
    database: &'d Database,
) -> Result<Cow<'d, [u8]>, QueryError> {
    // The standard library's parser is as strict as the contract requires: no leading zeros, no
    // missing parts, no zones.
    let address: IpAddr = ip.parse().map_err(|_| QueryError::NotAnIp(ip.to_owned()))?;
    let place = database.find(address);
    let place = place.ok_or_else(|| QueryError::NoRecord(ip.to_owned()))?;
    Ok(match format {
        Format::Array => Cow::Borrowed(database.answer(place)),
        Format::Object => Cow::Owned(object(address, &database.place(place))),
    })
}

/// Returns all known fields of a place, by name. The eight fields of the array are always there; an
/// unknown code is `null`.
#[must_use]
pub fn object(address: IpAddr, place: &Place) -> Vec<u8> {
    let mut json = Vec::from(b"{\"ip\":");
    write_json(&mut json, &address.to_canonical().to_string());
    let more = Field::ALL
        .into_iter()
        .filter(|field| !answer::FIELDS.contains(field));
    for field in answer::FIELDS.into_iter().chain(more) {
        let text = place.text(field);
        if text.is_empty() && !answer::FIELDS.contains(&field) {
            continue;
        }
        json.push(b',');
        write_json(&mut json, field.name());
        json.push(b':');
        match field {
            Field::CountryCode | Field::ProvinceCode | Field::CityCode if text.is_empty() => {
                json.extend_from_slice(b"null");
            }
            Field::Latitude | Field::Longitude | Field::AccuracyRadius | Field::Asn => {
                write_number(&mut json, text);
            }
            _ => write_json(&mut json, text),
        }
    }
    json.push(b'}');
    json
}

fn write_json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON");
}

/// Writes a number as a JSON number. Text that is not a number is written as a string.
fn write_number(out: &mut Vec<u8>, text: &str) {
    if let Ok(number) = text.parse::<u64>() {
        serde_json::to_writer(out, &number).expect("an integer is always JSON");
        return;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            serde_json::to_writer(out, &number).expect("a finite number is always JSON");
        }
        _ => write_json(out, text),
    }
}

#[cfg(test)]
mod tests {
    use crate::geo::{Codes, Names, Table};
    use crate::query::*;
    use crate::tree::Range;

    fn database() -> Database {
        let mut table = Table::default();
        let value = table.records.intern([
            (Field::Country, "中国"),
            (Field::Province, "福建"),
            (Field::City, "福州"),
            (Field::Isp, "电信"),
            (Field::Latitude, "26.07"),
            (Field::Longitude, "unknown"),
        ]);
        table.v4 = [Range {
            first: 0x0100_0000,
            last: 0x0100_00ff,
            value,
        }]
        .into();
        let other = table.records.intern([(Field::Country, "局域网")]);
        table.v6 = [Range {
            first: 1,
            last: 1,
            value: other,
        }]
        .into();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    #[track_caller]
    fn check(method: &str, query: &str, body: &str, status: u16, expected: &str) {
        let (query, body) = (query.as_bytes(), body.as_bytes());
        let database = database();
        let answer = answer(
            &Request {
                method,
                query,
                body,
            },
            &database,
        );
        assert_eq!(
            (answer.status, std::str::from_utf8(&answer.body).unwrap()),
            (status, expected)
        );
    }

    const FUZHOU: &str = r#"["中国","CN","福建","350000","福州","350100","","电信"]"#;

    #[test]
    fn get_head_and_post_answer_alike() {
        check("GET", "ip=1.0.0.0", "", 200, FUZHOU);
        check("HEAD", "ip=1.0.0.255", "", 200, FUZHOU);
        check("POST", "", r#"{"ip":"1.0.0.7"}"#, 200, FUZHOU);
        check(
            "POST",
            "",
            "\n{ \"x\": [1], \"ip\" : \"1.0.0.\\u0037\" }",
            200,
            FUZHOU,
        );
    }

    #[test]
    fn an_address_may_be_of_either_family() {
        check("GET", "ip=::ffff:1.0.0.9", "", 200, FUZHOU);
        check("GET", "ip=%3A%3Affff%3A1.0.0.9", "", 200, FUZHOU);
        check(
            "GET",
            "ip=::1",
            "",
            200,
            r#"["局域网","None","","None","","None","",""]"#,
        );
    }

    #[test]
    fn parameters_are_a_form() {
        check("GET", "x=1&ip=1.0.0.1&ip=9.9.9.9", "", 200, FUZHOU);
        check("GET", "&&ip=1%2E0.0.1&format=array", "", 200, FUZHOU);
    }

    #[test]
    fn an_object_has_all_that_is_known() {
        check(
            "GET",
            "format=object&ip=1.0.0.1",
            "",
            200,
            r#"{"ip":"1.0.0.1","country":"中国","country_code":"CN","province":"福建","province_code":"350000","city":"福州","city_code":"350100","organization":"","isp":"电信","latitude":26.07,"longitude":"unknown"}"#,
        );
        check(
            "POST",
            "format=object",
            r#"{"ip":"::1"}"#,
            200,
            r#"{"ip":"::1","country":"局域网","country_code":null,"province":"","province_code":null,"city":"","city_code":null,"organization":"","isp":""}"#,
        );
    }

    #[track_caller]
    fn check_error(method: &str, query: &str, body: &str, status: u16, code: &str, message: &str) {
        let message = serde_json::to_string(message).unwrap();
        let expected = format!(r#"{{"error":{{"code":"{code}","message":{message}}}}}"#);
        check(method, query, body, status, &expected);
    }

    #[test]
    fn errors_have_status_code_and_message() {
        let no_param = "bad request: no param ip in your request";
        check_error("GET", "", "", 400, "missing_parameter", no_param);
        check_error("HEAD", "IP=1.1.1.1", "", 400, "missing_parameter", no_param);
        let no_key = "bad request: no key ip in your request json body";
        check_error("POST", "ip=1.0.0.1", "{}", 400, "missing_key", no_key);
        check_error("POST", "", "[\"1.0.0.1\"]", 400, "missing_key", no_key);
        let not_json = "bad request: your request body is not json";
        check_error("POST", "", "", 400, "invalid_json", not_json);
        check_error("POST", "", "ip=1.0.0.1", 400, "invalid_json", not_json);
        check_error(
            "POST",
            "",
            "{\"ip\":\"1.0.0.1\"} x",
            400,
            "invalid_json",
            not_json,
        );
        let no_format = "bad request: format is neither array nor object: xml";
        check_error(
            "GET",
            "ip=1.0.0.1&format=xml",
            "",
            400,
            "unknown_format",
            no_format,
        );
        let no_record = "no ip info in ip db for ip: 9.9.9.9";
        check_error("GET", "ip=9.9.9.9", "", 501, "no_record", no_record);
        let no_method = "method not allowed: use GET, HEAD, POST, OPTIONS";
        check_error(
            "DELETE",
            "ip=1.0.0.1",
            "",
            405,
            "method_not_allowed",
            no_method,
        );
        check_error(
            "get",
            "ip=1.0.0.1",
            "",
            405,
            "method_not_allowed",
            no_method,
        );
    }

    #[test]
    fn what_is_no_strict_address_is_refused() {
        for text in [
            "",
            "1",
            "1.1.1",
            "1.1.1.1.1",
            "256.1.1.1",
            "010.1.1.1",
            "1.1.1.01",
            "0x1.1.1.1",
            "1.1.1.1 ",
            " 1.1.1.1",
            "1.1.1.1/32",
            "1.1.1.1:80",
            "fe80::1%eth0",
            "[::1]",
            ":::",
            "１.1.1.1",
            "\"",
            "\u{1}",
        ] {
            let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let message = format!("{text} is not a ip");
            check_error(
                "GET",
                &format!("ip={query}"),
                "",
                400,
                "invalid_ip",
                &message,
            );
        }
        check_error("POST", "", "{\"ip\":5}", 400, "invalid_ip", "5 is not a ip");
        check_error(
            "POST",
            "",
            "{\"ip\":null}",
            400,
            "invalid_ip",
            "null is not a ip",
        );
    }

    #[test]
    fn a_long_text_is_not_echoed_whole() {
        let database = database();
        let query = format!("ip={}", "中".repeat(10_000));
        let request = Request {
            method: "GET",
            query: query.as_bytes(),
            body: b"",
        };
        assert!(answer(&request, &database).body.len() < 600);
    }

    #[test]
    fn options_names_the_methods() {
        check("OPTIONS", "", "", 204, "");
        let database = database();
        let request = Request {
            method: "OPTIONS",
            query: b"",
            body: b"",
        };
        assert!(answer(&request, &database).names_methods());
    }

    #[test]
    fn the_path_is_known_in_every_spelling() {
        for path in [
            "/api/ip_query",
            "/api/ip_query/",
            "/api/ip%5Fquery",
            "//api/./x/../ip_query",
            // For servers that take `%2F` or an empty segment as a segment, or `\\` as a slash.
            "/api/x%2Fy/../ip_query",
            "/api//../ip_query",
            "/api/x%2F/../ip_query",
            "/x/..%5Capi%5Cip_query",
        ] {
            assert!(is_query(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/api/ip_query2",
            "/x/api/ip_query",
            "/api/ip_query/x",
            "/API/ip_query",
            "/api/x%2F../ip_query/y",
            "/api%255Cip_query",
        ] {
            assert!(!is_query(path.as_bytes()), "{path}");
        }
    }
}
