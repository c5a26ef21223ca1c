//! Status files: what the daemon must know to take a running guest over (`<domstatus>`).
//!
//! libvirt's format, so that libvirtd reads what we wrote and we read what it wrote.

use diag::{Diagnostic, Severity};
use std::sync::Arc;
use xml::WriteOptions;

pub use super::status_types::*;
use super::{Domain, canonical, defaults};
use crate::file_header;

/// What reading a status file found.
#[derive(Clone, Debug)]
pub struct ParsedStatus {
    /// The status, when there was no error.
    pub status: Option<DomStatus>,
    /// Every finding.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a status file.
pub fn parse(text: &str) -> ParsedStatus {
    let xml::Parsed { value, mut diagnostics } = xml::read_str::<DomStatus>(text, "domstatus");
    let status = value.map(|mut s| {
        let domain = Arc::make_mut(&mut s.domain);
        canonical::canonicalize(domain, &mut diagnostics);
        defaults::spice_audio(domain);
        // Counters that older files lack start at nothing.
        if let Some(j) = s.job.as_mut() {
            j.flags.get_or_insert_with(|| "0x0".to_owned());
            j.async_started.get_or_insert(0);
        }
        s.nodename.get_or_insert(StatusIndex { index: 0 });
        s.fdset.get_or_insert(StatusIndex { index: 0 });
        s.agent_timeout.get_or_insert(DEFAULT_AGENT_TIMEOUT);
        if s.memory_backing_dir.is_none() {
            s.memory_backing_dir = s.lib_dir.as_ref().and_then(|dir| memory_dir(&dir.path));
        }
        s
    });
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    ParsedStatus { status: status.filter(|_| !failed), diagnostics }
}

/// Wait for the agent's answer as long as the command takes (`VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK`).
const DEFAULT_AGENT_TIMEOUT: i32 = -2;

/// Where older files do not say: beside the guest's own folder, `…/domain-7-a` and `…/ram/7-a`.
fn memory_dir(lib_dir: &str) -> Option<StatusPath> {
    let (parent, own) = lib_dir.rsplit_once('/')?;
    Some(StatusPath { path: format!("{parent}/ram/{}", own.strip_prefix("domain-")?) })
}

/// Writes a `<domstatus>` element, passwords included.
pub fn format(status: &DomStatus) -> String {
    let options = WriteOptions { live: true, secure: true, migratable: false, indent: 0 };
    xml::write(status, "domstatus", &options)
}

/// Writes a whole status file, with the comment that says who wrote it.
pub fn format_file(status: &DomStatus) -> String {
    file_header("edit", &status.domain.name) + &format(status)
}

/// The guest inside a status file: its live form, private parts included.
pub(super) mod embedded {
    use xml::{Content, Element, Reader, Schema, Writer, Xml};

    use super::{Arc, Domain};

    pub(in super::super) fn read(el: Element<'_>, cx: &mut Reader) -> Option<Arc<Domain>> {
        match cx.child(el, "domain") {
            Some(d) => cx.element::<Domain>(d).map(Arc::new),
            None => {
                cx.missing_child(el, "domain");
                None
            }
        }
    }

    pub(in super::super) fn write_attrs(_: &Domain, _: &mut Writer) {}

    pub(in super::super) fn write_children(d: &Domain, w: &mut Writer) {
        crate::domain::write_domain(d, w);
    }

    pub(in super::super) fn schema() -> Schema {
        Schema::new().child("domain".into(), true, false, Content::Element(Domain::schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<domstatus state='running' reason='booted' pid='77'>
  <monitor path='/x/monitor.sock' type='unix'/>
  <vcpus>
    <vcpu id='0' pid='78'/>
  </vcpus>
  <devices>
    <device alias='virtio-disk0'/>
  </devices>
  <libDir path='/x'/>
  <chardevStdioLogd/>
  <allowReboot value='yes'/>
  <rememberOwner/>
  <nodename index='4'/>
  <fdset index='0'/>
  <blockjobs active='no'/>
  <agentTimeout>-2</agentTimeout>
  <domain type='qemu' id='3'>
    <name>a</name>
    <memory unit='KiB'>1024</memory>
    <devices>
      <disk type='file' device='disk'>
        <source file='/a' index='4'>
          <privateData>
            <nodenames>
              <nodename type='storage' name='libvirt-4-storage'/>
            </nodenames>
          </privateData>
        </source>
        <target dev='vda' bus='virtio'/>
        <alias name='virtio-disk0'/>
        <privateData>
          <qom name='/machine/x'/>
        </privateData>
      </disk>
    </devices>
  </domain>
</domstatus>
";

    #[test]
    fn a_status_survives() {
        let p = parse(TEXT);
        assert_eq!(p.diagnostics, []);
        let s = p.status.expect("status");
        assert_eq!((s.pid, s.domain.id), (77, Some(3)));
        assert_eq!(format(&s), TEXT);
        let public = crate::domain::FormatFlags { live: true, ..Default::default() };
        assert!(!crate::domain::format(&s.domain, public).contains("privateData"));
    }

    #[test]
    fn without_a_domain_it_is_refused() {
        let p = parse("<domstatus state='running' pid='1'/>");
        assert!(p.status.is_none());
        assert_eq!(p.diagnostics.len(), 1);
    }
}
