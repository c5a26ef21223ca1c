//! Managed save images: the one image of a domain that its next start takes up.

use super::image::{Image, OpenFault};
use super::restore::Incoming;
use super::system_error;
use crate::domain::affect::acquire;
use crate::domain::record::Domain;
use crate::domain::start::StartOptions;
use crate::engine::Engine;
use diag::VirError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

impl Engine {
    /// Where the managed save image of a domain is, if it has one.
    pub(crate) fn managed_image(&self, name: &str) -> PathBuf {
        self.layout.qemu_lib().join("save").join(format!("{name}.save"))
    }

    /// The names of all domains that have a managed save image.
    pub(in crate::domain) fn managed_images(&self) -> BTreeSet<String> {
        let folder = self.layout.qemu_lib().join("save");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                entry.file_name().to_str()?.strip_suffix(".save").map(str::to_owned)
            })
            .collect()
    }

    /// The definition inside a domain's managed save image.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub async fn managed_xml(
        self: &Arc<Self>,
        domain: &Domain,
        secure: bool,
    ) -> Result<String, VirError> {
        self.saved_xml(self.own_image(domain)?, secure).await
    }

    /// Puts another definition into a domain's managed save image.
    ///
    /// # Errors
    /// When there is none, the guest would notice, or it does not fit there.
    pub async fn redefine_managed(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        xml: String,
        running: Option<bool>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let _job = acquire(domain, Request::ModifyConfig, "managedsave-define", client).await?;
        self.redefine_saved(self.own_image(domain)?, xml, running).await
    }

    fn own_image(&self, domain: &Domain) -> Result<PathBuf, VirError> {
        let path = self.managed_image(&domain.snapshot().name);
        match path.exists() {
            true => Ok(path),
            false => Err(VirError::invalid_state("domain does not have managed save image")),
        }
    }

    /// Removes a domain's managed save image.
    ///
    /// # Errors
    /// libvirt's, when it cannot be removed or is not there.
    pub async fn remove_managed(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let _job = acquire(domain, Request::ModifyConfig, "managedsave-remove", client).await?;
        let path = self.managed_image(&domain.snapshot().name);
        crate::blocking(move || {
            std::fs::remove_file(&path)
                .map_err(|error| system_error("remove managed save", &path, &error))
        })
        .await?;
        domain.publish(|snapshot| snapshot.managed_save = false);
        Ok(())
    }

    /// What a start of a domain takes up: its managed save image, unless it has none, is to boot,
    /// or the image holds nothing of a guest (then it is removed).
    ///
    /// # Errors
    /// An image that cannot be used but may hold something; it stays.
    pub(in crate::domain) async fn managed_start(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        options: StartOptions,
    ) -> Result<Option<(Definition, Incoming)>, VirError> {
        let name = domain.snapshot().name.clone();
        let path = self.managed_image(&name);
        let force = options.force_boot;
        let found = crate::blocking(move || {
            if !path.exists() {
                return Ok(None);
            }
            let image = if force { None } else { Some(Image::open(&path, false)) };
            let why = match image {
                Some(Ok(image)) => return Ok(Some(image)),
                Some(Err(OpenFault::Image(fault))) if fault.is_worthless() => fault.to_string(),
                Some(Err(fault)) => return Err(fault.into()),
                None => "it is to boot".to_owned(),
            };
            tracing::warn!(domain = %name, why, "the managed save image is removed");
            std::fs::remove_file(&path)
                .map_err(|error| system_error("remove managed save", &path, &error))?;
            Ok(None)
        })
        .await?;
        let Some(image) = found else {
            domain.publish(|snapshot| snapshot.managed_save = false);
            return Ok(None);
        };
        let definition = self.definition_in(&image, None).await?;
        let snapshot = domain.snapshot();
        let uuid = definition.uuid;
        if definition.name != *snapshot.name || uuid != Some(domain.uuid) {
            return Err(VirError::failed(format!(
                "cannot restore domain '{}' uuid {} from a file which belongs to domain '{}' uuid {}",
                snapshot.name,
                domain.uuid,
                definition.name,
                uuid.map_or_else(|| "?".to_owned(), |uuid| uuid.to_string())
            ))
            .hint("managedsave-remove removes the image, start --force-boot too"));
        }
        let definition = self.filtered(&image, definition).await?;
        let mut incoming = Incoming::of(image, None, options.bypass_cache)?;
        incoming.managed = true;
        Ok(Some((definition, incoming)))
    }
}
