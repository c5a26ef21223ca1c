//! Images named by `json:` pseudo-URLs, as headers and tools spell them.
//!
//! QEMU takes nested objects and dotted keys alike (`"file.driver"`), numbers and switches as text,
//! and for some drivers older spellings. All become one [`DiskSource`].

use model::domain::devices::disk::{
    Cookie, Cookies, DiskSource, FileRef, Initiator, NamedRef, NetworkHost, NetworkTransport,
    ReadAhead, Slice, Slices, SourceIdentity, SourceTimeout, SslVerify, StorageType,
};
use serde_json::{Map, Value};
use xml::YesNo;

/// Why a text was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// It is not `json:` and an object.
    Syntax(String),
    /// The driver is not one an image can be reached by.
    Driver(String),
    /// A member is missing.
    Missing {
        /// The driver.
        driver: String,
        /// The member.
        member: &'static str,
    },
    /// A member has a value of the wrong kind.
    Value {
        /// The member.
        member: String,
    },
    /// Objects are nested deeper than any image is.
    Depth,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax(text) => write!(f, "not a JSON object: {text}"),
            Self::Driver(name) => write!(f, "driver '{name}' is not known"),
            Self::Missing { driver, member } => write!(f, "driver '{driver}' needs '{member}'"),
            Self::Value { member } => write!(f, "the value of '{member}' is not understood"),
            Self::Depth => f.write_str("objects are nested too deeply"),
        }
    }
}

impl std::error::Error for JsonError {}

/// What a text names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// Kind of source.
    pub kind: StorageType,
    /// The source.
    pub source: DiskSource,
    /// The format, where the text tells it.
    pub format: Option<String>,
    /// The key of the SSH server is not checked.
    pub ssh_unchecked: bool,
}

/// Most levels of objects.
const DEPTH: usize = 16;

/// Reads a `json:{…}` text.
///
/// # Errors
/// The text is no such object, or names its image in a way that is not known.
pub fn parse(text: &str) -> Result<Located, JsonError> {
    let json = text.strip_prefix("json:").unwrap_or(text);
    let value: Value =
        serde_json::from_str(json).map_err(|error| JsonError::Syntax(error.to_string()))?;
    let Value::Object(object) = value else {
        return Err(JsonError::Syntax("the text is something else".into()));
    };
    let mut tree = Map::new();
    for (key, value) in object {
        unfold(&mut tree, &key, value, DEPTH)?;
    }
    locate(&tree, DEPTH)
}

/// Puts a member with a dotted key in its place.
fn unfold(
    into: &mut Map<String, Value>,
    key: &str,
    value: Value,
    depth: usize,
) -> Result<(), JsonError> {
    if depth == 0 {
        return Err(JsonError::Depth);
    }
    match key.split_once('.') {
        Some((first, rest)) => {
            let child = into.entry(first).or_insert_with(|| Value::Object(Map::new()));
            match child {
                Value::Object(child) => unfold(child, rest, value, depth - 1),
                _ => Err(JsonError::Value { member: key.to_string() }),
            }
        }
        None => {
            into.insert(key.to_string(), value);
            Ok(())
        }
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(if *on { "on" } else { "off" }.to_string()),
        _ => None,
    }
}

fn number(object: &Map<String, Value>, key: &str) -> Result<Option<u64>, JsonError> {
    match text(object, key) {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| JsonError::Value { member: key.to_string() })
        }
    }
}

fn object<'a>(parent: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    parent.get(key).and_then(Value::as_object)
}

