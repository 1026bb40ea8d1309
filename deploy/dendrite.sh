#!/bin/bash
# Builds Dendrite, the Matrix homeserver that the tests talk to, once into the
# user's cache, and prints the folder its programs are in. Its tag cannot be
# installed by `go install …@v0.13.8`: it is built from a module of its own that
# has that version's requirements and checksums.
set -euo pipefail
version=v0.13.8
module=github.com/matrix-org/dendrite
bin="${XDG_CACHE_HOME:-$HOME/.cache}/afterbeep/dendrite-$version"
programs=(dendrite create-account generate-keys generate-config)

complete() { for p in "${programs[@]}"; do [ -x "$bin/$p" ] || return 1; done; }
if ! complete; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  export GOFLAGS=-mod=mod GOWORK=off CGO_ENABLED=0
  source=$(go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  sed "s#^module .*#module dendrite-for-tests\n\nrequire $module $version#" "$source/go.mod" > go.mod
  {
    cat "$source/go.sum"
    echo "$module $version h1:8smeveNeUlstTY3lnfKquIsFapU1lAF1Kv9Djs5K1Z4="
    echo "$module $version/go.mod h1:PnR4OV+7UNVMVF8Kz+fwKOqdyBODnAhigtbhGNiYuaQ="
  } > go.sum
  mkdir -p "$bin"
  for p in "${programs[@]}"; do # moved into place whole, so that what is there works
    GOFLAGS=-mod=readonly nice go build -trimpath -o "$work/$p" "$module/cmd/$p" >&2
    mv "$work/$p" "$bin/$p"
  done
fi
echo "$bin"
