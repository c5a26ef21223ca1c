//! Key names of the code sets, and the sets' own names.

/// Code sets in the API's order.
pub const CODESETS: &[&str] =
    &["linux", "xt", "atset1", "atset2", "atset3", "os_x", "xt_kbd", "usb", "win32", "qnum"];

/// Keys by name, a line each: name and code. The other sets know numbers alone (virkeyname-*(7)).
const NAMED: &[(&str, &str)] = &[
    ("linux", include_str!("keynames/linux.txt")),
    ("os_x", include_str!("keynames/os_x.txt")),
    ("win32", include_str!("keynames/win32.txt")),
];

/// The code a word means: the name of a key in this set, or a number.
pub fn code(set: &str, word: &str) -> Option<u32> {
    if let Some(code) = named(set, word) {
        return Some(code);
    }
    let number = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => word.parse().ok()?,
    };
    (number <= 0xffff).then_some(number)
}

/// The code of the key of this name.
fn named(set: &str, word: &str) -> Option<u32> {
    let (_, names) = NAMED.iter().find(|(name, _)| *name == set)?;
    let mut keys = names.lines().filter_map(|line| line.split_once(' '));
    keys.find(|(name, _)| *name == word)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_by_name_in_each_set_that_names_them() {
        for (set, word, expected) in [
            ("linux", "KEY_ENTER", Some(28)),
            ("linux", "BTN_LEFT", Some(272)),
            ("os_x", "Return", Some(0x24)),
            ("os_x", "ANSI_A", Some(0)),
            ("win32", "VK_RETURN", Some(0x0d)),
            ("win32", "VK_A", Some(0x41)),
            ("win32", "KEY_ENTER", None),
            ("xt", "KEY_ENTER", None),
            ("linux", "#", None),
            ("usb", "0x28", Some(0x28)),
            ("usb", "65536", None),
        ] {
            assert_eq!(code(set, word), expected, "{set} {word}");
        }
    }

    #[test]
    fn each_line_of_the_names_has_a_code() {
        for (set, names) in NAMED {
            for line in names.lines().filter(|line| !line.starts_with('#')) {
                let (name, number) = line.split_once(' ').expect("a name and a number");
                assert_eq!(code(set, name), number.parse().ok(), "{set} {name}");
            }
        }
    }
}
