//! Sound cards and audio back ends.

use super::build::{Build, Props, Switch};
use model::domain::devices::audio::{Audio, AudioIo, AudioType};
use model::domain::devices::sound::{Sound, SoundModel};
use serde_json::{Value, json};

impl Build<'_> {
    /// `-audiodev` for each back end.
    pub(super) fn audios(&mut self) {
        for audio in self.each("devices/audio", &self.dev.audios) {
            self.audio(audio);
        }
    }

    fn audio(&mut self, audio: &Audio) {
        let driver = match audio.kind {
            AudioType::None => "none",
            AudioType::Alsa => "alsa",
            AudioType::Coreaudio => "coreaudio",
            AudioType::Jack => "jack",
            AudioType::Oss => "oss",
            AudioType::Pulseaudio => "pa",
            AudioType::Sdl => "sdl",
            AudioType::Spice => "spice",
            AudioType::File => "wav",
            AudioType::Dbus => "dbus",
            AudioType::Pipewire => "pipewire",
        };
        let id = format!("audio{}", audio.id.unwrap_or(1));
        let mut props = Props::default()
            .set("id", id)
            .set("driver", driver)
            .opt("timer-period", audio.timer_period);
        props = match audio.kind {
            AudioType::Oss => props
                .on_off("try-mmap", audio.try_mmap)
                .on_off("exclusive", audio.exclusive)
                .opt("dsp-policy", audio.dsp_policy),
            AudioType::Pulseaudio => props.opt("server", audio.server_name.clone()),
            AudioType::File => props.opt("path", audio.path.clone()),
            _ => props,
        };
        for (key, io) in [("in", &audio.input), ("out", &audio.output)] {
            if let Some(io) = io {
                let value = io_props(audio.kind, io);
                if !value.0.is_empty() {
                    props = props.set(key, Value::Object(value.0));
                }
            }
        }
        self.json("-audiodev", props);
    }

    /// Sound cards.
    pub(super) fn sounds(&mut self) {
        for sound in self.each("devices/sound", &self.dev.sounds) {
            self.sound(sound);
        }
    }

    fn sound(&mut self, sound: &Sound) {
        let id = self.alias(&sound.alias, "<sound>");
        let wanted = sound.audio.as_ref().map(|audio| audio.id);
        let first = self.dev.audios.first().and_then(|audio| audio.id);
        let audiodev = wanted.or(first).map(|id| format!("audio{id}"));
        if audiodev.is_none() && sound.model != SoundModel::Pcspk {
            let text = "unable to find audio backend for sound device";
            self.fail_with("qemu.sound-audio", diag::ErrorCode::INTERNAL_ERROR, text);
            return;
        }
        let place = self.place(&sound.address, "<sound>");
        let plain = |driver: &str| Props::device(driver).set("id", id.clone());
        let props = match sound.model {
            SoundModel::Ich6 => return self.hda("intel-hda", sound, &id, audiodev, place),
            SoundModel::Ich9 => return self.hda("ich9-intel-hda", sound, &id, audiodev, place),
            SoundModel::Es1370 => plain("ES1370").opt("audiodev", audiodev),
            SoundModel::Ac97 => plain("AC97").opt("audiodev", audiodev),
            SoundModel::Sb16 => plain("sb16").opt("audiodev", audiodev),
            SoundModel::Usb => {
                self.need("usb-audio", "<sound model='usb'>");
                let multi = sound.multichannel.map(Switch::on);
                plain("usb-audio").opt("audiodev", audiodev).opt("multi", multi)
            }
            SoundModel::Virtio => {
                self.need("virtio-sound", "<sound model='virtio'>");
                let name = self.virtio_name("virtio-sound", &sound.address, None);
                Props::device(&name)
                    .extend(Self::virtio_options(sound.driver.as_ref()))
                    .set("id", id.clone())
                    .opt("audiodev", audiodev)
                    .opt("streams", sound.streams)
            }
            // Part of the board: an option of it says where it plays.
            SoundModel::Pcspk => return,
            SoundModel::Ich7 => {
                self.fail("qemu.sound", "<sound model='ich7'> is not supported by QEMU");
                return;
            }
        };
        self.device(props.extend(place));
    }

    fn hda(
        &mut self,
        driver: &str,
        sound: &Sound,
        id: &str,
        audiodev: Option<String>,
        place: Props,
    ) {
        self.device(Props::device(driver).set("id", id).extend(place));
        let mut kinds: Vec<String> = sound.codecs.iter().map(|codec| codec.kind.clone()).collect();
        if kinds.is_empty() {
            kinds.push("duplex".into());
        }
        for (cad, kind) in kinds.iter().enumerate() {
            let driver = format!("hda-{kind}");
            let props = Props::device(&driver)
                .set("id", format!("{id}-codec{cad}"))
                .set("bus", format!("{id}.0"))
                .set("cad", cad)
                .opt("audiodev", audiodev.clone());
            self.device(props);
        }
    }
}

/// One direction of an audio back end.
fn io_props(kind: AudioType, io: &AudioIo) -> Props {
    let mut props = Props::default()
        .on_off("mixing-engine", io.mixing_engine)
        .on_off("fixed-settings", io.fixed_settings)
        .opt("voices", io.voices)
        .opt("buffer-length", io.buffer_length);
    if let Some(settings) = &io.settings {
        props = props
            .opt("frequency", settings.frequency)
            .opt("channels", settings.channels)
            .opt("format", settings.format.clone());
    }
    match kind {
        // libvirt says nothing of ALSA's polling, though it reads it.
        AudioType::Alsa => props.opt("dev", io.dev.clone()),
        AudioType::Oss => props
            .opt("dev", io.dev.clone())
            .opt("buffer-count", io.buffer_count)
            .on_off("try-poll", io.try_poll),
        AudioType::Pulseaudio | AudioType::Pipewire => props
            .opt("name", io.name.clone())
            .opt("stream-name", io.stream_name.clone())
            .opt("latency", io.latency),
        AudioType::Jack => props
            .opt("server-name", io.server_name.clone())
            .opt("client-name", io.client_name.clone())
            .opt("connect-ports", io.connect_ports.clone())
            .on_off("exact-name", io.exact_name),
        AudioType::Coreaudio | AudioType::Sdl => {
            props.opt("buffer-count", io.buffer_count.map(|n| json!(n)))
        }
        _ => props,
    }
}
