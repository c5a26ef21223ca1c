"""What every call of a domain answers in every state, and while a job holds it.

One rule for each call says in which states it is served and who refuses it otherwise; what is
expected of a call in a state follows from its rule. Arguments: URI, the guest's XML, a disk image
that may be attached, a pipe that nobody reads. Beside the guest's image `NAME.img` lie others that
it boots in its place: `NAME-panic.img` (it panics), `NAME-sleep.img` (it suspends to memory) and,
where the tests may mount, `full/NAME-io.img` (it fills its disk).
"""
import os
import re
import sys
import threading
import time

import libvirt
import libvirt_qemu

libvirt.registerErrorHandler(lambda *_: None, None)
URI, XML, SPARE, PIPE = sys.argv[1], open(sys.argv[2]).read(), sys.argv[3], sys.argv[4]
NAME = re.search("<name>(.*)</name>", XML).group(1)
UUID = re.search("<uuid>(.*)</uuid>", XML).group(1)
connection = libvirt.open(URI)

SHUTOFF, PAUSED, RUNNING, TRANSIENT = "shut off", "paused", "running", "transient"
CRASHED, IO_ERROR, ASLEEP, SAVED = "crashed", "paused by an I/O error", "suspended", "saved"
STATES = (SHUTOFF, PAUSED, RUNNING, TRANSIENT, CRASHED, IO_ERROR, ASLEEP, SAVED)
# What the guest boots to come there, and the state it is in then.
BOOTS = {CRASHED: ("%s-panic.img", 6), IO_ERROR: ("full/%s-io.img", 3), ASLEEP: ("%s-sleep.img", 7)}
# Who reports (`virErrorDomain`), and errors (`virErrorNumber`).
QEMU, DOMAIN = 10, 20
INVALID, ARGUMENT, UNSUPPORTED, NO_AGENT, FAILED, NO_CHANNEL, SYSTEM = 55, 8, 84, 86, 9, 74, 38
OFF = "domain is not running"

DISK = "<disk type='file'><driver name='qemu' type='raw'/><source file='%s'/>" \
       "<target dev='vdz' bus='virtio'/></disk>" % SPARE
GONE = "<disk type='file'><target dev='vdq' bus='virtio'/></disk>"
EMPTY = "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>"
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"


def answers(off, still, running, **others):
    """By state; a guest that does not run is one that stands still, a saved one is off."""
    rule = {SHUTOFF: off, PAUSED: still, RUNNING: running, TRANSIENT: running, CRASHED: still,
            IO_ERROR: still, ASLEEP: still, SAVED: off}
    return rule | {globals()[name.upper()]: answer for name, answer in others.items()}


def guest(code=None, by=None, text=None):
    """Served while there is a guest; `code`: refused then, too."""
    then = (code, by, text)
    return answers((INVALID, DOMAIN, OFF), then, then)


def agent(first):
    """Asks the guest's agent, which is not there; `first`: who looks for the guest."""
    absent = (NO_AGENT, QEMU, "QEMU guest agent is not connected")
    return answers((INVALID, first, OFF), (INVALID, QEMU, OFF), absent)


def always(code=None, by=None, text=None):
    """The same in every state."""
    return answers(*[(code, by, text)] * 3)


def stopped():
    """Served while the guest runs, which one that stands still does not."""
    none = (INVALID, QEMU, OFF)
    return answers(none, none, ())


def stored(by=DOMAIN, text="transient domains do not have any persistent config"):
    """Served where there is a stored definition."""
    return answers((), (), (), transient=(INVALID, by, text))


def off(code, by, text):
    """Served while there is no guest."""
    then = (code, by, text)
    return answers((), then, then)


