//! Pictures to H.264 by OpenH264: constrained baseline, no B-frames, for WebRTC and HLS alike.
//!
//! OpenH264's defaults are for video calls. What a live stream needs otherwise stands here, with why.

use std::sync::Arc;
use std::time::Instant;

use media::h264::{AccessUnit, ParameterSets};
use media::{CodecConfig, Frame, MediaTime};
use openh264::encoder::{
    BitRate, Complexity, Encoder as Inner, EncoderConfig, FrameRate, IntraFramePeriod, Profile, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_TRACE_LEVEL, WELS_LOG_QUIET};

use crate::Error;
use crate::picture::I420;

/// Largest picture that OpenH264 encodes: 3840 by 2160, or upright.
const LONG_SIDE_MAX: usize = 3840;
const SHORT_SIDE_MAX: usize = 2160;

/// The id that `ConstantId` gives to the only picture parameter set.
const CONSTANT_PPS_ID: u8 = 0;

/// How to encode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Target in bits per second. Hard content overshoots it by up to 40 %: no frame is skipped.
    pub bitrate_bps: u32,
    /// Frames per second that will come.
    pub frame_rate: f32,
}

/// Encodes pictures. Keyframes come only when asked for, so that they lie where segments begin.
pub struct Encoder {
    inner: Inner,
    keyframe: bool,
    parameter_sets: ParameterSets,
    config: Option<Arc<CodecConfig>>,
    annex_b: Vec<u8>,
}

impl Encoder {
    /// An encoder; the size is that of the first picture.
    ///
    /// # Errors
    /// [`Error::Open`] if the library refuses the settings.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            // The default is a quality mode at 120 kbit/s.
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(settings.bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(settings.frame_rate))
            // A skipped frame is a stutter for everybody; a burst of bits is only a burst.
            .skip_frames(false)
            // Keyframes where the content changes would lie beside the segments' beginnings.
            .scene_change_detect(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            // With growing ids the configuration of the first GOP would not decode the second.
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            .qp(QpRange::new(10, 51))
            .background_detection(false)
            .vui(VuiConfig::bt709());
        let mut inner = Inner::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| Error::Open { what: "the H.264 encoder", why: error.to_string() })?;
        silence(&mut inner);
        let parameter_sets = ParameterSets::default();
        Ok(Self { inner, keyframe: false, parameter_sets, config: None, annex_b: Vec::new() })
    }

    /// Makes the next picture a keyframe. The first one is anyway.
    pub fn force_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Encodes one picture, shown at `pts`. `arrival`: when it came to be.
    ///
    /// # Errors
    /// [`Error::Encode`] if it is too large or the library refuses it; go on with the next.
    pub fn encode(&mut self, picture: &I420, pts: MediaTime, arrival: Instant) -> Result<Frame, Error> {
        let wrong = |why: String| Error::Encode { what: "a picture", why };
        let (width, height) = (picture.width(), picture.height());
        if width.max(height) > LONG_SIDE_MAX || width.min(height) > SHORT_SIDE_MAX || width * height == 0 {
            return Err(wrong(format!("{width}x{height}: OpenH264 takes 2x2 to 3840x2160")));
        }
        // Before the first picture the library is not initialised; that one is a keyframe anyway.
        if std::mem::take(&mut self.keyframe) && self.config.is_some() {
            self.inner.force_intra_frame();
        }
        let planes = (picture.y(), picture.u(), picture.v());
        let source = YUVSlices::new(planes, (width, height), (width, width / 2, width / 2));
        let millis = u64::try_from(pts.as_micros() / 1000).unwrap_or(0);
        let bits = self
            .inner
            .encode_at(&source, Timestamp::from_millis(millis))
            .map_err(|error| wrong(error.to_string()))?;
        self.annex_b.clear();
        bits.write_vec(&mut self.annex_b);
        let unit = AccessUnit::from_annex_b(&self.annex_b).map_err(|error| wrong(error.to_string()))?;
        // In-band with each keyframe: they belong into the configuration.
        for nal in &unit.parameter_sets {
            self.parameter_sets.insert(nal);
        }
        self.config = self.parameter_sets.activate(CONSTANT_PPS_ID).cloned();
        let Some(config) = self.config.clone().filter(|_| !unit.is_empty()) else {
            return Err(wrong("nothing came out".to_owned()));
        };
        let (keyframe, discardable, data) = (unit.keyframe, unit.discardable, unit.data);
        Ok(Frame { dts: pts, pts, duration: 0, keyframe, discardable, data, config, epoch: 0, arrival })
    }
}

