//! The rules that every playlist is checked by find what breaks them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::reader::List;
use super::rules;
use super::sim::Sim;
use super::source::Source;
use crate::directives::Directives;
use crate::name::Name;

fn complaint(check: impl FnOnce()) -> Option<String> {
    let found = catch_unwind(AssertUnwindSafe(check)).err()?;
    let said = found.downcast_ref::<String>().cloned();
    Some(said.or_else(|| found.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default())
}

#[test]
fn hls_p01_p04_m01_m06_m08_m14_l02_l03_l04_l05_l07_l08_l11_l12_l14_each_rule_bites() {
    let mut sim = Sim::run(&Source { seconds: 13.3, ..Source::default() });
    let good = sim.text(Name::VIDEO, &Directives::default());
    rules::check(&List::read(&good), false);
    let date = good.lines().find(|line| line.starts_with("#EXT-X-PROGRAM")).expect("a date");
    let part = good.lines().filter(|line| line.contains("EXT-X-PART:")).nth(1).expect("a part");
    for (id, from, to) in [
        ("P01", "#EXTM3U\n", "\u{feff}#EXTM3U\n".to_owned()),
        ("P01", "#EXT-X-VERSION", "\t#EXT-X-VERSION".to_owned()),
        ("P04", "VERSION:6", "VERSION:9".to_owned()),
        ("M01", "TARGETDURATION:2", "TARGETDURATION:1".to_owned()),
        ("M06", "#EXT-X-MAP:URI=\"init0.mp4\"\n", String::new()),
        ("M08", date, "#EXT-X-BITRATE:1".to_owned()),
        ("M14", "#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF".to_owned()),
        ("L02", "HOLD-BACK=6.000,", "HOLD-BACK=5.000,".to_owned()),
        ("L03", "PART-HOLD-BACK=1.", "PART-HOLD-BACK=0.".to_owned()),
        ("L04", "CAN-BLOCK-RELOAD=YES,", String::new()),
        ("L05", "CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11".to_owned()),
        ("L07", part, part.replace("DURATION=0.5", "DURATION=0.6")),
        ("L08", part, part.replace("DURATION=0.5", "DURATION=0.4")),
        ("L14", "#EXT-X-PRELOAD-HINT", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD-HINT".to_owned()),
    ] {
        assert!(good.contains(from), "{id}: {from} is not in\n{good}");
        let bad = good.replacen(from, &to, 1);
        let said = complaint(|| rules::check(&List::read(&bad), false));
        let said = said.unwrap_or_else(|| panic!("{id}: {from} became {to:?} and nobody saw it"));
        let named = said.contains(id) || said.contains("a tag that does not belong here");
        assert!(named, "{id}: {said}");
    }
    // Tags that apply to a segment, behind its first part.
    let late = good.replacen(&format!("{part}\n"), &format!("{part}\n{date}\n"), 1);
    assert!(complaint(|| drop(List::read(&late))).is_some_and(|said| said.contains("L12")));
    let short = good.replacen("#EXTINF:2.000", "#EXTINF:1.900", good.matches("#EXTINF").count());
    assert!(complaint(|| rules::check(&List::read(&short), false)).is_some_and(|said| said.contains("L11")));
}

#[test]
fn hls_p07_m01_m03_m04_m12_l14_each_rule_about_changes_bites() {
    let mut sim = Sim::run(&Source { seconds: 13.3, ..Source::default() });
    let text = sim.text(Name::VIDEO, &Directives::default());
    let good = List::read(&text);
    rules::check_step(&good, &good);
    let change = |change: &dyn Fn(&mut List)| {
        let mut next = good.clone();
        change(&mut next);
        complaint(|| rules::check_step(&good, &next))
    };
    for (id, said) in [
        ("M01", change(&|next| next.target_duration += 1)),
        ("M01", change(&|next| next.part_target += 0.001)),
        ("M03", change(&|next| next.media_sequence = 99)),
        ("M04", change(&|next| next.discontinuity_sequence += 1)),
        ("P07", change(&|next| next.segments[1].date = None)),
        ("P07", change(&|next| next.segments[1].uri = Some("s9.m4s".to_owned()))),
        ("P07", change(&|next| next.segments[1].duration = Some(1.5))),
        ("P07", change(&|next| next.segments[1].discontinuity = true)),
        ("P07", change(&|next| drop(next.segments.pop()))),
        ("P07", change(&|next| drop(next.segments.last_mut().and_then(|last| last.parts.pop())))),
        ("L14", change(&|next| next.hint = Some("p999.m4s".to_owned()))),
        (
            "M12",
            change(&|next| {
                next.media_sequence += 5;
                next.segments.drain(..5);
            }),
        ),
    ] {
        assert!(said.as_ref().is_some_and(|said| said.contains(id)), "{id}: {said:?}");
    }
}
