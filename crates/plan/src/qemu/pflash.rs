//! Firmware in flash, and the guest's variable store beside it.

use super::build::Build;
use super::words::YesNo;
use crate::block::{self, Image};
use crate::step::{Access, Action, FileKind, SecretBy, Step};
use model::domain::devices::disk::{DiskAuth, DiskSource, StorageType};
use model::domain::os::{FirmwareFormat, LoaderType, Nvram, Os};

/// libvirt's name of a flash image's format.
fn format_name(format: Option<FirmwareFormat>) -> &'static str {
    match format {
        Some(FirmwareFormat::Qcow2) => "qcow2",
        _ => "raw",
    }
}

/// Where a variable store is: `<source>`'s place, or the file that stands as text.
fn store(nvram: &Nvram) -> Option<(StorageType, DiskSource)> {
    if let Some(path) = nvram.path.as_ref().filter(|path| !path.is_empty()) {
        let source = DiskSource { file: Some(path.clone()), ..DiskSource::default() };
        return Some((StorageType::File, source));
    }
    let source = nvram.source.clone()?;
    Some((nvram.kind.unwrap_or_default(), source))
}

impl Build<'_> {
    /// Flash images; names of the nodes for `-machine`.
    pub(super) fn pflash(&mut self, os: &Os) -> Vec<String> {
        let Some(loader) = os.loader.as_ref().filter(|l| l.kind == Some(LoaderType::Pflash)) else {
            return Vec::new();
        };
        let Some(path) = loader.path.clone() else {
            self.fail("qemu.loader", "<loader type='pflash'> names no file");
            return Vec::new();
        };
        let readonly = loader.readonly == Some(YesNo::Yes);
        let access = if readonly { Access::Read } else { Access::ReadWrite };
        self.grant(&path, access, readonly, "<loader>");
        let source = DiskSource { file: Some(path), ..DiskSource::default() };
        let mut code = Image::new(StorageType::File, &source, format_name(loader.format));
        code.options.read_only = readonly;
        let mut nodes: Vec<String> = self.flash(code, 0, true).into_iter().collect();
        let Some(nvram) = &os.nvram else {
            return nodes;
        };
        let Some((kind, source)) = store(nvram) else {
            self.fail("qemu.nvram", "<nvram> names no place");
            return nodes;
        };
        if let (StorageType::File, Some(path)) = (kind, &source.file) {
            self.nvram_file(nvram.template.as_deref(), path);
        }
        let mut image = Image::new(kind, &source, format_name(nvram.format));
        if let Some(auth) = &source.auth {
            image.objects.auth = Some(self.flash_secret(auth));
        }
        // Emulators whose block jobs see through a raw node need none above the storage.
        let layered = image.format != "raw" || !self.has("blockjob.backing-mask-protocol");
        nodes.extend(self.flash(image, 1, layered));
        nodes
    }

    /// The secret that opens the variable store's server; its name.
    fn flash_secret(&mut self, auth: &DiskAuth) -> String {
        let id = "libvirt-pflash1-storage-auth-secret0";
        let secret = auth.secret.as_ref();
        let by = match secret.and_then(|secret| secret.uuid.as_ref()) {
            Some(uuid) => SecretBy::Uuid(uuid.to_string()),
            None => {
                SecretBy::Usage(secret.and_then(|secret| secret.usage.clone()).unwrap_or_default())
            }
        };
        let kind = secret.map(|secret| secret.kind.clone()).unwrap_or_default();
        self.secret(id, &kind, by);
        id.into()
    }

    /// The nodes of a flash image; the upper one's name.
    fn flash(&mut self, mut image: Image<'_>, number: u32, layered: bool) -> Option<String> {
        image.storage_node = format!("libvirt-pflash{number}-storage");
        image.format_node = format!("libvirt-pflash{number}-format");
        match block::storage_node(&image, !layered) {
            Ok(props) => self.json("-blockdev", props),
            Err(error) => {
                self.fail("qemu.pflash", format!("flash image {number}: {error}"));
                return None;
            }
        }
        if !layered {
            return Some(image.storage_node);
        }
        let backing = (image.format != "raw").then_some(serde_json::Value::Null);
        match block::format(&image, backing) {
            Ok(props) => self.json("-blockdev", props),
            Err(error) => {
                self.fail("qemu.pflash", format!("flash image {number}: {error}"));
                return None;
            }
        }
        Some(image.format_node)
    }

    /// Makes the guest's variable store if it is missing, and hands it over.
    fn nvram_file(&mut self, template: Option<&str>, path: &str) {
        use crate::step::Undo;
        let step = match template {
            Some(template) => Step::new(Action::CopyFile {
                from: template.to_string(),
                to: path.to_string(),
                mode: 0o600,
                owner: self.ids(),
                reset: false,
            })
            .rolled_back_by(Undo::RemoveIfCreated(path.to_string())),
            None => {
                let loader = self.d.os.as_ref().and_then(|os| os.loader.as_ref()?.path.clone());
                let (path, role) = (path.to_string(), loader.unwrap_or_default());
                Step::new(Action::RequireFile { path, role, kind: FileKind::Variables })
            }
        };
        self.steps.push(step);
        self.grant(path, Access::ReadWrite, false, "<nvram>");
    }

    /// `-bios` and the protection of flash.
    pub(super) fn loader(&mut self, os: &Os) {
        let Some(loader) = &os.loader else {
            return;
        };
        match (loader.kind, &loader.path) {
            (Some(LoaderType::Pflash), _) if loader.secure == Some(YesNo::Yes) => {
                self.opt("-global", "driver=cfi.pflash01,property=secure,value=on");
            }
            (Some(LoaderType::Pflash), _) => {}
            (_, Some(path)) => {
                let path = path.clone();
                self.grant(&path, Access::Read, true, "<loader>");
                self.opt("-bios", &path);
            }
            _ => {}
        }
    }
}
