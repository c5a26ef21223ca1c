//! Limits that disks share by name (`<throttlegroups>`, `virsh domthrottlegroupset`).

use super::super::power::execute;
use super::super::record::Domain;
use super::LiveSide;
use super::disk_limits::{fault, kinds, numbers};
use crate::domain::hardware::block::disks;
use crate::engine::Engine;
use crate::events::DomainEvent;
use crate::typed::{Params, Value, validate};
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::tune::ThrottleGroup;
use plan::io_limits::IoLimits;
use qmp::cmd;
use std::sync::Arc;

impl Engine {
    /// Makes a throttle group, or sets limits of one that is there.
    ///
    /// # Errors
    /// Limits that cannot be together, QEMU's refusal, and those of the flags.
    pub async fn set_throttle_group(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        name: String,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, &kinds())?;
        let (job, affect) = self.job_for(domain, flags, "domthrottlegroupset", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            if let Some(config) = &mut sides.config {
                let limits = changed(config, &name, &params)?;
                set(config, &limits);
            }
            let mut before = None;
            if let Some(live) = &mut sides.live {
                let limits = changed(&live.definition, &name, &params)?;
                limits.check_bursts().map_err(fault)?;
                let old = group(&live.definition, &name).map(IoLimits::of_group);
                write(live, &name, old.is_some(), &limits).await?;
                before = Some(old);
                set(&mut live.definition, &limits);
            }
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some(vm), Some(old)) = (&kept, &vm, &before) {
                let undone = match old {
                    Some(old) => {
                        execute(vm, cmd::qom_set(&path(&name), "limits", old.group_limits())).await
                    }
                    None => execute(vm, cmd::object_del(&object(&name))).await,
                };
                if let Err(error) = undone {
                    tracing::warn!(%error, group = name, "limits were not taken back");
                }
            }
            kept?;
            if vm.is_some() {
                let own = ("blkdeviotune.group_name".to_owned(), Value::Text(name));
                let mut told = vec![own.clone()];
                told.extend(super::told("blkdeviotune", &params));
                // libvirt names it at both ends.
                told.push(own);
                engine.tell(&domain, DomainEvent::Tunable { params: told });
            }
            Ok(())
        })
        .await
    }

    /// Removes a throttle group.
    ///
    /// # Errors
    /// When a disk uses it; QEMU's refusal, and those of the flags.
    pub async fn delete_throttle_group(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        name: String,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (job, affect) = self.job_for(domain, flags, "domthrottlegroupdel", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            if let Some(config) = &mut sides.config {
                unused(config, &name)?;
                remove(config, &name);
            }
            let mut before = None;
            if let Some(live) = &mut sides.live {
                unused(&live.definition, &name)?;
                execute(&live.vm, cmd::object_del(&object(&name))).await?;
                before = group(&live.definition, &name).map(IoLimits::of_group);
                remove(&mut live.definition, &name);
            }
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some(vm), Some(old)) = (&kept, &vm, &before)
                && let Err(error) = execute(vm, cmd::object_add(properties(&name, old))).await
            {
                tracing::warn!(%error, group = name, "the group was not made again");
            }
            kept
        })
        .await
    }
}

fn object(name: &str) -> String {
    format!("throttle-{name}")
}

fn path(name: &str) -> String {
    format!("/objects/{}", object(name))
}

fn properties(name: &str, limits: &IoLimits) -> serde_json::Map<String, qmp::Value> {
    let mut properties = serde_json::Map::new();
    properties.insert("qom-type".to_owned(), "throttle-group".into());
    properties.insert("id".to_owned(), object(name).into());
    properties.insert("limits".to_owned(), limits.group_limits());
    properties
}

async fn write(
    live: &LiveSide,
    name: &str,
    there: bool,
    limits: &IoLimits,
) -> Result<(), VirError> {
    let command = if there {
        cmd::qom_set(&path(name), "limits", limits.group_limits())
    } else {
        cmd::object_add(properties(name, limits))
    };
    execute(&live.vm, command).await.map(|_| ())
}

fn group<'a>(definition: &'a Definition, name: &str) -> Option<&'a ThrottleGroup> {
    let groups = definition.throttle_groups.iter().flat_map(|groups| &groups.groups);
    groups.into_iter().find(|group| group.group_name.as_deref() == Some(name))
}

fn changed(
    definition: &Definition,
    name: &str,
    params: &[(String, Value)],
) -> Result<IoLimits, VirError> {
    let old = group(definition, name).map(IoLimits::of_group).unwrap_or_default();
    let mut limits = old.changed(&numbers(params)).map_err(fault)?;
    limits.group = Some(name.to_owned());
    Ok(limits)
}

fn set(definition: &mut Definition, limits: &IoLimits) {
    let groups = &mut definition.throttle_groups.get_or_insert_default().groups;
    let new = limits.to_group();
    match groups.iter_mut().find(|group| group.group_name == new.group_name) {
        Some(group) => *group = new,
        None => groups.push(new),
    }
}

fn remove(definition: &mut Definition, name: &str) {
    if let Some(groups) = &mut definition.throttle_groups {
        groups.groups.retain(|group| group.group_name.as_deref() != Some(name));
        if groups.groups.is_empty() {
            definition.throttle_groups = None;
        }
    }
}

fn unused(definition: &Definition, name: &str) -> Result<(), VirError> {
    let uses = |filters: &model::domain::devices::disk::ThrottleFilters| {
        filters.filters.iter().any(|filter| filter.group == name)
    };
    match disks(definition).iter().find(|disk| disk.throttlefilters.as_ref().is_some_and(uses)) {
        Some(disk) => Err(VirError::invalid_arg(format!(
            "throttle group '{name}' is still being used by disk {}",
            disk.target.dev
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_made_changed_and_removed() {
        let mut definition = Definition::default();
        let mut change = |pairs: &[(&str, u64)]| {
            let params: Params =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            let limits = changed(&definition, "g", &params).expect("fits");
            set(&mut definition, &limits);
        };
        change(&[("total_bytes_sec", 5)]);
        change(&[("read_iops_sec", 7)]);
        let made = group(&definition, "g").expect("made");
        assert_eq!((made.total_bytes_sec, made.read_iops_sec), (Some(5), Some(7)));
        remove(&mut definition, "other");
        assert!(definition.throttle_groups.is_some());
        remove(&mut definition, "g");
        assert_eq!(definition.throttle_groups, None);
    }
}
