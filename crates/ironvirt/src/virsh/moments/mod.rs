//! Snapshots, checkpoints and backups of domains.

mod checkpoint;
mod snapshot;

pub use checkpoint::*;
pub use snapshot::*;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::{Ctl, put, say};
use super::domain::{Dom, domain, print_xml};
use super::edit;
use super::fail::{Context, Outcome, fail};
use super::session::split_commas;
use super::table::Table;
use super::util::{escape, parse_xml, read_file, timestamp};

/// A moment of a domain's past, as lists show it.
struct Moment {
    name: String,
    time: i64,
    state: String,
    parent: Option<String>,
}

/// Reads name, time, state and parent from a snapshot's or checkpoint's XML.
fn moment(name: String, xml: &str) -> Outcome<Moment> {
    let doc = parse_xml(xml)?;
    let root = doc.root();
    let text = |n: &str| root.child(n).map(|e| e.text().into_owned());
    Ok(Moment {
        name,
        time: text("creationTime").and_then(|t| t.parse().ok()).unwrap_or(0),
        state: text("state").unwrap_or_default(),
        parent: root.child("parent").and_then(|p| p.child("name")).map(|n| n.text().into_owned()),
    })
}

/// Prints moments as the list commands do.
fn print_moments(ctl: &mut Ctl, cmd: &Cmd, list: Vec<Moment>, with_state: bool) {
    let parent = cmd.has("parent");
    if cmd.has("tree") {
        let names: Vec<String> = list.iter().map(|m| m.name.clone()).collect();
        let parents: Vec<Option<String>> =
            list.iter().map(|m| m.parent.clone().filter(|p| names.contains(p))).collect();
        let text = super::tree::draw(&names, &parents);
        ctl.put(&text);
        return;
    }
    if cmd.has("name") && !ctl.json() {
        for m in list {
            match m.parent.filter(|_| parent) {
                Some(p) => put!(ctl, "{}\t{p}\n", m.name),
                None => put!(ctl, "{}\n", m.name),
            }
        }
        return;
    }
    let mut header = vec!["Name", "Creation Time"];
    if with_state {
        header.push("State");
    }
    if parent {
        header.push("Parent");
    }
    let mut table = Table::new(header);
    for m in list {
        let mut row = vec![m.name, format!("{} +0000", timestamp(m.time))];
        if with_state {
            row.push(m.state);
        }
        if parent {
            row.push(m.parent.unwrap_or_default());
        }
        table.row(row);
    }
    ctl.table(&table);
}

/// Sorts by name without regard to case, unless the daemon's order was asked for.
fn sort_names<T>(cmd: &Cmd, list: &mut [T], name: impl Fn(&T) -> String) {
    if !cmd.has("topological") {
        list.sort_by_key(|x| {
            let n = name(x);
            (n.to_lowercase(), n)
        });
    }
}

/// Options of the lists that exclude each other.
fn list_flags(cmd: &Cmd) -> Outcome {
    for (a, b) in [
        ("parent", "roots"),
        ("parent", "tree"),
        ("roots", "tree"),
        ("roots", "from"),
        ("roots", "current"),
        ("tree", "name"),
    ] {
        if cmd.def.opts.iter().any(|o| o.name == b) {
            cmd.exclusive(a, b)?;
        }
    }
    Ok(())
}
