//! The commands of the group "virsh".

use super::{Command, Complete, Group, NO_CONNECT, Opt};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Virsh itself", keyword: "virsh", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "cd",
        help: "change the current directory",
        desc: Some("Change the current directory."),
        opts: &[Opt::str("dir", "directory to switch to (default: home or else root)")
            .positional()
            .empty_ok()
            .complete(Complete::File)],
        run: cmd_cd,
        flags: NO_CONNECT,
    },
    Command {
        name: "echo",
        help: "echo arguments. Used for internal testing.",
        desc: Some("Echo back arguments, possibly with quoting. Used for internal testing."),
        opts: &[
            Opt::flag("shell", "escape for shell use"),
            Opt::flag("xml", "escape for XML use"),
            Opt::flag("split", "split each argument on ','; ',,' is an escape sequence"),
            Opt::flag("err", "output to stderr"),
            Opt::str("prefix", "prefix the message"),
            Opt::argv("string", "arguments to echo").positional(),
        ],
        run: cmd_echo,
        flags: NO_CONNECT,
    },
    Command {
        name: "exit",
        help: "quit this interactive terminal",
        desc: None,
        opts: &[],
        run: cmd_quit,
        flags: NO_CONNECT,
    },
    Command {
        name: "help",
        help: "print help",
        desc: Some(
            "Prints global help, command specific help, or help for a\n    group of related commands",
        ),
        opts: &[Opt::str(
            "command",
            "Prints global help, command specific help, or help for a group of related commands",
        )
        .positional()
        .empty_ok()
        .complete(Complete::Command)],
        run: cmd_help,
        flags: NO_CONNECT,
    },
    Command {
        name: "pwd",
        help: "print the current directory",
        desc: Some("Print the current directory."),
        opts: &[],
        run: cmd_pwd,
        flags: NO_CONNECT,
    },
    Command {
        name: "quit",
        help: "quit this interactive terminal",
        desc: None,
        opts: &[],
        run: cmd_quit,
        flags: NO_CONNECT,
    },
    Command {
        name: "connect",
        help: "(re)connect to hypervisor",
        desc: Some("Connect to local hypervisor. This is built-in command after shell start up."),
        opts: &[
            Opt::str("name", "hypervisor connection URI").positional().complete(Complete::Nothing),
            Opt::flag("readonly", "read-only connection"),
        ],
        run: cmd_connect,
        flags: NO_CONNECT,
    },
];
