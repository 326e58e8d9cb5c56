//! Layers on the bus: which are read, how they are asked for keyframes, what comes later.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use media::{Codec, Demand, Frame, Rid, Timescale, TrackSpec};

use super::http::House;
use super::source::{Source, video_config};

const SPEC: TrackSpec =
    TrackSpec { codec: Codec::H264, timescale: Timescale::VIDEO, keyframes_on_request: true, derived: false };

/// A browser with three Layers, the largest of which comes when its line allows it. It makes keyframes when asked.
fn browser(house: &mut House, largest_from: u64) {
    let mut writer = house.publish();
    let pictures = Source { audio_hz: None, seconds: 40.0, ..Source::default() };
    let frames = pictures.frames(house.origin.into_std());
    house.tasks.spawn(async move {
        let mut track = writer.track(SPEC);
        let layers =
            [("l", super::SPS_SMALL, 0), ("m", super::SPS_SMALL, 0), ("h", super::SPS, largest_from)];
        let layers = layers.map(|(rid, sps, from)| {
            (Rid::parse(rid).expect("a rid"), video_config(sps), Duration::from_secs(from).as_micros() as i64)
        });
        let mut wanted = [true; 3];
        for (_, frame) in frames {
            tokio::time::sleep_until(frame.arrival.into()).await;
            while let Some(demand) = track.try_demand() {
                let Demand::Keyframe(rid) = demand else { continue };
                let at = layers.iter().position(|(known, _, _)| *known == rid).expect("a known layer");
                wanted[at] = true;
            }
            for (at, (rid, config, from)) in layers.iter().enumerate() {
                if frame.dts.as_micros() < *from {
                    continue;
                }
                let keyframe = std::mem::take(&mut wanted[at]);
                let config = Arc::clone(config);
                track.write_frame(rid, Frame { keyframe, config, ..frame.clone() });
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn every_layer_is_read_and_asked_for_keyframes_and_one_that_comes_later_becomes_a_variant() {
    let mut house = House::new();
    browser(&mut house, 9);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let master = house.get("/hls/ana/master.m3u8").await;
    assert_eq!(master.text().matches("#EXT-X-STREAM-INF").count(), 2, "{}", master.text());
    assert!(master.text().contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{}", master.text());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let master = house.get("/hls/ana/master.m3u8").await.text();
    assert_eq!(master.matches("#EXT-X-STREAM-INF").count(), 3, "{master}");
    assert!(
        master.contains("RESOLUTION=1280x720") && master.contains("#EXT-X-INDEPENDENT-SEGMENTS"),
        "{master}"
    );
    for uri in master.lines().filter(|line| !line.starts_with('#')) {
        let answer = house.get(&format!("/hls/ana/{uri}")).await;
        assert_eq!((answer.status, answer.list().target_duration), (StatusCode::OK, 2), "{uri}");
        assert_eq!(answer.list().reports.len(), 2, "{uri}");
    }
    let status = &house.packager.statuses()[0];
    assert_eq!((status.video_renditions, &status.notes[..]), (3, &[][..]));
    let stats = house.packager.stats();
    assert_eq!((stats.renditions, stats.dependent_segments_total), (3, 0));
}
