//! The commands of the group "snapshot".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Snapshot", keyword: "snapshot", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
