//! Documents with several faults: each is told once, and none that another one caused.

use diag::{Diagnostic, Severity};

use crate::storage::{Parsing, Pool, PoolType, Volume};

fn errors(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect()
}

/// The faults of a document, each with its message and the text it points to.
fn faults(text: &str) -> Vec<(String, String)> {
    use crate::{backup, checkpoint, interface, network, nodedev, nwfilter, snapshot};
    let root = text.trim_start_matches('<').split([' ', '>', '/']).next();
    let found = match root {
        Some("network") => network::parse_checked(text).diagnostics,
        Some("networkport") => network::parse_port(text).diagnostics,
        Some("filter") => nwfilter::parse(text).diagnostics,
        Some("filterbinding") => nwfilter::parse_binding(text).diagnostics,
        Some("pool") => Pool::parse(text).diagnostics,
        Some("volume") => Volume::parse(text, PoolType::Dir, Parsing::default()).diagnostics,
        Some("device") => nodedev::parse(text).diagnostics,
        Some("interface") => interface::parse(text).diagnostics,
        Some("domainbackup") => backup::parse(text, backup::Parsing::default()).diagnostics,
        Some("domainsnapshot") => {
            let parsing = snapshot::Parsing { redefine: true, internal: false };
            snapshot::parse(text, parsing).diagnostics
        }
        _ => {
            let parsing = checkpoint::Parsing { redefine: true };
            checkpoint::parse(text, parsing).diagnostics
        }
    };
    let place = |d: &Diagnostic| d.span.map_or("", |span| &text[span.start..span.end]).to_owned();
    errors(found).into_iter().map(|d| (place(&d), d.message)).collect()
}

fn check(text: &str, expected: &[&str]) {
    let found = faults(text);
    let messages: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(messages, expected, "{text}");
}

#[test]
fn ten_mistakes_of_a_network_are_ten_faults() {
    let text = "<network ipv6='x'><name>a/b</name><title>a\nb</title><uuid>q</uuid>\
        <forward mode='private'><interface dev='e0'/></forward>\
        <bridge name='br0' delay='z'/><mtu size='-1'/><mac address='0'/>\
        <domain name='d' localOnly='k'/><port isolated='l'/>\
        <ip address='10.0.0.1' prefix='24'><dhcp><host ip='10.0.0.5'/><range start='10.0.0.9' \
        end='10.0.0.2'/></dhcp></ip><route address='10.5.0.0' prefix='24' gateway='10.6.0.1'/>\
        <portgroup name='g'/><portgroup name='g'/></network>";
    let found = faults(text);
    assert!(found.len() >= 12, "{found:#?}");
    let says = |words: &str| found.iter().any(|(_, message)| message.contains(words));
    for words in ["invalid char in name", "newlines", "unreachable", "multiple <portgroup>"] {
        assert!(says(words), "{words}: {found:#?}");
    }
    // Each fault where it is.
    for (place, message) in &found {
        let quoted = message.split('\'').nth(1).filter(|word| word.len() > 3);
        if let Some(word) = quoted.filter(|_| message.starts_with("Invalid value")) {
            assert!(place.contains(word) || text.contains(word), "{place}: {message}");
        }
    }
}

#[test]
fn ten_mistakes_of_a_pool_are_ten_faults() {
    let found = faults(
        "<pool type='netfs'><name>a/b</name><uuid>q</uuid><capacity unit='x'>1</capacity>\
         <features><cow state='yes'/></features><source><host port='z'/><host/><device/><format type='f'/>\
         <auth type='w' username='u'/><protocol ver='v'/></source>\
         <target><permissions><mode>999</mode><owner>o</owner></permissions></target>\
         <refresh><volume allocation='n'/></refresh></pool>",
    );
    assert!(found.len() >= 10, "{found:#?}");
}

#[test]
fn what_was_left_out_causes_no_fault() {
    for (text, expected) in [
        // Without the address nothing is known of the gateway, nor whether there is one for NAT.
        (
            "<network><name>n</name><forward mode='nat'/><ip address='10.0.0.300' prefix='24'/>\
             <route address='10.5.0.0' prefix='24' gateway='10.6.0.1'/></network>",
            &["Invalid address '10.0.0.300' in network 'n'"][..],
        ),
        (
            "<pool type='foo'><name>p</name></pool>",
            &["Invalid value for attribute 'type' in element 'pool': 'foo'."],
        ),
        (
            "<interface type='bridge' name='b'><start mode='x'/><bridge><interface type='bridge' \
             name='c'><bridge/></interface></bridge></interface>",
            &["unknown interface startmode x", "interface has unsupported type 'bridge'"],
        ),
        (
            "<domainbackup mode='pull'><server transport='unix'/><disks><disk name='vda' \
             backup='x'/></disks></domainbackup>",
            &[
                "Invalid value for attribute 'backup' in element 'disk': 'x'.",
                "transport 'unix' of <server> needs attribute 'socket'",
            ],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn faults_stay_where_they_are() {
    let text = "<network><forward mode='nat'><nat ipv6='x'/></forward><title>a\nb</title>\
                <route address='10.5.0.0' prefix='24' gateway='10.6.0.1'/></network>";
    let found = faults(text);
    let unreachable = found.iter().find(|(_, message)| message.contains("unreachable"));
    assert_eq!(
        unreachable.map(|(place, _)| place.as_str()),
        Some("<route address='10.5.0.0' prefix='24' gateway='10.6.0.1'/>"),
        "{found:#?}"
    );
}