/// Turns the library's own log off before the first picture initialises it: it warns on standard error that
/// skipping no frames may overshoot the bitrate, which is what we asked for.
#[expect(unsafe_code, reason = "the safe wrapper sets the log level only after the warning")]
fn silence(encoder: &mut Inner) {
    let mut level: i32 = WELS_LOG_QUIET;
    // SAFETY: the option takes a pointer to an int, which the library reads during the call; it is one of the
    // two options that it accepts before it is initialised (`CWelsH264SVCEncoder::SetOption`).
    unsafe {
        encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast());
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "arrival is only carried through")]
mod tests {
    use media::Timescale;
    use media::h264::write_annex_b;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource as _;

    use super::*;

    fn picture(number: usize) -> I420 {
        let mut picture = I420::new(320, 180);
        for row in 0..180 {
            for (x, pixel) in picture.row_y_mut(row).iter_mut().enumerate() {
                let noise = (x * 7919 + row * 104_729 + number * 1_299_709) % 31;
                *pixel = 32 + ((x + row + 3 * number) % 150 + noise) as u8;
            }
        }
        picture
    }

    #[test]
    fn keyframes_come_only_when_asked_for_and_everything_decodes() {
        let mut encoder = Encoder::new(&Settings { bitrate_bps: 400_000, frame_rate: 30.0 }).expect("starts");
        let mut decoder = Decoder::new().expect("decoder");
        let now = Instant::now();
        let (mut bytes, mut first): (usize, Option<Arc<CodecConfig>>) = (0, None);
        for number in 0..90 {
            if number % 45 == 0 {
                encoder.force_keyframe();
            }
            let pts = MediaTime::new(number as i64 * 3000, Timescale::VIDEO);
            let frame = encoder.encode(&picture(number), pts, now).expect("encodes");
            assert_eq!(frame.keyframe, number % 45 == 0, "frame {number}");
            assert_eq!((frame.pts, frame.dts), (pts, pts));
            bytes += frame.data.len();
            let config = first.get_or_insert_with(|| Arc::clone(&frame.config));
            assert_eq!(**config, *frame.config, "the same parameter sets in each GOP");
            let CodecConfig::H264(config) = &*frame.config else { panic!("{:?}", frame.config) };
            assert_eq!((config.width, config.height), (320, 180));
            assert!(config.rfc6381().starts_with("avc1.42c0"), "{}", config.rfc6381());
            let mut stream = Vec::new();
            write_annex_b(&frame.data, frame.keyframe.then_some(config), &mut stream);
            let shown = decoder.decode(&stream).expect("decodes").expect("no delay");
            assert_eq!(shown.dimensions(), (320, 180));
            let middle = i32::from(shown.y()[90 * shown.strides().0 + 160]);
            let wanted = i32::from(picture(number).y()[90 * 320 + 160]);
            assert!((middle - wanted).abs() < 50, "frame {number}: {middle} for {wanted}");
        }
        let rate = bytes * 8 / 3;
        assert!((200_000..600_000).contains(&rate), "{rate} bit/s");
    }

    #[test]
    fn a_picture_beyond_the_library_is_refused() {
        let mut encoder = Encoder::new(&Settings { bitrate_bps: 1, frame_rate: 1.0 }).expect("starts");
        let pts = MediaTime::zero(Timescale::VIDEO);
        let error = encoder.encode(&I420::new(4096, 2), pts, Instant::now()).expect_err("too wide");
        assert!(error.to_string().contains("4096x2"), "{error}");
    }
}
