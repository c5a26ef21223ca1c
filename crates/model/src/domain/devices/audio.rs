//! Audio backends.

use crate::domain::prelude::*;

/// Host side of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum AudioType {
    /// `none`.
    #[default]
    None,
    /// `alsa`.
    Alsa,
    /// `coreaudio`.
    Coreaudio,
    /// `jack`.
    Jack,
    /// `oss`.
    Oss,
    /// `pulseaudio`.
    Pulseaudio,
    /// `sdl`.
    Sdl,
    /// `spice`.
    Spice,
    /// `file`.
    File,
    /// `dbus`.
    Dbus,
    /// `pipewire`.
    Pipewire,
}

/// One audio backend.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Audio {
    /// Attribute `id`.
    #[xml(attr, nonzero)]
    pub id: Option<u32>,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: AudioType,
    /// Attribute `timerPeriod`.
    #[xml(attr, name = "timerPeriod", nonzero)]
    pub timer_period: Option<u32>,
    /// Attribute `serverName`.
    #[xml(attr, name = "serverName")]
    pub server_name: Option<String>,
    /// Attribute `runtimeDir`.
    #[xml(attr, name = "runtimeDir")]
    pub runtime_dir: Option<String>,
    /// Attribute `driver`.
    #[xml(attr)]
    pub driver: Option<String>,
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
    /// Attribute `tryMMap`.
    #[xml(attr, name = "tryMMap")]
    pub try_mmap: Option<YesNo>,
    /// Attribute `exclusive`.
    #[xml(attr)]
    pub exclusive: Option<YesNo>,
    /// Attribute `dspPolicy`.
    #[xml(attr, name = "dspPolicy")]
    pub dsp_policy: Option<i32>,
    /// Element `<input>`.
    #[xml(child)]
    pub input: Option<AudioIo>,
    /// Element `<output>`.
    #[xml(child)]
    pub output: Option<AudioIo>,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AudioIo {
    /// Attribute `mixingEngine`.
    #[xml(attr, name = "mixingEngine")]
    pub mixing_engine: Option<YesNo>,
    /// Attribute `fixedSettings`.
    #[xml(attr, name = "fixedSettings")]
    pub fixed_settings: Option<YesNo>,
    /// Attribute `voices`.
    #[xml(attr, nonzero)]
    pub voices: Option<u32>,
    /// Attribute `bufferLength`.
    #[xml(attr, name = "bufferLength", nonzero)]
    pub buffer_length: Option<u32>,
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `streamName`.
    #[xml(attr, name = "streamName")]
    pub stream_name: Option<String>,
    /// Attribute `latency`.
    #[xml(attr, nonzero)]
    pub latency: Option<u32>,
    /// Attribute `serverName`.
    #[xml(attr, name = "serverName")]
    pub server_name: Option<String>,
    /// Attribute `clientName`.
    #[xml(attr, name = "clientName")]
    pub client_name: Option<String>,
    /// Attribute `connectPorts`.
    #[xml(attr, name = "connectPorts")]
    pub connect_ports: Option<String>,
    /// Attribute `exactName`.
    #[xml(attr, name = "exactName")]
    pub exact_name: Option<YesNo>,
    /// Attribute `bufferCount`.
    #[xml(attr, name = "bufferCount", zero_absent)]
    pub buffer_count: Option<u32>,
    /// Attribute `tryPoll`.
    #[xml(attr, name = "tryPoll")]
    pub try_poll: Option<YesNo>,
    /// Element `<settings>`.
    #[xml(child)]
    pub settings: Option<AudioSettings>,
}

/// Sample format.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AudioSettings {
    /// Attribute `frequency`.
    #[xml(attr, nonzero)]
    pub frequency: Option<u32>,
    /// Attribute `channels`.
    #[xml(attr, nonzero)]
    pub channels: Option<u32>,
    /// Attribute `format`.
    #[xml(attr, one_of = &["s8", "u8", "s16", "u16", "s32", "u32", "f32"])]
    pub format: Option<String>,
}
