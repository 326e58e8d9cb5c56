//! What an admitted encoder writes: audio and video messages become Frames of Tracks. Sans-I/O.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media::h264::{AccessUnit, Avcc, LengthPrefixed, NalHeader, ParameterSets, SliceHeader};
use media::time::MediaTime;
use media::track::{TrackSpec, TrackWriter};
use media::{Codec, CodecConfig, Frame, Rid, StreamWriter, Timescale, aac, h264, opus};

use super::flv;
use super::timeline::{Mends, Timeline};
use crate::Error;

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A frame was written.
    Written,
    /// A frame was dropped: malformed, before its configuration or first keyframe, or in the past.
    Dropped,
    /// It was no frame.
    Nothing,
}

/// The Tracks of one publication.
#[derive(Debug)]
pub(crate) struct Publication {
    writer: StreamWriter,
    timeline: Timeline,
    video: Option<Video>,
    audio: Option<Audio>,
}

#[derive(Debug)]
struct Video {
    track: TrackWriter,
    length_size: u8,
    sets: ParameterSets,
    config: Arc<CodecConfig>,
    /// A keyframe was written: what follows can be decoded.
    begun: bool,
}

#[derive(Debug)]
struct Audio {
    track: TrackWriter,
    config: Arc<CodecConfig>,
}

impl Publication {
    pub(crate) fn new(writer: StreamWriter) -> Self {
        Self { writer, timeline: Timeline::default(), video: None, audio: None }
    }

    /// The Stream's writer.
    pub(crate) fn writer(&self) -> &StreamWriter {
        &self.writer
    }

    /// How often time had to be mended.
    pub(crate) fn mends(&self) -> Mends {
        self.timeline.mends()
    }

    /// The encoder's metadata.
    pub(crate) fn handle_metadata(&mut self, frame_rate: Option<f64>) {
        if let Some(frame_rate) = frame_rate {
            self.timeline.declare_frame_rate(frame_rate);
        }
    }

    /// A video message whose last byte was read at `arrival`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a codec that we do not carry, [`Error::Media`] for a configuration that
    /// cannot be one. Both end the publication.
    pub(crate) fn handle_video(
        &mut self,
        timestamp: u32,
        body: Bytes,
        arrival: Instant,
    ) -> Result<Outcome, Error> {
        match flv::video(body)? {
            flv::Video::Config(record) => self.configure_video(&record).map(|()| Outcome::Nothing),
            flv::Video::Frame { composition, data } => {
                Ok(self.write_video(timestamp, composition, data, arrival))
            }
            flv::Video::Nothing => Ok(Outcome::Nothing),
        }
    }

    /// An audio message whose last byte was read at `arrival`.
    ///
    /// # Errors
    /// As [`Self::handle_video`].
    pub(crate) fn handle_audio(
        &mut self,
        timestamp: u32,
        body: Bytes,
        arrival: Instant,
    ) -> Result<Outcome, Error> {
        match flv::audio(body)? {
            flv::Audio::Config(codec, record) => {
                self.configure_audio(codec, &record).map(|()| Outcome::Nothing)
            }
            flv::Audio::Frame(codec, data) => Ok(self.write_audio(codec, timestamp, data, arrival)),
            flv::Audio::Nothing => Ok(Outcome::Nothing),
        }
    }

    fn configure_video(&mut self, record: &[u8]) -> Result<(), Error> {
        let length_size = Avcc::parse(record)?.length_size;
        let config = h264::Config::from_avcc(record)?;
        if let Some(frame_rate) = config.frame_rate {
            self.timeline.declare_frame_rate(frame_rate);
        }
        let mut sets = ParameterSets::default();
        sets.seed(&config);
        let config = CodecConfig::H264(config);
        match &mut self.video {
            // Encoders repeat it, some before every keyframe.
            Some(video) if *video.config == config => video.length_size = length_size,
            Some(video) => {
                video.length_size = length_size;
                video.sets = sets;
                video.config = Arc::new(config);
            }
            None => {
                let track = self.writer.track(TrackSpec {
                    codec: Codec::H264,
                    timescale: Timescale::VIDEO,
                    keyframes_on_request: false,
                    derived: false,
                });
                let config = Arc::new(config);
                self.video = Some(Video { track, length_size, sets, config, begun: false });
            }
        }
        Ok(())
    }

