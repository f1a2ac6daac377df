//! The difference of two databases as an HTML page: one file without external resources.
//!
//! The charts are drawn in percent of the page's width and in pixels of height, so that text keeps
//! its size on a phone. Texts from a database are not trusted, and are escaped.

use std::fmt::Write;

use super::{amount, grouped, percent, place};
use crate::geo::report::difference::{Difference, LevelChange};

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1b1f24;--soft:#5b6470;--back:#fff;--line:#dfe3e8;\
--same:#c9d1d9;--changed:#d9480f;--gained:#2b8a3e;--lost:#7048e8;--unclear:#868e96}\
@media(prefers-color-scheme:dark){:root{--text:#e6e9ed;--soft:#9aa4b0;--back:#14171b;--line:#30363d;\
--same:#3d444d;--changed:#ff8447;--gained:#51cf66;--lost:#9775fa;--unclear:#868e96}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--back);color:var(--text);\
font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem}h2{font-size:1.2rem;margin-top:2.5rem}h3{font-size:1rem;margin:1.5rem 0 .5rem}\
p,dd,.key{color:var(--soft)}dt{font-weight:600}dd{margin:0 0 .5rem;overflow-wrap:anywhere}\
svg{display:block;width:100%;font-size:14px}svg text{fill:var(--text)}\
.key span{display:inline-block;margin-right:1rem}\
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}\
.same{fill:var(--same);background:var(--same)}.changed{fill:var(--changed);background:var(--changed)}\
.gained{fill:var(--gained);background:var(--gained)}.lost{fill:var(--lost);background:var(--lost)}\
.unclear{fill:var(--unclear);background:var(--unclear)}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}\
th,td{padding:.3rem .4rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--soft);font-weight:600}.number{text-align:right;white-space:nowrap}";

/// Height of a bar with the line of text above it, in pixels.
const BAR: usize = 44;

/// Returns the page.
pub(super) fn page(titles: &[String; 2], families: &[Difference; 2]) -> String {
    let [a, b] = titles.each_ref().map(|title| escape(title));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{a} and {b}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>What changes from A to B</h1>\n\
         <dl><dt>A</dt><dd>{a}</dd><dt>B</dt><dd>{b}</dd></dl>\n"
    );
    for family in families.iter().filter(|family| !family.is_empty()) {
        section(&mut page, family);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, family: &Difference) {
    let name = family.family.name();
    let in_words = format!(
        "{} {} are in both, {} only in A, {} only in B.",
        amount(family.family, family.both),
        family.family.unit(),
        amount(family.family, family.only_first),
        amount(family.family, family.only_second),
    );
    push(page, format_args!("<h2>{name}</h2>\n<p>{in_words}</p>\n"));
    if family.both == 0 {
        return;
    }
    levels(page, family);
    moves(page, family);
    largest(page, family);
}

fn levels(page: &mut String, family: &Difference) {
    let height = BAR * family.levels.len();
    let name = family.family.name();
    push(
        page,
        format_args!(
            "<svg role=\"img\" height=\"{height}\">\n\
             <title>{name}: what became of countries, provinces and cities</title>\n"
        ),
    );
    for (index, level) in family.levels.iter().enumerate() {
        level_bar(page, family, level, index * BAR);
    }
    page.push_str("</svg>\n<p class=\"key\">");
    for (class, label) in [
        ("same", "same"),
        ("changed", "changed"),
        ("gained", "only B names one"),
        ("lost", "only A names one"),
        ("unclear", "names that cannot be compared"),
    ] {
        push(
            page,
            format_args!("<span><i class=\"{class}\"></i>{label}</span>"),
        );
    }
    page.push_str("</p>\n");
}

/// Draws the parts of one level, in relation to all addresses for which either database has data.
fn level_bar(page: &mut String, family: &Difference, level: &LevelChange, top: usize) {
    let parts = [
        ("same", level.same),
        ("changed", level.changed),
        ("gained", level.gained),
        ("lost", level.lost),
        ("unclear", level.unclear),
    ];
    let all = parts
        .iter()
        .fold(0_u128, |sum, part| sum.saturating_add(part.1));
    let both = level.same.saturating_add(level.changed);
    let label = format!(
        "{}: {} changed ({})",
        level.level.name(),
        percent(level.changed, both),
        amount(family.family, level.changed),
    );
    push(
        page,
        format_args!("<text x=\"0\" y=\"{}\">{label}</text>\n", top + 16),
    );
    let mut x = 0.0;
    for (class, addresses) in parts.into_iter().filter(|part| part.1 > 0) {
        let width = 100.0 * addresses as f64 / all as f64;
        bar(page, class, x, top, width);
        x += width;
    }
}

