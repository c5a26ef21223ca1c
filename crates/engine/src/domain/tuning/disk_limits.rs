//! Limits of a disk's input and output (`virsh blkdeviotune`).

use super::super::affect::acquire;
use super::super::power::execute;
use super::super::record::Domain;
use super::super::view::source_path;
use super::LiveSide;
use crate::domain::hardware::block::disks;
use crate::engine::Engine;
use crate::events::DomainEvent;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorCode, VirError};
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, StorageType};
use plan::io_limits::{IoLimits, IoLimitsFault, LARGEST};
use qmp::{Ack, Command, cmd};
use std::sync::Arc;

impl Engine {
    /// How many limits of a disk there are to ask for.
    pub const IO_LIMITS: usize = plan::io_limits::COUNT + 1;

    /// Refuses a disk whose limits cannot be asked for.
    ///
    /// # Errors
    /// When there is no such side or disk.
    pub fn check_io_limits(
        &self,
        domain: &Domain,
        disk: Option<&str>,
        flags: u32,
    ) -> Result<(), VirError> {
        self.with_side(domain, flags, |definition, live| {
            disk.map_or(Ok(()), |name| find(definition, name, live).map(|_| ()))
        })
    }

    /// The limits of a disk: what QEMU holds for a running guest, what the definition says
    /// otherwise.
    ///
    /// # Errors
    /// When there is no such side or disk.
    pub async fn io_limits(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        disk: &str,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<Params, VirError> {
        let (limits, id) = self.with_side(domain, flags, |definition, live| {
            let disk = with_medium(find(definition, disk, live)?, live)?;
            let limits = disk.iotune.as_deref().map(IoLimits::of_disk).unwrap_or_default();
            Ok((limits, if live { plan::qemu::drive_id(disk) } else { None }))
        })?;
        let Some(id) = id else { return Ok(listed(&limits)) };
        let job = acquire(domain, Request::QueryLive, "blkdeviotune", client).await?;
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let vm = super::running(&domain)?;
            let drives = execute(&vm, cmd::query_block()).await?;
            let name = |key: &str, drive: &qmp::Value| {
                drive.get(key).and_then(qmp::Value::as_str) == Some(&id)
            };
            let drive = drives.iter().find(|drive| name("qdev", drive) || name("device", drive));
            let inserted = drive.and_then(|drive| drive.get("inserted"));
            let inserted = inserted.ok_or_else(|| {
                VirError::internal(format!("cannot find throttling info for device '{id}'"))
            })?;
            Ok(listed(&IoLimits::from_query(inserted)))
        })
        .await
    }

    /// Sets limits of a disk. Families that are not mentioned stay as they are.
    ///
    /// # Errors
    /// Limits that cannot be together, QEMU's refusal, and those of the flags.
    pub async fn set_io_limits(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        disk: String,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, &kinds())?;
        let (job, affect) = self.job_for(domain, flags, "blkdeviotune", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            if let Some(config) = &mut sides.config {
                let limits = changed(config, find(config, &disk, false)?, &params)?;
                set(config, &disk, &limits);
            }
            let mut before = None;
            if let Some(live) = &mut sides.live {
                let old = with_medium(find(&live.definition, &disk, true)?, true)?.clone();
                let limits = changed(&live.definition, &old, &params)?;
                limits.check_bursts().map_err(fault)?;
                throttle(live, &old, &limits).await?;
                before = Some(old);
                set(&mut live.definition, &disk, &limits);
            }
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            let kept = engine.keep(&domain, sides).await;
            if let (Err(error), Some(vm), Some(old)) = (&kept, &vm, &before) {
                let limits = old.iotune.as_deref().map(IoLimits::of_disk).unwrap_or_default();
                if let Err(undo) = execute(vm, command(old, &limits)).await {
                    tracing::warn!(%error, %undo, disk, "limits were not taken back");
                }
            }
            kept?;
            if vm.is_some() {
                let mut told = vec![("blkdeviotune.disk".to_owned(), Value::Text(disk))];
                told.extend(super::told("blkdeviotune", &params));
                engine.tell(&domain, DomainEvent::Tunable { params: told });
            }
            Ok(())
        })
        .await
    }
}

/// The parameters there are: numbers, and the name of a group.
pub(super) fn kinds() -> Vec<(&'static str, Kind)> {
    let numbers = IoLimits::names().map(|name| (name, Kind::ULLong));
    numbers.chain(std::iter::once(("group_name", Kind::Text))).collect()
}

/// The numbers among the parameters.
pub(super) fn numbers(params: &[(String, Value)]) -> Vec<(String, u64)> {
    params.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}

/// In libvirt's words.
pub(super) fn fault(fault: IoLimitsFault) -> VirError {
    match fault {
        IoLimitsFault::Both(what) => VirError::invalid_arg(format!(
            "total and read/write of {what} cannot be set at the same time"
        )),
        IoLimitsFault::TooLarge => VirError::new(
            ErrorCode::ARGUMENT_UNSUPPORTED,
            format!("block I/O throttle limit value must be no more than {LARGEST}"),
        ),
        IoLimitsFault::BurstOnly(limit, burst) => {
            VirError::config(format!("cannot reset '{limit}' when '{burst}' is set"))
        }
        IoLimitsFault::BurstLess(limit, burst) => {
            VirError::config(format!("value '{burst}' cannot be smaller than '{limit}'"))
        }
    }
}

/// The same disk, unless it is an empty drive of a running guest: QEMU limits media.
fn with_medium(disk: &Disk, live: bool) -> Result<&Disk, VirError> {
    match live && disk.source.is_none() {
        true => Err(VirError::invalid_arg(format!(
            "disk '{}' does not currently have a source assigned",
            disk.target.dev
        ))),
        false => Ok(disk),
    }
}

