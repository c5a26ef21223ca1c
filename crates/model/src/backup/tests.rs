//! Backups: what is read, aligned, refused.

use super::{Parsing, format, parse};
use crate::domain::devices::disk::{Disk, DiskSource, DiskTarget, StorageType};
use diag::ErrorCode;
use xml::WriteOptions;

fn disks(names: &str) -> Vec<Disk> {
    names
        .split_whitespace()
        .map(|name| {
            let source =
                DiskSource { file: Some(format!("/i/{name}.img")), ..DiskSource::default() };
            let target = DiskTarget { dev: name.to_owned(), ..DiskTarget::default() };
            Disk { source: Some(source), target, ..Disk::default() }
        })
        .collect()
}

fn aligned(inner: &str, domain: &[Disk]) -> Result<String, String> {
    let text = format!("<domainbackup>{inner}</domainbackup>");
    let parsed = parse(&text, Parsing::default());
    let mut backup = parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics));
    backup.align(domain, "S").map_err(|error| error.detail)?;
    let written = format(&backup, false, &WriteOptions::default());
    let one_line: String = written.lines().map(str::trim_start).collect();
    let inner = one_line.split_once("<disks>").and_then(|(_, rest)| rest.split_once("</disks>"));
    Ok(inner.map(|(disks, _)| disks.to_owned()).unwrap_or_default())
}

#[test]
fn every_disk_gets_a_place_and_a_mode() {
    assert_eq!(
        aligned("", &disks("vda")).as_deref(),
        Ok("<disk name='vda' backup='yes' type='file' backupmode='full'>\
            <target file='/i/vda.img.S'/></disk>")
    );
    assert_eq!(
        aligned(
            "<incremental>c</incremental><disks><disk name='vdb' backupmode='full'/>\
             <disk name='vda' type='block' incremental='d'><target dev='/d'/></disk></disks>",
            &disks("vda vdb vdc")
        )
        .as_deref(),
        Ok("<disk name='vdb' backup='yes' type='file' backupmode='full'>\
            <target file='/i/vdb.img.S'/></disk>\
            <disk name='vda' backup='yes' type='block' backupmode='incremental' incremental='d'>\
            <target dev='/d'/></disk><disk name='vdc' backup='no'/>")
    );
}

#[test]
fn disks_that_do_not_fit_are_refused() {
    let mut network = disks("vda");
    network[0].kind = StorageType::Network;
    network[0].source =
        Some(DiskSource { protocol: Some("nbd".to_owned()), ..DiskSource::default() });
    for (inner, domain, words) in [
        ("<disks><disk name='vdx'/></disks>", disks("vda"), "no disk named 'vdx'"),
        (
            "<disks><disk name='vda'/><disk name='vda'/></disks>",
            disks("vda"),
            "disk 'vda' specified twice",
        ),
        ("", Vec::new(), "domain must have at least one disk to perform backup"),
        ("", network, "refusing to generate file name for disk 'vda'"),
    ] {
        assert_eq!(aligned(inner, &domain), Err(words.to_owned()));
    }
}

#[test]
fn what_the_schema_does_not_allow_is_refused() {
    let pull = "<server name='a'/>";
    let target = |inner: &str| {
        format!(
            "<disks><disk name='vda' type='file'><target file='/a'>{inner}</target></disk></disks>"
        )
    };
    for inner in [
        "<seclabel relabel='no'/>",
        "<seclabel><label>a</label><label>b</label></seclabel>",
        "<encryption format='luks'><secret type='passphrase' usage='a'/></encryption>",
    ] {
        let text = format!("<domainbackup>{}</domainbackup>", target(inner));
        let parsed = parse(&text, Parsing::default());
        assert!(parsed.value.is_some(), "{text}: {:?}", parsed.diagnostics);
    }
    for (mode, inner) in [
        ("foo", ""),
        ("pull", ""),
        ("push", "<server transport='unix' socket='/a'/>"),
        ("pull", "<server/>"),
        ("pull", "<server transport='unix' socket='a'/>"),
        ("pull", "<server transport='unix'/>"),
        ("pull", "<server transport='fd'/>"),
        ("pull", "<server transport='rdma' name='a'/>"),
        ("pull", "<server name='a' port='x'/>"),
        ("push", "<foo/>"),
        ("push", "<disks/>"),
        ("push", "<disks><disk/></disks>"),
        ("push", "<disks><disk name='zz'/></disks>"),
        ("push", "<disks><disk name='vda' type='network'/></disks>"),
        ("push", "<disks><disk name='vda' state='running'/></disks>"),
        ("push", "<disks><disk name='vda' backupmode='full' incremental='x'/></disks>"),
        ("push", "<disks><disk name='vda' type='file' exportname='x'/></disks>"),
        ("push", "<disks><disk name='vda' type='file'><target file='a'/></disk></disks>"),
        ("push", "<disks><disk name='vda' type='file'><scratch file='/a'/></disk></disks>"),
        ("push", "<disks><disk name='vda'><target file='/a'/></disk></disks>"),
        ("push", "<disks><disk name='vda' backup='no' type='file'/></disks>"),
        (
            "push",
            "<disks><disk name='vda' type='file'><target file='/a'><encryption format='luks'/>\
             </target></disk></disks>",
        ),
        ("push", &target("<seclabel/>")),
        ("push", &target("<seclabel relabel='no'><label>a</label></seclabel>")),
        ("push", &target("<encryption format='luks'><secret type='x' usage='a'/></encryption>")),
        ("push", &target("<encryption format='luks'><secret type='passphrase'/></encryption>")),
        ("pull", "<server name='a b'/>"),
        ("pull", "<server name='a'/><disks><disk name='vda' type='block'/></disks>"),
        ("pull", "<server name='a'/><disks><disk name='vda' backup='yes'/></disks>"),
        ("pull", "<server name='a'/><disks><disk name='vda'><driver type='qcow2'/></disk></disks>"),
        (
            "pull",
            &format!(
                "{pull}<disks><disk name='vda' type='file'><target file='/a'/></disk></disks>"
            ),
        ),
        (
            "pull",
            &format!(
                "{pull}<disks><disk name='vda' type='file'><driver type='raw'/><scratch file='/a'/></disk></disks>"
            ),
        ),
    ] {
        let text = format!("<domainbackup mode='{mode}'>{inner}</domainbackup>");
        let parsed = parse(&text, Parsing::default());
        assert!(parsed.value.is_none(), "{text}");
        assert_eq!(parsed.diagnostics[0].code, ErrorCode::XML_INVALID_SCHEMA, "{text}");
    }
}

#[test]
fn the_daemons_own_form_survives() {
    let text = "<domainbackup mode='pull'>
  <server transport='unix' tls='yes' socket='/s'/>
  <disks>
    <disk name='vda' backup='yes' state='running' type='file' backupmode='full' exportname='e' exportbitmap='b' index='7'>
      <driver type='qcow2'/>
      <scratch file='/a'>
        <seclabel model='dac' relabel='no'/>
        <encryption format='luks'>
          <secret type='passphrase' usage='u'/>
        </encryption>
      </scratch>
    </disk>
    <disk name='vdb' backup='no' state='none'/>
  </disks>
  <privateData>
    <objects/>
  </privateData>
</domainbackup>
";
    let parsed = parse(text, Parsing { internal: true });
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(format(&parsed.value.unwrap(), true, &WriteOptions::default()), text);
}
