//! Walking a disk's images.

use super::*;

/// One image of a disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskImage<'a> {
    /// What its source is: of a running guest's volume, what that is.
    pub kind: StorageType,
    /// The name of its format, where one is given.
    pub format: Option<&'a str>,
    /// Where it is.
    pub source: &'a DiskSource,
    /// The number that names its nodes; only a running guest's images have one.
    pub number: Option<u32>,
}

impl BackingStore {
    /// This layer and those below it, to the last element that is there: it may say no more than that
    /// the chain ends.
    pub fn chain(&self) -> impl Iterator<Item = &BackingStore> {
        std::iter::successors(Some(self), |layer| layer.backing_store.as_deref())
    }

    /// What lies in this layer; none where it only ends the chain.
    fn image(&self) -> Option<DiskImage<'_>> {
        Some(DiskImage {
            kind: self.kind.unwrap_or_default(),
            format: self.format.as_ref().map(|format| format.kind.as_str()),
            source: self.source.as_ref()?,
            number: self.index,
        })
    }
}

impl Disk {
    /// The layers below the top image, as [`BackingStore::chain`] has them.
    pub fn layers(&self) -> impl Iterator<Item = &BackingStore> {
        self.backing_store.iter().flat_map(|below| below.chain())
    }

    /// The images that the disk names, the top first. Not among them: the files that hold an image's
    /// bytes ([`DiskSource::data_source`]), and a copy that is being made (`mirror`).
    pub fn images(&self) -> impl Iterator<Item = DiskImage<'_>> {
        let top = self.source.as_ref().map(|source| DiskImage {
            kind: source.actual_type.unwrap_or(self.kind),
            format: self.driver.as_ref().and_then(|driver| driver.kind.as_deref()),
            source,
            number: source.index,
        });
        top.into_iter().chain(self.layers().filter_map(BackingStore::image))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{ParseOptions, parse};

    /// File, format and number of the images of a disk; the number of its layers.
    fn walked(inner: &str) -> (Vec<String>, usize) {
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><disk type='file'>{inner}<target dev='vda'/></disk></devices></domain>"
        );
        let domain = parse(&text, ParseOptions { live: true }).domain.expect("a domain");
        let disk = &domain.devices.expect("devices").disks[0];
        let images = disk.images().map(|image| {
            let file = image.source.file.as_deref().unwrap_or("-");
            format!("{file} {:?} {:?}", image.format, image.number)
        });
        (images.collect(), disk.layers().count())
    }

    #[test]
    fn images_from_the_top_to_the_end_of_the_chain() {
        let layer = |name: &str, inner: &str| {
            format!(
                "<backingStore type='file' index='2'><format type='qcow2'/>\
                 <source file='{name}'/>{inner}</backingStore>"
            )
        };
        let top = "<driver type='raw'/><source file='/a' index='1'/>";
        let (one, two) = ("/a Some(\"raw\") Some(1)", "/b Some(\"qcow2\") Some(2)");
        let end = "<backingStore/>";
        for (inner, images, layers) in [
            (String::new(), vec![], 0),
            (top.to_owned(), vec![one], 0),
            (format!("{top}{end}"), vec![one], 1),
            (format!("{top}{}", layer("/b", "")), vec![one, two], 1),
            (format!("{top}{}", layer("/b", end)), vec![one, two], 2),
            (
                format!("{top}{}", layer("/b", &layer("/c", end))),
                vec![one, two, "/c Some(\"qcow2\") Some(2)"],
                3,
            ),
        ] {
            let images: Vec<String> = images.into_iter().map(str::to_owned).collect();
            assert_eq!(walked(&inner), (images, layers), "{inner}");
        }
    }
}
