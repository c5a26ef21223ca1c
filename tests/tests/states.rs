//! Every call of a domain in every state, and while a job holds it: the answer, its code and who
//! says it. The table is in `python/states.py`.

use tests::saving::SmallDisk;
use tests::{Daemon, domains, guests, python};

/// Tells the panic device that the guest has panicked.
const PANICS: &[u8] = &[
    0xba, 0x05, 0x05, // mov dx, 0x505
    0xb0, 0x01, //       mov al, 1
    0xee, //             out dx, al
];

/// Suspends the board to memory.
const SLEEPS: &[u8] = &[
    0xb8, 0x00, 0x24, // mov ax, 0x2400
    0xba, 0x04, 0x06, // mov dx, 0x604
    0xef, //             out dx, ax
];

/// Writes a sector far behind the first.
const WRITES: &[u8] = &[
    0x31, 0xc0, //       xor ax, ax
    0x8e, 0xc0, //       mov es, ax
    0xb8, 0x01, 0x03, // mov ax, 0x0301
    0xb9, 0x01, 0x00, // mov cx, 1
    0xba, 0x80, 0x01, // mov dx, 0x0180
    0xbb, 0x00, 0x7c, // mov bx, 0x7c00
    0xcd, 0x13, //       int 0x13
];

#[test]
fn every_call_answers_by_its_rule_in_every_state() {
    let daemon = Daemon::start();
    let name = "states";
    let spare = daemon.write("images/spare.img", vec![0; 1 << 20]);
    let mut sector = guests::boot_sector();
    sector.resize(1 << 20, 0);
    let disk = daemon.write("images/states.img", sector);
    // What it boots in other states: each does one thing, then nothing.
    let boots = |name: &str, code: &[u8]| {
        let mut image = [code, &[0xf4, 0xeb, 0xfd]].concat();
        image.resize(510, 0);
        image.extend([0x55, 0xaa]);
        image.resize(1 << 20, 0);
        daemon.write(&format!("images/{name}"), image)
    };
    boots("states-panic.img", PANICS);
    boots("states-sleep.img", SLEEPS);
    let full = SmallDisk::mount(daemon.path("images/full"), "4k");
    if full.is_some() {
        let whole = boots("states-io.img", WRITES);
        let image =
            daemon.write("images/full/states-io.img", &std::fs::read(whole).expect("it")[..512]);
        let file = std::fs::File::options().write(true).open(image).expect("a file");
        file.set_len(1 << 20).expect("a file with holes");
    }
    let pipe = daemon.path("images/states.pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o666))
        .expect("a pipe");
    let xml = domains::from_disk(name, &disk, &domains::serial_file(&daemon, name))
        .replacen("</name>", "</name><uuid>6b1e5f0c-31c4-4a6f-9d0e-7a0f7d0c5a11</uuid>", 1)
        .replace("<target dev='hda' bus='ide'/>", "<target dev='vda' bus='virtio'/>")
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", "<vcpu>2</vcpu><iothreads>1</iothreads><os>", 1)
        .replacen(
            "<devices>",
            "<on_crash>preserve</on_crash><pm><suspend-to-mem enabled='yes'/></pm>\
             <devices><panic model='isa'/>",
            1,
        )
        .replacen(
            "</devices>",
            "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>\
             <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
             </devices>",
            1,
        );
    let file = daemon.write("states.xml", xml);
    let [file, spare, pipe] = [file, spare, pipe].map(|path| path.display().to_string());
    let said = python("states", &[daemon.uri().as_str(), &file, &spare, &pipe]).ok();
    assert!(said.contains("well"), "{said}");
}
