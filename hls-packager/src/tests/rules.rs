//! What must hold for every playlist, and for every two that follow each other.

use super::reader::List;

const ROUNDING: f64 = 1e-6;

/// One playlist by itself. `clipped`: frames may last longer than a part, so parts do not add up.
pub(crate) fn check(list: &List, clipped: bool) {
    let target = list.target_duration as f64;
    assert!(target >= 1.0, "M01");
    assert!(list.can_block, "L04");
    assert!(list.hold_back >= 3.0 * target, "L02");
    assert!(list.part_hold_back >= 3.0 * list.part_target - ROUNDING, "L03");
    assert!(list.skip_until >= 6.0 * target, "L05");
    assert!(list.part_target > 0.0 && list.part_target <= target, "L06");
    assert_eq!(list.version, if list.skipped.is_none() { 6 } else { 9 + u64::from(list.date_ranges) }, "P04");
    assert!(list.segments.first().is_none_or(|first| first.map.is_some()), "M06, D14");
    assert_eq!(list.hint.is_none(), list.ended, "L14, M15");
    let mut behind = 0.0;
    for (at, segment) in list.segments.iter().enumerate().rev() {
        let last = at + 1 == list.segments.len();
        assert!(segment.date.is_some(), "M08, L18: a date on every segment");
        assert!(segment.uri.is_some() || last, "only the last segment is open");
        if let Some(duration) = segment.duration {
            assert!(duration.round() <= target, "M01: {duration} in {target}");
            assert!(duration <= target + 0.5, "M01: {duration} over {target} by more than 0.5 s");
        }
        if behind > 3.0 * target {
            assert!(segment.parts.is_empty(), "L13: parts {behind} s from the end");
        } else if !segment.gap && !list.ended && at + 2 >= list.segments.len() {
            assert!(!segment.parts.is_empty(), "parts at the live edge");
        }
        for (index, part) in segment.parts.iter().enumerate() {
            assert!(
                part.duration <= list.part_target + 1e-9,
                "L07: {} > {}",
                part.duration,
                list.part_target
            );
            let last_of_segment = index + 1 == segment.parts.len();
            let excused = part.independent || last_of_segment;
            assert!(
                excused || part.duration >= 0.85 * list.part_target - ROUNDING,
                "L08: {} of {}",
                part.duration,
                list.part_target
            );
        }
        if let (Some(duration), false, false) = (segment.duration, segment.parts.is_empty(), clipped) {
            let sum: f64 = segment.parts.iter().map(|part| part.duration).sum();
            assert!((sum - duration).abs() < 1e-4, "L11, M02: parts {sum}, segment {duration}");
        }
        behind += segment.length();
    }
}

/// `next` came after `prev`: only what section 6.2.1 allows has changed.
pub(crate) fn check_step(prev: &List, next: &List) {
    let constants = |list: &List| {
        (
            list.version,
            list.target_duration,
            list.part_target.to_bits(),
            list.hold_back.to_bits(),
            list.part_hold_back.to_bits(),
            list.skip_until.to_bits(),
        )
    };
    assert_eq!(constants(prev), constants(next), "M01, L01, R1: constants");
    assert!(next.media_sequence >= prev.media_sequence, "M03");
    assert!(!prev.ended || next == prev, "M15: nothing after ENDLIST");
    let removed = usize::try_from(next.media_sequence - prev.media_sequence).expect("few");
    assert!(removed < prev.segments.len(), "M03: removed more than there were");
    let window: f64 = next.segments.iter().map(super::reader::Listed::length).sum();
    assert!(
        removed == 0 || window >= 3.0 * next.target_duration as f64 - ROUNDING,
        "M12: {window} s are left"
    );
    let removed_discontinuities =
        prev.segments[..removed].iter().filter(|segment| segment.discontinuity).count() as u64;
    assert_eq!(next.discontinuity_sequence, prev.discontinuity_sequence + removed_discontinuities, "M04");
    let mut map = prev.segments[..removed].iter().rev().find_map(|segment| segment.map.clone());
    for (at, (old, new)) in prev.segments[removed..].iter().zip(&next.segments).enumerate() {
        assert_eq!((old.discontinuity, old.date), (new.discontinuity, new.date), "P07");
        map = old.map.clone().or(map);
        if at == 0 {
            assert_eq!(new.map, map, "P07: the first segment repeats its map");
        } else {
            assert_eq!(new.map, old.map, "P07");
        }
        if old.uri.is_some() {
            assert_eq!((&old.uri, old.duration, old.gap), (&new.uri, new.duration, new.gap), "P07");
            assert!(new.parts.is_empty() || new.parts == old.parts, "P07: parts of a closed segment");
        } else {
            let kept = &new.parts[..old.parts.len().min(new.parts.len())];
            assert!(kept == old.parts || next.ended, "P07: parts are appended");
        }
    }
    let known = prev.segments.len() - removed;
    assert!(next.segments.len() >= known, "P07: segments at the end stay");
    if let Some(hint) = &prev.hint
        && !next.ended
        && next.hint != prev.hint
    {
        let parts = next.segments.iter().flat_map(|segment| &segment.parts);
        assert!(parts.map(|part| &part.uri).any(|uri| uri == hint), "L14: {hint} was hinted and never came");
    }
}
