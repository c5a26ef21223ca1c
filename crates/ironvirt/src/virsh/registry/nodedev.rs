//! The commands of the group "nodedev".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Node Device", keyword: "nodedev", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
