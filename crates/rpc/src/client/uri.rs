//! Connection URIs: `driver[+transport]://[user@][host][:port]/path[?name=value&…]`.

use diag::VirError;

use super::error;

/// A connection URI, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnUri {
    /// `qemu`, `test`, `remote`, …
    pub driver: String,
    /// `unix`, `ssh`, `ext`, `tcp`, …, where one is written.
    pub transport: Option<String>,
    /// The user on the far side.
    pub user: Option<String>,
    /// The host; empty for this one.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
    /// The path, as `/system`.
    pub path: String,
    /// Parameters in their order, decoded.
    pub params: Vec<(String, String)>,
}

/// Parameters that are meant for the client; all others go to the daemon with the name.
const OURS: &[&str] = &[
    "name",
    "command",
    "socket",
    "auth",
    "sshauth",
    "netcat",
    "keyfile",
    "pkipath",
    "known_hosts",
    "known_hosts_verify",
    "tls_priority",
    "mode",
    "proxy",
    "no_sanity",
    "no_verify",
    "no_tty",
];

impl ConnUri {
    /// Takes a URI apart.
    ///
    /// # Errors
    /// It has no scheme, or a part of it is malformed ("internal error: Unable to parse URI …").
    pub fn parse(text: &str) -> Result<Self, VirError> {
        Self::parts(text).ok_or_else(|| error::bad_uri(text))
    }

    fn parts(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let mut chars = scheme.chars();
        let ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !ok {
            return None;
        }
        let (driver, transport) = match scheme.split_once('+') {
            Some((d, t)) => (d, Some(t.to_owned())),
            None => (scheme, None),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { driver: driver.to_owned(), transport, ..Self::default() };
        match rest.strip_prefix("//") {
            None => uri.path = decode(rest)?,
            Some(rest) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(slash);
                uri.path = decode(path)?;
                uri.authority(authority)?;
            }
        }
        for pair in query.split(['&', ';']).filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            uri.params.push((decode(name)?, decode(value)?));
        }
        Some(uri)
    }

    fn authority(&mut self, text: &str) -> Option<()> {
        let host = match text.rsplit_once('@') {
            Some((user, host)) => {
                self.user = Some(decode(user)?);
                host
            }
            None => text,
        };
        // An IPv6 address stands in brackets.
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
                (host, port)
            }
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        self.host = decode(host)?;
        self.port = match port {
            None | Some("") => None,
            Some(p) => Some(p.parse().ok()?),
        };
        Some(())
    }

    /// The value of a parameter; the last one counts.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|p| p.0 == name).map(|p| p.1.as_str())
    }

    /// The name for the daemon: the URI without what concerns the way there. Empty lets the daemon choose.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(name) = self.param("name") {
            return name.to_owned();
        }
        if self.driver == "remote" {
            return String::new();
        }
        let mut name = format!("{}://{}", self.driver, encode(&self.path, "/"));
        let theirs = self.params.iter().filter(|p| !OURS.contains(&p.0.as_str()));
        for (i, (key, value)) in theirs.enumerate() {
            name.push(if i == 0 { '?' } else { '&' });
            name.push_str(&format!("{}={}", encode(key, ""), encode(value, "/")));
        }
        name
    }
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok().filter(|s| !s.contains('\0'))
}

fn encode(text: &str, also: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        let c = char::from(b);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || (c.is_ascii() && also.contains(c)) {
            out.push(c);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        text: &str,
        driver: &str,
        transport: Option<&str>,
        host: &str,
        path: &str,
        name: &str,
    ) {
        let u = ConnUri::parse(text).unwrap();
        assert_eq!((u.driver.as_str(), u.transport.as_deref()), (driver, transport), "{text}");
        assert_eq!((u.host.as_str(), u.path.as_str()), (host, path), "{text}");
        assert_eq!(u.name(), name, "{text}");
    }

    #[test]
    fn forms() {
        check("qemu:///system", "qemu", None, "", "/system", "qemu:///system");
        let socket = "qemu+unix:///session?socket=/p/s&mode=direct";
        check(socket, "qemu", Some("unix"), "", "/session", "qemu:///session");
        check("remote+unix:///?socket=/p/s", "remote", Some("unix"), "", "/", "");
        check(
            "test+unix:///default?socket=/s",
            "test",
            Some("unix"),
            "",
            "/default",
            "test:///default",
        );
        check(
            "qemu+ssh://me@h:22/system?x=a%20b",
            "qemu",
            Some("ssh"),
            "h",
            "/system",
            "qemu:///system?x=a%20b",
        );
        check(
            "qemu+tcp://[::1]:16509/system",
            "qemu",
            Some("tcp"),
            "::1",
            "/system",
            "qemu:///system",
        );
        check("remote:///?name=xen:///x", "remote", None, "", "/", "xen:///x");
    }

    #[test]
    fn user_and_port() {
        let u = ConnUri::parse("qemu+ssh://a%40b@host:2222/system").unwrap();
        assert_eq!((u.user.as_deref(), u.port), (Some("a@b"), Some(2222)));
    }

    #[test]
    fn malformed() {
        for bad in [
            "",
            "::::",
            "qemu",
            "1x:///",
            "qemu://h:port/",
            "qemu:///%zz",
            "qemu:///a%0",
            "qemu://[::1/x",
        ] {
            let e = ConnUri::parse(bad).unwrap_err();
            assert_eq!(e.detail, format!("Unable to parse URI {bad}"));
        }
    }
}
