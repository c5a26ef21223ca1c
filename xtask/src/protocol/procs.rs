//! Rust for the procedures: marker types, the enum of a program, the table of facts.

use std::fmt::Write;

use super::table::{Proc, Program, camel, num};

/// The marker types of one area's calls and events.
pub fn emit_markers(procs: &[Proc]) -> Result<String, String> {
    let (mut calls, mut events) = (String::new(), String::new());
    for p in procs {
        let base = camel(&p.name);
        let Proc { name, number, .. } = p;
        let ids = format!(
            "    const PROGRAM: u32 = PROGRAM;\n    const VERSION: u32 = VERSION;\n    \
             const NUMBER: i32 = {number};\n    const NAME: &'static str = \"{name}\";\n"
        );
        if p.event {
            let msg = if p.args.is_empty() { "()".into() } else { format!("super::{base}Msg") };
            write!(
                events,
                "\n/// `{name}` ({number}).\n#[derive(Clone, Copy, Debug)]\npub struct {base};\n\
                 impl Event for {base} {{\n{ids}    type Msg = {msg};\n}}\n"
            )
            .unwrap();
            continue;
        }
        let args = if p.args.is_empty() { "()".into() } else { format!("super::{base}Args") };
        let ret = if p.rets.is_empty() { "()".into() } else { format!("super::{base}Ret") };
        write!(
            calls,
            "\n/// `{name}` ({number}).\n#[derive(Clone, Copy, Debug)]\npub struct {base};\n\
             impl Procedure for {base} {{\n{ids}    type Args = {args};\n    type Ret = {ret};\n"
        )
        .unwrap();
        if p.args.iter().any(|f| f.name == "flags" && f.ty.base == "uint") {
            calls.push_str("    fn flags(args: &Self::Args) -> u32 {\n        args.flags\n    }\n");
        }
        if let Some(cond) = p.words.iter().find_map(|w| w.strip_prefix("ro?")) {
            let test = match condition(cond)? {
                Condition::NoFlag(n) => format!("args.flags & {n:#x} == 0"),
                Condition::Flag(n) => format!("args.flags & {n:#x} != 0"),
                Condition::Source(n) => format!("args.source == {n}"),
                Condition::NotSource(n) => format!("args.source != {n}"),
            };
            write!(
                calls,
                "    fn read_only_admits(args: &Self::Args) -> bool {{\n        {test}\n    }}\n"
            )
            .unwrap();
        }
        calls.push_str("}\n");
    }
    let mut out = String::new();
    if !calls.is_empty() {
        let used = "use super::{PROGRAM, VERSION};\nuse crate::Procedure;\n";
        write!(out, "/// The calls.\npub mod procs {{\n{}{}}}\n", indent(used), indent(&calls))
            .unwrap();
    }
    if !events.is_empty() {
        let used = "use super::{PROGRAM, VERSION};\nuse crate::Event;\n";
        write!(out, "/// The events.\npub mod events {{\n{}{}}}\n", indent(used), indent(&events))
            .unwrap();
    }
    Ok(out)
}

