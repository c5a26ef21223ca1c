//! Weights and limits of the host's block devices (`virsh blkiotune`).

use super::super::record::Domain;
use super::writes::Writes;
use crate::domain::start::limits::fault;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::VirError;
use host::cgroup::{Controller, Part};
use model::domain::Domain as Definition;
use model::domain::tune::{BlkioDevice, BlkioTune};
use plan::limits::Settings;
use std::sync::Arc;

const NOT_MOUNTED: &str = "blkio cgroup isn't mounted";

/// libvirt's names, in the order in which it gives them.
const KEYS: &[(&str, Kind)] = &[
    ("weight", Kind::UInt),
    ("device_weight", Kind::Text),
    ("device_read_iops_sec", Kind::Text),
    ("device_write_iops_sec", Kind::Text),
    ("device_read_bytes_sec", Kind::Text),
    ("device_write_bytes_sec", Kind::Text),
];

/// Values of devices by path, of one parameter.
type Devices = Vec<(String, u64)>;

impl Engine {
    /// How many parameters of block devices there are to ask for.
    pub const BLKIO_PARAMETERS: usize = KEYS.len();

    /// Weights and limits of block devices.
    ///
    /// # Errors
    /// When there is no such side, or the host lacks the controller.
    pub fn blkio_parameters(&self, domain: &Domain, flags: u32) -> Result<Params, VirError> {
        self.privileged("Block I/O tuning")?;
        let pid = domain.snapshot().live.as_ref().map(|live| live.pid);
        self.with_side(domain, flags, |definition, live| {
            let tune = definition.blkio_tune.clone().unwrap_or_default();
            let weight = match pid {
                Some(pid) if live => self.weight_of(pid)?,
                _ => tune.weight.unwrap_or(0),
            };
            let mut params: Params = vec![("weight".to_owned(), weight.into())];
            for (name, _) in KEYS.iter().skip(1) {
                let devices = tune.devices.iter().filter_map(|device| {
                    let value = field(device, name).filter(|value| *value > 0)?;
                    Some(format!("{},{value}", device.path))
                });
                let text = devices.collect::<Vec<_>>().join(",");
                params.push(((*name).to_owned(), text.into()));
            }
            Ok(params)
        })
    }

    fn weight_of(&self, pid: u32) -> Result<u32, VirError> {
        let (group, _) = self.group_of(pid, Controller::Blkio, NOT_MOUNTED)?;
        let files = ["blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"];
        let text = files
            .iter()
            .find_map(|file| group.get(Part::Machine, Controller::Blkio, file).ok())
            .unwrap_or_default();
        // Version 2 says "default 100", then the devices.
        let first = text.lines().next().unwrap_or_default();
        Ok(first.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0))
    }

    /// Sets weights and limits of block devices.
    ///
    /// # Errors
    /// Devices that are none, weights that this kernel does not have, and those of the flags.
    pub async fn set_blkio_parameters(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        self.privileged("Block I/O tuning")?;
        let (job, affect) = self.job_for(domain, flags, "blkiotune", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let mut writes = match &sides.live {
                Some(live) => Some(Writes::of(&engine, live, Controller::Blkio, NOT_MOUNTED)?),
                None => None,
            };
            for definition in sides.live.iter_mut().map(|live| &mut live.definition) {
                change(definition, &params)?;
            }
            if let Some(config) = &mut sides.config {
                change(config, &params)?;
            }
            if let Some(writes) = &mut writes {
                plan(writes, &params)?;
            }
            engine.keep_limits(&domain, sides, writes).await
        })
        .await
    }
}

fn field(device: &BlkioDevice, name: &str) -> Option<u64> {
    match name {
        "device_weight" => device.weight.map(u64::from),
        "device_read_iops_sec" => device.read_iops_sec.map(u64::from),
        "device_write_iops_sec" => device.write_iops_sec.map(u64::from),
        "device_read_bytes_sec" => device.read_bytes_sec,
        _ => device.write_bytes_sec,
    }
}

/// `PATH,VALUE,PATH,VALUE…`: values beyond what the parameter holds are none.
fn devices(name: &str, text: &str) -> Result<Devices, VirError> {
    let none = || VirError::invalid_arg(format!("unable to parse blkio device '{name}' '{text}'"));
    let mut words = text.split(',');
    let mut devices = Vec::new();
    if text.is_empty() {
        return Ok(devices);
    }
    while let Some(path) = words.next() {
        let value = words.next().ok_or_else(none)?;
        let bytes = name.ends_with("_bytes_sec");
        let number = value
            .parse::<u64>()
            .ok()
            .filter(|number| bytes || u32::try_from(*number).is_ok())
            .ok_or_else(|| {
                VirError::invalid_arg(format!(
                    "invalid value '{value}' for parameter '{name}' of device '{path}'"
                ))
            })?;
        devices.push((path.to_owned(), number));
    }
    Ok(devices)
}

