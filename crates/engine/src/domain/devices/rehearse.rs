//! What the coming, leaving or changing of a device would do: the plans, told instead of done.

use super::attach::Live;
use super::detach::Wanted;
use super::plug::Coming;
use crate::domain::affect::Affect;
use crate::domain::record::Domain;
use crate::domain::rehearse::Line;
use crate::engine::Engine;
use diag::VirError;
use model::domain::hotplug::update::{Change, Updated};
use plan::qemu::InUse;
use plan::{PlugPlan, PortVlans, Traffic, UnplugPlan};

impl Engine {
    /// What a verb would do to a device of the running guest; none for a verb that is not known.
    /// Waits for disks: call where blocking is allowed.
    ///
    /// # Errors
    /// Those of the verb itself, before it touches anything.
    pub(in crate::domain) fn rehearse_device(
        &self,
        domain: &Domain,
        verb: &str,
        subject: &str,
        affect: Affect,
    ) -> Result<Option<Vec<Line>>, VirError> {
        Ok(Some(match verb {
            "attach-device" => match self.prepare_attach(domain, subject, affect)?.live {
                Some(Live::Device(coming)) => self.rehearse_coming(*coming)?,
                Some(Live::Medium(updated)) => rehearse_change(&updated),
                None => Vec::new(),
            },
            "detach-device" | "detach-device-alias" => {
                let wanted = match verb {
                    "detach-device" => Wanted::Document(subject.to_owned()),
                    _ => Wanted::Alias(subject.to_owned()),
                };
                let live = self.prepare_detach(domain, &wanted, affect)?.live;
                live.map(|(_, plan)| rehearse_leaving(&plan)).unwrap_or_default()
            }
            "update-device" => {
                let live = self.prepare_update(domain, subject, affect)?.live;
                live.as_ref().map(rehearse_change).unwrap_or_default()
            }
            _ => return Ok(None),
        }))
    }

    fn rehearse_coming(&self, coming: Coming) -> Result<Vec<Line>, VirError> {
        let mut planned = coming.first;
        let mut lines = told(&planned.plan);
        for place in coming.places.into_iter().skip(1) {
            let in_use = InUse { last_node: planned.plan.last_node, first_fdset: 0 };
            planned = self.plan_plug(planned.definition, place, in_use)?;
            lines.extend(told(&planned.plan));
        }
        let seen = planned.plan.commands.iter().any(|command| command.name == "device_add");
        let words = if seen { "sees a device come" } else { "notices nothing" };
        lines.push(Line::guest(words));
        Ok(lines)
    }
}

fn told(plan: &PlugPlan) -> Vec<Line> {
    let steps = plan.steps.iter().map(|step| Line::host(&step.action));
    let commands = plan
        .commands
        .iter()
        .map(|command| Line::qemu(format!("{} {}", command.name, command.arguments)));
    steps.chain(commands).chain(plan.after.iter().map(Line::qemu)).collect()
}

fn rehearse_leaving(plan: &UnplugPlan) -> Vec<Line> {
    let mut lines = Vec::new();
    match &plan.device {
        Some(name) => {
            lines.push(Line::qemu(format!("device_del {name}")));
            lines.push(Line::guest("is asked to let it go, and may keep it"));
        }
        None => lines.push(Line::guest("notices nothing")),
    }
    lines.extend(plan.after.iter().map(Line::qemu));
    lines.extend(plan.undo.iter().map(Line::host));
    lines
}

fn rehearse_change(updated: &Updated) -> Vec<Line> {
    let mut lines = Vec::new();
    for change in &updated.changes {
        lines.extend(match change {
            Change::Password { protocol, .. } => {
                [Line::qemu(format!("another password for {protocol}")), unseen()]
            }
            Change::Medium => [
                Line::qemu("open the tray, exchange the medium, close the tray"),
                Line::guest("sees another medium; it may have locked the drive"),
            ],
            Change::Link { up } => {
                let (state, what) = if *up { ("up", "plugged in") } else { ("down", "pulled") };
                [
                    Line::qemu(format!("set the link {state}")),
                    Line::guest(format!("sees its cable {what}")),
                ]
            }
            Change::Bridge { port, from, to } => {
                [Line::host(format!("move {port} from bridge {from} to {to}")), unseen()]
            }
            Change::Bandwidth { device, kind, to, .. } => {
                let limits = Traffic::of(*kind, to.as_deref()).unwrap_or_default();
                [Line::host(format!("limit {device}: {limits}")), unseen()]
            }
            Change::Vlan { device, to, .. } => {
                let vlans = to.as_ref().map(PortVlans::of).unwrap_or_default();
                [Line::host(format!("vlan of {device}: {vlans}")), unseen()]
            }
            Change::Coalesce { device, to, .. } => {
                let frames = plan::coalesced_frames(to.as_ref()).unwrap_or_default();
                [
                    Line::host(format!("{device} tells of at most {frames} frames at a time")),
                    unseen(),
                ]
            }
            Change::RequestedSize { bytes } => [
                Line::qemu(format!("requested-size {bytes}")),
                Line::guest("is asked to take or give memory"),
            ],
        });
    }
    if updated.changes.is_empty() {
        lines.push(unseen());
    }
    lines
}

fn unseen() -> Line {
    Line::guest("notices nothing")
}
