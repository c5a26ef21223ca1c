//! How many domain documents are read, completed and written in a second on one core:
//! `cargo run --release -p model --example domain_speed [-- FILE.xml [COUNT]]`.
//!
//! Without FILE it is `typical.xml` beside this program, 200 lines. COUNT stops after so many
//! documents, for counting instructions: the difference of two counts is free of the start.

use std::time::{Duration, Instant};

use model::domain::defaults::{DefaultsContext, DeviceSupport, Settings, apply};
use model::domain::{Domain, FormatFlags, ParseOptions, format, parse};

/// Our own example of a domain as it stands on disk.
const TYPICAL: &str = include_str!("typical.xml");

fn complete(domain: &mut Domain, devices: &DeviceSupport, settings: &Settings) {
    let mut random = |bytes: &mut [u8]| bytes.fill(7);
    let mut context = DefaultsContext {
        emulator: Some("/usr/bin/qemu-system-x86_64"),
        devices,
        settings,
        ..DefaultsContext::without_emulator("x86_64", &mut random)
    };
    apply(domain, &mut context);
}

fn main() -> Result<(), std::io::Error> {
    let mut args = std::env::args().skip(1);
    let text = match args.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => TYPICAL.to_owned(),
    };
    let most = args.next().and_then(|n| n.parse::<u32>().ok());
    let devices = DeviceSupport::new(["qemu-xhci", "virtio-scsi-pci", "pcie-root-port"]);
    let settings = Settings::default();
    let mut parts = [Duration::ZERO; 3];
    let (start, mut count, mut bytes) = (Instant::now(), 0u32, 0);
    while most.map_or(start.elapsed() < Duration::from_secs(3), |most| count < most) {
        let t0 = Instant::now();
        let Some(mut domain) = parse(&text, ParseOptions::default()).domain else {
            println!("the document has faults");
            return Ok(());
        };
        let t1 = Instant::now();
        complete(&mut domain, &devices, &settings);
        let t2 = Instant::now();
        bytes = format(&domain, FormatFlags::default()).len();
        drop(domain);
        for (sum, part) in parts.iter_mut().zip([t1 - t0, t2 - t1, t2.elapsed()]) {
            *sum += part;
        }
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    let [read, complete, write] = parts.map(|p| p.as_secs_f64() * 1e6 / f64::from(count));
    println!(
        "{rate:.0} documents/s, {} lines in, {bytes} bytes out; \
         read {read:.1} us, complete {complete:.1} us, write and drop {write:.1} us",
        text.lines().count()
    );
    Ok(())
}
