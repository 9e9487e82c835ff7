# shellcheck shell=bash
# Helpers shared by the tools of this folder; sourced, never run.
#
# Progress goes to standard error, so that a tool's standard output stays its result.

progress() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# step TEXT COMMAND...: runs the command with its output in a log, prints one line with the seconds it took,
# and shows the log's end when the command failed.
step() {
    local text=$1 log status=0 began=$EPOCHREALTIME
    shift
    log=$(mktemp)
    printf '  %-58s' "$text" >&2
    "$@" >"$log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        printf '%6.1f s\n' "$(seconds_since "$began")" >&2
    else
        printf 'FAILED\n' >&2
        tail -n 25 "$log" | sed 's/^/    | /' >&2
    fi
    rm -f "$log"
    return "$status"
}

# Bash has no fractions: microseconds as integers, printed as seconds.
seconds_since() {
    local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
    printf '%d.%03d' $((us / 1000000)) $((us / 1000 % 1000))
}

cache_root() { printf '%s' "${XDG_CACHE_HOME:-$HOME/.cache}/glotgate"; }

have_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        # sudo drops the environment, so what apt must see is named on its command line.
        sudo -n env DEBIAN_FRONTEND="${DEBIAN_FRONTEND:-}" "$@"
    fi
}

package_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A machine that has just booted often runs apt by itself: wait for its lock rather than fail.
apt_get() { as_root apt-get -o DPkg::Lock::Timeout=300 -q -y "$@"; }

# need_packages PACKAGE...: installs the Debian packages that are missing. Returns 1, having said which, when it
# cannot; the caller decides what it can do without them.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        warn "this is no Debian: install what these Debian packages hold by your own means: $*"
        return 1
    fi
    for package in "$@"; do
        package_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    if ! have_root; then
        warn "Debian packages are missing and there is no root or sudo to install them. Run, then try again:
    apt-get install ${missing[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # The package lists may be older than the mirror, or absent as in a container's image.
    if [ -z "${package_lists_fresh:-}" ]; then
        step "refreshing the package lists" apt_get update || warn "going on with the package lists this machine has"
        package_lists_fresh=yes
    fi
    step "installing ${missing[*]}" apt_get install --no-install-recommends "${missing[@]}" && return 0
    warn "apt-get could not install: ${missing[*]}"
    return 1
}

# find_python: prints the newest Python >= 3.11 on the PATH, or the one named by GLOTGATE_PYTHON.
find_python() {
    local candidate found
    for candidate in ${GLOTGATE_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        # sys.executable sees through shims that answer to many names.
        found=$("$candidate" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null) || continue
        [ -n "$found" ] && printf '%s' "$found" && return 0
    done
    return 1
}
