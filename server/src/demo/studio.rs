//! Picture and sound, encoded, as FLV tags: what an encoder would send. No I/O, no clock.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use media::{CodecConfig, MediaTime, Timescale};
use transcode::audio::AacEncoder;
use transcode::h264::{Encoder, Settings};

use super::scene::{Moment, Scene};
use super::sound::Sound;
use super::{Error, Options};

/// Bits per second of the sound.
const AUDIO_BITRATE_BPS: u32 = 128_000;

/// Which RTMP message a tag goes into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Audio,
    Video,
}

/// The body of one audio or video message (FLV specification, annex E.4.2 and E.4.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    /// Milliseconds since the beginning of the publication.
    pub(super) millis: u32,
    pub(super) body: Bytes,
}

/// Makes the pictures of one publication.
pub(super) struct Camera {
    fps: u32,
    /// Frames from one keyframe to the next.
    gop: u64,
    scene: Scene,
    encoder: Encoder,
    start_unix_micros: u64,
    /// The next frame of this publication.
    next_frame: u64,
    /// From which frame on the next one is a keyframe.
    keyframe_due: u64,
    /// What the frame counter in the picture says for frame 0.
    first_counter: u32,
    configured: bool,
}

/// Makes the sound of one publication.
pub(super) struct Microphone {
    rate: u32,
    encoder: AacEncoder,
    sound: Sound,
    samples: Vec<f32>,
    /// Encoded so far, in AAC frames.
    frames: i64,
    configured: bool,
}

impl Camera {
    /// Pictures that begin at `start_unix_micros`, with frame number `first_counter`.
    pub(super) fn new(options: &Options, start_unix_micros: u64, first_counter: u32) -> Result<Self, Error> {
        let (width, height) = options.size;
        let label = format!("built-in picture  {width}x{height}  {} fps", options.fps);
        let settings = Settings { bitrate_bps: options.bitrate_bps, frame_rate: options.fps as f32 };
        Ok(Self {
            fps: options.fps,
            gop: u64::from(options.gop_seconds) * u64::from(options.fps),
            scene: Scene::new(width, height, &label),
            encoder: Encoder::new(&settings)?,
            start_unix_micros,
            next_frame: 0,
            keyframe_due: 0,
            first_counter,
            configured: false,
        })
    }

    /// When the next picture is due, since the beginning.
    pub(super) fn due(&self) -> Duration {
        Duration::from_nanos(self.next_frame * 1_000_000_000 / u64::from(self.fps))
    }

    /// The number that the next picture will show.
    pub(super) fn counter(&self) -> u32 {
        self.first_counter.wrapping_add(self.next_frame as u32)
    }

    /// Leaves out pictures that nobody had time to make: `elapsed` since the beginning.
    pub(super) fn skip_to(&mut self, elapsed: Duration) {
        let frame = elapsed.as_nanos() * u128::from(self.fps) / 1_000_000_000;
        self.next_frame = self.next_frame.max(u64::try_from(frame).unwrap_or(u64::MAX));
    }

    /// Makes the next picture. `made_unix_millis` and `now` are the same moment.
    pub(super) fn shoot(&mut self, made_unix_millis: u64, now: Instant) -> Result<Vec<Tag>, Error> {
        let mut tags = Vec::new();
        let due = self.due();
        // To nearest: a picture at a whole second must not fall a microsecond before it.
        let shown_unix_millis = (self.start_unix_micros + due.as_micros() as u64 + 500) / 1000;
        let picture =
            self.scene.draw(Moment { counter: self.counter(), made_unix_millis, shown_unix_millis });
        // Not only on the very frame: it may have been skipped on a machine that is late.
        if self.next_frame >= self.keyframe_due {
            self.encoder.force_keyframe();
            self.keyframe_due = (self.next_frame / self.gop + 1) * self.gop;
        }
        self.next_frame += 1;
        let pts = MediaTime::from_micros(due.as_micros() as i64, Timescale::VIDEO);
        let frame = self.encoder.encode(picture, pts, now)?;
        let millis = due.as_millis() as u32;
        if !std::mem::replace(&mut self.configured, true)
            && let CodecConfig::H264(config) = &*frame.config
            && let Some(record) = config.to_avcc()
        {
            tags.push(tag(Kind::Video, millis, &[0x17, 0, 0, 0, 0], &record));
        }
        let kind = if frame.keyframe { 0x17 } else { 0x27 };
        tags.push(tag(Kind::Video, millis, &[kind, 1, 0, 0, 0], &frame.data));
        Ok(tags)
    }
}

