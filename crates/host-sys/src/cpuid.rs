//! The CPUID instruction of x86.

/// The four registers that CPUID answers in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidLeaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// Runs CPUID for a leaf and subleaf; `None` on other architectures, or for a leaf beyond the
/// highest that the processor knows (whose answer would mean nothing).
pub fn cpuid(leaf: u32, subleaf: u32) -> Option<CpuidLeaf> {
    #[cfg(target_arch = "x86_64")]
    {
        let range = leaf & 0xffff_0000;
        if leaf != range && raw(range, 0).eax < leaf {
            return None;
        }
        Some(raw(leaf, subleaf))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (leaf, subleaf);
        None
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)] // Newer compilers know that the intrinsic is safe on x86_64.
fn raw(leaf: u32, subleaf: u32) -> CpuidLeaf {
    // SAFETY: every x86_64 processor has CPUID, and it changes nothing but the registers returned.
    let r = unsafe { core::arch::x86_64::__cpuid_count(leaf, subleaf) };
    CpuidLeaf { eax: r.eax, ebx: r.ebx, ecx: r.ecx, edx: r.edx }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn vendor_and_bounds() {
        let leaf = cpuid(0, 0).unwrap();
        assert!(leaf.eax >= 1);
        let vendor: Vec<u8> =
            [leaf.ebx, leaf.edx, leaf.ecx].iter().flat_map(|r| r.to_le_bytes()).collect();
        assert!(vendor.is_ascii());
        assert_eq!(cpuid(0xfff0, 0), None);
    }
}
