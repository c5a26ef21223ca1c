//! Volume content in and out.

use super::*;
use crate::virsh::conn::StreamItem;
use crate::virsh::fail::fail;
use crate::virsh::util::os_error;
use protocol::remote::{StorageVolDownloadArgs, StorageVolUploadArgs, procs};
use std::io::{Read, Seek, SeekFrom, Write};

const SPARSE: u32 = 1;
const BLOCK: usize = 256 * 1024;

fn io(what: &str, path: &str, e: &std::io::Error) -> Fail {
    match what {
        // virsh gives no reason for these two.
        "cannot read" | "cannot create" => Fail::new(format!("{what} {path}")),
        _ => Fail::new(format!("{what} {path}: {}", os_error(e))),
    }
}

/// `vol-upload`
pub fn cmd_vol_upload(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let offset = cmd.ull("offset")?.unwrap_or(0);
    let length = cmd.ull("length")?.unwrap_or(0);
    let vol = volume(ctl, cmd, Some("pool"))?;
    let path = cmd.req("file")?.to_owned();
    let mut file = std::fs::File::open(&path).map_err(|e| io("cannot read", &path, &e))?;
    let sparse = cmd.has("sparse");
    let flags = if sparse { SPARSE } else { 0 };
    let name = vol.name.clone();
    let args = StorageVolUploadArgs { vol, offset, length, flags };
    let ((), stream) = ctl
        .conn()?
        .open_stream::<procs::StorageVolUpload>(&args)
        .ctx(format!("cannot upload to volume {name}"))?;
    let failed = || format!("cannot send data to volume {name}");
    let mut buffer = vec![0; BLOCK];
    loop {
        let n = file.read(&mut buffer).map_err(|e| io("cannot read", &path, &e))?;
        if n == 0 {
            break;
        }
        let data = &buffer[..n];
        if sparse && data.iter().all(|b| *b == 0) {
            stream.send_hole(n as u64).ctx(failed())?;
        } else {
            stream.send(data).ctx(failed())?;
        }
    }
    stream.finish().ctx(format!("cannot close volume {name}"))
}

/// `vol-download`
pub fn cmd_vol_download(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let offset = cmd.ull("offset")?.unwrap_or(0);
    let length = cmd.ull("length")?.unwrap_or(0);
    let vol = volume(ctl, cmd, Some("pool"))?;
    let path = cmd.req("file")?.to_owned();
    let created = !std::path::Path::new(&path).exists();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(|e| io("cannot create", &path, &e))?;
    let flags = if cmd.has("sparse") { SPARSE } else { 0 };
    let name = vol.name.clone();
    let args = StorageVolDownloadArgs { vol, offset, length, flags };
    let result = receive(ctl, &args, &name, &mut file, &path);
    if result.is_err() && created {
        let _ = std::fs::remove_file(&path);
    }
    result
}

fn receive(
    ctl: &mut Ctl,
    args: &StorageVolDownloadArgs,
    name: &str,
    file: &mut std::fs::File,
    path: &str,
) -> Outcome {
    let ((), stream) = ctl
        .conn()?
        .open_stream::<procs::StorageVolDownload>(args)
        .ctx(format!("cannot download from volume {name}"))?;
    while let Some(item) = stream.recv().ctx(format!("cannot receive data from volume {name}"))? {
        match item {
            StreamItem::Data(d) => file.write_all(&d).map_err(|e| io("cannot write", path, &e))?,
            StreamItem::Hole(n) => {
                let Ok(n) = i64::try_from(n) else {
                    fail!("cannot write {path}: hole too large");
                };
                file.seek(SeekFrom::Current(n)).map_err(|e| io("cannot write", path, &e))?;
            }
        }
    }
    // A hole at the end leaves the file shorter than what was received.
    let end = file.stream_position().map_err(|e| io("cannot write", path, &e))?;
    file.set_len(end).map_err(|e| io("cannot write", path, &e))?;
    stream.finish().ctx(format!("cannot close volume {name}"))
}
