//! The commands that answer and end: what they print, and how they exit.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use geogate::geo::format::dat;
use tempfile::TempDir;

use crate::harness::small_database;

pub fn geogate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geogate"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs a command with this standard input.
pub fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = geogate()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that does not read its input closes it.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What `geogate check` exits with and prints to standard error for a configuration, which it finds
/// as `geogate.toml` in this folder. The database is a small one unless it names others.
pub fn check_configuration(folder: &Path, text: &str) -> (Option<i32>, String) {
    let file = folder.join("geogate.toml");
    let database = if text.contains("[[database]]") {
        String::new()
    } else {
        small_database(folder)
    };
    std::fs::write(&file, format!("{text}\n{database}")).unwrap();
    let output = run(&["check", "-c", &file.display().to_string()], "");
    (output.status.code(), stderr(&output).to_owned())
}

#[track_caller]
fn check(arguments: &[&str], input: &str, code: i32, out: &str, err: &str) {
    let output = run(arguments, input);
    assert_eq!(stdout(&output), out);
    assert_eq!(stderr(&output), err);
    assert_eq!(output.status.code(), Some(code));
}

/// A .dat file with these entries in a folder of its own.
fn database(entries: &[(u32, String)]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.dat");
    let entries: Vec<_> = entries
        .iter()
        .map(|(last, text)| (*last, text.clone().into()))
        .collect();
    std::fs::write(&file, dat::write(&entries)).unwrap();
    let file = file.display().to_string();
    (folder, file)
}

fn dotted(address: u32) -> String {
    std::net::Ipv4Addr::from(address).to_string()
}

/// Both ends and both neighbours of every entry give the file's own text, as the documented service
/// does not: it loses the last run of each /8, and all of a /8 that is one run.
#[test]
fn every_entry_of_a_file_is_answered_with_its_own_text() {
    // A multiplicative generator: ends spread over all /8s, runs of every length, some /8s whole.
    let mut state = 20_170_101_u32;
    let mut ends: Vec<u32> = (0..6000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let octet = state >> 24;
            if octet % 16 == 5 {
                octet << 24 | 0x00ff_ffff
            } else {
                state >> (state % 3)
            }
        })
        .collect();
    ends.extend(
        (0..256)
            .map(|octet| octet << 24 | 0x00ff_ffff)
            .filter(|end| end % 3 == 0),
    );
    ends.extend([0, 1, 0xffff_feff, u32::MAX]);
    ends.sort_unstable();
    ends.dedup();
    let entries: Vec<(u32, String)> = ends
        .into_iter()
        .enumerate()
        .map(|(index, last)| match last {
            u32::MAX => (last, "IPIP.NET\t2017010105\t\t".to_owned()),
            _ => (
                last,
                format!("国{}\t省{}\t市{index}\t", index % 7, index % 31),
            ),
        })
        .collect();
    let (_folder, file) = database(&entries);

    let mut asked = Vec::new();
    let mut first = 0;
    for (last, _) in &entries {
        for address in [
            first - u32::from(first > 0),
            first,
            *last,
            last.saturating_add(1),
        ] {
            asked.push(address);
        }
        first = last.saturating_add(1);
    }
    let input: String = asked
        .iter()
        .map(|&address| dotted(address) + "\n")
        .collect();
    let output = run(
        &["lookup", "--db", &file, "--raw-names", "--format", "tsv"],
        &input,
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), asked.len());
    for (address, line) in asked.into_iter().zip(lines) {
        // The oracle is a scan of the entries, from the first on.
        let (_, text) = entries.iter().find(|(last, _)| address <= *last).unwrap();
        let text = if address > 0xffff_feff { "" } else { text };
        let mut fields = text.split('\t').map(str::to_owned).collect::<Vec<_>>();
        fields.resize(5, String::new());
        let [country, province, city, organization, isp] = &fields[..] else {
            unreachable!()
        };
        let ip = dotted(address);
        let expected = format!("{ip}\t{country}\t\t{province}\t\t{city}\t\t{organization}\t{isp}");
        assert_eq!(line, expected);
    }
}

fn small() -> (TempDir, String) {
    database(&[
        (0x01ff_ffff, "中国\t福建省\t福州市\t\t电信".to_owned()),
        (0x02ff_ffff, "a,\"b\"\tx\ty".to_owned()),
    ])
}

