//! What a started guest really got.

use super::map::{FeatureSet, Register, X86Map};
use super::wanted::Wanted;
use crate::cpu::{CpuError, set_policy};
use crate::domain::cpu::{Cpu, CpuFeaturePolicy};

/// Differences between what a description asks for and what the hypervisor gave.
struct Difference {
    /// Given without being asked for.
    extra: FeatureSet,
    /// Asked for, and not given.
    missing: FeatureSet,
}

fn difference(
    cpu: &Cpu,
    enabled: &FeatureSet,
    disabled: &FeatureSet,
) -> Result<Difference, CpuError> {
    let wanted = Wanted::new(cpu)?;
    let visible = wanted.visible();
    Ok(Difference {
        extra: enabled.minus(&visible),
        missing: visible.intersection(disabled).minus(enabled),
    })
}

/// Writes into `cpu` what the guest got: `enabled` are the features it sees, `disabled` those the
/// hypervisor took away. Features that the model names and neither set does stay.
///
/// # Errors
/// The model or a feature is unknown.
pub fn update_live(
    cpu: &mut Cpu,
    enabled: &FeatureSet,
    disabled: &FeatureSet,
) -> Result<(), CpuError> {
    let map = X86Map::get();
    let found = difference(cpu, enabled, disabled)?;
    for name in map.names(&found.extra) {
        set_policy(&mut cpu.features, name, Some(CpuFeaturePolicy::Require));
    }
    for name in map.names(&found.missing) {
        set_policy(&mut cpu.features, name, Some(CpuFeaturePolicy::Disable));
    }
    Ok(())
}

/// Refuses a guest whose CPU (`check='full'`) differs from what was asked for.
///
/// # Errors
/// The differences, by name.
pub fn check_live(cpu: &Cpu, enabled: &FeatureSet, disabled: &FeatureSet) -> Result<(), CpuError> {
    let map = X86Map::get();
    let mut visible = Wanted::new(cpu)?.visible();
    // What the model has by our account and QEMU neither gave nor took away is missing all the same;
    // but what is in model-specific registers is not told as given.
    for (index, feature) in map.features.iter().enumerate() {
        if matches!(feature.register, Register::Msr(..)) && !disabled.contains(index) {
            visible.remove(index);
        }
    }
    let found =
        Difference { missing: visible.minus(enabled), ..difference(cpu, enabled, disabled)? };
    if found.extra.is_empty() && found.missing.is_empty() {
        return Ok(());
    }
    let owned = |set| map.names(set).into_iter().map(str::to_owned).collect();
    Err(CpuError::NotAsWanted { extra: owned(&found.extra), missing: owned(&found.missing) })
}