    fn write_video(&mut self, timestamp: u32, composition: i32, data: Bytes, arrival: Instant) -> Outcome {
        let Some(video) = &mut self.video else { return Outcome::Dropped };
        let Ok(unit) = AccessUnit::from_length_prefixed(data, video.length_size) else {
            return Outcome::Dropped;
        };
        if !unit.parameter_sets.is_empty() {
            video.update(&unit);
        }
        if unit.is_empty() {
            return Outcome::Nothing;
        }
        let arrived = self.writer.stream().clock().media_time(arrival, Timescale::MICROS);
        // Placed before it may be dropped, so that audio and video are anchored by what came first.
        let time = self.timeline.video(timestamp, composition, arrived);
        if !video.begun && !unit.keyframe {
            return Outcome::Dropped;
        }
        video.begun = true;
        let frame = Frame {
            dts: time.dts,
            pts: time.pts,
            duration: time.duration,
            keyframe: unit.keyframe,
            discardable: unit.discardable,
            data: unit.data,
            config: Arc::clone(&video.config),
            // Set by the writer.
            epoch: 0,
            arrival,
        };
        video.track.write_frame(&Rid::single(), frame);
        Outcome::Written
    }

    fn configure_audio(&mut self, codec: Codec, record: &[u8]) -> Result<(), Error> {
        let (config, timescale) = if codec == Codec::Opus {
            (CodecConfig::Opus(opus::Config::from_opus_head(record)?), Timescale::OPUS)
        } else {
            let config = aac::Config::parse(record)?;
            let rate = Timescale::new(config.sample_rate).unwrap_or(Timescale::OPUS);
            (CodecConfig::Aac(config), rate)
        };
        match &mut self.audio {
            Some(audio) if *audio.config == config => {}
            Some(audio)
                if audio.config.codec() == codec && audio.track.track().spec().timescale == timescale =>
            {
                audio.config = Arc::new(config);
            }
            _ => {
                let spec = TrackSpec { codec, timescale, keyframes_on_request: false, derived: false };
                self.timeline.set_sample_rate(timescale);
                self.audio = Some(Audio { track: self.writer.track(spec), config: Arc::new(config) });
            }
        }
        Ok(())
    }

    fn write_audio(&mut self, codec: Codec, timestamp: u32, data: Bytes, arrival: Instant) -> Outcome {
        let Some(audio) = self.audio.as_mut().filter(|audio| audio.config.codec() == codec) else {
            return Outcome::Dropped;
        };
        let samples = match codec {
            Codec::Opus => opus::packet_samples(&data).unwrap_or(0),
            _ => aac::SAMPLES_PER_FRAME,
        };
        if samples == 0 {
            return Outcome::Dropped;
        }
        let arrived = self.writer.stream().clock().media_time(arrival, Timescale::MICROS);
        let Some(dts): Option<MediaTime> = self.timeline.audio(timestamp, samples, arrived) else {
            return Outcome::Dropped;
        };
        let frame = Frame {
            dts,
            pts: dts,
            duration: samples,
            keyframe: true,
            discardable: false,
            data,
            config: Arc::clone(&audio.config),
            // Set by the writer.
            epoch: 0,
            arrival,
        };
        audio.track.write_frame(&Rid::single(), frame);
        Outcome::Written
    }
}

impl Video {
    /// Parameter sets that came inside the picture, as some hardware encoders send them.
    fn update(&mut self, unit: &AccessUnit) {
        for nal in &unit.parameter_sets {
            self.sets.insert(nal);
        }
        let pps_id = LengthPrefixed::new(&unit.data, 4)
            .map_while(Result::ok)
            .find(|nal| NalHeader::of(nal).is_some_and(NalHeader::is_slice))
            .and_then(SliceHeader::parse)
            .map(|slice| slice.pps_id);
        if let Some(config) = pps_id.and_then(|pps_id| self.sets.activate(pps_id))
            && *config != self.config
        {
            self.config = Arc::clone(config);
        }
    }
}

#[cfg(test)]
mod tests;
