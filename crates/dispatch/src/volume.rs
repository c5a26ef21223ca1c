//! Storage volumes.

use crate::bind::{Request, arguments, later};
use crate::storage::{at_most, count, find, flags};
use crate::{Bound, Libvirt, Session};
use diag::VirError;
use engine::storage::{Download, Piece, Place, Pool, Pools, Upload, VolumeFlags};
use protocol::remote::{self, NonnullStorageVol, Procedure, procs};
use rpc::server::{Outcome, Stream, StreamIn};
use std::sync::Arc;

/// Most of a volume that is read at once: what a stream frame holds, so that pieces are not cut.
const PIECE: usize = 262_120;

/// Flag of uploads and downloads: holes are sent as such.
const SPARSE: u32 = 1;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    _: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let pools = service.engine.pools.clone();
    Bound::Done(match procedure {
        Procedure::StoragePoolNumOfVolumes => {
            later::<procs::StoragePoolNumOfVolumes, _>(request, move |args| async move {
                let volumes = pools.volumes(&find(&pools, &args.pool)?).await?;
                Ok(remote::StoragePoolNumOfVolumesRet { num: count(volumes.len()) })
            })
        }
        Procedure::StoragePoolListVolumes => {
            later::<procs::StoragePoolListVolumes, _>(request, move |args| async move {
                let volumes = pools.volumes(&find(&pools, &args.pool)?).await?;
                let names = volumes.keys().map(|name| name.to_string()).collect();
                let names = at_most(names, args.maxnames);
                Ok(remote::StoragePoolListVolumesRet { names })
            })
        }
        Procedure::StoragePoolListAllVolumes => {
            later::<procs::StoragePoolListAllVolumes, _>(request, move |args| async move {
                flags(args.flags, 0, "storagePoolListAllVolumes")?;
                let pool = find(&pools, &args.pool)?;
                let volumes = pools.volumes(&pool).await?;
                let ret = u32::try_from(volumes.len()).unwrap_or(u32::MAX);
                let vols = match args.need_results {
                    0 => Vec::new(),
                    _ => volumes.values().map(|volume| wire(&pool, volume)).collect(),
                };
                Ok(remote::StoragePoolListAllVolumesRet { vols, ret })
            })
        }
        Procedure::StorageVolLookupByName => {
            later::<procs::StorageVolLookupByName, _>(request, move |args| async move {
                let pool = find(&pools, &args.pool)?;
                let volume = pools.volume(&pool, &args.name).await?;
                Ok(remote::StorageVolLookupByNameRet { vol: wire(&pool, &volume) })
            })
        }
        Procedure::StorageVolLookupByKey => {
            later::<procs::StorageVolLookupByKey, _>(request, move |args| async move {
                let place = pools.volume_by_key(&args.key).await?;
                Ok(remote::StorageVolLookupByKeyRet { vol: wire(&place.pool, &place.volume) })
            })
        }
        Procedure::StorageVolLookupByPath => {
            later::<procs::StorageVolLookupByPath, _>(request, move |args| async move {
                let place = pools.volume_by_path(&args.path).await?;
                Ok(remote::StorageVolLookupByPathRet { vol: wire(&place.pool, &place.volume) })
            })
        }
        Procedure::StorageVolGetInfo => {
            later::<procs::StorageVolGetInfo, _>(request, move |args| async move {
                let info = pools.volume_info(&pool_of(&pools, &args.vol)?, &args.vol.name).await?;
                Ok(remote::StorageVolGetInfoRet {
                    r#type: i8::try_from(info.kind).unwrap_or(0),
                    capacity: info.capacity,
                    allocation: info.allocation,
                })
            })
        }
        Procedure::StorageVolGetInfoFlags => {
            later::<procs::StorageVolGetInfoFlags, _>(request, move |args| async move {
                flags(args.flags, 1, "storageVolGetInfoFlags")?;
                let info = pools.volume_info(&pool_of(&pools, &args.vol)?, &args.vol.name).await?;
                let physical = args.flags & 1 != 0;
                Ok(remote::StorageVolGetInfoFlagsRet {
                    r#type: i8::try_from(info.kind).unwrap_or(0),
                    capacity: info.capacity,
                    allocation: if physical { info.physical } else { info.allocation },
                })
            })
        }
        Procedure::StorageVolGetXmlDesc => {
            later::<procs::StorageVolGetXmlDesc, _>(request, move |args| async move {
                flags(args.flags, 0, "storageVolGetXMLDesc")?;
                let volume = pools.measured(&pool_of(&pools, &args.vol)?, &args.vol.name).await?;
                Ok(remote::StorageVolGetXmlDescRet { xml: volume.to_xml() })
            })
        }
        Procedure::StorageVolGetPath => {
            later::<procs::StorageVolGetPath, _>(request, move |args| async move {
                let volume = pools.volume(&pool_of(&pools, &args.vol)?, &args.vol.name).await?;
                let name = volume.target.path.clone().unwrap_or_default();
                Ok(remote::StorageVolGetPathRet { name })
            })
        }
        _ => return changes(pools, procedure, request),
    })
}

