use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Document, Vec<Problem>> {
    Document::load(text, "file", None, &|_| None)
}

#[track_caller]
fn check(text: &str, read: impl FnOnce(&Section), expected: &[&str]) {
    let problems = Problems::default();
    let found = match parse(text) {
        Ok(document) => {
            read(&document.root(&problems));
            problems.into_sorted(&document.secrets)
        }
        Err(errors) => errors,
    };
    let found: Vec<_> = found.iter().map(Problem::to_string).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("file: {line}"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_problem_is_reported_with_key_and_line() {
    let text = "[a]\nb = 1\nc = 'x'\n\n[[d]]\ne = true\n[[d]]\nf = 2\n";
    let read = |root: &Section| {
        let a = root.section("a");
        a.value("b", false, Item::boolean);
        a.value("c", Duration::ZERO, Item::duration);
        a.refuse_unknown();
        for d in root.sections("d") {
            d.required("e", Item::string);
            d.refuse_unknown();
        }
        root.refuse_unknown();
    };
    check(
        text,
        read,
        &[
            "a.b: true or false is expected, not an integer (line 2)",
            "a.c: \"x\" is not a duration such as \"500ms\", \"5s\" or \"2m\" (line 3)",
            "d[0].e: a string is expected, not true or false (line 6)",
            "d[1].e: is missing (line 7)",
            "d[1].f: unknown key; known here: e (line 8)",
        ],
    );
}

#[test]
fn a_key_is_found_by_its_path() {
    let text = "[a]\nb = [1,\n 2]\n\n[[d]]\ne = { f = 1 }\n[[d]]\ng = 2\n";
    let document = parse(text).unwrap();
    for (key, line) in [
        ("a", 1),
        ("a.b", 2),
        ("a.b[1]", 3),
        ("a.b[7]", 2),
        ("a.x.y", 1),
        ("d[0].e.f", 6),
        ("d[1]", 7),
        ("d[1].g", 8),
        ("d[1].none", 7),
        ("none", 1),
    ] {
        assert_eq!(document.place_of_key(key).line, line, "{key}");
    }
}

#[test]
fn errors_of_syntax_have_their_line() {
    check(
        "a = 1\nb = \n",
        |_| {},
        &["string values must be quoted, expected literal string (line 2)"],
    );
}

#[test]
fn sizes_and_durations() {
    let text = "a = '10m'\nb = 77\nc = '128k'\nd = '2h'\ne = '250ms'\nf = '0s'\ng = '1t'\n";
    let read = |root: &Section| {
        assert_eq!(root.value("a", 0, Item::size), 10 << 20);
        assert_eq!(root.value("b", 0, Item::size), 77);
        assert_eq!(root.value("c", 0, Item::size), 128 << 10);
        assert_eq!(
            root.value("d", Duration::ZERO, Item::duration).as_secs(),
            7200
        );
        assert_eq!(
            root.value("e", Duration::ZERO, Item::duration).as_millis(),
            250
        );
        root.value("f", Duration::ZERO, Item::duration);
        root.value("g", 0, Item::size);
    };
    check(
        text,
        read,
        &[
            "f: \"0s\" is not a duration such as \"500ms\", \"5s\" or \"2m\" (line 6)",
            "g: \"1t\" is not a size such as \"128k\" or \"10m\" (line 7)",
        ],
    );
}

/// Writes these files into a folder and reads the first of them. Returns the root table as text,
/// or the problems, with file names relative to the folder.
fn read_files(files: &[(&str, &str)]) -> Result<Document, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let path = folder.path().join(files[0].0);
    let name = path.display().to_string();
    let document = Document::load(files[0].1, &name, Some(&path), &|_| None);
    document.map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        let base = format!("{}/", folder.path().display());
        lines.join("\n").replace(&base, "")
    })
}

#[track_caller]
fn check_files(files: &[(&str, &str)], expected: &str) {
    assert_eq!(read_files(files).unwrap_err(), expected);
}

