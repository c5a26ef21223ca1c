//! Tables in virsh's layout: one leading blank, three blanks between columns, a line of dashes as
//! wide as all columns with their gaps, the last column not padded.

/// A table to be printed.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column headings.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as there are columns.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let row: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(row.len(), self.header.len());
        self.rows.push(row);
    }

    /// The text, with or without the heading.
    pub fn text(&self, with_header: bool) -> String {
        let rows: Vec<Vec<String>> = with_header
            .then_some(&self.header)
            .into_iter()
            .chain(&self.rows)
            .map(|r| r.iter().map(|c| printable(c)).collect())
            .collect();
        let widths: Vec<usize> = (0..self.header.len())
            .map(|i| rows.iter().map(|r| width(&r[i])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for (n, row) in rows.iter().enumerate() {
            for (i, cell) in row.iter().enumerate() {
                out.push_str(if i == 0 { " " } else { "   " });
                out.push_str(cell);
                if i + 1 < row.len() {
                    out.extend(std::iter::repeat_n(' ', widths[i] - width(cell)));
                }
            }
            out.push('\n');
            if n == 0 && with_header {
                let dashes: usize = widths.iter().map(|w| w + 3).sum();
                out.extend(std::iter::repeat_n('-', dashes));
                out.push('\n');
            }
        }
        out
    }

    /// The rows as objects whose members are the headings in lower case.
    pub fn json(&self) -> serde_json::Value {
        let key = |h: &String| h.to_lowercase().replace([' ', '/'], "-");
        self.rows
            .iter()
            .map(|row| {
                self.header
                    .iter()
                    .zip(row)
                    .map(|(h, c)| {
                        let value = match (h.as_str(), c.as_str()) {
                            ("Id", "-") => serde_json::Value::Null,
                            ("Id", id) => id
                                .parse::<i64>()
                                .map_or_else(|_| id.into(), serde_json::Value::from),
                            (_, text) => text.into(),
                        };
                        (key(h), value)
                    })
                    .collect::<serde_json::Map<_, _>>()
            })
            .map(serde_json::Value::Object)
            .collect()
    }
}

/// Control characters as `\xNN`.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let mut buf = [0; 4];
            for b in c.encode_utf8(&mut buf).bytes() {
                out.push_str(&format!("\\x{b:02x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Terminal columns a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    let c = c as u32;
    let within = |ranges: &[(u32, u32)]| ranges.iter().any(|(a, b)| (*a..=*b).contains(&c));
    if c < 0x300 {
        return 1;
    }
    if within(ZERO) {
        0
    } else if within(WIDE) {
        2
    } else {
        1
    }
}

/// Combining marks and other characters without a width.
const ZERO: &[(u32, u32)] = &[
    (0x300, 0x36f),
    (0x483, 0x489),
    (0x591, 0x5bd),
    (0x610, 0x61a),
    (0x64b, 0x65f),
    (0x900, 0x902),
    (0x93c, 0x93c),
    (0x941, 0x948),
    (0xe31, 0xe31),
    (0xe34, 0xe3a),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x2064),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xfeff, 0xfeff),
    (0xe0100, 0xe01ef),
];

/// East Asian wide and full-width characters, and emoji.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x23e9, 0x23ec),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2e80, 0x303e),
    (0x3041, 0x33ff),
    (0x3400, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xa000, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff01, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x1f9ff),
    (0x20000, 0x3fffd),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let mut t = Table::new(["Id", "Name", "State"]);
        assert_eq!(t.text(true), " Id   Name   State\n--------------------\n");
        t.row(["1", "test", "running"]);
        assert_eq!(
            t.text(true),
            " Id   Name   State\n----------------------\n 1    test   running\n"
        );
        assert_eq!(t.text(false), " 1   test   running\n");
    }

    #[test]
    fn widths() {
        for (text, expected) in [("abc", 3), ("日本", 4), ("e\u{301}", 1), ("ü", 1), ("😀", 2)]
        {
            assert_eq!(width(text), expected, "{text}");
        }
    }

    #[test]
    fn controls_are_escaped() {
        let mut t = Table::new(["A"]);
        t.row(["x\ty"]);
        assert_eq!(t.text(false), " x\\x09y\n");
    }
}
