//! The interface table: the notation, read into data.
//!
//! Line based; `#` begins a comment; two spaces of indentation belong to the item above.
//!
//! ```text
//! program NAME NUMBER VERSION          which program this file (or folder) describes
//! const NAME VALUE                     a limit, usable as MAX below
//! enum NAME                            numbers with names
//!   VARIANT VALUE
//! struct NAME                          a type used by several messages
//!   FIELD TYPE
//! call NUMBER NAME WORD…               a procedure; WORDs: ro (read-only clients may call it), ro?COND, high
//!                                      (priority), stream=download|upload|both, sparse=FLAG (holes allowed when set)
//!   api FUNCTION                       libvirt's public function for it, as errors name it
//!   acl OBJECT:PERMISSION[?COND] …     checks before the call
//!   filter OBJECT:PERMISSION …         checks that hide single objects of a list
//!   arg FIELD TYPE                     arguments, in order
//!   ret FIELD TYPE                     results, in order
//! event NUMBER NAME                    a message from the daemon
//!   msg FIELD TYPE
//! ```
//!
//! COND is `flags&N` (some of these bits are set), `!flags&N` (none is), `source=N` or `source!=N`.
//! TYPE is a base (int uint hyper uhyper char uchar ushort double string uuid typed_param, an enum or a struct),
//! `BASE?` (optional), `BASE<MAX>` (variable array), `BASE[N]` (fixed array) or `opaque<MAX>`.

use std::fmt::Display;

/// One program, complete.
#[derive(Debug, Default)]
pub struct Program {
    /// Its name, also the Rust module's.
    pub name: String,
    /// Its number on the wire.
    pub number: u32,
    /// Its version on the wire.
    pub version: u32,
    /// Its parts, one per file.
    pub areas: Vec<Area>,
}

/// What one file says.
#[derive(Debug, Default)]
pub struct Area {
    /// The file's name without extension.
    pub name: String,
    /// Limits.
    pub consts: Vec<(String, u64)>,
    /// Enums: name and variants.
    pub enums: Vec<(String, Vec<(String, i32)>)>,
    /// Shared structs: name and fields.
    pub structs: Vec<(String, Vec<Field>)>,
    /// Calls and events.
    pub procs: Vec<Proc>,
}

/// A field of a struct or message.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in snake case.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A type as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// The base type's name.
    pub base: String,
    /// How it is repeated.
    pub shape: Shape,
}

/// How a base type is repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Once.
    One,
    /// Zero times or once.
    Optional,
    /// At most so many times (a constant's name or a number).
    UpTo(String),
    /// Exactly so many times.
    Exactly(usize),
}

/// A call or event.
#[derive(Debug, Default)]
pub struct Proc {
    /// Whether the daemon sends it.
    pub event: bool,
    /// Its number.
    pub number: i32,
    /// Its name in upper case.
    pub name: String,
    /// What stands behind the name.
    pub words: Vec<String>,
    /// The public function's name.
    pub api: String,
    /// Access checks.
    pub acl: Vec<String>,
    /// Filtering checks.
    pub filter: Vec<String>,
    /// Arguments, or an event's content.
    pub args: Vec<Field>,
    /// Results.
    pub rets: Vec<Field>,
}

/// Reads one file into `program`, adding an area.
pub fn read(program: &mut Program, area: &str, text: &str) -> Result<(), String> {
    let mut out = Area { name: area.to_owned(), ..Area::default() };
    for (n, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = content.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let done = if content.starts_with(' ') {
            detail(&mut out, &words)
        } else {
            item(program, &mut out, &words)
        };
        done.map_err(|e| format!("{}/{area}.txt:{}: {e}: {line}", program.name, n + 1))?;
    }
    program.areas.push(out);
    Ok(())
}

fn item(program: &mut Program, out: &mut Area, words: &[&str]) -> Result<(), String> {
    match words {
        ["program", name, number, version] => {
            program.name = (*name).to_owned();
            program.number = num(number)?;
            program.version = num(version)?;
        }
        ["const", name, value] => out.consts.push(((*name).to_owned(), num(value)?)),
        ["enum", name] => out.enums.push(((*name).to_owned(), Vec::new())),
        ["struct", name] => out.structs.push(((*name).to_owned(), Vec::new())),
        [kind @ ("call" | "event"), number, name, rest @ ..] => out.procs.push(Proc {
            event: *kind == "event",
            number: num(number)?,
            name: (*name).to_owned(),
            words: owned(rest),
            ..Proc::default()
        }),
        _ => return Err("unknown item".into()),
    }
    Ok(())
}

