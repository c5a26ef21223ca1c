//! In libvirtd's place: on its paths, with its files, there and back; never both at once.
//!
//! Runs in a mount namespace where libvirt's folders are empty and private. Skips where libvirtd is
//! not installed or the user is not root.

use tests::on_host::{LIBVIRTD, Running, virsh};
use tests::{domains, guests, namespace, paths, plugging, tool, wait};

/// Runs `body` on private copies of libvirt's folders, or skips.
fn on_libvirts_paths(test: &str, body: impl FnOnce()) {
    if !std::path::Path::new(LIBVIRTD).exists() {
        eprintln!("skipped: {test} needs libvirtd to compare with");
        return;
    }
    namespace::inside(test, || {
        // Without a log daemon beside it.
        std::fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").unwrap();
        body();
    });
}

fn define(name: &str) {
    let disk = format!("/var/lib/libvirt/images/{name}.img");
    std::fs::create_dir_all("/var/lib/libvirt/images").unwrap();
    std::fs::write(&disk, guests::boot_sector()).unwrap();
    let serial = format!("/var/lib/libvirt/images/{name}.serial");
    let xml = domains::from_disk(name, disk.as_ref(), serial.as_ref());
    let file = format!("/var/lib/libvirt/images/{name}.xml");
    std::fs::write(&file, xml).unwrap();
    virsh(&format!("define {file}")).ok();
}

#[test]
fn definitions_go_there_and_back_unchanged() {
    on_libvirts_paths("definitions_go_there_and_back_unchanged", || {
        let daemon = Running::libvirtd();
        define("theirs");
        virsh("autostart theirs").ok();
        let theirs = virsh("dumpxml theirs").ok();
        daemon.stop();
        let file = std::fs::read("/etc/libvirt/qemu/theirs.xml").unwrap();

        let daemon = Running::ours();
        assert_eq!(virsh("dumpxml theirs --inactive").ok(), theirs);
        assert!(virsh("dominfo theirs").ok().contains("Autostart:      enable"));
        define("ours");
        let ours = virsh("dumpxml ours").ok();
        virsh("destroy theirs");
        daemon.stop();
        assert_eq!(std::fs::read("/etc/libvirt/qemu/theirs.xml").unwrap(), file, "rewritten");

        let daemon = Running::libvirtd();
        assert_eq!(virsh("dumpxml theirs --inactive").ok(), theirs);
        assert_eq!(virsh("dumpxml ours").ok(), ours);
        virsh("destroy theirs");
        daemon.stop();
    });
}

/// Objects of many kinds: what libvirtd says of them is what we say of its files.
#[test]
fn a_hosts_objects_read_the_same_in_either() {
    on_libvirts_paths("a_hosts_objects_read_the_same_in_either", || {
        let tree = paths::fixture("fixtures/host/libvirt");
        let secret = "6f0c4f0e-8d5e-4f4b-9c65-0f2b0a3d1c06";
        let questions = [
            "dumpxml --inactive --security-info shop",
            "dumpxml --inactive --security-info office",
            "dumpxml --inactive --security-info till",
            "pool-dumpxml shop-images",
            &format!("secret-dumpxml {secret}"),
        ];
        let daemon = Running::libvirtd();
        for name in ["shop", "office", "till"] {
            virsh(&format!("define {}/qemu/{name}.xml", tree.display())).ok();
        }
        virsh(&format!("pool-define {}/storage/shop-images.xml", tree.display())).ok();
        virsh(&format!("secret-define {}/secrets/{secret}.xml", tree.display())).ok();
        let theirs = questions.map(|line| virsh(line).ok());
        daemon.stop();
        let daemon = Running::ours();
        for (line, theirs) in questions.iter().zip(theirs) {
            assert_eq!(virsh(line).ok(), theirs, "{line}");
        }
        daemon.stop();
    });
}

#[test]
fn a_running_guest_is_taken_over_and_handed_back() {
    on_libvirts_paths("a_running_guest_is_taken_over_and_handed_back", || {
        let daemon = Running::libvirtd();
        define("moving");
        virsh("start moving").ok();
        let id = virsh("domid moving").ok();
        daemon.stop();

        let daemon = Running::ours();
        assert_eq!(virsh("domid moving").ok(), id);
        assert_eq!(virsh("domstate moving --reason").ok().trim(), "running (booted)");
        virsh("suspend moving").ok();
        daemon.stop();

        let daemon = Running::libvirtd();
        assert_eq!(virsh("domid moving").ok(), id);
        assert_eq!(virsh("domstate moving --reason").ok().trim(), "paused (user)");
        virsh("destroy moving").ok();
        daemon.stop();
    });
}

#[test]
fn notes_of_an_earlier_run_are_not_believed() {
    on_libvirts_paths("notes_of_an_earlier_run_are_not_believed", || {
        let daemon = Running::ours();
        define("again");
        virsh("start again").ok();
        daemon.stop();

        let daemon = Running::libvirtd();
        virsh("destroy again").ok();
        virsh("start again").ok();
        let id = virsh("domid again").ok();
        daemon.stop();

        let daemon = Running::ours();
        assert_eq!(virsh("domid again").ok(), id);
        assert_eq!(virsh("domstate again --reason").ok().trim(), "running (booted)");
        virsh("destroy again").ok();
        daemon.stop();
    });
}

