//! The one form of values that may be written in several: sizes to their unit, unused parts dropped.

mod chardevs;
mod interfaces;

use diag::{Diagnostic, ErrorCode, Severity};
use xml::YesNo;

use super::Domain;
use super::clock::{Clock, ClockBasis, ClockOffset};
use super::devices::controller::ControllerType;
use super::devices::disk::{
    BackingStore, DiskMirror, DiskSource, Encryption, ImageFormat, MetadataCache, NetworkTransport,
    SourceIdentity, StorageType,
};
use super::devices::filesystem::{FilesystemDriver, MultiDevs};
use super::devices::graphics::{GraphicsType, SpiceMode};
use super::devices::hostdev::HostdevType;
use super::devices::rng::RngBackendModel;
use super::devices::tpm::{Tpm, TpmBackendType};
use super::features::{HyperV, HyperVMode};
use super::os::OsTypeName;
use super::scalar::scale;
use super::seclabel::{Seclabel, SeclabelType};
use super::sysinfo::Sysinfo;
use super::tune::{BlkioDevice, FibreChannel};

fn error(out: &mut Vec<Diagnostic>, message: String) {
    out.push(Diagnostic {
        rule: "domain.size",
        severity: Severity::Error,
        code: ErrorCode::INVALID_ARG,
        span: None,
        message,
        domain: None,
        hints: Vec::new(),
    });
}

/// A label has what its kind has, and says whether files get it.
fn seclabel(l: &mut Seclabel) {
    if l.model.as_deref() == Some("none") {
        l.kind = SeclabelType::None;
    }
    match l.kind {
        SeclabelType::Dynamic if l.model.is_some() => {
            l.relabel.get_or_insert(YesNo::Yes);
        }
        SeclabelType::Static if l.model.is_some() => {
            l.relabel.get_or_insert(YesNo::No);
            l.base_label = None;
        }
        SeclabelType::None if l.relabel != Some(YesNo::Yes) => {
            *l = Seclabel { kind: l.kind, model: l.model.take(), ..Seclabel::default() };
        }
        _ => {}
    }
}

/// Converts `value` in `unit` to multiples of `to` bytes, written as `name`.
fn to_unit(
    value: &mut u64,
    unit: &mut Option<String>,
    default: u64,
    (to, name): (u64, &str),
    out: &mut Vec<Diagnostic>,
) {
    match scale(*value, unit.as_deref(), default) {
        Some(bytes) => {
            *value = bytes.div_ceil(to);
            *unit = Some(name.to_owned());
        }
        None if unit
            .as_deref()
            .is_some_and(|u| !u.is_empty() && super::scalar::unit_bytes(u).is_none()) =>
        {
            error(out, format!("unknown suffix '{}'", unit.as_deref().unwrap_or_default()));
        }
        None => {
            error(out, format!("value too large: {value}{}", unit.as_deref().unwrap_or_default()));
            if let Some(last) = out.last_mut() {
                last.code = ErrorCode::OVERFLOW;
            }
        }
    }
}

const KIB: (u64, &str) = (1024, "KiB");

