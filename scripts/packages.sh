# Installs Debian packages that are missing; sourced by ./run, ./test and bench/run.
#
# Root installs directly, an ordinary user through a sudo that asks nothing; otherwise the one line
# to type is printed. QEMU and libvirt's client come from the distribution as it is. Only where
# parts of them are installed from backports already do their other parts come from there too:
# they must be of one version. Nobody's apt sources are edited for that: apt is given a list of our
# own for this one call.

# Packages that are built from one source and so must be of one version.
qemu_family='qemu-utils qemu-system-common qemu-system-data qemu-system-x86 qemu-block-extra
    qemu-system-arm qemu-system-misc qemu-system-ppc qemu-system-s390x'
libvirt_family='libvirt0 libvirt-clients libvirt-common libvirt-daemon'

installed_version() { dpkg-query -W -f '${db:Status-Abbrev}${Version}\n' "$1" 2>/dev/null | sed -n 's/^ii *//p'; }

is_from_backports() {
    local package
    for package in "$@"; do
        case $(installed_version "$package") in *~bpo*) return 0 ;; esac
    done
    return 1
}

# ensure_packages NAME...: returns when all are installed; fails when they cannot be.
ensure_packages() {
    local missing=() name
    for name in "$@"; do
        [ -n "$(installed_version "$name")" ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    local plain=() back=()
    for name in "${missing[@]}"; do
        if { in_family "$name" "$qemu_family" && is_from_backports $qemu_family; } \
            || { in_family "$name" "$libvirt_family" && is_from_backports $libvirt_family; }; then
            back+=("$name")
        else
            plain+=("$name")
        fi
    done

    local codename suite
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    suite=$codename-backports
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            complain "These packages are missing: ${missing[*]}. Please run this once, then call again:"
            local line="sudo apt-get install -y --no-install-recommends ${missing[*]}"
            [ ${#back[@]} = 0 ] || line="$line -t $suite"
            complain "  $line"
            exit 1
        fi
    fi
    say "installing ${missing[*]}"
    [ ${#back[@]} = 0 ] || install_from_backports "$suite" "${back[@]}"
    [ ${#plain[@]} = 0 ] || install_with_retry "${plain[@]}"
}

in_family() { case " $(echo $2) " in *" $1 "*) return 0 ;; esac; return 1; }

# Calls apt-get; shows what it said only when it fails.
apt_quietly() {
    local said
    # a kept configuration file is never asked about
    said=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 "$@" 2>&1 </dev/null) && return 0
    apt_said=$said
    return 1
}

install_with_retry() {
    apt_quietly install --no-install-recommends "$@" && return
    # The lists are missing or old: a fresh machine has none.
    apt_quietly update || fail "apt-get update failed:" "$apt_said"
    apt_quietly install --no-install-recommends "$@" \
        || fail "apt-get cannot install $*:" "$apt_said"
}

# install_from_backports SUITE NAME...
install_from_backports() {
    local suite=$1
    shift
    if apt-get indextargets --format '$(CODENAME) $(SUITE)' 2>/dev/null | grep -qw -- "$suite"; then
        install_with_retry -t "$suite" "$@"
        return
    fi
    # The mirror this machine uses for the release itself also has its backports.
    local mirror private
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 2>/dev/null \
        | sed -n "s/^${suite%-backports} //p" | head -n 1)
    mirror=${mirror:-http://deb.debian.org/debian}
    private=$(mktemp -d)
    mkdir -p "$private/sources" "$private/lists/partial"
    cp -p /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources "$private/sources/" 2>/dev/null || :
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror%/} $suite main" \
        > "$private/sources/ironvirt-backports.list"
    # apt's own user reads these.
    chmod -R a+rX "$private"
    local options=(-o "Dir::Etc::SourceParts=$private/sources" -o "Dir::State::Lists=$private/lists")
    apt_quietly "${options[@]}" update || fail "apt-get update with $suite failed:" "$apt_said"
    apt_quietly "${options[@]}" install --no-install-recommends -t "$suite" "$@" \
        || fail "apt-get cannot install $* from $suite:" "$apt_said"
    "${as_root[@]}" rm -rf "$private"
}
