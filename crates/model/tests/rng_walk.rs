//! Everything libvirt's schemas allow is known to the model: every element and attribute is read
//! and written back, every word a schema lists is a value, and what is written of a valid document
//! is valid.

mod rng;

use std::collections::{BTreeMap, BTreeSet};

use model::domain::{FormatFlags, ParseOptions};
use model::storage::{Parsing, Pool, PoolType, Volume};
use rng::{EXCEPTIONS, Expander, Grammar, Node, Target};
use xml::{Diagnostic, Document, Element, WriteOptions};

const EVERYTHING: WriteOptions =
    WriteOptions { live: true, secure: true, migratable: false, indent: 0 };

type Outcome = (Vec<Diagnostic>, Option<String>);

fn typed<T>(parsed: xml::Parsed<T>, write: impl Fn(&T) -> String) -> Outcome {
    (parsed.diagnostics, parsed.value.as_ref().map(write))
}

/// One way to make documents.
struct Variant {
    /// Beginnings of the paths that are looked into; none for all.
    only: &'static [&'static str],
    /// Optional parts that libvirt asks for all the same, as in [`Expander`].
    wanted: &'static [&'static str],
}

const fn all(wanted: &'static [&'static str]) -> Variant {
    Variant { only: &[], wanted }
}

/// One kind of document.
struct Kind {
    /// The file of its schema.
    schema: &'static str,
    /// Reads and writes it.
    read: fn(&str) -> Outcome,
    /// How documents of it are made; a thing is looked at in all of them.
    variants: &'static [Variant],
}

fn read_domain(text: &str) -> Outcome {
    let parsed = model::domain::parse(text, ParseOptions { live: true });
    let flags = FormatFlags { live: true, secure: true, migratable: false };
    (parsed.diagnostics, parsed.domain.map(|d| model::domain::format(&d, flags)))
}

/// Parts of every domain.
const DOMAIN: &[&str] = &[
    "/domain/name=walk",
    "/domain/memory",
    "/domain/os",
    "/domain/os/type=hvm",
    "/master/@startport=2",
    "/disk/target",
    "/target/@dev=vda",
    "/disk/source",
    "/source/@name=a/b",
    "/source/@path",
    "/source/@mode=bind",
    "/source/@file=/a",
    "/source/@dev=/a",
    "/interface/source",
    "/source/@bridge=br0",
    "/source/@network=default",
    "/source/@dir=/a",
    "/reservations/@managed",
    "/dataStore/@type",
    "/dataStore/source",
    "/encryption/@format=luks",
    "/hostdev/@mode",
    "/ip/@family",
    "/address/@domain=0",
    "/address/@bus=0",
    "/address/@slot=9",
    "/address/@function=0",
    "/address/@target=0",
    "/address/@unit=0",
    "/address/@controller=0",
    "/nvram/@template=/a",
    "/adapter/@name",
    "/reservations/source/@mode=client",
    "/os/init",
    "/graphics/@passwd",
    "/graphics/channel/@mode=secure",
    "/channel/target",
    "/stimer/@state",
    "/tlbflush/@state",
    "/profile/@source",
    "/sibling/@id=0",
    "/vcpusched/@vcpus",
    "/iothreadsched/@iothreads",
    "/backingStore/@type=file",
    "/backingStore/source",
    "/cpu/@mode=host-model",
    "/blkiotune/device/weight",
    "/target/@address=10.0.2.1",
    "/channel/target/@port=99",
    "/filesystem/driver",
    "/filesystem/driver/@type",
    "/domain/seclabel/@type=dynamic",
    "/interface/model",
    "/interface/model/@type=virtio",
    "/serial/target/@port=0",
    "/parallel/target/@port=0",
    "/console/target/@port=0",
];

const CHARDEVS: &[&str] = &[
    "/domain/devices/serial",
    "/domain/devices/parallel",
    "/domain/devices/console",
    "/domain/devices/channel",
    "/domain/devices/redirdev",
    "/domain/devices/smartcard",
    "/domain/devices/rng",
];

/// A domain with character devices of one kind of host side.
macro_rules! chardevs {
    ($kind:literal) => {
        Variant {
            only: CHARDEVS,
            wanted: &[
                concat!("/serial/@type=", $kind),
                concat!("/parallel/@type=", $kind),
                concat!("/console/@type=", $kind),
                concat!("/channel/@type=", $kind),
                concat!("/redirdev/@type=", $kind),
                concat!("/smartcard/@type=", $kind),
                concat!("/rng/backend/@type=", $kind),
                "/domain/name",
                "/domain/memory",
                "/domain/os",
                "/source/@path",
                "/source/@host",
                "/source/@service",
                "/source/@mode=connect",
                "/source/@channel",
                "/channel/target",
            ],
        }
    };
}

