//! The rows of the 17mon / IPIP formats: the meaning of a text, whatever structure points to it.
//!
//! A text is tab-separated, in UTF-8 or GBK. It has 3 fields (country, province, city), 4 (an empty
//! fourth), or 5 and more (organization, isp, latitude, longitude, time zone, UTC offset, admin
//! code, dial code, ISO 3166 code, continent).

use std::borrow::Cow;

use crate::geo::record::{Field, Records};

/// Order of the fields in a row.
const COLUMNS: [Field; 13] = [
    Field::Country,
    Field::Province,
    Field::City,
    Field::Organization,
    Field::Isp,
    Field::Latitude,
    Field::Longitude,
    Field::TimeZone,
    Field::UtcOffset,
    Field::AdminCode,
    Field::DialCode,
    Field::CountryCode,
    Field::Continent,
];

/// Returns a row's bytes as text. Bytes that are not UTF-8 are read as GBK, as in the oldest files.
pub(super) fn decode(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::GBK.decode_without_bom_handling(text).0,
    }
}

/// Returns the number of the record of a row.
///
/// # Errors
/// If it has more than the known fields.
pub(super) fn record(text: &str, records: &mut Records) -> Result<u32, String> {
    let fields = text.split('\t').count();
    if fields > COLUMNS.len() {
        let limit = COLUMNS.len();
        return Err(format!("{fields} fields, at most {limit} are known"));
    }
    Ok(records.intern(COLUMNS.into_iter().zip(text.split('\t'))))
}

/// Returns maker and date from a text such as `IPIP.NET\t2017010105` (date and hour). A file with a
/// version has this text for 255.255.255.0/24.
pub(super) fn version(text: &str) -> Option<(String, String)> {
    let date = text
        .split('\t')
        .find(|field| field.len() >= 8 && field.bytes().all(|byte| byte.is_ascii_digit()))?;
    let source = text.split('\t').next().unwrap_or_default();
    let source = if source == date { "" } else { source };
    let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..8]);
    Some((source.to_owned(), date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_fields_is_read() {
        let paid =
            "中国\t广东\t深圳\t腾讯\t电信\t22.5\t114.0\tAsia/Shanghai\tUTC+8\t440300\t86\tCN\tAP";
        for (text, field, expected) in [
            ("中国", Field::Country, "中国"),
            ("中国\t广东\t深圳", Field::City, "深圳"),
            ("中国\t广东\t深圳\t腾讯\t电信", Field::Isp, "电信"),
            (paid, Field::AdminCode, "440300"),
            (paid, Field::CountryCode, "CN"),
        ] {
            let mut records = Records::default();
            let number = record(text, &mut records).unwrap();
            assert_eq!(records.text(number, field), expected, "{text}");
        }
        let error = record(&format!("{paid}\tmore"), &mut Records::default()).unwrap_err();
        assert_eq!(error, "14 fields, at most 13 are known");
    }

    #[test]
    fn gbk_text_is_understood() {
        let (gbk, _, _) = encoding_rs::GBK.encode("中国\t广东\t深圳");
        assert_eq!(decode(&gbk), "中国\t广东\t深圳");
    }

    #[test]
    fn a_version_is_a_text_with_a_date() {
        let maker_and_date = |maker: &str, date: &str| Some((maker.to_owned(), date.to_owned()));
        assert_eq!(
            version("IPIP.NET\t2017010105\t\t"),
            maker_and_date("IPIP.NET", "2017-01-01")
        );
        assert_eq!(version("20181105"), maker_and_date("", "2018-11-05"));
        assert_eq!(version("保留地址\t保留地址\t\t"), None);
    }
}
