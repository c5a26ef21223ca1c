//! nbdkit, which serves images of web, FTP and SSH servers where qemu.conf wants that and it is
//! installed; else QEMU reaches them by itself.

use crate::engine::Engine;
use host::script;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, StorageType};
use plan::qemu::Nbdkit;
use std::path::Path;
use std::time::Duration;

/// How long it may take to tell how it was built.
const PATIENCE: Duration = Duration::from_secs(10);

/// The plugins that images are served by.
const PLUGINS: [&str; 2] = ["curl", "ssh"];

impl Engine {
    /// nbdkit, if it is to be used, is installed, and `definition` has an image that it could serve.
    /// Asked anew for each start: it comes and goes with its packages. May block.
    pub(in crate::domain) fn nbdkit(&self, definition: &Definition) -> Option<Nbdkit> {
        if !self.settings.use_nbdkit || !could_serve(definition) {
            return None;
        }
        let path = self.search_path();
        let program = std::env::split_paths(&path).map(|folder| folder.join("nbdkit"));
        let program = program.into_iter().find(|program| program.is_file())?;
        let program = program.to_str()?.to_owned();
        let call = script::Call {
            program: &program,
            args: &["--dump-config"],
            env: &[("LC_ALL", "C".into()), ("PATH", path.into_os_string())],
            input: b"",
            deadline: PATIENCE,
        };
        let said = script::run(&call)
            .inspect_err(|error| tracing::warn!(%error, "nbdkit is not used"))
            .ok()?;
        let said = String::from_utf8_lossy(&said);
        let folder = Path::new(plugin_folder(&said)?);
        let there = |plugin: &&str| folder.join(format!("nbdkit-{plugin}-plugin.so")).exists();
        let plugins = PLUGINS.into_iter().filter(there).map(str::to_owned).collect();
        Some(Nbdkit { program, plugins })
    }
}

/// The folder of plugins in what nbdkit tells of itself (nbdkit(1), `--dump-config`).
fn plugin_folder(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.strip_prefix("plugindir="))
}

/// Whether an image of a definition is on a server of the kinds that nbdkit knows.
fn could_serve(definition: &Definition) -> bool {
    definition.devices.iter().flat_map(|devices| &devices.disks).flat_map(Disk::images).any(
        |image| {
            image.kind == StorageType::Network
                && matches!(
                    image.source.protocol.as_deref(),
                    Some("http" | "https" | "ftp" | "ftps" | "tftp" | "ssh")
                )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    #[test]
    fn the_folder_of_plugins() {
        let said = "bindir=/usr/bin\nplugindir=/usr/lib/nbdkit/plugins\nversion=1.32\n";
        assert_eq!(plugin_folder(said), Some("/usr/lib/nbdkit/plugins"));
        assert_eq!(plugin_folder("usage"), None);
    }

    #[test]
    fn images_of_servers() {
        let disk = |source: &str| {
            format!("<disk type='network'>{source}<target dev='vda' bus='virtio'/></disk>")
        };
        let below = "<disk type='file'><source file='/a'/><backingStore type='network'>\
                     <format type='raw'/><source protocol='https' name='x'><host name='h'/>\
                     </source></backingStore><target dev='vda' bus='virtio'/></disk>";
        for (disks, expected) in [
            (String::new(), false),
            (disk("<source protocol='nbd' name='x'><host name='h'/></source>"), false),
            (disk("<source protocol='ssh' name='x'><host name='h'/></source>"), true),
            (disk("<source protocol='tftp' name='x'><host name='h'/></source>"), true),
            (below.to_owned(), true),
        ] {
            let xml = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory>\
                 <os><type>hvm</type></os><devices>{disks}</devices></domain>"
            );
            let domain = parse(&xml, ParseOptions::default()).domain.expect("a domain");
            assert_eq!(could_serve(&domain), expected, "{disks}");
        }
    }
}
