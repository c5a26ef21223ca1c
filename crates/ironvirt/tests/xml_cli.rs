//! `xml check` and `xml diff`, without a daemon.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs in a folder that holds the files.
fn xml(files: &[(&str, &str)], args: &[&str], stdin: &str) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("a file is written");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_ironvirt"))
        .args(args)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TEN: &str = "<domain type='kwm'>
  <name>web</name>
  <memory unit='kilo'>65536</memory>
  <vcpu>two</vcpu>
  <os><type arch='x86_64'>hvm</type><boot dev='hdd'/></os>
  <on_crash>explode</on_crash>
  <devices>
    <disk type='fiel' device='disk'>
      <target dev='vda' bus='virito'/>
    </disk>
    <interface type='usr'/>
    <graphics type='vcn'/>
    <rng model='virtoi'><backend model='random'/></rng>
  </devices>
</domain>
";

const GOOD: &str = "<domain type='qemu'>
  <name>web</name>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><source file='/b'/><target dev='vdb' bus='virtio'/></disk>
  </devices>
</domain>
";

#[test]
fn ten_mistakes_are_shown_in_ten_pictures() {
    let out = xml(&[("ten.xml", TEN)], &["xml", "check", "ten.xml"], "");
    let shown = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(shown.matches(" --> ten.xml:").count(), 10, "{shown}");
    for part in [
        "Did you mean 'kvm'?",
        " --> ten.xml:9:30\n",
        "9 |       <target dev='vda' bus='virito'/>\n  |                              ^^^^^^\n  = Did you mean 'virtio'?",
        "Did you mean 'vnc'?",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert_eq!(text(&out.stdout), "ten.xml: domain: 10 errors\n\n");
}

#[test]
fn documents_of_several_kinds_and_from_standard_input() {
    let pool = "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>";
    let args = ["xml", "check", "good.xml", "-", "none.xml"];
    let out = xml(&[("good.xml", GOOD)], &args, pool);
    assert_eq!(
        text(&out.stdout),
        "good.xml: domain: valid\nstandard input: storage pool: valid\n\n"
    );
    assert!(text(&out.stderr).contains("Failed to open file 'none.xml'"), "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn strict_refuses_what_would_be_left_out() {
    let odd = GOOD.replace("<vcpu>", "<vcpus2/><vcpu>");
    let lax = xml(&[("a.xml", &odd)], &["xml", "check", "a.xml"], "");
    assert_eq!(
        (lax.status.code(), text(&lax.stdout)),
        (Some(0), "a.xml: domain: 1 warning\n\n".into())
    );
    let strict = xml(&[("a.xml", &odd)], &["xml", "check", "--strict", "a.xml"], "");
    assert_eq!(strict.status.code(), Some(1));
    assert!(text(&strict.stderr).starts_with("error: "), "{}", text(&strict.stderr));
}

#[test]
fn findings_as_data() {
    let out = xml(&[("ten.xml", TEN)], &["-o", "json", "xml", "check", "ten.xml"], "");
    let data: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(data[0]["kind"], "domain");
    assert_eq!(data[0]["valid"], false);
    let found = data[0]["diagnostics"].as_array().expect("a list");
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|d| d["line"].is_u64() && d["column"].is_u64()));
    assert_eq!(text(&out.stderr), "");
}

#[test]
fn differences_and_when_they_take_effect() {
    let new = GOOD
        .replace("<vcpu>2", "<vcpu current='1'>2")
        .replace("machine='pc'", "machine='q35'")
        .replace("<name>web", "<name>db")
        .replace("<disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/></disk>", "");
    let files = [("a.xml", GOOD), ("b.xml", new.as_str())];
    let out = xml(&files, &["xml", "diff", "a.xml", "b.xml"], "");
    assert_eq!(
        text(&out.stdout),
        "name/text() (never)\n  - web\n  + db\n\
         vcpu/@current (live)\n  + 1\n\
         os/type/@machine (next start)\n  - pc\n  + q35\n\
         devices/disk[target/@dev='vda'] (live)\n  - <disk type='file' device='disk'>\n  \
         -   <source file='/a'/>\n  -   <target dev='vda' bus='virtio'/>\n  - </disk>\n\n"
    );
    assert_eq!(out.status.code(), Some(1));
    let out = xml(&files, &["-o", "json", "xml", "diff", "a.xml", "b.xml"], "");
    assert_eq!(out.status.code(), Some(1));
    let data: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(data[1]["path"], "vcpu/@current");
    assert_eq!(data[1]["takes-effect"], "live");
    let same = xml(&files, &["xml", "diff", "a.xml", "a.xml"], "");
    assert_eq!(text(&same.stdout), "No differences\n\n");
    assert_eq!(same.status.code(), Some(0));
    let last = xml(&files, &["xml diff a.xml b.xml; xml diff a.xml a.xml"], "");
    assert_eq!(last.status.code(), Some(0), "the last command decides");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let pool = "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>";
    let files = [("a.xml", GOOD), ("p.xml", pool), ("ten.xml", TEN)];
    for (args, expected) in [
        (&["a.xml", "p.xml"][..], "error: a domain and a storage pool cannot be compared\n"),
        (&["a.xml", "ten.xml"], "error: ten.xml cannot be read\n"),
        (&["a.xml"], "error: 'xml diff' requires <file> option\n"),
        (&["a.xml", "a.xml", "a.xml"], "error: unexpected data 'a.xml'\n"),
    ] {
        let mut line = vec!["xml", "diff"];
        line.extend(args);
        let out = xml(&files, &line, "");
        assert!(text(&out.stderr).ends_with(expected), "{line:?}: {}", text(&out.stderr));
        assert_eq!(out.status.code(), Some(2));
    }
    let out = xml(&[], &["xml", "chek", "a"], "");
    assert!(text(&out.stderr).contains("did you mean 'check'?"));
}
