//! What a host can share out of its caches and memory bandwidth (the kernel's resctrl), and its XML.

use super::host::CacheBank;
use super::text::Out;

/// Sharing of caches of one level and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheControl {
    /// Level of the cache.
    pub level: u32,
    /// `both`, `code` or `data`.
    pub kind: &'static str,
    /// In so many parts a cache can be cut.
    pub parts: u32,
    /// So many parts are the least a group can have.
    pub least: u32,
    /// So many groups there can be.
    pub groups: u32,
}

/// Sharing of memory bandwidth, in per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthControl {
    /// Step.
    pub granularity: u32,
    /// Least share.
    pub least: u32,
    /// So many groups there can be.
    pub groups: u32,
}

/// Monitoring of the last cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Level of that cache.
    pub level: u32,
    /// Bytes of occupancy below which a monitor's number is used again.
    pub threshold: u64,
    /// So many monitors there can be.
    pub monitors: u32,
    /// What can be counted (`llc_occupancy`, `mbm_total_bytes`, …).
    pub features: Vec<String>,
}

/// The kernel's resctrl.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Resctrl {
    /// Caches that can be shared out.
    pub caches: Vec<CacheControl>,
    /// Memory bandwidth.
    pub bandwidth: Option<BandwidthControl>,
    /// Monitoring.
    pub monitoring: Option<Monitoring>,
}

/// A size in the largest unit that divides it.
pub(super) fn short_size(bytes: u64) -> (u64, &'static str) {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return (bytes >> shift, unit);
        }
    }
    (bytes, "B")
}

impl Resctrl {
    /// Reads the folder `info` of a mounted resctrl; `read` gives the text of a file below it.
    pub fn read(read: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: String| read(&name)?.trim().parse::<u32>().ok();
        let mut found = Self::default();
        for level in [2, 3] {
            for (suffix, kind) in [("", "both"), ("CODE", "code"), ("DATA", "data")] {
                let file = |name: &str| format!("L{level}{suffix}/{name}");
                let mask = read(&file("cbm_mask"));
                let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
                let (Some(mask), Some(groups)) = (mask, number(file("num_closids"))) else {
                    continue;
                };
                let least = number(file("min_cbm_bits")).unwrap_or(1);
                found.caches.push(CacheControl {
                    level,
                    kind,
                    parts: mask.count_ones().max(1),
                    least,
                    groups,
                });
            }
        }
        let bandwidth = |name: &str| number(format!("MB/{name}"));
        if let (Some(granularity), Some(least), Some(groups)) =
            (bandwidth("bandwidth_gran"), bandwidth("min_bandwidth"), bandwidth("num_closids"))
        {
            found.bandwidth = Some(BandwidthControl { granularity, least, groups });
        }
        if let (Some(features), Some(monitors)) =
            (read("L3_MON/mon_features"), number("L3_MON/num_rmids".to_owned()))
        {
            let threshold = read("L3_MON/max_threshold_occupancy");
            found.monitoring = Some(Monitoring {
                level: 3,
                threshold: threshold.and_then(|t| t.trim().parse().ok()).unwrap_or(0),
                monitors,
                features: features.lines().map(str::to_owned).collect(),
            });
        }
        found
    }

    /// Features of monitoring whose names begin with `prefix`.
    fn counted(&self, prefix: &str) -> Vec<&str> {
        let features = self.monitoring.iter().flat_map(|monitoring| &monitoring.features);
        features.map(String::as_str).filter(|name| name.starts_with(prefix)).collect()
    }

    /// `<control>` elements of a cache.
    pub(super) fn write_controls(&self, out: &mut Out, bank: &CacheBank) {
        for control in self.caches.iter().filter(|control| control.level == bank.level) {
            let part = bank.size / u64::from(control.parts);
            let (granularity, unit) = short_size(part);
            let granularity_text = granularity.to_string();
            let least = (granularity * u64::from(control.least)).to_string();
            let groups = control.groups.to_string();
            let mut attrs = vec![("granularity", granularity_text.as_str())];
            if control.least > 1 {
                attrs.push(("min", &least));
            }
            attrs.extend([("unit", unit), ("type", control.kind), ("maxAllocs", &groups)]);
            out.empty("control", &attrs);
        }
    }

