//! The commands of the group "filter".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Network Filter", keyword: "filter", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
