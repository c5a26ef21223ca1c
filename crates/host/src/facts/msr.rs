//! Model-specific registers that tell of features of x86 processors.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Those of the registers `indexes` that can be read: from the first processor, else as KVM gives
/// them to guests. Empty where neither tells (and on architectures without them).
pub fn feature_msrs(root: &Path, indexes: &[u32]) -> Vec<(u32, u64)> {
    if let Ok(device) = File::open(root.join("dev/cpu/0/msr")) {
        let read = |index: u32| {
            let mut bytes = [0; 8];
            device.read_exact_at(&mut bytes, u64::from(index)).ok()?;
            Some((index, u64::from_le_bytes(bytes)))
        };
        return indexes.iter().copied().filter_map(read).collect();
    }
    let Ok(kvm) = File::options().read(true).write(true).open(root.join("dev/kvm")) else {
        return Vec::new();
    };
    let read = |index: u32| Some((index, host_sys::kvm_feature_msr(kvm.as_fd(), index).ok()??));
    indexes.iter().copied().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_a_device_file() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(feature_msrs(root.path(), &[0x10a]).is_empty());
        let folder = root.path().join("dev/cpu/0");
        std::fs::create_dir_all(&folder).expect("made");
        let mut bytes = vec![0; 0x10a];
        bytes.extend(0x1122_3344_5566_7788_u64.to_le_bytes());
        std::fs::write(folder.join("msr"), bytes).expect("written");
        // What lies beyond the end cannot be read, and is left out.
        let found = feature_msrs(root.path(), &[0x10a, 0x480]);
        assert_eq!(found, [(0x10a, 0x1122_3344_5566_7788)]);
    }
}
