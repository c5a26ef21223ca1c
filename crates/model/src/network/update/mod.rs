//! Updates of a part of a network.
//!
//! A fragment of XML says what to add, delete or change. What identifies an entry differs from
//! section to section; the codes and words of refusals are libvirt's.

mod dhcp;
mod dns;
mod lists;

use diag::{Diagnostic, ErrorCode, Severity};
use xml::{Document, Element, Reader, Xml, XmlEnum};

use super::definition::{FormatFlags, Network, format, parse};
use super::words;

/// A part of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum Section {
    /// The bridge; cannot be updated.
    Bridge,
    /// The DNS domain; cannot be updated.
    Domain,
    /// An address; cannot be updated.
    Ip,
    /// A DHCP host.
    IpDhcpHost,
    /// A DHCP range.
    IpDhcpRange,
    /// The way to the world; cannot be updated.
    Forward,
    /// An interface of the pool.
    ForwardInterface,
    /// The physical function; cannot be updated.
    ForwardPf,
    /// A port group.
    #[xml(name = "portgroup")]
    PortGroup,
    /// Names of an address.
    DnsHost,
    /// A TXT record.
    DnsTxt,
    /// A SRV record.
    DnsSrv,
}

impl Section {
    /// The section of a number in the API; `None` for numbers that mean none.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get((code as usize).checked_sub(1)?).copied()
    }
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum Command {
    /// Change the entry that matches.
    Modify,
    /// Delete it.
    Delete,
    /// Add one behind the others.
    AddLast,
    /// Add one in front of the others.
    AddFirst,
}

impl Command {
    /// The command of a number in the API; `None` for numbers that mean none.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get((code as usize).checked_sub(1)?).copied()
    }

    fn adds(self) -> bool {
        matches!(self, Self::AddLast | Self::AddFirst)
    }

    /// Puts a new entry in its place.
    fn insert<T>(self, list: &mut Vec<T>, entry: T) {
        match self {
            Self::AddFirst => list.insert(0, entry),
            _ => list.push(entry),
        }
    }
}

/// A refusal: a single fault, or all those of the fragment.
pub type Refusal = Vec<Diagnostic>;

/// A refusal that has no place in the fragment; `{network}` in the words stands for the name.
fn refuse(code: ErrorCode, message: impl Into<String>) -> Refusal {
    vec![Diagnostic {
        rule: "network.update",
        severity: Severity::Error,
        code,
        span: None,
        message: message.into(),
        domain: None,
        hints: Vec::new(),
    }]
}

/// The operation is not valid in the network's state.
fn invalid(message: impl Into<String>) -> Refusal {
    refuse(ErrorCode::OPERATION_INVALID, message)
}

/// There is no such operation.
fn unsupported(message: impl Into<String>) -> Refusal {
    refuse(ErrorCode::OPERATION_UNSUPPORTED, message)
}

/// The fragment of an update.
struct Fragment<'a> {
    doc: &'a Document<'a>,
}

impl Fragment<'_> {
    /// Checks the name of the fragment's element.
    fn expect(&self, name: &str) -> Result<(), Refusal> {
        let root = self.doc.root();
        if root.is(name, None) {
            return Ok(());
        }
        Err(refuse(
            ErrorCode::XML_ERROR,
            format!(
                "unexpected element <{}>, expecting <{name}>, while updating network '{{network}}'",
                root.name()
            ),
        ))
    }

    /// Reads the fragment; `check` looks at what depends on the command.
    fn read<T: Xml>(
        &self,
        check: impl FnOnce(&mut T, Element<'_>, &mut Reader),
    ) -> Result<T, Refusal> {
        let root = self.doc.root();
        let mut cx = Reader::new(self.doc);
        let mut value = cx.element::<T>(root);
        if let Some(value) = &mut value {
            check(value, root, &mut cx);
        }
        let value = value.filter(|_| !cx.has_errors());
        value.ok_or_else(|| {
            let mut found = cx.finish();
            for d in &mut found {
                words::refine_part(root, d);
            }
            found
        })
    }
}

/// Updates a part of a network: `parent` is the number of the `<ip>` that a DHCP entry belongs to,
/// negative for the one that fits best.
///
/// # Errors
///
/// Why it cannot be done; the network is unchanged then. Places refer to the fragment.
pub fn update(
    network: &mut Network,
    section: Section,
    command: Command,
    parent: i32,
    fragment: &str,
) -> Result<(), Refusal> {
    let mut changed = network.clone();
    let outcome = apply(&mut changed, section, command, parent, fragment).and_then(|()| {
        // What fits together in the whole is checked as if all of it had been defined.
        let text = format(&changed, FormatFlags { inactive: true, indent: 0 });
        let mut parsed = parse(&text);
        for d in &mut parsed.diagnostics {
            d.span = None;
        }
        parsed.into_result()
    });
    match outcome {
        Ok(checked) => {
            *network = checked;
            Ok(())
        }
        Err(mut found) => {
            for d in &mut found {
                words::name(d, &network.name);
            }
            Err(found)
        }
    }
}

fn apply(
    network: &mut Network,
    section: Section,
    command: Command,
    parent: i32,
    fragment: &str,
) -> Result<(), Refusal> {
    let doc = Document::parse(fragment)?;
    let part = Fragment { doc: &doc };
    match section {
        Section::IpDhcpHost => dhcp::host(network, command, parent, &part),
        Section::IpDhcpRange => dhcp::range(network, command, parent, &part),
        Section::ForwardInterface => lists::interface(network, command, &part),
        Section::PortGroup => lists::port_group(network, command, &part),
        Section::DnsHost => dns::host(network, command, &part),
        Section::DnsTxt => dns::txt(network, command, &part),
        Section::DnsSrv => dns::srv(network, command, &part),
        Section::Bridge | Section::Domain | Section::Ip | Section::Forward | Section::ForwardPf => {
            let name = section.as_str().replace('-', " ");
            Err(unsupported(format!("can't update '{name}' section of network '{{network}}'")))
        }
    }
}

#[cfg(test)]
mod tests;