const KINDS: &[Kind] = &[
    Kind {
        schema: "domain.rng",
        read: read_domain,
        variants: &[
            all(DOMAIN),
            chardevs!("tcp"),
            chardevs!("udp"),
            chardevs!("unix"),
            chardevs!("file"),
            chardevs!("spiceport"),
            chardevs!("nmdm"),
            chardevs!("qemu-vdagent"),
        ],
    },
    Kind {
        schema: "network.rng",
        read: |t| {
            use model::network::{FormatFlags, format, parse};
            typed(parse(t), |n| format(n, FormatFlags::default()))
        },
        variants: &[
            all(&[
                "/ip/@address=192.168.9.1",
                "/ip/@netmask=255.255.255.0",
                "/address/@start=192.168.9.2",
                "/address/@end=192.168.9.9",
                "/range/@start=192.168.9.2",
                "/range/@end=192.168.9.9",
                "/host/@ip=192.168.9.3",
                "/host/@name",
                "/route/@address=192.168.5.0",
                "/route/@gateway=192.168.9.2",
                "/route/@netmask=255.255.255.0",
                "/bootp/@server=192.168.9.2",
                "/dhcp/range",
                "/inbound/@average",
                "/outbound/@average",
                "/srv/@target",
                "/srv/@domain",
                "/forwarder/@addr",
                "/network/domain/@name",
                "/network/domain/@localOnly=yes",
                "/dns/host/hostname",
                "/lease/@expiry=200",
            ]),
            all(&[
                "/network/ip",
                "/ip/@address=192.168.9.1",
                "/ip/@netmask=255.255.255.0",
                "/address/@start=192.168.9.2",
                "/address/@end=192.168.9.9",
                "/range/@start=192.168.9.2",
                "/range/@end=192.168.9.9",
                "/host/@ip=192.168.9.3",
                "/host/@name",
                "/route/@address=192.168.5.0",
                "/route/@gateway=192.168.9.2",
                "/route/@netmask=255.255.255.0",
                "/bootp/@server=192.168.9.2",
                "/dhcp/range",
                "/inbound/@average",
                "/outbound/@average",
                "/srv/@target",
                "/srv/@domain",
                "/forwarder/@addr",
                "/network/domain/@name",
                "/network/domain/@localOnly=yes",
                "/dns/host/hostname",
                "/lease/@expiry=200",
            ]),
            all(&[
                "/network/ip",
                "/ip/@family",
                "/ip/@prefix=24",
                "/route/@prefix=24",
                "/ip/@address=192.168.9.1",
                "/ip/@netmask=255.255.255.0",
                "/address/@start=192.168.9.2",
                "/address/@end=192.168.9.9",
                "/range/@start=192.168.9.2",
                "/range/@end=192.168.9.9",
                "/host/@ip=192.168.9.3",
                "/host/@name",
                "/route/@address=192.168.5.0",
                "/route/@gateway=192.168.9.2",
                "/route/@netmask=255.255.255.0",
                "/bootp/@server=192.168.9.2",
                "/dhcp/range",
                "/inbound/@average",
                "/outbound/@average",
                "/srv/@target",
                "/srv/@domain",
                "/forwarder/@addr",
                "/network/domain/@name",
                "/network/domain/@localOnly=yes",
                "/dns/host/hostname",
                "/lease/@expiry=200",
            ]),
            all(&[
                "/forward/@mode=bridge",
                "/ip/@address=192.168.9.1",
                "/ip/@netmask=255.255.255.0",
                "/address/@start=192.168.9.2",
                "/address/@end=192.168.9.9",
                "/range/@start=192.168.9.2",
                "/range/@end=192.168.9.9",
                "/host/@ip=192.168.9.3",
                "/host/@name",
                "/route/@address=192.168.5.0",
                "/route/@gateway=192.168.9.2",
                "/route/@netmask=255.255.255.0",
                "/bootp/@server=192.168.9.2",
                "/dhcp/range",
                "/inbound/@average",
                "/outbound/@average",
                "/srv/@target",
                "/srv/@domain",
                "/forwarder/@addr",
                "/network/domain/@name",
                "/network/domain/@localOnly=yes",
                "/dns/host/hostname",
                "/lease/@expiry=200",
            ]),
            all(&["/forward/@mode=hostdev", "/forward/address"]),
        ],
    },
    Kind {
        schema: "networkport.rng",
        read: |t| typed(model::network::parse_port(t), model::network::format_port),
        variants: &[all(&["/bandwidth/inbound", "/inbound/@average", "/outbound/@average"])],
    },
    Kind {
        schema: "nwfilter.rng",
        read: |t| typed(model::nwfilter::parse(t), model::nwfilter::format),
        variants: &[
            all(&["/@comment", "/filter/@chain", "/ip/@protocol=udp", "/ipv6/@protocol=udp"]),
            all(&[]),
        ],
    },
    Kind {
        schema: "nwfilterbinding.rng",
        read: |t| typed(model::nwfilter::parse_binding(t), model::nwfilter::format_binding),
        variants: &[all(&[])],
    },
    Kind {
        schema: "storagepool.rng",
        read: |t| typed(Pool::parse(t), |p| p.to_xml(0)),
        variants: &[
            all(&[
                "/pool/name",
                "/pool/target/path",
                "/adapter/@name",
                "/secret/@usage",
                "/secret/@uuid=22222222-2222-2222-2222-222222222222",
            ]),
            all(&[
                "/pool/name",
                "/pool/target/path",
                "/adapter/@type=scsi_host",
                "/parentaddr/@unique_id",
            ]),
            all(&[
                "/pool/name",
                "/pool/target/path",
                "/adapter/@parent_wwnn",
                "/adapter/@parent_wwpn",
            ]),
        ],
    },
    Kind {
        schema: "storagevol.rng",
        read: |t| {
            let parsing = Parsing { capacity_optional: false };
            typed(Volume::parse(t, PoolType::Dir, parsing), Volume::to_xml)
        },
        variants: &[all(&["/volume/name", "/volume/capacity", "/encryption/secret/@uuid"])],
    },
    Kind {
        schema: "storagevol.rng",
        read: |t| {
            let parsing = Parsing { capacity_optional: false };
            typed(Volume::parse(t, PoolType::Disk, parsing), Volume::to_xml)
        },
        variants: &[all(&["/volume/name", "/volume/capacity", "/encryption/secret/@uuid"])],
    },
    Kind {
        schema: "nodedev.rng",
        read: |t| typed(model::nodedev::parse(t), |d| model::nodedev::format(d, &EVERYTHING)),
        variants: &[all(&["/device/capability", "/parent/@wwpn", "/parent/@wwnn"])],
    },
    Kind {
        schema: "interface.rng",
        read: |t| typed(model::interface::parse(t), |i| model::interface::format(i, &EVERYTHING)),
        variants: &[all(&["/interface/@name"]), all(&["/interface/@name=a.2"])],
    },
    Kind {
        schema: "secret.rng",
        read: |t| typed(model::secret::parse(t), |s| model::secret::format(s, &EVERYTHING)),
        variants: &[all(&[])],
    },
    Kind {
        schema: "domainsnapshot.rng",
        read: |t| {
            use model::snapshot::{Parsing, format, parse};
            let parsing = Parsing { redefine: false, internal: false };
            typed(parse(t, parsing), |s| format(s, false, &EVERYTHING))
        },
        variants: &[all(&[])],
    },
    Kind {
        schema: "domainsnapshot.rng",
        read: |t| {
            use model::snapshot::{Parsing, format, parse};
            let parsing = Parsing { redefine: true, internal: true };
            // The schema has a place for a whole domain, which is walked elsewhere.
            let (short, whole) = (
                "<domain><uuid>",
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><uuid>",
            );
            let t = &t.replace(short, whole);
            typed(parse(t, parsing), |s| format(s, true, &EVERYTHING))
        },
        variants: &[all(&[
            "/domainsnapshot/name",
            "/domainsnapshot/state",
            "/domainsnapshot/creationTime=2",
            "/domainsnapshot/domain",
            "/domainsnapshot/active",
            "/reservations/@managed",
            "/reservations/source/@mode=client",
            "/domainsnapshot/name=a",
            "/backingStore/source",
            "/domainsnapshot/cookie",
            "/disk/driver",
            "/driver/@type=qcow2",
            "/disk/source",
            "/source/@name=a/b",
            "/source/@dev=/a",
            "/dataStore/@type=file",
            "/dataStore/source",
            "/encryption/@format=luks",
            "/disk/@snapshot=external",
            "/source/@file=/a",
        ])],
    },
    Kind {
        schema: "domaincheckpoint.rng",
        read: |t| {
            use model::checkpoint::{Parsing, format, parse};
            typed(parse(t, Parsing { redefine: false }), |c| format(c, &EVERYTHING))
        },
        variants: &[all(&["/domaincheckpoint/name"])],
    },
    Kind {
        schema: "domaincheckpoint.rng",
        read: |t| {
            use model::checkpoint::{Parsing, format, parse};
            typed(parse(t, Parsing { redefine: true }), |c| format(c, &EVERYTHING))
        },
        variants: &[all(&[
            "/domaincheckpoint/name",
            "/domaincheckpoint/creationTime",
            "/domaincheckpoint/domain",
        ])],
    },
    Kind {
        schema: "domainbackup.rng",
        read: |t| {
            use model::backup::{Parsing, format, parse};
            typed(parse(t, Parsing { internal: false }), |b| format(b, false, &EVERYTHING))
        },
        variants: &[all(&[])],
    },
];

