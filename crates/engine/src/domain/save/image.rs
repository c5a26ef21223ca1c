//! Images of saved guests: opening, and the definition inside.

use super::{image_error, system_error};
use crate::engine::Engine;
use diag::VirError;
use model::domain::{Domain as Definition, FormatFlags, abi, format};
use model::save_image::{HEADER_LEN, ImageFault, SaveCookie, SaveHeader, Texts, replace};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open image.
#[derive(Debug)]
pub(super) struct Image {
    pub file: File,
    pub path: PathBuf,
    pub header: SaveHeader,
    /// The guest's definition.
    pub xml: String,
    /// The cookie's text.
    cookie: Option<String>,
}

/// Why an image cannot be had.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// It cannot be opened or read.
    System(VirError),
    /// It is none that can be used.
    Image(ImageFault),
}

impl From<OpenFault> for VirError {
    fn from(fault: OpenFault) -> Self {
        match fault {
            OpenFault::System(error) => error,
            OpenFault::Image(fault) => image_error(&fault),
        }
    }
}

impl Image {
    /// Opens an image, to change it or not.
    pub fn open(path: &Path, change: bool) -> Result<Self, OpenFault> {
        let file = File::options()
            .read(true)
            .write(change)
            .open(path)
            .map_err(|error| OpenFault::System(system_error("open", path, &error)))?;
        // Of what cannot be read, libvirt says what it looked for.
        let head = read_up_to(&file, HEADER_LEN as u64)
            .map_err(|_| OpenFault::Image(ImageFault::NoHeader))?;
        let header = SaveHeader::parse(&head).map_err(OpenFault::Image)?;
        let bytes = read_up_to(&file, u64::from(header.data_len))
            .map_err(|_| OpenFault::Image(ImageFault::NoXml))?;
        let texts = header.texts(&bytes).map_err(OpenFault::Image)?;
        let (xml, cookie) = (texts.xml.to_owned(), texts.cookie.map(str::to_owned));
        Ok(Self { file, path: path.to_owned(), header, xml, cookie })
    }

    /// What the cookie says.
    pub fn cookie(&self) -> Result<SaveCookie, VirError> {
        match &self.cookie {
            Some(text) => SaveCookie::parse(text).map_err(|fault| image_error(&fault)),
            None => Ok(SaveCookie::default()),
        }
    }

    fn rewrite(&self, xml: &str, running: bool) -> Result<(), VirError> {
        let texts = Texts { xml, cookie: self.cookie.as_deref() };
        let (header, bytes) =
            replace(self.header, texts, running).map_err(|fault| image_error(&fault))?;
        let head = [&header.bytes(true)[..], &bytes].concat();
        self.file
            .write_all_at(&head, 0)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| super::target::write_error(&self.path, &error))
    }
}

/// Reads on from where the file is, as far as it goes.
fn read_up_to(mut file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Engine {
    /// The definition inside an image.
    ///
    /// # Errors
    /// When the file is no image, or the definition in it cannot be used.
    pub async fn saved_xml(
        self: &Arc<Self>,
        path: PathBuf,
        secure: bool,
    ) -> Result<String, VirError> {
        let image = crate::blocking(move || Ok(Image::open(&path, false)?)).await?;
        let definition = self.definition_in(&image, None).await?;
        Ok(format(&definition, FormatFlags { live: false, secure, migratable: false }))
    }

    /// Puts another definition into an image.
    ///
    /// # Errors
    /// When the guest would notice, or it does not fit there.
    pub async fn redefine_saved(
        self: &Arc<Self>,
        path: PathBuf,
        xml: String,
        running: Option<bool>,
    ) -> Result<(), VirError> {
        let image = crate::blocking(move || Ok(Image::open(&path, true)?)).await?;
        let definition = self.definition_in(&image, Some(xml)).await?;
        let flags = FormatFlags { live: false, secure: true, migratable: true };
        let engine = Arc::clone(self);
        engine
            .detached(async move {
                crate::blocking(move || {
                    let running = running.unwrap_or(image.header.running);
                    image.rewrite(&format(&definition, flags), running)
                })
                .await
            })
            .await
    }

    /// The definition inside an image, or another one that the same guest can go on with.
    pub(super) async fn definition_in(
        self: &Arc<Self>,
        image: &Image,
        other: Option<String>,
    ) -> Result<Definition, VirError> {
        self.capabilities_ready(&image.xml).await?;
        let engine = Arc::clone(self);
        let own = image.xml.clone();
        crate::blocking(move || {
            let own = engine.read_saved(&own)?;
            let Some(other) = other else { return Ok(own) };
            let (other, _) = engine.read_definition(&other, false)?;
            engine.check_same_guest(&own, &other)?;
            Ok(other)
        })
        .await
    }
}

impl Engine {
    /// The definition that the guest of an image goes on with, after the administrator's scripts
    /// have looked at it.
    pub(super) async fn filtered(
        self: &Arc<Self>,
        image: &Image,
        definition: Definition,
    ) -> Result<Definition, VirError> {
        match self.restore_hook(&definition).await? {
            Some(changed) => self.definition_in(image, Some(changed)).await,
            None => Ok(definition),
        }
    }

    /// A guest that has run with `own`, as an image has it, can go on with `other`: it sees no
    /// difference. What every such guest has is left out of an image, and comes last when it is
    /// read: so it is of the other one before the two are compared.
    pub(super) fn check_same_guest(
        &self,
        own: &Definition,
        other: &Definition,
    ) -> Result<(), VirError> {
        let flags = FormatFlags { live: false, secure: true, migratable: true };
        let other = self.read_saved(&format(other, flags))?;
        abi::check(own, &other).map_err(|error| error.to_vir())
    }
}
