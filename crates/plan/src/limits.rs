//! What limits a guest (`<cputune>`, `<memtune>`, `<blkiotune>`, `<numatune>`), as files of control
//! groups and what to write into them. Which file that is depends on the version of the controller;
//! the files and units are the kernel's (`Documentation/admin-guide/cgroup-v1`, `cgroup-v2.rst`).

/// The kernel's period where a definition gives a quota only, in microseconds.
const DEFAULT_PERIOD: &str = "100000";

/// `VIR_DOMAIN_MEMORY_PARAM_UNLIMITED`, in KiB: not a limit.
pub const UNLIMITED: u64 = 9_007_199_254_740_991;

/// A controller that can limit guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Processors and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Block devices.
    Blkio,
}

/// The part of a guest whose processor time is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOf {
    /// The whole guest.
    Global,
    /// Each virtual processor.
    Vcpu,
    /// QEMU's own threads.
    Emulator,
    /// Each I/O thread.
    IoThread,
}

impl TimeOf {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Global, Self::Vcpu, Self::Emulator, Self::IoThread];

    /// How the names of its settings begin (`vcpu_period`).
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Vcpu => "vcpu",
            Self::Emulator => "emulator",
            Self::IoThread => "iothread",
        }
    }
}

/// A limit of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What the guest may have.
    Hard,
    /// What is taken back first when the host is short of memory.
    Soft,
    /// Memory and swap together.
    SwapHard,
}

impl Memory {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hard, Self::Soft, Self::SwapHard];

    /// libvirt's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard_limit",
            Self::Soft => "soft_limit",
            Self::SwapHard => "swap_hard_limit",
        }
    }

    /// The file.
    pub fn files(self, v2: bool) -> &'static [&'static str] {
        match (v2, self) {
            (false, Self::Hard) => &["memory.limit_in_bytes"],
            (false, Self::Soft) => &["memory.soft_limit_in_bytes"],
            (false, Self::SwapHard) => &["memory.memsw.limit_in_bytes"],
            (true, Self::Hard) => &["memory.max"],
            (true, Self::Soft) => &["memory.high"],
            (true, Self::SwapHard) => &["memory.swap.max"],
        }
    }

    /// A limit of this kind; [`UNLIMITED`] and more lifts it. `hard` is the guest's hard limit:
    /// version 2 limits swap alone.
    pub fn limit(self, kib: u64, hard: Option<u64>, v2: bool) -> Limit {
        let bytes = |kib: u64| kib.saturating_mul(1024).to_string();
        let value = match (v2, self) {
            (false, _) if kib >= UNLIMITED => "-1".to_owned(),
            (true, _) if kib >= UNLIMITED => "max".to_owned(),
            (true, Self::SwapHard) => bytes(kib.saturating_sub(hard.unwrap_or(0))),
            _ => bytes(kib),
        };
        Limit {
            controller: Controller::Memory,
            files: self.files(v2),
            device: None,
            value,
            element: format!("<memtune><{}>", self.name()),
        }
    }
}

/// A value for one of several files, the first that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose files they are.
    pub controller: Controller,
    /// Names of the file.
    pub files: &'static [&'static str],
    /// The path of the block device whose `MAJOR:MINOR ` stands before the value.
    pub device: Option<String>,
    /// What is written.
    pub value: String,
    /// Where the definition asks for it.
    pub element: String,
}

/// The settings of a [`crate::Cgroup`], by name.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a>(pub &'a [(String, String)]);

