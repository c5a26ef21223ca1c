//! dnsmasq's configuration for a network, and the files that go with it.
//!
//! Sources: dnsmasq's manual page, formatnetwork.html, and the files libvirt 11.3 writes.

use model::network::{Family, ForwardMode, Ip, Lease, LeaseUnit, Network, Srv};
use xml::YesNo;

use diag::VirError;

/// Where the files of a network's dnsmasq lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsmasqPaths {
    /// The folder of the files that it reads.
    pub state_dir: String,
    /// Where it writes its process number, if it should.
    pub pid_file: Option<String>,
}

/// dnsmasq's configuration and its other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dnsmasq {
    /// The configuration.
    pub conf: String,
    /// The file of DHCP hosts; none when there is no DHCP host.
    pub hosts: Option<String>,
    /// The file of names of addresses; none when there is no name.
    pub additional_hosts: Option<String>,
    /// The name of the files before their extensions `conf`, `hostsfile` and `addnhosts`.
    pub base: String,
}

/// Whether a network has something to serve.
pub fn needs_dnsmasq(network: &Network) -> bool {
    let serves = |ip: &Ip| ip.dhcp.is_some() || ip.tftp.is_some();
    !network.ips.is_empty() && (has_dns(network) || network.ips.iter().any(serves))
}

fn has_dns(network: &Network) -> bool {
    network.dns.as_ref().is_none_or(|dns| dns.enable != Some(YesNo::No))
}

/// The lines of a configuration.
struct Lines(String);

