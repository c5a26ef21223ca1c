//! Every call of a domain in every state, and while a job holds it: the answer, its code and who
//! says it. The table is in `python/states.py`.

use tests::{Daemon, domains, guests, python};

#[test]
fn every_call_answers_by_its_rule_in_every_state() {
    let daemon = Daemon::start();
    let name = "states";
    let spare = daemon.write("images/spare.img", vec![0; 1 << 20]);
    let mut sector = guests::boot_sector();
    sector.resize(1 << 20, 0);
    let disk = daemon.write("images/states.img", sector);
    let pipe = daemon.path("images/states.pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o666))
        .expect("a pipe");
    let xml = domains::from_disk(name, &disk, &domains::serial_file(&daemon, name))
        .replacen("</name>", "</name><uuid>6b1e5f0c-31c4-4a6f-9d0e-7a0f7d0c5a11</uuid>", 1)
        .replace("<target dev='hda' bus='ide'/>", "<target dev='vda' bus='virtio'/>")
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", "<vcpu>2</vcpu><iothreads>1</iothreads><os>", 1)
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
