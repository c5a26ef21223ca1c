//! Effects on a machine of their own: mount and network namespaces (root only), other processes' locks.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use host::agent::{Agent, AgentError, Patience};
use host::lock::{LockError, PidFile, pid_file_holder, written_pid};
use qmp::cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

const HELPER: &str = env!("CARGO_BIN_EXE_host-test-helper");

/// Runs a shell script in new namespaces; `None` where that is not allowed.
fn isolated(namespaces: &str, script: &str) -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let output = Command::new("unshare").args([namespaces, "sh", "-c", script]).output().unwrap();
    let refused = String::from_utf8_lossy(&output.stderr).contains("unshare");
    (!refused).then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn full_disk_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let script = format!(
        "mount -t tmpfs -o size=16k none {path} && {HELPER} write {path}/vm.xml 3000 && {HELPER} write {path}/vm.xml 30000; \
         ls -A {path}; wc -c <{path}/vm.xml"
    );
    let Some(output) = isolated("-m", &script) else { return };
    let expected = format!(
        "written\ncannot write {path}/vm.xml: No space left on device (os error 28)\nvm.xml\n3000\n"
    );
    assert_eq!(output, expected);
}

#[test]
fn taps_on_bridges() {
    if !Path::new("/dev/net/tun").exists() {
        return;
    }
    let Some(output) = isolated("-n", &format!("{HELPER} tap br7")) else { return };
    assert_eq!(
        output,
        "Cannot get interface MTU on 'br7': No such device (os error 19)\n\
         vnet0 2 true [fe, 54, 00, 01, 02, 03]\nfalse\n"
    );
}

/// Another program's lock, as libvirtd's would be.
#[test]
fn pid_files_exclude_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.pid");
    let script = format!(
        "import fcntl,sys\nf=open('{}','w')\nfcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,1,0)\nprint(flush=True)\nsys.stdin.read()",
        path.display()
    );
    let python = |script: &str| {
        Command::new("python3")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut other = python(&script);
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(other.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    let error = PidFile::acquire(&path).unwrap_err();
    assert!(
        error.to_string().contains(&format!("is locked by process {} (python3", other.id())),
        "{error}"
    );
    assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == other.id()));
    assert_eq!(pid_file_holder(&path).unwrap(), Some(other.id()));
    drop(other.stdin.take());
    other.wait().unwrap();

    let ours = PidFile::acquire(&path).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::process::id().to_string().into_bytes(),
        "no line end"
    );
    assert_eq!(pid_file_holder(&path).unwrap(), Some(std::process::id()));
    let mut second = python(&script);
    assert!(!second.wait().unwrap().success(), "python must be refused");
    ours.release().unwrap();
    assert!(!path.exists());
    assert_eq!(written_pid(&path), None);
    assert_eq!(pid_file_holder(&path).unwrap(), None);
}

#[tokio::test]
async fn agent_with_deadlines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    // An agent that is deaf at first, then answers with a left-over before the sync.
    let guest = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        let mut turn = 0;
        loop {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                return seen;
            }
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            turn += 1;
            let answer = match text.split("\"id\":").nth(1) {
                Some(rest) if turn > 1 => {
                    let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    let mut bytes = b"{\"return\": 1}\n\xff{\"return\": ".to_vec();
                    bytes.extend(id.bytes());
                    bytes.extend(b"}\n");
                    bytes
                }
                None if text.contains("guest-ping") => b"{\"return\": {}}\n".to_vec(),
                None if text.contains("guest-info") => {
                    b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n"
                        .to_vec()
                }
                _ => Vec::new(),
            };
            seen.push(text);
            stream.write_all(&answer).await.unwrap();
        }
    });
    let mut agent = Agent::connect(&path).await.unwrap();
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(30));
    let patience = |sync, answer| Patience { sync, answer };
    assert!(matches!(
        agent.execute(cmd::guest::ping(), patience(short, long)).await,
        Err(AgentError::NotResponding)
    ));
    agent.execute(cmd::guest::ping(), patience(long, long)).await.unwrap();
    assert!(
        matches!(agent.execute(cmd::guest::info(), patience(long, long)).await, Err(AgentError::Agent(e)) if e.is_command_not_found())
    );
    assert!(matches!(
        agent.execute(cmd::guest::get_time(), patience(long, short)).await,
        Err(AgentError::Timeout { .. })
    ));
    agent.execute_silent(cmd::guest::shutdown("powerdown"), patience(long, short)).await.unwrap();
    agent.execute(cmd::guest::ping(), patience(long, long)).await.unwrap();
    drop(agent);
    let seen = guest.await.unwrap();
    assert!(seen.iter().any(|t| t.contains(r#"{"execute":"guest-shutdown","arguments":{"mode":"powerdown"}}"#)));
}