fn names(document: &Document, key: &'static str) -> Vec<String> {
    let problems = Problems::default();
    let sections = document.root(&problems).sections(key);
    let names = sections
        .iter()
        .map(|section| section.required("name", Item::string).unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn tables_of_included_files_come_behind_in_the_order_of_names() {
    let document = read_files(&[
        (
            "main.toml",
            "include = ['conf.d/*.toml', 'last.toml']\n[a]\nb = 1\n[[r]]\nname = 'main'\n",
        ),
        ("conf.d/20.toml", "[[r]]\nname = '20'\n[a]\nd = 3\n"),
        (
            "conf.d/10.toml",
            "include = 'more/*'\n[[r]]\nname = '10'\n[[r]]\nname = '10b'\n",
        ),
        ("conf.d/more/x", "[[r]]\nname = 'more'\n[a.e]\nf = 4\n"),
        ("conf.d/.hidden.toml", "[[r]]\nname = 'hidden'\n"),
        ("conf.d/30.toml~", "[[r]]\nname = 'backup'\n"),
        ("last.toml", "[[r]]\nname = 'last'\n"),
    ])
    .unwrap();
    assert_eq!(
        names(&document, "r"),
        ["main", "10", "10b", "more", "20", "last"]
    );
    for (key, file, line) in [
        ("a.b", "main.toml", 3),
        ("a.d", "conf.d/20.toml", 4),
        ("a.e.f", "conf.d/more/x", 4),
        ("r[3].name", "conf.d/more/x", 2),
    ] {
        let place = document.place_of_key(key);
        assert!(place.file.ends_with(file), "{key}: {place}");
        assert_eq!(place.line, line, "{key}");
    }
}

#[test]
fn a_pattern_may_match_nothing_and_a_name_may_not() {
    assert!(read_files(&[("main.toml", "include = ['none/*.toml']\n")]).is_ok());
    check_files(
        &[("main.toml", "include = [\n'none.toml']\n")],
        "main.toml: include[0]: none.toml: No such file or directory (os error 2) (line 2)",
    );
    check_files(
        &[("main.toml", "include = ['', 1, '[']\n")],
        "main.toml: include[0]: a path or a pattern such as \"conf.d/*.toml\" is expected (line 1)\n\
         main.toml: include[1]: a path or a pattern such as \"conf.d/*.toml\" is expected (line 1)\n\
         main.toml: include[2]: \"[\" is no pattern: invalid range pattern (line 1)",
    );
}

#[test]
fn a_key_is_given_once() {
    check_files(
        &[
            (
                "main.toml",
                "include = ['a']\n[server]\nworkers = 1\nlisten = ['x']\n\n[t]\nu = { a = 1 }\n[[r]]\n",
            ),
            (
                "a",
                "[server]\nlisten = [{ address = 'y' }]\n\nworkers = 1\n[t]\nu = { b = 1 }\n[r]\n",
            ),
        ],
        "a: server.listen: is given already in main.toml (line 4) (line 2)\n\
         a: server.workers: is given already in main.toml (line 3) (line 4)\n\
         a: t.u: is given already in main.toml (line 7) (line 6)\n\
         a: r: is given already in main.toml (line 8) (line 7)",
    );
}

#[test]
fn includes_end() {
    check_files(
        &[
            ("main.toml", "# main\ninclude = ['a.toml']\n"),
            ("a.toml", "include = ['b.toml']\n"),
            ("b.toml", "\n\ninclude = ['main.toml', 'a.toml']\n"),
        ],
        "b.toml: include[0]: main.toml is the configuration itself, which includes this file (line 3)\n\
         b.toml: include[1]: a.toml is included already, in main.toml (line 2) (line 3)",
    );
    let files: Vec<_> = (0..12)
        .map(|number| {
            (
                format!("{number}"),
                format!("include = ['{}']\n", number + 1),
            )
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    check_files(
        &files,
        "10: include[0]: 11: more than 10 files include each other (line 1)",
    );
}

#[test]
fn errors_of_syntax_name_their_file() {
    check_files(
        &[
            ("main.toml", "include = ['a', 'b']\n"),
            ("a", "\nx = \n"),
            ("b", "x = 1\nx = 2\n"),
        ],
        "a: string values must be quoted, expected literal string (line 2)\n\
         b: duplicate key (line 2)",
    );
}

#[test]
fn secrets_are_in_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2\"x\n").unwrap();
    let path = file.display();
    let text = format!("a = '${{file:{path}}}'\nb = 'x ${{file:{path}}}'\nc = 1\n");
    check(
        &text,
        |root| {
            root.value("a", 0, |item| item.integer(0, 1));
            root.value("b", Duration::ZERO, Item::duration);
            root.value("c", (), |_| {
                Err("not hunter2\"x and not \"hunter2\\\"x\"".to_owned())
            });
        },
        &[
            &format!(
                "a: the value of \"${{file:{path}}}\" is not valid here; it is not shown (line 1)"
            ),
            &format!(
                "b: the value of \"x ${{file:{path}}}\" is not valid here; it is not shown (line 2)"
            ),
            "c: not [secret] and not \"[secret]\" (line 3)",
        ],
    );
}

#[test]
fn references_stand_for_every_type() {
    let environment = |name: &str| match name {
        "PORT" => Some("8080".into()),
        "ON" => Some("true".into()),
        "TIME" => Some("5s".into()),
        "SIZE" => Some("10m".into()),
        "SHARE" => Some("30%".into()),
        _ => None,
    };
    let text = "a = '${PORT}'\nb = '${ON}'\nc = '${TIME}'\nd = '${SIZE}'\ne = '${SHARE}'\n\
                f = '${ON}'\ng = '8080'\nh = '${PORT}'\n";
    let document = Document::load(text, "file", None, &environment).unwrap();
    let problems = Problems::default();
    let root = document.root(&problems);
    assert_eq!(root.value("a", 0, |item| item.integer(1, 65535)), 8080);
    assert!(root.value("b", false, Item::boolean));
    assert_eq!(root.value("c", Duration::ZERO, Item::duration).as_secs(), 5);
    assert_eq!(root.value("d", 0, Item::size), 10 << 20);
    assert!((root.value("e", 0.0, Item::share) - 0.3).abs() < 1e-9);
    assert_eq!(root.value("a", 0, Item::size), 8080);
    root.value("f", 0, |item| item.integer(1, 2));
    root.value("g", 0, |item| item.integer(1, 65535));
    root.value("h", false, Item::boolean);
    let found: Vec<_> = problems
        .into_sorted(&document.secrets)
        .iter()
        .map(Problem::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "file: f: an integer is expected, not \"true\" (line 6)",
            "file: g: an integer is expected, not a string (line 7)",
            "file: h: true or false is expected, not \"8080\" (line 8)",
        ]
    );
}

#[test]
fn a_missing_variable_is_reported_with_its_place() {
    check(
        "\n[a]\nb = ['x', '${NONE}']\n",
        |_| {},
        &["a.b[1]: there is no NONE in the environment; ${NONE:-default} has a default (line 3)"],
    );
}

#[test]
fn values_are_text_in_templates() {
    use crate::config::model::{Captures, Part, RequestVariable, Template};
    let environment = |name: &str| match name {
        "SLY" => Some("name$host${HOST}$$".into()),
        _ => None,
    };
    let document = Document::load("a = '$host${SLY}$$${host}'\n", "file", None, &environment);
    let document = document.unwrap();
    let problems = Problems::default();
    let template = document
        .root(&problems)
        .item("a")
        .unwrap()
        .template(&Captures::default());
    let template: Template<RequestVariable> = template.unwrap();
    let expected = [
        Part::Variable(RequestVariable::Host),
        Part::Text("name$host${HOST}$$$".to_owned()),
        Part::Variable(RequestVariable::Host),
    ];
    assert_eq!(template.parts(), expected);
}
