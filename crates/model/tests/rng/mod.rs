//! Reads RELAX NG schemas as far as libvirt's need it, and makes documents from them: for every
//! element, attribute and word that a schema allows, a small document that has it.

mod exceptions;
mod expand;
mod grammar;
mod sample;
pub mod valid;

pub use exceptions::EXCEPTIONS;
pub use expand::{Expander, Node, Target};
pub use grammar::Grammar;

/// Where Debian's libvirt-common keeps the schemas.
pub const FOLDER: &str = "/usr/share/libvirt/schemas";

/// Whether the schemas are here; says so when they are not.
pub fn installed() -> bool {
    let there = std::path::Path::new(FOLDER).join("domain.rng").exists();
    if !there {
        println!("skipped: no RELAX NG schemas in {FOLDER} (Debian: libvirt-common)");
    }
    there
}
