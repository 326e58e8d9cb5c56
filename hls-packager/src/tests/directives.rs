//! Delivery Directives (table D), and what of them HTTP does not see.

use super::reader::List;
use super::sim::Sim;
use super::source::Source;
use crate::directives::Directives;
use crate::name::Name;
use crate::rendition::Verdict;

/// A live stream, and the MSN of its open segment with its number of parts (at least 1, less than 4).
fn live() -> (Sim, u64, u64) {
    let sim = Sim::run(&Source { seconds: 13.3, ..Source::default() });
    let list = sim.lists(Name::VIDEO).last().expect("a playlist").clone();
    let open = list.segments.last().filter(|segment| segment.uri.is_none()).expect("an open segment");
    let msn = list.media_sequence + list.segments.len() as u64 - 1;
    let parts = open.parts.len() as u64;
    (sim, msn, parts)
}

fn decide(sim: &Sim, query: &str) -> Verdict {
    let directives = Directives::parse(query).expect("readable directives");
    sim.presentation.decide(Name::VIDEO, &directives).expect("there is video")
}

#[test]
fn hls_d03_to_d08_requests_wait_answer_or_are_refused() {
    let (sim, open, parts) = live();
    // ceil(3 / 0.51)
    let limit = 6;
    assert!(parts >= 1);
    for (id, query, verdict) in [
        ("D03", format!("_HLS_msn={open}"), Verdict::Now),
        ("D03", format!("_HLS_msn={}", open + 1), Verdict::Wait),
        ("D04", format!("_HLS_msn={}&_HLS_part=0", open - 1), Verdict::Now),
        ("D04", format!("_HLS_msn={open}&_HLS_part={}", parts - 1), Verdict::Now),
        ("D04", format!("_HLS_msn={open}&_HLS_part={parts}"), Verdict::Wait),
        ("D05", format!("_HLS_msn={}&_HLS_part=4", open - 1), Verdict::Now),
        ("D05", format!("_HLS_msn={}&_HLS_part=99", open - 1), Verdict::Now),
        ("D06", "_HLS_msn=0&_HLS_part=0".to_owned(), Verdict::Now),
        ("D06", "_HLS_msn=0&_HLS_part=99".to_owned(), Verdict::Now),
        ("D08", format!("_HLS_msn={open}&_HLS_part={}", parts - 1 + limit), Verdict::Wait),
    ] {
        assert_eq!(decide(&sim, &query), verdict, "{id}: {query}");
    }
    for (id, query) in [
        ("D07", format!("_HLS_msn={}", open + 2)),
        ("D07", format!("_HLS_msn={}", u64::MAX)),
        ("D08", format!("_HLS_msn={open}&_HLS_part={}", parts + limit)),
        ("D08", format!("_HLS_msn={open}&_HLS_part={}", u64::MAX)),
        ("D08", format!("_HLS_msn={}&_HLS_part={limit}", open + 1)),
    ] {
        assert!(matches!(decide(&sim, &query), Verdict::Bad(_)), "{id}: {query}");
    }
}

#[test]
fn hls_d05_a_part_beyond_a_finished_segment_is_the_first_of_the_next() {
    // Stops right after a segment was closed, before the next one has a part.
    let mut sim = Sim::new(super::sim::expected(&Source::default()));
    let source = Source::default();
    for (kind, frame) in source.frames(sim.origin) {
        sim.feed_frames(vec![(kind, frame)]);
        let Some(list) = sim.lists(Name::VIDEO).last() else { continue };
        let closed = list.segments.last().is_some_and(|last| last.uri.is_some());
        if closed && list.segments.len() > 3 {
            break;
        }
    }
    let list = sim.lists(Name::VIDEO).last().expect("a playlist");
    let closed = list.media_sequence + list.segments.len() as u64 - 1;
    assert_eq!(decide(&sim, &format!("_HLS_msn={closed}&_HLS_part=3")), Verdict::Now);
    assert_eq!(decide(&sim, &format!("_HLS_msn={closed}&_HLS_part=4")), Verdict::Wait);
}

#[test]
fn hls_d10_d11_an_ended_playlist_ignores_directives() {
    let (mut sim, open, _) = live();
    sim.finish();
    for query in ["_HLS_msn=999999", "_HLS_msn=0&_HLS_part=999999", &format!("_HLS_msn={}", open + 1)] {
        assert_eq!(decide(&sim, query), Verdict::Now, "{query}");
    }
    let skip = Directives::parse("_HLS_skip=YES").expect("readable");
    let text = sim.text(Name::VIDEO, &skip);
    assert!(text.contains("#EXT-X-ENDLIST") && !text.contains("#EXT-X-SKIP"), "D13");
}

#[test]
fn hls_d12_d13_d14_a_delta_skips_what_is_further_than_can_skip_until() {
    let mut sim = Sim::run(&Source { seconds: 41.3, ..Source::default() });
    let full = sim.list(Name::VIDEO);
    for (query, version, date_ranges) in [("_HLS_skip=YES", 9, false), ("_HLS_skip=v2", 10, true)] {
        let text = sim.text(Name::VIDEO, &Directives::parse(query).expect("readable"));
        let delta = List::read(&text);
        super::rules::check(&delta, false);
        let skipped = usize::try_from(delta.skipped.expect("something to skip")).expect("few");
        assert!(skipped > 0 && delta.segments.len() + skipped == full.segments.len());
        assert_eq!((delta.version, delta.date_ranges), (version, date_ranges));
        assert_eq!(delta.media_sequence, full.media_sequence);
        assert_eq!(delta.discontinuity_sequence, full.discontinuity_sequence);
        assert_eq!(delta.segments[1..], full.segments[skipped + 1..]);
        assert!(delta.segments[0].map.is_some(), "D14: the map is repeated");
        let rest: f64 = delta.segments.iter().map(super::reader::Listed::length).sum();
        assert!(rest >= full.skip_until, "the skip boundary: {rest}");
    }
    // Young: nothing to skip, so the full playlist.
    let mut young = Sim::run(&Source { seconds: 9.3, ..Source::default() });
    let skip = Directives::parse("_HLS_skip=YES").expect("readable");
    let delta = List::read(&young.text(Name::VIDEO, &skip));
    let full = young.list(Name::VIDEO);
    // Rendered at different times, so what they report of the audio Rendition may differ.
    assert_eq!(List { reports: Vec::new(), ..delta }, List { reports: Vec::new(), ..full });
}

#[test]
fn hls_l21_a_playlist_is_rendered_once_for_all_who_wait() {
    let (mut sim, _, _) = live();
    let before = sim.presentation.rendition(Name::VIDEO).expect("video").counters.rendered;
    let first = sim.presentation.playlist(Name::VIDEO, &Directives::default()).expect("video");
    for _ in 0..1000 {
        let again = sim.presentation.playlist(Name::VIDEO, &Directives::default()).expect("video");
        assert_eq!(first.gzip.as_ptr(), again.gzip.as_ptr(), "the same bytes");
    }
    let after = sim.presentation.rendition(Name::VIDEO).expect("video").counters.rendered;
    assert!(after - before <= 1);
}