/// A disk that libvirtd lent to a guest of ours is given back when the guest ends under us.
#[test]
fn a_disk_that_the_other_plugged_in_is_given_back() {
    on_libvirts_paths("a_disk_that_the_other_plugged_in_is_given_back", || {
        let image = std::path::Path::new("/var/lib/libvirt/images/later.img");
        std::fs::create_dir_all("/var/lib/libvirt/images").expect("a folder");
        std::fs::write(image, vec![0; 1 << 16]).expect("an image");
        let daemon = Running::ours();
        define("lent");
        virsh("start lent").ok();
        daemon.stop();

        let daemon = Running::libvirtd();
        let words = format!("attach-disk lent {} vdb --live", image.display());
        virsh(&words).ok();
        assert!(!plugging::is_mine(image));
        daemon.stop();

        let daemon = Running::ours();
        virsh("destroy lent").ok();
        wait::until("the image to be given back", || plugging::is_mine(image).then_some(()));
        daemon.stop();
    });
}

#[test]
fn the_two_refuse_to_run_at_once() {
    on_libvirts_paths("the_two_refuse_to_run_at_once", || {
        let daemon = Running::libvirtd();
        tool("timeout", &["20", &paths::ironvirt().to_string_lossy(), "daemon"], "").failed();
        virsh("list").ok();
        daemon.stop();
        let daemon = Running::ours();
        tool("timeout", &["20", LIBVIRTD], "").failed();
        virsh("list").ok();
        daemon.stop();
    });
}

/// A guest saved by either is restored by the other, in each format both have.
#[test]
fn images_of_either_are_restored_by_the_other() {
    on_libvirts_paths("images_of_either_are_restored_by_the_other", || {
        let formats = ["raw", "gzip", "sparse"];
        let image = |who: &str, format: &str| format!("/var/lib/libvirt/images/{who}-{format}");
        let save_all = |who: &str| {
            for format in formats {
                virsh(&format!("save moving {} --image-format {format}", image(who, format))).ok();
                virsh("start moving").ok();
            }
        };
        let restore_all = |who: &str| {
            virsh("destroy moving").ok();
            for format in formats {
                virsh(&format!("restore {}", image(who, format))).ok();
                assert_eq!(virsh("domstate moving --reason").ok().trim(), "running (restored)");
                virsh("destroy moving").ok();
            }
        };
        let shown = |who: &str| virsh(&format!("save-image-dumpxml {}", image(who, "raw"))).ok();
        let daemon = Running::libvirtd();
        define("moving");
        virsh("start moving").ok();
        save_all("theirs");
        let theirs = shown("theirs");
        virsh("managedsave moving").ok();
        daemon.stop();

        let daemon = Running::ours();
        assert_eq!(shown("theirs"), theirs);
        virsh("start moving").ok();
        assert_eq!(virsh("domstate moving --reason").ok().trim(), "running (restored)");
        save_all("ours");
        let ours = shown("ours");
        restore_all("theirs");
        virsh("start moving").ok();
        virsh("managedsave moving").ok();
        daemon.stop();

        let daemon = Running::libvirtd();
        assert_eq!(shown("ours"), ours);
        virsh("start moving").ok();
        assert_eq!(virsh("domstate moving --reason").ok().trim(), "running (restored)");
        restore_all("ours");
        daemon.stop();
    });
}

