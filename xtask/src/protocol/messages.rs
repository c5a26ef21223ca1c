//! Rust for the messages: limits, enums, structs with their `Encode` and `Decode`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::table::{Area, Field, Proc, Program, Shape, Type, camel};

/// The Rust text of one area's messages.
pub fn emit(program: &Program, area: &Area) -> Result<String, String> {
    let foreign = foreign(program);
    let mut out = String::new();
    for (name, value) in &area.consts {
        writeln!(out, "pub const {name}: usize = {value};").unwrap();
    }
    for (name, variants) in &area.enums {
        emit_enum(&mut out, name, variants);
    }
    for (name, fields) in &area.structs {
        emit_struct(&mut out, &camel(name), &format!("`{name}`."), fields, &foreign)?;
    }
    for p in &area.procs {
        let Proc { name, number, .. } = p;
        let base = camel(name);
        if p.event && p.args.is_empty() {
            continue;
        }
        if p.event {
            let doc = format!("Content of the event `{name}` ({number}).");
            emit_struct(&mut out, &format!("{base}Msg"), &doc, &p.args, &foreign)?;
            continue;
        }
        if !p.args.is_empty() {
            let doc = format!("Arguments of `{name}` ({number}).");
            emit_struct(&mut out, &format!("{base}Args"), &doc, &p.args, &foreign)?;
        }
        if !p.rets.is_empty() {
            let doc = format!("Result of `{name}` ({number}).");
            emit_struct(&mut out, &format!("{base}Ret"), &doc, &p.rets, &foreign)?;
        }
    }
    Ok(out)
}

/// Which names the program defines itself; all others come from the remote program.
fn foreign(program: &Program) -> BTreeSet<String> {
    let mut own = BTreeSet::new();
    for a in &program.areas {
        own.extend(a.structs.iter().map(|s| s.0.clone()));
        own.extend(a.enums.iter().map(|e| e.0.clone()));
        own.extend(a.consts.iter().map(|c| c.0.clone()));
    }
    own
}

fn emit_enum(out: &mut String, name: &str, variants: &[(String, i32)]) {
    let ty = camel(name);
    writeln!(out, "\n/// `{name}`.").unwrap();
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\n#[repr(i32)]\npub enum {ty} {{")
        .unwrap();
    for (v, n) in variants {
        writeln!(out, "    {} = {n},", camel(v)).unwrap();
    }
    writeln!(out, "}}\nimpl Encode for {ty} {{").unwrap();
    writeln!(
        out,
        "    fn encode(&self, e: &mut Encoder) {{\n        e.int(*self as i32);\n    }}\n}}"
    )
    .unwrap();
    writeln!(out, "impl Decode for {ty} {{\n    const MIN_SIZE: usize = 4;").unwrap();
    writeln!(out, "    fn decode(d: &mut Decoder<'_>) -> Result<Self> {{").unwrap();
    writeln!(out, "        let at = d.position();\n        match d.int()? {{").unwrap();
    for (v, n) in variants {
        writeln!(out, "            {n} => Ok(Self::{}),", camel(v)).unwrap();
    }
    writeln!(
        out,
        "            value => Err(xdr::Error::UnknownVariant {{ what: \"{name}\", at, value }}),\n        }}\n    }}\n}}"
    )
    .unwrap();
}

fn emit_struct(
    out: &mut String,
    name: &str,
    doc: &str,
    fields: &[Field],
    own: &BTreeSet<String>,
) -> Result<(), String> {
    let mut sizes: Vec<String> = Vec::new();
    let mut known = 0;
    let (mut decl, mut enc, mut dec) = (String::new(), String::new(), String::new());
    for f in fields {
        let id = if f.name == "type" { "r#type" } else { &f.name };
        let code = code(&f.ty, id, own)?;
        writeln!(decl, "    pub {id}: {},", code.rust).unwrap();
        writeln!(enc, "        {};", code.encode).unwrap();
        writeln!(dec, "            {id}: {},", code.decode).unwrap();
        match code.size {
            Ok(n) => known += n,
            Err(expr) => sizes.push(expr),
        }
    }
    if known > 0 || sizes.is_empty() {
        sizes.insert(0, known.to_string());
    }
    let size = sizes.join(" + ");
    write!(
        out,
        "\n/// {doc}\n#[derive(Clone, Debug, Default, PartialEq)]\npub struct {name} {{\n{decl}}}\n\
         impl Encode for {name} {{\n    fn encode(&self, e: &mut Encoder) {{\n{enc}    }}\n}}\n\
         impl Decode for {name} {{\n    const MIN_SIZE: usize = {size};\n    \
         fn decode(d: &mut Decoder<'_>) -> Result<Self> {{\n        Ok(Self {{\n{dec}        }})\n    }}\n}}\n"
    )
    .unwrap();
    Ok(())
}

