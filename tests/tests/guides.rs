//! XML that stands in the users' guides: read, or refused for what is wrong with it.
//!
//! Needs the guides beside the repository (`../shared/guides`); skips where they are not. Nothing of
//! them is kept here. A guide shows whole objects and parts of domains; its layout adds ellipses and
//! the numbers of callouts. A part is put into a small domain. What then is wrong with a document is
//! the guide's own mistake, or a part that does not stand for itself: [`TRAPS`] says for each kind of
//! mistake which error must be found, so that whoever copies it is told.

use std::fmt::Write as _;
use std::fs;

use tests::{client, paths};

/// Objects by themselves.
const OBJECTS: &[&str] = &["domain", "network", "pool", "volume", "device", "filter"];

/// Parts of a domain.
const PARTS: &[&str] = &[
    "os",
    "features",
    "cpu",
    "vcpu",
    "memoryBacking",
    "memtune",
    "cputune",
    "numatune",
    "clock",
    "devices",
];

/// Devices of a domain.
const DEVICES: &[&str] = &[
    "disk",
    "controller",
    "interface",
    "hostdev",
    "filesystem",
    "video",
    "graphics",
    "input",
    "console",
    "memballoon",
    "memory",
    "rng",
    "tpm",
];

/// A mistake: what shows that a document makes it, and a part of the error that must be found.
struct Trap {
    made: fn(&str) -> bool,
    error: &'static str,
}

/// Puts right what an erratum names.
type Mend = fn(&str) -> String;

/// What an erratum asks for instead of a mistake: the document must be accepted, then.
const MENDED: &[(&str, Mend)] = &[
    ("=”", |t| t.replace('”', "\"")),
    ("<passthrough/>", |t| t.replace("<passthrough/>", "<passthrough state='on'/>")),
    ("'sda2'", |t| t.replace("'sda2'", "'sda'")),
    ("wallclock", |t| t.replace("\"none\"", "\"discard\"").replace(" mode=", " offset=")),
    ("ip=\"192.168.1.23.", |t| t.replace("ip=\"192.168.1.23.", "ip=\"192.168.122.")),
    ("<source network='passthrough'>", |t| t.replace("'passthrough'>", "'passthrough'/>")),
];

/// The mistakes that guides make, the ones that hide others first.
const TRAPS: &[Trap] = &[
    // OSX-004.
    Trap { made: |t| t.contains("=”"), error: "AttValue: \" or ' expected" },
    // A name without an element: the attribute's name is the element's.
    Trap { made: |t| t.contains("<id="), error: "error parsing attribute name" },
    // An element that is closed twice, or never.
    Trap { made: |t| t.contains("/>/"), error: "Opening and ending tag mismatch" },
    Trap { made: |t| unclosed(t), error: "Opening and ending tag mismatch" },
    Trap {
        made: |t| t.contains("type=\"virtiofs\""),
        error: "Possible values: mount, block, file",
    },
    Trap {
        made: |t| attribute(t, "ip").is_some_and(|ip| ip.split('.').count() == 5),
        error: "Invalid IP address in static host definition",
    },
    Trap { made: |t| t.contains("<disk type='....'"), error: "Possible values: file, block, dir" },
    Trap { made: |t| t.contains("'NUMBER_OF_"), error: "Expected non-negative integer value" },
    Trap { made: |t| t.contains("<passthrough/>"), error: "required attribute 'state'" },
    // RH24-058: what was `none` once has other words today.
    Trap {
        made: |t| attribute(t, "tickpolicy").is_some() && t.contains("\"none\""),
        error: "Possible values: delay, catchup, merge, discard",
    },
    Trap { made: |t| t.starts_with("<domain>"), error: "missing domain type attribute" },
    Trap { made: |t| element(t, "name").is_none(), error: "missing name information" },
    Trap {
        made: |t| t.contains("<disk") && element(t, "target").is_none(),
        error: "missing target information for device",
    },
    Trap {
        made: |t| t.contains("bus='scsi'") && t.contains("'sda2'"),
        error: "partitions can't appear in disk targets",
    },
    Trap {
        made: |t| ["file", "virtio"].iter().any(|n| driver_is(t, n)),
        error: "unsupported driver name",
    },
    Trap { made: |t| t.contains("<bootloader>"), error: "bootloader is not supported by QEMU" },
    Trap { made: |t| t.contains("<zpci "), error: "This QEMU binary doesn't support zPCI" },
    // A controller of Xen guests.
    Trap { made: |t| t.contains("'xenbus'"), error: "Cannot automatically add a new PCI bus" },
    Trap {
        made: |t| t.contains("model='dimm'") && !t.contains("<maxMemory"),
        error: "when domain 'maxMemory' is not defined",
    },
    Trap {
        made: |t| t.contains("<numa>") && !t.contains("<vcpu"),
        error: "Number of CPUs in <numa> exceeds the <vcpu> count",
    },
    Trap {
        made: |t| t.contains("<memnode ") && !t.contains("<numa>"),
        error: "invalid without any guest NUMA cells",
    },
    Trap {
        made: |t| t.contains("<interface type='network'>") && element(t, "source").is_none(),
        error: "interface type='network' requires a 'source' element",
    },
];

