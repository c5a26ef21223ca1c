//! What a start through the exec helper costs over a plain one: medians in microseconds.
//!
//! `cargo run --release -p host --example spawn_cost [COUNT]`; needs the `host-test-helper` binary
//! built in the same profile. As root it also measures joining cgroups, at once and after a second
//! of quiet (the kernel makes the first write after quiet wait).

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use host::cgroup::{Cgroups, Part, machine_name};
use host::spawn::{Helper, SpawnSpec, prepare};

fn median(mut samples: Vec<Duration>) -> u128 {
    samples.sort();
    samples.get(samples.len() / 2).map_or(0, Duration::as_micros)
}

async fn start(
    helper: &Helper,
    cgroups: Vec<PathBuf>,
) -> Result<[Duration; 3], Box<dyn std::error::Error>> {
    let log = std::fs::File::options().append(true).open("/dev/null")?;
    let begin = Instant::now();
    let mut spec = SpawnSpec::new("/bin/true", log.into());
    spec.cgroups = cgroups;
    let mut prepared = prepare(helper, spec).await?;
    let started = begin.elapsed();
    prepared.ready().await?;
    let ready = begin.elapsed();
    let process = prepared.go().await?;
    let running = begin.elapsed();
    process.exited().await?;
    Ok([started, ready, running])
}

async fn series(
    name: &str,
    helper: &Helper,
    count: usize,
    cgroups: &[PathBuf],
    quiet: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut samples = [const { Vec::new() }; 3];
    for _ in 0..count {
        tokio::time::sleep(quiet).await;
        for (list, sample) in samples.iter_mut().zip(start(helper, cgroups.to_vec()).await?) {
            list.push(sample);
        }
    }
    let [started, ready, running] = samples.map(median);
    println!("{name}: started {started}, ready {ready}, exec done {running}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut program = std::env::current_exe()?;
    program.pop();
    program.pop();
    program.push("host-test-helper");
    let helper = Helper { program, args: vec!["__exec".into()] };

    let mut plain = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        let mut child = Command::new("/bin/true").spawn()?;
        plain.push(begin.elapsed());
        child.wait()?;
    }
    println!("plain spawn: {}", median(plain));
    series("helper", &helper, count, &[], Duration::ZERO).await?;

    let group =
        Cgroups::detect()?.machine("/machine", &machine_name(std::process::id(), "spawn-cost"));
    if group.create(Part::Machine).and_then(|()| group.create(Part::Emulator)).is_ok() {
        let files = group.join_files(Part::Emulator);
        series("helper and cgroups", &helper, count, &files, Duration::ZERO).await?;
        series("the same after quiet", &helper, 15, &files, Duration::from_secs(1)).await?;
        for head_start in [0, 10, 20] {
            let mut samples = Vec::new();
            for _ in 0..15 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let warm = Cgroups::detect()?;
                let warming = tokio::task::spawn_blocking(move || warm.warm_up());
                tokio::time::sleep(Duration::from_millis(head_start)).await;
                samples.push(start(&helper, files.clone()).await?[2]);
                warming.await?;
            }
            println!("warmed up {head_start} ms before: exec done {}", median(samples));
        }
        group.remove(Part::Machine)?;
    }
    Ok(())
}
