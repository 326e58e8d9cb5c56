//! Sound stays in step with the picture: bursts at known times through both conversions, in virtual time.
#![cfg(feature = "aac-fdk")]
#![expect(clippy::print_stdout, reason = "the measured offsets are worth reading")]
#![expect(clippy::disallowed_methods, reason = "an Instant as the zero of virtual time")]

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Codec, CodecConfig, Frame, MediaTime, Timescale};
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder as _, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration as Ticks, Timestamp};
use transcode::Config;
use transcode::audio::{Converter, Tally};

/// A 1 kHz burst of 20 ms around each whole second, in source time.
fn sound_at(seconds: f64) -> f64 {
    let off = seconds - seconds.round();
    if off.abs() > 0.010 || seconds < 0.5 {
        return 0.0;
    }
    0.6 * (TAU * 1000.0 * off).cos() * (TAU * off / 0.040).cos().powi(2)
}

/// Finds where the bursts are: the centre of energy around each whole second.
#[derive(Default)]
struct Ear {
    bursts: Vec<(f64, f64)>,
}

impl Ear {
    fn hear(&mut self, at: f64, sample: f64) {
        let second = at.round();
        if second < 1.0 || (at - second).abs() > 0.25 {
            return;
        }
        let index = second as usize;
        if self.bursts.len() <= index {
            self.bursts.resize(index + 1, (0.0, 0.0));
        }
        let energy = sample * sample;
        self.bursts[index].0 += energy;
        self.bursts[index].1 += energy * (at - second);
    }

    /// Milliseconds that the burst of `second` is late; `None` if it was not heard.
    fn late_ms(&self, second: usize) -> Option<f64> {
        let (energy, moment) = *self.bursts.get(second)?;
        (energy > 20.0).then(|| moment / energy * 1000.0)
    }
}

/// What the source does.
#[derive(Clone, Copy)]
struct Source {
    rate: u32,
    channels: usize,
    /// How much faster than it says its sound card runs.
    ppm: f64,
    /// Timestamps are rounded to milliseconds, as RTMP does.
    millis: bool,
    seconds: u32,
}

impl Source {
    fn time(&self, sample: i64) -> f64 {
        sample as f64 / (f64::from(self.rate) * (1.0 + self.ppm / 1e6))
    }

    fn block(&self, first: i64, frames: usize) -> Vec<i16> {
        let sample = |i| (sound_at(self.time(first + i)) * 32_767.0) as i16;
        (0..frames as i64).flat_map(|i| std::iter::repeat_n(sample(i), self.channels)).collect()
    }

    fn stamp(&self, sample: i64, scale: Timescale) -> MediaTime {
        let ticks = self.time(sample) * f64::from(scale.hz());
        if self.millis {
            let millis = MediaTime::new(
                (self.time(sample) * 1000.0).round() as i64,
                Timescale::new(1000).expect("not zero"),
            );
            return millis.rescale(scale);
        }
        MediaTime::new(ticks.round() as i64, scale)
    }

    fn frame(&self, pts: MediaTime, data: Bytes, config: &Arc<CodecConfig>, start: Instant) -> Frame {
        let arrival = start + Duration::from_micros(pts.as_micros().max(0) as u64);
        let config = Arc::clone(config);
        Frame {
            dts: pts,
            pts,
            duration: 0,
            keyframe: true,
            discardable: false,
            data,
            config,
            epoch: 0,
            arrival,
        }
    }

