//! Rust for the public constants of libvirt's headers.
//!
//! ```text
//! enum MODULE i32|u32|u64 C-ENUM C-PREFIX
//!   NAME VALUE
//! string MODULE
//!   NAME "VALUE"
//! ```

use std::fmt::Write;

/// The Rust text of one file.
pub fn emit(file: &str, text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut ty = None;
    for (n, line) in text.lines().enumerate() {
        let fault = |what: &str| format!("consts/{file}.txt:{}: {what}: {line}", n + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), ty) {
            ([], _) | (["#", ..], _) => {}
            (["enum", module, t @ ("i32" | "u32" | "u64"), c_enum, prefix], _) => {
                open(&mut out, ty, &format!("`{c_enum}`: `{prefix}`…"), module);
                ty = Some(*t);
            }
            (["string", module], _) => {
                open(&mut out, ty, "Names of typed parameters and the like.", module);
                ty = Some("&str");
            }
            ([name, value], Some(t)) => {
                writeln!(out, "    pub const {name}: {t} = {value};").unwrap();
            }
            (_, None) => return Err(fault("no module yet")),
            _ => return Err(fault("not a name and a value")),
        }
    }
    if ty.is_some() {
        out.push_str("}\n");
    }
    Ok(out)
}

fn open(out: &mut String, before: Option<&str>, doc: &str, module: &str) {
    if before.is_some() {
        out.push_str("}\n\n");
    }
    writeln!(out, "/// {doc}\npub mod {module} {{").unwrap();
}

#[cfg(test)]
mod tests {
    #[test]
    fn modules() {
        let text = "# c\nenum state i32 virS VIR_S_\n  A 0\n  B 1\n\nstring field\n  X \"x.y\"\n";
        let want = "/// `virS`: `VIR_S_`…\npub mod state {\n    pub const A: i32 = 0;\n    pub const B: i32 = 1;\n}\n\n\
                    /// Names of typed parameters and the like.\npub mod field {\n    pub const X: &str = \"x.y\";\n}\n";
        assert_eq!(super::emit("f", text).unwrap(), want);
        assert!(super::emit("f", "A 1").is_err());
    }
}
