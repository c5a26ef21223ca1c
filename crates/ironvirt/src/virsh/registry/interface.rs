//! The commands of the group "interface".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Interface", keyword: "interface", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
