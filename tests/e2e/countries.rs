//! The country of a client: the database's own code, in every answer, header, rule and log line; and
//! corrections that people write by hand.

use serde_json::Value;

use crate::commands::{run, stderr, stdout};
use crate::harness::{Gateway, Origin};

/// 1.0.0.0/24 is Taiwan by its code, 1.0.1.0/24 as a source without codes has it, 1.0.2.0/24 is
/// Puerto Rico under the name of the United States, 1.0.3.0/24 China.
const PLACES: &str = "cidr,country,province,city,country_code\n\
                      1.0.0.0/24,Taiwan,Taipei City,Taipei,TW\n\
                      1.0.1.0/24,中国,台湾,台北,\n\
                      1.0.2.0/24,美国,,,PR\n\
                      1.0.3.0/24,China,Jiangsu,Suzhou,CN\n";

fn gateway(origin: &Origin, more: &str) -> Gateway {
    let configuration = format!(
        "[client_ip]\ntrusted_proxies = ['127.0.0.1']\n\
         [[database]]\nfile = '{{folder}}/places.csv'\n\
         [access_log]\nformat = '$remote_addr $country $country_name $region_code'\n\
         [[upstream]]\nname = 'origin'\npeers = ['{}']\n\
         [[access]]\nname = 'no-china'\nrules = [{{ deny = 'country:CN' }}]\ndefault = 'allow'\n\
         [[access]]\nname = 'no-taiwan'\nrules = [{{ deny = 'country:TW' }}]\ndefault = 'allow'\n\
         [[route]]\nprefix = '/outside'\naccess = 'no-china'\nupstream = 'origin'\n\
         [[route]]\nprefix = '/elsewhere'\naccess = 'no-taiwan'\nupstream = 'origin'\n\
         [[route]]\nprefix = '/where'\ncountries = ['TW']\nrespond = {{ status = 200, body = 'Taiwan' }}\n\
         [[route]]\nprefix = '/'\nupstream = 'origin'\n{more}",
        origin.address
    );
    Gateway::start_in(&configuration, |folder| {
        std::fs::write(folder.join("places.csv"), PLACES).unwrap();
    })
}

/// The country code of an address in the array and in the object.
fn codes(gateway: &Gateway, ip: &str) -> [String; 2] {
    let ask = |format: &str| -> Value {
        let path = format!("/api/ip_query?ip={ip}&format={format}");
        serde_json::from_slice(&gateway.client().get(&path, "").body).unwrap()
    };
    let (array, object) = (ask("array"), ask("object"));
    [&array[1], &object["country_code"]].map(|code| code.as_str().unwrap().to_owned())
}

#[track_caller]
fn check_countries(more: &str, header: &str, expected: [&str; 4]) {
    let origin = Origin::start();
    let gateway = gateway(&origin, more);
    for (number, code) in expected.into_iter().enumerate() {
        let ip = format!("1.0.{number}.7");
        assert_eq!(codes(&gateway, &ip), [code, code], "{ip}");
        let headers = format!("X-Forwarded-For: {ip}\r\n");
        assert_eq!(gateway.client().get("/", &headers).status, 200);
        assert_eq!(origin.last().values(header), [code], "{ip}");
        let status = |path: &str| gateway.client().get(path, &headers).status;
        let outside = if code == "CN" { 403 } else { 200 };
        assert_eq!(status("/outside"), outside, "{ip}");
        // Whichever code it has, Taiwan is found by its own.
        let is_taiwan = number < 2;
        assert_eq!(status("/elsewhere"), if is_taiwan { 403 } else { 200 });
        let place = gateway.client().get("/where", &headers).body;
        assert_eq!(place == b"Taiwan", is_taiwan, "{ip}");
    }
    let log = gateway.stop();
    for (number, code) in expected.into_iter().enumerate() {
        let line = format!("1.0.{number}.7 {code} ");
        assert!(log.iter().any(|found| found.starts_with(&line)), "{line}");
        let of_client = log
            .iter()
            .filter(|found| found.starts_with(&format!("1.0.{number}.7 ")));
        assert!(of_client.clone().all(|found| found.starts_with(&line)));
        let region = if number < 2 { "中国 710000" } else { "" };
        assert!(
            of_client.clone().all(|found| found.contains(region)),
            "{log:#?}"
        );
    }
}

#[test]
fn the_databases_own_country_code_is_kept_everywhere() {
    let expected = ["TW", "CN", "PR", "CN"];
    check_countries("", "x-geo-country", expected);
    for (preset, header) in [
        ("cloudflare", "cf-ipcountry"),
        ("cloudfront", "cloudfront-viewer-country"),
        ("vercel", "x-vercel-ip-country"),
    ] {
        let more = format!("[geo_headers]\nnames = '{preset}'\n");
        check_countries(&more, header, expected);
    }
}

#[test]
fn hong_kong_macau_and_taiwan_are_cn_if_that_is_configured() {
    let more = "[geo]\nregions = 'china'\n";
    check_countries(more, "x-geo-country", ["CN", "CN", "PR", "CN"]);
}

#[track_caller]
fn ok(arguments: &[&str]) -> String {
    let output = run(arguments, "");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).to_owned()
}

