//! The image that a disk is copied to: looked at, planned, made.

use super::super::plug::{lend_once, lends};
use super::copy::reuses;
use super::flags::COPY_SHALLOW;
use super::settle::concluded;
use super::start::Working;
use crate::domain::affect::not_running;
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::start::teardown::{self, Made};
use crate::domain::stored::store::os_words;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::storage::probe;
use diag::{ErrorCode, VirError};
use host::access::FileId;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{
    BackingStore, Disk, DiskDevice, DiskMirror, ImageFormat, StorageType,
};
use model::domain::hotplug::{DeviceKind, Place};
use plan::block::{self, Chain, Image};
use plan::qemu::InUse;
use plan::{PlugPlan, Undo};
use qmp::{Ack, Command, Value, cmd};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often QEMU is asked whether an image is made, should it not say so.
const ASK: Duration = Duration::from_secs(2);

/// How long the making of an image may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is known of the image that is copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Size {
    /// Bytes that the guest sees.
    capacity: u64,
    /// Its format.
    format: String,
    /// Bytes of a cluster, where it has any.
    cluster: Option<u64>,
    /// Its clusters have parts (qcow2).
    extended: bool,
}

/// A copy that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// How it is opened.
    pub plan: PlugPlan,
    /// As the guest's definition has it.
    pub mirror: DiskMirror,
    /// It stands on what the guest's image stands on.
    pub shares: bool,
    /// The client said what it stands on.
    pub chain_given: bool,
    /// What was made for it.
    pub made: Made,
    /// The disk with the copy for its image.
    disk: Disk,
    /// Its format is to be made.
    is_new: bool,
    /// The file that was made for it.
    file: Option<String>,
}

/// What QEMU is told to make.
pub(super) struct Creations {
    /// Before the storage is opened.
    pub storage: Option<Value>,
    /// Before the format is.
    pub format: Option<Value>,
}

impl Copy {
    fn number(&self) -> u32 {
        self.disk.source.as_ref().and_then(|source| source.index).unwrap_or(0)
    }

    pub fn storage_node(&self) -> String {
        format!("libvirt-{}-storage", self.number())
    }

    pub fn format_node(&self) -> String {
        format!("libvirt-{}-format", self.number())
    }

    /// The plan's commands up to the format of the copy, and from there on.
    pub fn parts(&self) -> (PlugPlan, PlugPlan) {
        let named = |command: &plan::HotCommand| {
            let undo = command.undo.as_ref().map(|undo| undo.json.as_str());
            undo.is_some_and(|json| json.contains(&format!("\"{}\"", self.format_node())))
        };
        let at = self.plan.commands.iter().position(named).unwrap_or(self.plan.commands.len());
        let (below, above) = self.plan.commands.split_at(at);
        let part = |commands: &[plan::HotCommand]| {
            let commands = commands.to_vec();
            PlugPlan { commands, ..PlugPlan::default() }
        };
        (part(below), part(above))
    }

    /// What is to be made for a copy of `source`'s image.
    ///
    /// # Errors
    /// Such an image cannot be made.
    pub fn creations(&self, source: &Disk, size: Size) -> Result<Creations, VirError> {
        let none = Creations { storage: None, format: None };
        if !self.is_new {
            return Ok(none);
        }
        let refused = |error: block::BlockError| VirError::new(error.code(), error.to_string());
        let chain = Chain::new(&self.disk);
        let Some(mut image) = chain.images.into_iter().next() else { return Ok(none) };
        name_nodes(&mut image, self.number());
        // A file for a format is there, and grows as it is written.
        let file = image.kind == StorageType::File && !image.is_plain();
        let storage = match file {
            true => None,
            false => block::create::protocol(&image, size.capacity).map_err(refused)?,
        };
        let chain = Chain::new(source);
        let below: Option<&Image<'_>> = chain.images.get(1).filter(|_| self.shares);
        let format = block::create::format(&image, below, size.capacity).map_err(refused)?;
        let alike = image.format == size.format && image.format == "qcow2";
        let format = format.map(|props| {
            let mut options = props.into_value();
            if let Some(options) = options.as_object_mut().filter(|_| alike) {
                let cluster =
                    size.cluster.map(|cluster| ("cluster-size".to_owned(), cluster.into()));
                options.extend(cluster);
                options.extend(size.extended.then(|| ("extended-l2".to_owned(), true.into())));
            }
            options
        });
        Ok(Creations { storage: storage.map(|props| props.into_value()), format })
    }
}

