//! Several Layers of one Track: one list of cuts, aligned segments, variants that come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Frame, Kind, MediaTime, StreamId};

use super::reader::{List, Listed};
use super::sim::{Sim, expected};
use super::source::{Source, video_config};
use crate::name::Name;
use crate::playlist::Multivariant;
use crate::presentation::KeyframeAdvice;
use crate::probe::Expected;
use crate::variant;

const LAYERS: [Name; 3] = [Name::Video(0), Name::Video(1), Name::Video(2)];

/// A simulcast source: three Layers and their sound. A Layer's time is `skew` milliseconds off, its keyframes are
/// `shift` frames behind those of the first one.
fn simulcast(origin: Instant, seconds: f64, layers: [(u64, usize); 3]) -> Vec<(Name, Frame)> {
    let sound = Source { video: false, seconds, ..Source::default() };
    let mut frames: Vec<_> =
        sound.frames(origin).into_iter().map(|(_, frame)| (Name::Audio, frame)).collect();
    for (number, (skew, shift)) in layers.into_iter().enumerate() {
        let sps = if number == 2 { super::SPS } else { super::SPS_SMALL };
        let source = Source { audio_hz: None, seconds, sps, ..Source::default() };
        let pictures = source.frames(origin).into_iter().enumerate();
        frames.extend(pictures.map(|(n, (_, mut frame))| {
            frame.keyframe = n % 60 == shift || n == 0;
            frame.data = vec![0x41; (number + 1) * if frame.keyframe { 20_000 } else { 3_000 }].into();
            frame.dts = frame.dts.offset(skew as i64 * 90);
            frame.pts = frame.dts;
            frame.arrival += Duration::from_millis(skew);
            (Name::video(number), frame)
        }));
    }
    frames.sort_by_key(|(_, frame)| frame.arrival);
    frames
}

fn run(seconds: f64, layers: [(u64, usize); 3]) -> Sim {
    let mut sim = Sim::new(expected(&Source::default()));
    sim.feed_named(simulcast(sim.origin, seconds, layers));
    sim
}

fn master(sim: &Sim) -> Multivariant {
    let id = StreamId::parse("s0000000000001").expect("an id");
    variant::multivariant(&sim.presentation, id)
}

/// MSN, date and segment of every complete one.
fn complete(list: &List) -> Vec<(u64, i64, Listed)> {
    let numbered = (list.media_sequence..).zip(&list.segments).filter(|(_, found)| found.uri.is_some());
    numbered.map(|(msn, found)| (msn, found.date.expect("dated"), found.clone())).collect()
}

#[test]
fn hls_v11_l18_layers_are_cut_at_the_same_times_with_their_own_keyframes() {
    // Keyframes of one moment, and times that are estimated per Layer: a little apart.
    let mut sim = run(20.0, [(0, 0), (7, 0), (12, 0)]);
    let lead = complete(&sim.list(LAYERS[0]));
    for name in LAYERS {
        let list = sim.list(name);
        assert_eq!(list.media_sequence, 0);
        for ((msn, date, found), (_, lead, _)) in complete(&list).into_iter().zip(&lead) {
            assert!((0..=15).contains(&(date - lead)), "{name:?} {msn}: {date} {lead}");
            assert!(found.parts.first().is_none_or(|part| part.independent), "{name:?} {msn}");
        }
    }
    assert!(sim.presentation.all_independent());
    assert_eq!(sim.presentation.dropped(), 0);
}

#[test]
fn hls_r5_a_layer_without_a_keyframe_at_the_boundary_is_cut_without() {
    // 0.2 s behind the first Layer: waited for. 0.8 s: too far.
    let mut sim = run(20.0, [(0, 0), (0, 6), (0, 24)]);
    let lead = complete(&sim.list(LAYERS[0]));
    for (name, behind, independent) in [(LAYERS[1], 200, true), (LAYERS[2], 500, false)] {
        // From the second on: all Layers begin with a keyframe.
        for ((msn, date, found), (_, lead, _)) in complete(&sim.list(name)).into_iter().zip(&lead).skip(2) {
            assert!((behind - 35..=behind + 35).contains(&(date - lead)), "{name:?} {msn}: {}", date - lead);
            let first = found.parts.first().map(|part| part.independent);
            assert!(first.is_none_or(|first| first == independent), "{name:?} {msn}");
        }
    }
    assert!(!sim.presentation.all_independent(), "M19");
    super::judge::judge("three unaligned layers", &sim);
    assert_eq!(sim.presentation.keyframe_advice(), Some(KeyframeAdvice::NotAligned));
    assert!(!master(&sim).independent_segments);
}

