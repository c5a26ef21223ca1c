//! The memory balloon.

use super::build::{Build, Props, Switch};
use crate::step::QmpCommand;
use model::domain::devices::disk::DiskModel;
use model::domain::devices::memballoon::BalloonModel;

impl Build<'_> {
    /// The balloon, and its size at start.
    pub(super) fn balloon(&mut self) {
        for balloon in self.each("devices/memballoon", &self.dev.memballoons) {
            let flavour = match balloon.model {
                BalloonModel::None => continue,
                BalloonModel::Virtio => DiskModel::Virtio,
                BalloonModel::VirtioTransitional => DiskModel::VirtioTransitional,
                BalloonModel::VirtioNonTransitional => DiskModel::VirtioNonTransitional,
                BalloonModel::Xen => {
                    self.fail(
                        "qemu.balloon",
                        "Memory balloon device type 'xen' is not supported by this version of qemu",
                    );
                    continue;
                }
            };
            let id = self.alias(&balloon.alias, "<memballoon>");
            let name = self.virtio_name("virtio-balloon", &balloon.address, Some(flavour));
            let mut props = Props::device(&name)
                .extend(Self::virtio_options(balloon.driver.as_ref()))
                .set("id", id.clone());
            if let Some(on) = balloon.auto_deflate {
                props = props.set("deflate-on-oom", on.on());
            }
            if let Some(on) = balloon.free_page_reporting {
                props = props.set("free-page-reporting", on.on());
            }
            let place = self.place(&balloon.address, "<memballoon>");
            self.device(props.extend(place));
            if let Some(stats) = balloon.stats.as_ref().filter(|stats| stats.period > 0) {
                let command = serde_json::json!({"execute": "qom-set", "arguments": {
                    "path": format!("/machine/peripheral/{id}"),
                    "property": "guest-stats-polling-interval",
                    "value": stats.period,
                }});
                self.commands.push(QmpCommand {
                    result: None,
                    json: command.to_string(),
                    secret: false,
                });
            }
            let total = self.d.memory.as_ref().map_or(0, |memory| memory.size.0);
            let current = self.d.current_memory.as_ref().map_or(total, |memory| memory.0);
            if current < total {
                let command = serde_json::json!({"execute": "balloon", "arguments": {
                    "value": current * 1024,
                }});
                self.commands.push(QmpCommand {
                    result: None,
                    json: command.to_string(),
                    secret: false,
                });
            }
        }
    }
}
