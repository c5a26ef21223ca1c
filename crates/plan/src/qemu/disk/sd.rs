//! Memory cards in a slot of the board: QEMU finds them only as drives of its older form.

use super::super::build::{Build, Switch, comma};
use crate::block::{self, Chain, Purpose};
use crate::step::Access;
use model::domain::devices::disk::*;
use serde_json::Value;

/// Members of an object as `PREFIX.KEY=VALUE`, lists numbered.
fn dotted(prefix: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                dotted(&format!("{prefix}.{key}"), value, out);
            }
        }
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                dotted(&format!("{prefix}.{place}"), value, out);
            }
        }
        Value::String(text) => out.push(format!("{prefix}={}", comma(text))),
        Value::Bool(on) => out.push(format!("{prefix}={}", if *on { "on" } else { "off" })),
        other => out.push(format!("{prefix}={other}")),
    }
}

impl Build<'_> {
    /// `-drive if=sd`.
    pub(super) fn sd_card(&mut self, disk: &Disk, element: &str) {
        let index = disk_index(&disk.target.dev);
        let chain = Chain::new(disk);
        let mut parts = Vec::new();
        if let Some(image) = chain.images.first() {
            let mut image = image.clone();
            image.debug = Some(self.set.gluster_debug_level);
            match (image.kind, &image.source.file, &image.source.dev) {
                (StorageType::File, Some(path), _) | (StorageType::Block, _, Some(path)) => {
                    let owner = self.image_owner(image.source);
                    self.grant_image(owner, path, Access::ReadWrite, false, element);
                    parts.push(format!("file={}", comma(path)));
                }
                _ => match block::storage(&image, Purpose::Run) {
                    Ok(props) => dotted("file", &props.into_value(), &mut parts),
                    Err(error) => self.fail("qemu.disk-source", format!("{element}: {error}")),
                },
            }
            parts.push(format!("format={}", image.format));
        }
        parts.push("if=sd".to_string());
        parts.push(format!("index={index}"));
        if disk.readonly {
            parts.push("readonly=on".to_string());
        }
        parts.extend(Self::drive_options(disk));
        self.opt("-drive", &parts.join(","));
    }
}

impl Build<'_> {
    /// How an older drive is opened.
    fn drive_options(disk: &Disk) -> Vec<String> {
        let driver = disk.driver.clone().unwrap_or_default();
        let word = |key: &str, value: Option<&str>| value.map(|value| format!("{key}={value}"));
        let cache = block::cache_mode(disk).filter(|mode| *mode != CacheMode::Default);
        [
            word("cache", cache.map(CacheMode::as_str)),
            word("copy-on-read", driver.copy_on_read.filter(|on| on.on()).map(|_| "on")),
            word("discard", driver.discard.map(DiscardMode::as_str)),
            word("detect-zeroes", driver.detect_zeroes.map(DetectZeroes::as_str)),
            word("aio", driver.io.map(IoMode::as_str)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The place of a target name in its series: `sda` 0, `sdb` 1, `sdaa` 26.
fn disk_index(name: &str) -> u32 {
    let letters = name.get(2..).unwrap_or_default();
    let mut index: u32 = 0;
    for letter in letters.bytes().filter(u8::is_ascii_lowercase) {
        index = index.saturating_mul(26).saturating_add(u32::from(letter - b'a') + 1);
    }
    index.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_opened_as_its_driver_says() {
        for (driver, expected) in [
            ("cache='none' io='native'", "cache=none,aio=native"),
            ("discard='unmap' detect_zeroes='on'", "discard=unmap,detect-zeroes=on"),
            ("copy_on_read='on' cache='default'", "copy-on-read=on"),
            ("copy_on_read='off'", ""),
        ] {
            let text = format!(
                "<disk type='file'><driver name='qemu' {driver}/><source file='/a'/>\
                 <target dev='sda' bus='sd'/></disk>"
            );
            let disk: Disk = xml::read_str(&text, "disk").value.expect("a disk");
            assert_eq!(Build::drive_options(&disk).join(","), expected, "{driver}");
        }
    }
}
