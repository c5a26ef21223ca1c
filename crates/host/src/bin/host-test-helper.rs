//! The programs that this crate's tests run: the exec helper as a binary, and a small "daemon" that
//! can be killed at a chosen step. Not installed.

use std::path::PathBuf;
use std::time::Duration;

use host::spawn::{Helper, SpawnSpec, helper_main, prepare};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |n: usize| args.get(n).map_or("", String::as_str);
    match arg(1) {
        "__exec" => helper_main(),
        "daemon" => daemon(arg(2), &args),
        other => {
            eprintln!("unknown command '{other}'");
            std::process::exit(2);
        }
    }
}

/// `daemon STEP LOG PROGRAM ARG…`: goes up to STEP (`prepared`, `ready`, `running`), prints the pid
/// and sleeps until it is killed.
fn daemon(step: &str, args: &[String]) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("{error}"),
    };
    let rest: Vec<String> = args.iter().skip(3).cloned().collect();
    let [log, program, program_args @ ..] = rest.as_slice() else {
        return eprintln!("arguments missing");
    };
    let result: Result<(), Box<dyn std::error::Error>> = runtime.block_on(async {
        let log = host::files::open_log(&PathBuf::from(log))?;
        let mut spec = SpawnSpec::new(program, log.into());
        spec.args = program_args.iter().map(Into::into).collect();
        let mut prepared = prepare(&Helper::own_binary("__exec"), spec).await?;
        let pid = prepared.pid();
        if step == "prepared" {
            println!("{pid}");
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        prepared.ready().await?;
        if step == "ready" {
            println!("{pid}");
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        let _process = prepared.go().await?;
        println!("{pid}");
        tokio::time::sleep(Duration::from_secs(600)).await;
        Ok(())
    });
    if let Err(error) = result {
        eprintln!("{error}");
    }
}
