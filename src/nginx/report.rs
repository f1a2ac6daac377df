//! Report of a translation: one line for each directive of the file, in one of four lists, those that
//! protect first.

use std::collections::HashMap;

use super::notes::{Fate, Notes, State, one_line};
use super::place::Place;
use super::tree::{Directive, Tree};

/// List of a directive in the report. A directive with several notes is in the first of their lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Closed,
    NotLimited,
    NotCarriedOver,
    Differs,
    NeedsNothing,
    CarriedOver,
}

impl List {
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Closed => List::Closed,
            Fate::Unlimited => List::NotLimited,
            Fate::Lost | Fate::Absent => List::NotCarriedOver,
            Fate::Differs | Fate::Minor => List::Differs,
            Fate::Needless => List::NeedsNothing,
        }
    }

    fn title(self) -> &'static str {
        match self {
            List::Closed => "closed",
            List::NotLimited => "not limited",
            List::NotCarriedOver => "not carried over",
            List::Differs => "differs",
            List::NeedsNothing => "needs nothing",
            List::CarriedOver => "carried over",
        }
    }
}

/// Outcomes and reasons by the place of their directive.
type OfPlace<'t> = HashMap<&'t Place, Vec<(Fate, &'t str)>>;

/// One line of the report.
struct Line<'t> {
    list: List,
    place: &'t Place,
    text: String,
    whys: Vec<&'t str>,
}

/// Returns the lines of the report: `nginx.conf:7: closed: deny all: why`.
pub(super) fn lines(tree: &Tree, notes: &Notes) -> Vec<String> {
    let mut of_place = OfPlace::new();
    for (fate, place, _, why) in notes.all() {
        of_place.entry(place).or_default().push((fate, why));
    }
    let mut lines = Vec::new();
    for directive in tree.directives.iter() {
        add(directive, None, notes, &mut of_place, &mut lines);
    }
    // What remains is of no directive: files that are missing, and nginx's own defaults.
    for (fate, place, text, why) in notes.all() {
        if of_place.contains_key(place) {
            let (list, text) = (List::of(fate), text.to_owned());
            let whys = vec![why];
            lines.push(Line {
                list,
                place,
                text,
                whys,
            });
        }
    }
    lines.sort_by(|a, b| (a.list, a.place).cmp(&(b.list, b.place)));
    lines.iter().map(Line::written).collect()
}

/// Adds the lines of a directive and of those in its block. A directive that was handled as a part of
/// the block around it shares the block's list.
fn add<'t>(
    directive: &'t Directive,
    around: Option<(List, u32)>,
    notes: &Notes,
    of_place: &mut OfPlace<'t>,
    lines: &mut Vec<Line<'t>>,
) {
    let own = of_place.remove(&directive.place).unwrap_or_default();
    let (list, whys, within) = match (own.iter().map(|(fate, _)| List::of(*fate)).min(), around) {
        (Some(list), _) => {
            let whys = own.iter().filter(|(fate, _)| List::of(*fate) == list);
            (list, whys.map(|(_, why)| *why).collect(), None)
        }
        (None, Some((list, line))) if notes.state(directive) == State::Covered => {
            (list, Vec::new(), Some(line))
        }
        (None, _) => (List::CarriedOver, Vec::new(), None),
    };
    let mut line = Line {
        list,
        place: &directive.place,
        text: directive.to_string(),
        whys,
    };
    if let (Some(block), true) = (within, list != List::CarriedOver) {
        line.text = format!("{}: see line {block}", line.text);
    }
    let around = Some((list, within.unwrap_or(directive.place.line)));
    lines.push(line);
    // The block has a line, its entries have none.
    if !directive.is_data() {
        for inner in directive.inside() {
            add(inner, around, notes, of_place, lines);
        }
    }
}

impl Line<'_> {
    fn written(&self) -> String {
        let (file, line) = (one_line(&self.place.file), self.place.line);
        let mut text = format!(
            "{file}:{line}: {}: {}",
            self.list.title(),
            one_line(&self.text)
        );
        for (number, why) in self.whys.iter().enumerate() {
            text += if number == 0 { ": " } else { " " };
            text += &one_line(why);
        }
        text
    }
}