    fn aac(&self, mut take: impl FnMut(Frame)) {
        use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, Encoder, EncoderParams, Transport};
        let encoder = Encoder::new(EncoderParams {
            bit_rate: BitRate::Cbr(if self.rate < 16_000 { 24_000 } else { 128_000 }),
            sample_rate: self.rate,
            transport: Transport::Raw,
            channels: if self.channels == 1 { ChannelMode::Mono } else { ChannelMode::Stereo },
            audio_object_type: AudioObjectType::Mpeg4LowComplexity,
        })
        .expect("FDK encodes this");
        let info = encoder.info().expect("info");
        let config = Arc::new(CodecConfig::Aac(media::aac::Config {
            asc: Bytes::copy_from_slice(&info.confBuf[..info.confSize as usize]),
            object_type: 2,
            sample_rate: self.rate,
            channels: self.channels as u8,
        }));
        let scale = Timescale::new(self.rate).expect("not zero");
        let start = Instant::now();
        let mut room = vec![0; 8192];
        for block in 0..i64::from(self.seconds) * i64::from(self.rate) / 1024 {
            let input = self.block(block * 1024, 1024);
            let done = encoder.encode(&input, &mut room).expect("encodes");
            let pts = self.stamp(block * 1024 - i64::from(info.nDelay), scale);
            take(self.frame(pts, Bytes::copy_from_slice(&room[..done.output_size]), &config, start));
        }
    }

    fn opus(&self, mut take: impl FnMut(Frame)) {
        let layout = if self.channels == 1 { opus::Channels::Mono } else { opus::Channels::Stereo };
        let mut encoder = opus::Encoder::new(48_000, layout, opus::Application::Audio).expect("encoder");
        encoder.set_complexity(3).expect("complexity");
        let delay = i64::from(encoder.get_lookahead().expect("lookahead"));
        let channels = self.channels as u8;
        let config = Arc::new(CodecConfig::Opus(media::opus::Config { channels, pre_skip: delay as u16 }));
        let start = Instant::now();
        for block in 0..i64::from(self.seconds) * 50 {
            let packet = encoder.encode_vec(&self.block(block * 960, 960), 1500).expect("encodes");
            let pts = self.stamp(block * 960 - delay, Timescale::OPUS);
            take(self.frame(pts, packet.into(), &config, start));
        }
    }
}

/// Decodes what came out, and listens.
struct Listener {
    ear: Ear,
    opus: Option<opus::Decoder>,
    aac: Option<symphonia::default::codecs::AacDecoder>,
    room: Vec<f32>,
    next: Option<i64>,
    steps: usize,
    frames: usize,
}

impl Listener {
    fn new() -> Self {
        let ear = Ear::default();
        Self { ear, opus: None, aac: None, room: vec![0.0; 2 * 5760], next: None, steps: 0, frames: 0 }
    }

