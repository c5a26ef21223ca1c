//! How fast a file is read as a tree: `cargo run --release -p xml --example speed -- FILE…`.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        let (mut rounds, start) = (0u32, Instant::now());
        while start.elapsed() < Duration::from_secs(1) {
            std::hint::black_box(xml::Document::parse(&text).map_err(|d| format!("{d:?}"))).ok();
            rounds += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        let bytes = text.len() as f64 * f64::from(rounds);
        println!("{path}: {:.0} MB/s, {:.0}/s", bytes / seconds / 1e6, f64::from(rounds) / seconds);
    }
    Ok(())
}
