//! Images below a disk's and beside it: what they must say, and what is filled in.

use model::domain::{FormatFlags, ParseOptions, defaults, format, parse, validate};

/// A disk with this image source, completed: as it is written, or the first fault.
fn disk(inner: &str) -> Result<String, String> {
    let text = format!(
        "<domain type='qemu'><name>a</name><memory>65536</memory><os>\
         <type machine='q35' arch='x86_64'>hvm</type></os><devices><disk><driver type='qcow2'/>\
         {inner}<target dev='vda'/></disk></devices></domain>"
    );
    let parsed = parse(&text, ParseOptions::default());
    let mut found = parsed.diagnostics;
    let mut domain = parsed.domain;
    if let Some(domain) = domain.as_mut() {
        let emulator = defaults::EmulatorDefaults::default();
        found.extend(defaults::apply(
            domain,
            &mut defaults::DefaultsContext {
                host_arch: "x86_64",
                emulator: None,
                machines: &emulator.machines,
                devices: &emulator.devices,
                settings: &defaults::Settings::default(),
                random: &mut |bytes| bytes.fill(2),
                iommu_group: &|_| None,
                abi_update: true,
            },
        ));
        found.extend(validate(domain));
    }
    let about =
        |d: &&diag::Diagnostic| d.rule.starts_with("domain.disk") || d.rule.starts_with("xml.");
    if let Some(fault) = found.iter().find(about) {
        return Err(fault.message.clone());
    }
    let written = format(&domain.unwrap(), FormatFlags { secure: true, ..FormatFlags::default() });
    let lines: String = written.lines().map(str::trim_start).collect();
    let start = lines.find("<source").unwrap();
    Ok(lines[start..lines.find("<target").unwrap()].to_owned())
}

/// The image beside `/x` that holds its data.
fn beside(data: &str) -> String {
    format!("<source file='/x'>{data}</source>")
}

#[test]
fn an_image_must_say_the_same_wherever_it_stands() {
    for (kind, source, fault) in [
        (
            "network",
            "<source name='a'/>",
            "Missing required attribute 'protocol' in element 'source'",
        ),
        ("network", "<source/>", "Missing required attribute 'protocol' in element 'source'"),
        ("network", "<source protocol='http'/>", "missing name for disk source"),
        (
            "network",
            "<source protocol='rbd' name='ab'/>",
            "can't split path 'ab' into pool name and image name",
        ),
        (
            "network",
            "<source protocol='http' name='a'><cookies><cookie name='('>b</cookie></cookies></source>",
            "cookie name '(' contains invalid characters",
        ),
        (
            "network",
            "<source protocol='rbd' name='a/b'><auth username='u'/></source>",
            "Missing <secret> element in auth",
        ),
        (
            "block",
            "<source dev='/d'><encryption format='lukx'/></source>",
            "unknown volume encryption format type lukx",
        ),
        (
            "block",
            "<source dev='/d'><encryption format='luks'><ivgen/></encryption></source>",
            "ivgen element found, but cipher is missing",
        ),
        (
            "block",
            "<source dev='/d'><reservations managed='no'/></source>",
            "missing connection type for <reservations/>",
        ),
        (
            "volume",
            "<source pool='p'/>",
            "'pool' and 'volume' must be specified together for 'pool' type source",
        ),
        (
            "nvme",
            "<source namespace='1'><address domain='0' bus='0' slot='1' function='0'/></source>",
            "missing 'type' attribute to disk source",
        ),
        ("vhostuser", "<source path='/s'/>", "missing 'type' attribute for vhostuser disk source"),
        ("vhostvdpa", "<source/>", "Missing required attribute 'dev' in element 'source'"),
    ] {
        let below = format!(
            "<source file='/x'/><backingStore type='{kind}'><format type='raw'/>{source}\
             </backingStore>"
        );
        let data = format!("<dataStore type='{kind}'><format type='raw'/>{source}</dataStore>");
        assert_eq!(disk(&below), Err(fault.to_owned()), "{below}");
        assert_eq!(disk(&beside(&data)), Err(fault.to_owned()), "{data}");
    }
}

