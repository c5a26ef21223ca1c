//! Security labels of a guest: whose process it is. The one driver is that of users and groups
//! (`dac`); where SELinux or AppArmor is not driven, labels of theirs refuse a start.

use crate::engine::Engine;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskSource};
use model::domain::seclabel::{DeviceSeclabel, Seclabel, SeclabelType};
use plan::Ids;
use plan::qemu::Settings;
use std::borrow::Cow;
use xml::YesNo;

/// The model of users and groups.
const DAC: &str = "dac";

impl Engine {
    /// The settings that a guest of this definition is started with: its own user and group where
    /// a static label names them, and no change of owners where its label says so.
    ///
    /// # Errors
    /// libvirt's: a label of a security driver that is not there, a user or group that nobody has.
    pub(in crate::domain) fn labelled(
        &self,
        definition: &Definition,
    ) -> Result<Cow<'_, Settings>, VirError> {
        let mut settings = Cow::Borrowed(&self.settings.qemu);
        for label in &definition.seclabels {
            match label.model.as_deref() {
                None | Some("none") => {}
                Some(DAC) if !self.settings.qemu.privileged => {}
                Some(DAC) => {
                    let ids = match (&label.kind, &label.label) {
                        (SeclabelType::Static, Some(text)) => Some(self.ids_of(text)?),
                        _ => None,
                    };
                    if ids.is_some() || !relabels(label) {
                        let settings = settings.to_mut();
                        settings.ids = ids.or(settings.ids);
                        settings.dynamic_ownership &= relabels(label);
                    }
                }
                Some(model) => {
                    return Err(VirError::config(unavailable(model)));
                }
            }
        }
        if self.settings.qemu.privileged {
            let labels =
                image_labels(definition).filter(|(_, label)| label.relabel != Some(YesNo::No));
            for text in
                labels.filter_map(|(model, label)| label.label.as_ref().filter(|_| model == DAC))
            {
                let ids = self.ids_of(text)?;
                settings.to_mut().image_owners.insert(text.clone(), ids);
            }
        }
        self.resolve_server_users(definition, &mut settings)?;
        Ok(settings)
    }

    /// The ids of users and groups that images on NFS servers name.
    fn resolve_server_users(
        &self,
        definition: &Definition,
        settings: &mut Cow<'_, Settings>,
    ) -> Result<(), VirError> {
        for identity in images(definition).filter_map(|source| source.identity.as_ref()) {
            if let Some(name) = &identity.user {
                let id = self.users.resolve_uid(name).ok_or_else(|| unknown("user", name))?;
                settings.to_mut().server_users.insert(name.clone(), id);
            }
            if let Some(name) = &identity.group {
                let id = self.users.resolve_gid(name).ok_or_else(|| unknown("group", name))?;
                settings.to_mut().server_groups.insert(name.clone(), id);
            }
        }
        Ok(())
    }

    /// Looks whether the labels of a definition's images are of drivers that are there.
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::domain) fn refuse_image_labels(
        &self,
        definition: &Definition,
    ) -> Result<(), VirError> {
        let mut models = image_labels(definition).map(|(model, _)| model);
        match models.find(|model| *model != DAC).filter(|_| self.settings.qemu.privileged) {
            Some(model) => Err(VirError::config(unavailable(model))),
            None => Ok(()),
        }
    }

    /// `USER:GROUP`: names, or numbers after a plus sign; numbers alone where no name is such.
    fn ids_of(&self, label: &str) -> Result<Ids, VirError> {
        let (user, group) = label.split_once(':').ok_or_else(|| {
            VirError::invalid_arg(format!("Failed to parse uid and gid from label '{label}'"))
        })?;
        let number = |text: &str| text.strip_prefix('+').and_then(|text| text.parse().ok());
        let uid = number(user)
            .or_else(|| self.users.resolve_uid(user))
            .ok_or_else(|| unknown("user", user))?;
        let gid = number(group)
            .or_else(|| self.users.resolve_gid(group))
            .ok_or_else(|| unknown("group", group))?;
        Ok(Ids { uid, gid })
    }
}

/// A user or group that nobody is; a name after a plus sign is to be a number.
fn unknown(what: &str, name: &str) -> VirError {
    let name = name.strip_prefix('+').unwrap_or(name);
    VirError::invalid_arg(format!("Failed to parse {what} '{name}'"))
}

fn unavailable(model: &str) -> String {
    format!("Security driver model '{model}' is not available")
}

/// The sources of all images that a definition names.
fn images(definition: &Definition) -> impl Iterator<Item = &DiskSource> {
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    disks.flat_map(Disk::images).map(|image| image.source)
}

/// The labels of the images that a definition names, each with its model; libvirt has this word for
/// one that is missing.
fn image_labels(definition: &Definition) -> impl Iterator<Item = (&str, &DeviceSeclabel)> {
    let labels = images(definition).flat_map(|source| &source.seclabels);
    labels.map(|label| (label.model.as_deref().unwrap_or("(null)"), label))
}

/// Whether files of the guest get the label.
fn relabels(label: &Seclabel) -> bool {
    match label.relabel {
        Some(relabel) => relabel == YesNo::Yes,
        None => label.kind == SeclabelType::Dynamic,
    }
}
