//! The commands of the group "network".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Networking", keyword: "network", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