fn locate(tree: &Map<String, Value>, depth: usize) -> Result<Located, JsonError> {
    if depth == 0 {
        return Err(JsonError::Depth);
    }
    // Without a driver of its own, the object only holds another.
    let Some(driver) = text(tree, "driver") else {
        return match (object(tree, "file"), text(tree, "filename")) {
            (Some(file), _) => locate(file, depth - 1),
            (None, Some(name)) => named(&name, depth),
            (None, None) => Err(JsonError::Missing { driver: "file".into(), member: "filename" }),
        };
    };
    let missing = |member| JsonError::Missing { driver: driver.clone(), member };
    let mut source = DiskSource::default();
    let mut ssh_unchecked = false;
    let kind = match driver.as_str() {
        "file" | "host_device" | "host_cdrom" => {
            let name = text(tree, "filename").ok_or_else(|| missing("filename"))?;
            if driver == "file" {
                if name.contains("://") || name.starts_with("json:") {
                    return named(&name, depth);
                }
                source.file = Some(name);
                StorageType::File
            } else {
                source.dev = Some(name);
                StorageType::Block
            }
        }
        "http" | "https" | "ftp" | "ftps" | "tftp" => {
            let url = text(tree, "url").or_else(|| text(tree, "filename"));
            source = from_url(&url.ok_or_else(|| missing("url"))?)?;
            if let Some(word) = text(tree, "sslverify") {
                let verify = if word == "off" { YesNo::No } else { YesNo::Yes };
                source.ssl = Some(SslVerify { verify });
            }
            source.cookies = text(tree, "cookie").map(|text| cookies(&text));
            source.timeout = number(tree, "timeout")?.map(|seconds| SourceTimeout { seconds });
            source.readahead = number(tree, "readahead")?.map(|size| ReadAhead { size });
            StorageType::Network
        }
        "nbd" => {
            source.hosts = vec![match object(tree, "server") {
                Some(server) => host(server),
                None => host(tree),
            }];
            source.name = text(tree, "export");
            source.tls_hostname = text(tree, "tls-hostname");
            StorageType::Network
        }
        "ssh" => {
            source.hosts = vec![match object(tree, "server") {
                Some(server) => host(server),
                None => host(tree),
            }];
            source.name = Some(text(tree, "path").ok_or_else(|| missing("path"))?);
            source.identity = text(tree, "user")
                .map(|user| SourceIdentity { username: Some(user), ..Default::default() })
                .map(Box::new);
            let mode = object(tree, "host-key-check").and_then(|check| text(check, "mode"));
            ssh_unchecked = mode.as_deref() == Some("none")
                || text(tree, "host_key_check").as_deref() == Some("no");
            StorageType::Network
        }
        "iscsi" => {
            let portal = text(tree, "portal").ok_or_else(|| missing("portal"))?;
            let target = text(tree, "target").ok_or_else(|| missing("target"))?;
            let lun = number(tree, "lun")?.unwrap_or(0);
            source.hosts = vec![host_port(&portal)];
            if text(tree, "transport").as_deref() == Some("iser")
                && let Some(first) = source.hosts.first_mut()
            {
                first.transport = Some(NetworkTransport::Rdma);
            }
            source.name = Some(format!("{target}/{lun}"));
            source.initiator =
                text(tree, "initiator-name").map(|name| Initiator { iqn: Some(NamedRef { name }) });
            StorageType::Network
        }
        "gluster" => {
            if let Some(uri) = text(tree, "uri").or_else(|| text(tree, "filename")) {
                source = from_url(&uri)?;
            } else {
                let volume = text(tree, "volume").ok_or_else(|| missing("volume"))?;
                let path = text(tree, "path").ok_or_else(|| missing("path"))?;
                source.name = Some(format!("{volume}/{path}"));
                source.hosts = servers(tree.get("server"));
            }
            StorageType::Network
        }
        "rbd" => {
            let pool = text(tree, "pool").ok_or_else(|| missing("pool"))?;
            let image = text(tree, "image").ok_or_else(|| missing("image"))?;
            source.name = Some(match text(tree, "namespace") {
                Some(namespace) => format!("{pool}/{namespace}/{image}"),
                None => format!("{pool}/{image}"),
            });
            source.snapshot = text(tree, "snapshot").map(|name| NamedRef { name });
            source.config = text(tree, "conf").map(|file| FileRef { file });
            source.hosts = servers(tree.get("server"));
            StorageType::Network
        }
        "nfs" => {
            let server = object(tree, "server").ok_or_else(|| missing("server"))?;
            source.hosts = vec![host(server)];
            source.name = Some(text(tree, "path").ok_or_else(|| missing("path"))?);
            let (user, group) = (text(tree, "user"), text(tree, "group"));
            if user.is_some() || group.is_some() {
                let identity = SourceIdentity { user, group, ..Default::default() };
                source.identity = Some(Box::new(identity));
            }
            StorageType::Network
        }
        "vxhs" => {
            let server = object(tree, "server").ok_or_else(|| missing("server"))?;
            source.hosts = vec![host(server)];
            source.name = Some(text(tree, "vdisk-id").ok_or_else(|| missing("vdisk-id"))?);
            StorageType::Network
        }
        "raw" => return raw(tree, depth),
        // A format: the file below tells where the image is.
        format if super::format_driver(format).is_some() => {
            let file = object(tree, "file").ok_or_else(|| missing("file"))?;
            let mut located = locate(file, depth - 1)?;
            located.format = Some(format.to_string());
            return Ok(located);
        }
        other => return Err(JsonError::Driver(other.to_string())),
    };
    if kind == StorageType::Network && source.protocol.is_none() {
        source.protocol = Some(driver);
    }
    Ok(Located { kind, source, format: None, ssh_unchecked })
}

