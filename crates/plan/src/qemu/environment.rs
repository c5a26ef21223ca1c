//! QEMU's whole environment: nothing of the daemon's own gets through but what is named here.

use super::build::Build;
use model::domain::clock::ClockOffset;
use model::domain::devices::audio::AudioType;
use model::domain::devices::graphics::GraphicsType;

/// A variable and its value; without one it is taken from the daemon's environment.
type Variable = (String, Option<String>);

impl Build<'_> {
    /// The variables in libvirt's order. `HOME` and the folders of the desktop's conventions point
    /// into the guest's own folder, so that no library of QEMU finds files of another guest.
    pub(super) fn environment(&self) -> Vec<Variable> {
        let dir = &self.private_dir;
        let mut env: Vec<Variable> = vec![
            ("LC_ALL".into(), Some("C".into())),
            ("PATH".into(), None),
            ("HOME".into(), Some(dir.clone())),
            ("USER".into(), None),
            ("LOGNAME".into(), None),
            ("XDG_DATA_HOME".into(), Some(format!("{dir}/.local/share"))),
            ("XDG_CACHE_HOME".into(), Some(format!("{dir}/.cache"))),
            ("XDG_CONFIG_HOME".into(), Some(format!("{dir}/.config"))),
        ];
        // The clock's option has no words for a zone: QEMU's library looks here.
        let zone = self.d.clock.as_ref().filter(|clock| clock.offset == ClockOffset::Timezone);
        if let Some(zone) = zone.and_then(|clock| clock.timezone.clone()) {
            env.push(("TZ".into(), Some(zone)));
        }
        self.audio_environment(&mut env);
        self.graphics_environment(&mut env);
        for own in self.d.qemu_commandline.iter().flat_map(|own| &own.envs) {
            env.push((own.name.clone(), Some(own.value.clone().unwrap_or_default())));
        }
        env
    }

    /// What the libraries behind the audio back ends read nowhere else.
    fn audio_environment(&self, env: &mut Vec<Variable>) {
        for audio in &self.dev.audios {
            let variable: Variable = match audio.kind {
                // Which of its drivers SDL uses.
                AudioType::Sdl if audio.driver.is_some() => {
                    ("SDL_AUDIODRIVER".into(), audio.driver.clone())
                }
                // Where the server's socket is: as the guest says, or as for the daemon.
                AudioType::Pipewire => ("PIPEWIRE_RUNTIME_DIR".into(), audio.runtime_dir.clone()),
                _ => continue,
            };
            if !env.iter().any(|(name, _)| *name == variable.0) {
                env.push(variable);
            }
        }
    }

    /// Where SASL finds its configuration, and whose screen SDL draws on.
    fn graphics_environment(&self, env: &mut Vec<Variable>) {
        for graphics in &self.dev.graphics {
            let sasl = match graphics.kind {
                GraphicsType::Vnc => self.set.vnc.sasl_dir.as_ref(),
                GraphicsType::Spice => self.set.spice.sasl_dir.as_ref(),
                GraphicsType::Sdl => {
                    for (name, value) in
                        [("XAUTHORITY", &graphics.xauth), ("DISPLAY", &graphics.display)]
                    {
                        if let Some(value) = value {
                            env.push((name.into(), Some(value.clone())));
                        }
                    }
                    None
                }
                _ => None,
            };
            if let Some(dir) = sasl.filter(|dir| !dir.is_empty()) {
                env.push(("SASL_CONF_PATH".into(), Some(dir.clone())));
            }
        }
    }
}
