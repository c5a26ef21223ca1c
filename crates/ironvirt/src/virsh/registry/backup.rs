//! The commands of the group "backup".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Backup", keyword: "backup", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
