//! The settings of libvirt-guests: assignments as a shell would read them.

/// Where distributions keep them; the first that is there counts.
pub const FILES: [&str; 2] = ["/etc/default/libvirt-guests", "/etc/sysconfig/libvirt-guests"];

/// What to do with guests when the host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnShutdown {
    /// Ask them to shut down.
    Shutdown,
    /// Save them.
    Suspend,
}

/// The settings with libvirt's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `URIS`; empty: the default one.
    pub uris: Vec<String>,
    /// `ON_BOOT`: start what ran before.
    pub start_on_boot: bool,
    /// `START_DELAY`, in seconds.
    pub start_delay: u64,
    /// `ON_SHUTDOWN`.
    pub on_shutdown: OnShutdown,
    /// `PARALLEL_SHUTDOWN`: how many at once; 0: one after the other.
    pub parallel: usize,
    /// `SHUTDOWN_TIMEOUT`, in seconds; 0: none.
    pub timeout: u64,
    /// `BYPASS_CACHE`.
    pub bypass_cache: bool,
    /// `SYNC_TIME`.
    pub sync_time: bool,
    /// `PERSISTENT_ONLY`; none: as `ON_SHUTDOWN` wants it.
    pub persistent_only: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            start_on_boot: false,
            start_delay: 0,
            on_shutdown: OnShutdown::Shutdown,
            parallel: 0,
            timeout: 300,
            bypass_cache: false,
            sync_time: false,
            persistent_only: None,
        }
    }
}

impl Settings {
    /// Reads the file's text. What is no assignment of a known name is left alone, as the file is
    /// a shell's and may hold more.
    ///
    /// # Errors
    /// Names line and setting that cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value_of(value);
            let fault = |expected: &str| {
                Err(format!("line {}: {name}: expected {expected}, not '{value}'", index + 1))
            };
            let number = value.parse::<u64>().ok();
            let word = value.as_str();
            match name {
                "URIS" => {
                    settings.uris = value.split_whitespace().map(str::to_owned).collect();
                }
                "ON_BOOT" => match word {
                    "start" => settings.start_on_boot = true,
                    "ignore" => settings.start_on_boot = false,
                    _ => return fault("start or ignore"),
                },
                "ON_SHUTDOWN" => match word {
                    "shutdown" => settings.on_shutdown = OnShutdown::Shutdown,
                    "suspend" => settings.on_shutdown = OnShutdown::Suspend,
                    _ => return fault("shutdown or suspend"),
                },
                "PERSISTENT_ONLY" => match word {
                    "default" => settings.persistent_only = None,
                    "true" => settings.persistent_only = Some(true),
                    "false" => settings.persistent_only = Some(false),
                    _ => return fault("default, true or false"),
                },
                "START_DELAY" | "SHUTDOWN_TIMEOUT" | "PARALLEL_SHUTDOWN" | "BYPASS_CACHE"
                | "SYNC_TIME" => {
                    let Some(number) = number else { return fault("a number") };
                    match name {
                        "START_DELAY" => settings.start_delay = number,
                        "SHUTDOWN_TIMEOUT" => settings.timeout = number,
                        "PARALLEL_SHUTDOWN" => {
                            settings.parallel = usize::try_from(number).unwrap_or(usize::MAX);
                        }
                        "BYPASS_CACHE" => settings.bypass_cache = number != 0,
                        _ => settings.sync_time = number != 0,
                    }
                }
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Only guests that stay defined are to be stopped.
    pub fn skips_transient(&self) -> bool {
        self.persistent_only.unwrap_or(self.on_shutdown == OnShutdown::Suspend)
    }
}

/// A value without its quotes and the comment behind it.
fn value_of(text: &str) -> String {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or_default().to_owned();
        }
    }
    text.split([' ', '\t', '#', ';']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_a_shell_would() {
        let text = "# URIS=no\nURIS='default lxc:///system'\nON_BOOT=start # at once\n\
                    START_DELAY=\"3\"\nON_SHUTDOWN=suspend\nPARALLEL_SHUTDOWN=4\nBYPASS_CACHE=1\n\
                    SYNC_TIME=0\nPERSISTENT_ONLY=false\nother=thing\nif true; then :; fi\n";
        let expected = Settings {
            uris: vec!["default".into(), "lxc:///system".into()],
            start_on_boot: true,
            start_delay: 3,
            on_shutdown: OnShutdown::Suspend,
            parallel: 4,
            bypass_cache: true,
            persistent_only: Some(false),
            ..Settings::default()
        };
        assert_eq!(Settings::parse(text), Ok(expected));
    }

    #[test]
    fn unusable_values_are_named() {
        for (text, expected) in [
            ("\nON_BOOT=maybe", "line 2: ON_BOOT: expected start or ignore, not 'maybe'"),
            ("START_DELAY=-1", "line 1: START_DELAY: expected a number, not '-1'"),
        ] {
            assert_eq!(Settings::parse(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn transient_guests_are_left_alone_where_they_would_be_lost() {
        let skips = |text: &str| Settings::parse(text).expect("settings").skips_transient();
        assert!(!skips("") && skips("ON_SHUTDOWN=suspend"));
        assert!(
            skips("PERSISTENT_ONLY=true") && !skips("ON_SHUTDOWN=suspend\nPERSISTENT_ONLY=false")
        );
    }
}
