//! Virtual CPUs that come to a running guest and leave it: which ones make up a count or a list.
//!
//! QEMU has them in entities of one or several (a core of a POWER guest is one with all its
//! threads), which come and go whole.

use super::error;
use crate::domain::Domain;
use crate::domain::tune::{VcpuEntry, VcpuList};
use diag::{ErrorCode, VirError};
use xml::YesNo;

/// A place for virtual CPUs, as QEMU has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// How many virtual CPUs are in it.
    pub vcpus: u32,
    /// Its name among QEMU's objects, when it is there.
    pub alias: Option<String>,
    /// It is there.
    pub present: bool,
    /// It came after the start, and may go.
    pub hotplugged: bool,
}

fn none_fits() -> VirError {
    error(
        ErrorCode::CONFIG_UNSUPPORTED,
        "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count",
    )
}

/// The entities (by their places in the list, lowest CPUs first) to change so that the guest has
/// `count` virtual CPUs: to plug where there are fewer, to unplug, last first, where there are more.
///
/// # Errors
/// Whole entities do not make up the count.
pub fn for_count(entities: &[Entity], count: u32) -> Result<Vec<usize>, VirError> {
    let now: u32 = entities.iter().filter(|e| e.present).map(|e| e.vcpus).sum();
    let mut left = count.abs_diff(now);
    let plug = count > now;
    let fits = |e: &Entity| if plug { !e.present } else { e.present && e.hotplugged };
    let mut chosen = Vec::new();
    let mut places: Vec<usize> = (0..entities.len()).collect();
    if !plug {
        places.reverse();
    }
    for place in places {
        let Some(entity) = entities.get(place).filter(|e| left > 0 && fits(e)) else { continue };
        if entity.vcpus > left {
            return Err(none_fits());
        }
        left -= entity.vcpus;
        chosen.push(place);
    }
    if left > 0 { Err(none_fits()) } else { Ok(chosen) }
}

/// The entity that a list of virtual CPUs names, to plug (`enable`) or unplug. A running guest
/// takes one at a time.
///
/// # Errors
/// libvirt's words for a list that is no such entity, or one that is as asked for.
pub fn for_list(entities: &[Entity], vcpus: &[u32], enable: bool) -> Result<usize, VirError> {
    let invalid = |text: String| error(ErrorCode::INVALID_ARG, text);
    let unsupported = |text: String| error(ErrorCode::OPERATION_UNSUPPORTED, text);
    let mut first = 0;
    for (place, entity) in entities.iter().enumerate() {
        let range = first..first + entity.vcpus;
        first = range.end;
        let Some(wanted) = vcpus.first().filter(|vcpu| range.contains(vcpu)) else { continue };
        if vcpus.iter().any(|vcpu| !range.contains(vcpu)) {
            return Err(invalid("only one hotpluggable entity can be selected".to_owned()));
        }
        if vcpus.len() as u32 != entity.vcpus {
            return Err(invalid(format!(
                "hotpluggable entity of vcpu '{wanted}' must be specified completely"
            )));
        }
        if enable == entity.present {
            let word = if enable { "enabled" } else { "disabled" };
            return Err(invalid(format!("vcpu '{wanted}' is already in desired state: {word}")));
        }
        if !enable && !entity.hotplugged {
            return Err(unsupported(format!("vcpu '{wanted}' can't be unplugged")));
        }
        return Ok(place);
    }
    Err(invalid(format!("vcpu '{}' is not in the domain", vcpus.first().unwrap_or(&0))))
}

/// Writes which virtual CPUs a running guest has. `order` is the turn in which each entity came.
pub fn write_running(domain: &mut Domain, entities: &[Entity], order: &[Option<u32>]) {
    let mut list = Vec::new();
    for (entity, order) in entities.iter().zip(order) {
        for _ in 0..entity.vcpus {
            list.push(VcpuEntry {
                id: u32::try_from(list.len()).unwrap_or(u32::MAX),
                enabled: yes_no(entity.present),
                // Whatever came can go again.
                hotpluggable: Some(yes_no(!entity.present || entity.hotplugged)),
                order: order.filter(|_| entity.present),
            });
        }
    }
    write(domain, list);
}

/// Writes which virtual CPUs a guest has when it starts the next time: those of `enabled`, the
/// ones of the start before fixed and all others to come and go.
pub fn write_stored(
    domain: &mut Domain,
    enabled: impl Fn(u32) -> bool,
    fixed: impl Fn(u32) -> bool,
) {
    let maximum = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
    let list = (0..maximum).map(|id| VcpuEntry {
        id,
        enabled: yes_no(enabled(id)),
        hotpluggable: Some(yes_no(!fixed(id))),
        order: None,
    });
    write(domain, list.collect());
}

fn yes_no(yes: bool) -> YesNo {
    if yes { YesNo::Yes } else { YesNo::No }
}

fn write(domain: &mut Domain, list: Vec<VcpuEntry>) {
    let count = list.iter().filter(|entry| entry.enabled == YesNo::Yes).count();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let vcpu = domain.vcpu.get_or_insert_default();
    vcpu.current = (count < vcpu.maximum).then_some(count);
    // Where all are alike the count says it.
    let told = list.iter().any(|entry| entry.hotpluggable == Some(YesNo::Yes));
    domain.vcpus = told.then_some(VcpuList { list });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entities(text: &str, vcpus: u32) -> Vec<Entity> {
        let one = |c: char| Entity { vcpus, alias: None, present: c != '.', hotplugged: c == 'h' };
        text.chars().map(one).collect()
    }

    #[test]
    fn a_count_takes_the_lowest_and_gives_the_last() {
        for (now, vcpus, count, expected) in [
            ("x...", 1, 3, Some(vec![1, 2])),
            ("xhh.", 1, 1, Some(vec![2, 1])),
            ("x...", 8, 24, Some(vec![1, 2])),
            ("x...", 8, 15, None),
            ("x...", 8, 25, None),
            ("xx..", 1, 1, None),
        ] {
            assert_eq!(for_count(&entities(now, vcpus), count).ok(), expected, "{now} {count}");
        }
    }

    #[test]
    fn a_list_is_one_whole_entity() {
        for (now, vcpus, list, enable, expected) in [
            ("xx..", 1, vec![3], true, Ok(3)),
            ("xx..", 1, vec![2, 3], true, Err("only one hotpluggable entity can be selected")),
            ("xx..", 1, vec![3], false, Err("vcpu '3' is already in desired state: disabled")),
            ("xx..", 1, vec![0], false, Err("vcpu '0' can't be unplugged")),
            ("xh..", 1, vec![1], false, Ok(1)),
        ] {
            let found = for_list(&entities(now, vcpus), &list, enable);
            let found = found.map_err(|error| error.detail);
            assert_eq!(found, expected.map_err(str::to_owned), "{now} {list:?}");
        }
    }
}
