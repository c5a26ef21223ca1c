//! The x86 vendors, features and models, read on first use from `data/x86-cpus.txt`.

use std::collections::HashMap;
use std::sync::OnceLock;

const TEXT: &str = include_str!("../../../data/x86-cpus.txt");

/// Number of 64-bit words of a [`FeatureSet`].
const WORDS: usize = 8;

/// A set of features, by index in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FeatureSet([u64; WORDS]);

impl FeatureSet {
    /// Adds a feature; false if the index is beyond what a set holds.
    pub fn insert(&mut self, index: usize) -> bool {
        let Some(word) = self.0.get_mut(index / 64) else {
            return false;
        };
        *word |= 1 << (index % 64);
        true
    }

    /// Takes a feature out.
    pub fn remove(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Whether a feature is in.
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Features in `self` and not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// Features in either.
    pub fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// Features in both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// How many features are in.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The indexes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..WORDS * 64).filter(|index| self.contains(*index))
    }
}

/// A register that feature bits live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// CPUID leaf, sub-leaf, and 0 to 3 for EAX to EDX.
    Cpuid(u32, u32, u8),
    /// Model-specific register and half: 0 low, 3 high.
    Msr(u32, u8),
}

/// A CPU feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// libvirt's name.
    pub name: &'static str,
    /// Where it shows.
    pub register: Register,
    /// Which bits must be set.
    pub mask: u32,
    /// Survives migration.
    pub migratable: bool,
    /// QEMU can give it to a guest.
    pub in_qemu: bool,
    /// QEMU's name for it.
    pub qemu_name: &'static str,
    /// Other names QEMU has or had for it.
    pub aliases: Vec<&'static str>,
}

/// A family and model number, with the steppings it stands for (empty: all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Family, extended one included.
    pub family: u32,
    /// Model, extended one included.
    pub model: u32,
    /// Ranges of steppings.
    pub steppings: Vec<(u32, u32)>,
}

/// A CPU model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// May describe a host.
    pub decode_host: bool,
    /// May describe a guest.
    pub decode_guest: bool,
    /// `check='partial'` compares for compatibility only.
    pub partial_compat: bool,
    /// Vendor's short name.
    pub vendor: Option<&'static str>,
    /// Which real CPUs it models.
    pub signatures: Vec<Signature>,
    /// Features that the model has under every hypervisor.
    pub features: FeatureSet,
    /// Features that joined the model after its first release: a hypervisor may or may not give
    /// them to a guest of this model.
    pub added: FeatureSet,
    /// Features that were in the model once: likewise.
    pub removed: FeatureSet,
}

impl Model {
    /// Whether it models CPUs of this family, model and stepping.
    pub fn is_of(&self, (family, model, stepping): (u32, u32, u32)) -> bool {
        let in_range = |s: &Signature| {
            s.steppings.is_empty()
                || s.steppings.iter().any(|(low, high)| (*low..=*high).contains(&stepping))
        };
        self.signatures.iter().any(|s| s.family == family && s.model == model && in_range(s))
    }
}

/// All x86 knowledge.
#[derive(Debug)]
pub struct X86Map {
    /// Short name and CPUID string.
    pub vendors: Vec<(&'static str, &'static str)>,
    /// Features, in the order in which they are listed in XML.
    pub features: Vec<Feature>,
    /// Models, older first.
    pub models: Vec<Model>,
    by_name: HashMap<&'static str, usize>,
    models_by_name: HashMap<&'static str, usize>,
}

fn hex(word: Option<&str>) -> u32 {
    word.and_then(|word| u32::from_str_radix(word, 16).ok()).unwrap_or(0)
}

fn register(kind: &str, words: &[&str]) -> Register {
    let half = match words.last() {
        Some(&"ebx") => 1,
        Some(&"ecx") => 2,
        Some(&"edx") => 3,
        _ => 0,
    };
    let first = hex(words.first().copied());
    if kind == "@msr" {
        Register::Msr(first, half)
    } else {
        Register::Cpuid(first, hex(words.get(1).copied()), half)
    }
}

fn signature(word: &str) -> Option<Signature> {
    let mut parts = word.split(':');
    let family = parts.next()?.parse().ok()?;
    let model = parts.next()?.parse().ok()?;
    let steppings = parts.next().map_or(Vec::new(), |list| {
        list.split(',')
            .filter_map(|range| {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                Some((low.parse().ok()?, high.parse().ok()?))
            })
            .collect()
    });
    Some(Signature { family, model, steppings })
}