impl Microphone {
    /// Sound that begins at `start_unix_micros`.
    pub(super) fn new(options: &Options, start_unix_micros: u64) -> Result<Self, Error> {
        Ok(Self {
            rate: options.audio_rate,
            encoder: AacEncoder::new(options.audio_rate, 2, AUDIO_BITRATE_BPS)?,
            sound: Sound::new(options.audio_rate, start_unix_micros),
            samples: Vec::new(),
            frames: 0,
            configured: false,
        })
    }

    /// When the next frame is due, since the beginning: at its own time. Sound is made ahead by what the encoder is
    /// late, so that it leaves with the picture that it belongs to.
    pub(super) fn due(&self) -> Duration {
        let place = u64::try_from(self.place()).unwrap_or(0);
        Duration::from_nanos(place * 1_000_000_000 / u64::from(self.rate))
    }

    /// Makes what is due until then.
    pub(super) fn record(&mut self, until: Duration) -> Result<Vec<Tag>, Error> {
        let mut tags = Vec::new();
        if !std::mem::replace(&mut self.configured, true) {
            tags.push(tag(Kind::Audio, 0, &[0xaf, 0], &self.encoder.config().asc));
        }
        while self.due() <= until {
            let place = self.place();
            self.frames += 1;
            self.sound.make(AacEncoder::FRAME_SAMPLES, &mut self.samples);
            let data = self.encoder.encode(&self.samples)?;
            // What lies before the beginning is the encoder's warming up.
            if let Ok(place) = u64::try_from(place) {
                let rate = u64::from(self.rate);
                let millis = (place * 1000 + rate / 2) / rate;
                tags.push(tag(Kind::Audio, millis as u32, &[0xaf, 1], &data));
            }
        }
        Ok(tags)
    }

    /// Where the next frame begins, in samples.
    fn place(&self) -> i64 {
        self.frames * AacEncoder::FRAME_SAMPLES as i64 - self.encoder.delay()
    }
}

fn tag(kind: Kind, millis: u32, head: &[u8], data: &[u8]) -> Tag {
    let mut body = BytesMut::with_capacity(head.len() + data.len());
    body.put_slice(head);
    body.put_slice(data);
    Tag { kind, millis, body: body.freeze() }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "arrival is only carried through")]
mod tests {
    use super::*;

    #[test]
    fn sends_what_an_encoder_would_send() {
        let options = Options { size: (320, 180), gop_seconds: 1, ..Options::default() };
        let mut camera = Camera::new(&options, 1_795_327_200_250_000, 100).expect("starts");
        let mut microphone = Microphone::new(&options, 1_795_327_200_250_000).expect("starts");
        let mut tags = Vec::new();
        for _ in 0..75 {
            tags.extend(microphone.record(camera.due()).expect("makes"));
            tags.extend(camera.shoot(0, Instant::now()).expect("makes"));
        }
        let of = |kind| tags.iter().filter(move |tag: &&Tag| tag.kind == kind).collect::<Vec<_>>();
        let (video, audio) = (of(Kind::Video), of(Kind::Audio));
        assert_eq!(video.len(), 1 + 75);
        assert_eq!(&video[0].body[..6], [0x17, 0, 0, 0, 0, 1], "avcC first");
        for (i, tag) in video[1..].iter().enumerate() {
            assert_eq!(tag.body[0], if i % 30 == 0 { 0x17 } else { 0x27 }, "frame {i}");
            assert_eq!(tag.millis, (i * 1000 / 30) as u32);
        }
        assert_eq!(audio[0].body[..2], [0xaf, 0]);
        assert!((audio.len() as i64 - 116).abs() <= 2, "2.5 s of AAC: {}", audio.len());
        for (i, tag) in audio[1..].iter().enumerate() {
            assert!((i64::from(tag.millis) - i as i64 * 1024 / 48).abs() <= 1, "AAC frame {i}");
        }
        // In the order of time, as it is sent.
        assert!(tags.windows(2).all(|pair| i64::from(pair[1].millis) - i64::from(pair[0].millis) > -34));
        assert_eq!(camera.counter(), 175);
        camera.skip_to(Duration::from_secs(10));
        assert_eq!((camera.counter(), camera.due()), (400, Duration::from_secs(10)));
    }

