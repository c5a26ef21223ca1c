//! Memory devices: modules, non-volatile memory, memory that a guest takes and gives back.

use super::build::{Build, Props, Switch};
use super::memory::is_power;
use super::words::Address;
use crate::step::Access;
use model::domain::devices::memory::{MemoryDevice, MemoryModel};
use model::domain::memory::AllocationMode;

/// The size in KiB that a guest gets of a device: modules come in the units that machines add memory in.
pub(super) fn guest_size(device: &MemoryDevice, is_power: bool) -> u64 {
    let unit = match device.model {
        // It is as long as its file.
        MemoryModel::VirtioPmem => 1,
        _ if is_power => 256 << 10,
        _ => 2048,
    };
    let label = device.target.label.as_ref().map_or(0, |label| label.size.0);
    match device.model {
        // There the guest adds whole blocks; the label lies behind them.
        MemoryModel::Nvdimm if is_power => {
            device.target.size.0.saturating_sub(label) / unit * unit + label
        }
        _ => device.target.size.0.div_ceil(unit).saturating_mul(unit),
    }
}

impl Build<'_> {
    /// All memory devices, each with its backend before it.
    pub(super) fn memory_devices(&mut self) {
        for device in self.each("devices/memory", &self.dev.memories) {
            let id = self.alias(&device.alias, "<memory>");
            let backend = format!("mem{id}");
            let flag = match device.model {
                MemoryModel::Dimm => "pc-dimm",
                MemoryModel::Nvdimm => "nvdimm",
                MemoryModel::VirtioPmem => "virtio-pmem-pci",
                MemoryModel::VirtioMem if matches!(device.address, Some(Address::Ccw(_))) => {
                    "virtio-mem-ccw"
                }
                MemoryModel::VirtioMem => "virtio-mem-pci",
                MemoryModel::SgxEpc => "sgx-epc",
            };
            self.need(flag, &format!("<memory model='{}'>", device.model.as_str()));
            let kib = guest_size(device, self.is_power());
            if device.model == MemoryModel::SgxEpc {
                let allocation =
                    self.d.memory_backing.as_ref().and_then(|backing| backing.allocation.as_ref());
                let immediate = allocation.filter(|a| a.mode == Some(AllocationMode::Immediate));
                let props = Props::object("memory-backend-epc", &backend)
                    .set("prealloc", true)
                    .opt("prealloc-threads", immediate.and_then(|a| a.threads))
                    .set("size", kib * 1024);
                let nodes = self.host_nodes(None, Some(device));
                self.object(props.extend(nodes));
                continue;
            }
            let mut props = self.memory_backend(&backend, kib, device.target.node, Some(device));
            let prealloc = props.0.contains_key("prealloc");
            if device.model == MemoryModel::VirtioMem {
                // The device allocates what it plugs in, the backend nothing ahead.
                props.0.shift_remove("prealloc");
                props.0.shift_remove("prealloc-threads");
                if self.has("memory-backend-file.reserve") {
                    // Before the size, as libvirt writes it.
                    let size = props.0.shift_remove("size").unwrap_or_default();
                    props = props.set("reserve", false).set("size", size);
                }
            }
            self.backend(props);
            let props = self.memory_device(device, flag, &backend, prealloc).set("id", id);
            let place = match &device.address {
                Some(Address::Dimm(dimm)) => Props::default()
                    .set("slot", dimm.slot)
                    .opt("addr", dimm.base.map(|base| base.0)),
                _ => self.place(&device.address, "<memory>"),
            };
            self.device(props.extend(place));
        }
    }

    /// Options of the board that memory devices ask for: non-volatile modules at all, enclave memory
    /// by its backends.
    pub(super) fn memory_device_options(&self) -> Vec<String> {
        let mut out = Vec::new();
        let (mut nvdimm, mut enclaves) = (false, 0);
        for device in &self.dev.memories {
            match device.model {
                MemoryModel::Nvdimm if !nvdimm => {
                    nvdimm = true;
                    out.push("nvdimm=on".to_owned());
                }
                MemoryModel::SgxEpc => {
                    let id = device.alias.as_ref().map_or("", |alias| alias.name.as_str());
                    let node = device.target.node.unwrap_or(0);
                    out.push(format!("sgx-epc.{enclaves}.memdev=mem{id}"));
                    out.push(format!("sgx-epc.{enclaves}.node={node}"));
                    enclaves += 1;
                }
                _ => {}
            }
        }
        out
    }

    fn is_power(&self) -> bool {
        is_power(&self.arch)
    }

    fn memory_device(
        &mut self,
        device: &MemoryDevice,
        driver: &str,
        backend: &str,
        prealloc: bool,
    ) -> Props {
        let target = &device.target;
        let virtio_mem = device.model == MemoryModel::VirtioMem;
        let mut props = Props::device(driver)
            .opt("node", target.node)
            .opt("label-size", target.label.as_ref().map(|label| label.size.0 * 1024));
        if device.model == MemoryModel::Nvdimm {
            if device.uuid.is_some() && !self.is_power() {
                self.fail("qemu.memory-device", "UUID is not supported for NVDIMM device");
            }
            props = props.opt("uuid", device.uuid.map(|uuid| uuid.to_string()));
            if target.readonly {
                self.need("nvdimm.unarmed", "<memory><target><readonly/>");
                props = props.set("unarmed", true);
            }
        }
        if virtio_mem {
            // Nothing is what the device begins with.
            let requested = target.requested.as_ref().filter(|requested| requested.0 > 0);
            props = props
                .opt("block-size", target.block.map(|block| block.0 * 1024))
                .opt("requested-size", requested.map(|requested| requested.0 * 1024));
        }
        props = props.set("memdev", backend);
        if virtio_mem && prealloc && self.has("virtio-mem-pci.prealloc") {
            props = props.set("prealloc", true);
        }
        props = props.opt("memaddr", target.address.as_ref().map(|address| address.base.0));
        if virtio_mem && let Some(slots) = target.dynamic_memslots {
            self.need("virtio-mem-pci.dynamic-memslots", "<memory><target dynamicMemslots>");
            props = props.set("dynamic-memslots", slots.on());
        }
        props
    }

    /// A backend that is a file of the host's: non-volatile memory.
    pub(super) fn file_backend(
        &mut self,
        id: &str,
        device: &MemoryDevice,
        path: &str,
        share: Option<bool>,
        prealloc: Props,
        size: u64,
    ) -> Props {
        self.grant(path, Access::ReadWrite, share == Some(true), "<memory>");
        let source = device.source.clone().unwrap_or_default();
        let mut props =
            Props::object("memory-backend-file", id).set("mem-path", path).opt("share", share);
        // Persistent memory is there; writing zeroes to it would wear it or fault.
        if device.model == MemoryModel::Nvdimm && !source.pmem {
            props = props.set("prealloc", true);
        }
        if !source.pmem {
            props = props.extend(prealloc);
        }
        props = props.set("size", size).opt("align", source.align_size.map(|align| align.0 * 1024));
        if source.pmem {
            self.need("memory-backend-file.pmem", "<memory><source><pmem/>");
            props = props.set("pmem", true);
        }
        props
    }
}
