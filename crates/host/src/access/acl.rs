//! POSIX access control lists, as the attribute `system.posix_acl_access` holds them (the format of
//! linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id, little-endian).

use super::Identity;

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What an identity may do by an access control list: bits as in a mode (4 read, 2 write, 1
/// search). `None` when the bytes are no list.
pub(super) fn allowed(acl: &[u8], owner: (u32, u32), who: &Identity, want: u16) -> Option<bool> {
    let (version, entries) = acl.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let entries: Vec<(u16, u16, u32)> = entries
        .chunks_exact(8)
        .filter_map(|e| {
            let [a, b, c, d, e, f, g, h] = *e.first_chunk()?;
            Some((
                u16::from_le_bytes([a, b]),
                u16::from_le_bytes([c, d]),
                u32::from_le_bytes([e, f, g, h]),
            ))
        })
        .collect();
    let of = |tag: u16| entries.iter().find(|e| e.0 == tag).map(|e| e.1);
    let covers = |bits: u16| bits & want == want;
    let mask = of(MASK).unwrap_or(7);
    // The order of the kernel: owner, named user, any matching group, others.
    if who.uid == owner.0 {
        return of(USER_OBJ).map(covers);
    }
    if let Some(entry) = entries.iter().find(|e| e.0 == USER && e.2 == who.uid) {
        return Some(covers(entry.1 & mask));
    }
    let matching: Vec<u16> = entries
        .iter()
        .filter(|e| {
            (e.0 == GROUP_OBJ && who.in_group(owner.1)) || (e.0 == GROUP && who.in_group(e.2))
        })
        .map(|e| e.1 & mask)
        .collect();
    if matching.is_empty() {
        return of(OTHER).map(covers);
    }
    Some(matching.into_iter().any(covers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = |entries: &[(u16, u16, u32)]| {
            let mut bytes = VERSION.to_le_bytes().to_vec();
            for (tag, perm, id) in entries {
                bytes.extend(tag.to_le_bytes());
                bytes.extend(perm.to_le_bytes());
                bytes.extend(id.to_le_bytes());
            }
            bytes
        };
        let acl = list(&[
            (USER_OBJ, 7, !0),
            (USER, 1, 50),
            (GROUP_OBJ, 0, !0),
            (GROUP, 7, 60),
            (MASK, 5, !0),
            (OTHER, 0, !0),
        ]);
        let check = |uid, gid, want, expected| {
            let who = Identity { uid, gid, groups: vec![] };
            assert_eq!(allowed(&acl, (0, 0), &who, want), Some(expected), "{uid}:{gid} {want}");
        };
        check(0, 9, 7, true);
        check(50, 9, 1, true);
        check(50, 60, 4, false);
        check(9, 60, 5, true);
        check(9, 60, 2, false);
        check(9, 0, 1, false);
        check(9, 9, 1, false);
        assert_eq!(allowed(b"xx", (0, 0), &Identity { uid: 1, gid: 1, groups: vec![] }, 1), None);
        assert_eq!(
            allowed(&acl[..9], (0, 0), &Identity { uid: 1, gid: 1, groups: vec![] }, 1),
            None
        );
    }
}