/// The disk whose target or source is `name`, if its limits are its own.
fn find<'a>(definition: &'a Definition, name: &str, live: bool) -> Result<&'a Disk, VirError> {
    let found = disks(definition)
        .iter()
        .find(|disk| disk.target.dev == name || source_path(disk) == Some(name))
        .ok_or_else(|| {
            let place =
                if live { "not found in domain" } else { "was not found in the domain config" };
            VirError::invalid_arg(format!("disk '{name}' {place}"))
        })?;
    if found.kind == StorageType::Vhostuser {
        let text = format!("block I/O throttling is not supported for disk '{name}'");
        return Err(VirError::config(text));
    }
    if found.throttlefilters.as_ref().is_some_and(|filters| !filters.filters.is_empty()) {
        return Err(VirError::config(format!(
            "block 'iotune' can't be used together with 'throttlefilters' for disk '{name}'"
        )));
    }
    Ok(found)
}

/// The limits of a disk after a change. Who joins a group takes up the limits that it has; a change
/// then is one of the whole group.
fn changed(
    definition: &Definition,
    disk: &Disk,
    params: &[(String, Value)],
) -> Result<IoLimits, VirError> {
    let limits_of = |disk: &Disk| disk.iotune.as_deref().map(IoLimits::of_disk).unwrap_or_default();
    let own = limits_of(disk);
    let named = params.iter().find_map(|(name, value)| match value {
        Value::Text(group) if name == "group_name" => Some(group),
        _ => None,
    });
    let Some(name) = named else { return own.changed(&numbers(params)).map_err(fault) };
    let joined = Some(name.as_str()).filter(|name| own.group.as_deref() != Some(name));
    let of_group = joined.and_then(|name| {
        disks(definition).iter().map(limits_of).find(|limits| limits.group.as_deref() == Some(name))
    });
    let mut limits = of_group.unwrap_or(own).changed(&numbers(params)).map_err(fault)?;
    limits.group = Some(name.clone()).filter(|name| !name.is_empty());
    if limits.group.is_some() && limits.is_empty() {
        return Err(VirError::config(
            "creating a new group/updating existing with all tune parameters zero is not supported",
        ));
    }
    Ok(limits)
}

/// Gives the disk its limits, and with them those that share its group.
fn set(definition: &mut Definition, name: &str, limits: &IoLimits) {
    for disk in &mut definition.devices_mut().disks {
        let group = disk.iotune.as_ref().and_then(|tune| tune.group_name.as_deref());
        let shares = group.is_some() && group == limits.group.as_deref();
        if shares || disk.target.dev == name || source_path(disk) == Some(name) {
            disk.iotune = limits.to_disk().map(Box::new);
        }
    }
}

fn command(disk: &Disk, limits: &IoLimits) -> Command<Ack> {
    let id = plan::qemu::drive_id(disk).unwrap_or_default();
    let mut command = Command::new("block_set_io_throttle");
    for (key, value) in limits.drive_arguments(&id) {
        command = command.arg(&key, value);
    }
    command
}

async fn throttle(live: &LiveSide, disk: &Disk, limits: &IoLimits) -> Result<(), VirError> {
    execute(&live.vm, command(disk, limits)).await.map(|_| ())
}

/// In libvirt's order: the group's name stands before the lengths of bursts.
fn listed(limits: &IoLimits) -> Params {
    let numbers = limits.numbers().iter().map(|number| Value::ULLong(*number));
    let mut params: Params = IoLimits::names().map(str::to_owned).zip(numbers).collect();
    let group = limits.group.clone().unwrap_or_default();
    params.insert(IoLimits::BEFORE_GROUP, ("group_name".to_owned(), group.into()));
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_a_group_takes_up_its_limits() {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
            <devices><disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/><iotune>\
            <read_iops_sec>100</read_iops_sec><group_name>g</group_name></iotune></disk>\
            <disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/><iotune>\
            <total_bytes_sec>5</total_bytes_sec></iotune></disk>\
            <disk type='file'><source file='/c'/><target dev='vdc' bus='virtio'/></disk>\
            </devices></domain>";
        let options = model::domain::ParseOptions { live: false };
        let definition = model::domain::parse(text, options).domain.expect("a definition");
        let group = |name: &str| ("group_name".to_owned(), Value::Text(name.to_owned()));
        let number = |name: &str, value| (name.to_owned(), Value::ULLong(value));
        // For each: the disk, what is changed, and its bytes, read and write requests then.
        for (disk, params, expected) in [
            (1, vec![group("g")], Some([0, 100, 0])),
            (1, vec![group("g"), number("write_iops_sec", 7)], Some([0, 0, 7])),
            (1, vec![group("new")], Some([5, 0, 0])),
            (2, vec![group("new")], None),
            (2, vec![group("g")], Some([0, 100, 0])),
            (0, vec![group("g"), number("read_iops_sec", 0)], None),
            (0, vec![number("read_iops_sec", 0)], Some([0, 0, 0])),
        ] {
            let changed = changed(&definition, &disks(&definition)[disk], &params).ok();
            let shown = changed.map(|limits| {
                let listed = listed(&limits);
                ["total_bytes_sec", "read_iops_sec", "write_iops_sec"].map(|wanted| {
                    let found = listed.iter().find(|(name, _)| name == wanted);
                    found.and_then(|(_, value)| value.as_u64()).expect("a number")
                })
            });
            assert_eq!(shown, expected, "{disk} {params:?}");
        }
    }

    #[test]
    fn the_group_stands_in_the_middle() {
        let params = listed(&IoLimits::default());
        assert_eq!(params.len(), Engine::IO_LIMITS);
        assert_eq!(params.iter().position(|(name, _)| name == "group_name"), Some(13));
    }
}
