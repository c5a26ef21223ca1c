//! What kinds of pools there are (`virConnectGetStoragePoolCapabilities`).

use std::fmt::Write as _;

use super::types::PoolType;

/// The capabilities' XML; `supported` says which types can be started.
pub fn pool_capabilities(supported: impl Fn(PoolType) -> bool) -> String {
    let mut out = String::from("<storagepoolCapabilities>\n");
    for kind in PoolType::ALL {
        let yes = if supported(*kind) { "yes" } else { "no" };
        let _ = writeln!(out, "  <pool type='{kind}' supported='{yes}'>");
        section(&mut out, "poolOptions", "sourceFormatType", kind.source_formats());
        section(&mut out, "volOptions", "targetFormatType", kind.volume_formats());
        out.push_str("  </pool>\n");
    }
    out.push_str("</storagepoolCapabilities>\n");
    out
}

fn section(
    out: &mut String,
    element: &str,
    list: &str,
    formats: Option<(&'static str, &'static [&'static str])>,
) {
    let Some((default, formats)) = formats else { return };
    let _ = writeln!(out, "    <{element}>\n      <defaultFormat type='{default}'/>");
    let _ = writeln!(out, "      <enum name='{list}'>");
    for format in formats {
        let _ = writeln!(out, "        <value>{format}</value>");
    }
    let _ = writeln!(out, "      </enum>\n    </{element}>");
}
