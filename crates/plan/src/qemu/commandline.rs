//! `<qemu:commandline>`: arguments and environment as the user gave them.

use super::build::Build;

impl Build<'_> {
    /// The user's own arguments, at the very end.
    pub(super) fn own_arguments(&mut self) {
        if let Some(own) = &self.d.qemu_commandline {
            for arg in &own.args {
                self.args.push(crate::step::Arg::text(arg.value.clone()));
            }
        }
    }

    /// QEMU's whole environment.
    pub(super) fn environment(&self) -> Vec<(String, Option<String>)> {
        let dir = &self.private_dir;
        let mut env: Vec<(String, Option<String>)> = vec![
            ("LC_ALL".into(), Some("C".into())),
            ("PATH".into(), None),
            ("HOME".into(), Some(dir.clone())),
            ("USER".into(), None),
            ("LOGNAME".into(), None),
            ("XDG_DATA_HOME".into(), Some(format!("{dir}/.local/share"))),
            ("XDG_CACHE_HOME".into(), Some(format!("{dir}/.cache"))),
            ("XDG_CONFIG_HOME".into(), Some(format!("{dir}/.config"))),
        ];
        for own in self.d.qemu_commandline.iter().flat_map(|own| &own.envs) {
            env.push((own.name.clone(), Some(own.value.clone().unwrap_or_default())));
        }
        env
    }
}