/// A start tag of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices('<').map(|(at, _)| &text[at + 1..]).find(|rest| {
        rest.strip_prefix(name).is_some_and(|after| after.starts_with([' ', '>', '/']))
    })
}

/// The first value of an attribute of this name.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    for quote in ['\'', '"'] {
        let start = format!(" {name}={quote}");
        if let Some(at) = text.find(&start) {
            let value = &text[at + start.len()..];
            return value.split(quote).next();
        }
    }
    None
}

fn driver_is(text: &str, name: &str) -> bool {
    element(text, "driver").is_some_and(|rest| attribute(rest, "name") == Some(name))
}

/// Whether some element is opened more often than closed, or the other way round.
fn unclosed(text: &str) -> bool {
    let mut counts = std::collections::BTreeMap::<&str, i32>::new();
    for (at, _) in text.match_indices('<') {
        let Some(tag) = text[at + 1..].split('>').next() else { continue };
        let name = tag.trim_start_matches('/').split([' ', '/', '\n', '\t']).next();
        let change = if tag.starts_with('/') { -1 } else { i32::from(!tag.ends_with('/')) };
        *counts.entry(name.unwrap_or_default()).or_default() += change;
    }
    counts.values().any(|n| *n != 0)
}

/// One thing that a guide shows: the line where it begins, its name and text.
struct Shown<'a> {
    line: usize,
    name: &'a str,
    text: &'a str,
}

/// All elements of the wanted names that a text shows as a whole; none inside another.
fn shown(text: &str) -> Vec<Shown<'_>> {
    let wanted =
        |name: &&str| OBJECTS.contains(name) || PARTS.contains(name) || DEVICES.contains(name);
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(begin) = text[at..].find('<').map(|n| at + n) {
        at = begin + 1;
        let name_end = text[at..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(at, |n| at + n);
        let name = &text[at..name_end];
        let Some(len) = (if wanted(&name) { extent(&text[begin..], name) } else { None }) else {
            continue;
        };
        let shown = &text[begin..begin + len];
        let line = text[..begin].matches('\n').count() + 1;
        found.push(Shown { line, name, text: shown });
        at = begin + len;
    }
    found
}

/// Where an element ends that a text begins with; none when that is further off than a screen or
/// two: a guide's sentence speaks of the element, then.
fn extent(text: &str, name: &str) -> Option<usize> {
    const MOST_LINES: usize = 60;
    let (mut depth, mut at) = (0, 0);
    loop {
        let begin = at + text[at..].find('<')?;
        let end = begin + text[begin..].find('>')? + 1;
        let tag = &text[begin + 1..end - 1];
        let inner = tag.trim_start_matches('/');
        if inner.strip_prefix(name).is_some_and(|t| t.is_empty() || t.starts_with([' ', '/', '\n']))
        {
            if tag.starts_with('/') {
                depth -= 1;
            } else if !tag.ends_with('/') {
                depth += 1;
            }
        }
        if text[..end].matches('\n').count() > MOST_LINES {
            return None;
        }
        if depth == 0 {
            return Some(end);
        }
        at = end;
    }
}

/// Takes out what the layout of a guide put in: callouts and the ends of wrapped lines.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[image: ") {
        out.push_str(before);
        rest = after.split_once(']').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    let out = out.replace("\\\n", "\n");
    // A digit right behind a value's quote or an element's name is the number of a callout.
    let chars: Vec<char> = out.chars().collect();
    let mut kept = String::new();
    let (mut tag, mut quote) = (false, None);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map_or(' ', |i| chars[i]);
        let after = chars.get(i + 1).copied().unwrap_or(' ');
        match (tag, quote, c) {
            (false, _, '<') => tag = true,
            (true, None, '>') => tag = false,
            (true, None, '\'' | '"') if before == '=' => quote = Some(c),
            (true, Some(q), _) if q == c => quote = None,
            _ => {}
        }
        let callout = tag
            && quote.is_none()
            && c.is_ascii_digit()
            && (matches!(before, '\'' | '"') || before.is_ascii_alphabetic())
            && matches!(after, ' ' | '\n' | '>' | '/');
        if !callout {
            kept.push(c);
        }
    }
    kept
}

