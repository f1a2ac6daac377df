//! Databases in layers, and the commands that compare and check them, on files that fit a screen.

use std::process::Output;

use tempfile::TempDir;

use crate::commands::{run, stderr, stdout};

/// A folder with these files, and their paths.
fn files<const N: usize>(files: [(&str, &str); N]) -> (TempDir, [String; N]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    (folder, paths)
}

#[track_caller]
fn ok(arguments: &[&str]) -> String {
    let output = run(arguments, "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    stdout(&output).to_owned()
}

#[track_caller]
fn refused(arguments: &[&str], expected: &str) -> Output {
    let output = run(arguments, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    output
}

const CORRECTIONS: &str =
    "cidr,country,province,city\n1.0.0.0/25,日本,,\n1.0.1.0/24,中国,福建,厦门\n";

const SOURCE: &str = "start,end,country,province,city,latitude,longitude,isp\n\
                      1.0.0.0,1.0.0.255,中国,福建省,福州市,26.1,119.3,电信\n\
                      1.0.1.0,1.0.1.255,中国,福建省,福州市,26.1,119.3,联通\n\
                      2001::,2001::ff,美国,,,,,\n";

const OTHER: &str = "start,end,country,province,city\n\
                     1.0.0.0,1.0.0.255,中国,福建,福州\n\
                     1.0.1.0,1.0.1.127,中国,广东,广州\n\
                     1.0.1.128,1.0.1.255,中国,福建,\n\
                     1.0.2.0,1.0.2.255,a,,\n\
                     2001::,2001::ff,United States,,\n";

fn three() -> (TempDir, [String; 3]) {
    files([
        ("corrections.csv", CORRECTIONS),
        ("source.csv", SOURCE),
        ("other.csv", OTHER),
    ])
}

const MERGED: &str = "1.0.0.1\t日本\tJP\t\t\t\t\t\t电信\n\
                      1.0.0.200\t中国\tCN\t福建\t350000\t福州\t350100\t\t电信\n\
                      1.0.1.1\t中国\tCN\t福建\t350000\t厦门\t350200\t\t联通\n\
                      2001::1\t美国\tUS\t\t\t\t\t\t\n";

const ASKED: [&str; 4] = ["1.0.0.1", "1.0.0.200", "1.0.1.1", "2001::1"];

/// What `geogate lookup` prints of addresses with one database over another.
#[track_caller]
fn layered(format: &str, upper: &str, lower: &str, addresses: &[&str]) -> String {
    let lookup = ["lookup", "--format", format, "--db", upper, "--db", lower];
    ok(&[&lookup[..], addresses].concat())
}

#[test]
fn the_first_database_of_the_command_line_is_the_highest_layer() {
    let (_folder, [corrections, source, _]) = three();
    assert_eq!(layered("tsv", &corrections, &source, &ASKED), MERGED);
}

#[test]
fn coordinates_of_another_city_are_not_taken() {
    let (_folder, [corrections, source, _]) = three();
    let found = layered("json", &corrections, &source, &["1.0.1.1", "1.0.0.200"]);
    let lines: Vec<_> = found.lines().collect();
    assert!(!lines[0].contains("latitude"), "{found}");
    assert!(lines[1].contains("\"latitude\":26.1"), "{found}");
}

#[test]
fn the_embedded_database_is_a_layer_like_any_other() {
    let (_folder, [corrections, ..]) = three();
    let asked = ["1.0.0.1", "114.114.114.114"];
    let found = layered("tsv", &corrections, "embedded", &asked);
    let lines: Vec<_> = found.lines().collect();
    assert!(lines[0].starts_with("1.0.0.1\t日本\tJP\t"), "{found}");
    assert!(
        lines[1].starts_with("114.114.114.114\t中国\tCN\t江苏\t"),
        "{found}"
    );
}

#[test]
fn convert_writes_the_merge() {
    let (folder, [corrections, source, _]) = three();
    for name in ["merged.pack", "merged.csv"] {
        let merged = folder.path().join(name).display().to_string();
        let output = run(&["db", "convert", "-o", &merged, &corrections, &source], "");
        assert!(output.status.success(), "{}", stderr(&output));
        let said = format!("{merged}: 3 IPv4 and 1 IPv6 ranges, 4 records, ");
        assert!(stderr(&output).starts_with(&said), "{}", stderr(&output));
        let lookup = ["lookup", "--format", "tsv", "--db", &merged];
        assert_eq!(ok(&[&lookup[..], &ASKED].concat()), MERGED);
    }
    let mmdb = folder.path().join("merged.mmdb").display().to_string();
    refused(
        &["db", "convert", "-o", &mmdb, &source],
        "MaxMind's format is read and not written",
    );
    assert!(!std::path::Path::new(&mmdb).exists());
}

#[test]
fn a_layer_that_cannot_be_used_is_named() {
    let (_folder, [good, bad, empty]) = files([
        ("good.csv", SOURCE),
        ("bad.csv", "start,end,country\n1.0.0.0,x,a\n"),
        ("empty.csv", "start,end,country\n"),
    ]);
    for (file, reason) in [
        (&bad, "csv: line 2: column 2 (end): \"x\" is no"),
        (&empty, "not one range"),
    ] {
        let expected = format!("geogate: database {file}: {reason}");
        refused(
            &["lookup", "--db", &good, "--db", file, "1.0.0.1"],
            &expected,
        );
    }
}

#[test]
fn the_configuration_has_layers() {
    let (folder, [corrections, source, config]) = files([
        ("corrections.csv", CORRECTIONS),
        ("source.csv", SOURCE),
        ("geogate.toml", ""),
    ]);
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    write(&format!(
        "[[database]]\nfile = '{corrections}'\n[[database]]\nfile = '{source}'\n\
         [[database]]\nembedded = true\n[geo]\nlanguages = ['en']\n"
    ));
    assert_eq!(ok(&["check", "-c", &config]), format!("{config}: ok\n"));
    let missing = folder.path().join("missing").display().to_string();
    write(&format!(
        "[[database]]\nfile = '{source}'\n[[database]]\nfile = '{missing}'\n"
    ));
    refused(&["check", "-c", &config], &format!("database {missing}: "));
}

#[test]
fn info_tells_what_a_database_holds() {
    let (_folder, [_, source, other]) = three();
    assert!(
        ok(&["db", "info", "--db", &source, "--db", &other]).starts_with(&format!(
            "database           {source}, {other}\n\
             format             layers\n\
             source             -\n\
             date               -\n\
             records            4\n\
             places             4\n\
             IPv4 ranges        3\n"
        ))
    );
    let text = ok(&["db", "info", "--db", &other]);
    let expected = "\nIPv4  country  addresses  share    ranges\n\
                    CN    中国     512        66.67 %  3\n      a        256        33.33 %  1\n\
                    \nIPv6  country        /64 networks  share     ranges\n\
                    US    United States  1             100.00 %  1\n";
    assert!(text.ends_with(expected), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&ok(&["db", "info", "--db", &other, "--format", "json"])).unwrap();
    assert_eq!(json["format"], "csv");
    assert_eq!(json["ipv4"]["countries"][0]["code"], "CN");
    assert_eq!(
        json["ipv4"]["countries"][1]["code"],
        serde_json::Value::Null
    );
    assert_eq!(json["ipv4"]["amount"], 768);
}

#[test]
fn diff_counts_what_moved_and_shows_the_largest() {
    let (folder, [_, source, other]) = three();
    let expected = format!(
        "A  {source}\nB  {other}\n\n\
         IPv4, addresses  same  changed  share    only B says  only A says\n\
         country          512   0        0.00 %   0            0\n\
         province         384   128      25.00 %  0            0\n\
         city             256   128      33.33 %  0            128\n\
         in the database  512                     256          0\n\n\
         addresses  largest 1 of 1 changes  A               B\n\
         128        1.0.1.0/25              中国 福建 福州  中国 广东 广州\n\n\
         IPv6, /64 networks  same  changed  share   only B says  only A says\n\
         country             1     0        0.00 %  0            0\n\
         province            0     0        -       0            0\n\
         city                0     0        -       0            0\n\
         in the database     1                      0            0\n"
    );
    assert_eq!(ok(&["db", "diff", &source, &other]), expected);
    assert_eq!(
        ok(&["db", "diff", &source, &other, "--format", "csv"]),
        "range,addresses,level,from_country,from_province,from_city,to_country,to_province,to_city\n\
         1.0.1.0/25,128,province,中国,福建,福州,中国,广东,广州\n"
    );
    let page = folder.path().join("diff.html").display().to_string();
    assert_eq!(
        ok(&[
            "db", "diff", &source, &other, "--format", "html", "-o", &page
        ]),
        ""
    );
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("<svg"),
        "{page}"
    );
    assert!(page.contains("1.0.1.0/25"), "{page}");
}

#[test]
fn verify_finds_a_file_right_and_lists_what_is_odd() {
    let odd = "start,end,country,province\n1.0.0.0,1.0.0.255,中国,福健\n1.0.0.16,1.0.0.31,b ,\n1.0.1.16,1.0.1.31,b ,\n";
    let (_folder, [odd]) = files([("odd.csv", odd)]);
    let expected = format!(
        "{odd}\nIPv4: 3 ranges\n  ranges that begin within another: 1\n    1.0.0.16/28\n\
         \x20 gaps: 1, 16 addresses\n    1.0.1.0/28\n\
         \x20 countries without a code: 1\n    b (2 ranges)\n  provinces of China without a code: 1\n    福健 (2 ranges)\n\
         right: every range is answered as the file says, at both ends\n"
    );
    assert_eq!(ok(&["db", "verify", &odd]), expected);
}

#[test]
fn agree_compares_every_pair() {
    let (_folder, [corrections, source, other]) = three();
    let expected = format!(
        "A  {corrections}\nB  {source}\nC  {other}\n\n\
         IPv4  addresses  country   province in China  city in China\n\
         A-B   384        66.67 %   100.00 %           0.00 %\n\
         A-C   384        66.67 %   50.00 %            0.00 %\n\
         B-C   512        100.00 %  75.00 %            66.67 %\n\n\
         \x20   country  addresses  A-B       A-C       B-C\n\
         CN  中国     512        100.00 %  100.00 %  100.00 %\n\
         JP  日本     128        0.00 %    0.00 %\n\n\
         IPv6  /64 networks  country   province in China  city in China\n\
         B-C   1             100.00 %  -                  -\n\n\
         \x20   country  /64 networks  B-C\n\
         US  美国     1             100.00 %\n"
    );
    let all = ["db", "agree", &corrections, &source, &other];
    assert_eq!(ok(&all), expected);
    let csv = ok(&["db", "agree", "--format", "csv", &source, &other]);
    let line = format!("IPv4,{source},{other},city,CN,,384,256,0.666667\n");
    assert!(csv.contains(&line), "{csv}");
    let json = ok(&["db", "agree", "--format", "json", &source, &other]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["province_in_china"]["same"], 384);
    assert_eq!(json[1]["countries"][0]["code"], "US");
    let output = run(&["db", "agree", &source], "");
    assert_eq!(output.status.code(), Some(2));
    let error = stderr(&output);
    assert!(error.contains("requires at least 2 values"), "{error}");
}

#[test]
fn names_are_read_with_the_users_own_codes() {
    let (folder, [a, b, _]) = files([
        ("a.csv", "cidr,country\n1.0.0.0/24,Freedonia\n"),
        ("b.csv", "cidr,country\n1.0.0.0/24,Ruritania\n"),
        ("country_list.txt", "Freedonia\tFD\nRuritania\tFD\n"),
    ]);
    let codes = folder.path().display().to_string();
    let share = |arguments: &[&str]| {
        let csv = ok(&[&["db", "agree", "--format", "csv", &a, &b], arguments].concat());
        csv.lines()
            .nth(1)
            .unwrap()
            .rsplit(',')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(share(&[]), "0.000000");
    assert_eq!(share(&["--codes", &codes]), "1.000000");
}
