#!/usr/bin/env bash
# What `make` needs on this machine: system packages, and a virtual environment in .venv.
#
#   tests/setup.sh packages           install the packages that the tests and the demo lack
#   tests/setup.sh packages bench     and those of the benchmark
#   tests/setup.sh packages image     and those that bake the image
#   tests/setup.sh missing [KIND]     print them, one a line, and install nothing
#   tests/setup.sh venv DIRECTORY     make or bring up to date the virtual environment
#   tests/setup.sh checkov DIRECTORY  the same for checkov, whose own needs are many, in one of its own
#
# For Debian 12 and 13 and Ubuntu 24.04. Silent when there is nothing to do. Nothing is installed
# that is there already in any form, whoever put it there, and no service is started or left
# enabled: the tests run these programs themselves, in network namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nft, ip and sshd, and a user's PATH does not look

# command or file : Debian package that brings it
LAB_NEEDS='
conntrack : conntrack
curl : curl
gcc : gcc
ip : iproute2
iptables : iptables
make : make
nft : nftables
nsenter : util-linux
openssl : openssl
ssh : openssh-client
sshd : openssh-server
sysctl : procps
systemd-analyze : systemd
systemd-sysusers : systemd
tshark : tshark
unshare : util-linux
/etc/ssl/certs/ca-certificates.crt : ca-certificates
/usr/include/stdio.h : libc6-dev
/usr/include/libnetfilter_queue/libnetfilter_queue.h : libnetfilter-queue-dev
'
CHECKOV=3.3.30
BENCH_NEEDS='
haproxy : haproxy
iperf3 : iperf3
squid : squid-openssl
'
IMAGE_NEEDS='
mmdebstrap : mmdebstrap
unshare : util-linux
/usr/share/keyrings/debian-archive-keyring.gpg : debian-archive-keyring
'
# To validate its template; later releases have no package of it.
! grep -q ^VERSION_CODENAME=bookworm /etc/os-release || IMAGE_NEEDS+='packer : packer
'

fail() { # message, hint
    echo "setup: error: $1" >&2
    echo "setup: hint: $2" >&2
    exit 1
}

quietly() { # a command: its output is shown only when it fails
    local output
    output=$("$@" 2>&1) || { echo "$output" >&2; return 1; }
}

# Print the first Python that can make a virtual environment and compile an extension; where there
# is none, the first that lacks only what packages can add.
find_python() {
    local candidate incomplete=
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if lacks_of_python "$candidate" | grep -q .; then
            # packages can only complete the distribution's own
            [[ $("$candidate" -c 'import sys; print(sys.base_prefix)') != /usr ]] || incomplete=${incomplete:-$candidate}
        else
            echo "$candidate"
            return
        fi
    done
    echo "$incomplete"
}

lacks_of_python() { # interpreter
    "$1" - <<'PYTHON'
import importlib.util, os, sys, sysconfig
name = f"python{sys.version_info.major}.{sys.version_info.minor}"
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    print(f"{name}-venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(f"{name}-dev")
PYTHON
}

missing_packages() { # the text of one of the maps above
    local needed package python
    while read -r needed _ package; do
        [[ -n $needed ]] || continue
        case $needed in
            /*) [[ -e $needed ]] || echo "$package" ;;
            *) command -v "$needed" >/dev/null || echo "$package" ;;
        esac
    done <<<"$1"
    python=$(find_python)
    if [[ -z $python ]]; then
        printf '%s\n' python3 python3-venv python3-dev
    else
        lacks_of_python "$python"
    fi
}

missing() { # [bench|image]
    local needs=$LAB_NEEDS
    [[ ${1:-} != bench ]] || needs+=$BENCH_NEEDS
    [[ ${1:-} != image ]] || needs+=$IMAGE_NEEDS
    missing_packages "$needs" | sort -u
}

as_root=() # how to run a command as root; global, as a trap outlives the function that sets it

install_packages() { # [bench|image]
    local packages policy=/usr/sbin/policy-rc.d
    mapfile -t packages < <(missing "$@")
    ((${#packages[@]})) || return 0

    if ! command -v apt-get >/dev/null; then
        fail "this machine lacks what these Debian packages hold: ${packages[*]}" "there is no apt-get here: install their like"
    elif [[ $EUID == 0 ]]; then
        as_root=(env)
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n env)
    else
        fail "system packages are missing" "run: sudo apt-get install --no-install-recommends ${packages[*]}"
    fi

    echo "installing ${packages[*]}"
    # invoke-rc.d asks this program before it starts a service; 101 means no. One that is there
    # already is somebody's decision, and is left alone.
    if [[ ! -e $policy ]]; then
        trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    as_root+=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1)
    "${as_root[@]}" apt-get -qq update >/dev/null 2>&1 || true # one bad source of many is no reason to stop
    quietly "${as_root[@]}" apt-get -qq -y install --no-install-recommends "${packages[@]}" \
        || fail "apt-get could not install the packages" "run: sudo apt-get install --no-install-recommends ${packages[*]}"
    disable_services "${packages[@]}"

    mapfile -t packages < <(missing "$@")
    ((${#packages[@]} == 0)) || [[ ${packages[0]} == python3* ]] || fail "still missing: ${packages[*]}" "see what apt-get says about them"
}

# A service that came with a package just installed would run after the next boot.
disable_services() { # packages
    local package unit units
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        case $package in
            openssh-server) units='ssh.service ssh.socket' ;;
            haproxy) units=haproxy.service ;;
            squid-openssl) units=squid.service ;;
            *) continue ;;
        esac
        for unit in $units; do
            "${as_root[@]}" systemctl disable "$unit" >/dev/null 2>&1 || true # not every release has each
        done
    done
}

make_venv() { # directory
    local venv=$1 python
    python=$(find_python)
    [[ -n $python ]] || fail "no Python 3.11 or newer was found" "Debian 12 and Ubuntu 24.04 bring one; or put python3.11 or newer in PATH"
    # A clone that has moved, or a Python that has gone, leaves an environment that cannot run.
    if [[ $("$venv/bin/python" -c 'import sys; print(sys.prefix)' 2>/dev/null) != "$(realpath "$venv" 2>/dev/null)" ]]; then
        echo "making the virtual environment in $venv"
        quietly "$python" -m venv --clear "$venv" || fail "venv failed" "its message is above"
    fi
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check \
        --constraint requirements-dev.txt --editable '.[dev]' || fail "pip failed" "its message is above"
}

make_checkov() { # directory
    echo "installing checkov $CHECKOV in $1"
    quietly "$(find_python)" -m venv --clear "$1" || fail "venv failed" "its message is above"
    quietly "$1/bin/python" -m pip install --disable-pip-version-check "checkov==$CHECKOV" || fail "pip failed" "its message is above"
}

case ${1:-} in
    packages) install_packages "${@:2}" ;;
    missing) missing "${@:2}" ;;
    venv) make_venv "${2:?directory}" ;;
    checkov) make_checkov "${2:?directory}" ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