    fn listen(&mut self, frame: &Frame) {
        assert_eq!(frame.pts.scale(), Timescale::OPUS);
        if let Some(next) = self.next {
            assert!(frame.pts.ticks() >= next, "time never steps back: {} < {next}", frame.pts.ticks());
            self.steps += usize::from(frame.pts.ticks() > next);
        }
        self.next = Some(frame.pts.ticks() + i64::from(frame.duration));
        self.frames += 1;
        let (channels, samples) = match &*frame.config {
            CodecConfig::Opus(config) => {
                assert_eq!(config.pre_skip, 312);
                let channels = usize::from(config.channels);
                let layout = if channels == 1 { opus::Channels::Mono } else { opus::Channels::Stereo };
                let decoder =
                    self.opus.get_or_insert_with(|| opus::Decoder::new(48_000, layout).expect("decoder"));
                let samples = decoder.decode_float(&frame.data, &mut self.room, false).expect("decodes");
                (channels, samples)
            }
            CodecConfig::Aac(config) => {
                assert_eq!((config.sample_rate, config.object_type), (48_000, 2));
                let decoder = self.aac.get_or_insert_with(|| {
                    let mut params = AudioCodecParameters::new();
                    params.for_codec(CODEC_ID_AAC).with_extra_data(config.asc.to_vec().into());
                    let options = AudioDecoderOptions::default();
                    symphonia::default::codecs::AacDecoder::try_new(&params, &options).expect("decoder")
                });
                let packet = PacketRef::new(0, Timestamp::ZERO, Ticks::ZERO, &frame.data);
                let sound = decoder.decode_ref(&packet).expect("decodes");
                sound.copy_to_vec_interleaved(&mut self.room);
                (sound.num_planes(), sound.frames())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(samples as u32, frame.duration);
        for i in 0..samples {
            let at = (frame.pts.ticks() + i as i64) as f64 / 48_000.0;
            self.ear.hear(at, f64::from(self.room[i * channels]));
        }
    }
}

/// Runs a source through a converter; `keep` says which frames arrive.
fn run(
    source: Source,
    from: Codec,
    mut change: impl FnMut(usize, Frame) -> Option<Frame>,
) -> (Listener, Tally) {
    let target = if from == Codec::Aac { Codec::Opus } else { Codec::Aac };
    let config = Config { opus_complexity: 3, ..Config::default() };
    let mut converter = Converter::new(target, &config).expect("built in");
    let (mut listener, mut out, mut number) = (Listener::new(), Vec::new(), 0);
    let mut take = |frame: Frame| {
        number += 1;
        let Some(frame) = change(number - 1, frame) else { return };
        let arrival = frame.arrival;
        converter.push(&frame, &mut out).expect("converts");
        for frame in out.drain(..) {
            assert_eq!(frame.arrival, arrival, "passed on from the frame that completed it");
            listener.listen(&frame);
        }
    };
    match from {
        Codec::Aac => source.aac(&mut take),
        _ => source.opus(&mut take),
    }
    let tally = converter.take_tally();
    (listener, tally)
}

fn assert_late(listener: &Listener, second: usize, limit_ms: f64, what: &str) {
    let late = listener.ear.late_ms(second).unwrap_or_else(|| panic!("{what}: no burst at {second} s"));
    assert!(late.abs() <= limit_ms, "{what}: {late:.2} ms late at {second} s");
}

const TEN_MINUTES: u32 = 603;

fn ten_minutes(source: Source, from: Codec, what: &str) {
    let (listener, tally) = run(source, from, |_, frame| Some(frame));
    for second in [2, 3, 5] {
        assert_late(&listener, second, 5.0, what);
    }
    let mut worst = 0.0_f64;
    for second in 2..=600 {
        assert_late(&listener, second, 20.0, what);
        worst = worst.max(listener.ear.late_ms(second).unwrap_or(0.0).abs());
    }
    assert_eq!(listener.steps, 0, "{what}: no holes");
    assert_eq!(tally.reanchors, 0, "{what}: slewed, not cut");
    println!(
        "{what}: 2 s {:+.2} ms, 600 s {:+.2} ms, worst {worst:.2} ms, {} slips",
        listener.ear.late_ms(2).unwrap_or(f64::NAN),
        listener.ear.late_ms(600).unwrap_or(f64::NAN),
        tally.drift_corrections
    );
}

#[test]
fn aac_44100_with_rtmp_timestamps_for_ten_minutes() {
    let source = Source { rate: 44_100, channels: 1, ppm: 0.0, millis: true, seconds: TEN_MINUTES };
    ten_minutes(source, Codec::Aac, "AAC 44.1 kHz to Opus");
}

#[test]
fn aac_48000_with_a_fast_clock_for_ten_minutes() {
    let source = Source { rate: 48_000, channels: 1, ppm: 100.0, millis: true, seconds: TEN_MINUTES };
    ten_minutes(source, Codec::Aac, "AAC 48 kHz +100 ppm to Opus");
}

#[test]
fn aac_44100_with_a_slow_clock_for_ten_minutes() {
    let source = Source { rate: 44_100, channels: 1, ppm: -100.0, millis: true, seconds: TEN_MINUTES };
    ten_minutes(source, Codec::Aac, "AAC 44.1 kHz -100 ppm to Opus");
}

#[test]
fn opus_with_a_fast_clock_for_ten_minutes() {
    let source = Source { rate: 48_000, channels: 1, ppm: 100.0, millis: false, seconds: TEN_MINUTES };
    ten_minutes(source, Codec::Opus, "Opus +100 ppm to AAC");
}

#[test]
fn opus_for_ten_minutes() {
    let source = Source { rate: 48_000, channels: 2, ppm: 0.0, millis: false, seconds: TEN_MINUTES };
    ten_minutes(source, Codec::Opus, "Opus to AAC");
}

#[test]
fn every_rate_of_aac_starts_in_step() {
    for rate in
        [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000]
    {
        for channels in [1, 2] {
            let source = Source { rate, channels, ppm: 0.0, millis: false, seconds: 5 };
            let (listener, _) = run(source, Codec::Aac, |_, frame| Some(frame));
            for second in [2, 3, 4] {
                assert_late(&listener, second, 5.0, &format!("{rate} Hz, {channels} channels"));
            }
        }
    }
}

#[test]
fn lost_frames_leave_silence_and_nothing_creeps() {
    let source = Source { rate: 44_100, channels: 2, ppm: 0.0, millis: true, seconds: 40 };
    // One frame at 5.3 s, five at 10.3 s, a minute's worth of seconds at 20.3 s; 43 frames are a second.
    let lost = |n: usize| n == 228 || (443..448).contains(&n) || (874..1100).contains(&n);
    let (listener, tally) = run(source, Codec::Aac, |n, frame| (!lost(n)).then_some(frame));
    for second in [5, 6, 10, 11, 12, 19, 27, 30, 39] {
        assert_late(&listener, second, 5.0, "AAC with gaps");
    }
    assert_eq!(listener.steps, 1, "only the long gap is a hole");
    assert_eq!(tally.reanchors, 3);
}

#[test]
fn lost_opus_packets_are_concealed() {
    let source = Source { rate: 48_000, channels: 2, ppm: 0.0, millis: false, seconds: 40 };
    let lost = |n: usize| n % 100 == 30 || (515..518).contains(&n) || (1015..1030).contains(&n);
    let (listener, tally) = run(source, Codec::Opus, |n, frame| (!lost(n)).then_some(frame));
    for second in 2..39 {
        if second != 21 {
            assert_late(&listener, second, 5.0, "Opus with gaps");
        }
    }
    assert_eq!(listener.steps, 0);
    assert_eq!(tally.concealments, 20);
    assert_eq!(tally.reanchors, 1, "320 ms are silence");
}

#[test]
fn a_reconnect_goes_on_at_its_place() {
    let source = Source { rate: 48_000, channels: 2, ppm: 0.0, millis: true, seconds: 30 };
    // The second publication begins 4 s later on the same clock.
    let (listener, _) = run(source, Codec::Aac, |n, mut frame| {
        if n >= 470 {
            frame.epoch = 1;
            frame.pts = frame.pts.offset(4 * 48_000);
            frame.dts = frame.pts;
        }
        Some(frame)
    });
    for second in [2, 9, 16, 20, 30] {
        assert_late(&listener, second, 5.0, "after a reconnect");
    }
    assert_eq!(listener.steps, 1);
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    for (from, seed) in [(Codec::Aac, 1_u64), (Codec::Aac, 2), (Codec::Opus, 3), (Codec::Opus, 4)] {
        let channels = 1 + (seed % 2) as usize;
        for rate in [48_000, 22_050] {
            if from == Codec::Opus && rate != 48_000 {
                continue;
            }
            let source = Source { rate, channels, ppm: 0.0, millis: false, seconds: 60 };
            let target = if from == Codec::Aac { Codec::Opus } else { Codec::Aac };
            let mut converter = Converter::new(target, &Config::default()).expect("built in");
            let (mut dice, mut errors, mut out) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0, Vec::new());
            let mut roll = move || {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice as usize
            };
            let mut number = 0;
            let mut take = |mut frame: Frame| {
                number += 1;
                let mut data = frame.data.to_vec();
                match roll() % 4 {
                    0 => data.truncate(roll() % (data.len() + 1)),
                    1 => data = (0..roll() % 700).map(|_| roll() as u8).collect(),
                    2 => {
                        for _ in 0..roll() % 8 {
                            let place = roll() % data.len().max(1);
                            data[place] ^= 1 << (roll() % 8);
                        }
                    }
                    _ => {}
                }
                frame.data = data.into();
                errors += usize::from(converter.push(&frame, &mut out).is_err());
                assert!(out.len() <= 60, "bounded by the longest silence");
                out.clear();
            };
            match from {
                Codec::Aac => source.aac(&mut take),
                _ => source.opus(&mut take),
            }
            assert!(errors > 10 && errors < number, "{from:?} seed {seed}: {errors} of {number}");
        }
    }
}

#[test]
fn an_impossible_configuration_is_said_once() {
    let source = Source { rate: 48_000, channels: 2, ppm: 0.0, millis: false, seconds: 1 };
    let mut converter = Converter::new(Codec::Opus, &Config::default()).expect("built in");
    let (mut said, mut out) = (Vec::new(), Vec::new());
    source.aac(|mut frame| {
        frame.config = Arc::new(CodecConfig::Aac(media::aac::Config {
            asc: Bytes::from_static(&[0xff, 0xff, 0xff]),
            object_type: 42,
            sample_rate: 48_000,
            channels: 2,
        }));
        said.extend(converter.push(&frame, &mut out).err());
    });
    assert_eq!(said.len(), 1);
    assert!(said[0].to_string().contains("set AAC-LC"), "{}", said[0]);
    assert!(converter.take_tally().undecodable > 40);
}