impl Engine {
    /// What QEMU says of the guest's image.
    pub(super) async fn size_of(&self, work: &Working) -> Result<Size, VirError> {
        let Some(top) = work.top() else {
            let text = "failed to update capacity data for block node '(null)'";
            return Err(VirError::internal(text));
        };
        let node = work.node(top)?;
        let nodes = work.vm.monitor.execute(cmd::query_named_block_nodes(true)).await;
        let nodes = nodes.map_err(|error| monitor_error(&error))?;
        let named =
            |each: &&Value| each.get("node-name").and_then(Value::as_str) == Some(node.as_str());
        let image = nodes.iter().find(named).and_then(|each| each.get("image"));
        let capacity = image.and_then(|image| image.get("virtual-size")?.as_u64());
        let capacity = capacity.ok_or_else(|| {
            VirError::internal(format!("failed to update capacity data for block node '{node}'"))
        })?;
        let text = image.and_then(|image| image.get("format")?.as_str()).unwrap_or_default();
        let specific = image.and_then(|image| image.get("format-specific")?.get("data"));
        let extended = specific.and_then(|data| data.get("extended-l2")?.as_bool());
        Ok(Size {
            capacity,
            format: text.to_owned(),
            cluster: image.and_then(|image| image.get("cluster-size")?.as_u64()),
            extended: extended.unwrap_or(false),
        })
    }