# The rule of each call, and the call. Calls that end or start the guest are made last.
LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
NOT_FOUND = "disk 'vdx' not found in domain"
NO_TARGET = "disk 'vdx' was not found in the domain config"
NO_JOB = "disk vda does not have an active block job"
BOTH = "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive"
TABLE = [
    # Questions.
    ("info", always(), lambda d: d.info()),
    ("XMLDesc", always(), lambda d: d.XMLDesc(0)),
    ("vcpuPinInfo live", guest(), lambda d: d.vcpuPinInfo(LIVE)),
    ("vcpuPinInfo config", stored(), lambda d: d.vcpuPinInfo(CONFIG)),
    ("ioThreadInfo live", guest(), lambda d: d.ioThreadInfo(LIVE)),
    ("blockStats", guest(), lambda d: d.blockStats("vda")),
    ("blockStats of none", guest(ARGUMENT, QEMU, "invalid path: vdx"),
     lambda d: d.blockStats("vdx")),
    ("blockInfo", always(), lambda d: d.blockInfo("vda")),
    ("blockIoTune", always(), lambda d: d.blockIoTune("vda", 0)),
    ("blockIoTune of none",
     answers((ARGUMENT, QEMU, NO_TARGET), *[(ARGUMENT, QEMU, NOT_FOUND)] * 2),
     lambda d: d.blockIoTune("vdx", 0)),
    ("blockPeek", always(), lambda d: d.blockPeek("vda", 0, 512)),
    ("blockPeek of none", always(ARGUMENT, QEMU, NOT_FOUND), lambda d: d.blockPeek("vdx", 0, 1)),
    ("blockPeek beyond the end", always(ARGUMENT, QEMU, "has only 0 bytes available"),
     lambda d: d.blockPeek("vda", 1 << 40, 1)),
    ("memoryPeek", guest(), lambda d: d.memoryPeek(0x7c00, 16, libvirt.VIR_MEMORY_PHYSICAL)),
    ("memoryPeek virtual", guest(), lambda d: d.memoryPeek(0, 16, libvirt.VIR_MEMORY_VIRTUAL)),
    ("memoryPeek of nothing", always(ARGUMENT, QEMU, "flags parameter must be VIR_MEMORY_VIRTUAL"),
     lambda d: d.memoryPeek(0, 16, 0)),
    ("blockJobInfo", guest(), lambda d: d.blockJobInfo("vda")),
    ("blockJobInfo of none", guest(ARGUMENT, QEMU, NOT_FOUND), lambda d: d.blockJobInfo("vdx")),
    ("blockJobAbort", guest(ARGUMENT, QEMU, NO_JOB), lambda d: d.blockJobAbort("vda")),
    ("blockJobAbort of none", guest(ARGUMENT, QEMU, NOT_FOUND), lambda d: d.blockJobAbort("vdx")),
    ("blockJobSetSpeed", guest(ARGUMENT, QEMU, NO_JOB), lambda d: d.blockJobSetSpeed("vda", 1)),
    ("blockJobSetSpeed too much", always(82, QEMU, "bandwidth must be less than 8796093022207"),
     lambda d: d.blockJobSetSpeed("vda", 1 << 50)),
    ("numaParameters of both", always(ARGUMENT, DOMAIN, BOTH), lambda d: d.numaParameters(3)),
    ("diskErrors", guest(), lambda d: d.diskErrors()),
    ("getCPUStats", guest(), lambda d: d.getCPUStats(True)),
    ("controlInfo", guest(), lambda d: d.controlInfo()),
    ("jobInfo", guest(), lambda d: d.jobInfo()),
    ("monitor", guest(), lambda d: libvirt_qemu.qemuMonitorCommand(d, "info name", 1)),
    ("sendProcessSignal", always(3, DOMAIN, "virDomainSendProcessSignal"),
     lambda d: d.sendProcessSignal(1, 15)),
    ("maxMemory", always(), lambda d: d.maxMemory()),
    ("maxVcpus", guest(), lambda d: d.maxVcpus()),
    ("isActive", always(), lambda d: (d.isActive(), d.isPersistent(), d.isUpdated())),
    ("autostart", always(), lambda d: d.autostart()),
    ("hasManagedSaveImage", always(), lambda d: d.hasManagedSaveImage()),
    ("schedulerType", always(), lambda d: d.schedulerType()),
    ("securityLabelList", always(), lambda d: d.securityLabelList()),
    ("metadata of none", always(80, DOMAIN, "Requested metadata element is not present"),
     lambda d: d.metadata(2, "http://none/", 0)),
    ("vcpus", answers(
        (INVALID, QEMU, "cannot retrieve vcpu information for inactive domain"), (), ()),
     lambda d: d.vcpus()),
    ("vcpusFlags live", guest(), lambda d: d.vcpusFlags(LIVE)),
    ("vcpusFlags config", stored(), lambda d: d.vcpusFlags(CONFIG)),
    ("emulatorPinInfo live", guest(), lambda d: d.emulatorPinInfo(LIVE)),
    ("emulatorPinInfo config", stored(), lambda d: d.emulatorPinInfo(CONFIG)),
    ("memoryStats", guest(), lambda d: d.memoryStats()),
    ("interfaceStats of none", guest(ARGUMENT, DOMAIN, "'vnet77' is not a known interface"),
     lambda d: d.interfaceStats("vnet77")),
    ("blockInfo of none", always(ARGUMENT, QEMU, "invalid path vdx not assigned to domain"),
     lambda d: d.blockInfo("vdx")),
    ("messages", always(), lambda d: d.messages(0)),
    ("numaParameters live", guest(), lambda d: d.numaParameters(LIVE)),
    ("numaParameters config", stored(), lambda d: d.numaParameters(CONFIG)),
    ("memoryParameters config", stored(), lambda d: d.memoryParameters(CONFIG)),
    ("schedulerParametersFlags config", stored(), lambda d: d.schedulerParametersFlags(CONFIG)),
    ("blkioParameters config", stored(), lambda d: d.blkioParameters(CONFIG)),
    ("perfEvents live", guest(), lambda d: d.perfEvents(LIVE)),
    ("perfEvents config", stored(), lambda d: d.perfEvents(CONFIG)),
    ("jobStats of what is done", always(),
     lambda d: d.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)),
    ("managedSaveGetXMLDesc", always(INVALID, QEMU, "domain does not have managed save image") | {
        SAVED: (),
    }, lambda d: d.managedSaveGetXMLDesc(0)),
    ("stats", always(), lambda d: connection.domainListGetStats([d])),
    ("domainXMLToNative", always(),
     lambda d: connection.domainXMLToNative("qemu-argv", d.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))),
    ("openConsole of none", guest(1, QEMU, "cannot find character device nosuch"),
     lambda d: d.openConsole("nosuch", connection.newStream(libvirt.VIR_STREAM_NONBLOCK))),
    ("openChannel of none", guest(1, QEMU, "cannot find channel nosuch"),
     lambda d: d.openChannel("nosuch", connection.newStream(libvirt.VIR_STREAM_NONBLOCK))),
    # Of the agent.
    ("setTime", agent(DOMAIN) | dict.fromkeys(
        (SHUTOFF, SAVED), (UNSUPPORTED, QEMU, "cannot set time")),
     lambda d: d.setTime({"seconds": 5, "nseconds": 0})),
    ("authorizedSSHKeysSet", agent(QEMU), lambda d: d.authorizedSSHKeysSet("root", ["x"])),
    ("qemuAgentCommand", agent(DOMAIN),
     lambda d: libvirt_qemu.qemuAgentCommand(d, '{"execute":"guest-ping"}', 5, 0)),
    ("shutdown by agent", agent(QEMU),
     lambda d: d.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)),
    ("reboot by agent", agent(QEMU), lambda d: d.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)),
    ("pMSuspendForDuration", agent(QEMU), lambda d: d.pMSuspendForDuration(0, 0)),
    ("fsInfo", agent(DOMAIN), lambda d: d.fsInfo()),
    ("fsFreeze", agent(DOMAIN), lambda d: d.fsFreeze()),
    ("fsThaw", agent(DOMAIN), lambda d: d.fsThaw()),
    ("fSTrim", agent(QEMU), lambda d: d.fSTrim(None, 0)),
    ("setGuestVcpus", agent(QEMU), lambda d: d.setGuestVcpus("0", 1)),
    ("guestInfo", agent(QEMU), lambda d: d.guestInfo(1)),
    ("hostname", agent(DOMAIN),
     lambda d: d.hostname(libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT)),
    ("getTime", agent(DOMAIN), lambda d: d.getTime()),
    ("setUserPassword", agent(DOMAIN), lambda d: d.setUserPassword("root", "x")),
    ("interfaceAddresses", agent(DOMAIN),
     lambda d: d.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)),
    ("authorizedSSHKeysGet", agent(QEMU), lambda d: d.authorizedSSHKeysGet("root")),
    ("vcpusFlags guest", agent(DOMAIN) | dict.fromkeys(
        (SHUTOFF, SAVED), (ARGUMENT, QEMU, "can only be requested for live domains")),
     lambda d: d.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST)),
    ("setVcpusFlags guest", agent(QEMU),
     lambda d: d.setVcpusFlags(1, libvirt.VIR_DOMAIN_VCPU_GUEST)),
    # Changes that leave it in its state.
    ("setMetadata", always(), lambda d: d.setMetadata(0, "words", None, None, 0)),
    ("setMetadata config", stored(), lambda d: d.setMetadata(0, "words", None, None, CONFIG)),
    ("setMemoryStatsPeriod live", guest(), lambda d: d.setMemoryStatsPeriod(0, LIVE)),
    ("pinVcpu live", guest(), lambda d: d.pinVcpuFlags(0, (True, True), LIVE)),
    ("pinVcpu config", stored(), lambda d: d.pinVcpuFlags(0, (True, True), CONFIG)),
    ("pinVcpu of none", answers(
        (ARGUMENT, QEMU, "vcpu 9 is out of range of persistent cpu count 2"),
        *[(ARGUMENT, QEMU, "vcpu 9 is out of range of live cpu count 2")] * 2),
     lambda d: d.pinVcpuFlags(9, (True, True), 0)),
    ("pinEmulator live", guest(), lambda d: d.pinEmulator((True, True), LIVE)),
    ("pinIOThread live", guest(), lambda d: d.pinIOThread(1, (True, True), LIVE)),
    ("setIOThreadParams live", guest(),
     lambda d: d.setIOThreadParams(1, {"poll_max_ns": 1000}, LIVE)),
    ("addIOThread of one that is there",
     always(ARGUMENT, DOMAIN, "an IOThread is already using iothread_id '1'"),
     lambda d: d.addIOThread(1, 0)),
    ("setBlockIoTune live", guest(),
     lambda d: d.setBlockIoTune("vda", {"total_bytes_sec": 1 << 30}, LIVE)),
    ("setBlockIoTune config", stored(),
     lambda d: d.setBlockIoTune("vda", {"total_bytes_sec": 1 << 30}, CONFIG)),
    ("setMemory live", guest(), lambda d: d.setMemoryFlags(32768, LIVE)),
    ("setMemory too much", always(ARGUMENT, QEMU, "cannot set memory higher than max memory"),
     lambda d: d.setMemoryFlags(1 << 30, 0)),
    ("setVcpus live", guest(), lambda d: d.setVcpusFlags(2, LIVE)),
    ("setVcpus config", stored(), lambda d: d.setVcpusFlags(2, CONFIG)),
    ("setVcpus too many", answers(
        (ARGUMENT, QEMU, "for the persistent domain: 9 > 2"),
        *[(ARGUMENT, QEMU, "for the live domain: 9 > 2")] * 2),
     lambda d: d.setVcpusFlags(9, 0)),
    ("setAutostart", stored(QEMU, "cannot set autostart for transient domain"),
     lambda d: d.setAutostart(0)),
    ("setLifecycleAction live", guest(), lambda d: d.setLifecycleAction(1, 1, LIVE)),
    ("setLifecycleAction config", stored(), lambda d: d.setLifecycleAction(1, 1, CONFIG)),
    ("setBlockThreshold of none", guest(ARGUMENT, QEMU, "vdx"),
     lambda d: d.setBlockThreshold("vdx", 1000)),
    ("attachDevice live", guest(), lambda d: d.attachDeviceFlags(DISK, LIVE)),
    ("detachDevice of none live", guest(99, QEMU, "disk vdq not found"),
     lambda d: d.detachDeviceFlags(GONE, LIVE)),
    ("attachDevice config", stored(), lambda d: d.attachDeviceFlags(RNG, CONFIG)),
    ("updateDevice live", guest(), lambda d: d.updateDeviceFlags(EMPTY, LIVE)),
    ("createXML", off(INVALID, DOMAIN, "is already active") | dict.fromkeys(
        (SHUTOFF, SAVED), ()), lambda d: connection.createXML(XML)),
    ("save where no folder is", guest(SYSTEM, QEMU, "/nowhere/x"), lambda d: d.save("/nowhere/x")),
    ("coreDump where no folder is", guest(SYSTEM, QEMU, "/nowhere/x"),
     lambda d: d.coreDump("/nowhere/x", libvirt.VIR_DUMP_LIVE)),
    ("setMemoryFlags maximum live", guest(INVALID, QEMU,
                                          "cannot resize the maximum memory on an active domain"),
     lambda d: d.setMemoryFlags(65536, LIVE | libvirt.VIR_DOMAIN_MEM_MAXIMUM)),
    ("delIOThread of none",
     always(ARGUMENT, DOMAIN, "cannot find IOThread '9' in iothreadids list"),
     lambda d: d.delIOThread(9, 0)),
    ("detachDevice of none",
     answers((99, QEMU, "no target device vdq"), *[(99, QEMU, "disk vdq not found")] * 2),
     lambda d: d.detachDeviceFlags(GONE, 0)),
    ("detachDeviceAlias of none", always(1, DOMAIN, "no device found with alias nosuch"),
     lambda d: d.detachDeviceAlias("nosuch", 0)),
    ("setMaxMemory", off(INVALID, QEMU, "cannot resize the maximum memory on an active domain"),
     lambda d: d.setMaxMemory(d.maxMemory())),
    ("blockResize of none", guest(ARGUMENT, QEMU, NO_TARGET), lambda d: d.blockResize("vdx", 1)),
    ("blockResize of an empty drive", guest(UNSUPPORTED, QEMU, "can't resize empty or readonly"),
     lambda d: d.blockResize("hdc", 1)),
    ("blockResize", guest(), lambda d: d.blockResize("vda", 2048)),
    ("blockResize back", guest(), lambda d: d.blockResize("vda", 1 << 20, 1)),
    ("blockResize to capacity",
     guest(UNSUPPORTED, QEMU, "block resize to full capacity supported only with 'raw' local"),
     lambda d: d.blockResize("vda", 0, 2)),
    ("blockResize too much", always(82, QEMU, "size must be less than 18014398509481983"),
     lambda d: d.blockResize("vda", 1 << 60)),
    ("startDirtyRateCalc too long", always(67, QEMU, "seconds=99 is invalid"),
     lambda d: d.startDirtyRateCalc(99)),
    ("abortJob", guest(INVALID, QEMU, "no job is active on the domain"), lambda d: d.abortJob()),
    ("sendKey", guest(), lambda d: d.sendKey(0, 1, [30], 1, 0)),
    ("injectNMI", guest(), lambda d: d.injectNMI()),
    ("openGraphicsFD of none", guest(1, QEMU, "No graphics backend with index 9"),
     lambda d: d.openGraphicsFD(9)),
    ("defineXML under another name",
     always(FAILED, DOMAIN, "domain '%s' is already defined with uuid %s" % (NAME, UUID)),
     lambda d: connection.defineXML(XML.replace(NAME, NAME + "x"))),
    ("defineXML under another uuid",
     always(FAILED, DOMAIN, "domain '%s' already exists with uuid %s" % (NAME, UUID)),
     lambda d: connection.defineXML(XML.replace(UUID, UUID[:-1] + "0"))),
    # Changes of its state.
    ("rename to itself", answers((INVALID, DOMAIN, "Can't rename domain to itself"),
                                 *[(INVALID, QEMU, "cannot rename active domain")] * 2,
                                 saved=(INVALID, QEMU, "managed saved state can't be renamed")),
     lambda d: d.rename(NAME)),
    ("create", off(INVALID, QEMU, "domain is already running"), lambda d: d.create()),
    ("suspend", guest() | {ASLEEP: (INVALID, QEMU, "domain is pmsuspended")},
     lambda d: d.suspend()),
    ("suspend again", guest() | {ASLEEP: (INVALID, QEMU, "domain is pmsuspended")}, lambda d: (d.suspend(), d.suspend())),
    ("resume", answers((INVALID, DOMAIN, OFF), (), (INVALID, QEMU, "domain is already running"),
                       asleep=(INVALID, QEMU, "domain is pmsuspended")), lambda d: d.resume()),
    ("pMWakeup", guest(1, QEMU, "Unable to wake up: guest is not in suspended state") | {ASLEEP: ()},
     lambda d: d.pMWakeup()),
    ("reset", guest(), lambda d: d.reset()),
    ("reboot", guest(), lambda d: d.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)),
    ("shutdown", stopped(), lambda d: d.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)),
    ("managedSaveRemove", always(38, QEMU, "Failed to remove managed save file") | {SAVED: ()},
     lambda d: d.managedSaveRemove()),
    ("managedSave", guest() | {
        TRANSIENT: (INVALID, QEMU, "cannot do managed save for transient domain"),
    }, lambda d: d.managedSave()),
    ("destroy", guest(), lambda d: d.destroy()),
    ("undefine", stored(QEMU, "cannot undefine transient domain") | {
        SAVED: (INVALID, QEMU, "Refusing to undefine while domain managed save image exists"),
    },
     lambda d: d.undefine()),
]


