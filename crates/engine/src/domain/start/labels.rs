//! Security labels of a guest: whose process it is. The one driver is that of users and groups
//! (`dac`); where SELinux or AppArmor is not driven, labels of theirs refuse a start.

use crate::engine::Engine;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
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
        Ok(settings)
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
            .ok_or_else(|| VirError::invalid_arg(format!("Failed to parse user '{user}'")))?;
        let gid = number(group)
            .or_else(|| self.users.resolve_gid(group))
            .ok_or_else(|| VirError::invalid_arg(format!("Failed to parse group '{group}'")))?;
        Ok(Ids { uid, gid })
    }
}

fn unavailable(model: &str) -> String {
    format!("Security driver model '{model}' is not available")
}

/// The labels of the images that a definition names, each with its model; libvirt has this word for
/// one that is missing.
fn image_labels(definition: &Definition) -> impl Iterator<Item = (&str, &DeviceSeclabel)> {
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    let labels = disks.flat_map(Disk::images).flat_map(|image| &image.source.seclabels);
    labels.map(|label| (label.model.as_deref().unwrap_or("(null)"), label))
}

/// Whether files of the guest get the label.
fn relabels(label: &Seclabel) -> bool {
    match label.relabel {
        Some(relabel) => relabel == YesNo::Yes,
        None => label.kind == SeclabelType::Dynamic,
    }
}
