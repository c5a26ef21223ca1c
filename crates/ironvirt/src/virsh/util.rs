//! Small helpers of many commands.

use super::fail::{Context, Fail, Outcome};

/// A UUID in its usual form.
pub fn uuid_text(u: &protocol::Uuid) -> String {
    let mut out = String::with_capacity(36);
    for (i, b) in u.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{b:02x}"));
    }
    out
}

/// Reads a UUID, with or without dashes.
pub fn parse_uuid(text: &str) -> Option<protocol::Uuid> {
    let digits: Vec<u32> =
        text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let mut out = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = (pair.first()? * 16 + pair.get(1)?) as u8;
    }
    Some(out)
}

/// The longest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 10 * 1024 * 1024;

/// Reads a file a command names.
pub fn read_file(path: &str) -> Outcome<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)
        .map_err(|e| Fail::new(format!("Failed to open file '{path}': {}", os_error(&e))))?;
    let read = file
        .take(MAX_DOCUMENT + 1)
        .read_to_string(&mut text)
        .map_err(|e| Fail::new(format!("Failed to read file '{path}': {}", os_error(&e))));
    if read? as u64 > MAX_DOCUMENT {
        return Err(Fail::new(format!(
            "Failed to read file '{path}': Value too large for defined data type"
        )));
    }
    Ok(text)
}

/// Reads a document from standard input.
pub fn read_input() -> Outcome<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_DOCUMENT + 1).read_to_string(&mut text);
    match read {
        Ok(n) if n as u64 > MAX_DOCUMENT => {
            Err(Fail::new("Failed to read standard input: Value too large for defined data type"))
        }
        Ok(_) => Ok(text),
        Err(e) => Err(Fail::new(format!("Failed to read standard input: {}", os_error(&e)))),
    }
}

/// The operating system's words for an error, without Rust's suffix.
pub fn os_error(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(i) => text[..i].to_owned(),
        None => text,
    }
}

/// A size in a unit that keeps it readable: value and unit, as virsh's `prettyCapacity` prints it.
pub fn pretty(bytes: u64) -> (f64, &'static str) {
    let mut value = bytes as f64;
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut i = 0;
    while value >= 1024.0 && i + 1 < units.len() {
        value /= 1024.0;
        i += 1;
    }
    (value, units[i])
}

/// CPUs as `0-3,5`, from a bit map of which the first `n` bits count.
pub fn cpu_list(map: &[u8], n: usize) -> String {
    let set: Vec<usize> =
        (0..n).filter(|i| map.get(i / 8).is_some_and(|b| b & (1 << (i % 8)) != 0)).collect();
    let mut parts = Vec::new();
    let mut i = 0;
    while i < set.len() {
        let start = set[i];
        let mut end = start;
        while i + 1 < set.len() && set[i + 1] == end + 1 {
            i += 1;
            end = set[i];
        }
        parts.push(if start == end { start.to_string() } else { format!("{start}-{end}") });
        i += 1;
    }
    parts.join(",")
}

/// Seconds since the epoch, nanoseconds.
pub fn now() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Year, month, day, hour, minute, second of a UTC time.
pub fn civil(seconds: i64) -> (i64, u32, u32, u32, u32, u32) {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400) as u32;
    // Days to civil date, after the usual era arithmetic (400-year eras from 0000-03-01).
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = (if mp < 10 { mp + 3 } else { mp - 9 }) as u32;
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

/// `2026.11.20 22:28:07`, UTC.
pub fn timestamp_log() -> String {
    let (y, mo, d, h, mi, s) = civil(now().as_secs() as i64);
    format!("{y:04}.{mo:02}.{d:02} {h:02}:{mi:02}:{s:02}")
}

/// `2026-11-20 22:28:07.123+0000`, UTC.
pub fn timestamp_event() -> String {
    let t = now();
    let (y, mo, d, h, mi, s) = civil(t.as_secs() as i64);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}.{:03}+0000", t.subsec_millis())
}

/// `2026-11-20 22:28:07`, UTC.
pub fn timestamp(seconds: i64) -> String {
    let (y, mo, d, h, mi, s) = civil(seconds);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// Text for an XML attribute or element.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(c),
        }
    }
    out
}

/// Parses XML that the daemon sent or the user gave.
pub fn parse_xml(text: &str) -> Outcome<xml::Document<'_>> {
    xml::Document::parse(text)
        .map_err(|d| Fail {
            lines: d.iter().map(|d| d.message.clone()).collect(),
            ..Fail::default()
        })
        .ctx("could not parse XML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        for (map, n, expected) in [
            (&[0b0010_1111u8][..], 8, "0-3,5"),
            (&[0xff], 4, "0-3"),
            (&[0], 8, ""),
            (&[1, 1], 16, "0,8"),
        ] {
            assert_eq!(cpu_list(map, n), expected);
        }
    }

    #[test]
    fn dates() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00");
        assert_eq!(timestamp(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(timestamp(1_795_213_807), "2026-11-20 22:30:07");
    }
}
