//! Video cards.

use xml::YesNo;

use super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::video::VideoType;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    let kinds: Vec<VideoType> =
        dev.videos.iter().filter_map(|v| Some(v.model.as_ref()?.kind)).collect();
    if kinds.contains(&VideoType::None) && dev.videos.len() > 1 {
        out.unsupported(
            "domain.video-none",
            "a 'none' video type must be the only video device defined for the domain",
        );
    }
    let primaries = dev
        .videos
        .iter()
        .filter(|v| v.model.as_ref().and_then(|m| m.primary) == Some(YesNo::Yes))
        .count();
    if primaries > 1 {
        out.unsupported("domain.video-primary", "Only one primary video device is supported");
    }
    for k in kinds {
        if matches!(k, VideoType::Xen | VideoType::Vbox | VideoType::Parallels | VideoType::Gop) {
            out.unsupported(
                "domain.video-type",
                format!("video type '{}' is not supported with QEMU", k.as_str()),
            );
        }
    }
}