fn indent(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str("    ");
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

enum Condition {
    Flag(u32),
    NoFlag(u32),
    Source(u32),
    NotSource(u32),
}

fn condition(text: &str) -> Result<Condition, String> {
    if let Some(n) = text.strip_prefix("!flags&") {
        Ok(Condition::NoFlag(num(n)?))
    } else if let Some(n) = text.strip_prefix("flags&") {
        Ok(Condition::Flag(num(n)?))
    } else if let Some(n) = text.strip_prefix("source!=") {
        Ok(Condition::NotSource(num(n)?))
    } else if let Some(n) = text.strip_prefix("source=") {
        Ok(Condition::Source(num(n)?))
    } else {
        Err(format!("unknown condition {text}"))
    }
}

/// The enum of all procedures and the table of facts.
pub fn emit_table(program: &Program) -> Result<String, String> {
    let mut procs: Vec<&Proc> = program.areas.iter().flat_map(|a| &a.procs).collect();
    procs.sort_by_key(|p| p.number);
    for (i, p) in procs.iter().enumerate() {
        if p.number != i as i32 + 1 {
            return Err(format!("{}: number {} is missing or used twice", program.name, i + 1));
        }
    }
    let n = procs.len();
    let mut out = String::from(
        "use crate::info::{Acl, AclWhen, ProcedureInfo, ReadOnly, StreamInfo, StreamKind};\n\n\
         /// All procedures of the program, events included.\n\
         #[allow(missing_docs)]\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i32)]\n\
         pub enum Procedure {\n",
    );
    for p in &procs {
        writeln!(out, "    {} = {},", camel(&p.name), p.number).unwrap();
    }
    write!(out, "}}\n\nimpl Procedure {{\n    /// All of them, in the order of their numbers.\n    pub const ALL: [Self; {n}] = [\n").unwrap();
    for p in &procs {
        writeln!(out, "        Self::{},", camel(&p.name)).unwrap();
    }
    write!(
        out,
        "    ];\n\n    /// The number on the wire.\n    #[must_use]\n    pub fn number(self) -> i32 {{\n        self as i32\n    }}\n\n    \
         /// The facts about it.\n    #[must_use]\n    pub fn info(self) -> &'static ProcedureInfo {{\n        &INFO[self as usize - 1]\n    }}\n\n    \
         /// The name in upper case, as `DOMAIN_CREATE`.\n    #[must_use]\n    pub fn name(self) -> &'static str {{\n        self.info().name\n    }}\n}}\n\n\
         impl TryFrom<i32> for Procedure {{\n    type Error = crate::UnknownProcedure;\n    \
         fn try_from(number: i32) -> Result<Self, Self::Error> {{\n        \
         let unknown = crate::UnknownProcedure {{ program: PROGRAM, number }};\n        \
         let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1)).ok_or(unknown)?;\n        \
         Self::ALL.get(index).copied().ok_or(unknown)\n    }}\n}}\n\n\
         /// The facts about every procedure; that of number n is at n - 1.\n\
         pub static INFO: [ProcedureInfo; {n}] = [\n"
    )
    .unwrap();
    for p in &procs {
        writeln!(out, "    {},", info(p)?).unwrap();
    }
    out.push_str("];\n");
    Ok(out)
}

fn info(p: &Proc) -> Result<String, String> {
    let mut read_only = "No";
    let mut high = false;
    let (mut stream, mut sparse) = (None, 0u32);
    for w in &p.words {
        match w.as_str() {
            "ro" => read_only = "Yes",
            "high" => high = true,
            w if w.starts_with("ro?") => read_only = "Conditional",
            w => match w.split_once('=') {
                Some(("stream", kind)) => stream = Some(camel(kind)),
                Some(("sparse", flag)) => sparse = num(flag)?,
                _ => return Err(format!("{}: unknown word {w}", p.name)),
            },
        }
    }
    let stream = match stream {
        Some(kind) => {
            format!("Some(StreamInfo {{ kind: StreamKind::{kind}, sparse_flag: {sparse:#x} }})")
        }
        None => "None".into(),
    };
    Ok(format!(
        "ProcedureInfo {{ number: {}, name: \"{}\", api: \"{}\", event: {}, read_only: ReadOnly::{read_only}, priority_high: {high}, \
         stream: {stream}, acl: &[{}], acl_filter: &[{}] }}",
        p.number,
        p.name,
        p.api,
        p.event,
        acls(&p.acl)?,
        acls(&p.filter)?
    ))
}

fn acls(checks: &[String]) -> Result<String, String> {
    let mut out = Vec::new();
    for check in checks {
        let (what, when) = match check.split_once('?') {
            None => (check.as_str(), "AclWhen::Always".to_owned()),
            Some((what, cond)) => {
                let when = match condition(cond)? {
                    Condition::Flag(n) => format!("AclWhen::AnyFlag({n:#x})"),
                    Condition::NoFlag(n) => format!("AclWhen::NoFlag({n:#x})"),
                    Condition::Source(n) => format!("AclWhen::Source({n})"),
                    Condition::NotSource(_) => return Err(format!("unsupported condition {cond}")),
                };
                (what, when)
            }
        };
        let (object, permission) = what.split_once(':').ok_or("a check is object:permission")?;
        out.push(format!(
            "Acl {{ object: \"{object}\", permission: \"{permission}\", when: {when} }}"
        ));
    }
    Ok(out.join(", "))
}