/// The names from the root down to where a finding points.
fn place(doc: &Document<'_>, d: &Diagnostic) -> String {
    let Some(at) = d.span.map(|s| s.start) else { return String::new() };
    let mut el = doc.root();
    let mut path = format!("/{}", el.name());
    loop {
        let inside = |c: &Element<'_>| {
            let span = c.full_span();
            span.start <= at && at < span.end
        };
        match el.children().find(inside) {
            Some(c) => {
                path.push('/');
                path.push_str(c.name());
                el = c;
            }
            None => break,
        }
    }
    for a in el.attrs() {
        if a.name_span().start <= at && at <= a.value_span().end {
            path.push_str(&format!("/@{}", a.name()));
        }
    }
    path
}

/// Whether a document has something at the place of a target; with this value, if one is given.
fn has(el: Element<'_>, path: &str, value: Option<&str>) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return value.is_none_or(|v| el.text() == v) };
    let (name, rest) = match rest.find('/') {
        Some(i) => (&rest[..i], &rest[i..]),
        None => (rest, ""),
    };
    match name.strip_prefix('@') {
        Some(name) => el.attr(name).is_some_and(|a| value.is_none_or(|v| a == v)),
        None => el.children().any(|c| c.name() == name && has(c, rest, value)),
    }
}

