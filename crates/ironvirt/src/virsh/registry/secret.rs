//! The commands of the group "secret".

use super::{Command, Group};

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Secret", keyword: "secret", commands: COMMANDS };

static COMMANDS: &[Command] = &[];
