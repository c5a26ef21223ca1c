//! Entry points for fuzz targets: any bytes, no panic.

use crate::{AgentSession, Command, LineSplitter, Output, Session, cmd};

/// Feeds bytes to a monitor session, an agent session and a small line splitter, in two pieces.
pub fn fuzz_one(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let mut session = Session::new();
    session.submit(&cmd::query_status());
    let mut agent = AgentSession::new();
    agent.sync(1);
    let mut lines = LineSplitter::new(64);
    for bytes in [first, second] {
        session.receive(bytes);
        while let Ok(Some(output)) = session.poll() {
            inspect(output);
        }
        agent.receive(bytes);
        while let Ok(Some(_)) = agent.poll() {}
        lines.push(bytes);
        while let Ok(Some(_)) = lines.next_line() {}
    }
}

fn inspect(output: Output) {
    match output {
        Output::Event(event) => drop(event.kind()),
        Output::Reply { result: Ok(value), .. } | Output::Stray { result: Ok(value), .. } => {
            let _ = cmd::query_status().decode(value.clone());
            let _ = cmd::query_cpus_fast().decode(value.clone());
            let _ = cmd::query_version().decode(value.clone());
            let _ = cmd::query_machines().decode(value.clone());
            let _ = cmd::query_hotpluggable_cpus().decode(value.clone());
            let _ = cmd::query_chardev().decode(value.clone());
            let _ = cmd::query_iothreads().decode(value.clone());
            let _ = cmd::query_dump().decode(value.clone());
            let _ = cmd::query_migrate().decode(value.clone());
            let _ = cmd::query_vnc().decode(value.clone());
            let _ = cmd::query_cpu_definitions().decode(value.clone());
            let _ = Command::<()>::new("x").decode(value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::fuzz_one(&data);
        }

        #[test]
        fn broken_transcripts(at in 0usize..2500, byte in any::<u8>()) {
            let mut data = include_bytes!("../tests/data/pc.qmp").to_vec();
            if let Some(slot) = data.get_mut(at) {
                *slot = byte;
            }
            super::fuzz_one(&data);
        }
    }
}
