//! Video cards.

use super::build::{Build, Props, Switch};
use super::words::{Address, YesNo};
use model::domain::devices::video::{Video, VideoType};

impl Build<'_> {
    /// Video cards.
    pub(super) fn videos(&mut self) {
        for (index, video) in self.each("devices/video", &self.dev.videos).enumerate() {
            let model = video.model.clone().unwrap_or_default();
            if model.kind == VideoType::None {
                continue;
            }
            let primary = model.primary.map_or(index == 0, Switch::on);
            self.video(video, primary);
        }
    }

    fn video(&mut self, video: &Video, primary: bool) {
        let model = video.model.clone().unwrap_or_default();
        let driver = video.driver.clone().unwrap_or_default();
        let id = self.alias(&video.alias, "<video>");
        let accel3d = model
            .acceleration
            .as_ref()
            .is_some_and(|acceleration| acceleration.accel3d == Some(YesNo::Yes));
        let ccw = matches!(video.address, Some(Address::Ccw(_)));
        if driver.name.as_deref() == Some("vhostuser") {
            self.vhost_user_video(video, primary);
            return;
        }
        let name = match model.kind {
            VideoType::Vga => "VGA".to_string(),
            VideoType::Cirrus => "cirrus-vga".to_string(),
            VideoType::Vmvga => "vmware-svga".to_string(),
            VideoType::Qxl => if primary { "qxl-vga" } else { "qxl" }.to_string(),
            VideoType::Bochs => "bochs-display".to_string(),
            VideoType::Ramfb => "ramfb".to_string(),
            VideoType::Virtio => {
                let vga = primary && self.has("virtio-vga") && !ccw;
                match (vga, accel3d) {
                    (true, true) if self.has("virtio-vga-gl") => "virtio-vga-gl".to_string(),
                    (true, _) => "virtio-vga".to_string(),
                    (false, true) if self.has("virtio-gpu-gl-pci") && !ccw => {
                        "virtio-gpu-gl-pci".to_string()
                    }
                    (false, _) => self.virtio_name("virtio-gpu", &video.address, None),
                }
            }
            other => {
                let kind = format!("{other:?}").to_lowercase();
                self.fail(
                    "qemu.video",
                    format!("video type '{kind}' is not supported with this emulator"),
                );
                return;
            }
        };
        let flag = match model.kind {
            VideoType::Vga => "VGA",
            VideoType::Cirrus => "cirrus-vga",
            VideoType::Vmvga => "vmware-svga",
            VideoType::Qxl => "qxl",
            VideoType::Bochs => "bochs-display",
            VideoType::Ramfb => "ramfb",
            _ if ccw => "virtio-gpu-ccw",
            _ => "virtio-gpu",
        };
        self.need(flag, "<video>");
        let mut props = Props::device(&name);
        if model.kind == VideoType::Virtio {
            props = props.extend(Self::virtio_options(Some(&driver.virtio)));
            if accel3d && !name.contains("-gl") {
                props = props.set("virgl", true);
            }
        }
        props = props.set("id", id);
        let mib = |kib: Option<u32>| kib.map(|kib| kib / 1024);
        props = match model.kind {
            VideoType::Virtio => {
                let heads = model.heads;
                let props = props.opt("max_outputs", heads);
                let props = match &model.resolution {
                    Some(size) => props.set("xres", size.x).set("yres", size.y),
                    None => props,
                };
                props.on_off("blob", model.blob)
            }
            VideoType::Qxl => {
                let props = props
                    .opt("max_outputs", model.heads)
                    .opt("ram_size", model.ram.map(|kib| u64::from(kib) * 1024))
                    .opt("vram_size", model.vram.map(|kib| u64::from(kib) * 1024))
                    .opt("vram64_size_mb", mib(model.vram64.or(Some(0))))
                    .opt("vgamem_mb", mib(model.vgamem));
                match &model.resolution {
                    Some(size) => props.set("xres", size.x).set("yres", size.y),
                    None => props,
                }
            }
            VideoType::Vga => props.opt("vgamem_mb", mib(model.vram)),
            // The card rounds up to a power of two by itself; libvirt says which.
            VideoType::Vmvga => {
                props.opt("vgamem_mb", mib(model.vram.map(|kib| kib.next_power_of_two())))
            }
            VideoType::Bochs => props.opt("vgamem", model.vram.map(|kib| u64::from(kib) * 1024)),
            _ => props,
        };
        if matches!(model.kind, VideoType::Vga | VideoType::Bochs)
            && let Some(size) = &model.resolution
        {
            props = props.set("xres", size.x).set("yres", size.y);
        }
        let place = self.place(&video.address, "<video>");
        let acpi = video.acpi.as_ref().and_then(|acpi| acpi.index);
        self.device(props.extend(place).opt("acpi-index", acpi));
    }
}
