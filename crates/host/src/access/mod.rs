//! Who may use a file: giving it to QEMU's user and back ([`claim`], [`release`]), and telling
//! beforehand what would keep that user out ([`rehearse`]).

mod acl;
mod hold;
mod owner;
mod rehearse;

pub use hold::{Expected, FileId, OpenMode, Place, hand_over, id_of, make_parents, open, place};
pub use owner::{AccessError, Claim, Owner, claim, claims, pass_on, release};
pub use rehearse::{Denial, DenialReason, Identity, Want, rehearse};
