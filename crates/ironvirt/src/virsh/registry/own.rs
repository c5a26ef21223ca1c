//! Hidden commands: the completion call-back and the registry's own check.

use super::{Command, HIDDEN, NO_CONNECT, Opt};
use crate::virsh::session::cmd_self_test;
use crate::virsh::shell::cmd_complete;

/// Commands that `help` does not list.
pub static HIDDEN_COMMANDS: &[Command] = &[
    Command {
        name: "self-test",
        help: "internal command for testing virt shells",
        desc: Some("internal use only"),
        opts: &[
            Opt::flag(
                "completers-missing",
                "output the list of options which are missing completers",
            ),
            Opt::flag("dump-help", "output help for each command"),
        ],
        run: cmd_self_test,
        flags: NO_CONNECT | HIDDEN,
    },
    Command {
        name: "complete",
        help: "internal command for autocompletion",
        desc: Some("internal use only"),
        opts: &[Opt::argv("string", "partial string to autocomplete").positional().empty_ok()],
        run: cmd_complete,
        flags: NO_CONNECT | HIDDEN,
    },
];
