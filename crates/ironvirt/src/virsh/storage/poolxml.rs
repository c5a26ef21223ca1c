//! Documents that pool commands build from their options.

use super::*;
use crate::virsh::util::escape;

/// Name and XML of the pool that `pool-define-as` and `pool-create-as` describe.
pub fn pool_xml(cmd: &Cmd) -> Outcome<(String, String)> {
    let name = cmd.req("name")?.to_owned();
    let kind = cmd.req("type")?;
    let get = |n: &str| -> Outcome<Option<String>> { Ok(cmd.str(n)?.map(escape)) };
    let mut out = format!("<pool type='{}'>\n  <name>{}</name>\n", escape(kind), escape(&name));
    let mut source = String::new();
    if let Some(h) = get("source-host")? {
        source.push_str(&format!("    <host name='{h}'/>\n"));
    }
    if let Some(p) = get("source-path")? {
        source.push_str(&format!("    <dir path='{p}'/>\n"));
    }
    if let Some(d) = get("source-dev")? {
        source.push_str(&format!("    <device path='{d}'/>\n"));
    }
    source.push_str(&adapter(cmd)?);
    if let Some(i) = get("source-initiator")? {
        source.push_str(&format!("    <initiator>\n      <iqn name='{i}'/>\n    </initiator>\n"));
    }
    if let (Some(t), Some(u)) = (get("auth-type")?, get("auth-username")?) {
        let secret = match (get("secret-usage")?, get("secret-uuid")?) {
            (Some(s), _) => format!("      <secret usage='{s}'/>\n"),
            (None, Some(s)) => format!("      <secret uuid='{s}'/>\n"),
            _ => String::new(),
        };
        source.push_str(&format!("    <auth type='{t}' username='{u}'>\n{secret}    </auth>\n"));
    }
    if let Some(f) = get("source-format")? {
        source.push_str(&format!("    <format type='{f}'/>\n"));
    }
    if let Some(n) = get("source-name")? {
        source.push_str(&format!("    <name>{n}</name>\n"));
    }
    if let Some(v) = get("source-protocol-ver")? {
        source.push_str(&format!("    <protocol ver='{v}'/>\n"));
    }
    if !source.is_empty() {
        out.push_str(&format!("  <source>\n{source}  </source>\n"));
    }
    if let Some(t) = get("target")? {
        out.push_str(&format!("  <target>\n    <path>{t}</path>\n  </target>\n"));
    }
    out.push_str("</pool>\n");
    Ok((name, out))
}

fn adapter(cmd: &Cmd) -> Outcome<String> {
    let get = |n: &str| -> Outcome<Option<String>> { Ok(cmd.str(n)?.map(escape)) };
    if let (Some(wwnn), Some(wwpn)) = (get("adapter-wwnn")?, get("adapter-wwpn")?) {
        let mut out = String::from("    <adapter type='fc_host'");
        for (option, attr) in [
            ("adapter-parent", "parent"),
            ("adapter-parent-wwnn", "parent_wwnn"),
            ("adapter-parent-wwpn", "parent_wwpn"),
            ("adapter-parent-fabric-wwn", "parent_fabric_wwn"),
        ] {
            if let Some(v) = get(option)? {
                out.push_str(&format!(" {attr}='{v}'"));
            }
        }
        out.push_str(&format!(" wwnn='{wwnn}' wwpn='{wwpn}'/>\n"));
        return Ok(out);
    }
    Ok(match get("adapter-name")? {
        Some(n) => format!("    <adapter type='scsi_host' name='{n}'/>\n"),
        None => String::new(),
    })
}

/// The source that `find-storage-pool-sources-as` describes.
pub fn source_spec(cmd: &Cmd) -> Outcome<Option<String>> {
    let get = |n: &str| -> Outcome<Option<String>> { Ok(cmd.str(n)?.map(escape)) };
    let (host, port, initiator) = (get("host")?, get("port")?, get("initiator")?);
    let Some(host) = host else {
        return Ok(None);
    };
    let port = port.map_or_else(String::new, |p| format!(" port='{p}'"));
    let mut out = format!("<source>\n  <host name='{host}'{port}/>\n");
    if let Some(i) = initiator {
        out.push_str(&format!("  <initiator>\n    <iqn name='{i}'/>\n  </initiator>\n"));
    }
    out.push_str("</source>\n");
    Ok(Some(out))
}
