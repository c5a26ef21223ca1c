//! The helper overwrites descriptor numbers; whatever order and overlap, each must arrive where it was sent.

use std::io::Write;
use std::os::fd::OwnedFd;

use host::process::Exit;
use host::spawn::{Helper, SpawnSpec, prepare};

#[tokio::test]
async fn overlapping_numbers() {
    // Low numbers are those the helper itself received them under.
    for numbers in [[3, 4, 5, 6], [6, 5, 4, 3], [4, 3, 9, 5], [30, 3, 31, 4]] {
        let dir = tempfile::tempdir().unwrap();
        let log = host::files::open_log(&dir.path().join("log")).unwrap();
        let mut spec = SpawnSpec::new("/bin/sh", log.into());
        let reads: String = numbers.iter().map(|n| format!("read x <&{n}; echo $x; ")).collect();
        // dash redirects only one-digit numbers, so larger ones go through /proc.
        let reads = reads.replace("<&30", "</proc/self/fd/30").replace("<&31", "</proc/self/fd/31");
        spec.args = vec!["-c".into(), reads.into()];
        for (index, number) in numbers.iter().enumerate() {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writeln!(writer, "message {index}").unwrap();
            spec.fds.push((OwnedFd::from(reader), *number));
        }
        let helper = Helper {
            program: env!("CARGO_BIN_EXE_host-test-helper").into(),
            args: vec!["__exec".into()],
        };
        let mut prepared = prepare(&helper, spec).await.unwrap();
        prepared.ready().await.unwrap();
        assert_eq!(prepared.go().await.unwrap().exited().await.unwrap(), Exit::Code(0));
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(log, "message 0\nmessage 1\nmessage 2\nmessage 3\n", "{numbers:?}");
    }
}