/// How one field is declared, written and read.
struct Code {
    rust: String,
    encode: String,
    decode: String,
    /// Fewest bytes: a number, or the expression that gives it.
    size: Result<usize, String>,
}

fn code(ty: &Type, id: &str, own: &BTreeSet<String>) -> Result<Code, String> {
    let scalar = match ty.base.as_str() {
        "int" => Some(("i32", 4)),
        "uint" => Some(("u32", 4)),
        "hyper" => Some(("i64", 8)),
        "uhyper" => Some(("u64", 8)),
        "char" => Some(("i8", 4)),
        "uchar" => Some(("u8", 4)),
        "ushort" => Some(("u16", 4)),
        "double" => Some(("f64", 8)),
        _ => None,
    };
    let base = ty.base.as_str();
    let max = |m: &String| {
        if own.contains(m) || m.parse::<usize>().is_ok() {
            m.clone()
        } else {
            format!("crate::remote::{m}")
        }
    };
    let make = |rust: &str, encode: String, decode: String, size| Code {
        rust: rust.to_owned(),
        encode,
        decode,
        size,
    };
    Ok(match (base, &ty.shape) {
        ("string", Shape::One) => make(
            "String",
            format!("e.string(&self.{id}, STRING_MAX)"),
            "d.string(STRING_MAX)?".into(),
            Ok(4),
        ),
        ("string", Shape::Optional) => make(
            "Option<String>",
            format!("e.opt_string(self.{id}.as_deref(), STRING_MAX)"),
            "d.opt_string(STRING_MAX)?".into(),
            Ok(4),
        ),
        ("string", Shape::UpTo(m)) => make(
            "Vec<String>",
            format!("e.strings(&self.{id}, {}, STRING_MAX)", max(m)),
            format!("d.strings({}, STRING_MAX)?", max(m)),
            Ok(4),
        ),
        ("opaque", Shape::UpTo(m)) => make(
            "Vec<u8>",
            format!("e.opaque(&self.{id}, {})", max(m)),
            format!("d.opaque_vec({})?", max(m)),
            Ok(4),
        ),
        ("char", Shape::UpTo(m)) => make(
            "Vec<u8>",
            format!("e.chars(&self.{id}, {})", max(m)),
            format!("d.chars({})?", max(m)),
            Ok(4),
        ),
        ("char", Shape::Exactly(n)) => make(
            &format!("[u8; {n}]"),
            format!("e.chars_fixed(&self.{id})"),
            "d.chars_fixed()?".into(),
            Ok(4 * n),
        ),
        (_, Shape::Exactly(_)) => return Err(format!("fixed arrays of {base} are not supported")),
        (_, shape) => {
            let rust = match (scalar, base) {
                (Some((rust, _)), _) => rust.to_owned(),
                (None, "uuid") => "crate::Uuid".into(),
                (None, "typed_param") => "crate::TypedParam".into(),
                (None, _) if own.contains(base) => camel(base),
                (None, _) => format!("crate::remote::{}", camel(base)),
            };
            match shape {
                Shape::UpTo(m) => make(
                    &format!("Vec<{rust}>"),
                    format!("e.array(&self.{id}, {})", max(m)),
                    format!("d.array({})?", max(m)),
                    Ok(4),
                ),
                Shape::Optional => make(
                    &format!("Option<{rust}>"),
                    format!("self.{id}.encode(e)"),
                    "Decode::decode(d)?".into(),
                    Ok(4),
                ),
                _ => make(
                    &rust,
                    format!("self.{id}.encode(e)"),
                    "Decode::decode(d)?".into(),
                    scalar.map_or_else(|| Err(format!("<{rust}>::MIN_SIZE")), |(_, n)| Ok(n)),
                ),
            }
        }
    })
}
