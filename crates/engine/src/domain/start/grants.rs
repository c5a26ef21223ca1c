//! Ownership of disks and other files, lent to QEMU's user and given back.

use crate::domain::stored::store::os_words;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::access::{FileId, Identity, Owner, Want};
use plan::{Access, FileKind, Grant};
use std::path::Path;

/// Lends a file as a plan says and tells which one, or checks that QEMU's user can use it as it is.
///
/// # Errors
/// When the file is missing, its owner cannot be changed, or a folder above it keeps QEMU out.
/// Nothing was lent then.
pub(in crate::domain) fn grant(engine: &Engine, grant: &Grant) -> Result<Option<FileId>, VirError> {
    let path = Path::new(&grant.path);
    if let Err(error) = std::fs::metadata(path) {
        let words = os_words(&error);
        // libvirt's words for a missing image, and for what else a guest is lent.
        let (text, reporter) = match grant.kind {
            FileKind::Image => (
                format!("Cannot access storage file '{}': {words}", grant.path),
                ErrorDomain::STORAGE,
            ),
            FileKind::Random | FileKind::SharedFolder | FileKind::Variables | FileKind::Other => {
                (format!("Path '{}' is not accessible: {words}", grant.path), ErrorDomain::QEMU)
            }
        };
        return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text)
            .from_domain(reporter)
            .hint(format!("{} must exist before the guest can start", grant.why)));
    }
    let Some(owner) = grant.owner else { return reachable(engine, grant, false).map(|()| None) };
    // The folders above are looked at first, so that a refusal changes nothing.
    reachable(engine, grant, true)?;
    let owner = Owner { uid: owner.uid, gid: owner.gid };
    let claim = host::access::claim(path, owner, grant.restore).map_err(|error| {
        VirError::new(
            ErrorCode::SYSTEM_ERROR,
            format!(
                "unable to set user and group to '{}:{}' on '{}': {error}",
                owner.uid, owner.gid, grant.path
            ),
        )
    })?;
    Ok(Some(claim.file))
}

/// Walks the path as QEMU's user and names the folder (or file) that denies it.
pub(in crate::domain) fn reachable(
    engine: &Engine,
    grant: &Grant,
    owner_changes: bool,
) -> Result<(), VirError> {
    let Some(ids) = engine.settings.qemu.ids else { return Ok(()) };
    let who = Identity { uid: ids.uid, gid: ids.gid, groups: engine.groups_of(ids.uid, ids.gid) };
    let want = match (owner_changes, grant.access) {
        (true, _) => Want::Reach,
        (false, Access::Read) => Want::Read,
        (false, Access::ReadWrite) => Want::ReadWrite,
    };
    host::access::rehearse(Path::new(&grant.path), &who, want).map_err(|denial| {
        VirError::new(
            ErrorCode::SYSTEM_ERROR,
            format!(
                "Cannot access storage file '{}' (as uid:{}, gid:{}): Permission denied: {denial}",
                grant.path, ids.uid, ids.gid
            ),
        )
        .from_domain(ErrorDomain::STORAGE)
        .hint("give QEMU's user search permission on that directory, or move the file into a pool")
    })
}

/// Gives a file back to whom it belonged; to root where that is not to be written down
/// (`remember_owner = 0`).
///
/// # Errors
/// In words, when it cannot be, or is another file by now.
pub(in crate::domain) fn restore(
    engine: &Engine,
    path: &str,
    lent: Option<FileId>,
) -> Result<(), String> {
    let remembered = engine.settings.qemu.remember_owner || !engine.settings.qemu.privileged;
    let root = (!remembered).then_some(Owner { uid: 0, gid: 0 });
    host::access::release(Path::new(path), engine.guest_uid(), lent, root)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