/// What became of a thing the schema allows, the best of all documents that have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// Called unknown or wrong.
    Refused,
    /// Read without a word, and not written.
    Dropped,
    /// Written again.
    Kept,
}

/// The fate of one target in one document.
fn fate(kind: &Kind, target: &Target, text: &str) -> Fate {
    let (diagnostics, written) = (kind.read)(text);
    let doc = Document::parse(text).expect("a document");
    if let Some(out) = written {
        let out = Document::parse(&out).expect("what we write");
        let below = &target.path[1..];
        let below = below.find('/').map_or("", |i| &below[i..]);
        let value = target.value.as_deref().filter(|_| target.word);
        if has(out.root(), below, value) {
            return Fate::Kept;
        }
    } else if diagnostics.iter().all(|d| d.severity != xml::Severity::Error) {
        return Fate::Dropped;
    }
    let about = |d: &Diagnostic| {
        d.rule.starts_with("xml.") && target.path.starts_with(&place(&doc, d))
            || d.severity == xml::Severity::Error
    };
    if diagnostics.iter().any(about) { Fate::Refused } else { Fate::Dropped }
}

/// So many documents of a schema are shown to xmllint.
const MOST_ASKED: usize = 300;

/// Walks through a schema; returns some of the documents, from everywhere, with their kinds.
fn walk(schema: &str) -> Vec<(&'static Kind, String)> {
    let (mut some, mut step) = (Vec::new(), 1);
    let grammar = Grammar::load(schema);
    let mut things: BTreeMap<String, (Fate, String)> = BTreeMap::new();
    let mut words: BTreeMap<(String, String), (Fate, String)> = BTreeMap::new();
    let mut documents = 0;
    let kinds = KINDS.iter().filter(|k| k.schema == schema);
    for (kind, v) in kinds.flat_map(|k| k.variants.iter().map(move |v| (k, v))) {
        Expander::new(&grammar, v.wanted, v.only).each(|target: &Target, root: &Node| {
            documents += 1;
            let text = root.text();
            if documents % step == 0 {
                some.push((kind, text.clone()));
            }
            if some.len() > MOST_ASKED {
                let mut n = 0;
                some.retain(|_| {
                    n += 1;
                    n % 2 == 0
                });
                step *= 2;
            }
            let new = fate(kind, target, &text);
            let note = |(old, example): &mut (Fate, String)| {
                if new > *old {
                    (*old, *example) = (new, text.clone());
                }
            };
            let first = || (new, text.clone());
            note(things.entry(target.path.clone()).or_insert_with(first));
            if let Some(value) = target.value.clone().filter(|_| target.word) {
                note(words.entry((target.path.clone(), value)).or_insert_with(first));
            }
        });
    }
    // An element that is kept when it holds something need not be kept empty.
    let inside = |path: &str| {
        let below = format!("{path}/");
        let mut deeper = things.range(below.clone()..).take_while(|t| t.0.starts_with(&below));
        deeper.any(|t| t.1.0 == Fate::Kept)
    };
    let known = |path: &str| {
        let exception = |e: &&(&str, &str, &str)| e.0 == schema && path.starts_with(e.1);
        EXCEPTIONS.iter().find(exception)
    };
    let mut used = BTreeSet::new();
    let mut faults = Vec::new();
    for (path, (fate, example)) in &things {
        match (fate, known(path)) {
            (Fate::Kept, _) => {}
            _ if inside(path) => {}
            (_, Some(e)) => {
                used.insert(e.1);
            }
            (fate, None) => faults.push(format!("{path}: {fate:?}: {example}")),
        }
    }
    for ((path, word), (fate, example)) in &words {
        let listed = format!("{path}={word}");
        match (fate, known(&listed)) {
            (Fate::Kept | Fate::Dropped, _) => {}
            (Fate::Refused, Some(e)) => {
                used.insert(e.1);
            }
            (Fate::Refused, None) if things[path].0 < Fate::Kept => {}
            (Fate::Refused, None) => faults.push(format!("{listed}: {example}")),
        }
    }
    for e in EXCEPTIONS.iter().filter(|e| e.0 == schema && !used.contains(e.1)) {
        faults.push(format!("{}: is no exception any more", e.1));
    }
    println!(
        "{}: {documents} documents, {} elements and attributes, {} words",
        schema,
        things.len(),
        words.len()
    );
    assert!(faults.is_empty(), "{}:\n{}", schema, faults.join("\n"));
    some
}