#[test]
fn commands_know_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.csv").display().to_string();
    std::fs::write(&file, PLACES).unwrap();
    let code = |more: &[&str]| {
        let lookup = ["lookup", "--db", &file, "--format", "tsv", "1.0.0.1"];
        let line = ok(&[&lookup[..], more].concat());
        line.split('\t').nth(2).unwrap().to_owned()
    };
    assert_eq!(code(&[]), "TW");
    assert_eq!(code(&["--raw-names"]), "TW");
    assert_eq!(code(&["--regions", "iso"]), "TW");
    assert_eq!(code(&["--regions", "china"]), "CN");
    ok(&["db", "verify", &file]);
    ok(&["db", "verify", "--regions", "china", &file]);
    let info = ok(&["db", "info", "--db", &file]);
    assert!(info.contains("TW    中国 台湾"), "{info}");
    // What is converted has the database's own codes.
    let pack = folder.path().join("places.pack").display().to_string();
    ok(&["db", "convert", "-o", &pack, &file]);
    let diff = ok(&["db", "diff", &file, &pack]);
    assert!(
        diff.contains("country          1,024  0        0.00 %"),
        "{diff}"
    );
    let other = folder.path().join("other.csv").display().to_string();
    std::fs::write(&other, PLACES.replace("Taipei,TW", "Taipei,CN")).unwrap();
    let diff = ok(&["db", "diff", &file, &other]);
    let moved = |line: &str| line.starts_with("256") && line.contains("中国 台湾  ");
    assert!(diff.lines().any(moved), "{diff}");
    assert!(
        diff.contains("中国 (TW) 台湾 Taipei  中国 (CN) 台湾 Taipei"),
        "{diff}"
    );
    let agree = ok(&["db", "agree", "--format", "csv", &file, &other]);
    assert!(agree.contains(",country,,,1024,768,0.75"), "{agree}");
}

/// What `lookup` prints of 1.0.0.1 with a correction over Nanjing.
fn corrected(correction: &[u8]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let nanjing = "cidr,country,province,city,isp,latitude,longitude\n\
                   1.0.0.0/24,中国,江苏,南京,电信,32.06,118.8\n";
    let upper = write("correction.csv", correction);
    let lower = write("lower.csv", nanjing.as_bytes());
    let lookup = ["lookup", "--format", "json", "--db", &upper, "--db", &lower];
    run(&[&lookup[..], &["1.0.0.1"]].concat(), "")
}

#[track_caller]
fn check_correction(text: &str, expected: [&str; 7]) {
    let utf_16 = std::iter::once(0xfeff).chain(text.encode_utf16());
    let utf_16 = utf_16.flat_map(u16::to_le_bytes).collect();
    let (gbk, _, _) = encoding_rs::GBK.encode(text);
    for bytes in [text.as_bytes().to_vec(), gbk.into_owned(), utf_16] {
        let output = corrected(&bytes);
        assert!(output.status.success(), "{}", stderr(&output));
        let found: Value = serde_json::from_str(stdout(&output)).unwrap();
        let names = ["country", "country_code", "province", "province_code"];
        let names = names.into_iter().chain(["city", "city_code", "isp"]);
        let found: Vec<_> = names
            .map(|name| found[name].as_str().unwrap_or_default())
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_correction_of_one_field_keeps_the_coarser_ones() {
    let suzhou = ["中国", "CN", "江苏", "320000", "苏州", "320500", "电信"];
    for text in [
        "cidr,city\n1.0.0.0/24,苏州\n",
        "cidr,city\n1.0.0.0/24,Suzhou\n",
        "cidr,city_code\n1.0.0.0/24,320500\n",
        "# by hand\ncidr;note;city\n\n1.0.0.0/24;branch office;苏州\n",
        "cidr\tcity\t备注\n1.0.0.0/24\t苏州市\t新的办公室\n",
    ] {
        check_correction(text, suzhou);
    }
    let blank = ["中国", "CN", "江苏", "320000", "", "", ""];
    check_correction("cidr,city,isp\n1.0.0.0/24,-,-\n", blank);
    let japan = ["日本", "JP", "", "", "", "", "电信"];
    check_correction("cidr,country_code\n1.0.0.0/24,JP\n", japan);
}

#[test]
fn a_correction_that_cannot_be_is_refused_with_its_line_and_column() {
    for (text, expected) in [
        (
            "cidr,country_code\n1.0.0.0/24,CN\n1.0.1.0/24,CHN\n",
            "line 3: column 2 (country_code): \"CHN\" is not a code of two letters",
        ),
        (
            "cidr,city,latitude,longitude\n1.0.0.0/24,苏州,131.3,120.6\n",
            "line 2: column 3 (latitude): 131.3 is not between -90 and 90",
        ),
        (
            "cidr,city,latitude,longitude\n1.0.0.0/24,苏州,31.3,220.6\n",
            "line 2: column 4 (longitude): 220.6 is not between -180 and 180",
        ),
        (
            "cidr,city\n1.0.0.0/24,苏州 # new\n",
            "line 2: column 2 (city): \"苏州 # new\" has a #; a comment stands on a line of its own",
        ),
        (
            "cidr,city,ticket\n1.0.0.0/24,苏州,7\n",
            "line 1: no column is called \"ticket\"; one of notes is called note, or \"#ticket\"",
        ),
    ] {
        let output = corrected(text.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