/// The document to be read: the thing itself, or a domain around the part. None for what only looks
/// like an object: an element of another format, a value of it.
fn document(thing: &Shown<'_>) -> Option<String> {
    let text = plain(thing.text);
    if OBJECTS.contains(&thing.name) {
        let whole = text.matches('<').count() > 2;
        return whole.then_some(text);
    }
    let mut inside = text.clone();
    if DEVICES.contains(&thing.name) {
        // The size of a guest has the name of a device.
        if thing.name == "memory" && !text.contains("model=") {
            return None;
        }
        inside = format!("<devices>{text}</devices>");
    }
    // Firmware of the newer kind has needs of its own; a pc has a part of the board at 01.0.
    let place = element(&text, "address").map(|a| (attribute(a, "slot"), attribute(a, "function")));
    let not_on_pc = place == Some((Some("0x01"), Some("0x0")));
    let (machine, features) = if text.contains("firmware='efi'") || not_on_pc {
        ("q35", "<features><acpi/></features>")
    } else {
        ("pc", "")
    };
    let os = format!("<type arch='x86_64' machine='{machine}'>hvm</type>");
    let mut out = String::from("<domain type='kvm'><name>part</name><memory>524288</memory>");
    out.push_str(features);
    if thing.name == "os" {
        if element(&text, "type").is_none() {
            inside = text.replacen('>', &format!(">{os}"), 1);
        }
    } else {
        let _ = write!(out, "<os>{os}</os>");
    }
    let _ = write!(out, "{inside}</domain>");
    Some(out)
}

#[test]
fn all_xml_of_the_guides_is_read_or_refused_for_its_mistake() {
    let folder = paths::workspace().join("../shared/guides");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: the guides are not beside the repository");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (mut accepted, mut refused, mut mended, mut wrong) = (0, 0, 0, String::new());
    let mut sprung = vec![false; TRAPS.len()];
    for entry in entries {
        let path = entry.unwrap().path();
        let guide = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for thing in shown(&guide) {
            let Some(text) = document(&thing) else { continue };
            let file = scratch.path().join("document.xml");
            fs::write(&file, &text).unwrap();
            let file = file.to_string_lossy().into_owned();
            let said = client::tool(paths::ironvirt(), &["xml", "check", &file], "");
            let trap = TRAPS.iter().position(|trap| (trap.made)(&text));
            let right = match trap {
                None => said.status == 0,
                Some(n) => {
                    sprung[n] = true;
                    said.status != 0
                        && format!("{}{}", said.stdout, said.stderr).contains(TRAPS[n].error)
                }
            };
            for (_, mend) in MENDED.iter().filter(|(mistake, _)| text.contains(mistake)) {
                mended += 1;
                fs::write(scratch.path().join("document.xml"), mend(&text)).unwrap();
                let said = client::tool(paths::ironvirt(), &["xml", "check", &file], "");
                if said.status != 0 {
                    let _ = write!(wrong, "mended, it is refused:\n{text}\n{said}\n");
                }
            }
            if said.status == 0 {
                accepted += 1
            } else {
                refused += 1
            }
            if !right {
                let expected = trap.map_or("nothing wrong", |n| TRAPS[n].error);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let _ =
                    write!(wrong, "{name}:{}: expected: {expected}\n{text}\n{said}\n", thing.line);
            }
        }
    }
    eprintln!("{accepted} documents accepted, {refused} refused, {mended} of these mended");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        accepted >= 60,
        "only {accepted} documents found: what a guide shows is not recognised"
    );
    let idle: Vec<_> =
        TRAPS.iter().zip(&sprung).filter(|(_, s)| !**s).map(|(t, _)| t.error).collect();
    assert!(idle.is_empty(), "no document makes these mistakes: {idle:?}");
}

#[test]
fn layout_is_taken_out_and_parts_are_completed() {
    for (text, expected) in [
        ("<a b='1'2 c=\"x\"3/>[image: 1]", "<a b='1' c=\"x\"/>"),
        ("<cell1 id='0'>17</cell>", "<cell id='0'>17</cell>"),
        ("<a b='c' \\\n d='e2 '/>", "<a b='c' \n d='e2 '/>"),
    ] {
        assert_eq!(plain(text), expected);
    }
    let guide = "The <disk> element\n<disk type='file'>\n <target dev='vda'/>\n</disk>\n<video/>";
    // A sentence that speaks of an element swallows what follows it: nothing is lost but that.
    let names: Vec<_> = shown(guide).iter().map(|s| (s.name, s.line)).collect();
    assert_eq!(names, [("disk", 2), ("video", 5)]);
    assert!(unclosed("<a><b></a>") && !unclosed("<a><b/></a>"));
}
