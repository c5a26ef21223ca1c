//! QEMU's block layer: nodes of images, new images, bitmaps; and migration parameters.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use diag::VirError;
use model::domain::devices::disk::{Disk, DiskSource};
use model::domain::opaque::Opaque;
use plan::block::{self, BlockError, Chain, Image, bitmap};
use plan::migration::Params;
use serde_json::{Value, json};
use xml::{RawElement, read_str};

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("disk-blockdev", disk_blockdev),
    ("backing-json", backing_json),
    ("image-create", image_create),
    ("block-bitmap", block_bitmap),
    ("migration-params", migration_params),
];

fn refused(error: &BlockError) -> Answer {
    Answer::Refused(VirError::invalid_arg(error.to_string()))
}

/// A disk by itself; one that names no target (as for a new image) gets one.
fn disk(text: &str) -> Result<Disk, Answer> {
    let text = if text.contains("<target") {
        text.to_owned()
    } else {
        text.replace("</disk>", "<target dev='vda'/></disk>")
    };
    let parsed = read_str::<Disk>(&text, "disk");
    accepted(parsed.value, parsed.diagnostics, &text)
}

fn find<'a>(element: &'a RawElement, name: &str) -> Option<&'a RawElement> {
    element.elements().find(|child| child.local_name() == name)
}

/// Gives an image the names that the run-state form of its source has.
fn name_nodes(image: &mut Image<'_>) {
    let source: &DiskSource = image.source;
    let Some(Opaque(private)) = &source.private_data else { return };
    for node in find(private, "nodenames").into_iter().flat_map(RawElement::elements) {
        let name = node.attr("name").unwrap_or_default().to_owned();
        match node.attr("type") {
            Some("storage") => image.storage_node = name,
            Some("slice-storage") => image.slice_node = name,
            Some("format") => image.format_node = name,
            _ => {}
        }
    }
    let alias = |element: Option<&RawElement>, attr: &str| {
        element.and_then(|element| element.attr(attr)).map(str::to_owned)
    };
    let objects = find(private, "objects");
    image.objects.tls = alias(objects.and_then(|objects| find(objects, "TLSx509")), "alias");
    image.objects.reservations = alias(find(private, "reservations"), "mgralias");
    if image.auth.is_some() {
        image.objects.auth = Some(format!("{}-secalias", image.storage_node));
    }
    if image.encryption.is_some() {
        image.objects.encryption = vec![format!("{}-encalias", image.format_node)];
    }
    if image.slice_node.is_empty() {
        image.slice_node.clone_from(&image.storage_node);
    }
}

fn disk_blockdev(request: &Request<'_>) -> Answer {
    either((|| {
        let disk = disk(request.need("xml")?)?;
        let mut chain = Chain::new(&disk);
        for image in &mut chain.images {
            name_nodes(image);
        }
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        for (depth, image) in chain.images.iter().enumerate() {
            let below = chain.images.get(depth + 1).map(|below| Value::from(&*below.format_node));
            let backing = below.or(chain.ends.then_some(Value::Null));
            let format = block::format(image, backing).map_err(|error| refused(&error))?;
            let storage = block::storage_node(image, false).map_err(|error| refused(&error))?;
            nodes.extend([format.into_value(), storage.into_value()]);
            let props = block::source_only(image).map_err(|error| refused(&error))?;
            let backing = block::overlay(image).map_err(|error| refused(&error))?;
            places.push(json!({"props": props.into_value(), "backing": backing}));
        }
        Ok(Answer::Out(json!({"nodes": nodes, "source_only": places})))
    })())
}

fn backing_json(request: &Request<'_>) -> Answer {
    either((|| {
        let located = block::json::parse(request.need("backing")?.trim())
            .map_err(|error| Answer::Refused(VirError::invalid_arg(error.to_string())))?;
        let mut image = Image::new(located.kind, &located.source, "raw");
        image.ssh_unchecked = located.ssh_unchecked;
        let props = block::source_only(&image).map_err(|error| refused(&error))?;
        Ok(Answer::Out(props.into_value()))
    })())
}

fn image_create(request: &Request<'_>) -> Answer {
    either((|| {
        let number = |name: &str| request.value(name).as_u64().unwrap_or(0);
        let disk = disk(request.need("xml")?)?;
        let below = request.str("backing_xml").map(self::disk).transpose()?;
        let chain = |disk| {
            let mut chain = Chain::new(disk);
            chain.images.iter_mut().for_each(name_nodes);
            chain
        };
        let (chain, below) = (chain(&disk), below.as_ref().map(chain));
        let image = chain.images.first().ok_or_else(|| Answer::wrong("the disk has no source"))?;
        let backing = below.as_ref().and_then(|below| below.images.first());
        let protocol =
            block::create::protocol(image, number("physical")).map_err(|error| refused(&error))?;
        let format = block::create::format(image, backing, number("capacity"))
            .map_err(|error| refused(&error))?;
        let value = |props: Option<plan::Props>| props.map_or(Value::Null, Value::from);
        Ok(Answer::Out(json!({"protocol": value(protocol), "format": value(format)})))
    })())
}

fn block_bitmap(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("nodes")?;
        let reply: Value = serde_json::from_str(text)
            .map_err(|error| Answer::wrong(format!("the nodes are no JSON: {error}")))?;
        let nodes = bitmap::Nodes::from_reply(&reply);
        let chain: Vec<String> = (1..=5).map(|n| format!("libvirt-{n}-format")).collect();
        let place = |name: &str| {
            let number = request.value(name).as_u64().unwrap_or(0);
            usize::try_from(number).unwrap_or(0).saturating_sub(1)
        };
        let actions = match request.need("action")? {
            "validate" => {
                let valid = bitmap::is_valid(&nodes, &chain, request.need("bitmap")?);
                return Ok(Answer::Out(Value::Bool(valid)));
            }
            "backup" => {
                let (node, target) = (request.need("target_node")?, request.need("target_bitmap")?);
                bitmap::backup(&nodes, &chain, request.need("bitmap")?, node, target)
            }
            "checkpoint-delete" => Some(bitmap::delete(&nodes, &chain, request.need("bitmap")?)),
            "blockcopy" => {
                let shallow = request.flag("shallow");
                Some(bitmap::blockcopy(&nodes, &chain, shallow, request.need("mirror_node")?))
            }
            "blockcommit" => bitmap::blockcommit(&nodes, &chain, place("top"), place("base")),
            _ => return Ok(Answer::Unsupported),
        };
        let reopen = actions.as_ref().map(|actions| actions.reopen.clone()).unwrap_or_default();
        let actions = actions.map_or(Value::Null, |actions| Value::Array(actions.actions));
        Ok(Answer::Out(json!({"actions": actions, "reopen": reopen})))
    })())
}

fn migration_params(request: &Request<'_>) -> Answer {
    either((|| {
        let reply: Value = serde_json::from_str(request.need("reply")?)
            .map_err(|error| Answer::wrong(format!("the reply is no JSON: {error}")))?;
        let params = Params::from_reply(reply.get("return").unwrap_or(&Value::Null));
        let mut text = "<test>\n  <migParams>\n".to_owned();
        for (name, value) in params.iter() {
            let mut escaped = String::new();
            xml::escape_into(&value.to_string(), &mut escaped);
            text.push_str(&format!("    <param name='{name}' value='{escaped}'/>\n"));
        }
        text.push_str("  </migParams>\n</test>\n");
        Ok(Answer::Out(json!({"xml": text, "json": params.arguments().into_value()})))
    })())
}
