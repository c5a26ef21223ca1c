//! The command line without a daemon: help pages, parse errors, scripts, completion.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn ironvirt(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ironvirt"))
        .args(args)
        .env_remove("VIRSH_DEFAULT_CONNECT_URI")
        .env_remove("LIBVIRT_DEFAULT_URI")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn stdout(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// All help pages in one file; `UPDATE=1` rewrites it.
#[test]
fn help_pages() {
    let all = stdout(&ironvirt(&["help"], ""));
    let names: Vec<String> = all
        .lines()
        .filter_map(|l| l.strip_prefix("    "))
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 250, "{} commands", names.len());
    let mut text = all;
    for n in &names {
        let page = ironvirt(&["help", n], "");
        assert!(page.status.success(), "{n}: {}", stderr(&page));
        text.push_str(&stdout(&page));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/virsh/help.golden");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &text).expect("the golden file is written");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden file");
    assert!(text == expected, "help pages changed; UPDATE=1 rewrites {}", golden.display());
}

#[test]
fn parse_errors() {
    for (line, expected) in [
        ("foo", "error: unknown command: 'foo'\n"),
        ("list --foo", "error: command 'list' doesn't support option --foo\n"),
        ("list foo", "error: unexpected data 'foo'\n"),
        ("domid", "error: command 'domid' requires <domain> option\n"),
        ("domid --domain", "error: expected syntax: --domain <string>\n"),
        ("list --all=3", "error: invalid '=' after option --all\n"),
        ("domid x --domain y", "error: option --domain already seen\n"),
        ("echo \"a", "error: missing \"\n"),
        ("uri; foo", "error: unknown command: 'foo'\n"),
    ] {
        let o = ironvirt(&[line], "");
        assert_eq!(o.status.code(), Some(1), "{line}");
        assert_eq!(stderr(&o), expected, "{line}");
        assert_eq!(stdout(&o), "", "{line}");
    }
}

#[test]
fn scripts_on_standard_input() {
    let o = ironvirt(&[], "echo a; echo 'b c'\nfoo\nquit\necho never\n");
    assert_eq!(
        stdout(&o),
        "Welcome to virsh, the virtualization interactive terminal.\n\n\
         Type:  'help' for help with commands\n       'quit' to quit\n\n\
         virsh # echo a; echo 'b c'\na\nb c\nvirsh # foo\nvirsh # quit\n\n"
    );
    assert_eq!(stderr(&o), "error: unknown command: 'foo'\n");
    assert!(o.status.success());
    let o = ironvirt(&["-q", "-r"], "echo a");
    assert_eq!(stdout(&o), "virsh > echo a\navirsh > \n");
}

#[test]
fn completion_from_the_registry() {
    for (line, expected) in [
        ("complete -- ech", "echo\n\n"),
        ("complete -- echo --xm --s", "--shell\n--split\n--string\n\n"),
        ("complete -- reboot --mode a", "acpi\nagent\n\n"),
        ("complete -- nosuch a", "\n"),
        ("complete -- define /et", "\n"),
    ] {
        assert_eq!(stdout(&ironvirt(&[line], "")), expected, "{line}");
    }
}

#[test]
fn json_says_the_same() {
    let o = ironvirt(&["-o", "json", "echo", "hello"], "");
    assert_eq!(stdout(&o), "{\"output\":\"hello\"}\n");
}
