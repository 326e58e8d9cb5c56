# syntax=docker/dockerfile:1
# The server in a container: `docker build -t swiftwater .`, then compose.yaml says how to run it.

FROM node:22-bookworm-slim AS pages
WORKDIR /src/web-player
COPY web-player/package.json web-player/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web-player/ ./
RUN npm run build

FROM rust:1-bookworm AS server
# cmake: libopus; nasm: openh264 is two to three times slower without it.
RUN apt-get update && apt-get install -y --no-install-recommends cmake nasm pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=pages /src/web-player/dist web-player/dist
RUN cargo build --release --locked -p server && install -D -m 755 target/release/swiftwater /out/swiftwater

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Swiftwater" \
      org.opencontainers.image.description="Live streaming server: RTMP and WHIP in, WebRTC and LL-HLS out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Nobody in particular; the data directory is his.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data swiftwater && install -d -m 700 -o 10001 -g 10001 /data
COPY --from=server /out/swiftwater /usr/local/bin/swiftwater
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV SWIFTWATER__DATA__DIR=/data
EXPOSE 8080/tcp 1935/tcp 8189/udp 8189/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["swiftwater", "healthcheck"]
ENTRYPOINT ["swiftwater"]
CMD ["serve"]