/// The raw driver: the whole of what is below, or a part of it.
fn raw(tree: &Map<String, Value>, depth: usize) -> Result<Located, JsonError> {
    let file =
        object(tree, "file").ok_or(JsonError::Missing { driver: "raw".into(), member: "file" })?;
    let mut located = locate(file, depth - 1)?;
    let (offset, size) = (number(tree, "offset")?, number(tree, "size")?);
    if offset.is_some() || size.is_some() {
        let size = size.ok_or(JsonError::Missing { driver: "raw".into(), member: "size" })?;
        let slice = Slice { kind: "storage".into(), offset: offset.unwrap_or(0), size };
        located.source.slices = Some(Slices { slices: vec![slice] });
    }
    Ok(located)
}

/// A file name, which may be a URL or JSON again.
fn named(name: &str, depth: usize) -> Result<Located, JsonError> {
    if depth == 0 {
        return Err(JsonError::Depth);
    }
    if let Some(json) = name.strip_prefix("json:") {
        let value: Value =
            serde_json::from_str(json).map_err(|error| JsonError::Syntax(error.to_string()))?;
        let object = value.as_object().cloned().unwrap_or_default();
        let mut tree = Map::new();
        for (key, value) in object {
            unfold(&mut tree, &key, value, DEPTH)?;
        }
        return locate(&tree, depth - 1);
    }
    if name.contains("://") {
        let source = from_url(name)?;
        return Ok(Located { kind: StorageType::Network, source, ..Located::default() });
    }
    let path = name.strip_prefix("file:").unwrap_or(name).to_string();
    let source = DiskSource { file: Some(path), ..DiskSource::default() };
    Ok(Located { kind: StorageType::File, source, ..Located::default() })
}

/// `SCHEME[+TRANSPORT]://[USER@]HOST[:PORT]/PATH[?QUERY]`.
fn from_url(url: &str) -> Result<DiskSource, JsonError> {
    let wrong = || JsonError::Value { member: "url".into() };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (protocol, transport) = scheme.split_once('+').unwrap_or((scheme, "tcp"));
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let mut server = host_port(authority);
    match transport {
        "unix" => {
            let socket = query.and_then(|query| query.strip_prefix("socket="));
            server = NetworkHost {
                transport: Some(NetworkTransport::Unix),
                socket: socket.map(str::to_string),
                ..NetworkHost::default()
            };
        }
        "rdma" => server.transport = Some(NetworkTransport::Rdma),
        _ => {}
    }
    Ok(DiskSource {
        protocol: Some(protocol.to_string()),
        name: Some(path.to_string()).filter(|path| !path.is_empty()),
        query: query.filter(|_| transport != "unix").map(str::to_string),
        hosts: vec![server],
        ..DiskSource::default()
    })
}

