//! Trees of names, as `--tree` options draw them.

/// Every root with what lies below it; `parents` goes along with `names`.
pub fn draw(names: &[String], parents: &[Option<String>]) -> String {
    let mut out = String::new();
    for (i, p) in parents.iter().enumerate() {
        if p.is_none() {
            node(names, parents, i, &mut String::new(), true, true, &mut out);
            // A root without children is the last of its own line.
            if !parents.iter().any(|p| p.as_ref() == names.get(i)) {
                out.push('\n');
            }
        }
    }
    out
}

fn node(
    names: &[String],
    parents: &[Option<String>],
    index: usize,
    indent: &mut String,
    last: bool,
    root: bool,
    out: &mut String,
) {
    // A loop of parents (the daemon's fault) must not end in a loop of ours.
    if indent.len() > 2 * names.len() + 16 {
        return;
    }
    let name = &names[index];
    out.push_str(indent);
    if !root {
        out.push_str("+- ");
    }
    out.push_str(name);
    out.push('\n');
    let keep = indent.len();
    if !root {
        indent.push_str(if last { "    " } else { "|   " });
    }
    if root {
        indent.push_str("  ");
    }
    let children: Vec<usize> =
        (0..names.len()).filter(|i| parents[*i].as_deref() == Some(name)).collect();
    if let Some((final_child, _)) = children.split_last() {
        out.push_str(&format!("{indent}|\n"));
        for c in &children {
            node(names, parents, *c, indent, c == final_child, false, out);
        }
        // One closing line for a run of last children.
        if !parents.iter().any(|p| p.as_ref() == names.get(*final_child)) {
            out.push_str(&format!("{indent}  \n"));
        }
    }
    indent.truncate(keep);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees() {
        let names: Vec<String> = ["s2", "s3", "s4", "s5", "s6"].map(String::from).to_vec();
        let p = |n: &str| Some(n.to_owned());
        let parents = [None, None, p("s3"), p("s3"), p("s4")];
        assert_eq!(
            draw(&names, &parents),
            "s2\n\ns3\n  |\n  +- s4\n  |   |\n  |   +- s6\n  |     \n  +- s5\n    \n"
        );
    }
}
