//! `xml diff`: how two documents differ, and for domains what a running guest could take.

use diag::{SourceText, render};
use model::domain::live_change::live_change;
use serde_json::json;
use xml::{Difference, Document};

use super::{Source, files, identity};
use crate::virsh::cmd::Cmd;
use crate::virsh::ctl::{Ctl, put, say};
use crate::virsh::domain;
use crate::virsh::fail::{Fail, Outcome, fail};

/// A document that can be compared.
struct Side {
    kind: &'static str,
    written: String,
}

/// Compares two files, or a domain with a file. The exit status is that of `diff`: 0 when they are
/// equal, 1 when they differ, 2 when they could not be compared.
pub fn run(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    ctl.status = Some(2);
    let equal = compare(ctl, cmd)?;
    ctl.status = Some(i32::from(!equal));
    Ok(())
}

fn compare(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<bool> {
    let names = files(cmd, 2, "diff")?;
    let [old, new] = names.as_slice() else {
        fail!("unexpected data '{}'", names.get(2).copied().unwrap_or_default());
    };
    if *old == "-" && *new == "-" {
        fail!("only one of the two documents can come from standard input");
    }
    let (old, new) = (side(ctl, old)?, side(ctl, new)?);
    if old.kind != new.kind {
        fail!("a {} and a {} cannot be compared", old.kind, new.kind);
    }
    let (a, b) = match (Document::parse(&old.written), Document::parse(&new.written)) {
        (Ok(a), Ok(b)) => (a, b),
        _ => fail!("the documents are too large to be compared"),
    };
    let differences = xml::compare(a.root(), b.root(), &identity::of);
    let is_domain = old.kind == "domain";
    if ctl.json() {
        ctl.data(differences.iter().map(|d| data(d, is_domain)).collect());
    } else if differences.is_empty() {
        say!(ctl, "No differences\n");
    } else {
        for d in &differences {
            show(ctl, d, is_domain);
        }
    }
    Ok(differences.is_empty())
}

/// A file, or what is stored of the domain of that name, id or UUID.
fn side(ctl: &mut Ctl, name: &str) -> Outcome<Side> {
    let is_file = name == "-" || name.contains('/') || std::path::Path::new(name).exists();
    let source = if is_file {
        Source::read(name)?
    } else {
        let dom = domain::lookup(ctl, name, true, true, true).map_err(|f| {
            f.before(format!("there is no file '{name}', and no domain of that name can be read"))
        })?;
        // Inactive and with passwords: what the next start would use.
        Source { name: name.to_owned(), text: domain::xml_of(ctl, &dom, 1 | 2)? }
    };
    let read = super::read(&source.text);
    match (read.kind, read.written) {
        (Some(kind), Some(written)) => Ok(Side { kind, written }),
        _ => {
            ctl.flush();
            let shown = SourceText::new(&source.name, &source.text);
            eprintln!("{}", render::human_all(&read.diagnostics, Some(&shown)));
            Err(Fail::new(format!("{} cannot be read", source.name)))
        }
    }
}

fn show(ctl: &mut Ctl, d: &Difference<'_>, is_domain: bool) {
    put!(ctl, "{}", d.change.path);
    if is_domain {
        put!(ctl, " ({})", live_change(d).word());
    }
    put!(ctl, "\n");
    for (sign, text) in [('-', &d.change.old), ('+', &d.change.new)] {
        for line in text.iter().flat_map(|t| dedent(t)) {
            put!(ctl, "  {sign} {line}\n");
        }
    }
}

/// The lines of an element's source, which stands indented in its document but for its first line.
fn dedent(text: &str) -> Vec<&str> {
    let margin =
        text.lines().skip(1).map(|l| l.len() - l.trim_start_matches(' ').len()).min().unwrap_or(0);
    let rest = text.lines().skip(1).map(|l| l.get(margin..).unwrap_or(l));
    text.lines().take(1).chain(rest).collect()
}

fn data(d: &Difference<'_>, is_domain: bool) -> serde_json::Value {
    let mut out = json!({ "path": d.change.path, "old": d.change.old, "new": d.change.new });
    if is_domain && let Some(map) = out.as_object_mut() {
        map.insert("takes-effect".into(), live_change(d).word().into());
    }
    out
}