/// Brings a domain just read into the form that is written.
pub fn canonicalize(d: &mut Domain, out: &mut Vec<Diagnostic>) {
    if let Some(h) = d.memory_backing.as_mut().and_then(|m| m.hugepages.as_mut()) {
        for p in &mut h.pages {
            to_unit(&mut p.size, &mut p.unit, 1024, KIB, out);
        }
    }
    if let Some(n) = d.cpu.as_mut().and_then(|c| c.numa.as_mut()) {
        for c in &mut n.cells {
            to_unit(&mut c.memory, &mut c.unit, 1024, KIB, out);
            for cache in &mut c.caches {
                // libvirt passes over the units that are written here.
                for (v, unit) in [(&mut cache.size, "KiB"), (&mut cache.line, "B")] {
                    if let Some(v) = v {
                        v.unit = Some(unit.to_owned());
                    }
                }
            }
        }
        for b in n.interconnects.iter_mut().flat_map(|i| &mut i.bandwidths) {
            to_unit(&mut b.value, &mut b.unit, 1024, KIB, out);
        }
    }
    d.sysinfo.iter_mut().for_each(Sysinfo::canonicalize);
    if let Some(t) = d.cpu_tune.as_mut() {
        for c in t.cache_tunes.iter_mut().flat_map(|c| &mut c.caches) {
            short_unit(&mut c.size, &mut c.unit, 1024, out);
        }
    }
    if let Some(f) = d.features.as_mut() {
        if let Some(teardown) = f.async_teardown.as_mut() {
            teardown.enabled.get_or_insert(xml::YesNo::Yes);
        }
        if let Some(t) = f.tcg.as_mut().and_then(|t| t.tb_cache.as_mut()) {
            to_unit(&mut t.size, &mut t.unit, 1024, KIB, out);
        }
        f.tcg = f.tcg.take().filter(|t| t.tb_cache.as_ref().is_some_and(|cache| cache.size > 0));
        if let Some(smm) = f.smm.as_mut() {
            if smm.state == Some(xml::OnOff::Off) {
                smm.tseg = None;
            }
            if let Some(t) = smm.tseg.as_mut() {
                short_unit(&mut t.size, &mut t.unit, 1 << 20, out);
            }
        }
        if let Some(hyperv) = f.hyperv.as_mut().filter(|h| h.mode == HyperVMode::Passthrough) {
            // The host's are taken, whatever is listed.
            *hyperv = HyperV { mode: HyperVMode::Passthrough, ..HyperV::default() };
        }
    }
    if let Some(b) = d.blkio_tune.as_mut() {
        b.devices.retain(BlkioDevice::limits);
    }
    d.blkio_tune = d.blkio_tune.take().filter(|b| *b != Default::default());
    if let Some(r) = d.resource.as_mut() {
        let named = |f: &FibreChannel| f.app_id.as_ref().is_some_and(|id| !id.is_empty());
        r.fibre_channel = r.fibre_channel.take().filter(named);
    }
    if let Some(clock) = d.clock.as_mut() {
        self::clock(clock);
    }
    if let Some(os) = d.os.as_mut() {
        os.firmware_info = os.firmware_info.take().filter(|info| !info.features.is_empty());
        // A place that is described has no path; the text is that of the description.
        if let Some(nvram) = os.nvram.as_mut().filter(|nvram| nvram.kind.is_some()) {
            nvram.path = None;
        }
        // libvirt has no room for more, nor programs to start in a machine.
        os.boot.truncate(BOOT_DEVICES);
        if os.kind.name == OsTypeName::Hvm {
            os.init = None;
        }
    }
    d.key_wrap = d.key_wrap.take().filter(|wrap| !wrap.ciphers.is_empty());
    if let [only] = d.seclabels.as_mut_slice() {
        // Nothing is said of who labels, nor of a label: nobody does.
        let silent = only.model.is_none()
            && only.base_label.is_none()
            && only.label.is_none()
            && only.kind_given;
        let dynamic = only.kind == SeclabelType::Dynamic && only.relabel != Some(YesNo::No);
        if silent && (dynamic || only.kind == SeclabelType::None) {
            only.kind = SeclabelType::None;
            only.relabel = only.relabel.filter(|_| !dynamic);
            only.model = Some("none".to_owned());
        }
    }
    for label in &mut d.seclabels {
        label.kind_given = false;
    }
    d.seclabels.iter_mut().for_each(seclabel);
    if let Some(m) = d.metadata.as_mut() {
        m.keep_one_per_namespace();
    }
    super::walk::for_each_info(d, &mut |i| {
        if let Some(p) = i.boot.and_then(|b| b.as_mut()).and_then(|b| b.loadparm.as_mut()) {
            p.make_ascii_uppercase();
        }
    });
    let Some(dev) = d.devices.as_mut() else { return };
    for disk in &mut dev.disks {
        if let Some(s) = disk.source.as_mut() {
            keep_fields_of(s, disk.kind);
        }
        disk.encryption.as_deref_mut().into_iter().for_each(keep_cipher);
        disk.geometry = disk.geometry.take().filter(|g| g.cyls > 0 && g.heads > 0 && g.secs > 0);
        if disk.source.as_ref().is_some_and(|s| *s == DiskSource::default()) {
            disk.source = None;
        }
        if let Some(m) = disk.mirror.as_mut() {
            old_mirror(m);
        }
        let mut next = disk.backing_store.as_deref_mut();
        while let Some(b) = next {
            backing(b, out);
            next = b.backing_store.as_deref_mut();
        }
        if let Some(s) = disk
            .driver
            .as_mut()
            .and_then(|d| d.metadata_cache.as_mut())
            .and_then(|m| m.max_size.as_mut())
        {
            to_unit(&mut s.size, &mut s.unit, 1, (1, "bytes"), out);
        }
        if let Some(driver) = disk.driver.as_mut() {
            driver.metadata_cache = driver.metadata_cache.take().filter(caches);
        }
    }
    for c in &mut dev.controllers {
        if !matches!(c.kind, ControllerType::VirtioSerial | ControllerType::Usb) {
            c.ports = None;
        }
        if c.kind != ControllerType::VirtioSerial {
            c.vectors = None;
        }
        let root = matches!(c.model.as_deref(), Some("pci-root" | "pcie-root"));
        if c.kind != ControllerType::Pci || !root {
            c.pcihole64 = None;
        }
        if let Some(h) = c.pcihole64.as_mut() {
            to_unit(&mut h.size, &mut h.unit, 1024, KIB, out);
        }
        if c.kind != ControllerType::Pci {
            c.pci_model = None;
            c.target = None;
        }
    }
    for r in &mut dev.rngs {
        // Only a source of the host's has a file.
        if r.backend.model == RngBackendModel::Egd {
            r.backend.device = None;
        }
        r.rate = r.rate.take().filter(|rate| rate.bytes > 0);
    }
    chardevs::canonicalize(dev);
    interfaces::canonicalize(&mut dev.interfaces, out);
    for t in &mut dev.tpms {
        t.backend.profile = t.backend.profile.take().filter(|p| *p != Default::default());
        if let Some(s) = t.backend.source.as_mut().filter(|s| s.kind == "unix") {
            s.mode.get_or_insert_default();
        }
        tpm(t);
    }
    for f in &mut dev.filesystems {
        if let Some(driver) = f.driver.as_mut().filter(|d| d.kind.is_none()) {
            // What belongs to a kind of driver means nothing without one.
            *driver = FilesystemDriver {
                virtio: std::mem::take(&mut driver.virtio),
                ..FilesystemDriver::default()
            };
        }
        // Only containers' folders have drivers with names.
        f.driver.as_mut().into_iter().for_each(|driver| driver.name = None);
        f.driver = f.driver.take().filter(|d| *d != FilesystemDriver::default());
        f.source = f.source.take().and_then(|source| source.of_kind(f.kind));
        f.multi_devs = f.multi_devs.filter(|multi| *multi != MultiDevs::Default);
        for mode in [&mut f.fmode, &mut f.dmode] {
            *mode = mode.take().filter(|mode| !mode.bytes().all(|c| c == b'0') || mode.is_empty());
        }
        for mode in [&mut f.fmode, &mut f.dmode].into_iter().flatten() {
            if let Ok(n) = u32::from_str_radix(mode, 8) {
                *mode = format!("{n:04o}");
            }
        }
    }
    for c in dev.controllers.iter_mut().filter(|c| c.kind == ControllerType::Usb) {
        let start = match c.model.as_deref() {
            Some("ich9-uhci1") => 0,
            Some("ich9-uhci2") => 2,
            Some("ich9-uhci3") => 4,
            _ => continue,
        };
        c.master.get_or_insert(super::devices::controller::UsbMaster { startport: start });
    }
    for h in &mut dev.hostdevs {
        if h.model.as_deref() == Some("vfio-ap") {
            // It is on no bus.
            h.address = None;
        }
        if h.kind == Some(HostdevType::Pci)
            && let Some(a) = h.source.as_mut().and_then(|s| s.address.as_mut())
        {
            // All four parts are written; the word of the bus is kept when it is no number.
            a.domain.get_or_insert_default();
            a.bus = Some(a.bus.take().map_or_else(|| "0x00".to_owned(), |b| hex_bus(&b)));
            a.slot.get_or_insert_default();
            a.function.get_or_insert_default();
        }
    }
    for r in dev.redir_filters.iter_mut().flat_map(|f| &mut f.rules) {
        for v in [&mut r.class, &mut r.vendor, &mut r.product, &mut r.version] {
            *v = v.take().filter(|v| v != "-1");
        }
        if let Some(v) = r.version.as_mut()
            && let Some((major, minor)) = v.split_once('.')
            && minor.len() == 1
        {
            *v = format!("{major}.{minor}0");
        }
    }
    for g in &mut dev.graphics {
        // Only some displays have an option of OpenGL.
        g.gl = g.gl.take().filter(|gl| match g.kind {
            GraphicsType::Sdl | GraphicsType::Spice | GraphicsType::Dbus => true,
            GraphicsType::EglHeadless => gl.rendernode.is_some(),
            _ => false,
        });
        // Others have sound of their own.
        g.audio =
            g.audio.take().filter(|_| matches!(g.kind, GraphicsType::Vnc | GraphicsType::Dbus));
        if g.kind == GraphicsType::Spice {
            // What leaves the choice to QEMU says nothing.
            g.default_mode = g.default_mode.filter(|mode| *mode != SpiceMode::Any);
            g.channels.retain(|channel| channel.mode != SpiceMode::Any);
        }
    }
    for s in &mut dev.shmems {
        s.size = s.size.take().filter(|size| size.size != 0);
        let Some(size) = s.size.as_mut() else { continue };
        // What is no multiple of a MiB stays as it is, so that the checks see it.
        let whole = scale(size.size, size.unit.as_deref(), 1).is_some_and(|b| b % (1 << 20) == 0);
        let to = if whole { (1 << 20, "M") } else { (1, "bytes") };
        to_unit(&mut size.size, &mut size.unit, 1, to, out);
    }
}