    /// `<monitor>` of the caches.
    pub(super) fn write_cache_monitor(&self, out: &mut Out) {
        let features = self.counted("llc_");
        let Some(monitoring) = self.monitoring.as_ref().filter(|_| !features.is_empty()) else {
            return;
        };
        let [level, threshold, monitors] = [
            monitoring.level.to_string(),
            monitoring.threshold.to_string(),
            monitoring.monitors.to_string(),
        ];
        let attrs =
            [("level", &*level), ("reuseThreshold", &*threshold), ("maxMonitors", &*monitors)];
        out.element("monitor", &attrs, |out| write_features(out, &features));
    }

    /// `<memory_bandwidth>`: a node for every cache of the last level.
    pub(super) fn write_bandwidth(&self, out: &mut Out, caches: &[CacheBank]) {
        let features = self.counted("mbm_");
        let monitoring = self.monitoring.as_ref().filter(|_| !features.is_empty());
        if self.bandwidth.is_none() && monitoring.is_none() {
            return;
        }
        let last = caches.iter().map(|bank| bank.level).max();
        out.element("memory_bandwidth", &[], |out| {
            if let Some(control) = &self.bandwidth {
                for bank in caches.iter().filter(|bank| Some(bank.level) == last) {
                    let id = bank.id.to_string();
                    out.element("node", &[("id", &id), ("cpus", &bank.cpus)], |out| {
                        let [granularity, least, groups] =
                            [control.granularity, control.least, control.groups]
                                .map(|number| number.to_string());
                        let attrs = [
                            ("granularity", &*granularity),
                            ("min", &*least),
                            ("maxAllocs", &*groups),
                        ];
                        out.empty("control", &attrs);
                    });
                }
            }
            if let Some(monitoring) = monitoring {
                let monitors = monitoring.monitors.to_string();
                out.element("monitor", &[("maxMonitors", &monitors)], |out| {
                    write_features(out, &features);
                });
            }
        });
    }
}

fn write_features(out: &mut Out, features: &[&str]) {
    for name in features {
        out.empty("feature", &[("name", name)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_cache_and_bandwidth() {
        let found = Resctrl::read(|name| {
            let text = match name {
                "L3CODE/cbm_mask" | "L3DATA/cbm_mask" => "ff\n",
                "L3CODE/num_closids" | "L3DATA/num_closids" => "8\n",
                "L3CODE/min_cbm_bits" => "2\n",
                "MB/bandwidth_gran" => "10\n",
                "MB/min_bandwidth" => "20\n",
                "MB/num_closids" => "8\n",
                "L3_MON/num_rmids" => "100\n",
                "L3_MON/mon_features" => "mbm_total_bytes\nother\n",
                _ => return None,
            };
            Some(text.to_owned())
        });
        let bank = CacheBank {
            id: 1,
            level: 3,
            kind: "both".to_owned(),
            size: 16 << 20,
            cpus: "0-3".to_owned(),
        };
        let mut out = Out::default();
        found.write_controls(&mut out, &bank);
        found.write_cache_monitor(&mut out);
        found.write_bandwidth(&mut out, &[bank]);
        let expected = "\
<control granularity='2' min='4' unit='MiB' type='code' maxAllocs='8'/>
<control granularity='2' unit='MiB' type='data' maxAllocs='8'/>
<memory_bandwidth>
  <node id='1' cpus='0-3'>
    <control granularity='10' min='20' maxAllocs='8'/>
  </node>
  <monitor maxMonitors='100'>
    <feature name='mbm_total_bytes'/>
  </monitor>
</memory_bandwidth>
";
        assert_eq!(out.finish(), expected);
    }
}
