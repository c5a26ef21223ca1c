//! Security labels of a guest: whose process it is. The one driver is that of users and groups
//! (`dac`); where SELinux or AppArmor is not driven, labels of theirs refuse a start.

use crate::engine::Engine;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::seclabel::{Seclabel, SeclabelType};
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
                    let detail = format!("Security driver model '{model}' is not available");
                    return Err(VirError::config(detail));
                }
            }
        }
        Ok(settings)
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

/// Whether files of the guest get the label.
fn relabels(label: &Seclabel) -> bool {
    match label.relabel {
        Some(relabel) => relabel == YesNo::Yes,
        None => label.kind == SeclabelType::Dynamic,
    }
}
