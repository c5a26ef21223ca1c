//! Reading and writing `<cpu>` as a document of its own.
//!
//! The same element describes a host (it names an architecture and a model, and lists features the
//! model lacks) and a guest (it has a mode or a match, and says of features what is to be done
//! about them). Both are a [`Cpu`]; [`is_host`] tells them apart.

use super::{CpuError, valid};
use crate::domain::cpu::{Cpu, CpuFallback, CpuFeaturePolicy, CpuMatch, CpuMode};
use xml::{Document, Element, Reader, WriteOptions, Xml};

/// Whether it describes a host.
pub fn is_host(cpu: &Cpu) -> bool {
    cpu.arch.is_some()
}

/// Name of the model.
pub fn model_name(cpu: &Cpu) -> Option<&str> {
    cpu.model.as_ref()?.name.as_deref().filter(|name| !name.is_empty())
}

/// Reads a document whose root is `<cpu>`.
///
/// # Errors
/// It is no XML, or no CPU that libvirt would accept.
pub fn read(text: &str) -> Result<Cpu, CpuError> {
    read_document(text, false)
}

/// As [`read`], and what departs from the form of such documents is refused.
///
/// # Errors
/// As for [`read`], and for all that departs from it.
pub fn read_valid(text: &str) -> Result<Cpu, CpuError> {
    read_document(text, true)
}

/// As [`read`], of a host's CPU.
///
/// # Errors
/// As for [`read`], and for a guest's CPU.
pub fn read_host(text: &str) -> Result<Cpu, CpuError> {
    let document = Document::parse(text).map_err(CpuError::Document)?;
    let root = document.root();
    if root.name() == "cpu" {
        if root.attr("mode").is_some() {
            return Err(CpuError::Config(
                "Attribute mode is only allowed for guest CPU".to_owned(),
            ));
        }
        if root.child("arch").is_none() {
            return Err(CpuError::Xml("Missing CPU architecture".to_owned()));
        }
    }
    read_document(text, false)
}

fn read_document(text: &str, strict: bool) -> Result<Cpu, CpuError> {
    let document = Document::parse(text).map_err(CpuError::Document)?;
    let root = document.root();
    if strict {
        valid::check(&document)?;
    }
    if root.name() != "cpu" {
        let message = "XML does not contain expected 'cpu' element".to_owned();
        return Err(CpuError::Xml(message));
    }
    read_element(&document, root)
}

/// Reads every `<cpu>` below the root (or the root itself).
///
/// # Errors
/// As for [`read`].
pub fn read_all(text: &str) -> Result<Vec<Cpu>, CpuError> {
    let document = Document::parse(text).map_err(CpuError::Document)?;
    let root = document.root();
    if root.name() == "cpu" {
        return Ok(vec![read_element(&document, root)?]);
    }
    root.children()
        .filter(|child| child.name() == "cpu")
        .map(|child| read_element(&document, child))
        .collect()
}

fn read_element(document: &Document<'_>, root: Element<'_>) -> Result<Cpu, CpuError> {
    words(root)?;
    let mut reader = Reader::new(document);
    let cpu = Cpu::read(root, &mut reader);
    // Content that has no meaning is passed over.
    reader.use_subtree(root);
    let failed = reader.has_errors();
    let found = reader.finish();
    let mut cpu = match cpu {
        Some(cpu) if !failed => cpu,
        _ => return Err(CpuError::Document(found)),
    };
    tidy(&mut cpu);
    check(&cpu, root)?;
    complete(&mut cpu);
    Ok(cpu)
}