#[test]
fn lookup_prints_every_format() {
    let (_folder, file) = small();
    let ask = |format| {
        vec![
            "lookup", "--db", &file, "--format", format, "1.1.1.1", "2.2.2.2", "3.3.3.3",
        ]
    };
    check(
        &ask("tsv"),
        "",
        0,
        "1.1.1.1\t中国\tCN\t福建\t350000\t福州\t350100\t\t电信\n2.2.2.2\ta,\"b\"\t\tx\t\ty\t\t\t\n3.3.3.3\t\t\t\t\t\t\t\t\n",
        "",
    );
    check(
        &ask("csv"),
        "",
        0,
        "ip,country,country_code,province,province_code,city,city_code,organization,isp\n\
         1.1.1.1,中国,CN,福建,350000,福州,350100,,电信\n2.2.2.2,\"a,\"\"b\"\"\",,x,,y,,,\n3.3.3.3,,,,,,,,\n",
        "",
    );
    check(
        &ask("json"),
        "",
        0,
        "{\"ip\":\"1.1.1.1\",\"country\":\"中国\",\"country_code\":\"CN\",\"province\":\"福建\",\"province_code\":\"350000\",\
         \"city\":\"福州\",\"city_code\":\"350100\",\"organization\":\"\",\"isp\":\"电信\"}\n\
         {\"ip\":\"2.2.2.2\",\"country\":\"a,\\\"b\\\"\",\"country_code\":null,\"province\":\"x\",\"province_code\":null,\
         \"city\":\"y\",\"city_code\":null,\"organization\":\"\",\"isp\":\"\"}\n{\"ip\":\"3.3.3.3\"}\n",
        "",
    );
    check(
        &ask("table"),
        "",
        0,
        "ip       country  country_code  province  province_code  city  city_code  organization  isp\n\
         1.1.1.1  中国     CN            福建      350000         福州  350100                   电信\n\
         2.2.2.2  a,\"b\"                  x                        y\n3.3.3.3\n",
        "",
    );
}

#[test]
fn raw_names_are_the_files_own_and_have_codes() {
    let (_folder, file) = small();
    let arguments = [
        "lookup",
        "--db",
        &file,
        "--raw-names",
        "--format",
        "tsv",
        "1.1.1.1",
    ];
    check(
        &arguments,
        "",
        0,
        "1.1.1.1\t中国\tCN\t福建省\t350000\t福州市\t350100\t\t电信\n",
        "",
    );
}

#[test]
fn own_code_tables_go_above_the_built_in_ones() {
    let (folder, file) = small();
    std::fs::write(
        folder.path().join("china_city_code.txt"),
        "\u{feff}359999\t中国\t福建\t福州\r\n",
    )
    .unwrap();
    let codes = folder.path().display().to_string();
    let arguments = [
        "lookup", "--db", &file, "--codes", &codes, "--format", "tsv", "1.1.1.1",
    ];
    check(
        &arguments,
        "",
        0,
        "1.1.1.1\t中国\tCN\t福建\t350000\t福州\t359999\t\t电信\n",
        "",
    );
}

#[test]
fn what_is_no_address_is_said_with_its_line_and_loses_nothing() {
    let (_folder, file) = small();
    let out = "2.1.1.1\ta,\"b\"\t\tx\t\ty\t\t\t\nx\t\t\t\t\t\t\t\t\n1.1.1.1\t中国\tCN\t福建\t350000\t福州\t350100\t\t电信\n";
    let err = "geogate: line 3: \"x\" is not an IP address\n";
    for arguments in [&["-"][..], &[]] {
        let arguments = [&["lookup", "--db", &file, "--format", "tsv"], arguments].concat();
        check(&arguments, "2.1.1.1\n\n x \r\n1.1.1.1", 1, out, err);
    }
}