/// `HOST[:PORT]`, an IPv6 address in brackets.
fn host_port(text: &str) -> NetworkHost {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    NetworkHost {
        name: Some(name.to_string()),
        port: port.map(str::to_string),
        ..NetworkHost::default()
    }
}

/// A server as QEMU's socket address, or its older spellings.
fn host(object: &Map<String, Value>) -> NetworkHost {
    let unix = text(object, "type").as_deref() == Some("unix")
        || text(object, "path").is_some() && text(object, "host").is_none();
    if unix {
        return NetworkHost {
            transport: Some(NetworkTransport::Unix),
            socket: text(object, "path").or_else(|| text(object, "socket")),
            ..NetworkHost::default()
        };
    }
    NetworkHost { name: text(object, "host"), port: text(object, "port"), ..NetworkHost::default() }
}

/// A list of servers: an array, or an object with numbers for keys.
fn servers(value: Option<&Value>) -> Vec<NetworkHost> {
    let hosts = |value: &Value| value.as_object().map(host);
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(hosts).collect(),
        Some(Value::Object(map)) => map.values().filter_map(hosts).collect(),
        _ => Vec::new(),
    }
}

fn cookies(text: &str) -> Cookies {
    let cookies = text
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| Cookie { name: name.to_string(), value: value.to_string() })
        .collect();
    Cookies { cookies }
}

/// Reads arbitrary bytes; for fuzz targets.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Image, source_only};

    fn check(text: &str, expected: &str) {
        let located = parse(text).unwrap();
        let mut image = Image::new(located.kind, &located.source, "raw");
        image.ssh_unchecked = located.ssh_unchecked;
        assert_eq!(source_only(&image).unwrap().to_string(), expected);
    }

    #[test]
    fn spellings() {
        check(
            r#"json:{"file.driver":"ftps","file.url":"ftps://h.example/a/b","file.timeout":"7"}"#,
            r#"{"driver":"ftps","url":"ftps://h.example:990/a/b","timeout":7}"#,
        );
        check(
            r#"json:{"driver":"qcow2","file":{"driver":"ssh","host":"h","port":"2200","path":"/x","user":"u","host_key_check":"no"}}"#,
            r#"{"driver":"ssh","path":"/x","server":{"host":"h","port":"2200"},"user":"u","host-key-check":{"mode":"none"}}"#,
        );
        check(
            r#"json:{"driver":"raw","offset":512,"size":"1024","file":{"driver":"file","filename":"/i"}}"#,
            r#"{"driver":"raw","offset":512,"size":1024,"file":{"driver":"file","filename":"/i"}}"#,
        );
        check(
            r#"json:{"driver":"nbd","server.type":"unix","server.path":"/s","export":"e"}"#,
            r#"{"driver":"nbd","server":{"type":"unix","path":"/s"},"export":"e"}"#,
        );
        check(
            r#"json:{"driver":"iscsi","portal":"[::1]:3261","target":"iqn.x","lun":3}"#,
            r#"{"driver":"iscsi","portal":"[::1]:3261","target":"iqn.x","lun":3,"transport":"tcp"}"#,
        );
    }

    #[test]
    fn refusals() {
        assert!(matches!(parse("json:[]"), Err(JsonError::Syntax(_))));
        assert!(matches!(parse(r#"json:{"driver":"blkdebug"}"#), Err(JsonError::Driver(_))));
        let deep = format!("json:{}1{}", r#"{"file":"#.repeat(60), "}".repeat(60));
        assert!(parse(&deep).is_err());
        let dotted = format!(r#"json:{{"{}":1}}"#, "a.".repeat(60));
        assert_eq!(parse(&dotted), Err(JsonError::Depth));
    }
}