fn change(definition: &mut Definition, params: &[(String, Value)]) -> Result<(), VirError> {
    let tune = definition.blkio_tune.get_or_insert_with(BlkioTune::default);
    for (name, value) in params {
        match value {
            Value::UInt(weight) => tune.weight = Some(*weight).filter(|weight| *weight > 0),
            Value::Text(text) => {
                for (path, number) in devices(name, text)? {
                    set(tune, name, path, number);
                }
            }
            _ => {}
        }
    }
    // A device without limits is none.
    tune.devices.retain(|device| {
        *device != BlkioDevice { path: device.path.clone(), ..BlkioDevice::default() }
    });
    if *tune == BlkioTune::default() {
        definition.blkio_tune = None;
    }
    Ok(())
}

fn set(tune: &mut BlkioTune, name: &str, path: String, number: u64) {
    let index = tune.devices.iter().position(|device| device.path == path);
    let index = index.unwrap_or_else(|| {
        tune.devices.push(BlkioDevice { path, ..BlkioDevice::default() });
        tune.devices.len() - 1
    });
    let Some(device) = tune.devices.get_mut(index) else { return };
    let number = (number > 0).then_some(number);
    let small = number.and_then(|number| u32::try_from(number).ok());
    match name {
        "device_weight" => device.weight = small,
        "device_read_iops_sec" => device.read_iops_sec = small,
        "device_write_iops_sec" => device.write_iops_sec = small,
        "device_read_bytes_sec" => device.read_bytes_sec = number,
        _ => device.write_bytes_sec = number,
    }
}

/// Plans what the kernel is to do.
fn plan(writes: &mut Writes, params: &[(String, Value)]) -> Result<(), VirError> {
    let v2 = writes.v2(Controller::Blkio);
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut lifted: Vec<(String, String)> = Vec::new();
    for (name, value) in params {
        match value {
            Value::UInt(weight) => settings.push((name.clone(), weight.to_string())),
            Value::Text(text) => {
                for (path, number) in devices(name, text)? {
                    let list = if number == 0 { &mut lifted } else { &mut settings };
                    // What lifts a limit has the form of one, until its value is replaced.
                    list.push((name.clone(), format!("{path},{}", number.max(1))));
                }
            }
            _ => {}
        }
    }
    for limit in Settings(&settings).block(v2) {
        writes.plan_block(&limit)?;
    }
    for mut limit in Settings(&lifted).block(v2) {
        limit.value = match limit.value.split_once('=') {
            Some((name, _)) => format!("{name}=max"),
            None => "0".to_owned(),
        };
        writes.plan_block(&limit)?;
    }
    Ok(())
}

impl Writes {
    /// Plans a limit of block devices; weights of single devices are there with some schedulers
    /// only.
    fn plan_block(&mut self, limit: &plan::limits::Limit) -> Result<(), VirError> {
        let weight = limit.files.iter().any(|file| file.contains("weight"));
        if !(weight && limit.device.is_some()) {
            return self.plan(Part::Machine, limit);
        }
        if !self.has(Part::Machine, Controller::Blkio, limit.files) {
            return Err(no_weights());
        }
        self.plan_or(Part::Machine, limit, |error, _| match error.source.kind() {
            // The device has a scheduler without weights.
            std::io::ErrorKind::Unsupported => no_weights(),
            _ => fault(error),
        })
    }
}

fn no_weights() -> VirError {
    VirError::invalid_state("blkio device weight is valid only for cfq scheduler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_their_values() {
        let check = |name: &str, text: &str, expected: Result<&[(&str, u64)], &str>| {
            let found = devices(name, text).map_err(|error| error.detail);
            let expected = expected
                .map(|list| list.iter().map(|(p, v)| ((*p).to_owned(), *v)).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{text}");
        };
        let name = "device_weight";
        check(name, "", Ok(&[]));
        check(name, "/dev/a,5,/dev/b,0", Ok(&[("/dev/a", 5), ("/dev/b", 0)]));
        check(name, "/dev/a", Err("unable to parse blkio device 'device_weight' '/dev/a'"));
        let none = "invalid value 'x' for parameter 'device_weight' of device '/dev/a'";
        check(name, "/dev/a,x", Err(none));
        let none = "invalid value '4294967296' for parameter 'device_weight' of device '/dev/a'";
        check(name, "/dev/a,4294967296", Err(none));
        check("device_read_bytes_sec", "/dev/a,4294967296", Ok(&[("/dev/a", 4_294_967_296)]));
    }

    #[test]
    fn a_device_without_limits_goes() {
        let mut definition = Definition::default();
        let mut set = |name: &str, text: &str| {
            change(&mut definition, &[(name.to_owned(), text.into())]).expect("well formed");
            definition.blkio_tune.clone()
        };
        set("device_weight", "/dev/a,5,/dev/b,6");
        let tune = set("device_read_iops_sec", "/dev/b,7").expect("two devices");
        assert_eq!(tune.devices.len(), 2);
        let tune = set("device_weight", "/dev/a,0,/dev/b,0").expect("one limit");
        let [device] = tune.devices.as_slice() else { panic!("{tune:?}") };
        assert_eq!((device.weight, device.read_iops_sec), (None, Some(7)));
        assert_eq!(set("device_read_iops_sec", "/dev/b,0"), None);
    }
}