#[test]
fn a_data_file_has_rules_of_its_own() {
    for (data, fault) in [
        ("<dataStore type='fat'/>", "unknown storage source type 'fat'"),
        ("<dataStore type='file'/>", "missing data file store format"),
        ("<dataStore type='file'><format/><source/></dataStore>", "missing data file store format"),
        (
            "<dataStore type='file'><format type='raw'/></dataStore>",
            "missing disk data file store source",
        ),
        (
            "<dataStore type='file'><format type='none'/><source/></dataStore>",
            "unknown storage source format 'none'",
        ),
        (
            "<dataStore type='file'><format type='qcow2'/><source file='/d'/></dataStore>",
            "only 'raw' images supported as <dataStore>",
        ),
        (
            "<dataStore type='file'><format type='raw'/><source file='/d'><slices>\
             <slice type='storage' offset='0' size='512'/></slices></source></dataStore>",
            "slices are not supported for <dataStore>",
        ),
        (
            "<dataStore type='file'><format type='raw'/><source file='/d'><dataStore type='file'>\
             <format type='raw'/><source file='/e'/></dataStore></source></dataStore>",
            "The <source> of <dataStore> can't have another nested <dataStore> or <backingStore> \
             element",
        ),
    ] {
        assert_eq!(disk(&beside(data)), Err(fault.to_owned()), "{data}");
    }
}

#[test]
fn what_is_left_open_is_filled_in_everywhere() {
    let network = "<source protocol='ssh' name='a' startupPolicy='optional'>\
                   <host name='h' transport='tcp'/><timeout seconds='3'/></source>";
    let full = "<source protocol='ssh' name='a'><host name='h' port='22'/></source>";
    let data = |source: &str| {
        format!("<dataStore type='network'><format type='raw'/>{source}</dataStore>")
    };
    let caching = data(network).replace(
        "<format type='raw'/>",
        "<format type='raw'><metadata_cache><max_size>1</max_size></metadata_cache></format>",
    );
    assert_eq!(disk(&beside(&caching)), Ok(beside(&data(full))));
    let below = |source: &str| {
        format!(
            "<source file='/x'/><backingStore type='network'><format type='raw'/>{source}\
             </backingStore>"
        )
    };
    assert_eq!(disk(&below(network)), Ok(below(full)));
    let empty = "<dataStore type='file'><format type='raw'/>";
    assert_eq!(
        disk(&beside(&format!("{empty}<source dev='/x'/></dataStore>"))),
        Ok(beside(&format!("{empty}</dataStore>")))
    );
}

#[test]
fn a_disk_without_an_image_is_refused_whatever_else_it_says() {
    for source in [
        "",
        "<source/>",
        "<source startupPolicy='optional'/>",
        "<source fdgroup='g'/>",
        "<source><seclabel model='dac' relabel='no'/></source>",
        "<source><dataStore type='file'><format type='raw'/><source file='/d'/></dataStore></source>",
    ] {
        let fault = "missing source information for device vda".to_owned();
        assert_eq!(disk(source), Err(fault), "{source}");
    }
}

#[test]
fn cookies_are_shown_to_those_who_may_see_passwords() {
    let text = "<domain type='qemu'><name>a</name><memory>65536</memory><os><type>hvm</type></os>\
                <devices><disk type='network'><source protocol='https' name='a'><host name='h'/>\
                <cookies><cookie name='session'>b</cookie></cookies></source><target dev='vda'/>\
                </disk></devices></domain>";
    let domain = parse(text, ParseOptions::default()).domain.unwrap();
    for secure in [true, false] {
        let written = format(&domain, FormatFlags { secure, ..FormatFlags::default() });
        assert_eq!(written.contains("session"), secure);
    }
}