fn moves(page: &mut String, family: &Difference) {
    let Some(most) = family.moves.iter().map(|country| country.addresses).max() else {
        return;
    };
    push(
        page,
        format_args!(
            "<h3>From country to country</h3>\n<svg role=\"img\" height=\"{}\">\n\
             <title>{}: addresses by the country that they left and the one that they went to</title>\n",
            BAR * family.moves.len(),
            family.family.name(),
        ),
    );
    for (index, country) in family.moves.iter().enumerate() {
        let top = index * BAR;
        push(
            page,
            format_args!(
                "<text x=\"0\" y=\"{}\">{} → {}: {}</text>\n",
                top + 16,
                escape(&country.from),
                escape(&country.to),
                amount(family.family, country.addresses),
            ),
        );
        let width = 100.0 * country.addresses as f64 / most as f64;
        bar(page, "changed", 0.0, top, width);
    }
    page.push_str("</svg>\n");
}

fn bar(page: &mut String, class: &str, x: f64, top: usize, width: f64) {
    push(
        page,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.3}%\" y=\"{}\" width=\"{width:.3}%\" height=\"14\"/>\n",
            top + 22
        ),
    );
}

fn largest(page: &mut String, family: &Difference) {
    if family.largest.is_empty() {
        return;
    }
    push(
        page,
        format_args!(
            "<h3>The largest {} of {} changes</h3>\n<div class=\"wide\"><table>\n\
             <tr><th class=\"number\">{}</th><th>range</th><th>A</th><th>B</th></tr>\n",
            family.largest.len(),
            grouped(family.changes as u128),
            family.family.unit(),
        ),
    );
    for change in &family.largest {
        push(
            page,
            format_args!(
                "<tr><td class=\"number\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                amount(family.family, change.span.addresses()),
                change.span,
                escape(&place(&change.from)),
                escape(&place(&change.to)),
            ),
        );
    }
    page.push_str("</table></div>\n");
}

fn push(page: &mut String, text: std::fmt::Arguments) {
    page.write_fmt(text).expect("a string takes any text");
}

/// Escapes text for an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::format::csv;
    use crate::geo::report::difference;
    use crate::geo::{Codes, Database, Names};

    fn database(rows: &str) -> Database {
        let table = csv::read(format!("start,end,country\n{rows}").as_bytes()).unwrap();
        Database::build(table, &Codes::built_in(), Names::Canonical).unwrap()
    }

    #[test]
    fn what_a_database_says_is_text_and_nothing_else() {
        let first = database("1.0.0.0,1.0.0.255,\"<script>alert('1')</script>\"\n");
        let second = database("1.0.0.0,1.0.0.255,\"a&b\"\n");
        let titles = ["<a>".to_owned(), "\"b\"".to_owned()];
        let page = page(&titles, &difference(&first, &second, 9));
        assert!(!page.contains("<script") && !page.contains("<a>"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; → a&amp;b: 256"),
            "{page}"
        );
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(
            &Default::default(),
            &difference(&database(""), &database(""), 9),
        );
        for other in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(other), "{other}");
        }
    }

    #[test]
    fn bars_are_parts_of_the_whole_width() {
        let first = database("1.0.0.0,1.0.0.255,日本\n");
        let second = database("1.0.0.0,1.0.0.63,美国\n1.0.0.64,1.0.0.255,日本\n");
        let page = page(&Default::default(), &difference(&first, &second, 9));
        for bar in [
            "<rect class=\"same\" x=\"0.000%\" y=\"22\" width=\"75.000%\"",
            "<rect class=\"changed\" x=\"75.000%\" y=\"22\" width=\"25.000%\"",
        ] {
            assert!(page.contains(bar), "{page}");
        }
    }
}
