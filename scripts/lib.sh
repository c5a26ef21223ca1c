# Shared by ./run, ./test and bench/run: speaking, timing, the Rust toolchain, the built program.
# Sourced, with `top` set to the checkout.

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$@" >&2; }
fail() {
    complain "$@"
    exit 1
}
heading() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# Milliseconds since the epoch.
now_ms() { local now=${EPOCHREALTIME/[.,]/}; printf '%s' "${now%???}"; }

# "0.4" of a number of milliseconds.
seconds() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# Puts a Rust toolchain that is new enough on PATH, or says how to get one.
find_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml")
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    have=$(rust_version)
    if [ -z "$have" ] && candidate_is_enough cargo "$wanted"; then
        # A distribution's own that is new enough (Debian 13's is not).
        ensure_packages cargo rustc
        have=$(rust_version)
    fi
    if [ -z "$have" ]; then
        complain "There is no Rust toolchain for $(id -un): 'cargo' is neither on PATH nor in ~/.cargo/bin."
        complain "Install Rust $wanted or newer (https://rustup.rs), or name a built program:"
        fail "  IRONVIRT_BIN=/path/to/ironvirt $0"
    fi
    [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] \
        || fail "This needs Rust $wanted or newer; here is $have. See https://rustup.rs."
}

rust_version() { { cargo --version 2>/dev/null || :; } | sed -n 's/^cargo \([0-9.]*\).*/\1/p'; }

candidate_is_enough() {
    local candidate
    candidate=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
    [ -n "$candidate" ] && [ "$(printf '%s\n' "$2" "$candidate" | sort -V | head -n 1)" = "$2" ]
}

# Where cargo builds: in the checkout when we may write there, else in the user's cache.
choose_target_dir() {
    if [ -z "${CARGO_TARGET_DIR:-}" ]; then
        if [ -w "$top" ]; then
            CARGO_TARGET_DIR=$top/target
        else
            CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/ironvirt/target
        fi
    fi
    export CARGO_TARGET_DIR
}

# Builds the program and sets `ironvirt` to its path. $1: release or dev.
build_ironvirt() {
    if [ -n "${IRONVIRT_BIN:-}" ]; then
        [ -x "$IRONVIRT_BIN" ] || fail "IRONVIRT_BIN=$IRONVIRT_BIN is no program that $(id -un) can run."
        ironvirt=$IRONVIRT_BIN
        return
    fi
    find_rust
    choose_target_dir
    (cd "$top" && cargo build --quiet --profile "$1" --package ironvirt) || fail "The build failed."
    case $1 in
        dev) ironvirt=$CARGO_TARGET_DIR/debug/ironvirt ;;
        *) ironvirt=$CARGO_TARGET_DIR/$1/ironvirt ;;
    esac
}

# Why guests are emulated here, or nothing when they need not be.
why_no_kvm() {
    if [ ! -e /dev/kvm ]; then
        echo "there is no /dev/kvm"
    elif ! { : <>/dev/kvm; } 2>/dev/null; then
        echo "$(id -un) may not open /dev/kvm"
    elif [ "$(uname -m)" = x86_64 ] && ! grep -qwE 'vmx|svm' /proc/cpuinfo; then
        echo "/dev/kvm is there, but the processor shows neither vmx nor svm, so guests would not run on it"
    fi
}
