//! Users and groups from `/etc/passwd` and `/etc/group`.
//!
//! The files are read directly: the system's look-up may ask the network and block, and the users
//! that matter here (QEMU's) are local ones.

use std::path::{Path, PathBuf};

use crate::files::read_bounded;

/// A user of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home folder.
    pub home: PathBuf,
}

/// A group of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Names of the members whose primary group it is not.
    pub members: Vec<String>,
}

/// The users and groups of one root folder, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

/// Larger files than this are not read.
const LIMIT: usize = 16 << 20;

impl Users {
    /// Reads `etc/passwd` and `etc/group` below `root`. A file that cannot be read counts as empty.
    pub fn load(root: &Path) -> Self {
        let text = |name: &str| {
            let bytes = read_bounded(&root.join(name), LIMIT).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self::parse(&text("etc/passwd"), &text("etc/group"))
    }

    /// From the texts of the two files; lines that do not fit are skipped.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(User { name, uid, gid, home: fields.nth(1)?.into() })
        });
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let gid = fields.nth(1)?.parse().ok()?;
            let members = fields.next()?.split(',').filter(|m| !m.is_empty()).map(str::to_owned);
            Some(Group { name, gid, members: members.collect() })
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// The user of a name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|u| u.name == name)
    }

    /// The user of an id.
    pub fn user_by_id(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|u| u.uid == uid)
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// The group of an id.
    pub fn group_by_id(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|g| g.gid == gid)
    }

    /// The user id of a name as qemu.conf takes it: a name, a number, or `+` and a number (which is
    /// never looked up as a name).
    pub fn resolve_uid(&self, text: &str) -> Option<u32> {
        resolve(text, |name| self.user(name).map(|u| u.uid))
    }

    /// The group id of a name as qemu.conf takes it.
    pub fn resolve_gid(&self, text: &str) -> Option<u32> {
        resolve(text, |name| self.group(name).map(|g| g.gid))
    }

    /// The supplementary groups of a process of this user whose group is `gid`: that group, the
    /// user's own and all that list the user, ascending. The user's own is often the only one that
    /// may open `/dev/kvm`.
    pub fn supplementary(&self, uid: u32, gid: u32) -> Vec<u32> {
        let user = self.user_by_id(uid);
        let member = |g: &&Group| user.is_some_and(|user| g.members.contains(&user.name));
        let listed = self.groups.iter().filter(member).map(|g| g.gid);
        let mut gids: Vec<u32> = listed.chain(user.map(|user| user.gid)).chain([gid]).collect();
        gids.sort_unstable();
        gids.dedup();
        gids
    }
}

fn resolve(text: &str, by_name: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let id = match text.strip_prefix('+') {
        Some(number) => number.parse().ok(),
        None => by_name(text).or_else(|| text.parse().ok()),
    };
    // The largest number means "unchanged" to the kernel.
    id.filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let users = Users::parse(
            "root:x:0:0:root:/root:/bin/sh\nbroken\nlibvirt-qemu:x:64055:993:Libvirt Qemu,,,:/var/lib/libvirt:/usr/sbin/nologin\n42:x:7:7::/:\n",
            "kvm:x:993:\nlibvirt-qemu:x:64055:libvirt-qemu\naudio:x:29:pulse,libvirt-qemu\nbad:x\n",
        );
        assert_eq!(users.user("root").unwrap().home, Path::new("/root"));
        assert_eq!(users.resolve_uid("libvirt-qemu"), Some(64055));
        assert_eq!(users.resolve_uid("42"), Some(7), "a name that looks like a number");
        assert_eq!(users.resolve_uid("+42"), Some(42));
        assert_eq!(users.resolve_uid("43"), Some(43));
        assert_eq!(users.resolve_uid("nobody"), None);
        assert_eq!(users.resolve_uid("+4294967295"), None);
        assert_eq!(users.resolve_gid("kvm"), Some(993));
        assert_eq!(users.supplementary(64055, 993), [29, 993, 64055]);
        // Debian's setting: a group of its own, while the user's is that of /dev/kvm.
        assert_eq!(users.supplementary(64055, 64055), [29, 993, 64055]);
        assert_eq!(users.supplementary(9999, 5), [5]);
    }
}
