//! Measures a libvirt daemon beside another in one run: `bench --ours PROGRAM [--libvirtd PROGRAM]`.
//!
//! Each daemon runs in a mount namespace with private, empty folders in the place of libvirt's own
//! (so root is needed), and is asked over its socket by a client of our own that adds next to
//! nothing. The two are measured in turn, never at once. `--only plug`: devices that come and go,
//! also by hand; `--only save`: readers beside a save; `--only calls`: all the rest. What is printed are medians where many
//! are taken; the ratio counts, not the number.

mod daemon;
mod measures;
mod plug;
mod save;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use daemon::Boxed;
use measures::Measure;

struct Arguments {
    ours: PathBuf,
    libvirtd: Option<PathBuf>,
    domains: usize,
    only: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let mut found = Arguments { ours: PathBuf::new(), libvirtd: None, domains: 1000, only: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--ours" => found.ours = value.into(),
            "--libvirtd" => found.libvirtd = Some(value.into()),
            "--domains" => found.domains = value.parse().map_err(|_| "--domains takes a number")?,
            "--only" if ["plug", "save", "calls"].contains(&value.as_str()) => {
                found.only = Some(value)
            }
            "--only" => return Err("--only takes plug, save or calls".into()),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if found.ours.as_os_str().is_empty() {
        return Err(
            "usage: bench --ours PROGRAM [--libvirtd PROGRAM] [--domains N] [--only plug|save|calls]"
                .into(),
        );
    }
    Ok(found)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(fault) => {
            eprintln!("bench: {fault}");
            return ExitCode::from(2);
        }
    };
    let ours = measured(&arguments, &arguments.ours, &["daemon"]);
    let theirs = arguments.libvirtd.as_ref().map(|program| measured(&arguments, program, &[]));
    print(&ours, theirs.as_deref());
    ExitCode::SUCCESS
}

fn measured(arguments: &Arguments, program: &Path, args: &[&str]) -> Vec<Measure> {
    let wanted = |part| arguments.only.as_deref().is_none_or(|only| only == part);
    let mut found = Vec::new();
    if wanted("calls") {
        found.extend(measures::all(Boxed::start(program, args), arguments.domains));
    }
    if wanted("plug") {
        found.extend(plug::all(&Boxed::start(program, args)));
    }
    if wanted("save") {
        found.extend(save::all(&Boxed::start(program, args)));
    }
    found
}

fn print(ours: &[Measure], theirs: Option<&[Measure]>) {
    println!("{:<44} {:>12} {:>12} {:>8}", "", "libvirtd", "ours", "better");
    for (index, own) in ours.iter().enumerate() {
        let other = theirs.and_then(|measures| measures.get(index));
        let ratio = other.map(|other| match own.more_is_better {
            true => own.value / other.value,
            false => other.value / own.value,
        });
        println!(
            "{:<44} {:>12} {:>12} {:>8}",
            format!("{} ({})", own.what, own.unit),
            other.map_or("-".into(), |other| format!("{:.2}", other.value)),
            format!("{:.2}", own.value),
            ratio.map_or("-".into(), |ratio| format!("{ratio:.1}x")),
        );
    }
}
