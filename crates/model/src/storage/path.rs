//! Paths as libvirt keeps them.

/// The path with repeated and trailing slashes removed. Exactly two slashes at the start stay, since
/// POSIX gives them a meaning of their own; `.` and `..` stay too, since links may be in between.
pub fn sanitize(path: &str) -> String {
    let leading = path.bytes().take_while(|c| *c == b'/').count();
    let mut out = String::with_capacity(path.len());
    match leading {
        0 => {}
        2 => out.push_str("//"),
        _ => out.push('/'),
    }
    let prefix = out.len();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if out.len() > prefix {
            out.push('/');
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn slashes() {
        for (path, expected) in [
            ("///var/////lib/libvirt/images//", "/var/lib/libvirt/images"),
            ("//a/", "//a"),
            ("///", "/"),
            ("/", "/"),
            ("rel//p/", "rel/p"),
            ("/a/./b/../c", "/a/./b/../c"),
            ("", ""),
        ] {
            assert_eq!(sanitize(path), expected, "{path}");
        }
    }
}