/// A line below an item. It belongs to the last procedure, if any; otherwise to the last struct or enum. (A file
/// names its enums first, then its structs, then its procedures.)
fn detail(out: &mut Area, words: &[&str]) -> Result<(), String> {
    if let Some(p) = out.procs.last_mut() {
        match words {
            ["api", function] => p.api = (*function).to_owned(),
            ["acl", rest @ ..] => p.acl = owned(rest),
            ["filter", rest @ ..] => p.filter = owned(rest),
            ["arg" | "msg", name, ty] => p.args.push(field(name, ty)?),
            ["ret", name, ty] => p.rets.push(field(name, ty)?),
            _ => return Err("unknown detail of a procedure".into()),
        }
    } else if let (Some((_, fields)), [name, ty]) = (out.structs.last_mut(), words) {
        fields.push(field(name, ty)?);
    } else if let (Some((_, variants)), [name, value]) = (out.enums.last_mut(), words) {
        variants.push(((*name).to_owned(), num(value)?));
    } else {
        return Err("nothing above it to belong to".into());
    }
    Ok(())
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn field(name: &str, ty: &str) -> Result<Field, String> {
    let (base, shape) = if let Some(base) = ty.strip_suffix('?') {
        (base, Shape::Optional)
    } else if let Some((base, max)) = ty.split_once('<') {
        let max = max.strip_suffix('>').ok_or("missing '>'")?;
        (base, Shape::UpTo(max.to_owned()))
    } else if let Some((base, n)) = ty.split_once('[') {
        (base, Shape::Exactly(num(n.strip_suffix(']').ok_or("missing ']'")?)?))
    } else {
        (ty, Shape::One)
    };
    Ok(Field { name: name.to_owned(), ty: Type { base: base.to_owned(), shape } })
}

/// A decimal or hexadecimal number.
pub fn num<T: TryFrom<i64>>(text: &str) -> Result<T, String>
where
    T::Error: Display,
{
    let value = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let value = value.map_err(|e| format!("{text}: {e}"))?;
    T::try_from(value).map_err(|e| format!("{text}: {e}"))
}

/// `DOMAIN_CREATE_XML` or `nonnull_domain` as `DomainCreateXml`, `NonnullDomain`.
pub fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split('_') {
        let mut chars = part.chars();
        if let Some(first) = chars.next() {
            out.push(first.to_ascii_uppercase());
            out.push_str(&chars.as_str().to_ascii_lowercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(camel("DOMAIN_CREATE_XML"), "DomainCreateXml");
        assert_eq!(camel("nonnull_domain"), "NonnullDomain");
    }

    #[test]
    fn reads_an_area() {
        let mut p = Program::default();
        let text = "program p 0x10 1\nconst LIMIT 3 # why\nstruct pair\n  a int\n  b string?\n\
                    call 1 DO_IT ro?!flags&0x1 high\n  acl o:read o:write?flags&0x1\n  arg x pair<LIMIT>\n  ret y char[4]\n";
        read(&mut p, "a", text).unwrap();
        assert_eq!((p.number, p.version), (16, 1));
        let area = &p.areas[0];
        assert_eq!(area.consts, [("LIMIT".to_owned(), 3)]);
        assert_eq!(area.structs[0].1[1].ty.shape, Shape::Optional);
        let call = &area.procs[0];
        assert_eq!(call.words, ["ro?!flags&0x1", "high"]);
        assert_eq!(call.acl.len(), 2);
        assert_eq!(
            call.args[0].ty,
            Type { base: "pair".into(), shape: Shape::UpTo("LIMIT".into()) }
        );
        assert_eq!(call.rets[0].ty.shape, Shape::Exactly(4));
    }

    #[test]
    fn faults_name_the_line() {
        let mut p = Program::default();
        let e = read(&mut p, "a", "program p 1 1\nbogus\n").unwrap_err();
        assert!(e.starts_with("p/a.txt:2:"), "{e}");
    }
}
