//! Paths and settings that a definition leaves to the daemon.

use super::super::settings::Settings;
use super::super::words::YesNo;
use model::domain::Domain;
use model::domain::devices::chardev::*;

/// Gives unix channels without a path the one that libvirt would choose.
pub(in crate::qemu) fn choose_paths(domain: &mut Domain, set: &Settings, short_name: &str) {
    let channel_dir = &set.channel_dir;
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    let lists = [
        &mut devices.serials,
        &mut devices.parallels,
        &mut devices.consoles,
        &mut devices.channels,
    ];
    let sources = lists.into_iter().flatten().map(|device| &mut device.source);
    let redirected = devices.redirdevs.iter_mut().map(|device| &mut device.source);
    for source in sources.chain(redirected) {
        if source.kind == CharType::Tcp {
            for end in source.sources.iter_mut().filter(|end| end.tls.is_none()) {
                end.tls = Some(if set.chardev_tls.enabled { YesNo::Yes } else { YesNo::No });
                end.tls_from_config = Some("1".into());
            }
        }
    }
    for channel in &mut devices.channels {
        let source = &mut channel.source;
        if source.kind != CharType::Unix || source.sources.iter().any(|s| s.path.is_some()) {
            continue;
        }
        let name = channel.target.as_ref().and_then(|target| target.name.as_deref());
        let path = match name {
            Some(name) => format!("{channel_dir}/{short_name}/{name}"),
            None => format!("{channel_dir}/{short_name}"),
        };
        source.sources.truncate(1);
        match source.sources.first_mut() {
            Some(first) => {
                first.path = Some(path);
                first.mode.get_or_insert(SocketMode::Bind);
            }
            None => source.sources.push(CharSourceElement {
                mode: Some(SocketMode::Bind),
                path: Some(path),
                ..CharSourceElement::default()
            }),
        }
    }
}
