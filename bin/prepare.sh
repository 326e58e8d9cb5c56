# Sourced by bin/up and bin/test: where things are, and how to get what is missing.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/swiftwater
# One target directory for all clones, outside of them: a second clone builds our crates only.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
mkdir -p "$cache" "$CARGO_TARGET_DIR"

# Cargo takes what another clone built for its own wherever that is younger than this clone's files: another commit, and
# another clone's paths inside of tests. So what a clone built of our crates is not for the next one; dependencies are.
if [ "$(cat "$CARGO_TARGET_DIR/.clone" 2>/dev/null)" != "$root" ]; then
  for crate in "$root"/*/Cargo.toml; do
    rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/"$(sed -n '/^name/{s/^name = "\(.*\)"/\1/p;q}' "$crate")"-*
  done
  printf '%s' "$root" >"$CARGO_TARGET_DIR/.clone"
fi

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this needs root once, to install packages: $*"
  fi
}

# need_packages PACKAGE...: installs those that are missing, by apt.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "please install: ${missing[*]}"
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_toolchain() {
  command -v cargo >/dev/null || die "Rust is missing: install it with rustup, version 1.94 or newer"
  command -v npm >/dev/null || die "Node is missing: install Node 20 or newer, with npm"
  # cmake: libopus; nasm: openh264 is two to three times slower without it.
  need_packages build-essential cmake nasm pkg-config
}

# need_modules DIR: `npm ci` there, unless it was done for this lock file.
need_modules() {
  local dir=$1 sum
  sum=$(sha256sum <"$dir/package-lock.json")
  [ "$(cat "$dir/node_modules/.installed" 2>/dev/null)" = "$sum" ] && return
  (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
  printf '%s' "$sum" >"$dir/node_modules/.installed"
}

# build_pages: builds web-player/dist, unless it was built from these very files.
build_pages() {
  local sum
  need_modules "$root/web-player"
  # Without git: whoever unpacked an archive may not have it.
  sum=$(cd "$root/web-player" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum | sha256sum)
  [ "$(cat "$root/web-player/dist/.built" 2>/dev/null)" = "$sum" ] && return
  (cd "$root/web-player" && npm run --silent build)
  printf '%s' "$sum" >"$root/web-player/dist/.built"
}
