//! Readers beside a save: what eight clients that ask about a guest wait for, while nothing happens to
//! it and while it is being saved.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::wire;

use crate::daemon::Boxed;
use crate::measures::{DESTROY, DUMPXML, Measure, domain, micros_at, ok, string};

const CREATE_XML: u32 = 10;
const GET_INFO: u32 = 16;
const RESTORE: u32 = 54;
const SAVE: u32 = 55;
const GET_STATE: u32 = 212;

/// What is read into the guest's memory before it runs, inside of the box: pages of zeros would be
/// saved in no time.
const FILL: &str = "/var/lib/libvirt/hand/fill";
const FILL_SIZE: usize = 768 << 20;
const SAVED: &str = "/var/lib/libvirt/hand/saved";

const READERS: usize = 8;
/// Between two calls of a reader: what is to be seen is a wait for the daemon, not for a processor.
const PAUSE: Duration = Duration::from_millis(2);
const SAVES: usize = 3;

/// All measures of one daemon, always in the same order.
pub fn all(daemon: &Boxed) -> Vec<Measure> {
    prepare(daemon.path(FILL));
    let mut stream = wire::open(&daemon.socket(), false);
    let mut body = string(&xml());
    body.extend_from_slice(&[0; 4]);
    ok(&mut stream, CREATE_XML, &body);

    let quiet = beside(daemon, || std::thread::sleep(Duration::from_secs(2)));
    let (mut during, mut saves) = (Vec::new(), Vec::new());
    for _ in 0..SAVES {
        let mut body = domain("saved", daemon);
        let path = string(SAVED);
        body.extend_from_slice(&path);
        let begun = Instant::now();
        during.extend(beside(daemon, || ok(&mut stream, SAVE, &body)));
        saves.push(begun.elapsed());
        ok(&mut stream, RESTORE, &path);
        std::fs::remove_file(daemon.path(SAVED)).expect("the image was read");
    }
    ok(&mut stream, DESTROY, &domain("saved", daemon));

    let measure = |what: String, unit, value| Measure { what, unit, value, more_is_better: false };
    let mut found = Vec::new();
    for (when, times) in [("at rest", quiet), ("during a save", during)] {
        for (name, part) in [("p50", 0.5), ("p99", 0.99), ("slowest", 1.0)] {
            let value = micros_at(times.clone(), part);
            found.push(measure(format!("a reader's call {when}: {name}"), "us", value));
        }
    }
    let save = micros_at(saves, 0.5) / 1000.0;
    found.push(measure("a save of 768 MiB, beside the readers".into(), "ms", save));
    found
}

/// How long the calls of the readers took while `what` was done.
fn beside(daemon: &Boxed, what: impl FnOnce()) -> Vec<Duration> {
    let done = Arc::new(AtomicBool::new(false));
    let one = domain("saved", daemon);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (done, one) = (Arc::clone(&done), one.clone());
            let mut stream = wire::open(&daemon.socket(), false);
            std::thread::spawn(move || {
                let mut flagged = one.clone();
                flagged.extend_from_slice(&[0; 4]);
                let calls = [(GET_INFO, &one), (GET_STATE, &flagged), (DUMPXML, &flagged)];
                let mut times = Vec::new();
                for (number, body) in calls.into_iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let begun = Instant::now();
                    // The guest is gone at the end of a save: no answer about it is one as well.
                    wire::ask(&mut stream, number, 9, body);
                    times.push(begun.elapsed());
                    std::thread::sleep(PAUSE);
                }
                times
            })
        })
        .collect();
    what();
    done.store(true, Ordering::Relaxed);
    readers.into_iter().flat_map(|reader| reader.join().expect("no reader fails")).collect()
}

fn prepare(fill: PathBuf) {
    let folder = fill.parent().expect("a file of the box");
    std::fs::create_dir_all(folder).expect("a folder of the box");
    // No two pages alike, and none empty.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let block: Vec<u8> = words.take((1 << 20) / 8).flatten().collect();
    let mut file = std::fs::File::create(&fill).expect("a file of the box");
    for _ in 0..FILL_SIZE >> 20 {
        std::io::Write::write_all(&mut file, &block).expect("room in /var/tmp");
    }
    for path in [folder, &fill] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).expect("chmod of our own");
    }
}

fn xml() -> String {
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <name>saved</name><memory unit='MiB'>1024</memory>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os>\
         <features><acpi/><apic/></features>\
         <devices><memballoon model='none'/></devices>\
         <qemu:commandline><qemu:arg value='-device'/>\
         <qemu:arg value='loader,file={FILL},addr=0x1000000,force-raw=on'/>\
         </qemu:commandline></domain>"
    )
}
