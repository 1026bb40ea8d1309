#!/bin/bash
# Provokes the faults that need root and file systems of their own: a power
# cut, a disk that is full, one that turns read-only. What this machine cannot
# do is left out, with a line that says why; what it can must pass.
set -euo pipefail
cd "$(dirname "$0")/.."

# The number of each fault, the file system it needs, its test, what it is.
faults="5 xfs TestPowerCut power cut
7 ext4 TestDiskFullBeforeTheAnswer disk full before the answer
8 ext4 TestDiskFullDuringTheCall disk full in mid-call
9 ext4 TestDiskFullAtTheReceipt disk full when a delivery is to be kept
11 ext4 TestDiskTurnsReadOnly file system turns read-only"

# Each function says why its file system cannot be had; nothing when it can.
missing_ext4() {
  truncate -s 32M "$work/ext4.img"
  mkfs.ext4 -q "$work/ext4.img" || { echo "mkfs.ext4 fails"; return; }
  tried mount -o loop "$work/ext4.img" "$work/on" || return 0
  umount "$work/on" || umount -l "$work/on" # busy: somebody looks at it
}
missing_xfs() {
  truncate -s 320M "$work/xfs.img"
  mkfs.xfs -q "$work/xfs.img" || { echo "mkfs.xfs fails"; return; }
  tried mount -o loop "$work/xfs.img" "$work/on" || return 0
  echo something > "$work/on/file"
  tried cp --reflink=always "$work/on/file" "$work/on/copy" || true
  umount "$work/on" || umount -l "$work/on" # busy: somebody looks at it
}
tried() { "$@" 2> "$work/why" || { head -n 1 "$work/why"; return 1; }; }

if [ "$(id -u)" = 0 ]; then
  if ! { command -v mkfs.ext4 && command -v mkfs.xfs && command -v mount; } > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    patient=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
    apt-get "${patient[@]}" update -q > /dev/null
    apt-get "${patient[@]}" install -q -y --no-install-recommends e2fsprogs xfsprogs mount > /dev/null
  fi
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/on"
  ext4=$(missing_ext4)
  xfs=$(missing_xfs)
else
  ext4="not run as root"
  xfs=$ext4
fi

tests=()
while read -r number needs test what; do
  if [ -n "${!needs}" ]; then
    echo "left out: fault $number, $what: ${!needs}"
  else
    tests+=("$test")
  fi
done <<< "$faults"
if [ ${#tests[@]} -gt 0 ]; then
  AFTERBEEP_ROOT_FAULTS=1 CGO_ENABLED=0 go test -count=1 -timeout 5m -v -run "^($(IFS='|'; echo "${tests[*]}"))\$" ./gateway
fi
