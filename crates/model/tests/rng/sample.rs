//! Texts of a type of XML Schema: the first that comes to mind, or one for each alternative of a
//! pattern.

/// So many texts of one pattern are enough: more where they are words.
const MOST: usize = 60;
const FEW: usize = 4;

/// Texts of the type `kind` with these facets.
pub fn texts(kind: &str, facets: &[(String, String)]) -> Vec<String> {
    let facet = |name: &str| facets.iter().find(|f| f.0 == name).map(|f| f.1.as_str());
    let bound = |name: &str| facet(name).and_then(|v| v.trim().parse::<i128>().ok());
    match kind {
        "string" | "NCName" => match facet("pattern") {
            Some(pattern) => of_pattern(pattern),
            None => vec!["text".to_owned()],
        },
        "anyURI" => vec!["http://example.org/".to_owned()],
        "dateTime" => vec!["2024-02-29T12:30:00".to_owned()],
        "double" => vec!["2.5".to_owned()],
        _ => match facet("pattern") {
            Some(pattern) if !pattern.contains("[0-9]+") => of_pattern(pattern),
            _ => {
                let least = bound("minInclusive").unwrap_or(2);
                let most = bound("maxInclusive").unwrap_or(i128::MAX);
                vec![2.max(least).min(most).to_string()]
            }
        },
    }
}

/// Texts that match a pattern.
pub fn of_pattern(pattern: &str) -> Vec<String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    let mut found = alternatives(&chars, &mut at);
    assert_eq!(at, chars.len(), "not read whole: {pattern}");
    found.truncate(if pattern.contains("[0-9]") || pattern.contains("A-F") { FEW } else { MOST });
    found
}

fn alternatives(p: &[char], at: &mut usize) -> Vec<String> {
    let mut found = sequence(p, at);
    while p.get(*at) == Some(&'|') {
        *at += 1;
        found.extend(sequence(p, at));
    }
    found.truncate(MOST);
    found
}

/// The first text of every part, and every text of one part with the first ones of the others.
fn sequence(p: &[char], at: &mut usize) -> Vec<String> {
    let mut parts: Vec<Vec<String>> = Vec::new();
    while let Some(c) = p.get(*at) {
        if matches!(c, '|' | ')') {
            break;
        }
        parts.push(repeated(p, at));
    }
    let first: Vec<&str> = parts.iter().map(|t| t[0].as_str()).collect();
    let mut found = vec![first.concat()];
    for (i, texts) in parts.iter().enumerate() {
        for text in &texts[1..] {
            let mut all = first.clone();
            all[i] = text;
            found.push(all.concat());
        }
    }
    found.truncate(MOST);
    found
}

fn repeated(p: &[char], at: &mut usize) -> Vec<String> {
    let one = atom(p, at);
    let times = match p.get(*at) {
        Some('?' | '*') => {
            *at += 1;
            // What may be left out and has a choice in it is worth trying.
            let mut with = vec![String::new()];
            with.extend(one.into_iter().take(4));
            return with;
        }
        Some('+') => {
            *at += 1;
            1
        }
        Some('{') => {
            let end = p[*at..].iter().position(|c| *c == '}').expect("}") + *at;
            let inner: String = p[*at + 1..end].iter().collect();
            *at = end + 1;
            let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
            let least: usize = least.parse().expect("a number");
            if least == 0 && most != "0" { 1 } else { least }
        }
        _ => return one,
    };
    one.into_iter().map(|t| t.repeat(times)).collect()
}

fn atom(p: &[char], at: &mut usize) -> Vec<String> {
    let c = p[*at];
    *at += 1;
    match c {
        '(' => {
            let found = alternatives(p, at);
            assert_eq!(p.get(*at), Some(&')'));
            *at += 1;
            found
        }
        '[' => vec![class(p, at).to_string()],
        '.' => vec!["a".to_owned()],
        '\\' => {
            *at += 1;
            vec![p[*at - 1].to_string()]
        }
        c => vec![c.to_string()],
    }
}

fn class(p: &[char], at: &mut usize) -> char {
    let negated = p[*at] == '^';
    if negated {
        *at += 1;
    }
    let mut ranges = Vec::new();
    while p[*at] != ']' {
        let low = single(p, at);
        if p[*at] == '-' && p[*at + 1] != ']' {
            *at += 1;
            ranges.push((low, single(p, at)));
        } else {
            ranges.push((low, low));
        }
    }
    *at += 1;
    let has = |c: char| ranges.iter().any(|r| r.0 <= c && c <= r.1) != negated;
    let order = if has('z') { ['a', '2', 'A'] } else { ['2', 'a', 'A'] };
    order.into_iter().find(|c| has(*c)).unwrap_or(ranges[0].0)
}

fn single(p: &[char], at: &mut usize) -> char {
    if p[*at] == '\\' {
        *at += 1;
    }
    *at += 1;
    p[*at - 1]
}
