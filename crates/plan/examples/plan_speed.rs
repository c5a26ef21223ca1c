//! How long planning the start of a typical domain takes, and reading cached capabilities:
//! `cargo run --release -p plan --example plan_speed [-- CACHE.json [COUNT]]`.
//!
//! CACHE.json is a file of the daemon's folder `qemu/capabilities`; without one, the small record
//! of the tests. COUNT stops after so many plans, for counting instructions.

use std::time::{Duration, Instant};

use model::capabilities::host::HostFacts;
use model::capabilities::qemu::{CacheKey, QemuCaps};
use model::domain::{ParseOptions, assign_aliases, parse};
use plan::Ids;
use plan::qemu::{Found, Inputs, Settings, launch};

const DOMAIN: &str = include_str!("../tests/golden/q35-server.xml");
const RECORD: &str = include_str!("../tests/data/qemu-10.0-x86_64.json");

/// What a cache file says it was made from.
fn key_of(text: &str) -> Option<CacheKey> {
    let file: serde_json::Value = serde_json::from_str(text).ok()?;
    let key = file.get("key")?;
    let time = |name: &str| key.get(name).and_then(serde_json::Value::as_i64).unwrap_or(0);
    let word = |name: &str| key.get(name)?.as_str().map(str::to_owned);
    Some(CacheKey {
        path: word("path")?,
        size: key.get("size")?.as_u64()?,
        mtime_ns: time("mtime_ns"),
        ctime_ns: time("ctime_ns"),
        modules_ns: time("modules_ns"),
        writer: word("writer")?,
        host: word("host")?,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let text = match args.next() {
        Some(path) => std::fs::read_to_string(path)?,
        None => RECORD.to_owned(),
    };
    let most = args.next().and_then(|n| n.parse::<u32>().ok());
    let key = key_of(&text).ok_or("not a file of cached capabilities")?;
    let start = Instant::now();
    let caps = QemuCaps::from_cache(&text, &key)?.shared();
    let loaded = start.elapsed();

    let parsed = parse(DOMAIN, ParseOptions::default());
    let mut domain = parsed.domain.ok_or("the domain has faults")?;
    assign_aliases(&mut domain);
    let host = HostFacts { arch: "x86_64".into(), ..HostFacts::default() };
    let settings = Settings::system("", Ids { uid: 64055, gid: 64055 });
    let inputs = Inputs {
        caps: &caps,
        host: &host,
        firmware: &[],
        settings: &settings,
        found: &Found::default(),
        id: 7,
        incoming: None,
    };
    let (start, mut count, mut arguments) = (Instant::now(), 0u32, 0);
    while most.map_or(start.elapsed() < Duration::from_secs(2), |most| count < most) {
        let plan = launch(&domain, &inputs).map_err(|faults| format!("refused: {faults:?}"))?;
        arguments = plan.exec().map_or(0, |exec| exec.args.len());
        count += 1;
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(count.max(1));
    println!("a plan of {arguments} arguments: {each:.1} us");
    println!(
        "{} bytes of cached capabilities read: {:.2} ms",
        text.len(),
        loaded.as_secs_f64() * 1e3
    );
    Ok(())
}
