//! What a description asks for, as sets of features.

use super::map::{FeatureSet, Model, X86Map};
use crate::cpu::CpuError;
use crate::cpu::document::model_name;
use crate::domain::cpu::{Cpu, CpuFeaturePolicy};

/// The features of a `<cpu>`, by what is to be done about them. A host's features are required.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The model.
    pub(super) model: Option<&'static Model>,
    /// The model's own features.
    pub(super) own: FeatureSet,
    /// Given to the guest whether the host has them or not.
    pub(super) force: FeatureSet,
    /// The host must have them.
    pub(super) require: FeatureSet,
    /// Given if the host has them.
    pub(super) optional: FeatureSet,
    /// Taken from the guest.
    pub(super) disable: FeatureSet,
    /// The host must not have them.
    pub(super) forbid: FeatureSet,
}

impl Wanted {
    /// Looks up the names in `cpu`.
    ///
    /// # Errors
    /// A model or a feature is unknown.
    pub(super) fn new(cpu: &Cpu) -> Result<Self, CpuError> {
        let map = X86Map::get();
        let mut wanted = Self::default();
        if let Some(name) = model_name(cpu) {
            let model = map.model(name).ok_or_else(|| CpuError::UnknownModel(name.to_owned()))?;
            (wanted.model, wanted.own) = (Some(model), model.features);
        }
        for feature in &cpu.features {
            let index = map
                .feature_named(&feature.name)
                .ok_or_else(|| CpuError::UnknownFeature(feature.name.clone()))?;
            let set = match feature.policy {
                None | Some(CpuFeaturePolicy::Require) => &mut wanted.require,
                Some(CpuFeaturePolicy::Force) => &mut wanted.force,
                Some(CpuFeaturePolicy::Optional) => &mut wanted.optional,
                Some(CpuFeaturePolicy::Disable) => &mut wanted.disable,
                Some(CpuFeaturePolicy::Forbid) => &mut wanted.forbid,
            };
            set.insert(index);
        }
        Ok(wanted)
    }

    /// Features the guest will see, optional ones left aside.
    pub(super) fn visible(&self) -> FeatureSet {
        self.own
            .union(&self.require)
            .union(&self.force)
            .minus(&self.optional)
            .minus(&self.disable)
            .minus(&self.forbid)
    }
}
