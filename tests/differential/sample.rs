//! Examples of texts that a regular expression matches.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Returns up to four texts that the expression matches, as far as its assertions allow; none if it
/// is not of a kind that can be read here.
pub fn of(regex: &str) -> Vec<String> {
    let parse = |regex: &str| regex_syntax::parse(regex).ok();
    let Some(hir) = parse(regex).or_else(|| parse(&simplified(regex))) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for choice in 0..4 {
        let mut text = String::new();
        write(&hir, choice, &mut text);
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// Leaves out what only Perl's expressions have: assertions about what follows or comes before,
/// possessive repetitions and atomic groups.
pub fn simplified(regex: &str) -> String {
    let mut text = regex
        .replace("(?>", "(?:")
        .replace("++", "+")
        .replace("*+", "*");
    for start in ["(?!", "(?=", "(?<!", "(?<="] {
        while let Some(at) = text.find(start) {
            let mut depth = 0;
            let end = text[at..].char_indices().find_map(|(place, c)| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                (depth == 0).then_some(at + place + 1)
            });
            let Some(end) = end else { break };
            text.replace_range(at..end, "");
        }
    }
    text
}

fn write(hir: &Hir, choice: usize, text: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.push(letter(class, choice)),
        HirKind::Repetition(repetition) => {
            let least = repetition.min as usize;
            let most = repetition.max.map_or(least + 2, |max| max as usize);
            for _ in 0..(least + choice).min(most).max(least) {
                write(&repetition.sub, choice, text);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, choice, text),
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, choice, text);
            }
        }
        HirKind::Alternation(parts) => write(&parts[choice % parts.len()], choice, text),
    }
}

/// A letter of the class that a path may have as it is, if there is one.
fn letter(class: &Class, choice: usize) -> char {
    let has = |letter: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&letter)),
        Class::Bytes(class) => class.ranges().iter().any(|range| {
            (range.start()..=range.end()).contains(&u8::try_from(letter).unwrap_or(0))
        }),
    };
    let mut known = "ax1Z9-_.~/ ?".chars().filter(|letter| has(*letter));
    let first = known.next();
    known.nth(choice).or(first).unwrap_or_else(|| match class {
        Class::Unicode(class) => class
            .ranges()
            .first()
            .map_or('a', regex_syntax::hir::ClassUnicodeRange::start),
        Class::Bytes(class) => class
            .ranges()
            .first()
            .map_or('a', |range| range.start().into()),
    })
}
