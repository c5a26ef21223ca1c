//! The programs that this crate's tests run: the exec helper as a binary, and a small "daemon" that
//! can be killed at a chosen step. Not installed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use host::spawn::{Helper, SpawnSpec, helper_main, prepare};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let arg = |n: usize| args.get(n).map_or("", String::as_str);
    match arg(1) {
        "__exec" => return helper_main(),
        "daemon" => daemon(arg(2), &args),
        "write" => write(arg(2), arg(3)),
        "tap" => tap(arg(2)),
        other => {
            eprintln!("unknown command '{other}'");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
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

/// `write PATH BYTES`: an atomic write; its error goes to standard output.
fn write(path: &str, bytes: &str) {
    let content = vec![b'x'; bytes.parse().unwrap_or(0)];
    match host::files::write_atomic(&PathBuf::from(path), &content, host::files::WriteMode::PRIVATE)
    {
        Ok(()) => println!("written"),
        Err(error) => println!("{error}"),
    }
}

/// `tap BRIDGE`: makes a bridge and a tap on it, and prints what came of it.
fn tap(bridge: &str) {
    let spec = host::netdev::TapSpec {
        name: "vnet%d".to_owned(),
        queues: 2,
        vnet_hdr: true,
        bridge: Some(bridge.to_owned()),
        mac: Some([0xfe, 0x54, 0, 1, 2, 3]),
        isolated: true,
        mtu: None,
    };
    match host::netdev::make_tap(&spec) {
        Ok(_) => println!("made without a bridge"),
        Err(error) => println!("{error}"),
    }
    if let Err(error) = host_sys::create_bridge(bridge) {
        return println!("{error}");
    }
    match host::netdev::make_tap(&spec) {
        Ok(tap) => {
            let (name, queues) = (tap.name.clone(), tap.queues.len());
            let there = host::netdev::index(&name).is_some();
            println!(
                "{name} {queues} {there} {:02x?}",
                host_sys::interface_mac(&name).unwrap_or_default()
            );
            drop(tap);
            println!("{}", host::netdev::index(&name).is_some());
        }
        Err(error) => println!("{error}"),
    }
}