    /// Plans the copy of a disk, and makes its file. May block.
    pub(super) fn plan_copy(
        &self,
        work: &Working,
        destination: Disk,
        flags: u32,
        lent: &(Vec<Undo>, Made),
    ) -> Result<Copy, VirError> {
        let (shallow, reuse) = (flags & COPY_SHALLOW != 0, reuses(flags));
        let mut disk = with_image_of(&work.disk, &destination);
        self.resolve_volume(&mut disk)?;
        let own_chain = destination.backing_store.as_deref();
        if own_chain.is_some_and(|layer| layer.source.is_some()) && !(shallow && reuse) {
            return Err(VirError::invalid_arg(
                "backingStore of mirror without VIR_DOMAIN_BLOCK_COPY_SHALLOW doesn't make sense",
            ));
        }
        check_target(&disk, reuse)?;
        let driver = disk.driver.get_or_insert_default();
        driver.kind = Some(match (destination.driver.and_then(|driver| driver.kind), reuse) {
            (Some(format), _) => format,
            (None, true) => format_of(&disk.source.clone().unwrap_or_default())?,
            (None, false) => {
                let driver = work.disk.driver.as_ref();
                driver.and_then(|driver| driver.kind.clone()).unwrap_or_else(|| "raw".to_owned())
            }
        });
        let format = driver.kind.as_deref().unwrap_or("raw");
        if block::format_driver(format).is_none() {
            let text = format!("unknown driver format value '{format}'");
            return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, text));
        }
        if shallow && !reuse && format == "raw" {
            let text = format!(
                "shallow copy of disk '{}' into a raw file is not possible",
                disk.target.dev
            );
            return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, text));
        }
        let chain_given = shallow && reuse && own_chain.is_some();
        let below = match (shallow, reuse) {
            (true, true) => {
                disk.backing_store = destination.backing_store;
                None
            }
            (shallow, _) => {
                disk.backing_store = Some(Box::default());
                let below = work.disk.images().nth(1).and_then(|image| image.number);
                below.filter(|_| shallow).map(|below| work.node(below)).transpose()?
            }
        };
        let file = match (disk.kind, reuse) {
            (StorageType::File, false) => make_file(&disk)?,
            _ => None,
        };
        let planned = self.plan_images(work, disk, below.as_deref(), lent);
        let (plan, lends, disk) = planned.inspect_err(|_| {
            // Just made, and empty.
            if let Some(file) = &file {
                let _ = std::fs::remove_file(file);
            }
        })?;
        let made = Made { lent: Some(lends), ..Made::default() };
        let (shares, is_new) = (shallow && !reuse, !reuse);
        let mirror = mirror(&disk, shares);
        Ok(Copy { plan, mirror, shares, chain_given, made, disk, is_new, file })
    }

    /// Puts what a volume is in its place. May wait for its pool.
    fn resolve_volume(&self, disk: &mut Disk) -> Result<(), VirError> {
        let mut alone = Definition::default();
        alone.devices_mut().disks.push(disk.clone());
        let found = self.look_up(&alone)?;
        let resolved = plan::qemu::resolve_volumes(&mut alone, &found);
        resolved.map_err(super::super::inputs::refused)?;
        if let Some(resolved) = alone.devices_mut().disks.pop() {
            *disk = resolved;
        }
        Ok(())
    }

    fn plan_images(
        &self,
        work: &Working,
        disk: Disk,
        below: Option<&str>,
        lent: &(Vec<Undo>, Made),
    ) -> Result<(PlugPlan, BTreeMap<String, FileId>, Disk), VirError> {
        let place = Place { kind: DeviceKind::Disk, index: work.place };
        let mut definition = work.definition.clone();
        if let Some(there) = definition.devices_mut().disks.get_mut(work.place) {
            *there = disk;
        }
        self.refuse_copy(work, &definition)?;
        let found = self.look_up_device(&definition, place)?;
        let in_use = InUse { last_node: work.vm.last_node(), first_fdset: 0 };
        let mut plan = self.with_found(&definition.clone(), &found, |inputs| {
            let last = plan::qemu::settle_device(&mut definition, place, inputs, in_use)?;
            let in_use = InUse { last_node: last, ..in_use };
            plan::qemu::images(&definition, place, inputs, in_use, below)
        })?;
        let mut lends = lends(&plan.steps);
        lend_once(&mut plan, &mut lends, &lent.0, &lent.1);
        plan.note_nodes(&mut definition);
        plan::qemu::show_volumes(&mut definition);
        let disk = definition.devices_mut().disks.get(work.place).cloned();
        Ok((plan, lends, disk.ok_or_else(not_running)?))
    }

    /// Refuses what no disk could have for its image.
    fn refuse_copy(&self, work: &Working, with_copy: &Definition) -> Result<(), VirError> {
        let mut checked = with_copy.clone();
        let disk = checked.devices_mut().disks.get_mut(work.place);
        // Only those of a disk want it to be a LUN.
        if let Some(source) = disk.and_then(|disk| disk.source.as_mut()) {
            source.reservations = None;
        }
        self.refuse_new_faults(&work.definition, &checked)
    }

    /// Has QEMU make an image, and waits for it.
    pub(super) async fn make_image(
        &self,
        vm: &Arc<Vm>,
        node: &str,
        options: Value,
    ) -> Result<(), super::super::converse::Failure> {
        use super::super::converse::Failure;
        let job = format!("create-{node}");
        let key = concluded(&job);
        let mut over = vm.waiting.register(&key);
        let command =
            Command::<Ack>::new("blockdev-create").arg("job-id", &*job).arg("options", options);
        if let Err(error) = vm.monitor.execute(command).await {
            vm.waiting.forget(&key);
            return Err(Failure::of("blockdev-create", &error));
        }
        let begun = tokio::time::Instant::now();
        let made = loop {
            let told = tokio::select! {
                told = tokio::time::timeout(ASK, &mut over) => told.is_ok(),
                _ = vm.process.exited() => break Err(not_running().into()),
            };
            let jobs = match vm.monitor.execute(cmd::query_jobs()).await {
                Ok(jobs) => jobs,
                Err(error) => break Err(Failure::of("query-jobs", &error)),
            };
            let named = |each: &&Value| each.get("id").and_then(Value::as_str) == Some(&job);
            let entry = jobs.iter().find(named);
            let text = |key: &str| entry.and_then(|entry| entry.get(key)?.as_str());
            if entry.is_none() || text("status") == Some("concluded") {
                break match text("error") {
                    None => Ok(()),
                    Some(error) => {
                        let text = format!("failed to format image: '{error}'");
                        Err(VirError::failed(text).into())
                    }
                };
            }
            if told || begun.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                let text = format!("the image for '{node}' was not made in {seconds} s");
                break Err(VirError::new(ErrorCode::OPERATION_TIMEOUT, text).into());
            }
        };
        vm.waiting.forget(&key);
        let command = Command::<Ack>::new("job-dismiss").arg("id", &*job);
        let _ = vm.monitor.execute(command).await;
        made
    }

    /// Removes the file that was made for a copy which does not come about.
    pub(super) async fn file_goes(self: &Arc<Self>, domain: &Arc<Domain>, copy: &Copy) {
        let Some(file) = copy.file.clone() else { return };
        let name = Arc::clone(&domain.snapshot().name);
        let steps = vec![Undo::RemoveFile(file)];
        teardown::take_all_back(self, &name, steps, Made::default()).await;
    }
}

