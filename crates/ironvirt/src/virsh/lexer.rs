//! Splits a command string into words, with virsh's own quoting rules.
//!
//! Blanks separate words, `;` and line ends separate commands, `#` at the start of a word begins
//! a comment. `'…'` is literal (and may stay open), `"…"` lets `\` escape, `\` outside quotes
//! escapes one character.

/// A word or the end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word, quotes removed.
    Word(String),
    /// `;` or a line end.
    End,
}

/// Splits the whole text; the error is virsh's text.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' | '\t' => {
                chars.next();
            }
            ';' | '\n' => {
                chars.next();
                out.push(Token::End);
            }
            '#' => {
                while chars.peek().is_some_and(|&c| c != '\n') {
                    chars.next();
                }
            }
            '\\' if {
                let mut ahead = chars.clone();
                ahead.next();
                ahead.peek() == Some(&'\n')
            } =>
            {
                chars.next();
                chars.next();
            }
            _ => out.push(Token::Word(word(&mut chars)?)),
        }
    }
    Ok(out)
}

fn word(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let (mut word, mut single, mut double) = (String::new(), false, false);
    while let Some(&c) = chars.peek() {
        if !single && !double && matches!(c, ' ' | '\t' | ';' | '\n') {
            break;
        }
        chars.next();
        match c {
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            '\\' if !single => match chars.next() {
                None => return Err("dangling \\".into()),
                Some('\n') if !double => {}
                Some(escaped) => word.push(escaped),
            },
            _ => word.push(c),
        }
    }
    if double {
        return Err("missing \"".into());
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        Ok(tokens(text)?
            .into_iter()
            .map(|t| match t {
                Token::Word(w) => w,
                Token::End => "<end>".into(),
            })
            .collect())
    }

    #[test]
    fn quoting() {
        for (input, expected) in [
            (r#"echo 'a b' c\ d "e'f""#, vec!["echo", "a b", "c d", "e'f"]),
            ("echo a;;b", vec!["echo", "a", "<end>", "<end>", "b"]),
            ("echo a # c ; d\nb", vec!["echo", "a", "<end>", "b"]),
            ("list 'abc", vec!["list", "abc"]),
            (r#""a\"b" '\'"#, vec!["a\"b", "\\"]),
            ("a#b", vec!["a#b"]),
            ("''", vec![""]),
        ] {
            assert_eq!(words(input).unwrap(), expected, "{input}");
        }
    }

    #[test]
    fn faults() {
        assert_eq!(words("echo \"a"), Err("missing \"".into()));
        assert_eq!(words("echo a\\"), Err("dangling \\".into()));
    }
}
