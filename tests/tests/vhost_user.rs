//! Devices that other processes serve over vhost-user.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::{Daemon, domains, wait};

/// Memory that other processes may use too.
const SHARED: &str = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";

/// A guest that is up in a moment, with shared memory and these devices.
fn guest(daemon: &Daemon, name: &str, devices: &str) -> String {
    domains::boot_sector(daemon, name)
        .replacen("<devices>", &format!("<devices>{devices}"), 1)
        .replacen("<os>", &format!("{SHARED}<os>"), 1)
}

/// A program that runs beside the test, and ends with it.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one and waits until its socket is there, which is then open to QEMU's user.
fn serve(program: &str, args: &[String], socket: &Path) -> Beside {
    let mut command = Command::new(program);
    let child = command.args(args).stdout(Stdio::null()).spawn().expect("it starts");
    let beside = Beside(child);
    wait::until("the socket", || socket.exists().then_some(()));
    open_to_all(socket);
    beside
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, mode).expect("a file of ours");
}

fn disk(target: &str, socket: &Path) -> String {
    format!(
        "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>\
         <source type='unix' path='{}'/><target dev='{target}' bus='virtio'/></disk>",
        socket.display()
    )
}

/// Nothing here has images or counters of what another process serves.
#[test]
fn a_disk_that_another_process_serves() {
    let daemon = Daemon::start();
    let storage_daemon = "/usr/bin/qemu-storage-daemon";
    if !Path::new(storage_daemon).exists() {
        eprintln!("skipped: there is no qemu-storage-daemon here");
        return;
    }
    let image = daemon.write("images/served.img", vec![0; 1 << 20]);
    let socket = daemon.path("served.sock");
    let args = [
        "--blockdev".to_owned(),
        format!("driver=file,node-name=it,filename={}", image.display()),
        "--export".to_owned(),
        format!(
            "type=vhost-user-blk,id=out,node-name=it,addr.type=unix,addr.path={},writable=on",
            socket.display()
        ),
    ];
    let _server = serve(storage_daemon, &args, &socket);
    daemon.define(&guest(&daemon, "fed", &disk("vda", &socket))).ok();
    let shown = |line: &str| daemon.virsh(line).ok();
    let check = |xml: &str| {
        let (_, part) = xml.split_once("<disk type='vhostuser'").expect("the disk");
        let (part, _) = part.split_once("</disk>").expect("its end");
        assert!(part.starts_with(" device='disk' snapshot='no'>"), "{part}");
        assert!(!part.contains("index=") && !part.contains("backingStore"), "{part}");
    };
    let refuse = |line: &str, words: &str| {
        daemon.virsh(line).fails_with(&[words]);
    };
    check(&shown("dumpxml fed"));
    let size = "Operation not supported: block info is not supported for vhostuser disk";
    let limits = "block I/O throttling is not supported for disk 'vda'";
    for running in [false, true] {
        if running {
            shown("start fed");
        }
        refuse("domblkinfo fed vda", size);
        refuse("blkdeviotune fed vda", limits);
        refuse("blkdeviotune fed vda --total-iops-sec 9", limits);
    }
    let live = shown("dumpxml fed");
    check(&live);
    // Its neighbour is the first image that has a number.
    assert!(live.contains(".img' index='1'/>"), "{live}");
    for (line, what) in [
        ("domblkstat fed vda", "block stats are"),
        ("blockresize fed vda 2M", "block resize is"),
        ("domblkthreshold fed vda 100", "setting device threshold is"),
    ] {
        refuse(line, &format!("Operation not supported: {what} not supported for vhostuser disk"));
    }
    let stats = shown("domstats fed --block");
    assert!(stats.contains("block.0.name=vda\n  block.1.name=hda"), "{stats}");
    // There is no second of it to connect to; nothing is left of the attempt.
    let absent = daemon.write("absent.xml", disk("vdb", &daemon.path("absent.sock")));
    let refused = daemon.virsh(&format!("attach-device fed {}", absent.display()));
    refused.fails_with(&["Failed to connect to", "No such file or directory"]);
    check(&shown("dumpxml fed"));
    domains::discard(&daemon, "fed");
    assert!(socket.exists(), "the socket is the server's");
}