/// Devices that either plugged are known to the other, who takes them out again.
#[test]
fn plugged_devices_change_hands() {
    on_libvirts_paths("plugged_devices_change_hands", || {
        let folder = std::path::Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("a folder");
        let disk = |name: &str, dev: &str| {
            let image = folder.join(name);
            std::fs::write(&image, vec![0; 1 << 16]).expect("an image");
            let xml = format!(
                "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/>\
                 <target dev='{dev}' bus='usb'/></disk>",
                image.display()
            );
            let file = folder.join(format!("{name}.xml"));
            std::fs::write(&file, xml).expect("a file");
            file.display().to_string()
        };
        let (first, second, third) = (disk("a", "sda"), disk("b", "sdb"), disk("c", "sdc"));
        let channel = folder.join("channel.xml").display().to_string();
        let xml = "<channel type='unix'><target type='virtio' name='a.b'/></channel>";
        std::fs::write(&channel, xml).expect("a file");
        let plug = |verb: &str, file: &str| {
            virsh(&format!("{verb} passed-on {file} --live")).ok();
        };
        // Index numbers of images, aliases and addresses too. Whether somebody listens to a channel
        // libvirtd asks only when it starts.
        let shown = || virsh("dumpxml passed-on").ok().replace(" state='disconnected'", "");
        let daemon = Running::libvirtd();
        let xml = domains::minimal("passed-on").replace(
            "<devices/>",
            "<devices><controller type='usb' model='qemu-xhci'/>\
             <controller type='virtio-serial'/></devices>",
        );
        let file = folder.join("passed-on.xml");
        std::fs::write(&file, xml).expect("a file");
        virsh(&format!("define {}", file.display())).ok();
        virsh("start passed-on").ok();
        plug("attach-device", &first);
        let theirs = shown();
        daemon.stop();

        let daemon = Running::ours();
        assert_eq!(shown(), theirs);
        plug("attach-device", &second);
        plug("attach-device", &channel);
        plug("detach-device", &first);
        let ours = shown();
        assert!(!ours.contains("'sda'") && ours.contains("'sdb'") && ours.contains("'a.b'"));
        daemon.stop();

        let daemon = Running::libvirtd();
        assert_eq!(shown(), ours);
        plug("attach-device", &third);
        plug("detach-device", &second);
        // It knows the nodes of what we plugged in, and closes them.
        let nodes = "qemu-monitor-command passed-on {\"execute\":\"query-named-block-nodes\"}";
        wait::until("the image to be closed", || {
            (!virsh(nodes).ok().contains("/images/b\"")).then_some(())
        });
        // It knows channels by their sockets, or by name.
        virsh("detach-device-alias passed-on channel0 --live").ok();
        wait::until("the channel to be gone", || (!shown().contains("'a.b'")).then_some(()));
        assert!(virsh("domblklist passed-on").ok().contains("sdc"));
        let theirs = shown();
        daemon.stop();

        let daemon = Running::ours();
        assert_eq!(shown(), theirs);
        plug("detach-device", &third);
        virsh("destroy passed-on").ok();
        for name in ["a", "b", "c"] {
            let owner = std::fs::metadata(folder.join(name)).expect("there");
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "{name} is given back");
        }
        daemon.stop();
    });
}

/// Copies and commits that either began are known to the other, who ends them in either way.
#[test]
fn jobs_of_images_are_ended_by_the_other() {
    on_libvirts_paths("jobs_of_images_are_ended_by_the_other", || {
        let folder = std::path::Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("a folder");
        let path = |guest: &str, image: &str| folder.join(format!("{guest}-{image}.qcow2"));
        let make = |guest: &str| {
            let (base, top) = (path(guest, "base"), path(guest, "top"));
            let (base, top) = (base.display().to_string(), top.display().to_string());
            tool("qemu-img", &["create", "-q", "-f", "qcow2", &base, "1M"], "").ok();
            let over = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &top];
            tool("qemu-img", &over, "").ok();
            let disk = format!(
                "<devices><disk type='file'><driver name='qemu' type='qcow2'/>\
                 <source file='{top}'/><target dev='vda' bus='virtio'/></disk></devices>"
            );
            let file = folder.join(format!("{guest}.xml"));
            let xml = domains::minimal(guest).replace("<devices/>", &disk);
            std::fs::write(&file, xml).expect("a file");
            virsh(&format!("create {} --paused", file.display())).ok();
        };
        // Guest, job, how it ends, the image that the guest has afterwards.
        let jobs = [
            ("copied", "copy", "pivot", "copy"),
            ("uncopied", "copy", "abort", "top"),
            ("committed", "commit", "pivot", "base"),
            ("uncommitted", "commit", "abort", "top"),
        ];
        for (first, second) in [
            (Running::libvirtd as fn() -> Running, Running::ours as fn() -> Running),
            (Running::ours, Running::libvirtd),
        ] {
            let daemon = first();
            for (guest, job, ..) in jobs {
                make(guest);
                let copy = path(guest, "copy");
                let line = match job {
                    "copy" => format!("blockcopy {guest} vda {} --transient-job", copy.display()),
                    _ => format!("blockcommit {guest} vda --active"),
                };
                virsh(&line).ok();
                wait::until(&format!("the {job} of {guest} to be ready"), || {
                    virsh(&format!("dumpxml {guest}")).ok().contains("ready='yes'").then_some(())
                });
            }
            daemon.stop();

            let daemon = second();
            for (guest, job, end, image) in jobs {
                assert!(virsh(&format!("dumpxml {guest}")).ok().contains("ready='yes'"), "{guest}");
                virsh(&format!("blockjob {guest} vda --{end}")).ok();
                let what = format!("the {end} of the {job}");
                wait::until(&what, || {
                    let xml = virsh(&format!("dumpxml {guest}")).ok();
                    let source = format!("<source file='{}'", path(guest, image).display());
                    (!xml.contains("<mirror") && xml.contains(&source)).then_some(())
                });
                virsh(&format!("destroy {guest}")).ok();
                // libvirtd leaves images that are below another to QEMU's user.
                if end == "pivot" {
                    wait::until(&format!("what the {end} left to be given back"), || {
                        plugging::is_mine(&path(guest, image)).then_some(())
                    });
                }
                for image in ["base", "top", "copy"] {
                    let _ = std::fs::remove_file(path(guest, image));
                }
            }
            daemon.stop();
        }
    });
}
