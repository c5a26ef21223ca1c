//! What becomes of a disk's chain of images when a job ends. Images go by their numbers.

use model::domain::devices::disk::{BackingStore, Disk, DiskMirror};

/// The numbers of a disk's images, the top first.
pub(super) fn numbers(disk: &Disk) -> Vec<u32> {
    disk.images().filter_map(|image| image.number).collect()
}

/// The numbers from `top` down to above `base` (or to the last), with those of the files that hold
/// the bytes of these images.
pub(super) fn between(disk: &Disk, top: u32, base: Option<u32>) -> Vec<u32> {
    let from = disk.images().skip_while(|image| image.number != Some(top));
    let part = from.take_while(|image| base.is_none() || image.number != base);
    part.flat_map(|image| {
        let data = image.source.data_source().and_then(|data| data.index);
        [image.number, data]
    })
    .flatten()
    .collect()
}

/// Makes the image `lower` what `upper` stands on, or has the chain end there.
pub(super) fn relink(disk: &mut Disk, upper: u32, lower: Option<u32>) {
    let below = match lower {
        Some(number) => disk.layers().find(|layer| layer.index == Some(number)).cloned(),
        None => Some(BackingStore::default()),
    };
    let Some(below) = below.map(Box::new) else { return };
    if disk.source.as_ref().and_then(|source| source.index) == Some(upper) {
        disk.backing_store = Some(below);
        return;
    }
    let mut next = disk.backing_store.as_deref_mut();
    while let Some(layer) = next {
        if layer.index == Some(upper) {
            layer.backing_store = Some(below);
            return;
        }
        next = layer.backing_store.as_deref_mut();
    }
}

/// Makes a layer of the chain the disk's image.
pub(super) fn promote(disk: &mut Disk, number: u32) {
    let Some(layer) = disk.layers().find(|layer| layer.index == Some(number)).cloned() else {
        return;
    };
    let mirror = DiskMirror {
        kind: layer.kind,
        image_format: layer.format,
        source: layer.source.map(|mut source| {
            source.index = Some(number);
            source
        }),
        backing_store: Some(layer.backing_store.unwrap_or_default()),
        ..DiskMirror::default()
    };
    take(disk, mirror);
}

/// Makes a copy the disk's image; `shallow`: it stands on what that stood on.
pub(super) fn take_mirror(disk: &mut Disk, shallow: bool) {
    let Some(mut mirror) = disk.mirror.take() else { return };
    if shallow {
        mirror.backing_store = disk.backing_store.take();
    }
    mirror.backing_store.get_or_insert_default();
    take(disk, *mirror);
}

fn take(disk: &mut Disk, mirror: DiskMirror) {
    let Some(mut source) = mirror.source else { return };
    let before = disk.source.take().unwrap_or_default();
    // Not of the image but of the disk.
    source.startup_policy = before.startup_policy;
    if source.seclabels.is_empty() {
        source.seclabels = before.seclabels;
    }
    disk.kind = mirror.kind.unwrap_or_default();
    disk.source = Some(source);
    disk.backing_store = mirror.backing_store;
    disk.mirror = None;
    // Beside the source they were the old image's.
    disk.encryption = None;
    disk.auth = None;
    let driver = disk.driver.get_or_insert_default();
    let format = mirror.image_format.unwrap_or_default();
    driver.metadata_cache = format.metadata_cache;
    driver.kind = Some(if format.kind.is_empty() { "raw".to_owned() } else { format.kind });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A disk whose images a, b, c and d have the numbers from 1 on.
    pub fn chained() -> Disk {
        let mut below = "<backingStore/>".to_owned();
        for (number, name) in [(4, "/d"), (3, "/c"), (2, "/b")] {
            below = format!(
                "<backingStore type='file' index='{number}'><format type='qcow2'/>\
                 <source file='{name}'/>{below}</backingStore>"
            );
        }
        let mirror = "<mirror type='file' job='copy'><format type='raw'/>\
                      <source file='/m' index='9'/></mirror>";
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><disk type='file'><driver name='qemu' type='qcow2' cache='none'/>\
             <source file='/a' index='1'/>{below}{mirror}<target dev='vda'/></disk></devices>\
             </domain>"
        );
        let parsed = model::domain::parse(&text, model::domain::ParseOptions { live: true }).domain;
        parsed.expect("a domain").devices.expect("devices").disks.remove(0)
    }

    fn shown(disk: &Disk) -> String {
        let image = |path: Option<&String>, number: Option<u32>| {
            format!("{}{}", path.map_or("-", String::as_str), number.unwrap_or(0))
        };
        let ended = disk.layers().last().is_some_and(|layer| layer.source.is_none());
        let images = disk.images().map(|each| image(each.source.file.as_ref(), each.number));
        let format = disk.driver.as_ref().and_then(|driver| driver.kind.clone());
        let images: Vec<_> = images.collect();
        format!(
            "{} {}{}",
            format.unwrap_or_default(),
            images.join(" "),
            if ended { "." } else { "" }
        )
    }

    #[test]
    fn what_a_chain_becomes() {
        type Case = (&'static str, fn(&mut Disk), &'static str);
        let cases: [Case; 8] = [
            ("nothing", |_| {}, "qcow2 /a1 /b2 /c3 /d4."),
            ("pull all", |disk| relink(disk, 1, None), "qcow2 /a1."),
            ("pull to c", |disk| relink(disk, 1, Some(3)), "qcow2 /a1 /c3 /d4."),
            ("commit b and c", |disk| relink(disk, 1, Some(4)), "qcow2 /a1 /d4."),
            ("commit c", |disk| relink(disk, 2, Some(4)), "qcow2 /a1 /b2 /d4."),
            ("commit a", |disk| promote(disk, 3), "qcow2 /c3 /d4."),
            ("a copy", |disk| take_mirror(disk, false), "raw /m9."),
            ("a shallow copy", |disk| take_mirror(disk, true), "raw /m9 /b2 /c3 /d4."),
        ];
        for (what, change, expected) in cases {
            let mut disk = chained();
            change(&mut disk);
            assert_eq!(shown(&disk), expected, "{what}");
        }
    }

    #[test]
    fn which_images_go() {
        let disk = chained();
        for (top, base, expected) in [
            (1, Some(4), vec![1, 2, 3]),
            (2, Some(4), vec![2, 3]),
            (2, None, vec![2, 3, 4]),
            (4, Some(4), vec![]),
            (7, None, vec![]),
        ] {
            assert_eq!(between(&disk, top, base), expected, "{top} {base:?}");
        }
        assert_eq!(numbers(&disk), [1, 2, 3, 4]);
    }
}
