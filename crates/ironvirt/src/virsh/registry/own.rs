//! Commands that virsh does not have, and the hidden ones.

use super::{Command, Complete, Group, HIDDEN, NO_CONNECT, Opt};
use crate::virsh::document::cmd_xml;
use crate::virsh::guests::cmd_guests;
use crate::virsh::reasons::cmd_explain;
use crate::virsh::session::cmd_self_test;
use crate::virsh::shell::cmd_complete;
use crate::virsh::why::cmd_why;

/// Our own commands. `help` alone does not list them, as its lists are virsh's; `help ironvirt` and
/// `--help` do.
pub static GROUP: Group =
    Group { title: "Ironvirt's own", keyword: "ironvirt", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "explain",
        help: "why QEMU is started as it is",
        desc: Some(
            "Shows each argument, file and command of a start with the element of the definition\n    \
             that causes it (path and line), the rule, and the capabilities of the emulator that\n    \
             decided it. A domain is explained by its daemon; a file (- is standard input) here,\n    \
             with the emulator installed or with a recorded QMP conversation. Nothing is started.",
        ),
        opts: &[
            Opt::str("domain", "domain name, id or uuid, or a file")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::str("only", "show only what mentions this word"),
            Opt::str("capabilities", "file: a recorded QMP conversation of the emulator")
                .loose()
                .complete(Complete::File),
        ],
        run: cmd_explain,
        flags: NO_CONNECT,
    },
    Command {
        name: "guests",
        help: "start or stop all guests with their host",
        desc: Some(
            "stop saves or shuts down all running guests and notes which they were; start starts\n    \
             those; status tells what runs and what is noted. Settings are libvirt-guests':\n    \
             URIS, ON_BOOT, START_DELAY, ON_SHUTDOWN, PARALLEL_SHUTDOWN, SHUTDOWN_TIMEOUT,\n    \
             BYPASS_CACHE, SYNC_TIME, PERSISTENT_ONLY, in /etc/default/libvirt-guests or\n    \
             /etc/sysconfig/libvirt-guests. Guests are stopped in the reverse order of their start.",
        ),
        opts: &[
            Opt::str("action", "start, stop or status")
                .required()
                .positional()
                .complete(Complete::Words(&["start", "stop", "status"])),
            Opt::str("config", "file with the settings").complete(Complete::File),
            Opt::str("note", "file that notes which guests ran").complete(Complete::File),
        ],
        run: cmd_guests,
        flags: NO_CONNECT,
    },
    Command {
        name: "why",
        help: "why a domain does not start, run or answer",
        desc: Some(
            "Of a domain that is off: what a start would meet (files, permissions, ports,\n    \
             bridges, other guests, memory), all of it, without starting anything. Of one that\n    \
             is there: why it is paused or does not answer. Each with what to do about it.",
        ),
        opts: &[Opt::str("domain", "domain name, id or uuid")
            .required()
            .positional()
            .complete(Complete::Domain(0))],
        run: cmd_why,
        flags: 0,
    },
    Command {
        name: "xml",
        help: "check XML documents, or compare two",
        desc: Some(
            "check FILE... shows all that is wrong with documents of any kind of object.\n    \
         diff A B shows how two differ; A or B may be a domain. For domains it says of\n    \
         each difference whether a running guest could take it: live, next start, never.\n    \
         Exit status of diff: 0 when they are equal, 1 when they differ, 2 on trouble.\n    \
         A file named - is standard input. No daemon is asked, but for a domain's XML.",
        ),
        opts: &[
            Opt::str("action", "check or diff")
                .required()
                .positional()
                .complete(Complete::Words(&["check", "diff"])),
            Opt::flag("strict", "check: content that would be left out is an error"),
            Opt::argv("file", "files to read").positional().complete(Complete::File),
        ],
        run: cmd_xml,
        flags: NO_CONNECT,
    },
];

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