/// What changes a volume, and its bytes.
fn changes<'a, 'b>(pools: Pools, procedure: Procedure, request: Request<'a, 'b>) -> Bound<'a, 'b> {
    Bound::Done(match procedure {
        Procedure::StorageVolCreateXml => {
            later::<procs::StorageVolCreateXml, _>(request, move |args| async move {
                let flags = create_flags(args.flags, "storageVolCreateXML")?;
                let pool = find(&pools, &args.pool)?;
                let place = pools.create_volume(&pool, args.xml, flags, None).await?;
                Ok(remote::StorageVolCreateXmlRet { vol: wire(&place.pool, &place.volume) })
            })
        }
        Procedure::StorageVolCreateXmlFrom => {
            later::<procs::StorageVolCreateXmlFrom, _>(request, move |args| async move {
                let flags = create_flags(args.flags, "storageVolCreateXMLFrom")?;
                let pool = find(&pools, &args.pool)?;
                let from = pool_of(&pools, &args.clonevol)?;
                let volume = pools.measured(&from, &args.clonevol.name).await?;
                let source = Some(Place { pool: from, volume });
                let place = pools.create_volume(&pool, args.xml, flags, source).await?;
                Ok(remote::StorageVolCreateXmlFromRet { vol: wire(&place.pool, &place.volume) })
            })
        }
        Procedure::StorageVolDelete => {
            later::<procs::StorageVolDelete, _>(request, move |args| async move {
                let pool = pool_of(&pools, &args.vol)?;
                pools.delete_volume(&pool, &args.vol.name, args.flags).await
            })
        }
        Procedure::StorageVolResize => {
            later::<procs::StorageVolResize, _>(request, move |args| async move {
                let pool = pool_of(&pools, &args.vol)?;
                pools.resize_volume(&pool, &args.vol.name, args.capacity, args.flags).await
            })
        }
        Procedure::StorageVolWipe => {
            later::<procs::StorageVolWipe, _>(request, move |args| async move {
                flags(args.flags, 0, "storageVolWipePattern")?;
                pools.wipe_volume(&pool_of(&pools, &args.vol)?, &args.vol.name, 0).await
            })
        }
        Procedure::StorageVolWipePattern => {
            later::<procs::StorageVolWipePattern, _>(request, move |args| async move {
                flags(args.flags, 0, "storageVolWipePattern")?;
                let pool = pool_of(&pools, &args.vol)?;
                pools.wipe_volume(&pool, &args.vol.name, args.algorithm).await
            })
        }
        Procedure::StorageVolDownload => match arguments::<procs::StorageVolDownload>(&request) {
            Err(error) => Outcome::Error(error),
            Ok(args) => Outcome::later(async move {
                let opened = async {
                    flags(args.flags, SPARSE, "storageVolDownload")?;
                    let pool = pool_of(&pools, &args.vol)?;
                    let sparse = args.flags & SPARSE != 0;
                    let (name, offset, length) = (&args.vol.name, args.offset, args.length);
                    pools.download(&pool, name, offset, length, sparse).await
                };
                match opened.await {
                    Ok(source) => Outcome::stream(Vec::new(), |stream| send(source, stream)),
                    Err(error) => Outcome::Error(error),
                }
            }),
        },
        Procedure::StorageVolUpload => match arguments::<procs::StorageVolUpload>(&request) {
            Err(error) => Outcome::Error(error),
            Ok(args) => Outcome::later(async move {
                let opened = async {
                    flags(args.flags, SPARSE, "storageVolUpload")?;
                    let pool = pool_of(&pools, &args.vol)?;
                    pools.upload(&pool, &args.vol.name, args.offset, args.length).await
                };
                let sparse = args.flags & SPARSE != 0;
                match opened.await {
                    Ok(sink) => {
                        Outcome::stream(Vec::new(), move |stream| receive(sink, sparse, stream))
                    }
                    Err(error) => Outcome::Error(error),
                }
            }),
        },
        _ => return Bound::NotMine(request),
    })
}

/// Sends a volume's content. A client that goes away ends it.
async fn send(mut source: Download, mut stream: Stream) -> Result<(), VirError> {
    loop {
        let (back, piece) = on_a_thread(move || {
            let piece = source.next(PIECE);
            (source, piece)
        })
        .await?;
        source = back;
        let sent = match piece? {
            Piece::Data(data) => stream.send(&data).await,
            Piece::Hole(length) => {
                stream.send_hole(i64::try_from(length).unwrap_or(i64::MAX)).await
            }
            Piece::End => {
                // Gone or not: there is nothing left to do.
                let _ = stream.finish_sending().await;
                return Ok(());
            }
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// Writes what the client sends.
async fn receive(mut sink: Upload, sparse: bool, mut stream: Stream) -> Result<(), VirError> {
    while let Some(item) = stream.recv().await {
        let (back, written) = match item {
            StreamIn::Data(data) => {
                on_a_thread(move || {
                    let written = sink.data(&data);
                    (sink, written)
                })
                .await?
            }
            StreamIn::Hole { length, .. } => {
                let Some(length) = u64::try_from(length).ok().filter(|_| sparse) else {
                    return Err(VirError::invalid_arg("unexpected hole in a stream"));
                };
                on_a_thread(move || {
                    let written = sink.hole(length);
                    (sink, written)
                })
                .await?
            }
            StreamIn::Finish | StreamIn::Abort => return Ok(()),
        };
        written?;
        sink = back;
    }
    Ok(())
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VirError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| VirError::internal("the stream ended unexpectedly; the log says more"))
}

fn create_flags(given: u32, function: &str) -> Result<VolumeFlags, VirError> {
    // Bit 2 asks for a copy that shares its blocks; qemu-img does that where it can.
    flags(given, 1 | 2 | 4, function)?;
    Ok(VolumeFlags { preallocate_metadata: given & 1 != 0, validate: given & 4 != 0 })
}

/// The pool of a volume a client means.
fn pool_of(pools: &Pools, volume: &NonnullStorageVol) -> Result<Arc<Pool>, VirError> {
    pools.by_name(&volume.pool)
}

/// A volume as the wire names it.
fn wire(pool: &Pool, volume: &model::storage::Volume) -> NonnullStorageVol {
    NonnullStorageVol {
        pool: pool.name.to_string(),
        name: volume.name.clone(),
        key: volume.key.clone().unwrap_or_default(),
    }
}
