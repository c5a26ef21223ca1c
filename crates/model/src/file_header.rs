//! What stands at the head of every file the daemon writes.

/// The comment that says who wrote a file and how to change it: with virsh's `edit_command` (`edit`,
/// `pool-edit`) for the object `name`. Two hyphens in a name are set apart: they must not stand in a
/// comment.
pub fn file_header(edit_command: &str, name: &str) -> String {
    format!(
        "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\nOVERWRITTEN \
         AND LOST. Changes to this xml configuration should be made using:\n  virsh {edit_command} {}\n\
         or other application using the libvirt API.\n-->\n\n",
        name.replace("--", "- -")
    )
}
