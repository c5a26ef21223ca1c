//! Updates of networks: every section, every command, and what is refused.

use super::*;

const NETWORK: &str = "<network><name>n</name><uuid>0c6bd2b4-6e1c-4f8a-8e39-5d64ccba7b6d</uuid>
  <forward mode='nat'/><bridge name='b'/>
  <dns><txt name='t' value='v'/><srv service='s' protocol='tcp' domain='d'/>
    <srv service='s' protocol='udp'/><host ip='10.0.0.9'><hostname>h</hostname></host></dns>
  <ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.2' end='10.0.0.8'/>
    <host mac='52:54:00:00:00:01' name='one' ip='10.0.0.10'/></dhcp></ip>
  <ip family='ipv6' address='fd00::1' prefix='64'/>
  <portgroup name='g' default='yes'/>
</network>";

/// The network's XML after the update, or code and message of the refusal.
fn outcome(
    section: Section,
    command: Command,
    parent: i32,
    fragment: &str,
) -> Result<String, (u32, String)> {
    let mut network = parse(NETWORK).value.expect("a network");
    update(&mut network, section, command, parent, fragment).map_err(|found| {
        let first = &found[0];
        (first.code.0, first.message.clone())
    })?;
    Ok(format(&network, FormatFlags::default()))
}

#[test]
fn entries_are_added_changed_and_deleted() {
    use Command::{AddFirst, AddLast, Delete, Modify};
    for (section, command, parent, fragment, expected, gone) in [
        (
            Section::IpDhcpHost,
            AddFirst,
            -1,
            "<host mac='52:54:00:00:00:02' ip='10.0.0.11'/>",
            "ip='10.0.0.11'/>\n      <host mac='52:54:00:00:00:01'",
            "",
        ),
        (
            Section::IpDhcpHost,
            Modify,
            0,
            "<host mac='52:54:00:00:00:01' name='uno' ip='10.0.0.12'/>",
            "name='uno' ip='10.0.0.12'",
            "10.0.0.10",
        ),
        (Section::IpDhcpHost, Delete, 0, "<host name='one'/>", "<range", "<host mac"),
        (Section::IpDhcpHost, AddLast, 1, "<host id='0:1' ip='fd00::7'/>", "ip='fd00::7'", ""),
        (
            Section::IpDhcpRange,
            AddLast,
            -1,
            "<range start='10.0.0.20' end='10.0.0.30'/>",
            "end='10.0.0.8'/>\n      <range start='10.0.0.20'",
            "",
        ),
        (
            Section::IpDhcpRange,
            Delete,
            0,
            "<range start='10.0.0.2' end='10.0.0.8'/>",
            "<host mac",
            "<range",
        ),
        (Section::DnsTxt, Modify, 0, "<txt name='t' value='w'/>", "value='w'", "value='v'"),
        (Section::DnsTxt, Delete, 0, "<txt name='t'/>", "<srv", "<txt"),
        (Section::DnsSrv, Delete, 0, "<srv protocol='udp'/>", "'tcp'", "'udp'"),
        (Section::DnsHost, Delete, 0, "<host><hostname>h</hostname></host>", "<srv", "<hostname>"),
        (Section::ForwardInterface, AddLast, 0, "<interface dev='e'/>", "dev='e' mode='nat'", ""),
        (Section::PortGroup, Modify, 0, "<portgroup name='g'/>", "name='g'>", "default="),
        (Section::PortGroup, AddFirst, 0, "<portgroup name='a'/>", "'a'>\n  </portgroup>\n", ""),
    ] {
        let text = outcome(section, command, parent, fragment).expect(fragment);
        assert!(text.contains(expected), "{fragment}: {text}");
        assert!(gone.is_empty() || !text.contains(gone), "{fragment}: {text}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_code() {
    use Command::{AddLast, Delete, Modify};
    let host = "<host mac='52:54:00:00:00:01' ip='10.0.0.77'/>";
    for (section, command, parent, fragment, code, words) in [
        (Section::Bridge, Modify, 0, "<bridge/>", 84, "can't update 'bridge' section"),
        (Section::ForwardPf, Modify, 0, "<pf/>", 84, "'forward pf' section"),
        (Section::IpDhcpHost, AddLast, 0, host, 55, "existing dhcp host entry"),
        (Section::IpDhcpHost, AddLast, 0, "<range/>", 27, "expecting <host>"),
        (Section::IpDhcpHost, AddLast, 7, host, 55, "no <ip> element found at index 7"),
        (Section::IpDhcpHost, AddLast, 1, host, 27, "Invalid to specify MAC address"),
        (Section::IpDhcpHost, AddLast, 0, "<host name='q' ip='fd00::9'/>", 55, "family"),
        (Section::IpDhcpHost, Delete, 0, "<host id='1'/>", 27, "At least one of"),
        (Section::IpDhcpHost, Delete, 0, "<host name='x'/>", 55, "couldn't locate"),
        (Section::IpDhcpRange, Modify, 0, "<range/>", 84, "cannot be modified"),
        (
            Section::IpDhcpRange,
            AddLast,
            0,
            "<range start='10.1.0.2' end='10.1.0.3'/>",
            1,
            "not entirely within",
        ),
        (Section::DnsSrv, Delete, 0, "<srv service='s'/>", 55, "multiple DNS SRV records"),
        (Section::DnsSrv, AddLast, 0, "<srv service='s' protocol='udp'/>", 55, "already"),
        (Section::DnsSrv, Modify, 0, "<x/>", 84, "cannot be modified"),
        (Section::DnsTxt, AddLast, 0, "<txt name='t' value='x'/>", 55, "name 't' in network n"),
        (Section::DnsTxt, AddLast, 0, "<txt name='u'/>", 35, "record named 'u' of network n"),
        (Section::DnsHost, Delete, 0, "<host/>", 35, "Missing ip and hostname in network 'n'"),
        (Section::DnsHost, AddLast, 0, "<host ip='10.0.0.9'/>", 35, "Missing hostname"),
        (Section::PortGroup, Delete, 0, "<portgroup name='x'/>", 55, "couldn't find"),
        (
            Section::PortGroup,
            AddLast,
            0,
            "<portgroup name='x' default='yes'/>",
            55,
            "already set as the default",
        ),
        (Section::ForwardInterface, Delete, 0, "<interface dev='x'/>", 55, "couldn't find"),
        (Section::DnsTxt, Modify, 0, "<txt", 35, ""),
    ] {
        let (got, message) = outcome(section, command, parent, fragment).expect_err(fragment);
        assert_eq!(got, code, "{fragment}: {message}");
        assert!(message.contains(words), "{fragment}: {message}");
    }
}

#[test]
fn numbers_of_the_api_mean_sections_and_commands() {
    assert_eq!(Section::from_code(0), None);
    assert_eq!(Section::from_code(1), Some(Section::Bridge));
    assert_eq!(Section::from_code(12), Some(Section::DnsSrv));
    assert_eq!(Section::from_code(13), None);
    assert_eq!(Command::from_code(1), Some(Command::Modify));
    assert_eq!(Command::from_code(4), Some(Command::AddFirst));
    assert_eq!(Command::from_code(5), None);
}