def until(what, holds):
    deadline = time.time() + 60
    while not holds():
        assert time.time() < deadline, what
        time.sleep(0.02)


def gone():
    for name in (NAME, NAME + "x"):
        try:
            domain = connection.lookupByName(name)
        except libvirt.libvirtError:
            continue
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def brought(state):
    gone()
    if state == TRANSIENT:
        return connection.createXML(XML, 0)
    image, number = BOOTS.get(state, ("%s.img", None))
    domain = connection.defineXML(XML.replace(NAME + ".img", image % NAME))
    if state == SHUTOFF:
        return domain
    still = state in (PAUSED, SAVED)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if still else 0)
    if state == SAVED:
        domain.managedSave()
    if number is not None:
        until("the guest is " + state, lambda: domain.state()[0] == number)
        # That of an error is told after that of standing still.
        until("it is told why", lambda: domain.state() != [3, 0])
    return domain


def shape(domain):
    """What a call changes that the next one must not meet."""
    try:
        return (domain.name(), domain.state(), domain.isPersistent(),
                bool(domain.isPersistent()) and domain.hasManagedSaveImage(), domain.isActive())
    except libvirt.libvirtError:
        return None


def told(call, domain):
    try:
        call(domain)
        return ()
    except libvirt.libvirtError as error:
        return (error.get_error_code(), error.get_error_domain(), error.get_error_message())


