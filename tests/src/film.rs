//! A film: what a viewer was sent, decoded by ffmpeg. Each picture says when it is shown and when it was made (by its strip),
//! each stretch of sound when it begins.

#![expect(
    clippy::disallowed_methods,
    reason = "a strip says 40 bits of the wall clock; the rest is that of now"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use server::demo::strip;

/// Samples of sound per second. What was not is refused, not resampled: that would shift it.
pub const RATE: u32 = 48_000;

/// Pixels of a cell of the strip, when the picture is made small enough to read it.
const CELL: usize = 4;

/// Of the strip's clock.
const CLOCK_MODULUS: u64 = 1 << 40;

/// Pictures and sound with times of one clock, in milliseconds; of which clock is another question.
#[derive(Clone, Debug, Default)]
pub struct Film {
    /// Those whose strip could be read, in order.
    pub pictures: Vec<Picture>,
    /// In order.
    pub sound: Vec<Stretch>,
}

/// A picture.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// When it is shown.
    pub at_ms: f64,
    /// When it was made: unix milliseconds.
    pub made_ms: f64,
    /// Which one it is.
    pub number: u32,
}

/// Samples without a gap between them.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// When the first one is heard.
    pub at_ms: f64,
    /// Of one channel.
    pub samples: Vec<f32>,
}

impl Film {
    /// Out of files that follow each other, by their own times.
    pub fn read(pictures: &[PathBuf], sound: &[PathBuf]) -> Self {
        let pictures = pictures.iter().flat_map(|file| self::pictures(file)).collect();
        Self { pictures, sound: sound.iter().flat_map(|file| self::sound(file)).collect() }
    }

    /// Of a source that stamps a picture with when it is due, as the demo does, and on a busy machine draws it later, with the
    /// clock of then: it belongs to when it was due, by its number and by the picture that was drawn the least late.
    #[must_use]
    pub fn paced(mut self, pictures_per_second: f64) -> Self {
        let due_ms = |number: u32| f64::from(number) * 1000.0 / pictures_per_second;
        let begun =
            self.pictures.iter().map(|it| it.made_ms - due_ms(it.number)).fold(f64::INFINITY, f64::min);
        for picture in &mut self.pictures {
            picture.made_ms = begun + due_ms(picture.number);
        }
        self
    }
}

/// Pictures by the times in a file.
pub fn pictures(file: &Path) -> Vec<Picture> {
    // The middle half of the strip, which is a fortieth of the picture at least, also of one that was made smaller.
    let filter = format!(
        "showinfo,crop=iw:max(2\\,ih/80):0:ih/160,scale={}:1:flags=area,format=gray",
        strip::CELLS * CELL
    );
    let (rows, said) =
        decode(file, &["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", &filter, "-f", "rawvideo"]);
    let base = said.lines().find_map(|line| field(line, "time_base:")).expect("ffmpeg says the time base");
    let (numerator, denominator) = base.trim_end_matches(',').split_once('/').expect("a fraction");
    let tick_ms = 1000.0 * number(numerator) / number(denominator);
    let times: Vec<f64> =
        said.lines().filter_map(|line| field(line, " pts:")).map(|it| number(it) * tick_ms).collect();
    let rows = rows.chunks_exact(strip::CELLS * CELL);
    assert_eq!(rows.len(), times.len(), "a time for each picture: {said}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let seen = rows.zip(times).filter_map(|(row, at_ms)| {
        let (number, made) = read(row)?;
        // As near to now as it can be.
        let cycles = (now + CLOCK_MODULUS / 2 - made) / CLOCK_MODULUS;
        Some(Picture { at_ms, made_ms: (cycles * CLOCK_MODULUS + made) as f64, number })
    });
    seen.collect()
}

/// Sound by the times in a file.
pub fn sound(file: &Path) -> Vec<Stretch> {
    let (bytes, said) = decode(file, &["-map", "0:a:0", "-af", "ashowinfo", "-ac", "1", "-f", "f32le"]);
    let mut samples =
        bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect::<Vec<_>>();
    let mut sound = Vec::new();
    for line in said.lines().filter(|line| line.contains(" nb_samples:")) {
        let of = |name| number(field(line, name).expect("ffmpeg says it"));
        assert_eq!(of(" rate:"), f64::from(RATE), "{line}");
        let rest = samples.split_off(of(" nb_samples:") as usize);
        let at_ms = 1000.0 * of(" pts:") / f64::from(RATE);
        sound.push(Stretch { at_ms, samples: std::mem::replace(&mut samples, rest) });
    }
    assert!(samples.is_empty(), "{} samples without a time: {said}", samples.len());
    sound
}

/// What comes out, and what ffmpeg says about it.
fn decode(file: &Path, how: &[&str]) -> (Vec<u8>, String) {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info", "-copyts", "-i"])
        .arg(file)
        .args(how)
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", file.display());
    (output.stdout, said)
}

/// Number and clock in a row of pixels; `None` where there is no valid strip.
fn read(row: &[u8]) -> Option<(u32, u64)> {
    let mut bits = [0; strip::CELLS / 8];
    for (cell, pixels) in row.chunks_exact(CELL).enumerate() {
        // Without the edges, which codecs and scaling blur.
        let light = pixels[1..CELL - 1].iter().map(|it| u32::from(*it)).sum::<u32>() / (CELL as u32 - 2);
        bits[cell / 8] |= u8::from(light > 127) << (7 - cell % 8);
    }
    strip::decode(&bits)
}

/// What stands behind a name in a line, also after spaces.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split_whitespace().next()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