#[test]
fn hls_r5_all_layers_are_asked_for_a_keyframe_once_per_segment_and_the_first_answer_cuts() {
    let mut sim = Sim::new(Expected { keyframes_on_request: true, ..expected(&Source::default()) });
    let (mut asked, mut counts) = ([None; 3], [0; 3]);
    for (name, mut frame) in simulcast(sim.origin, 30.0, [(0, 0); 3]) {
        if name.kind() == Kind::Video {
            // They answer after 60, 120 and 180 ms.
            let wait = Duration::from_millis(60 * (name.slot() as u64 + 1));
            let due = asked[name.slot()].is_some_and(|at| frame.arrival >= at + wait);
            let first = frame.dts.as_micros() == 0;
            frame.keyframe = first || due;
            if due {
                asked[name.slot()] = None;
            }
        }
        let at = frame.arrival;
        sim.feed_one(name, frame);
        for name in LAYERS {
            if sim.presentation.poll_keyframe_request(name) {
                asked[name.slot()] = Some(at);
                counts[name.slot()] += 1;
            }
        }
    }
    assert!(counts.iter().all(|count| (13..=16).contains(count)), "{counts:?}");
    assert!(sim.presentation.all_independent(), "{}", sim.presentation.dependent_segments());
    for name in LAYERS {
        let lengths: Vec<f64> = sim.list(name).segments.iter().filter_map(|found| found.duration).collect();
        assert!(lengths.iter().all(|length| (1.8..2.3).contains(length)), "{name:?}: {lengths:?}");
    }
}

#[test]
fn hls_v01_v02_v04_v05_v09_every_layer_is_a_variant_with_its_own_figures() {
    let sim = run(20.0, [(0, 0); 3]);
    let list = master(&sim);
    let text = list.to_string();
    // (20000 + 59 * 3000) * 8 / 2 s, times 1, 2, 3, and sound of 112.5 kbit/s.
    let bandwidths: Vec<u64> = list.variants.iter().map(|variant| variant.average_bandwidth).collect();
    assert_eq!(bandwidths.iter().map(|bps| bps / 100_000).collect::<Vec<_>>(), [16, 24, 9], "{text}");
    for (variant, (uri, size)) in
        list.variants.iter().zip([("video1", (640, 360)), ("video2", (1280, 720)), ("video", (640, 360))])
    {
        assert!(variant.bandwidth > variant.average_bandwidth, "{text}");
        assert!(variant.uri.contains(&format!("/{uri}/")), "the one next to 2 Mbit/s first: {text}");
        assert_eq!(variant.resolution, Some(size));
        assert_eq!(variant.frame_rate, Some(30.0));
        assert_eq!(variant.audio, Some("audio"));
        assert_eq!(variant.codecs.len(), 2);
    }
    assert!(list.independent_segments);
}

#[test]
fn hls_l17_every_playlist_reports_all_others() {
    let mut sim = run(13.3, [(0, 0); 3]);
    for name in [LAYERS[0], LAYERS[2], Name::Audio] {
        let reports = sim.list(name).reports;
        let mut uris: Vec<_> = reports.iter().map(|(uri, _, _)| uri.as_str()).collect();
        uris.sort_unstable();
        let all =
            ["../audio/index.m3u8", "../video/index.m3u8", "../video1/index.m3u8", "../video2/index.m3u8"];
        let own = format!("../{}/index.m3u8", name.as_str());
        let others: Vec<_> = all.into_iter().filter(|uri| *uri != own).collect();
        assert_eq!(uris, others);
        assert!(reports.iter().all(|(_, msn, part)| *msn >= 5 && part.is_some()), "{reports:?}");
    }
}

