//! The init segment: ftyp + moov without samples (RFC 8216 section 3.3).

use bytes::Bytes;
use media::{CodecConfig, Timescale, aac, h264, opus};
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, Codec, Dinf, Dops, Dref, DrefEntry, Esds, FixedPoint, FourCC, Ftyp, Hdlr,
    Matrix, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url,
    Visual, Vmhd,
};

use super::boxes::encode;
use super::{TRACK_ID, entry};
use crate::Error;

/// Makes the init segment of one Track.
///
/// # Errors
/// [`Error::Codec`] for a codec that HLS does not carry, [`Error::Parameters`] if there is no SPS or PPS.
pub fn init(config: &CodecConfig, scale: Timescale) -> Result<Bytes, Error> {
    let entry = match config {
        CodecConfig::H264(config) => Codec::Avc1(avc1(config)?),
        CodecConfig::Aac(config) => Codec::Mp4a(mp4a(config)),
        CodecConfig::Opus(config) => Codec::Opus(dops(config)),
        CodecConfig::H265(config) => Codec::Hvc1(entry::hvc1(config)?),
        CodecConfig::Vp9(config) => Codec::Vp09(entry::vp09(config)),
        CodecConfig::Av1(config) => Codec::Av01(entry::av01(config)),
        CodecConfig::Vp8(_) => return Err(Error::Codec(config.codec().name())),
    };
    let size = config.size();
    let moov = Moov {
        mvhd: Mvhd {
            timescale: 1000,
            rate: FixedPoint::from(1),
            volume: FixedPoint::from(1),
            matrix: Matrix::default(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() }],
        }),
        trak: vec![trak(entry, size, scale)],
        ..Moov::default()
    };
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: vec![FourCC::new(b"iso6"), FourCC::new(b"cmfc"), FourCC::new(b"mp41")],
    };
    let mut out = encode(&ftyp)?;
    out.extend_from_slice(&encode(&moov)?);
    Ok(out.into())
}

fn trak(entry: Codec, size: Option<(u32, u32)>, scale: Timescale) -> Trak {
    let (width, height) = size.map_or((0, 0), |(width, height)| (dimension(width), dimension(height)));
    let video = size.is_some();
    Trak {
        tkhd: Tkhd {
            track_id: TRACK_ID,
            enabled: true,
            in_movie: true,
            volume: FixedPoint::from(u8::from(!video)),
            matrix: Matrix::default(),
            width: FixedPoint::from(width),
            height: FixedPoint::from(height),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd { timescale: scale.hz(), language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr {
                handler: FourCC::new(if video { b"vide" } else { b"soun" }),
                name: if video { "Video".into() } else { "Audio".into() },
            },
            minf: Minf {
                vmhd: video.then(Vmhd::default),
                smhd: (!video).then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![entry] },
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

pub(super) fn dimension(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}

fn avc1(config: &h264::Config) -> Result<Avc1, Error> {
    if config.sps.is_empty() {
        return Err(Error::Parameters { what: "SPS" });
    }
    if config.pps.is_empty() {
        return Err(Error::Parameters { what: "PPS" });
    }
    let record = config.to_avcc().ok_or(Error::Parameters { what: "SPS" })?;
    let avcc = Avcc::decode_body(&mut &record[..])?;
    Ok(Avc1 {
        visual: Visual {
            data_reference_index: 1,
            width: dimension(config.width),
            height: dimension(config.height),
            ..Visual::default()
        },
        avcc,
        ..Avc1::default()
    })
}

fn mp4a(config: &aac::Config) -> Mp4a {
    Mp4a {
        audio: audio(config.channels, config.sample_rate),
        esds: Esds {
            es_desc: EsDescriptor {
                es_id: 1,
                dec_config: DecoderConfig {
                    // ISO/IEC 14496-3 audio, in an audio stream.
                    object_type_indication: 0x40,
                    stream_type: 5,
                    dec_specific: Some(DecoderSpecific {
                        raw: config.asc.to_vec(),
                        ..DecoderSpecific::default()
                    }),
                    ..DecoderConfig::default()
                },
                sl_config: SLConfig::default(),
                ..EsDescriptor::default()
            },
        },
        btrt: None,
        taic: None,
    }
}

fn dops(config: &opus::Config) -> Opus {
    Opus {
        audio: audio(config.channels, 48_000),
        dops: Dops {
            output_channel_count: config.channels,
            pre_skip: config.pre_skip,
            input_sample_rate: 48_000,
            output_gain: 0,
            channel_mapping: None,
        },
        btrt: None,
    }
}

fn audio(channels: u8, sample_rate: u32) -> Audio {
    Audio {
        data_reference_index: 1,
        channel_count: u16::from(channels),
        sample_size: 16,
        // 16.16 fixed point ends at 65535 Hz; beyond it the codec's own configuration says the rate.
        sample_rate: FixedPoint::from(u16::try_from(sample_rate).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mp4_atom::Decode;

    use super::*;

    fn h264_config() -> h264::Config {
        h264::Config::from_parameter_sets(
            vec![Bytes::from_static(crate::tests::SPS)],
            vec![Bytes::from_static(crate::tests::PPS)],
        )
        .expect("a real SPS")
    }

    #[test]
    fn hls_m06_init_has_brand_mvex_no_samples_and_no_duration() {
        let bytes = init(&CodecConfig::H264(h264_config()), Timescale::VIDEO).expect("makes an init");
        let mut rest = &bytes[..];
        let ftyp = Ftyp::decode(&mut rest).expect("ftyp first");
        assert!(ftyp.compatible_brands.contains(&FourCC::new(b"iso6")));
        let moov = Moov::decode(&mut rest).expect("moov follows");
        assert!(rest.is_empty());
        assert_eq!(moov.mvhd.duration, 0);
        assert_eq!(moov.trak[0].tkhd.duration, 0);
        assert_eq!(moov.trak[0].mdia.minf.stbl.stsz, mp4_atom::Stsz::default());
        assert_eq!(moov.mvex.expect("mvex").trex[0].track_id, moov.trak[0].tkhd.track_id);
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, 90_000);
    }

    #[test]
    fn missing_parameter_sets_and_vp8_are_refused() {
        let bare = h264::Config { pps: vec![], ..h264_config() };
        assert!(matches!(
            init(&CodecConfig::H264(bare), Timescale::VIDEO),
            Err(Error::Parameters { what: "PPS" })
        ));
        let vp8 = CodecConfig::Vp8(media::vp8::Config { width: 1, height: 1 });
        assert!(matches!(init(&vp8, Timescale::VIDEO), Err(Error::Codec("VP8"))));
    }
}
