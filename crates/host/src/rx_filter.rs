//! Which frames an interface takes: brought in line with what a guest wants of a macvtap, whose lower
//! device gives it nothing else.

use std::collections::BTreeSet;
use std::io;

/// What an interface takes beside frames for its own address and for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RxFilter {
    /// Frames for any address.
    pub promiscuous: bool,
    /// Frames for groups.
    pub multicast: bool,
    /// Frames for any group.
    pub all_multicast: bool,
    /// The groups.
    pub groups: BTreeSet<[u8; 6]>,
}

/// Brings an interface in line with `filter`; groups that the kernel listens to for itself stay.
///
/// # Errors
/// The first step that failed; the others were done.
pub fn apply(name: &str, filter: &RxFilter) -> io::Result<()> {
    let listed = std::fs::read_to_string("/proc/self/net/dev_mcast")?;
    let there = groups_of(&listed, name);
    let mut steps = vec![
        host_sys::set_interface_promiscuous(name, filter.promiscuous),
        host_sys::set_interface_multicast(name, filter.multicast),
        host_sys::set_interface_all_multicast(name, filter.all_multicast),
    ];
    for group in there.difference(&filter.groups) {
        steps.push(host_sys::set_interface_group(name, *group, false));
    }
    for group in filter.groups.difference(&there) {
        steps.push(host_sys::set_interface_group(name, *group, true));
    }
    steps.into_iter().collect()
}

/// The groups that somebody added to an interface by hand, from the kernel's list: number, name,
/// users, whether it was added so, group.
fn groups_of(listed: &str, name: &str) -> BTreeSet<[u8; 6]> {
    let group = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (_, device, _, by_hand, group) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        (device == name && by_hand != "0").then(|| address(group)).flatten()
    };
    listed.lines().filter_map(group).collect()
}

/// Twelve hexadecimal digits.
fn address(text: &str) -> Option<[u8; 6]> {
    if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 6];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_added_by_hand() {
        let listed = "2    eth0            1     0     333300000001\n\
                      5    macvtap0        1     0     333300000001\n\
                      5    macvtap0        2     1     3333000000aa\n\
                      5    macvtap0        2     1     3333000000\n\
                      5    macvtap0        2     1     3333000000\u{e4}\n\
                      6    macvtap01       2     1     3333000000bb\nodd\n";
        let expected = BTreeSet::from([[0x33, 0x33, 0, 0, 0, 0xaa]]);
        assert_eq!(groups_of(listed, "macvtap0"), expected);
        assert_eq!(groups_of(listed, "eth0"), BTreeSet::new());
    }
}