/// The host's first TPM is the one that is meant; what says nothing is dropped.
fn tpm(t: &mut Tpm) {
    let b = &mut t.backend;
    if b.kind == TpmBackendType::Passthrough {
        b.device.get_or_insert_default().path.get_or_insert_with(|| "/dev/tpm0".to_owned());
    }
}

/// A PCI bus as two hexadecimal digits; what is no number stays for the checks.
fn hex_bus(text: &str) -> String {
    match <super::scalar::Hex<2> as xml::XmlValue>::parse(text) {
        Ok(n) => format!("0x{:02x}", n.0),
        Err(_) => text.to_owned(),
    }
}

/// The mirror of a disk as it was written before it had a source.
fn old_mirror(m: &mut DiskMirror) {
    let (None, None, Some(file)) = (m.kind, &m.source, m.file.clone()) else { return };
    m.kind = Some(StorageType::File);
    m.job.get_or_insert_with(|| "copy".to_owned());
    let format = m.format.get_or_insert_with(|| "raw".to_owned()).clone();
    m.image_format.get_or_insert(ImageFormat { kind: format, metadata_cache: None });
    m.source = Some(DiskSource { file: Some(file), ..DiskSource::default() });
}

fn backing(b: &mut BackingStore, out: &mut Vec<Diagnostic>) {
    if b.kind.is_none() {
        // Without a type it is the end of the chain, whatever it holds.
        *b = BackingStore::default();
    }
    if let (Some(s), Some(kind)) = (b.source.as_mut(), b.kind) {
        s.startup_policy = None;
        keep_fields_of(s, kind);
    }
    if let Some(s) =
        b.format.as_mut().and_then(|f| f.metadata_cache.as_mut()).and_then(|m| m.max_size.as_mut())
    {
        to_unit(&mut s.size, &mut s.unit, 1, (1, "bytes"), out);
    }
    if let Some(format) = b.format.as_mut() {
        format.metadata_cache = format.metadata_cache.take().filter(caches);
    }
    let kind = b.kind.unwrap_or_default();
    b.source = b.source.take().filter(|source| says_something(kind, source));
}

