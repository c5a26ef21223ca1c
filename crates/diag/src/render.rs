//! Diagnostics as text: a picture for people, JSON for programs, one string for the wire.

use std::fmt::Write as _;

use crate::{Diagnostic, Severity, SourceText, Span};

/// The picture of one diagnostic:
///
/// ```text
/// error: Invalid value for attribute 'bus' in element 'target': 'virito'.
///  --> web.xml:12:31
///    |
/// 12 |     <target dev='vda' bus='virito'/>
///    |                            ^^^^^^
///    = Did you mean 'virtio'?
/// ```
pub fn human(d: &Diagnostic, source: Option<&SourceText<'_>>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", d.severity, d.message);
    let mut margin = String::new();
    if let (Some(span), Some(source)) = (d.span, source) {
        let at = source.position(span.start);
        let (line, column) = source.line_at(span.start);
        margin = " ".repeat(at.line.to_string().len());
        let _ = writeln!(out, "{margin}--> {}:{}:{}", source.name, at.line, at.column);
        let _ = writeln!(out, "{margin} |");
        let (shown, caret) = clip(line, column, span.end.saturating_sub(span.start));
        let _ = writeln!(out, "{} | {shown}", at.line);
        let _ = writeln!(out, "{margin} | {caret}");
    }
    for h in &d.hints {
        let _ = writeln!(out, "{margin} = {h}");
    }
    out
}

/// All diagnostics, a blank line between.
pub fn human_all(diagnostics: &[Diagnostic], source: Option<&SourceText<'_>>) -> String {
    diagnostics.iter().map(|d| human(d, source)).collect::<Vec<_>>().join("\n")
}

/// Longest piece of a line that is shown, in characters.
const WIDTH: usize = 120;

/// The part of a line around a byte, and the line of carets below it.
fn clip(line: &str, column: usize, len: usize) -> (String, String) {
    let column = column.min(line.len());
    let (before, after) = line.split_at(column);
    let before: Vec<char> = before.chars().collect();
    let skip = before.len().saturating_sub(WIDTH / 2);
    let marked = after.get(..len).unwrap_or(after).chars().count();
    let mut shown: String = if skip > 0 { "…".into() } else { String::new() };
    let mut caret: String = shown.chars().map(|_| ' ').collect();
    shown.extend(&before[skip..]);
    // Tabs stay tabs, so that the caret stands below its place.
    caret.extend(before[skip..].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }));
    let room = WIDTH - (before.len() - skip);
    shown.extend(after.chars().take(room));
    if after.chars().nth(room).is_some() {
        shown.push('…');
    }
    caret.push_str(&"^".repeat(marked.clamp(1, room)));
    (shown, caret)
}

/// The diagnostics as a JSON array of objects with `rule`, `severity`, `code`, `message`, `hints`,
/// and, where there is a text, `line`, `column`, `start` and `end` (bytes).
pub fn json(diagnostics: &[Diagnostic], source: Option<&SourceText<'_>>) -> String {
    let mut out = String::from("[");
    for (i, d) in diagnostics.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str("{\"rule\":");
        json_string(d.rule, &mut out);
        let _ = write!(out, ",\"severity\":\"{}\",\"code\":{},\"message\":", d.severity, d.code.0);
        json_string(&d.message, &mut out);
        out.push_str(",\"hints\":[");
        for (i, h) in d.hints.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json_string(h, &mut out);
        }
        out.push(']');
        if let Some(span) = d.span {
            if let Some(source) = source {
                let at = source.position(span.start);
                let _ = write!(out, ",\"line\":{},\"column\":{}", at.line, at.column);
            }
            let _ = write!(out, ",\"start\":{},\"end\":{}", span.start, span.end);
        }
        out.push('}');
    }
    out.push(']');
    out
}

fn json_string(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A fault of syntax in the words of libvirt's clients: "at line 2: …", the line, and a caret
/// below the byte where the span ends.
pub(crate) fn parser_detail(message: &str, span: Span, source: &SourceText<'_>) -> String {
    let mut end = span.end.min(source.text.len());
    let at = source.position(end);
    // At the very end of a text that ends in line breaks, the caret stands after the last line
    // that has text, while the number stays that of the end.
    if end == source.text.len() {
        end = source.text.trim_end_matches(['\n', '\r']).len();
    }
    let (mut line, column) = source.line_at(end);
    if source.text.is_empty() {
        // What libvirt prints for a text that is not there.
        line = "(null)";
    }
    let caret: String =
        line.bytes().take(column).map(|c| if c == b'\t' { '\t' } else { '-' }).collect();
    format!("at line {}: {message}\n{line}\n{caret}^", at.line)
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn fault(start: usize, end: usize) -> Diagnostic {
        Diagnostic {
            rule: "xml.invalid-value",
            severity: Severity::Error,
            code: ErrorCode::XML_ERROR,
            span: Some(Span { start, end }),
            message: "Invalid value: 'virito'.".into(),
            domain: None,
            hints: vec!["Did you mean 'virtio'?".into()],
        }
    }

    #[test]
    fn the_picture_has_line_caret_and_hint() {
        let source = SourceText::new("web.xml", "<a>\n\t<b bus='virito'/>\n</a>");
        let expected = "error: Invalid value: 'virito'.\n --> web.xml:2:10\n  |\n\
                        2 | \t<b bus='virito'/>\n  | \t        ^^^^^^\n  = Did you mean 'virtio'?\n";
        assert_eq!(human(&fault(13, 19), Some(&source)), expected);
    }

    #[test]
    fn a_long_line_is_clipped_around_the_fault() {
        let text = format!("{}X{}", "é".repeat(500), "ü".repeat(500));
        let source = SourceText::new("x", &text);
        let picture = human(&fault(1000, 1001), Some(&source));
        let lines: Vec<&str> = picture.lines().collect();
        assert_eq!(lines[3].chars().count(), "1 | ".len() + WIDTH + 2);
        assert_eq!(
            lines[3].chars().position(|c| c == 'X'),
            lines[4].chars().position(|c| c == '^')
        );
    }

    #[test]
    fn json_is_escaped() {
        let mut d = fault(0, 1);
        d.message = "a\"\\\n\u{1}".into();
        let source = SourceText::new("x", "a");
        assert_eq!(
            json(&[d], Some(&source)),
            "[{\"rule\":\"xml.invalid-value\",\"severity\":\"error\",\"code\":27,\
             \"message\":\"a\\\"\\\\\\n\\u0001\",\"hints\":[\"Did you mean 'virtio'?\"],\
             \"line\":1,\"column\":1,\"start\":0,\"end\":1}]"
        );
    }

    #[test]
    fn parser_faults_look_as_clients_know_them() {
        let source = SourceText::new("x", "<a>\né\t & x</a>");
        assert_eq!(
            parser_detail("no name", Span { start: 8, end: 9 }, &source),
            "at line 2: no name\né\t & x</a>\n--\t--^"
        );
        let text = "<a>\n<b\n\n";
        assert_eq!(
            parser_detail("no end", Span { start: 8, end: 8 }, &SourceText::new("x", text)),
            "at line 4: no end\n<b\n--^"
        );
    }
}