/// Words that libvirt refuses with a message of their own.
fn words(root: Element<'_>) -> Result<(), CpuError> {
    if let Some(mode) = root.attr("mode")
        && !["custom", "host-model", "host-passthrough", "maximum"].contains(&mode)
    {
        return Err(CpuError::Config(format!("Invalid mode attribute '{mode}'")));
    }
    for child in root.children() {
        match child.name() {
            "model" => {
                if let Some(word) = child.attr("fallback")
                    && !["allow", "forbid"].contains(&word)
                {
                    return Err(CpuError::Config("Invalid fallback attribute".to_owned()));
                }
            }
            "feature" => {
                let known = ["force", "require", "optional", "disable", "forbid"];
                if let Some(word) = child.attr("policy")
                    && root.child("arch").is_none()
                    && !known.contains(&word)
                {
                    return Err(CpuError::Config("Invalid CPU feature policy".to_owned()));
                }
                if child.attr("name").is_none_or(str::is_empty) {
                    return Err(CpuError::Xml("Invalid CPU feature name".to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Empty texts say nothing.
fn tidy(cpu: &mut Cpu) {
    cpu.vendor = cpu.vendor.take().filter(|vendor| !vendor.is_empty());
    if let Some(model) = cpu.model.as_mut() {
        model.name = model.name.take().filter(|name| !name.is_empty());
    }
}

fn check(cpu: &Cpu, root: Element<'_>) -> Result<(), CpuError> {
    let xml = |text: &str| Err(CpuError::Xml(text.to_owned()));
    if is_host(cpu) {
        if cpu.matching.is_some() {
            return xml(
                "'arch' element cannot be used inside 'cpu' element with 'match' attribute'",
            );
        }
        if cpu.mode.is_some() {
            return Err(CpuError::Config(
                "Attribute mode is only allowed for guest CPU".to_owned(),
            ));
        }
        let arch = cpu.arch.as_deref().unwrap_or_default();
        if !crate::domain::ARCHITECTURES.contains(&arch) {
            return Err(CpuError::Config(format!("Unknown architecture {arch}")));
        }
        if model_name(cpu).is_none() {
            return xml("Missing CPU model name");
        }
    } else if model_name(cpu).is_none()
        && matches!(cpu.mode, None | Some(CpuMode::Custom))
        && !cpu.features.is_empty()
    {
        return xml("Non-empty feature list specified without CPU model");
    }
    if let Some(id) = cpu.model.as_ref().and_then(|model| model.vendor_id.as_ref()) {
        if id.chars().count() != 12 {
            return xml("vendor_id must be exactly 12 characters long");
        }
        if id.contains(',') {
            return xml("vendor id is invalid");
        }
    }
    if let Some(level) = cpu.cache.as_ref().and_then(|cache| cache.level)
        && !(1..=3).contains(&level)
    {
        return xml("invalid CPU cache level, must be in range [1,3]");
    }
    let zero = cpu.topology.as_ref().and_then(|topology| {
        let counts = [
            ("sockets", Some(topology.sockets)),
            ("dies", topology.dies),
            ("clusters", topology.clusters),
            ("cores", Some(topology.cores)),
            ("threads", Some(topology.threads)),
        ];
        counts.into_iter().find(|(_, count)| *count == Some(0)).map(|(name, _)| name)
    });
    if let Some(name) = zero {
        return Err(CpuError::Xml(format!(
            "Invalid value for attribute '{name}' in element 'topology': Zero is not permitted"
        )));
    }
    for (place, feature) in cpu.features.iter().enumerate() {
        if cpu.features.iter().take(place).any(|other| other.name == feature.name) {
            let name = &feature.name;
            return Err(CpuError::Xml(format!("CPU feature '{name}' specified more than once")));
        }
    }
    for signature in root.children().filter(|child| child.name() == "signature") {
        for name in ["family", "model", "stepping"] {
            let value = signature.attr(name);
            if let Some(value) = value.filter(|value| value.parse::<u32>().is_err()) {
                return Err(CpuError::Xml(format!(
                    "Invalid value for attribute '{name}' in element 'signature': '{value}'. \
                     Expected non-negative integer value"
                )));
            }
        }
    }
    let bad_microcode = root
        .children()
        .filter(|child| child.name() == "microcode")
        .any(|child| child.attr("version").is_some_and(|v| v.parse::<u32>().is_err()));
    if bad_microcode {
        return Err(CpuError::Config("invalid microcode version".to_owned()));
    }
    Ok(())
}

/// Fills in what libvirt takes for granted.
fn complete(cpu: &mut Cpu) {
    if let Some(topology) = cpu.topology.as_mut() {
        topology.dies.get_or_insert(1);
        topology.clusters.get_or_insert(1);
    }
    if is_host(cpu) {
        for feature in &mut cpu.features {
            feature.policy = None;
        }
        return;
    }
    let mode = *cpu.mode.get_or_insert(CpuMode::Custom);
    match mode {
        CpuMode::Custom => {
            cpu.matching.get_or_insert(CpuMatch::Exact);
        }
        _ => cpu.matching = None,
    }
    if let Some(model) = cpu.model.as_mut() {
        // Without a name it says whether the one that host-model brings may be replaced.
        if model.name.is_some() {
            model.fallback.get_or_insert(CpuFallback::Allow);
        }
    }
    if matches!(mode, CpuMode::HostPassthrough | CpuMode::Maximum)
        || cpu
            .model
            .as_ref()
            .is_some_and(|m| m.name.is_none() && m.vendor_id.is_none() && m.fallback.is_none())
    {
        cpu.model = None;
    }
    for feature in &mut cpu.features {
        feature.policy.get_or_insert(CpuFeaturePolicy::Require);
    }
}

/// A guest's CPU as text.
pub fn write(cpu: &Cpu) -> String {
    xml::write(cpu, "cpu", &WriteOptions::default())
}
