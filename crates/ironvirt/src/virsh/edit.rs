//! Editing a document in the user's editor, with another try when it is refused.

use std::io::{BufRead, IsTerminal, Write};
use std::process::Command;

use super::ctl::Ctl;
use super::fail::{Fail, Outcome, fail};
use super::util::os_error;

/// Lets the user edit what `read` gives and hands the result to `write` (its flag: without schema
/// validation). None: nothing was changed.
pub fn run<T>(
    ctl: &mut Ctl,
    read: impl Fn(&mut Ctl) -> Outcome<String>,
    mut write: impl FnMut(&mut Ctl, &str, bool) -> Outcome<T>,
) -> Outcome<Option<T>> {
    let original = read(ctl)?;
    let mut text = original.clone();
    let mut relax = false;
    loop {
        text = edit_text(ctl, &text)?;
        if text == original {
            return Ok(None);
        }
        // Somebody else may have changed it meanwhile.
        if read(ctl)? != original {
            fail!("ERROR: the XML configuration was changed by another user");
        }
        match write(ctl, &text, relax) {
            Ok(v) => return Ok(Some(v)),
            Err(fail) => {
                ctl.report(&fail.about(&text, "edited"));
                match ask(ctl)? {
                    Answer::Again => {}
                    Answer::Force => relax = true,
                    Answer::No => return Err(Fail::silent()),
                }
            }
        }
    }
}

enum Answer {
    Again,
    Force,
    No,
}

fn ask(ctl: &mut Ctl) -> Outcome<Answer> {
    ctl.flush();
    if !std::io::stdin().is_terminal() {
        return Ok(Answer::No);
    }
    loop {
        print!("Failed. Try again? [y,n,i,f,?]: ");
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).map_or(true, |n| n == 0) {
            return Ok(Answer::No);
        }
        match line.trim() {
            "y" => return Ok(Answer::Again),
            "f" | "i" => return Ok(Answer::Force),
            "n" => return Ok(Answer::No),
            _ => print!(
                "\ny - yes, start editor again\nn - no, throw away my changes\ni - turn off validation and try to redefine again\nf - force, try to redefine again\n? - print this help\n"
            ),
        }
    }
}

/// The text after the user edited it.
pub fn edit_text(ctl: &mut Ctl, text: &str) -> Outcome<String> {
    ctl.flush();
    let path = temporary(text)?;
    let result = edit_file(&path);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Fail::new(format!("{}: failed to read temporary file: {}", path.display(), os_error(&e)))
    });
    let _ = std::fs::remove_file(&path);
    result?;
    text
}

fn temporary(text: &str) -> Outcome<std::path::PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let dir = std::env::temp_dir();
    let stamp = super::util::now().subsec_nanos();
    for i in 0..100u32 {
        let path = dir.join(format!("virsh{}{:x}.xml", std::process::id(), stamp ^ i));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        if let Ok(mut f) = options.open(&path) {
            f.write_all(text.as_bytes()).map_err(|e| {
                Fail::new(format!(
                    "write: {}: failed to write to temporary file: {}",
                    path.display(),
                    os_error(&e)
                ))
            })?;
            return Ok(path);
        }
    }
    fail!("mkostemps: failed to create temporary file: {}", dir.display())
}

fn edit_file(path: &std::path::Path) -> Outcome {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|v| std::env::var(v).ok().filter(|s| !s.is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    // An editor with more than plain words in it is a shell command.
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:@".contains(c);
    let status = if editor.chars().all(plain) {
        let mut words = editor.split_whitespace();
        Command::new(words.next().unwrap_or("vi")).args(words).arg(path).status()
    } else {
        Command::new("sh").arg("-c").arg(format!("{editor} {}", path.display())).status()
    };
    let status =
        status.map_err(|e| Fail::new(format!("cannot execute '{editor}': {}", os_error(&e))))?;
    if !status.success() {
        fail!("{editor}: the editor failed ({status})");
    }
    Ok(())
}
