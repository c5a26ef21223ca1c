//! Guests to boot: a boot sector that is up in a moment, and a real Linux.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::paths;

/// What the boot sector writes on the first serial port before it starts to tick.
pub const BOOT_SECTOR_LINE: &str = "boot sector up";

/// A disk image whose boot sector writes [`BOOT_SECTOR_LINE`] on the first serial port and then a
/// dot at every tick of the BIOS timer (18 a second): a growing file shows that the guest runs.
pub fn boot_sector() -> Vec<u8> {
    // 16-bit code, loaded at 0x7c00.
    let mut image = vec![
        0xfa, //               cli
        0x31, 0xc0, //         xor ax, ax
        0x8e, 0xd8, //         mov ds, ax
        0xbe, 0x1d, 0x7c, //   mov si, text
        0xac, //         next: lodsb
        0x84, 0xc0, //         test al, al
        0x74, 0x06, //         jz tick
        0xba, 0xf8, 0x03, //   mov dx, 0x3f8
        0xee, //               out dx, al
        0xeb, 0xf5, //         jmp next
        0xfb, //         tick: sti
        0xf4, //               hlt
        0xba, 0xf8, 0x03, //   mov dx, 0x3f8
        0xb0, b'.', //         mov al, '.'
        0xee, //               out dx, al
        0xeb, 0xf6, //         jmp tick
    ];
    assert_eq!(image.len(), 0x1d, "the text follows the code");
    image.extend_from_slice(BOOT_SECTOR_LINE.as_bytes());
    image.extend_from_slice(b"\r\n\0");
    image.resize(510, 0);
    image.extend_from_slice(&[0x55, 0xaa]);
    // A whole MiB: some clients refuse smaller disks.
    image.resize(1 << 20, 0);
    image
}

/// A real Linux: Debian's cloud kernel and our initramfs.
#[derive(Clone, Debug)]
pub struct Linux {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
}

/// The Linux guest, built on the first call of a machine (which fetches two Debian packages).
pub fn linux() -> &'static Linux {
    static GUEST: OnceLock<Linux> = OnceLock::new();
    GUEST.get_or_init(|| build(&[], "initrd.img"))
}

/// The Linux guest with Debian's qemu-guest-agent, disks' file systems and hot-plug (which fetches
/// more packages).
pub fn linux_with_agent() -> &'static Linux {
    static GUEST: OnceLock<Linux> = OnceLock::new();
    GUEST.get_or_init(|| build(&["--agent"], "initrd-agent.img"))
}

/// A disk image of 16 MiB with an empty ext4 file system.
pub fn ext4() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(16 << 20).expect("a file of that size");
    let path = file.path().to_string_lossy().into_owned();
    crate::tool("mkfs.ext4", &["-q", "-F", &path], "").ok();
    fs::read(file.path()).expect("our own file")
}

fn build(options: &[&str], initrd: &str) -> Linux {
    let dir = paths::cache().join("guest");
    let program = paths::workspace().join("guest/build");
    let status = Command::new(program).args(options).arg(&dir).status();
    assert!(status.expect("guest/build runs").success(), "guest/build cannot make the guest");
    for folder in [&paths::cache(), &dir] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
    }
    Linux { kernel: dir.join("vmlinuz"), initrd: dir.join(initrd) }
}