#[test]
fn hls_m09_a_layer_that_pauses_has_gaps_and_is_no_variant_until_it_comes_back() {
    let mut sim = Sim::new(expected(&Source::default()));
    sim.clipped = true;
    let mut seen = Vec::new();
    // The first Layer, by which the others are cut, pauses too: later, and its place is taken.
    for (name, frame) in simulcast(sim.origin, 52.0, [(0, 0); 3]) {
        let ms = frame.dts.as_micros() / 1000;
        let paused = match name {
            Name::Video(2) => (11_000..25_000).contains(&ms),
            Name::Video(0) => (33_000..45_000).contains(&ms),
            _ => false,
        };
        if paused {
            continue;
        }
        sim.feed_one(name, frame);
        if sim.presentation.is_ready() {
            let count = master(&sim).variants.len();
            if seen.last().is_none_or(|(_, known)| *known != count) {
                seen.push((ms / 1000, count));
            }
        }
    }
    let counts: Vec<_> = seen.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [3, 2, 3, 2, 3], "{seen:?}");
    for (place, at) in [(1, 13..=17), (2, 25..=29), (3, 35..=39), (4, 45..=49)] {
        assert!(at.contains(&seen[place].0), "{seen:?}");
    }
    for name in LAYERS {
        assert!(sim.list(name).segments.iter().all(|found| !found.discontinuity), "{name:?}");
    }
    super::judge::judge("layers that pause", &sim);
    let picture = complete(&sim.list(LAYERS[1]));
    for (msn, sound, _) in complete(&sim.list(Name::Audio)) {
        let Some((_, picture, _)) = picture.iter().find(|(other, _, _)| *other == msn) else { continue };
        assert!((0..=24).contains(&(sound - picture)), "{msn}: sound begins {} ms behind", sound - picture);
    }
}

#[test]
fn hls_v11_a_layer_that_comes_late_joins_with_the_numbers_of_the_others() {
    let mut sim = Sim::new(expected(&Source::default()));
    let frames = simulcast(sim.origin, 20.0, [(0, 0); 3]).into_iter();
    sim.feed_named(frames.filter(|(name, frame)| *name != LAYERS[2] || frame.dts.as_micros() > 7_300_000));
    let (lead, late) = (sim.list(LAYERS[0]), sim.list(LAYERS[2]));
    assert_eq!(late.media_sequence, 4, "from its first keyframe, at 8 s");
    let dates = complete(&lead);
    for (msn, date, _) in complete(&late) {
        assert_eq!(dates[msn as usize].1, date);
    }
    assert_eq!(master(&sim).variants.len(), 3);
    assert_eq!(late.discontinuity_sequence, lead.discontinuity_sequence);
}

#[test]
fn hls_m04_m05_new_parameters_of_one_layer_are_a_discontinuity_of_all() {
    let mut sim = Sim::new(expected(&Source::default()));
    let config = video_config(super::SPS_SMALL);
    let frames = simulcast(sim.origin, 20.0, [(0, 0), (5, 0), (10, 0)]).into_iter();
    sim.feed_named(frames.map(|(name, mut frame)| {
        if name == LAYERS[2] && frame.dts.as_micros() >= 8_000_000 {
            frame.config = Arc::clone(&config);
        }
        (name, frame)
    }));
    let breaks = |list: &List| -> Vec<u64> {
        let numbered = (list.media_sequence..).zip(&list.segments);
        numbered.filter(|(_, found)| found.discontinuity).map(|(msn, _)| msn).collect()
    };
    let all: Vec<_> = LAYERS.into_iter().chain([Name::Audio]).map(|name| breaks(&sim.list(name))).collect();
    assert_eq!(all[0].len(), 1, "{all:?}");
    assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
    super::judge::judge("new parameters", &sim);
    assert!(sim.presentation.all_independent(), "after a DISCONTINUITY every Layer begins with a keyframe");
}

#[test]
fn hls_m05_r6_a_reconnect_is_one_discontinuity_in_all_layers() {
    let mut sim = run(9.0, [(0, 0), (5, 0), (10, 0)]);
    let again =
        simulcast(sim.origin, 12.0, [(30, 0), (0, 0), (10, 0)]).into_iter().map(|(name, mut frame)| {
            let later = 14_000_000;
            frame.dts = MediaTime::from_micros(frame.dts.as_micros() + later, frame.dts.scale());
            frame.pts = frame.dts;
            frame.epoch = 1;
            frame.arrival += Duration::from_micros(later as u64);
            (name, frame)
        });
    sim.feed_named(again);
    for name in LAYERS.into_iter().chain([Name::Audio]) {
        let list = sim.list(name);
        let breaks = list.segments.iter().filter(|found| found.discontinuity).count();
        assert_eq!(breaks, 1, "{name:?}");
        let maps: Vec<_> = list.segments.iter().filter_map(|found| found.map.clone()).collect();
        assert_eq!(maps, ["init0.mp4", "init1.mp4"], "{name:?}");
    }
}
