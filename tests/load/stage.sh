# Sourced by run, soak and figures: a server of their own, publishers for it, and an end to both. Loopback only,
# ports of the kernel's choice.
# shellcheck shell=bash

source "$(dirname "${BASH_SOURCE[0]}")/../../bin/prepare.sh"
ffmpeg9=${SWIFTWATER_TEST_FFMPEG9:-$cache/ffmpeg9/bin/ffmpeg9}
work=$(mktemp -d)
server='' publishers=()
quiet=(-hide_banner -nostdin -loglevel error)

# A thousand sockets and more.
ulimit -n "$(ulimit -Hn)"

# An encoder may wait long for a goodbye that nobody answers; the server ends by itself.
stop_publishers() {
  local pid
  for pid in "${publishers[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  for pid in "${publishers[@]}"; do wait "$pid" 2>/dev/null || true; done
  publishers=()
}
stop_server() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  server=''
}
stop() { stop_publishers; stop_server; }
trap 'stop; rm -rf "$work"' EXIT

# build_release [FEATURES]: builds what is measured, unless $RELEASE says where it is.
build_release() {
  [ -n "${RELEASE:-}" ] && return
  cargo build --release --locked --manifest-path "$root/Cargo.toml" -p server -p tests \
    --bin swiftwater --bin load ${1:+--bin forwarder} --features "server/count-allocations${1:+,$1}"
  cargo build --release --locked --manifest-path "$root/Cargo.toml" -p sfu --example egress_floor
  RELEASE=$CARGO_TARGET_DIR/release
}

# make_clip FILE KBITS FPS SECONDS_PER_GOP AUDIO: twenty seconds of a picture that needs all its bits, once, so that
# nothing is encoded while we measure. AUDIO: aac, none, or the milliseconds of an Opus packet. A small bit rate gets
# a small picture, else the encoder could not keep it.
make_clip() {
  local file=$1 kbits=$2 fps=$3 gop=$4 audio=$5 size=1280x720 sound=(-an)
  [ -e "$file" ] && return
  [ "$kbits" -ge 1000 ] || size=640x360
  [ "$kbits" -ge 400 ] || size=320x180
  case $audio in
    none) ;;
    aac) sound=(-c:a aac -ac 2 -b:a 128k) ;;
    *) sound=(-c:a libopus -ac 2 -b:a 32k -vbr off -frame_duration "$audio") ;;
  esac
  local rate=("-b:v" "${kbits}k" -minrate "${kbits}k" -maxrate "${kbits}k" -bufsize "${kbits}k")
  ffmpeg "${quiet[@]}" -f lavfi -i "testsrc2=size=$size:rate=$fps,noise=alls=20:allf=t" \
    -f lavfi -i "sine=440:sample_rate=48000" -t 20 -pix_fmt yuv420p -c:v libx264 -preset veryfast -profile:v baseline \
    -bf 0 -g "$(awk "BEGIN { print int($gop * $fps) }")" "${rate[@]}" "${sound[@]}" "$file"
}

# start_server PROFILE SHARDS CHANNELS: sets $server, $http and $rtmp. Channels are load0, load1, … with the keys
# live_load0_key, ….
start_server() {
  local channel pin=()
  [ -z "${SERVER_CPUS:-}" ] || pin=(taskset -c "$SERVER_CPUS")
  printf '[rtc]\nbind = ["127.0.0.1"]\nsrtp_profiles = ["%s"]\nshards = %s\n' "$1" "$2" >"$work/config.toml"
  for channel in $(seq 0 $(($3 - 1))); do
    printf '[[channels]]\nname = "load%s"\nkeys = ["live_load%s_key"]\n' "$channel" "$channel" >>"$work/config.toml"
  done
  : >"$work/server.log"
  "${pin[@]}" "$RELEASE/swiftwater" serve --config "$work/config.toml" --data "$work/data" \
    --http 127.0.0.1:0 --rtmp 127.0.0.1:0 --rtc-port 0 --announce 127.0.0.1 2>"$work/server.log" &
  server=$!
  # Its greeting says which ports the kernel chose.
  until http=$(grep -om1 'open http://localhost:[0-9]*' "$work/server.log") &&
    rtmp=$(grep -om1 'rtmp://localhost:[0-9]*' "$work/server.log"); do
    kill -0 "$server" || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.1
  done
  http=${http##*:} rtmp=${rtmp##*:}
}

# start_publishers SOURCE CLIP COUNT: push until they are stopped.
start_publishers() {
  local channel read=("${quiet[@]}" -re -stream_loop -1 -i "$2") live
  for channel in $(seq 0 $(($3 - 1))); do
    case $1 in
      rtmp) ffmpeg "${read[@]}" -c copy -f flv "rtmp://127.0.0.1:$rtmp/live/live_load${channel}_key" & ;;
      whip)
        "$ffmpeg9" "${read[@]}" -c copy -f whip -authorization "live_load${channel}_key" "http://127.0.0.1:$http/whip" &
        ;;
      *) die "no such source: $1" ;;
    esac
    publishers+=($!)
  done
  until live=$(curl -fs "http://127.0.0.1:$http/api/v1/streams?limit=100" | grep -o '"state":"live"' | wc -l) && [ "$live" = "$3" ]; do
    for channel in "${publishers[@]}"; do
      kill -0 "$channel" || { cat "$work/server.log" >&2; exit 1; }
    done
    sleep 0.1
  done
  # A group of pictures, so that the first viewers find one.
  sleep 3
}

# urls COUNT: where the channels are watched.
urls() {
  seq -s, -f "http://127.0.0.1:$http/whep/load%.0f" 0 $(($1 - 1))
}

# client ARGUMENT…: the load generator.
client() {
  local pin=()
  [ -z "${CLIENT_CPUS:-}" ] || pin=(taskset -c "$CLIENT_CPUS")
  "${pin[@]}" "$RELEASE/load" "$@"
}