/// Names the nodes of an image, and its secrets, by its number.
pub(super) fn name_nodes(image: &mut Image<'_>, number: u32) {
    image.storage_node = format!("libvirt-{number}-storage");
    image.slice_node = format!("libvirt-{number}-slice-sto");
    image.format_node = format!("libvirt-{number}-format");
    if let Some(encryption) = image.format_encryption() {
        let names = (0..encryption.secrets.len())
            .map(|place| format!("{}-encryption-secret{place}", image.format_node));
        image.objects.encryption = names.collect();
    }
}

/// The disk with another image, of which no job is and nothing is above it.
fn with_image_of(disk: &Disk, destination: &Disk) -> Disk {
    let mut copy = disk.clone();
    copy.kind = destination.kind;
    copy.source.clone_from(&destination.source);
    // QEMU writes to it, whatever the guest may.
    copy.readonly = false;
    copy.device = DiskDevice::Disk;
    copy.mirror = None;
    copy.throttlefilters = None;
    copy.iotune = None;
    copy.auth = None;
    copy.encryption = None;
    copy.private_data = None;
    let driver = copy.driver.get_or_insert_default();
    driver.copy_on_read = None;
    let given = destination.driver.as_ref().and_then(|driver| driver.metadata_cache.clone());
    driver.metadata_cache = given;
    copy
}

/// Whether what is at the place of a copy fits.
fn check_target(disk: &Disk, reuse: bool) -> Result<(), VirError> {
    let (target, source) = (&disk.target.dev, disk.source.clone().unwrap_or_default());
    let path = match disk.kind {
        StorageType::File => source.file,
        StorageType::Block => source.dev,
        StorageType::Dir => {
            let text = format!(
                "unable to stat block copy target '{}': Function not implemented",
                source.dir.unwrap_or_default()
            );
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text));
        }
        _ => None,
    };
    let Some(path) = path else { return Ok(()) };
    let is_block = disk.kind == StorageType::Block;
    let there = match std::fs::metadata(&path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !reuse && !is_block {
                return Ok(());
            }
            let why = os_words(&error);
            let text = format!("missing destination file for disk {target}: {path}: {why}");
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text));
        }
        // What is in the way of it is said when the file is made.
        Err(error) if !reuse && !is_block => {
            let text = format!("unable to stat block copy target '{path}': {}", os_words(&error));
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text));
        }
        Err(error) => {
            let text = format!("unable to stat block copy target '{path}': {}", os_words(&error));
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, text));
        }
    };
    let device = there.file_type().is_block_device();
    if !device && !reuse && there.len() > 0 {
        let text = format!(
            "external destination file for disk {target} already exists and is not a block device: \
             {path}"
        );
        return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, text));
    }
    if is_block && !device {
        let text = format!(
            "blockdev flag requested for disk {target}, but file '{path}' is not a block device"
        );
        return Err(VirError::invalid_arg(text));
    }
    Ok(())
}

/// Makes the file of a copy, which is nobody else's to read; its path, unless it was there.
fn make_file(disk: &Disk) -> Result<Option<String>, VirError> {
    let path = disk.source.as_ref().and_then(|source| source.file.clone()).unwrap_or_default();
    let mut options = File::options();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => {
            let text = format!("failed to create copy target: {}", os_words(&error));
            Err(VirError::new(ErrorCode::SYSTEM_ERROR, text))
        }
    }
}

/// The format of an image that is there and of which nobody says it.
fn format_of(source: &model::domain::devices::disk::DiskSource) -> Result<String, VirError> {
    let path = source.file.as_ref().or(source.dev.as_ref());
    let unknown = || {
        let text = "reused mirror destination format must be specified";
        VirError::new(ErrorCode::CONFIG_UNSUPPORTED, text)
    };
    let image = probe::probe_path(Path::new(path.ok_or_else(unknown)?));
    image.map(|image| image.format.to_owned()).map_err(|_| unknown())
}

/// The copy as the definition has it; `shares`: what is below it is the disk's own.
fn mirror(disk: &Disk, shares: bool) -> DiskMirror {
    let driver = disk.driver.clone().unwrap_or_default();
    let (format, metadata_cache) = (driver.kind.unwrap_or_default(), driver.metadata_cache);
    let is_file = disk.kind == StorageType::File;
    let file = disk.source.as_ref().and_then(|source| source.file.clone());
    let backing_store: Option<Box<BackingStore>> = disk.backing_store.clone().filter(|_| !shares);
    DiskMirror {
        kind: Some(disk.kind),
        file: file.filter(|_| is_file),
        format: is_file.then(|| format.clone()),
        job: Some("copy".to_owned()),
        ready: None,
        image_format: Some(ImageFormat { kind: format, metadata_cache }),
        source: disk.source.clone(),
        backing_store,
    }
}
