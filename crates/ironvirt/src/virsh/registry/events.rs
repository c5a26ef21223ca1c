//! The commands of the group "events".

use super::{Command, Complete, Group, Opt, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Domain Events", keyword: "events", commands: COMMANDS };

static COMMANDS: &[Command] = &[Command {
    name: "event",
    help: "Domain Events",
    desc: Some("List event types, or wait for domain events to occur"),
    opts: &[
        Opt::str("domain", "filter by domain name, id or uuid")
            .loose()
            .complete(Complete::Domain(0)),
        Opt::str("event", "which event type to wait for")
            .loose()
            .complete(Complete::Words(words::DOMAIN_EVENTS)),
        Opt::flag("all", "wait for all events instead of just one type"),
        Opt::flag("loop", "loop until timeout or interrupt, rather than one-shot"),
        Opt::int("timeout", "timeout seconds").loose(),
        Opt::flag("list", "list valid event types"),
        Opt::flag("timestamp", "show timestamp for each printed event"),
    ],
    run: cmd_event,
    flags: 0,
}];
