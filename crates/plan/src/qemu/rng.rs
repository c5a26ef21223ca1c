//! Random number generators.

use super::build::{Build, Props};
use crate::step::{Action, FileKind, Step};
use model::domain::devices::chardev::CharSource;
use model::domain::devices::rng::RngBackendModel;

impl Build<'_> {
    /// All random number generators.
    pub(super) fn rngs(&mut self) {
        for rng in self.each("devices/rng", &self.dev.rngs) {
            let id = self.alias(&rng.alias, "<rng>");
            let object = format!("obj{id}");
            let props = match rng.backend.model {
                RngBackendModel::Random => {
                    let path = rng.backend.device.clone().unwrap_or_else(|| "/dev/random".into());
                    let (role, kind) = ("<rng>".to_owned(), FileKind::Random);
                    let require = Action::RequireFile { path: path.clone(), role, kind };
                    self.steps.push(Step::new(require));
                    Props::object("rng-random", &object).set("filename", path)
                }
                RngBackendModel::Builtin => {
                    self.need("rng-builtin", "<backend model='builtin'>");
                    Props::object("rng-builtin", &object)
                }
                RngBackendModel::Egd => {
                    self.need("rng-egd", "<backend model='egd'>");
                    let source = &rng.backend.source;
                    let source = CharSource {
                        kind: source.kind.unwrap_or_default(),
                        tty: None,
                        sources: source.sources.clone(),
                        protocol: source.protocol.clone(),
                        log: source.log.clone(),
                    };
                    let chardev = self.chardev(&source, &id, "<rng>");
                    Props::object("rng-egd", &object).set("chardev", chardev)
                }
            };
            self.object(props);
            let name = self.virtio_name("virtio-rng", &rng.address, Some(rng.model));
            let mut props = Props::device(&name)
                .extend(Self::virtio_options(rng.driver.as_ref()))
                .set("rng", object)
                .set("id", id);
            if let Some(rate) = &rng.rate {
                props =
                    props.set("max-bytes", rate.bytes).set("period", rate.period.unwrap_or(1000));
            }
            let place = self.place(&rng.address, "<rng>");
            self.device(props.extend(place));
        }
    }
}