def agrees(expected, answer):
    if not expected or expected[0] is None or not answer:
        return not answer and (not expected or expected[0] is None)
    return answer[:2] == expected[:2] and expected[2] in answer[2]


wrong = []
for state in STATES:
    image = os.path.join(os.path.dirname(SPARE), BOOTS.get(state, ("%s.img",))[0] % NAME)
    if not os.path.exists(image):
        continue
    domain = brought(state)
    before = shape(domain)
    for name, rule, call in TABLE:
        if shape(domain) != before:
            domain = brought(state)
            before = shape(domain)
        answer = told(call, domain)
        if not agrees(rule[state], answer):
            wrong.append("%s, %s: %r, expected %r" % (state, name, answer, rule[state]))

# While a guest is being dumped into a pipe that nobody reads: questions are answered, changes wait
# for its end, and destroy ends both.
QUESTIONS = {
    "info": lambda d: d.info(), "XMLDesc": lambda d: d.XMLDesc(0), "state": lambda d: d.state(),
    "blockStats": lambda d: d.blockStats("vda"), "blockInfo": lambda d: d.blockInfo("vda"),
    "memoryStats": lambda d: d.memoryStats(), "vcpus": lambda d: d.vcpus(),
    "jobInfo": lambda d: d.jobInfo(), "stats": lambda d: connection.domainListGetStats([d]),
    "blockIoTune": lambda d: d.blockIoTune("vda", 0), "getCPUStats": lambda d: d.getCPUStats(True),
    "memoryPeek": lambda d: d.memoryPeek(0, 16, 2), "blockPeek": lambda d: d.blockPeek("vda", 0, 16),
    "controlInfo": lambda d: d.controlInfo(), "ioThreadInfo": lambda d: d.ioThreadInfo(LIVE),
}
CHANGES = {
    "setMetadata": lambda d: d.setMetadata(0, "late", None, None, LIVE),
    "attachDevice": lambda d: d.attachDeviceFlags(RNG, LIVE),
    "attachDisk": lambda d: d.attachDeviceFlags(DISK, LIVE),
    "blockResize": lambda d: d.blockResize("vda", 1 << 20, 1),
    "setMemoryStatsPeriod": lambda d: d.setMemoryStatsPeriod(0, LIVE),
    "sendKey": lambda d: d.sendKey(0, 1, [30], 1, 0),
    "reset": lambda d: d.reset(),
}