/// What we write of documents that the schema allows is allowed by it as well.
fn write(schema: &str, some: Vec<(&Kind, String)>) {
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    for (kind, text) in some {
        if let (_, Some(out)) = (kind.read)(&text) {
            written.insert(out, text);
        }
    }
    let (out, given): (Vec<String>, Vec<String>) = written.into_iter().unzip();
    // Where a disk says that it is backed up, the schema asks for a type, which the daemon fills in.
    let out: Vec<String> = out.into_iter().map(|out| out.replace(" backup='yes'", "")).collect();
    let Some(before) = rng::valid::faults(schema, "given", &given) else {
        return println!("skipped: no xmllint (Debian: libxml2-utils)");
    };
    let after = rng::valid::faults(schema, "written", &out).unwrap_or_default();
    let mut faults = Vec::new();
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        if before.is_empty() && !after.is_empty() {
            faults.push(format!("{}\nof {}\n{after}", out[i], given[i]));
        }
    }
    let valid = before.iter().filter(|fault| fault.is_empty()).count();
    println!("{schema}: {valid} valid of {} documents", given.len());
    assert!(valid > 0, "{schema}: no document is valid: {}", before[0]);
    assert!(faults.is_empty(), "{}: {}\n{}", schema, faults.len(), faults.join("\n"));
}

macro_rules! walks {
    ($($name:ident $schema:literal)*) => {$(
        #[test]
        fn $name() {
            if rng::installed() {
                let some = walk($schema);
                write($schema, some);
            }
        }
    )*};
}

walks! {
    domain "domain.rng"
    network "network.rng"
    network_port "networkport.rng"
    filter "nwfilter.rng"
    filter_binding "nwfilterbinding.rng"
    pool "storagepool.rng"
    volume "storagevol.rng"
    node_device "nodedev.rng"
    interface "interface.rng"
    secret "secret.rng"
    snapshot "domainsnapshot.rng"
    checkpoint "domaincheckpoint.rng"
    backup "domainbackup.rng"
}
