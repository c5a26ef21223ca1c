//! Limits of a disk's input and output (`<iotune>`, `<throttlegroup>`) as one list of numbers:
//! reading and writing the model's two forms, merging a change into what holds, checking the
//! result, and QEMU's names for all of it.

use crate::props::Props;
use model::domain::tune::{IoTune, ThrottleGroup};
use serde_json::{Map, Value};

/// The largest value that QEMU takes.
pub const LARGEST: u64 = 1_000_000_000_000_000;

/// How many numbers there are.
pub const COUNT: usize = 19;

/// What is known of one number.
struct Key {
    /// libvirt's name.
    name: &'static str,
    /// The name in `block_set_io_throttle` and `query-block`.
    drive: &'static str,
    /// The name in `ThrottleLimits`.
    group: &'static str,
}

macro_rules! keys {
    ($($name:ident $drive:literal $group:literal,)*) => {
        const KEYS: [Key; COUNT] =
            [$(Key { name: stringify!($name), drive: $drive, group: $group },)*];

        impl IoLimits {
            /// Those of a disk.
            pub fn of_disk(tune: &IoTune) -> Self {
                let numbers = [$(tune.$name.unwrap_or(0),)*];
                Self { numbers, group: tune.group_name.clone() }
            }

            /// The same for a definition; `None` without limits.
            pub fn to_disk(&self) -> Option<IoTune> {
                let mut numbers = self.numbers.into_iter().map(|n| (n > 0).then_some(n));
                let tune = IoTune {
                    $($name: numbers.next().flatten(),)*
                    group_name: self.group.clone(),
                };
                (tune != IoTune::default()).then_some(tune)
            }

            /// Those of a throttle group.
            pub fn of_group(group: &ThrottleGroup) -> Self {
                let numbers = [$(group.$name.unwrap_or(0),)*];
                Self { numbers, group: group.group_name.clone() }
            }

            /// The same for a definition.
            pub fn to_group(&self) -> ThrottleGroup {
                let mut numbers = self.numbers.into_iter().map(|n| (n > 0).then_some(n));
                ThrottleGroup {
                    $($name: numbers.next().flatten(),)*
                    group_name: self.group.clone(),
                }
            }
        }
    };
}

keys! {
    total_bytes_sec "bps" "bps-total",
    read_bytes_sec "bps_rd" "bps-read",
    write_bytes_sec "bps_wr" "bps-write",
    total_iops_sec "iops" "iops-total",
    read_iops_sec "iops_rd" "iops-read",
    write_iops_sec "iops_wr" "iops-write",
    total_bytes_sec_max "bps_max" "bps-total-max",
    read_bytes_sec_max "bps_rd_max" "bps-read-max",
    write_bytes_sec_max "bps_wr_max" "bps-write-max",
    total_iops_sec_max "iops_max" "iops-total-max",
    read_iops_sec_max "iops_rd_max" "iops-read-max",
    write_iops_sec_max "iops_wr_max" "iops-write-max",
    size_iops_sec "iops_size" "iops-size",
    total_bytes_sec_max_length "bps_max_length" "bps-total-max-length",
    read_bytes_sec_max_length "bps_rd_max_length" "bps-read-max-length",
    write_bytes_sec_max_length "bps_wr_max_length" "bps-write-max-length",
    total_iops_sec_max_length "iops_max_length" "iops-total-max-length",
    read_iops_sec_max_length "iops_rd_max_length" "iops-read-max-length",
    write_iops_sec_max_length "iops_wr_max_length" "iops-write-max-length",
}

/// Numbers that are given together: who gives one of a family gives all, the others as 0.
const FAMILIES: [std::ops::Range<usize>; 7] = [0..3, 3..6, 6..9, 9..12, 12..13, 13..16, 16..19];

/// Where the lengths of bursts begin.
const LENGTHS: usize = 13;

/// Limits of a disk or a throttle group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    numbers: [u64; COUNT],
    /// The group whose members share the limits.
    pub group: Option<String>,
}

