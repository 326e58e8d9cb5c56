//! The fixture clip as a live source, with the machine-readable strip drawn into every frame.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use server::demo::strip;

use crate::Process;

/// The fixture clip: 1280x720, 25 fps, H.264 and AAC.
pub fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bbb_720p25_10s.mp4")
}

/// Pushes a small test picture and a tone by RTMP: H.264 by x264 with the arguments `video`, a keyframe every
/// second, and AAC at 44.1 kHz. Cheap enough for several at a time.
pub fn pattern(url: &str, video: &[&str]) -> Process {
    let inputs = [
        ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"],
        ["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"],
    ];
    let codec = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-b:v", "400k", "-threads", "1"];
    let rest = ["-c:a", "aac", "-b:a", "64k", "-f", "flv", url];
    Process::ffmpeg([&inputs.concat()[..], &codec, video, &rest].concat())
}

/// x264 without B-frames and without delay: arguments for [`pattern`].
pub const PLAIN: &[&str] = &["-preset", "ultrafast", "-tune", "zerolatency"];

const FPS: u64 = 25;

/// How large and how often.
#[derive(Clone, Copy)]
struct Pictures {
    width: usize,
    height: usize,
    fps: u64,
    /// Of the encoder, by RTMP: what fits the size.
    bit_rate: &'static str,
}

/// The clip as it is.
const WHOLE: Pictures = Pictures { width: 1280, height: 720, fps: FPS, bit_rate: "2500k" };
/// A quarter of its pixels, at 30 per second, of which RTMP's whole milliseconds are off by up to half a one. For tests
/// of what players do with segments: an encoder, a server and a browser without a GPU share two cores. Ten minutes of it
/// fit into the 150 MiB that Chromium keeps of video: players that throw nothing away stand when they are full.
const SMALL: Pictures = Pictures { width: 640, height: 360, fps: 30, bit_rate: "1000k" };

/// Plays the clip in a loop through an encoder, stamping the strip just before encoding.
pub struct StampedClip {
    stop: Arc<AtomicBool>,
    stamper: Option<JoinHandle<()>>,
    decoder: Child,
    encoder: Child,
}

impl StampedClip {
    /// Starts. `encode`: arguments of the encoder after its inputs, for example codecs and the target.
    /// Input 0 is the stamped picture, input 1 the sound of the clip, in a loop.
    pub fn start(ffmpeg: &str, encode: &[&str]) -> Self {
        Self::start_at(WHOLE, ffmpeg, encode)
    }

    /// The same with 640x360 at 30 pictures per second: what two cores can encode and draw beside everything else.
    pub fn start_small(ffmpeg: &str, encode: &[&str]) -> Self {
        Self::start_at(SMALL, ffmpeg, encode)
    }

    fn start_at(pictures: Pictures, ffmpeg: &str, encode: &[&str]) -> Self {
        let clip = clip();
        let size = format!("{}x{}", pictures.width, pictures.height);
        let mut decoder = Command::new("ffmpeg")
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-stream_loop", "-1", "-i"])
            .arg(&clip)
            .args(["-an", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ffmpeg is installed");
        let mut encoder = Command::new(ffmpeg)
            .args([
                "-hide_banner",
                "-loglevel",
                "fatal",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "yuv420p",
                "-s",
                &size,
            ])
            .args(["-r", &pictures.fps.to_string(), "-thread_queue_size", "64", "-i", "-"])
            .args(["-stream_loop", "-1", "-thread_queue_size", "64", "-i"])
            .arg(&clip)
            .args(["-map", "0:v", "-map", "1:a"])
            .args(encode)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the encoder is installed");
        let stop = Arc::new(AtomicBool::new(false));
        let frames = decoder.stdout.take().expect("piped");
        let sink = encoder.stdin.take().expect("piped");
        let stopped = Arc::clone(&stop);
        let stamper = std::thread::spawn(move || stamp(frames, sink, pictures, &stopped));
        Self { stop, stamper: Some(stamper), decoder, encoder }
    }

    /// By RTMP, H.264 without B-frames and AAC at 44.1 kHz, a keyframe every `gop` frames.
    pub fn rtmp(url: &str, gop: u32) -> Self {
        Self::rtmp_of(WHOLE, url, gop)
    }

    /// The same, 640x360 at 30 pictures per second.
    pub fn rtmp_small(url: &str, gop: u32) -> Self {
        Self::rtmp_of(SMALL, url, gop)
    }

    fn rtmp_of(pictures: Pictures, url: &str, gop: u32) -> Self {
        let gop = gop.to_string();
        let video =
            ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", &gop];
        let bps = pictures.bit_rate;
        let rate = ["-b:v", bps, "-maxrate", bps, "-bufsize", bps];
        let audio = ["-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "128k", "-f", "flv", url];
        Self::start_at(pictures, "ffmpeg", &[&video[..], &rate[..], &audio[..]].concat())
    }

    /// By WHIP from ffmpeg 9, H.264 without B-frames and Opus, a keyframe every `gop` frames. It sends none when it is
    /// asked for one.
    pub fn whip(url: &str, key: &str, gop: u32) -> Self {
        let gop = gop.to_string();
        let video =
            ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline"];
        let rate = ["-bf", "0", "-g", &gop, "-pix_fmt", "yuv420p", "-b:v", "2500k", "-maxrate", "2500k"];
        let audio = ["-bufsize", "2500k", "-c:a", "libopus", "-ar", "48000", "-ac", "2"];
        let target = ["-f", "whip", "-authorization", key, url];
        Self::start(&crate::process::ffmpeg9_path(), &[&video[..], &rate, &audio, &target].concat())
    }
}

impl Drop for StampedClip {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for child in [&mut self.decoder, &mut self.encoder] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(stamper) = self.stamper.take() {
            let _ = stamper.join();
        }
    }
}

/// Draws counter and clock into each frame at the moment at which it goes to the encoder.
#[expect(clippy::disallowed_methods, reason = "a live source runs by the clock")]
fn stamp(mut frames: ChildStdout, mut sink: ChildStdin, pictures: Pictures, stop: &AtomicBool) {
    let mut frame = vec![0u8; pictures.width * pictures.height * 3 / 2];
    let started = Instant::now();
    for counter in 0u64.. {
        if stop.load(Ordering::Relaxed) || frames.read_exact(&mut frame).is_err() {
            return;
        }
        let due = started + Duration::from_micros(counter * 1_000_000 / pictures.fps);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        draw(&mut frame, pictures, &strip::encode(counter as u32, wall.as_millis() as u64));
        if sink.write_all(&frame).is_err() {
            return;
        }
    }
}

/// Draws the strip into the top rows of a planar 4:2:0 picture.
fn draw(frame: &mut [u8], pictures: Pictures, bits: &[u8; strip::CELLS / 8]) {
    let Pictures { width, height, .. } = pictures;
    let rows = strip::rows(height);
    let cell_width = width / strip::CELLS;
    let (luma, chroma) = frame.split_at_mut(width * height);
    for line in luma.chunks_mut(width).take(rows) {
        for (cell, pixels) in line.chunks_mut(cell_width).enumerate() {
            let light = (bits[cell / 8] >> (7 - cell % 8)) & 1 == 1;
            pixels.fill(if light { 235 } else { 16 });
        }
    }
    for plane in chroma.chunks_mut(width * height / 4) {
        plane[..width / 2 * rows / 2].fill(128);
    }
}
