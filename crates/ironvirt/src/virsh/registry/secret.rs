//! The commands of the group "secret".

use super::{Command, Complete, Group, Opt, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Secret", keyword: "secret", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "secret-define",
        help: "define or modify a secret from an XML file",
        desc: Some("Define or modify a secret."),
        opts: &[
            Opt::str("file", "file containing secret attributes in XML")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_secret_define,
        flags: 0,
    },
    Command {
        name: "secret-dumpxml",
        help: "secret attributes in XML",
        desc: Some("Output attributes of a secret as an XML dump to stdout."),
        opts: &[
            Opt::str("secret", "secret UUID").required().positional().complete(Complete::Secret),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_secret_dumpxml,
        flags: 0,
    },
    Command {
        name: "secret-event",
        help: "Secret Events",
        desc: Some("List event types, or wait for secret events to occur"),
        opts: &[
            Opt::str("secret", "filter by secret name or uuid").loose().complete(Complete::Secret),
            Opt::str("event", "which event type to wait for")
                .loose()
                .complete(Complete::Words(words::SECRET_EVENTS)),
            Opt::flag("loop", "loop until timeout or interrupt, rather than one-shot"),
            Opt::int("timeout", "timeout seconds").loose(),
            Opt::flag("list", "list valid event types"),
            Opt::flag("timestamp", "show timestamp for each printed event"),
        ],
        run: cmd_secret_event,
        flags: 0,
    },
    Command {
        name: "secret-get-value",
        help: "Output a secret value",
        desc: Some("Output a secret value to stdout."),
        opts: &[
            Opt::str("secret", "secret UUID").required().positional().complete(Complete::Secret),
            Opt::flag("plain", "get value without converting to base64"),
        ],
        run: cmd_secret_get_value,
        flags: 0,
    },
    Command {
        name: "secret-list",
        help: "list secrets",
        desc: Some("Returns a list of secrets"),
        opts: &[
            Opt::flag("ephemeral", "list ephemeral secrets"),
            Opt::flag("no-ephemeral", "list non-ephemeral secrets"),
            Opt::flag("private", "list private secrets"),
            Opt::flag("no-private", "list non-private secrets"),
        ],
        run: cmd_secret_list,
        flags: 0,
    },
    Command {
        name: "secret-set-value",
        help: "set a secret value",
        desc: Some("Set a secret value."),
        opts: &[
            Opt::str("secret", "secret UUID").required().positional().complete(Complete::Secret),
            Opt::str("file", "read secret from file").complete(Complete::File),
            Opt::flag("plain", "read the secret from file without converting from base64"),
            Opt::flag("interactive", "read the secret from the terminal"),
            Opt::str("base64", "base64-encoded secret value").loose().complete(Complete::Nothing),
        ],
        run: cmd_secret_set_value,
        flags: 0,
    },
    Command {
        name: "secret-undefine",
        help: "undefine a secret",
        desc: Some("Undefine a secret."),
        opts: &[Opt::str("secret", "secret UUID")
            .required()
            .positional()
            .complete(Complete::Secret)],
        run: cmd_secret_undefine,
        flags: 0,
    },
];