def held(verb):
    """Has `verb` write into a pipe that is full; the thread, and what it will say."""
    domain = brought(RUNNING)
    reader = os.open(PIPE, os.O_RDONLY | os.O_NONBLOCK)
    said = []
    other = libvirt.open(URI).lookupByName(NAME)
    thread = threading.Thread(target=lambda: said.append(told(verb, other)))
    thread.start()
    until("the job begins", lambda: domain.jobInfo()[0] != 0 or not thread.is_alive())
    assert thread.is_alive(), said
    return domain, reader, thread, said


def drained(reader, thread):
    """Reads the pipe until its writer is done."""
    os.set_blocking(reader, True)
    while thread.is_alive():
        while os.read(reader, 1 << 20):
            pass
        thread.join(0.05)
    os.close(reader)


domain, reader, thread, said = held(lambda d: d.coreDump(PIPE, libvirt.VIR_DUMP_LIVE))
for name, call in QUESTIONS.items():
    answer = told(call, domain)
    if answer:
        wrong.append("while it is dumped, %s: %r" % (name, answer))
waiting = {}
for name, call in CHANGES.items():
    other = libvirt.open(URI).lookupByName(NAME)
    answer = []
    late = threading.Thread(target=lambda a=answer, c=call, o=other: a.append(told(c, o)))
    late.start()
    waiting[name] = (late, answer)
# They had all the time in which questions are answered, and none has gone on.
for call in list(QUESTIONS.values()) * 3:
    told(call, domain)
for name, (late, answer) in waiting.items():
    if not late.is_alive():
        wrong.append("while it is dumped, %s did not wait: %r" % (name, answer))
drained(reader, thread)
if said != [()]:
    wrong.append("a dump whose pipe is read at last: %r" % said)
for name, (late, answer) in waiting.items():
    late.join(60)
    if answer != [()]:
        wrong.append("after the job, %s: %r" % (name, answer))

domain, reader, thread, said = held(lambda d: d.coreDump(PIPE, libvirt.VIR_DUMP_LIVE))
domain.destroy()
thread.join(60)
if thread.is_alive() or not said or not said[0]:
    wrong.append("a dump whose guest was destroyed: %r" % said)
os.close(reader)
gone()
if wrong:
    print("\n".join(wrong))
    sys.exit(1)
print("well")