    /// Each frame of sound has a moment of its own, whatever the picture takes.
    #[test]
    fn sound_is_due_when_it_begins() {
        let options = Options { audio_rate: 48_000, ..Options::default() };
        let mut microphone = Microphone::new(&options, 0).expect("starts");
        assert_eq!(microphone.due(), Duration::ZERO);
        microphone.record(Duration::ZERO).expect("warms up");
        let mut last = microphone.due();
        for _ in 0..50 {
            let tags = microphone.record(last).expect("makes");
            assert_eq!(tags.len(), 1);
            assert!(u128::from(tags[0].millis).abs_diff(last.as_millis()) <= 1, "{last:?}");
            let next = microphone.due();
            assert_eq!((next - last).as_micros() / 10, 2133, "1024 samples");
            last = next;
        }
    }

    /// Decodes both and finds the flash and the beep, each by its timestamps alone.
    #[test]
    fn flash_and_beep_come_together() {
        use media::h264::write_annex_b;
        use openh264::formats::YUVSource as _;
        use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
        use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder as _, AudioDecoderOptions};
        use symphonia::core::packet::PacketRef;
        use symphonia::core::units::{Duration as Ticks, Timestamp};

        let options = Options { size: (320, 180), fps: 60, audio_rate: 44_100, ..Options::default() };
        let mut camera = Camera::new(&options, 1_795_327_200_400_000, 0).expect("starts");
        let mut microphone = Microphone::new(&options, 1_795_327_200_400_000).expect("starts");
        let (left, top, side) = super::super::scene::flash_square(320, 180);
        let mut pictures = openh264::decoder::Decoder::new().expect("decoder");
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_AAC).with_extra_data(microphone.encoder.config().asc.to_vec().into());
        let audio_options = AudioDecoderOptions::default();
        let mut sounds =
            symphonia::default::codecs::AacDecoder::try_new(&params, &audio_options).expect("AAC");
        let mut video_config = None;
        let (mut flash, mut beep) = (None, None);
        let mut tags = Vec::new();
        for _ in 0..90 {
            tags.extend(microphone.record(camera.due()).expect("makes"));
            tags.extend(camera.shoot(0, Instant::now()).expect("makes"));
        }
        for tag in tags {
            match (tag.kind, tag.body[1]) {
                (Kind::Video, 0) => {
                    video_config = Some(media::h264::Config::from_avcc(&tag.body[5..]).expect("avcC"));
                }
                (Kind::Video, _) => {
                    let mut stream = Vec::new();
                    write_annex_b(&tag.body[5..], video_config.take().as_ref(), &mut stream);
                    let picture = pictures.decode(&stream).expect("decodes").expect("no delay");
                    let place = (top + side / 2) * picture.strides().0 + left + side / 2;
                    if picture.y()[place] > 180 {
                        flash.get_or_insert(f64::from(tag.millis));
                    }
                }
                (Kind::Audio, 1) => {
                    let packet = PacketRef::new(0, Timestamp::ZERO, Ticks::ZERO, &tag.body[2..]);
                    let mut samples: Vec<f32> = Vec::new();
                    sounds.decode_ref(&packet).expect("decodes").copy_to_vec_interleaved(&mut samples);
                    if let Some(first) = samples.iter().step_by(2).position(|sample| sample.abs() > 0.15) {
                        beep.get_or_insert(f64::from(tag.millis) + first as f64 / 44.1);
                    }
                }
                _ => {}
            }
        }
        let (flash, beep) = (flash.expect("a flash"), beep.expect("a beep"));
        assert!((600.0..617.0).contains(&flash), "the whole second is 600 ms after the beginning: {flash}");
        assert!((598.0..604.0).contains(&beep), "{beep}");
    }
}
