//! The nodes of a disk's images, and the objects they need.

use super::super::build::{Build, Props, Switch, fd_mark};
use crate::block::{self, BlockError, Chain, FdSet, Image};
use crate::step::{Access, Action, Content, FileKind, Helper, Ids, SecretBy, Step, Undo};
use model::domain::devices::disk::*;
use model::domain::seclabel::DeviceSeclabel;
use serde_json::Value;
use xml::YesNo;

/// How the secret of an element is named.
pub(in crate::qemu) fn secret_by(uuid: Option<String>, usage: Option<&String>) -> SecretBy {
    match uuid {
        Some(uuid) => SecretBy::Uuid(uuid),
        None => SecretBy::Usage(usage.cloned().unwrap_or_default()),
    }
}

impl Build<'_> {
    /// Whether raw images go without a format node: QEMU's block jobs can then name a raw backing
    /// file's format themselves.
    fn elides_raw(&self) -> bool {
        self.has("blockjob.backing-mask-protocol")
    }

    /// The images of a disk with their nodes named.
    fn chain<'d>(&self, disk: &'d Disk) -> Chain<'d> {
        let mut chain = Chain::new(disk);
        for (image, named) in chain.images.iter_mut().zip(disk.images()) {
            name_image(image, &named.number.unwrap_or(0).to_string());
            image.debug = Some(self.set.gluster_debug_level);
            if let Some(data) = &mut image.data {
                name_image(data, &data.source.index.unwrap_or(0).to_string());
                data.debug = image.debug;
            }
            image.host_drive = disk.device == DiskDevice::Cdrom
                && image.kind == StorageType::Block
                && image.source.dev.as_deref().is_some_and(|dev| self.host_cdrom(dev));
        }
        chain
    }

    /// The `-blockdev` options of a disk; the name of its top node (`None`: no medium).
    pub(super) fn disk_nodes(&mut self, disk: &Disk, element: &str) -> Option<Option<String>> {
        let mut chain = self.chain(disk);
        if chain.images.is_empty() {
            return Some(None);
        }
        // From the bottom up, each naming the one below.
        let below = self.hot.as_ref().and_then(|hot| hot.below.clone()).map(Value::from);
        let mut backing: Option<Value> = below.or_else(|| chain.ends.then_some(Value::Null));
        let mut top = String::new();
        for (depth, image) in chain.images.iter_mut().enumerate().rev() {
            self.reach(disk, image, depth == 0, element);
            if let Some(data) = &mut image.data {
                self.reach(disk, data, depth == 0, element);
            }
            top = self.image_nodes(image, backing.take(), element)?;
            backing = Some(Value::from(top.clone()));
        }
        let driver = disk.driver.clone().unwrap_or_default();
        if driver.copy_on_read.is_some_and(Switch::on) {
            let name = format!("libvirt-CoR-{}", disk.target.dev);
            let props = Props::default()
                .set("driver", "copy-on-read")
                .set("node-name", name.clone())
                .set("file", top)
                .set("discard", "unmap");
            self.json("-blockdev", props);
            self.nodes.insert(name.clone());
            top = name;
        }
        Some(Some(self.throttle_filters(disk, top)))
    }

    /// The nodes of one image; the name of the one that stands for it.
    pub(in crate::qemu) fn image_nodes(
        &mut self,
        image: &mut Image<'_>,
        backing: Option<Value>,
        element: &str,
    ) -> Option<String> {
        if let Some(mut data) = image.data.take() {
            image.data_node = Some(self.image_nodes(&mut data, None, element)?);
            image.data = Some(data);
        }
        self.image_objects(image, element);
        let elide = self.elides_raw();
        let with_format = image.needs_format(elide);
        let sliced = image.has_slice_node();
        let made = (|| {
            let storage = block::storage_node(image, !with_format && !sliced)?;
            let slice = block::slice(image, !with_format);
            let format = if with_format { Some(block::format(image, backing)?) } else { None };
            Ok::<_, BlockError>((storage, slice, format))
        })();
        match made {
            Ok((storage, slice, format)) => {
                self.nodes.insert(image.storage_node.clone());
                self.nodes.extend(slice.is_some().then(|| image.slice_node.clone()));
                self.nodes.extend(format.is_some().then(|| image.format_node.clone()));
                for (props, rule) in [
                    (Some(storage), "where the image's bytes are"),
                    (slice, "the part of the storage that is the image"),
                    (format, "the image's format, on top of its storage"),
                ] {
                    let Some(props) = props else { continue };
                    self.because(rule);
                    self.json("-blockdev", props);
                }
                Some(image.effective_node(elide).to_string())
            }
            Err(error) => {
                let known = matches!(
                    error,
                    BlockError::Protocol(_) | BlockError::RbdPath(_) | BlockError::Transport(_)
                );
                // Where libvirt has words for it, they say all.
                let text = if known { error.to_string() } else { format!("{element}: {error}") };
                self.fail_with("qemu.disk-source", error.code(), text);
                None
            }
        }
    }

    /// Who owns an image while the guest runs; nobody else than before where its label says so.
    pub(super) fn image_owner(&self, source: &DiskSource) -> Option<Ids> {
        let label = source.seclabels.iter().find(|label| label.model.as_deref() == Some("dac"));
        match label {
            Some(label) if label.relabel == Some(YesNo::No) => None,
            Some(DeviceSeclabel { label: Some(text), .. }) => {
                self.set.image_owners.get(text).copied().or_else(|| self.ids())
            }
            _ => self.ids(),
        }
    }

    /// Makes what an image lies on reachable for QEMU: files, descriptors, devices, helpers.
    fn reach(&mut self, disk: &Disk, image: &mut Image<'_>, is_top: bool, element: &str) {
        let read_only = image.options.read_only;
        let access = if read_only { Access::Read } else { Access::ReadWrite };
        let shared = read_only || disk.shareable;
        let source = image.source;
        let path = match image.kind {
            StorageType::File => source.file.as_ref(),
            StorageType::Block => source.dev.as_ref(),
            StorageType::Dir => source.dir.as_ref(),
            StorageType::Vhostvdpa => {
                if let Some(device) = &source.dev {
                    let opaque = format!("{}-vdpa", image.storage_node);
                    let open = Action::OpenFile {
                        path: device.clone(),
                        access: Access::ReadWrite,
                        create_append: false,
                    };
                    let name = format!("{opaque}.{device}");
                    self.steps.push(Step::new(open).yields(name.clone()));
                    let path = self.fdset_opaque(&[name], &opaque);
                    image.fdset = Some(FdSet { path, single: false, writable: true });
                }
                None
            }
            _ => None,
        };
        if let Some(group) = &source.fdgroup {
            self.descriptors(group, image, element);
        } else if let Some(path) = path {
            if is_top {
                self.require(disk, path, element);
            }
            self.grant_image(self.image_owner(source), path, access, shared, element);
        }
        self.nbdkit(image);
    }

    /// The descriptors that a client handed in for an image.
    fn descriptors(&mut self, group: &str, image: &mut Image<'_>, element: &str) {
        let Some(found) = self.found.fd_groups.get(group) else {
            let text = format!(
                "{element}: file descriptor group '{group}' was not associated with the domain"
            );
            self.fail("qemu.fdgroup", text);
            return;
        };
        let number = self.disk_sets.get(&image.storage_node).copied().unwrap_or(0);
        for place in 0..found.count {
            let fd = fd_mark(&format!("fdgroup.{group}.{place}"));
            let opaque = format!("{}{place}", image.storage_node);
            self.opt("-add-fd", &format!("set={number},fd={fd},opaque={opaque}"));
        }
        let path = format!("/dev/fdset/{number}");
        image.fdset = Some(FdSet { path, single: found.count == 1, writable: found.writable });
    }

    /// Numbers the descriptor sets of disks, in the order in which libvirt prepares images: the
    /// last disk first, each from its top down.
    pub(super) fn number_descriptors(&mut self) {
        for disk in self.dev.disks.iter().rev() {
            for image in self.chain(disk).images {
                if image.source.fdgroup.is_some() {
                    self.disk_sets.insert(image.storage_node, self.fdsets);
                    self.fdsets += 1;
                }
            }
        }
    }

    /// Has nbdkit serve an image where it is to be used and can.
    fn nbdkit(&mut self, image: &mut Image<'_>) {
        let Some(nbdkit) = &self.found.nbdkit else {
            return;
        };
        let Some(plugin) = nbdkit.plugin(image.protocol()) else {
            return;
        };
        let base = format!("{}/nbdkit-{}", self.private_dir, image.storage_node);
        let (socket, pid_file) = (format!("{base}.socket"), format!("{base}.pid"));
        let mut args = super::super::nbdkit::arguments(image, plugin, &socket, &pid_file);
        // What is secret nbdkit reads from files of the private folder.
        let mut secrets = Vec::new();
        if let Some(secret) = image.auth.and_then(|auth| auth.secret.as_ref()) {
            let by = secret_by(secret.uuid.map(|uuid| uuid.to_string()), secret.usage.as_ref());
            secrets.push(("password", self.secret_ref(&secret.kind, by, None)));
        }
        if let Some(cookies) = block::cookie_header(image.source) {
            let by = SecretBy::Usage(String::new());
            secrets.push(("cookie", self.secret_ref("", by, Some(cookies))));
        }
        for (kind, secret) in secrets {
            let path = format!("{base}.{kind}");
            args.push(format!("{kind}=+{path}"));
            let (mode, owner) = (0o600, self.ids());
            let content = Content::Secret(secret);
            self.steps.push(Step::new(Action::WriteFile { path, mode, owner, content }));
        }
        let helper = Helper {
            program: nbdkit.program.clone(),
            args: args.into_iter().map(Into::into).collect(),
            owner: self.ids(),
            pid_file: Some(pid_file.clone()),
            socket: Some(socket.clone()),
            daemonizes: true,
            log: None,
            socket_owner: None,
            one_shot: false,
        };
        let step = Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file });
        self.steps.push(step);
        image.nbdkit = Some(socket);
    }

    /// Secrets, TLS credentials and reservation managers that an image's nodes name.
    fn image_objects(&mut self, image: &mut Image<'_>, element: &str) {
        image.server_ids = block::server_ids(image.source, |name, group| {
            let known = if group { &self.set.server_groups } else { &self.set.server_users };
            known.get(name).copied()
        });
        // nbdkit logs in by itself.
        if image.nbdkit.is_none() {
            if let Some(auth) = image.auth {
                let id = format!("{}-auth-secret0", image.storage_node);
                if let Some(secret) = &auth.secret {
                    let by =
                        secret_by(secret.uuid.map(|uuid| uuid.to_string()), secret.usage.as_ref());
                    self.secret(&id, &secret.kind, by);
                    image.objects.auth = Some(id);
                }
            }
            if let Some(header) = block::cookie_header(image.source) {
                let id = format!("{}-httpcookie-secret0", image.storage_node);
                self.secret_text(&id, header);
                image.objects.cookie = Some(id);
            }
            self.image_tls(image, element);
        }
        if let Some(encryption) = image.encryption {
            let owner =
                if image.encrypted_by_storage() { &image.storage_node } else { &image.format_node };
            for (place, secret) in encryption.secrets.iter().enumerate() {
                let id = format!("{owner}-encryption-secret{place}");
                let by = secret_by(secret.uuid.map(|uuid| uuid.to_string()), secret.usage.as_ref());
                self.secret(&id, "volume", by);
                image.objects.encryption.push(id);
            }
        }
        if let Some(reservations) = &image.source.reservations {
            image.objects.reservations = Some(if reservations.managed == YesNo::Yes {
                "pr-helper0".to_string()
            } else {
                let id = format!("pr-helper-{}", image.storage_node);
                let path = reservations.source.as_ref().and_then(|source| source.path.clone());
                let props = Props::object("pr-manager-helper", &id);
                self.object(props.set("path", path.unwrap_or_default()));
                id
            });
        }
    }

    /// TLS credentials of a network source.
    fn image_tls(&mut self, image: &mut Image<'_>, element: &str) {
        let source = image.source;
        let wanted = match (image.protocol(), source.tls) {
            ("nbd", Some(tls)) => tls.on(),
            ("nbd", None) => self.set.nbd_tls.enabled,
            // No image is served over this one any more.
            ("vxhs", _) => false,
            (protocol, Some(tls)) if tls.on() => {
                let text = format!("TLS transport is not supported for disk protocol '{protocol}'");
                return self.fail_with("qemu.disk-tls", diag::ErrorCode::CONFIG_UNSUPPORTED, text);
            }
            _ => false,
        };
        if source.tls_hostname.is_some() {
            self.need("blockdev.nbd.tls-hostname", &format!("{element}: tlsHostname"));
        }
        if wanted {
            self.need("nbd-tls", &format!("{element}: TLS"));
            let id = format!("obj{}_tls0", image.storage_node);
            let tls = self.set.nbd_tls.clone();
            self.tls_credentials(&id, &format!("{id}-secret0"), &tls, false);
            image.objects.tls = Some(id);
        }
    }

    /// Whether a path is a CD-ROM drive of the host.
    fn host_cdrom(&self, path: &str) -> bool {
        self.host.cdrom_drives.iter().any(|drive| drive == path)
    }

    /// A missing image is refused before anything is changed, unless the policy lets it be.
    fn require(&mut self, disk: &Disk, path: &str, element: &str) {
        let policy = disk.source.as_ref().and_then(|source| source.startup_policy);
        if policy == Some(StartupPolicy::Optional) {
            return;
        }
        let (path, role) = (path.to_string(), element.to_string());
        let kind = FileKind::Image;
        self.steps.push(Step::new(Action::RequireFile { path, role, kind }));
    }

    /// The manager of reservations that we start, if any disk asks for it.
    pub(in crate::qemu) fn reservation_manager(&mut self) {
        if self.dev.disks.iter().any(has_managed_reservations) {
            let path = format!("{}/pr-helper0.sock", self.private_dir);
            let pid_file = format!("{}/pr-helper0.pid", self.private_dir);
            let helper = Helper {
                program: self.set.pr_helper.clone(),
                args: ["-k", &path, "-f", &pid_file].map(Into::into).into(),
                owner: None,
                pid_file: Some(pid_file.clone()),
                socket: Some(path.clone()),
                daemonizes: false,
                log: None,
                socket_owner: self.ids(),
                one_shot: false,
            };
            let step = Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file });
            self.steps.push(step);
            self.object(Props::object("pr-manager-helper", "pr-helper0").set("path", path));
        }
    }
}

/// Whether a disk's reservations go through the manager that we start.
pub(in crate::qemu) fn has_managed_reservations(disk: &Disk) -> bool {
    let source = disk.source.as_ref();
    let reservations = source.and_then(|source| source.reservations.as_ref());
    reservations.is_some_and(|reservations| reservations.managed == YesNo::Yes)
}

/// Names the nodes of an image by its number (or what stands for it).
pub(in crate::qemu) fn name_image(image: &mut Image<'_>, number: &str) {
    image.storage_node = format!("libvirt-{number}-storage");
    image.slice_node = format!("libvirt-{number}-slice-sto");
    image.format_node = format!("libvirt-{number}-format");
}
