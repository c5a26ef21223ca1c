//! The daemon's log: one line an event, on standard error, with fields as `name=value`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging; `verbose` shows more.
pub fn start(verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    // A second start (in tests) finds the first one's logging in place.
    let _ = tracing_subscriber::registry().with(level).with(lines).try_init();
}
