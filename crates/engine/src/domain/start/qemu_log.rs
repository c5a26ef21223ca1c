//! QEMU's log file: what we write at its head, and what QEMU said in the end.

use host::files;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most of a log that goes into an error.
const TAIL_MAX: u64 = 2048;

/// What QEMU wrote from byte `from` on, without the lines that are ours.
pub fn tail(path: &Path, from: u64) -> String {
    words(&files::read_tail(path, from, TAIL_MAX).unwrap_or_default())
}

/// What of a piece of a log is QEMU's: without our head, and not more than an error should have.
pub fn words(text: &str) -> String {
    let cut = text.len().saturating_sub(TAIL_MAX as usize);
    let cut = (cut..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let text = text.get(cut..).unwrap_or_default();
    let mut said: Vec<&str> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        // Our own head is an environment and a command line, each line of which goes on, to the last.
        let head = std::mem::replace(&mut goes_on, line.ends_with(" \\"));
        if head || goes_on || line.is_empty() || line.contains("starting up ironvirt") {
            said.clear();
        } else if !is_remark(line) {
            said.push(line);
        }
    }
    said.join("\n")
}

/// What tells nothing of an end: our word of what the guest was given beyond support, and QEMU's of
/// the terminals that it opened.
fn is_remark(line: &str) -> bool {
    line.contains("+0000: Domain id=") && line.contains(" is tainted: ")
        || line.contains("char device redirected to")
}

/// Appends text to a log.
pub fn append(path: &Path, text: &str) {
    let written = files::open_log(path)
        .map_err(|error| error.to_string())
        .and_then(|mut file| file.write_all(text.as_bytes()).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "log not written");
    }
}

/// `2026-11-20 22:19:53.618+0000`.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let day_seconds = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}+0000",
        day_seconds / 3600,
        day_seconds / 60 % 60,
        day_seconds % 60,
        since.subsec_millis()
    )
}

/// `2026-11-20-22:19:53`, as libvirt puts it into names of files.
pub fn file_time(time: SystemTime) -> String {
    let text = timestamp(time);
    text.get(..19).unwrap_or_default().replace(' ', "-")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that leap days come last in their year; an era has 400 years.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_as_libvirt_writes_them() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00.000+0000"),
            (951_782_400, "2000-02-29 00:00:00.000+0000"),
            (1_795_127_993, "2026-11-19 22:39:53.000+0000"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn the_tail_is_qemus_words_only() {
        let folder = std::env::temp_dir().join(format!("ironvirt-log-{}", std::process::id()));
        let text = "2026: starting up ironvirt\nLC_ALL=C \\\n/usr/bin/qemu \\\n-msg timestamp=on\n";
        let text = format!(
            "{text}char device redirected to /dev/pts/3 (label charserial0)\n\
             qemu: -device x: no such device\n"
        );
        std::fs::write(&folder, text).expect("tmp");
        let said = tail(&folder, 0);
        std::fs::remove_file(&folder).expect("tmp");
        assert_eq!(said, "qemu: -device x: no such device");
    }
}
