//! Asks `xmllint` whether documents are valid by a schema of libvirt's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use super::FOLDER;

/// What speaks against each of these documents; nothing against a valid one. `None` where there is
/// no `xmllint`.
pub fn faults(schema: &str, name: &str, documents: &[String]) -> Option<Vec<String>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{schema}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for documents");
    let mut places = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let path = folder.join(format!("{index}.xml"));
        fs::write(&path, document).expect("a document is written");
        places.insert(path.display().to_string(), index);
    }
    let mut found = vec![String::new(); documents.len()];
    let paths: Vec<&String> = places.keys().collect();
    // A command line has room for so many.
    for some in paths.chunks(1000) {
        let mut command = Command::new("xmllint");
        command.args(["--noout", "--relaxng"]).arg(format!("{FOLDER}/{schema}")).args(some);
        let said = match command.output() {
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("xmllint: {error}"),
        };
        for line in said.lines() {
            let path = line.split(['\u{20}', ':']).next().unwrap_or_default();
            if let Some(index) = places.get(path)
                && !line.ends_with(" validates")
            {
                let _ = writeln!(found[*index], "{line}");
            }
        }
    }
    let _ = fs::remove_dir_all(&folder);
    Some(found)
}
