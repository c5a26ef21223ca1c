# The demo of ./run: its folder, daemon and guest. Sourced after lib.sh.

# Sets `state`, `socket`, `uri`: where the demo lives and how clients reach it.
choose_state() {
    mode=system
    if [ "$(id -u)" = 0 ]; then
        # Outside the checkout and of everybody's home: QEMU's user must reach it.
        state=/var/lib/ironvirt-demo
    else
        mode=session
        state=${XDG_STATE_HOME:-$HOME/.local/state}/ironvirt-demo
        # A socket's path has at most 107 bytes, and those of guests lie some folders deep.
        [ ${#state} -le 35 ] || state=/var/tmp/ironvirt-demo-$(id -u)
    fi
    socket=$state/run/libvirt/libvirt-sock
    uri="qemu+unix:///$mode?socket=$socket"
}

make_state() {
    mkdir -p "$state" || fail "Cannot make the demo's folder $state."
    [ -O "$state" ] || fail "$state belongs to somebody else."
    [ "$mode" = system ] && chmod 755 "$state" || chmod 700 "$state"
}

client() { "$ironvirt" -q -c "$uri" "$@"; }

# The daemon's process id when it runs, else nothing.
daemon_pid() {
    local pid
    pid=$(cat "$state/daemon.pid" 2>/dev/null) || return 0
    # The id may have gone to another process since.
    { tr '\0' '\n' < "/proc/$pid/cmdline" | grep -qxF -- "$state" && echo "$pid"; } 2>/dev/null || :
}

# The end of what the daemon has said since this call of ./run began.
daemon_log() {
    local said
    said=$(tail -c "+$((log_from + 1))" "$state/daemon.log" 2>/dev/null | tail -n 15)
    [ -z "$said" ] || printf '%s\n' "The daemon's log ends so ($state/daemon.log):" "$said"
}

# Starts the daemon unless one runs that was built from what is there now.
start_daemon() {
    local pid
    # Earlier runs have written there too.
    log_from=$(stat -c %s "$state/daemon.log" 2>/dev/null) || log_from=0
    pid=$(daemon_pid)
    if [ -n "$pid" ]; then
        if [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$ironvirt")" ]; then
            daemon_note="already running"
            return
        fi
        # Built anew since: guests run on while it is replaced.
        kill "$pid" && wait_for_end "$pid" || fail "The old daemon (process $pid) does not end."
        daemon_note="replaced by the new build"
    fi
    local arguments=(daemon --root "$state")
    [ "$mode" = system ] || arguments+=(--session)
    : > "$state/ready.txt"
    setsid "$ironvirt" "${arguments[@]}" </dev/null >"$state/ready.txt" 2>>"$state/daemon.log" &
    pid=$!
    echo "$pid" > "$state/daemon.pid"
    local waited=0
    until grep -q '^ready: ' "$state/ready.txt"; do
        kill -0 "$pid" 2>/dev/null || fail "The daemon did not start." "$(daemon_log)"
        [ $((waited += 1)) -lt 1200 ] || fail "The daemon is not ready after a minute." "$(daemon_log)"
        sleep 0.05
    done
    daemon_note=${daemon_note:-started}
}

# wait_for_end PID: until it is gone, or a zombie that nobody reaps.
wait_for_end() {
    local waited=0
    while [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do
        [ $((waited += 1)) -lt 400 ] || return 1
        sleep 0.05
    done
}

# A TCP port of this host that nobody listens on.
free_port() {
    local port
    for port in $(seq 18080 18180); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# demo_xml ACCEL passt|slirp
demo_xml() {
    local network='<interface type="user"><model type="virtio"/></interface>'
    if [ "$2" = passt ]; then
        port=$(free_port)
        echo "$port" > "$state/port"
        network="<interface type='user'><backend type='passt'/><model type='virtio'/>
      <portForward proto='tcp' address='127.0.0.1'><range start='$port' to='80'/></portForward>
    </interface>"
    else
        rm -f "$state/port"
    fi
    cat <<XML
<domain type='$1'>
  <name>demo</name>
  <uuid>de305d54-75b4-431b-adb2-eb6b9e546014</uuid>
  <title>Ironvirt's demo guest</title>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$state/guest/vmlinuz</kernel>
    <initrd>$state/guest/initrd.img</initrd>
    <cmdline>console=ttyS0 loglevel=6 no_timer_check hostname=demo</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    $network
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
XML
}

# Defines and starts the guest and shows its console until it is up. The first lines are not lost:
# the console is attached before the guest runs.
boot_guest() {
    local accel=$1 network=slirp
    command -v passt >/dev/null && network=passt
    define_guest "$accel" $network
    if ! show_boot; then
        [ $network = passt ] || guest_failed
        say "(it did not start with passt: $(grep '^error: ' "$state/console.txt" | tail -n 1 | tr -d '\r' | cut -c 8-240); trying QEMU's own user network)"
        client destroy demo >/dev/null 2>&1 || :
        define_guest "$accel" slirp
        show_boot || guest_failed
    fi
}

guest_failed() {
    fail "The guest did not start:" "$(tail -n 5 "$state/console.txt" | tr -d '\r')" "$(daemon_log)"
}

define_guest() {
    demo_xml "$1" "$2" > "$state/demo.xml"
    client define "$state/demo.xml" >/dev/null || fail "The guest cannot be defined." "$(daemon_log)"
}

# Starts the guest with its console on a pseudo terminal, shows what it prints without what would
# clear the user's screen, and leaves once the banner came. Fails when the guest does not start.
show_boot() {
    : > "$state/console.txt"
    local command
    printf -v command '%q ' "$ironvirt" -q -c "$uri" start demo --console
    # tail keeps the terminal's input open and silent.
    setsid bash -c 'tail -f /dev/null | script -qfec "$1" "$2" >/dev/null 2>&1; kill 0' bash \
        "$command" "$state/console.txt" 2>/dev/null &
    viewer=$!
    disown "$viewer"
    local waited=0
    (tail -n +1 -s 0.1 -F "$state/console.txt" 2>/dev/null | sed -u \
        -e '/^Script started/d; /^Script done/d' \
        -e 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\x1bc//g; s/\r//g' -e 's/^/  | /') 2>/dev/null &
    shower=$!
    disown "$shower"
    trap leave_console EXIT
    until grep -q "turns it off" "$state/console.txt"; do
        if ! kill -0 "$viewer" 2>/dev/null || grep -q '^Script done' "$state/console.txt"; then
            leave_console
            return 1
        fi
        [ $((waited += 1)) -lt 1200 ] || fail "The guest is not up after two minutes." "$(daemon_log)"
        sleep 0.1
    done
    # the rest of the banner
    sleep 0.3
    leave_console
}

# Ends what show_boot started; the guest does not notice.
leave_console() {
    trap - EXIT
    # script ends its child with a hang-up when it is gone, but waits when merely asked to end.
    kill -KILL -- "-$viewer" 2>/dev/null || :
    local child
    for child in $(cat "/proc/$shower/task/$shower/children" 2>/dev/null); do
        kill "$child" 2>/dev/null || :
    done
}

# Says what the guest's address is and whether this host reaches it.
show_network() {
    local address port answer
    address=$(tr -d '\r' < "$state/console.txt" | sed -n 's/^ *address: //p' | tail -n 1)
    say "  address       ${address:-none}"
    port=$(cat "$state/port" 2>/dev/null) || {
        say "  from here     not reachable: QEMU's own user network lets the guest out and nobody in"
        return
    }
    answer=$(fetch_page "$port")
    if [ -n "$answer" ]; then
        say "  from here     http://127.0.0.1:$port/ answers: $answer"
    else
        say "  from here     port $port is forwarded to the guest, but nothing answers yet"
    fi
}

fetch_page() {
    timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
        bash "$1" 2>/dev/null | tail -n 1
}

stop_demo() {
    local pid name
    pid=$(daemon_pid)
    if [ -z "$pid" ]; then
        say "The demo does not run."
        return
    fi
    for name in $(client list --name); do
        say "turning off guest $name"
        client shutdown "$name" >/dev/null 2>&1 || :
    done
    local waited=0
    while [ -n "$(client list --name)" ] && [ $((waited += 1)) -lt 60 ]; do sleep 0.1; done
    for name in $(client list --name); do client destroy "$name" >/dev/null; done
    kill "$pid"
    wait_for_end "$pid" || fail "The daemon (process $pid) does not end."
    rm -f "$state/daemon.pid" "$state/ready.txt"
    say "Guests and daemon are ended. The folder $state stays; remove it when you like."
}