/// Whether a place is more than an empty element. Some kinds must say where they are: of these the
/// empty element stays, for the checks.
fn says_something(kind: StorageType, source: &DiskSource) -> bool {
    use StorageType::*;
    matches!(kind, Network | Nvme | Vhostuser | Vhostvdpa) || *source != DiskSource::default()
}

/// Whether it says anything.
fn caches(cache: &MetadataCache) -> bool {
    cache.max_size.as_ref().is_some_and(|s| s.size > 0)
}

/// TSEG and the parts of a cache keep the biggest unit that divides them.
fn short_unit(value: &mut u64, unit: &mut Option<String>, default: u64, out: &mut Vec<Diagnostic>) {
    let Some(bytes) = scale(*value, unit.as_deref(), default) else {
        error(out, format!("unknown suffix '{}'", unit.as_deref().unwrap_or_default()));
        return;
    };
    let (mut n, mut u) = (bytes, 0);
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    while n >= 1024 && n % 1024 == 0 && u + 1 < UNITS.len() {
        n /= 1024;
        u += 1;
    }
    *value = n;
    *unit = UNITS.get(u).map(|s| (*s).to_owned());
}

/// Only LUKS has a cipher.
fn keep_cipher(e: &mut Encryption) {
    if e.format != "luks" {
        e.cipher = None;
        e.ivgen = None;
    }
}