impl Lines {
    fn add(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
}

/// dnsmasq's configuration for a network whose bridge has a name.
///
/// # Errors
///
/// The network has no bridge yet, a prefix allows no domain of reverse lookups, or a value would
/// break out of its line.
pub fn dnsmasq(network: &Network, paths: &DnsmasqPaths) -> Result<Dnsmasq, VirError> {
    let Some(bridge) = network.bridge_name() else {
        return Err(VirError::internal(format!("network '{}' has no bridge", network.name)));
    };
    // libvirt writes names in configuration as it writes them in XML.
    let mut name = String::new();
    xml::escape_into(&network.name, &mut name);
    let base = format!("{}/{name}", paths.state_dir);
    let mut out = Lines(String::new());
    out.add("##WARNING:  THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE");
    out.add("##OVERWRITTEN AND LOST.  Changes to this configuration should be made using:");
    out.add(format!("##    virsh net-edit {name}"));
    out.add("## or other application using the libvirt API.");
    out.add("##");
    out.add("## dnsmasq conf file created by libvirt");
    out.add("strict-order");
    resolver(network, &mut out)?;
    if let Some(pid_file) = &paths.pid_file {
        out.add(format!("pid-file={pid_file}"));
    }
    // What the host's own dnsmasq listens to is left alone.
    out.add("except-interface=lo");
    out.add("bind-dynamic");
    out.add(format!("interface={bridge}"));
    if network.mode() == ForwardMode::None {
        // An isolated network has no way out: no default route and no names of the world.
        out.add("dhcp-option=3");
        out.add("no-resolv");
        out.add("ra-param=*,0,0");
    }
    records(network, &mut out);
    serve(network, &base, &mut out);
    for option in &network.dnsmasq_options {
        out.add(option);
    }
    let value_lines = out.0.lines().count();
    let dnsmasq = Dnsmasq {
        hosts: hosts(network),
        additional_hosts: additional_hosts(network),
        conf: out.0,
        base,
    };
    check_lines(network, &dnsmasq, value_lines)?;
    Ok(dnsmasq)
}

/// A line break inside a value would begin a line of its own.
fn check_lines(network: &Network, made: &Dnsmasq, lines: usize) -> Result<(), VirError> {
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let dns = network.dns.iter();
    let texts = dns
        .flat_map(|dns| {
            let txts = dns.txts.iter().flat_map(|txt| [Some(&txt.name), txt.value.as_ref()]);
            let srvs = dns.srvs.iter().flat_map(|srv| {
                [
                    srv.service.as_ref(),
                    srv.protocol.as_ref(),
                    srv.domain.as_ref(),
                    srv.target.as_ref(),
                ]
            });
            let hosts = dns.hosts.iter().flat_map(|host| host.hostnames.iter().map(Some));
            let forwarders = dns.forwarders.iter().map(|forwarder| forwarder.domain.as_ref());
            txts.chain(srvs).chain(hosts).chain(forwarders).flatten().collect::<Vec<_>>()
        })
        .chain(network.domain.iter().filter_map(|domain| domain.name.as_ref()))
        .chain(&network.dnsmasq_options)
        .chain(network.ips.iter().flat_map(|ip| {
            let root = ip.tftp.iter().filter_map(|tftp| tftp.root.as_ref());
            let dhcp = ip.dhcp.iter().flat_map(|dhcp| {
                let names = dhcp.hosts.iter().filter_map(|host| host.name.as_ref());
                names.chain(dhcp.bootp.iter().map(|bootp| &bootp.file))
            });
            root.chain(dhcp).collect::<Vec<_>>()
        }))
        .chain(network.bridge.iter().filter_map(|bridge| bridge.name.as_ref()));
    for text in texts {
        if breaks(text) {
            return Err(VirError::internal(format!(
                "network '{}': '{text}' cannot stand in dnsmasq's configuration of {lines} lines",
                network.name
            )));
        }
    }
    if breaks(&network.name) || breaks(&made.base) {
        return Err(VirError::internal(format!("network '{}' has a line break", network.name)));
    }
    Ok(())
}

/// Whom to ask, and about what nobody is asked.
fn resolver(network: &Network, out: &mut Lines) -> Result<(), VirError> {
    let dns = network.dns.as_ref();
    if !has_dns(network) {
        out.add("port=0");
    }
    let forwarders = dns.map(|dns| dns.forwarders.as_slice()).unwrap_or_default();
    for forwarder in forwarders {
        let server = forwarder.addr.map(|addr| addr.to_string());
        match (&forwarder.domain, server) {
            (Some(domain), server) => {
                out.add(format!("server=/{domain}/{}", server.as_deref().unwrap_or("#")));
            }
            (None, Some(server)) => out.add(format!("server={server}")),
            (None, None) => {}
        }
    }
    if forwarders.iter().any(|forwarder| forwarder.domain.is_none()) {
        out.add("no-resolv");
    }
    if let Some(domain) = &network.domain
        && let Some(name) = &domain.name
    {
        if domain.local_only == Some(YesNo::Yes) {
            out.add(format!("local=/{name}/"));
        }
        out.add(format!("domain={name}"));
        out.add("expand-hosts");
    }
    for ip in network.ips.iter().filter(|ip| ip.local_ptr == Some(YesNo::Yes)) {
        out.add(format!("local=/{}/", reverse_domain(ip)?));
    }
    if dns.is_some_and(|dns| dns.forward_plain_names == Some(YesNo::No)) {
        out.add("domain-needed");
        // Plain names are asked for nowhere.
        out.add("local=//");
    }
    Ok(())
}

/// The domain of reverse lookups of an address's network.
fn reverse_domain(ip: &Ip) -> Result<String, VirError> {
    let prefix = ip.effective_prefix().unwrap_or(0);
    let (family, bits, suffix) = match ip.family() {
        Family::Ipv4 => ("IPv4", 8, "in-addr.arpa"),
        Family::Ipv6 => ("IPv6", 4, "ip6.arpa"),
    };
    let width = ip.address.width();
    if prefix == 0 || prefix >= width || !prefix.is_multiple_of(bits) {
        let message = format!(
            "PTR domain for {family} network with prefix {prefix} cannot be automatically created"
        );
        return Err(VirError::config(message));
    }
    let mut domain = String::new();
    for place in (0..prefix / bits).rev() {
        let shift = width - bits * (place + 1);
        let part = (ip.address.bits() >> shift) & ((1 << bits) - 1);
        match ip.family() {
            Family::Ipv4 => domain.push_str(&format!("{part}.")),
            Family::Ipv6 => domain.push_str(&format!("{part:x}.")),
        }
    }
    domain.push_str(suffix);
    Ok(domain)
}

fn records(network: &Network, out: &mut Lines) {
    let Some(dns) = &network.dns else { return };
    for txt in &dns.txts {
        out.add(format!("txt-record={},{}", txt.name, txt.value.as_deref().unwrap_or_default()));
    }
    for srv in &dns.srvs {
        out.add(srv_line(srv));
    }
}

fn srv_line(srv: &Srv) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut line = format!("srv-host=_{}._{}", part(&srv.service), part(&srv.protocol));
    if let Some(domain) = &srv.domain {
        line.push_str(&format!(".{domain}"));
    }
    // A target of "." says that there is no such service.
    let Some(target) = srv.target.as_deref().filter(|target| *target != ".") else { return line };
    line.push_str(&format!(",{target}"));
    let (priority, weight) = (srv.priority.unwrap_or(0), srv.weight.unwrap_or(0));
    if srv.port.is_some() || priority != 0 || weight != 0 {
        line.push_str(&format!(",{}", srv.port.unwrap_or(1)));
    }
    if priority != 0 || weight != 0 {
        line.push_str(&format!(",{priority}"));
    }
    if weight != 0 {
        line.push_str(&format!(",{weight}"));
    }
    line
}

/// How long, as dnsmasq writes it; none without a lease.
fn lease_time(lease: Option<&Lease>) -> Option<String> {
    let expiry = lease?.expiry?;
    if expiry == 0 {
        return Some("infinite".to_owned());
    }
    let unit = match lease?.unit.unwrap_or_default() {
        LeaseUnit::Seconds => 's',
        LeaseUnit::Minutes => 'm',
        LeaseUnit::Hours => 'h',
    };
    Some(format!("{expiry}{unit}"))
}

