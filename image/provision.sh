#!/bin/sh
# Bakes the image on a Debian 13 machine that has nothing yet, proves its promises, and writes it to a disk: what Packer
# runs on its builder (discriminat.pkr.hcl), and `make image-twice` in a chroot. As root.
#
#   ARCHIVE   the repository, packed by `git archive`, which puts commit and time into it
#   COMMIT    of an archive packed otherwise: what it is called,
#   EPOCH     and its time, in seconds
#   PACKAGES  packages downloaded before, as `image build` keeps them in build/packages
#   ARGS      more arguments of `image build`
#   DISK      a device, or a file; by default the one disk that holds nothing
set -eu
: "${ARCHIVE:?the packed repository}"
export DEBIAN_FRONTEND=noninteractive

if [ -z "${DISK:-}" ]; then
    for disk in $(lsblk --noheadings --paths --nodeps --exclude 1,7,11 --output NAME); do
        if [ "$(lsblk --noheadings --output NAME "$disk" | wc -l)" = 1 ] && ! blkid --probe "$disk" >/dev/null; then
            [ -z "${DISK:-}" ] || { echo "provision: error: $DISK and $disk are empty: say which with DISK" >&2; exit 1; }
            DISK=$disk
        fi
    done
    : "${DISK:?no disk is empty: attach one}"
fi

apt-get -qq update
apt-get -qq -y --no-install-recommends install mmdebstrap python3 >/dev/null

sources=$(mktemp -d /var/tmp/discriminat.XXXXXX)
trap 'rm -rf "$sources"' EXIT
tar --extract --gzip --no-same-owner --file "$ARCHIVE" --directory "$sources"
if [ -z "${COMMIT:-}" ]; then
    COMMIT=$(python3 -c 'import sys, tarfile; print(tarfile.open(sys.argv[1]).pax_headers["comment"])' "$ARCHIVE")
    EPOCH=$(stat --format %Y "$sources/pyproject.toml")
fi

cd "$sources"
if [ -n "${PACKAGES:-}" ]; then
    mkdir build
    cp -R "$PACKAGES" build/packages
fi
# shellcheck disable=SC2086 # words, as they are given to make
python3 -m image build --commit "$COMMIT" --epoch "$EPOCH" ${ARGS:-}
python3 -m image check
dd if="$(ls build/discriminat-*.raw)" of="$DISK" bs=4M conv=fsync status=none
echo "provision: $DISK holds the image of $COMMIT"
