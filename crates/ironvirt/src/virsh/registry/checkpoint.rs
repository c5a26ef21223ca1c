//! The commands of the group "checkpoint".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Checkpoint", keyword: "checkpoint", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