#[test]
fn the_embedded_database_knows_the_world() {
    let arguments = [
        "lookup",
        "--format",
        "tsv",
        "114.114.114.114",
        "2400:3200::1",
    ];
    let output = run(&arguments, "");
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert!(
        lines[0].starts_with("114.114.114.114\t中国\tCN\t江苏\t320000\t南京\t320100\t"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("2400:3200::1\t中国\tCN\t"),
        "{lines:?}"
    );
}

/// It is said before anything is read: here there would be nothing to read, either.
#[test]
fn a_folder_that_is_not_there_cannot_be_written_to() {
    let arguments = ["db", "convert", "-o", "/none/x.pack", "/none.mmdb"];
    let error = "geogate: cannot write /none/x.pack: /none is no folder\n";
    check(&arguments, "", 1, "", error);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (folder, file) = small();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let output = run(&["lookup", "--db", &file, "1.1.1.1"], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("geogate: database {file}: dat: offset ");
    assert!(
        stderr(&output).starts_with(&expected),
        "{}",
        stderr(&output)
    );
    let missing = folder.path().join("missing").display().to_string();
    let output = run(&["lookup", "--db", &missing, "1.1.1.1"], "");
    assert!(
        stderr(&output).contains("No such file"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn databases_are_converted() {
    let (folder, file) = small();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(
        path("v6.csv"),
        "start,end,country_code\n2001::,2001::ff,JP\n",
    )
    .unwrap();
    let (pack, csv) = (path("both.pack"), path("both.csv"));
    let convert = |output: &str| {
        let result = run(
            &[
                "db",
                "convert",
                "--date",
                "2026-01-02",
                "-o",
                output,
                &file,
                &path("v6.csv"),
            ],
            "",
        );
        assert!(result.status.success(), "{}", stderr(&result));
    };
    let upper_case = path("UPPER.CSV");
    for output in [&pack, &csv, &upper_case] {
        convert(output);
    }
    let text = |file: &str| std::fs::read_to_string(file).unwrap();
    assert_eq!(text(&upper_case), text(&csv));
    let refused = run(&["db", "convert", "-o", &path("a.MMDB"), &file], "");
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(
        said.contains("a.MMDB: MaxMind's format is read and not written"),
        "{said}"
    );
    for converted in [&pack, &csv] {
        let arguments = [
            "lookup",
            "--db",
            converted,
            "--raw-names",
            "--format",
            "tsv",
            "1.1.1.1",
            "2001::5",
        ];
        let expected = "1.1.1.1\t中国\tCN\t福建省\t350000\t福州市\t350100\t\t电信\n2001::5\t\tJP\t\t\t\t\t\t\n";
        check(&arguments, "", 0, expected, "");
    }
}

#[test]
fn check_reports_everything_with_line_and_key() {
    check(&["check"], "", 0, "built-in configuration: ok\n", "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geogate.toml").display().to_string();
    std::fs::write(&file, "[server]\nlisten = ['x']\nworker = 3\n").unwrap();
    let expected = format!(
        "{file}: server.listen[0]: \"x\" is not an address with a port, as \"0.0.0.0:9000\" (line 2)\n\
         {file}: server.worker: unknown key; did you mean \"workers\"? Known here: grace_period, listen, max_open_files, \
         pid_file, upgrade_socket, work_stealing, workers (line 3)\n"
    );
    check(&["check", "-c", &file], "", 1, "", &expected);
}

/// Names and contents of all files in a folder.
fn listing(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let entries = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap_or_default())
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    entries
}

#[test]
fn check_finds_every_file_that_cannot_be_used_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in [("bad.pem", "no certificate"), ("bad.dat", "no database")] {
        std::fs::write(path(name), text).unwrap();
    }
    let (toml, root) = (path("geogate.toml"), folder.path().display().to_string());
    let text = "[server]\nlisten = ['192.0.2.1:1']\n\
        [tls]\ncertificates = [\n  { cert = 'F/no.pem', key = 'F/no.key' },\n  \
        { cert = 'F/bad.pem', key = 'F/bad.pem' },\n]\n\
        client_auth = 'required'\nclient_ca = 'F/no.ca'\n\
        [error_page]\nfile = 'F/no.html'\n\
        [access_log]\ntarget = 'F/no/access.log'\n\
        [error_log]\ntarget = 'F'\n\
        [[database]]\nfile = 'F/no.dat'\n\
        [[database]]\nfile = 'F/bad.dat'\n\
        [geo]\ncodes = 'F/no'\n\
        [[upstream]]\nname = 'a'\npeers = ['a.example:1']\ntls = true\nca_file = 'F/bad.pem'\n\
        client_cert = 'F/no.crt'\nclient_key = 'F/no.key'\n\
        [[route]]\npath = '/a'\nupstream = 'a'\n\
        [[route]]\npath = '/b'\nfiles = { root = 'F/no/www' }\n";
    std::fs::write(&toml, text.replace('F', &root)).unwrap();
    let before = listing(folder.path());
    let output = run(&["check", &toml], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let lines: Vec<_> = stderr(&output).lines().collect();
    let expected = [
        ("server.listen[0]: cannot listen on 192.0.2.1:1", 2),
        ("tls.certificates[0].cert: F/no.pem: No such file", 5),
        ("tls.certificates[0].key: F/no.key: No such file", 5),
        ("tls.certificates[1].cert: F/bad.pem: has no certificate", 6),
        ("tls.client_ca: F/no.ca: No such file", 9),
        ("error_page.file: F/no.html: No such file", 11),
        ("access_log.target: F/no: No such file", 13),
        ("error_log.target: F: is a folder", 15),
        ("database[0].file: database F/no.dat: No such file", 17),
        ("database[1].file: database F/bad.dat: not a database", 19),
        ("geo.codes: code tables: F/no: none of", 21),
        ("upstream[0].ca_file: F/bad.pem: has no certificate", 26),
        ("upstream[0].client_cert: F/no.crt: No such file", 27),
        ("upstream[0].client_key: F/no.key: No such file", 28),
        ("route[1].files.root: F/no/www: No such file", 34),
    ];
    for (line, (expected, number)) in lines.iter().zip(expected) {
        let expected = format!("{toml}: {}", expected.replace('F', &root));
        assert!(line.starts_with(&expected), "{line}\n{expected}");
        assert!(line.ends_with(&format!(" (line {number})")), "{line}");
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn check_makes_no_log_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let toml = path("geogate.toml");
    let text = format!(
        "[access_log]\ntarget = '{}'\n[error_log]\ntarget = '{}'\n{}",
        path("access.log"),
        path("error.log"),
        small_database(folder.path())
    );
    std::fs::write(&toml, text).unwrap();
    let before = listing(folder.path());
    check(&["check", &toml], "", 0, &format!("{toml}: ok\n"), "");
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn check_finds_an_address_that_is_listened_on_twice() {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("geogate.toml").display().to_string();
    let text = "[server]\nlisten = ['0.0.0.0:9999']\n[admin]\nlisten = ['127.0.0.1:9999']\n\
                [error_page]\nfile = '/none'\n";
    let database = small_database(folder.path());
    std::fs::write(&toml, text.to_owned() + &database).unwrap();
    let expected = format!(
        "{toml}: admin.listen[0]: 127.0.0.1:9999 and 0.0.0.0:9999 of server.listen[0] cannot both be \
         listened on (line 4)\n\
         {toml}: error_page.file: /none: No such file or directory (os error 2) (line 6)\n"
    );
    check(&["check", "-c", &toml], "", 1, "", &expected);
    // It is what the system says, too.
    let any = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = any.local_addr().unwrap().port();
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
}

/// Whoever runs the gateway may check its configuration.
#[test]
fn check_leaves_addresses_that_are_taken_alone() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("geogate.toml").display().to_string();
    let text = format!("[server]\nlisten = ['{}']\n", taken.local_addr().unwrap());
    let database = small_database(folder.path());
    std::fs::write(&toml, text + &database).unwrap();
    check(&["check", &toml], "", 0, &format!("{toml}: ok\n"), "");
}

/// A command line that means nothing, and a part of what is said of it.
#[track_caller]
fn check_usage(arguments: &[&str], expected: &str) {
    let output = run(arguments, "");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn a_wrong_command_line_is_told_what_is_wrong_and_exits_with_2() {
    check_usage(&["rnu"], "rnu");
    check_usage(&["run", "--lsiten", "127.0.0.1:1"], "--lsiten");
    check_usage(&["check", "--config"], "requires a value");
    check_usage(&["check", "a", "--config", "b"], "cannot be used with");
    check_usage(&["-c", "a", "check"], "check");
    check_usage(&["db"], "USAGE");
    check_usage(&["db", "verify"], "FILE");
    check_usage(&["db", "info", "a", "--db", "b"], "cannot be used with");
    check_usage(&["lookup", "--format", "xml"], "xml");
    check_usage(&["completions", "csh"], "csh");
    for address in ["9000", "localhost:9000", "127.0.0.1", "127.0.0.1:99999"] {
        let form = "is not an IP address with a port, such as 127.0.0.1:9000";
        check_usage(
            &["run", "--listen", address],
            &format!("{address:?} {form}"),
        );
        check_usage(&["--listen", address], &format!("{address:?} {form}"));
    }
    check_usage(
        &["db", "diff", "a", "b", "--top", "x"],
        "\"x\" is not a count, such as 10",
    );
    for date in [
        "2026-02-30",
        "2026",
        "20260101",
        "2026-01-01T00:00",
        "today",
    ] {
        let expected = format!("{date:?} is not a date such as 2026-01-31");
        check_usage(
            &["db", "convert", "-o", "x", "--date", date, "embedded"],
            &expected,
        );
    }
}

/// As `geogate --help | head -1` does.
#[test]
fn a_closed_pipe_of_the_help_is_no_panic() {
    for (arguments, code) in [(&["--help"][..], 0), (&["rnu"][..], 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = geogate()
            .args(arguments)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status();
        assert_eq!(status.unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["run", "--help"], &["help", "check"]] {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("USAGE"), "{}", stdout(&output));
        assert!(!stdout(&output).contains("in-background"));
    }
    let output = run(&["--version"], "");
    assert_eq!(output.status.code(), Some(0));
    let version = format!("geogate {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&output).trim_end(), version);
}

#[test]
fn a_peer_that_is_no_address_is_no_fault_of_the_file() {
    let output = run(&["run", "--upstream", "127.0.0.1"], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = "geogate: --upstream: \"127.0.0.1\" is not host:port";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
}

#[test]
fn a_database_is_named_with_a_flag_or_without() {
    let (_folder, file) = small();
    let said = |arguments: &[&str]| {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let info = said(&["db", "info", &file]);
    assert!(info.contains(&file), "{info}");
    assert_eq!(info, said(&["db", "info", "--db", &file]));
}

#[test]
fn a_file_of_nginx_is_translated() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (nginx, toml) = (path("nginx.conf"), path("geogate.toml"));
    let text = format!(
        "error_log {}; events {{ }} http {{ root {}; include sites/*; }}\n",
        path("error.log"),
        folder.path().display()
    );
    std::fs::write(&nginx, text).unwrap();
    std::fs::create_dir(path("sites")).unwrap();
    let site = "server { listen 127.0.0.1:8000; server_name a; location / { proxy_pass http://127.0.0.1:8001; \
                proxy_set_header Host $http_host; }\nlocation /b/ { teapot on; } location /c/ {\nproxy_pass https://127.0.0.1:8002; \
                proxy_set_header Host $http_host; } }";
    std::fs::write(path("sites/one"), site).unwrap();
    let site = path("sites/one");
    let output = run(&["check", "--nginx", &nginx], "");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output), "");
    let error = stderr(&output);
    let lines: Vec<&str> = error.lines().collect();
    let begins = [
        format!("{site}:2: closed: teapot on: The location answers 403: "),
        format!("{site}:3: differs: proxy_pass https://127.0.0.1:8002: "),
    ];
    for (line, begin) in lines.iter().zip(&begins) {
        assert!(line.starts_with(begin), "{error}");
    }
    for line in [
        format!("{nginx}:1: carried over: error_log {}", path("error.log")),
        format!("{site}:1: needs nothing: proxy_set_header Host $http_host: Always."),
    ] {
        assert!(lines.contains(&line.as_str()), "{error}");
    }
    let summary = format!(
        "geogate: {nginx}: 1 closed with 403, 0 not limited, 0 not carried over, 1 different"
    );
    assert!(lines[lines.len() - 1].starts_with(&summary), "{error}");
    // One line for each directive, `include` without its own, and the summary.
    assert_eq!(lines.len(), 15 + 1, "{error}");
    for accepting in [
        ["--nginx", "--allow-lossy", &nginx],
        ["--nginx", &nginx, "--allow-lossy"],
    ] {
        let output = run(&[&["check"][..], &accepting].concat(), "");
        assert_eq!(output.status.code(), Some(0));
        assert!(
            stderr(&output).ends_with(&format!("{summary}\n")),
            "{}",
            stderr(&output)
        );
    }
    let output = run(&["check", "--nginx", &nginx, "--allow-lossy"], "");
    let printed = stdout(&output);
    for part in [
        "listen = [\"127.0.0.1:8000\"]",
        "peers = [\"127.0.0.1:8001\"]",
        "prefix = \"/b/\"\nrespond = { status = 403 }",
        "sites/one:2: teapot on",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    let closed = printed.find("# Closed.").unwrap();
    assert!(closed < printed.find("[server]").unwrap(), "{printed}");
    let database = small_database(folder.path());
    std::fs::write(&toml, format!("{printed}\n{database}")).unwrap();
    check(&["check", "-c", &toml], "", 0, &format!("{toml}: ok\n"), "");
    // What neither protects nor routes is listed, and does not change the exit status.
    let complete = "server { listen 127.0.0.1:8000; add_trailer a b; return 200 a; }";
    std::fs::write(&site, complete).unwrap();
    let output = run(&["check", "--nginx", &nginx], "");
    assert_eq!(output.status.code(), Some(0));
    let begin = format!("{site}:1: not carried over: add_trailer a b: ");
    assert!(stderr(&output).starts_with(&begin), "{}", stderr(&output));
    assert!(stdout(&output).contains("status = 200"));
}

#[test]
fn a_file_that_nginx_does_not_read_is_not_translated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf").display().to_string();
    std::fs::write(&file, "http {\n  server { listen 80 }\n}\n").unwrap();
    let error = format!("geogate: {file}:2:22: unexpected \"}}\"\n");
    check(&["check", "--nginx", &file], "", 1, "", &error);
    let missing = format!("{file}.missing");
    let error = format!("geogate: {missing}: No such file or directory (os error 2)\n");
    check(&["check", "--nginx", &missing], "", 1, "", &error);
}

#[test]
fn completions_are_printed() {
    let output = run(&["completions", "bash"], "");
    assert!(stdout(&output).contains("_geogate"), "{}", stdout(&output));
}

#[test]
fn a_flag_checks_as_nginx_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geogate.toml");
    let database = small_database(folder.path());
    std::fs::write(&file, &database).unwrap();
    let name = file.display().to_string();
    for arguments in [["-t", "-c", &name], ["-c", &name, "-t"]] {
        check(&arguments, "", 0, &format!("{name}: ok\n"), "");
    }
    std::fs::write(&file, format!("[sever]\n{database}")).unwrap();
    let output = run(&["-t", "-c", &name], "");
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{name}: sever: unknown key; did you mean \"server\"? Known here: ");
    assert!(stderr(&output).starts_with(&said), "{}", stderr(&output));
    assert!(stderr(&output).ends_with(" (line 1)\n"));
}

#[test]
fn a_misspelled_value_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = check_configuration(
        folder.path(),
        "[error_log]\nlevel = 'warning'\n[geo_headers]\nnames = 'vercell'\nmore = ['timezone']\n",
    );
    assert_eq!(code, Some(1));
    for line in [
        "error_log.level: \"warning\" is not \"off\" or \"error\" or \"warn\" or \"info\" or \
         \"debug\" or \"trace\"; did you mean \"warn\"? (line 2)",
        "\"geogate\" or \"cloudflare\" or \"cloudfront\" or \"vercel\"; did you mean \"vercel\"? (line 4)",
        "did you mean \"time_zone\"? (line 5)",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

/// Runs `geogate check` on a configuration with these variables of the environment.
fn check_with(folder: &Path, text: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let file = folder.join("geogate.toml");
    std::fs::write(&file, format!("{text}\n{}", small_database(folder))).unwrap();
    let mut command = geogate();
    let output = command
        .args(["check", "-c", &file.display().to_string()])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), stderr(&output).to_owned())
}

#[test]
fn values_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nlisten = ['127.0.0.1:${GEOGATE_TEST_PORT:-0}']\nworkers = '${GEOGATE_TEST_WORKERS}'\n\
                work_stealing = '${GEOGATE_TEST_STEAL:-true}'\n";
    let right = check_with(folder.path(), text, &[("GEOGATE_TEST_WORKERS", "2")]);
    assert_eq!(right, (Some(0), String::new()));
    let file = folder.path().join("geogate.toml");
    let (code, said) = check_with(folder.path(), text, &[]);
    let expected = format!(
        "{}: server.workers: there is no GEOGATE_TEST_WORKERS in the environment; \
         ${{GEOGATE_TEST_WORKERS:-default}} has a default (line 3)\n",
        file.display()
    );
    assert_eq!((code, said), (Some(1), expected));
    let variables = [
        ("GEOGATE_TEST_WORKERS", "two"),
        ("GEOGATE_TEST_PORT", "x"),
        ("GEOGATE_TEST_STEAL", "1"),
    ];
    let (code, said) = check_with(folder.path(), text, &variables);
    assert_eq!(code, Some(1));
    for line in [
        "server.listen[0]: \"127.0.0.1:x\" is not an address with a port",
        "server.workers: an integer is expected, not \"two\"; or \"auto\" (line 3)",
        "server.work_stealing: true or false is expected, not \"1\" (line 4)",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

/// A problem that is found by using a value does not show it either.
#[test]
fn a_secret_is_in_no_message() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "hunter2hunter2\n").unwrap();
    let secret = format!("${{file:{}/secret}}", folder.path().display());
    let text = format!(
        "[server]\nlisten = ['127.0.0.1:0', '{secret}']\n[error_page]\nfile = '/none/{secret}'\n\
         [[upstream]]\nname = '{secret}'\npeers = ['127.0.0.1:1']\n\
         [[upstream]]\nname = '{secret}'\npeers = ['127.0.0.1:2']\n"
    );
    let (code, said) = check_configuration(folder.path(), &text);
    assert_eq!(code, Some(1));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(
        said.contains("error_page.file: /none/[secret]: No such file"),
        "{said}"
    );
}

/// The dump of files with includes, defaults and references is one file without them, which is
/// accepted from standard input and dumped as itself.
#[test]
fn a_dump_is_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geogate.toml");
    let name = file.display().to_string();
    let text = format!(
        "include = ['*.part']\n[client]\nread_timeout = '${{GEOGATE_TEST_NONE:-7s}}'\n{}",
        small_database(folder.path())
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("secret"), "sesame-sesame-sesame\n").unwrap();
    let part = format!(
        "[client]\nwrite_timeout = '8s'\n[[upstream]]\npeers = ['127.0.0.1:1']\n\
         sticky_cookie = 'a'\nsticky_key = '${{file:{}/secret}}'\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("a.part"), part).unwrap();
    let output = run(&["check", "--dump", &name], "");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let dumped = stdout(&output).to_owned();
    for line in [
        "read_timeout = \"7s\"",
        "write_timeout = \"8s\"",
        "header_timeout = \"60s\"",
        "connect_timeout = \"5s\"",
        "peers = [\"127.0.0.1:1\"]",
    ] {
        assert!(
            dumped.lines().any(|shown| shown == line),
            "{line} in {dumped}"
        );
    }
    assert!(
        !dumped.contains("include") && !dumped.contains("sesame"),
        "{dumped}"
    );
    check(
        &["check", "-c", "-"],
        &dumped,
        0,
        "standard input: ok\n",
        "",
    );
    check(&["check", "--dump", "-c", "-"], &dumped, 0, &dumped, "");
    check(&["-T", "-c", &name], "", 0, &dumped, "");

    std::fs::write(
        folder.path().join("b.part"),
        "[client]\nwrite_timeout = '9s'\n",
    )
    .unwrap();
    let said = format!(
        "{0}/b.part: client.write_timeout: is given already in {0}/a.part (line 2) (line 2)\n",
        folder.path().display()
    );
    check(&["-T", "-c", &name], "", 1, "", &said);
}

#[test]
fn the_schema_is_json() {
    let output = run(&["schema"], "");
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let tries = &schema["properties"]["upstream"]["items"]["properties"]["tries"];
    assert_eq!(tries["default"], 3);
    assert_eq!(tries["anyOf"][0]["maximum"], 16);
    let description = tries["description"].as_str().unwrap();
    assert!(
        description.starts_with("Maximum number of peers"),
        "{description}"
    );
}