/// Why limits cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoLimitsFault {
    /// The sum and a part of it.
    Both(&'static str),
    /// More than [`LARGEST`].
    TooLarge,
    /// A burst without a limit that it goes beyond: the names of limit and burst.
    BurstOnly(&'static str, &'static str),
    /// A burst that is less than its limit.
    BurstLess(&'static str, &'static str),
}

impl IoLimits {
    /// libvirt's names of the numbers, in its order: the lengths of bursts come behind the group.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KEYS.iter().map(|key| key.name)
    }

    /// How many of the names stand before the group's.
    pub const BEFORE_GROUP: usize = LENGTHS;

    /// The numbers, in the order of [`IoLimits::names`].
    pub fn numbers(&self) -> &[u64; COUNT] {
        &self.numbers
    }

    /// True without any limit.
    pub fn is_empty(&self) -> bool {
        self.numbers.iter().all(|number| *number == 0)
    }

    /// What holds once `given` (names and values) was set.
    ///
    /// # Errors
    /// A sum together with its parts, a number too large.
    pub fn changed(&self, given: &[(String, u64)]) -> Result<Self, IoLimitsFault> {
        let value = |index: usize| {
            let key = KEYS.get(index)?;
            given.iter().find(|(name, _)| name == key.name).map(|(_, value)| *value)
        };
        if given.iter().any(|(_, value)| *value > LARGEST) {
            return Err(IoLimitsFault::TooLarge);
        }
        let sums = ["bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"];
        for (family, what) in FAMILIES.iter().zip(sums) {
            let set = |index: usize| value(index).is_some_and(|value| value > 0);
            if set(family.start) && (set(family.start + 1) || set(family.start + 2)) {
                return Err(IoLimitsFault::Both(what));
            }
        }
        let mut limits = self.clone();
        for family in FAMILIES {
            if family.clone().all(|index| value(index).is_none()) {
                continue;
            }
            for index in family {
                let Some(number) = limits.numbers.get_mut(index) else { continue };
                let new = value(index).unwrap_or(0);
                // A second is how long a burst lasts unless something else is said; QEMU keeps what
                // it was told before until it is told so.
                let reset = index >= LENGTHS && new == 0 && *number > 0;
                *number = if reset { 1 } else { new };
            }
        }
        Ok(limits)
    }

    /// Whether bursts go beyond limits that are there.
    ///
    /// # Errors
    /// When one does not.
    pub fn check_bursts(&self) -> Result<(), IoLimitsFault> {
        let (limits, rest) = self.numbers.split_at(6);
        let names = KEYS.iter().zip(KEYS.iter().skip(6));
        for ((limit, burst), (key, burst_key)) in limits.iter().zip(rest).zip(names) {
            if *burst > 0 && *limit == 0 {
                return Err(IoLimitsFault::BurstOnly(key.name, burst_key.name));
            }
            if *burst > 0 && burst < limit {
                return Err(IoLimitsFault::BurstLess(key.name, burst_key.name));
            }
        }
        Ok(())
    }

    /// The arguments of `block_set_io_throttle` for the drive `id` that make these limits hold,
    /// whatever held before.
    pub fn drive_arguments(&self, id: &str) -> Map<String, Value> {
        let mut arguments = Props::default().set("id", id);
        for (index, (key, number)) in KEYS.iter().zip(self.numbers).enumerate() {
            if index < LENGTHS || number > 0 {
                arguments = arguments.set(key.drive, number);
            }
        }
        arguments = arguments.opt("group", self.group.clone().filter(|group| !group.is_empty()));
        match arguments.into_value() {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        }
    }

    /// The `ThrottleLimits` of a throttle group.
    pub fn group_limits(&self) -> Value {
        let mut limits = Props::default();
        for (index, (key, number)) in KEYS.iter().zip(self.numbers).enumerate() {
            if index < LENGTHS || number > 0 {
                limits = limits.set(key.group, number);
            }
        }
        limits.into_value()
    }

    /// What `query-block` says of a drive (its `inserted`).
    pub fn from_query(inserted: &Value) -> Self {
        let number = |key: &Key| inserted.get(key.drive).and_then(Value::as_u64).unwrap_or(0);
        let mut limits = Self::default();
        for (slot, key) in limits.numbers.iter_mut().zip(&KEYS) {
            *slot = number(key);
        }
        limits.group = inserted.get("group").and_then(Value::as_str).map(str::to_owned);
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn shown(limits: &IoLimits) -> Vec<(&'static str, u64)> {
        IoLimits::names().zip(limits.numbers).filter(|(_, number)| *number > 0).collect()
    }

    #[test]
    fn a_change_replaces_families() {
        let first = given(&[("read_iops_sec", 100), ("write_iops_sec", 50), ("size_iops_sec", 4)]);
        let limits = IoLimits::default().changed(&first).expect("fits");
        let second = limits.changed(&given(&[("write_iops_sec", 60)])).expect("fits");
        assert_eq!(shown(&second), [("write_iops_sec", 60), ("size_iops_sec", 4)]);
        let third = second.changed(&given(&[("total_bytes_sec", 7)])).expect("fits");
        assert_eq!(
            shown(&third),
            [("total_bytes_sec", 7), ("write_iops_sec", 60), ("size_iops_sec", 4)]
        );
    }

    #[test]
    fn a_burst_that_had_a_length_falls_back_to_a_second() {
        let all = given(&[("read_iops_sec_max_length", 3), ("write_iops_sec_max_length", 4)]);
        let limits = IoLimits::default().changed(&all).expect("fits");
        let limits = limits.changed(&given(&[("write_iops_sec_max_length", 9)])).expect("fits");
        assert_eq!(
            shown(&limits),
            [("read_iops_sec_max_length", 1), ("write_iops_sec_max_length", 9)]
        );
    }

    #[test]
    fn what_cannot_be() {
        let change = |pairs: &[(&str, u64)]| IoLimits::default().changed(&given(pairs));
        for (pairs, what) in [
            (&[("total_bytes_sec", 1), ("read_bytes_sec", 1)], "bytes_sec"),
            (&[("total_iops_sec_max", 1), ("write_iops_sec_max", 1)], "iops_sec_max"),
        ] {
            assert_eq!(change(pairs), Err(IoLimitsFault::Both(what)));
        }
        assert!(change(&[("total_bytes_sec", 1), ("read_bytes_sec", 0)]).is_ok());
        assert_eq!(change(&[("size_iops_sec", LARGEST + 1)]), Err(IoLimitsFault::TooLarge));
        let bursts = |pairs: &[(&str, u64)]| change(pairs).and_then(|limits| limits.check_bursts());
        let (limit, burst) = ("total_bytes_sec", "total_bytes_sec_max");
        assert_eq!(bursts(&[(burst, 5)]), Err(IoLimitsFault::BurstOnly(limit, burst)));
        assert_eq!(bursts(&[(limit, 6), (burst, 5)]), Err(IoLimitsFault::BurstLess(limit, burst)));
        assert_eq!(bursts(&[(limit, 5), (burst, 5)]), Ok(()));
    }

    #[test]
    fn there_and_back() {
        let mut limits = IoLimits { group: Some("g".to_owned()), ..IoLimits::default() };
        for (number, value) in limits.numbers.iter_mut().zip(1..) {
            *number = value;
        }
        assert_eq!(IoLimits::of_disk(&limits.to_disk().expect("some")), limits);
        assert_eq!(IoLimits::of_group(&limits.to_group()), limits);
        let arguments = Value::Object(limits.drive_arguments("d"));
        assert_eq!(IoLimits::from_query(&arguments), limits);
        assert_eq!(IoLimits::default().to_disk(), None);
        let none = IoLimits::default().group_limits();
        assert_eq!(none.as_object().map(Map::len), Some(LENGTHS));
    }
}