/// Drops what the protocol of a network source does not have.
fn keep_fields_of_protocol(s: &mut DiskSource) {
    for h in s.hosts.iter_mut().filter(|h| h.transport == Some(NetworkTransport::Unix)) {
        h.name = None;
        h.port = None;
    }
    let protocol = s.protocol.as_deref().unwrap_or_default();
    let is = |names: &[&str]| names.contains(&protocol);
    if !is(&["http", "https"]) {
        s.query = None;
        s.cookies = None;
    }
    if !is(&["https", "ftps"]) {
        s.ssl = None;
    }
    if !is(&["http", "https", "ftp", "ftps"]) {
        s.readahead = None;
        s.timeout = None;
    }
    if !is(&["nbd"]) {
        s.reconnect = None;
    }
    if !is(&["ssh"]) {
        s.known_hosts = None;
    }
    if !is(&["ssh", "nfs"]) {
        s.identity = None;
    }
    if let Some(who) = s.identity.take() {
        let (ssh, nfs) = (is(&["ssh"]), is(&["nfs"]));
        let kept = SourceIdentity {
            user: who.user.filter(|_| nfs),
            group: who.group.filter(|_| nfs),
            username: who.username.filter(|_| ssh),
            keyfile: who.keyfile.filter(|_| ssh),
            agentsock: who.agentsock.filter(|_| ssh),
        };
        s.identity = Some(kept).filter(|kept| *kept != SourceIdentity::default()).map(Box::new);
    }
}

/// An offset in seconds makes a clock a variable one; a variable one without a number is at zero.
/// What belongs to another offset is left out.
fn clock(c: &mut Clock) {
    if c.offset != ClockOffset::Timezone {
        c.timezone = None;
    }
    if c.offset != ClockOffset::Absolute {
        c.start = None;
    }
    if matches!(c.offset, ClockOffset::Timezone | ClockOffset::Absolute) {
        (c.adjustment, c.basis) = (None, None);
    }
    let Some(adjustment) = c.adjustment.as_mut() else { return };
    let number = adjustment.parse::<i64>().is_ok();
    let basis = match c.offset {
        ClockOffset::Utc => ClockBasis::Utc,
        ClockOffset::Localtime => ClockBasis::Localtime,
        ClockOffset::Variable if !number => {
            "0".clone_into(adjustment);
            return;
        }
        _ => return,
    };
    if number {
        c.offset = ClockOffset::Variable;
        c.basis = Some(basis);
    }
}

/// Devices to boot from that `<os>` may name.
const BOOT_DEVICES: usize = 4;

/// Drops the fields of a source that its type does not have.
pub(crate) fn keep_fields_of(s: &mut DiskSource, kind: StorageType) {
    interfaces::seclabels(&mut s.seclabels);
    if let Some(slices) = s.slices.as_mut() {
        slices.slices.retain(|slice| slice.kind == "storage");
    }
    s.slices = s.slices.take().filter(|slices| !slices.slices.is_empty());
    if let Some(data) = s.data_store.as_deref_mut() {
        if let Some(format) = &mut data.format {
            format.metadata_cache = None;
        }
        if let Some(source) = &mut data.source {
            source.startup_policy = None;
            let managed = source.managed;
            keep_fields_of(source, data.kind);
            source.managed = managed.filter(|_| data.kind == StorageType::Nvme);
        }
        data.source = data.source.take().filter(|source| says_something(data.kind, source));
    }
    if let Some(e) = s.encryption.as_deref_mut() {
        keep_cipher(e);
    }
    if s.actual_type.is_some() {
        // A running guest's volume also says what it resolved to.
        return;
    }
    use StorageType::*;
    if kind != File {
        s.file = None;
    }
    if !matches!(kind, File | Network) && kind != Block {
        s.fdgroup = None;
    }
    if !matches!(kind, Block | Vhostvdpa) {
        s.dev = None;
    }
    if kind != Dir {
        s.dir = None;
    }
    if kind != Network {
        s.protocol = None;
        s.name = None;
        s.query = None;
        s.tls = None;
        s.tls_hostname = None;
        s.hosts.clear();
        s.snapshot = None;
        s.config = None;
        s.ssl = None;
        s.cookies = None;
        s.readahead = None;
        s.timeout = None;
        s.identity = None;
        s.known_hosts = None;
    }
    if kind == Network {
        keep_fields_of_protocol(s);
    } else if kind != Vhostuser {
        s.reconnect = None;
    }
    if kind != Volume {
        s.pool = None;
        s.volume = None;
        s.mode = None;
    }
    if kind == Nvme {
        s.managed.get_or_insert(xml::YesNo::Yes);
    } else {
        s.address = None;
        s.managed = None;
        s.namespace = None;
    }
    if !matches!(kind, Nvme | Vhostuser) {
        s.kind = None;
        s.path = None;
    }
}
