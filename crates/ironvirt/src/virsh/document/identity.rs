//! What tells an element from its siblings of the same name, in libvirt's documents.

use xml::Element;

/// An XPath condition that only this one of its siblings should meet; none where only the order
/// tells them apart.
pub fn of(el: Element<'_>) -> Option<String> {
    let own = |name: &str| el.attr(name).map(|v| format!("@{name}={}", literal(v)));
    let inner = |child: &str, name: &str| {
        let value = el.child(child)?.attr(name)?;
        Some(format!("{child}/@{name}={}", literal(value)))
    };
    match el.name() {
        "disk" | "filesystem" => inner("target", "dev").or_else(|| inner("target", "dir")),
        "interface" => inner("mac", "address").or_else(|| own("name")),
        "controller" => Some(format!("{} and {}", own("type")?, own("index")?)),
        "channel" => inner("target", "name"),
        "vcpupin" => own("vcpu"),
        "vcpusched" => own("vcpus"),
        "iothreadpin" => own("iothread"),
        "iothreadsched" => own("iothreads"),
        "address" | "alias" | "source" | "target" | "backingStore" => None,
        _ => inner("alias", "name")
            .or_else(|| own("name"))
            .or_else(|| own("id"))
            .or_else(|| own("uuid")),
    }
}

/// A string as XPath writes it.
fn literal(value: &str) -> String {
    if value.contains('\'') { format!("\"{value}\"") } else { format!("'{value}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        for (text, expected) in [
            ("<disk><target dev='vda'/></disk>", Some("target/@dev='vda'")),
            ("<controller type='pci' index='1'/>", Some("@type='pci' and @index='1'")),
            ("<controller type='pci'/>", None),
            ("<feature name='x'/>", Some("@name='x'")),
            ("<video/>", None),
            ("<timer name=\"a'b\"/>", Some("@name=\"a'b\"")),
        ] {
            let doc = xml::Document::parse(text).unwrap();
            assert_eq!(of(doc.root()).as_deref(), expected, "{text}");
        }
    }
}