/// TFTP, DHCP and router advertisement.
fn serve(network: &Network, base: &str, out: &mut Lines) {
    let mut tftp = network.ips.iter().filter_map(|ip| ip.tftp.as_ref()?.root.as_ref()).peekable();
    if tftp.peek().is_some() {
        out.add("enable-tftp");
    }
    for root in tftp {
        out.add(format!("tftp-root={root}"));
    }
    // One server of each family, and the first IPv4 one before IPv6.
    let server = |family| network.ips.iter().find(|ip| ip.family() == family && ip.dhcp.is_some());
    let (v4, v6) = (server(Family::Ipv4), server(Family::Ipv6));
    let mut leases = 0u128;
    for ip in [v4, v6].into_iter().flatten() {
        leases += dhcp(ip, out);
    }
    if leases > 0 {
        out.add(format!("dhcp-lease-max={leases}"));
    }
    if v4.is_some() || v6.is_some() {
        out.add(format!("dhcp-hostsfile={base}.hostsfile"));
    }
    if has_dns(network) {
        out.add(format!("addn-hosts={base}.addnhosts"));
    }
    if let Some(size) = network.mtu.as_ref().and_then(|mtu| mtu.size) {
        out.add(format!("dhcp-option=option:mtu,{size}"));
    }
    if v6.is_some() {
        out.add("enable-ra");
    } else {
        for ip in network.ips.iter().filter(|ip| ip.family() == Family::Ipv6) {
            out.add(format!("dhcp-range={},ra-only", ip.address));
        }
    }
}

/// A DHCP server; gives the number of its addresses.
fn dhcp(ip: &Ip, out: &mut Lines) -> u128 {
    let Some(dhcp) = &ip.dhcp else { return 0 };
    let prefix = ip.effective_prefix().unwrap_or(0);
    let v6 = ip.family() == Family::Ipv6;
    let mut leases = 0;
    for range in &dhcp.ranges {
        let size = if v6 { prefix.to_string() } else { ip.address.netmask(prefix).to_string() };
        let time = lease_time(range.lease.as_ref()).map(|time| format!(",{time}"));
        let time = time.unwrap_or_default();
        out.add(format!("dhcp-range={},{},{size}{time}", range.start, range.end));
        leases += range.end.bits().saturating_sub(range.start.bits()) + 1;
    }
    if dhcp.ranges.is_empty() && !dhcp.hosts.is_empty() {
        // Only those that are known get an address.
        let size = if v6 { format!(",{prefix}") } else { String::new() };
        out.add(format!("dhcp-range={},static{size}", ip.address));
    }
    if !v6 {
        out.add("dhcp-no-override");
        out.add("dhcp-authoritative");
        if let Some(bootp) = &dhcp.bootp {
            match bootp.server {
                Some(server) => out.add(format!("dhcp-boot={},,{server}", bootp.file)),
                None => out.add(format!("dhcp-boot={}", bootp.file)),
            }
        }
    }
    leases
}

/// The file of DHCP hosts.
fn hosts(network: &Network) -> Option<String> {
    let mut out = Lines(String::new());
    let server = |family| network.ips.iter().find(|ip| ip.family() == family && ip.dhcp.is_some());
    for ip in [server(Family::Ipv4), server(Family::Ipv6)].into_iter().flatten() {
        for host in ip.dhcp.iter().flat_map(|dhcp| &dhcp.hosts) {
            let address = host.ip.map(|ip| ip.to_string()).unwrap_or_default();
            let mut fields: Vec<String> = Vec::new();
            if ip.family() == Family::Ipv6 {
                fields.extend(host.id.as_ref().map(|id| format!("id:{id}")));
                fields.extend(host.name.clone());
                fields.push(format!("[{address}]"));
            } else if let Some(mac) = &host.mac {
                fields.push(mac.clone());
                fields.push(address);
                fields.extend(host.name.clone());
            } else {
                fields.extend(host.name.clone());
                fields.push(address);
            }
            fields.extend(lease_time(host.lease.as_ref()));
            out.add(fields.join(","));
        }
    }
    Some(out.0).filter(|text| !text.is_empty())
}

/// The file of names of addresses.
fn additional_hosts(network: &Network) -> Option<String> {
    let mut out = Lines(String::new());
    for host in network.dns.iter().flat_map(|dns| &dns.hosts) {
        let mut line = host.ip.map(|ip| ip.to_string()).unwrap_or_default();
        line.push('\t');
        for name in &host.hostnames {
            line.push_str(name);
            line.push('\t');
        }
        out.add(line);
    }
    Some(out.0).filter(|text| !text.is_empty())
}
