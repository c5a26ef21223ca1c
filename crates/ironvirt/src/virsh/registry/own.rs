//! Hidden commands: the completion call-back.

use super::{Command, HIDDEN, NO_CONNECT, Opt};
use crate::virsh::shell::cmd_complete;

/// Commands that `help` does not list.
pub static HIDDEN_COMMANDS: &[Command] = &[Command {
    name: "complete",
    help: "internal command for autocompletion",
    desc: Some("internal use only"),
    opts: &[Opt::argv("string", "partial string to autocomplete").positional().empty_ok()],
    run: cmd_complete,
    flags: NO_CONNECT | HIDDEN,
}];