impl Settings<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// libvirt's 0 is "not set", except where a definition cannot say it.
    fn non_zero(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| *value != "0")
    }

    fn kib(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok().filter(|kib| *kib > 0 && *kib < UNLIMITED)
    }

    /// Processor time of a part.
    pub fn bandwidth(&self, part: TimeOf, v2: bool) -> Vec<Limit> {
        let prefix = part.prefix();
        let period = self.non_zero(&format!("{prefix}_period"));
        let quota = self.non_zero(&format!("{prefix}_quota"));
        let element = |what: &str| match prefix {
            "vcpu" => format!("<cputune><{what}>"),
            _ => format!("<cputune><{prefix}_{what}>"),
        };
        let limit = |file: &'static [&'static str], value: &str, what| Limit {
            controller: Controller::Cpu,
            files: file,
            device: None,
            value: value.to_owned(),
            element: element(what),
        };
        if !v2 {
            let period = period.map(|value| limit(&["cpu.cfs_period_us"], value, "period"));
            let quota = quota.map(|value| limit(&["cpu.cfs_quota_us"], value, "quota"));
            return period.into_iter().chain(quota).collect();
        }
        if period.is_none() && quota.is_none() {
            return Vec::new();
        }
        let what = if quota.is_some() { "quota" } else { "period" };
        let quota = quota.filter(|value| !value.starts_with('-')).unwrap_or("max");
        let value = format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD));
        vec![limit(&["cpu.max"], &value, what)]
    }

    /// Memory and swap of the guest.
    pub fn memory(&self, v2: bool) -> Vec<Limit> {
        let hard = self.kib("hard_limit");
        // In this order: memory with swap may not be less than memory.
        Memory::ALL
            .into_iter()
            .filter_map(|what| Some(what.limit(self.kib(what.name())?, hard, v2)))
            .collect()
    }

    /// Block devices.
    pub fn block(&self, v2: bool) -> Vec<Limit> {
        let mut limits = Vec::new();
        let mut add = |files, device: Option<&str>, value, element: &str| {
            limits.push(Limit {
                controller: Controller::Blkio,
                files,
                device: device.map(str::to_owned),
                value,
                element: format!("<blkiotune>{element}"),
            });
        };
        for (name, value) in self.0 {
            if name == "weight" && value != "0" {
                let files: &'static [&'static str] = if v2 {
                    &["io.bfq.weight", "io.weight"]
                } else {
                    &["blkio.weight", "blkio.bfq.weight"]
                };
                add(files, None, value.clone(), "<weight>");
                continue;
            }
            let Some(what) = name.strip_prefix("device_") else { continue };
            let Some((path, value)) = value.rsplit_once(',').filter(|(_, v)| *v != "0") else {
                continue;
            };
            let (old, new): (&'static [&'static str], _) = match what {
                "weight" => (&["blkio.weight_device", "blkio.bfq.weight_device"], ""),
                "read_iops_sec" => (&["blkio.throttle.read_iops_device"], "riops="),
                "write_iops_sec" => (&["blkio.throttle.write_iops_device"], "wiops="),
                "read_bytes_sec" => (&["blkio.throttle.read_bps_device"], "rbps="),
                "write_bytes_sec" => (&["blkio.throttle.write_bps_device"], "wbps="),
                _ => continue,
            };
            let files: &'static [&'static str] = match (v2, what) {
                (false, _) => old,
                (true, "weight") => &["io.bfq.weight", "io.weight"],
                (true, _) => &["io.max"],
            };
            let prefix = if v2 { new } else { "" };
            add(files, Some(path), format!("{prefix}{value}"), &format!("<device><{what}>"));
        }
        limits
    }

    /// The host's memory nodes.
    pub fn nodes(&self) -> Option<Limit> {
        let value = self.get("cpuset_mems").or_else(|| self.get("restrictive_mems"))?;
        Some(Limit {
            controller: Controller::Cpuset,
            files: &["cpuset.mems"],
            device: None,
            value: value.to_owned(),
            element: "<numatune><memory nodeset>".to_owned(),
        })
    }

    /// Whether threads must be told apart.
    pub fn of_threads(&self) -> bool {
        [TimeOf::Vcpu, TimeOf::Emulator, TimeOf::IoThread].iter().any(|part| {
            let part = part.prefix();
            ["period", "quota"]
                .iter()
                .any(|what| self.non_zero(&format!("{part}_{what}")).is_some())
        })
    }

    /// The controllers that cannot be done without, and what libvirt says where they are not.
    pub fn needs(&self) -> Vec<(Controller, &'static str, String)> {
        let mut needs = Vec::new();
        let mut need = |limits: Vec<Limit>, what| {
            if let Some(limit) = limits.into_iter().next() {
                needs.push((limit.controller, what, limit.element));
            }
        };
        need(self.memory(false), "Memory cgroup");
        need(self.block(false), "Block I/O tuning");
        need(self.shares(false).into_iter().collect(), "CPU tuning");
        for part in TimeOf::ALL {
            need(self.bandwidth(part, false), "CPU tuning");
        }
        if self.get("restrictive_mems").is_some() {
            need(self.nodes().into_iter().collect(), "Restrictive memory placement");
        }
        needs
    }

    /// The guest's share of processor time; 0 is one that no kernel takes.
    pub fn shares(&self, v2: bool) -> Option<Limit> {
        Some(Limit {
            controller: Controller::Cpu,
            files: if v2 { &["cpu.weight"] } else { &["cpu.shares"] },
            device: None,
            value: self.get("cpu_shares")?.to_owned(),
            element: "<cputune><shares>".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn texts(limits: impl IntoIterator<Item = Limit>) -> Vec<String> {
        limits
            .into_iter()
            .map(|l| {
                let device = l.device.map(|path| path + " ").unwrap_or_default();
                format!("{} = {device}{}", l.files.join("|"), l.value)
            })
            .collect()
    }

    #[test]
    fn processor_time() {
        let check = |pairs: &[(&str, &str)], v2, expected: &[&str]| {
            let settings = settings(pairs);
            let settings = Settings(&settings);
            let found = settings.shares(v2).into_iter().chain(settings.bandwidth(TimeOf::Vcpu, v2));
            assert_eq!(texts(found), expected, "{pairs:?}");
        };
        let all = [("cpu_shares", "512"), ("vcpu_period", "50000"), ("vcpu_quota", "-1")];
        check(
            &all,
            false,
            &["cpu.shares = 512", "cpu.cfs_period_us = 50000", "cpu.cfs_quota_us = -1"],
        );
        check(&all, true, &["cpu.weight = 512", "cpu.max = max 50000"]);
        check(&[("vcpu_quota", "20000")], true, &["cpu.max = 20000 100000"]);
        check(&[("vcpu_quota", "0"), ("emulator_quota", "7000")], false, &[]);
        check(&[], true, &[]);
    }

    #[test]
    fn memory() {
        let all = settings(&[
            ("hard_limit", "4096"),
            ("soft_limit", "9007199254740991"),
            ("swap_hard_limit", "6144"),
        ]);
        let check = |v2, expected: &[&str]| {
            assert_eq!(texts(Settings(&all).memory(v2)), expected);
        };
        check(false, &["memory.limit_in_bytes = 4194304", "memory.memsw.limit_in_bytes = 6291456"]);
        check(true, &["memory.max = 4194304", "memory.swap.max = 2097152"]);
        let lifted = |v2| texts([Memory::Soft.limit(UNLIMITED, None, v2)]);
        assert_eq!(lifted(false), ["memory.soft_limit_in_bytes = -1"]);
        assert_eq!(lifted(true), ["memory.high = max"]);
    }

    #[test]
    fn block_devices() {
        let all = settings(&[
            ("weight", "800"),
            ("device_read_bytes_sec", "/dev/a,b,1000"),
            ("device_write_iops_sec", "/dev/c,0"),
        ]);
        let check = |v2, expected: &[&str]| {
            assert_eq!(texts(Settings(&all).block(v2)), expected);
        };
        check(
            false,
            &[
                "blkio.weight|blkio.bfq.weight = 800",
                "blkio.throttle.read_bps_device = /dev/a,b 1000",
            ],
        );
        check(true, &["io.bfq.weight|io.weight = 800", "io.max = /dev/a,b rbps=1000"]);
    }
}
