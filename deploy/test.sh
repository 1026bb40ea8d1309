#!/bin/bash
# Installs what the tests need, then passes them all: formatting, linter,
# build, the demo, and every test with the race detector and the real peers.
# As root it installs Debian packages; else it lists what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin # Kamailio's
step() { printf '\n== %s\n' "$*"; }

step "what the tests need"
declare -A package=(
  [sipp]=sip-tester [baresip]=baresip-core [ffmpeg]=ffmpeg [opusinfo]=opus-tools
  [chromium]=chromium [svmap]=sipvicious [openssl]=openssl [gcc]=gcc [redis-server]=redis-server
  [aiosmtpd]=python3-aiosmtpd [kamailio]=kamailio
)
sounds=/usr/share/asterisk/sounds/en_US_f_Allison
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ -d "$sounds" ] || missing+=(asterisk-core-sounds-en-wav)
compgen -G "/usr/lib/*/kamailio/modules/tls.so" >/dev/null || missing+=(kamailio-tls-modules)
[ -e /usr/share/sounds/alsa/Front_Center.wav ] || missing+=(alsa-utils)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "missing: ${missing[*]}"
    echo "as root: apt-get install ${missing[*]}"
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  patient=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
  apt-get "${patient[@]}" update -q >/dev/null
  apt-get "${patient[@]}" install -q -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# The linter is built once, at its exact version, and kept in the user's cache.
lint_version=v2.13.1
lint="${XDG_CACHE_HOME:-$HOME/.cache}/afterbeep/golangci-lint-$lint_version/golangci-lint"
if [ ! -x "$lint" ]; then
  step "building the linter (once)"
  GOBIN="$(dirname "$lint")" go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$lint_version"
fi

# So is the Matrix homeserver that the chat tests talk to.
step "building Dendrite (once)"
bash deploy/dendrite.sh

step "formatting and linter"
"$lint" fmt --diff
"$lint" run --allow-serial-runners # waits for another that runs on this machine

step "build, as a release is built"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -mod=readonly -trimpath -tags goolm -o "$work/afterbeep" ./gateway
CGO_ENABLED=0 go build -mod=readonly -trimpath -o /dev/null ./gateway # without the encryption of Matrix

step "the demo"
CGO_ENABLED=0 go run ./gateway demo --once

if [ "$(id -u)" = 0 ]; then
  step "the binary alone in an empty root, as nobody: what the container is"
  mkdir -m 1777 "$work/tmp"
  "$work/afterbeep" example-config | sed 's#path: ./data#path: /tmp/data#; s#127.0.0.1:[0-9]*#127.0.0.1:0#g' > "$work/afterbeep.yaml"
  chmod 755 "$work"
  chroot --userspec=65532:65532 "$work" /afterbeep check --config /afterbeep.yaml
  chroot --userspec=65532:65532 "$work" /afterbeep demo --once
fi

# A peer that is missing fails its test from here on, instead of skipping it.
export CI=true

step "faults that need root"
bash deploy/faults.sh

step "fuzzing, ten seconds each"
bash deploy/fuzz.sh

step "tests"
[ -d "${AFTERBEEP_SPECS:-../shared/specs}" ] ||
  echo "left out: WhatsApp's and Telegram's published schemas are in neither AFTERBEEP_SPECS nor ../shared/specs, so requests are not held against them"
CGO_ENABLED=0 go test -count=1 -run Allocate ./media/... ./sip # the race detector allocates by itself
CGO_ENABLED=0 go test -count=1 -run TestMatrixPeer/encrypted ./delivery/channel # what a binary without encryption says
CGO_ENABLED=1 go test -race -tags goolm -count=1 -timeout 20m ./...
