//! Activation of pools.

use model::storage::{Pool, PoolType};

use crate::Command;

/// Options every file system of a pool is mounted with: nothing on it may act on the host.
const SAFE: &str = "nodev,nosuid,noexec";

/// The command that makes a pool's storage available: mounting, or activating a volume group.
/// `None` for pools that need none, or more than a command.
pub fn start_pool(pool: &Pool) -> Option<Command> {
    match pool.kind {
        PoolType::Fs => {
            let device = pool.source.devices.first()?.path.as_deref()?;
            Some(mount(pool, device))
        }
        PoolType::Netfs => {
            let host = pool.source.hosts.first()?.name.as_deref()?;
            let dir = pool.source.dir.as_ref()?.path.as_deref()?;
            let source = match source_format(pool) {
                Some("cifs") => format!("//{host}/{dir}"),
                _ => format!("{host}:{dir}"),
            };
            Some(mount(pool, &source))
        }
        PoolType::Logical => {
            let group = pool.source.name.as_deref()?;
            Some(Command::new("vgchange").arg("-aly").arg(group))
        }
        _ => None,
    }
}

fn source_format(pool: &Pool) -> Option<&str> {
    pool.source.format.as_ref()?.kind.as_deref()
}

fn mount(pool: &Pool, source: &str) -> Command {
    let format = source_format(pool).unwrap_or("auto");
    let network = pool.kind == PoolType::Netfs;
    let mut options = SAFE.to_owned();
    let mut add = |option: &str| {
        options.push(',');
        options.push_str(option);
    };
    match format {
        "cifs" if network => add("guest"),
        "glusterfs" if network => add("direct-io-mode=1"),
        _ => {}
    }
    let version = pool.source.protocol.as_ref().and_then(|protocol| protocol.ver.as_deref());
    if let Some(version) = version {
        add(&format!("nfsvers={version}"));
    }
    for option in pool.mount_options.iter().flat_map(|options| &options.options) {
        if let Some(name) = &option.name {
            add(name);
        }
    }
    let mut command = Command::new("mount").arg("-o").arg(options);
    if !(network && format == "auto") {
        command = command.arg("-t").arg(format);
    }
    command.arg(source).arg(pool.target_path().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, source: &str, more: &str, expected: &str) {
        let text = format!(
            "<pool type='{kind}' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>\
             <name>p</name><source>{source}</source><target><path>/m</path></target>{more}</pool>"
        );
        let parsed = Pool::parse(&text);
        let pool = parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics));
        let command = start_pool(&pool).map(|command| command.argv().join(" "));
        assert_eq!(command.unwrap_or_default(), expected, "{text}");
    }

    #[test]
    fn every_kind() {
        check(
            "fs",
            "<device path='/dev/a'/>",
            "<fs:mount_opts><fs:option name='x=1'/></fs:mount_opts>",
            "mount -o nodev,nosuid,noexec,x=1 -t auto /dev/a /m",
        );
        let net = |format: &str, more: &str| {
            format!("<host name='h'/><dir path='/d'/><format type='{format}'/>{more}")
        };
        check("netfs", &net("auto", ""), "", "mount -o nodev,nosuid,noexec h:/d /m");
        check(
            "netfs",
            &net("nfs", "<protocol ver='4.2'/>"),
            "",
            "mount -o nodev,nosuid,noexec,nfsvers=4.2 -t nfs h:/d /m",
        );
        check(
            "netfs",
            &net("glusterfs", ""),
            "",
            "mount -o nodev,nosuid,noexec,direct-io-mode=1 -t glusterfs h:/d /m",
        );
        check(
            "netfs",
            &net("cifs", ""),
            "",
            "mount -o nodev,nosuid,noexec,guest -t cifs //h//d /m",
        );
        check("logical", "<name>vg</name>", "", "vgchange -aly vg");
        check("dir", "", "", "");
    }
}