impl X86Map {
    /// The map; read once.
    pub fn get() -> &'static Self {
        static MAP: OnceLock<X86Map> = OnceLock::new();
        MAP.get_or_init(|| Self::parse(TEXT))
    }

    fn parse(text: &'static str) -> Self {
        let mut map = Self {
            vendors: Vec::new(),
            features: Vec::new(),
            models: Vec::new(),
            by_name: HashMap::new(),
            models_by_name: HashMap::new(),
        };
        let mut at = Register::Msr(0, 0);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split(' ').collect();
            match words.as_slice() {
                ["vendor", name, string] => map.vendors.push((name, string)),
                [kind @ ("@cpuid" | "@msr"), rest @ ..] => at = register(kind, rest),
                ["model", name, decode, rest @ ..] => map.add_model(name, decode, rest),
                [name, mask, rest @ ..] => map.add_feature(name, mask, rest, at),
                _ => {}
            }
        }
        map
    }

    fn add_feature(
        &mut self,
        name: &'static str,
        mask: &str,
        rest: &[&'static str],
        register: Register,
    ) {
        let migratable = !rest.contains(&"!");
        let in_qemu = !rest.contains(&"?");
        let words = rest.iter().copied().filter(|word| !matches!(*word, "!" | "?"));
        let words: Vec<&'static str> = words.collect();
        let qemu_name = words.iter().find_map(|word| word.strip_prefix('>')).unwrap_or(name);
        let aliases: Vec<_> = words.iter().map(|word| word.trim_start_matches('>')).collect();
        let index = self.features.len();
        for alias in &aliases {
            self.by_name.entry(alias).or_insert(index);
        }
        self.by_name.insert(name, index);
        self.features.push(Feature {
            name,
            register,
            mask: hex(Some(mask)),
            migratable,
            in_qemu,
            qemu_name,
            aliases,
        });
    }

    fn add_model(&mut self, name: &'static str, decode: &str, rest: &[&'static str]) {
        let mut model = Model {
            name,
            decode_host: decode.contains('h'),
            decode_guest: decode.contains('g'),
            partial_compat: false,
            vendor: None,
            signatures: Vec::new(),
            features: FeatureSet::default(),
            added: FeatureSet::default(),
            removed: FeatureSet::default(),
        };
        let mut words = rest.iter();
        for word in words.by_ref() {
            match *word {
                "<" => break,
                "c" => model.partial_compat = true,
                word if word.contains(':') => model.signatures.extend(signature(word)),
                vendor => model.vendor = Some(vendor),
            }
        }
        if let Some(base) = words.next().and_then(|base| self.model(base)) {
            (model.features, model.added, model.removed) =
                (base.features, base.added, base.removed);
        }
        for word in words {
            let plain = word.trim_start_matches(['+', '-']);
            let bare = plain.trim_end_matches(['*', '~']);
            let Some(index) = self.feature_index(bare) else {
                continue;
            };
            model.features.remove(index);
            model.added.remove(index);
            model.removed.remove(index);
            if word.starts_with('-') {
                continue;
            }
            match plain.strip_prefix(bare) {
                Some("~") => {
                    model.removed.insert(index);
                }
                Some("*") => {
                    model.added.insert(index);
                }
                _ => {
                    model.features.insert(index);
                }
            }
        }
        self.models_by_name.insert(name, self.models.len());
        self.models.push(model);
    }

    /// Index of a feature by libvirt's name alone.
    pub fn feature_named(&self, name: &str) -> Option<usize> {
        let index = self.feature_index(name)?;
        self.features.get(index).filter(|feature| feature.name == name).map(|_| index)
    }

    /// Names of the features of a set, in the order in which they are listed in XML.
    pub fn names(&self, set: &FeatureSet) -> Vec<&'static str> {
        set.iter().filter_map(|index| self.features.get(index)).map(|f| f.name).collect()
    }

    /// Index of a feature by libvirt's name or one of QEMU's.
    pub fn feature_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// libvirt's name of a feature that QEMU calls `name`; the name itself if unknown.
    pub fn libvirt_name<'a>(&self, name: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.feature_index(name)
            .and_then(|index| self.features.get(index))
            .map_or(name, |feature| feature.name)
    }

    /// QEMU's name of a feature.
    pub fn qemu_name<'a>(&self, name: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.feature_index(name)
            .and_then(|index| self.features.get(index))
            .map_or(name, |feature| feature.qemu_name)
    }

    /// Model-specific registers that tell of features, ascending.
    pub fn msrs(&self) -> Vec<u32> {
        let msr = |feature: &Feature| match feature.register {
            Register::Msr(index, _) => Some(index),
            Register::Cpuid(..) => None,
        };
        let mut found: Vec<u32> = self.features.iter().filter_map(msr).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// A model by name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(*self.models_by_name.get(name)?)
    }

    /// The vendor whose CPUID string this is.
    pub fn vendor(&self, string: &str) -> Option<&'static str> {
        self.vendors.iter().find(|(_, s)| *s == string).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_is_understood() {
        let map = X86Map::get();
        assert!(map.features.len() <= WORDS * 64, "FeatureSet is too small");
        for line in TEXT.lines().filter(|line| line.starts_with("model ")) {
            let (_, deltas) = line.split_once(" < ").expect("every model has a base");
            for word in deltas.split(' ').skip(1) {
                let name = word.trim_start_matches(['+', '-']).trim_end_matches(['*', '~']);
                assert!(map.feature_index(name).is_some(), "{line}: {name}");
            }
        }
        let nehalem = map.model("Nehalem-v1").expect("a model");
        assert_eq!(nehalem.features, map.model("Nehalem").expect("a model").features);
        assert_eq!(nehalem.signatures.len(), 4);
        assert_eq!(map.libvirt_name("pclmulqdq"), "pclmuldq");
        assert_eq!(map.qemu_name("pclmuldq"), "pclmulqdq");
        assert_eq!(map.qemu_name("nx"), "nx");
    }
}
