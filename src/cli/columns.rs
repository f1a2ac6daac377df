//! Text in aligned columns, for terminals.

use unicode_width::UnicodeWidthStr;

/// Appends a row whose columns have these `widths`, without trailing spaces.
pub(super) fn push_row<S: AsRef<str>>(line: &mut String, row: &[S], widths: &[usize]) {
    let start = line.len();
    for (column, width) in row.iter().map(AsRef::as_ref).zip(widths) {
        line.push_str(column);
        // Chinese characters take two cells, which `{:width$}` does not take into account.
        line.extend(std::iter::repeat_n(' ', width + 2 - column.width()));
    }
    line.truncate(start + line[start..].trim_end().len());
}

/// Formats rows as lines, each column as wide as its widest text.
pub(super) fn table<S: AsRef<str>>(rows: &[Vec<S>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, column) in widths.iter_mut().zip(row) {
            *width = (*width).max(column.as_ref().width());
        }
    }
    let mut lines = String::new();
    for row in rows {
        push_row(&mut lines, row, &widths);
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text() {
        let rows = [vec!["a", "中国", "b"], vec!["long", "x"], vec!["", "", "c"]];
        assert_eq!(table(&rows), "a     中国  b\nlong  x\n            c\n");
    }
}
