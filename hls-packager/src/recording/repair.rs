//! Makes a recording whole whose recorder did not end: the process was killed, or the machine lost power.
//!
//! Every file may end anywhere. Segments keep their whole fragments; frames of the write-ahead files that are in no
//! fragment become one more; the journal is written anew from what there is. Doing it twice does no harm.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use bytes::Bytes;
use media::{StreamId, Timescale};
use tracing::warn;

use super::journal::{self, About, line};
use super::plan::{Closed, Gone, Init, Plan, Rendition, Segment};
use super::wal::{self, Found};
use crate::file_name::FileName;
use crate::fmp4::scan;
use crate::fmp4::{self, Sample};
use crate::storage::disk::{Appender, replace};

/// Offset of decoding times, if no journal tells it: what the packager adds when no source is early.
const OFFSET_SECONDS: i64 = 10;

/// A hole in the tail that is longer is a break.
const HOLE_MICROS: i64 = 2_000_000;

/// Repairs the recording in `folder` and says what it consists of.
///
/// # Errors
/// What the disk says. Damage is no error.
pub(crate) fn repair(folder: &Path) -> io::Result<Plan> {
    let mut plan = Plan::read(folder)?;
    if plan.bad_lines > 0 {
        warn!(folder = %folder.display(), lines = plan.bad_lines, "the journal of a recording is damaged");
    }
    if plan.stream.is_empty() {
        plan.stream = folder.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        // Unix milliseconds stand in the upper bits.
        plan.started_unix_us = StreamId::parse(&plan.stream).map_or(0, |id| (id.raw() >> 16) * 1000);
    }
    for name in folders(folder)? {
        find_inits(folder, &mut plan, &name)?;
    }
    let tail = tail(folder)?;
    for found in tail.iter().map(|found| &found.config).collect::<Vec<_>>() {
        if plan.rendition_mut(&found.rendition).is_none()
            && let Some(scale) = tail.iter().find(|it| it.config == *found).map(|it| it.dts.scale())
        {
            plan.renditions.push(new_rendition(found, scale));
        }
    }
    let started = plan.started_unix_us;
    // Sound begins with the picture, as in the live stream.
    plan.renditions.sort_by_key(|rendition| rendition.kind == journal::Kind::Audio);
    let mut not_before = None;
    for rendition in &mut plan.renditions {
        let of: Vec<&Found> = tail.iter().filter(|it| it.config.rendition == rendition.name).collect();
        fs::create_dir_all(folder.join(&rendition.name))?;
        check_segments(folder, rendition, started)?;
        append_tail(folder, rendition, &of, started, not_before)?;
        not_before = not_before.or(rendition.segments.first().map(|first| first.at_us));
        for (generation, init) in &rendition.inits {
            let path = rendition.path(folder, FileName::Init(*generation));
            if fs::read(&path).ok().as_deref() != Some(&init.bytes) {
                replace(&path, &init.bytes)?;
            }
        }
    }
    plan.renditions.retain(|rendition| !rendition.segments.is_empty());
    let end = plan
        .renditions
        .iter()
        .filter_map(|it| it.segments.last())
        .map(|last| last.unix_us + u64::try_from(last.duration().as_micros()).unwrap_or(0));
    plan.ended_unix_us = plan.ended_unix_us.or(end.max()).or(Some(started));
    plan.bad_lines = 0;
    let text: String = plan.entries().iter().map(line).collect();
    replace(&folder.join(journal::FILE), text.as_bytes())?;
    for path in wal::files(folder)? {
        fs::remove_file(path)?;
    }
    Ok(plan)
}

fn tail(folder: &Path) -> io::Result<Vec<Found>> {
    let mut tail = Vec::new();
    for path in wal::files(folder)? {
        tail.extend(wal::read(Bytes::from(fs::read(path)?)));
    }
    Ok(tail)
}

fn new_rendition(config: &wal::Config, scale: Timescale) -> Rendition {
    Rendition {
        name: config.rendition.clone(),
        kind: config.kind,
        scale,
        offset_ticks: OFFSET_SECONDS * i64::from(scale.hz()),
        inits: BTreeMap::new(),
        segments: Vec::new(),
        gone: Gone::default(),
    }
}

fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let folders = fs::read_dir(folder)?.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    Ok(folders.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Inits whose line in the journal is lost.
fn find_inits(folder: &Path, plan: &mut Plan, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(name))?.filter_map(Result::ok) {
        let file = entry.file_name().to_str().and_then(FileName::parse);
        let Some(FileName::Init(generation)) = file else { continue };
        let bytes = fs::read(entry.path())?;
        let Some(found) = fmp4::InitInfo::read(&bytes) else { continue };
        let rendition = match plan.rendition_mut(name) {
            Some(rendition) => rendition,
            None => {
                plan.renditions.push(Rendition {
                    name: name.to_owned(),
                    kind: found.kind.into(),
                    scale: found.scale,
                    offset_ticks: OFFSET_SECONDS * i64::from(found.scale.hz()),
                    inits: BTreeMap::new(),
                    segments: Vec::new(),
                    gone: Gone::default(),
                });
                let Some(added) = plan.renditions.last_mut() else { continue };
                added
            }
        };
        let about = About { codecs: found.codecs, size: found.size, channels: found.channels };
        rendition.inits.entry(generation).or_insert(Init { about, bytes });
    }
    Ok(())
}

/// Compares segments with their files, adds files that no line tells of, and cuts what is not whole.
fn check_segments(folder: &Path, rendition: &mut Rendition, started: u64) -> io::Result<()> {
    let known: Vec<u64> = rendition.segments.iter().filter_map(|segment| segment.msn).collect();
    for msn in segment_files(&folder.join(&rendition.name))? {
        if !known.contains(&msn) {
            adopt(folder, rendition, msn, started)?;
        }
    }
    let mut segments = std::mem::take(&mut rendition.segments);
    for segment in &mut segments {
        let Some(msn) = segment.msn else { continue };
        let path = rendition.path(folder, FileName::Segment(msn));
        let len = fs::metadata(&path).map_or(0, |found| found.len());
        if segment.closed.is_some_and(|closed| closed.bytes == len) {
            continue;
        }
        let fragments = match File::open(&path) {
            Ok(file) => scan::fragments(&mut BufReader::new(file), len)?,
            Err(_) => Vec::new(),
        };
        let whole = fragments.last().map_or(0, |last| last.end);
        if whole < len {
            Appender::resume(path, whole)?;
        }
        segment.closed = Some(measure(rendition, &fragments, whole, segment.closed));
    }
    // An open segment without a fragment is no gap that anybody saw.
    while segments.last().is_some_and(|last| last.msn.is_some() && last.bytes() == 0) {
        segments.pop();
    }
    rendition.segments = segments;
    Ok(())
}

/// How long a segment is by its fragments; not shorter than the journal said, if all of it is there.
fn measure(rendition: &Rendition, fragments: &[scan::Found], bytes: u64, told: Option<Closed>) -> Closed {
    let first = fragments.first().map_or(0, |first| first.decode_time);
    let ticks = fragments.last().map_or(0, |last| last.decode_time + last.ticks() - first);
    let frames = fragments.iter().map(|it| it.samples.len()).sum::<usize>();
    let us = u64::try_from(rendition.length(ticks).as_micros()).unwrap_or(u64::MAX);
    let us = told.filter(|told| told.bytes <= bytes).map_or(us, |told| told.us.max(us));
    Closed { us, bytes, frames: u32::try_from(frames).unwrap_or(u32::MAX) }
}

fn segment_files(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found: Vec<u64> = fs::read_dir(folder)?
        .filter_map(|entry| match FileName::parse(entry.ok()?.file_name().to_str()?)? {
            FileName::Segment(msn) => Some(msn),
            FileName::Init(_) | FileName::Part(_) => None,
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// A segment whose line in the journal is lost.
fn adopt(folder: &Path, rendition: &mut Rendition, msn: u64, started: u64) -> io::Result<()> {
    let file = File::open(rendition.path(folder, FileName::Segment(msn)))?;
    let len = file.metadata()?.len();
    let Some(first) = scan::fragment_at(&mut BufReader::new(file), 0, len)? else { return Ok(()) };
    let at_us = rendition.micros(first.decode_time);
    let near = rendition.segments.iter().rev().find(|it| it.at_us < at_us).or(rendition.segments.first());
    let Some(generation) = near.map(|near| near.generation).or(rendition.inits.keys().next_back().copied())
    else {
        return Ok(());
    };
    let unix_us = near.map_or(started.saturating_add_signed(at_us), |near| {
        near.unix_us.saturating_add_signed(at_us - near.at_us)
    });
    let segment = Segment {
        msn: Some(msn),
        generation,
        at_us,
        unix_us,
        discontinuity: false,
        independent: first.samples.first().is_some_and(|sample| sample.sync),
        closed: None,
    };
    let place = rendition.segments.partition_point(|it| it.at_us < at_us);
    rendition.segments.insert(place, segment);
    Ok(())
}

/// Appends the frames that are in no fragment: to the last segment what goes on in it, the rest as new segments.
fn append_tail(
    folder: &Path,
    rendition: &mut Rendition,
    tail: &[&Found],
    started_unix_us: u64,
    not_before: Option<i64>,
) -> io::Result<()> {
    let last = last_decode_time(folder, rendition)?;
    let fresh = tail.iter().filter(|found| {
        let decode_time = decode_time(rendition, found);
        last.is_none_or(|last| decode_time > last)
            && not_before.is_none_or(|start| found.pts.as_micros() >= start)
    });
    let mut runs: Vec<Vec<&Found>> = Vec::new();
    for found in fresh {
        let follows = runs.last().and_then(|run| run.last()).map(|before| {
            let step = found.dts.as_micros() - before.dts.as_micros();
            (step > 0, step <= HOLE_MICROS && found.epoch == before.epoch && found.config == before.config)
        });
        match (follows, runs.last_mut()) {
            // Backwards: a frame that nobody could use.
            (Some((false, _)), _) => {}
            (Some((true, true)), Some(run)) => run.push(*found),
            _ => runs.push(vec![*found]),
        }
    }
    for (number, run) in runs.into_iter().enumerate() {
        let joins =
            number == 0 && last.zip(run.first()).is_some_and(|(last, first)| joins(rendition, last, first));
        // A decoder starts a segment of its own at a keyframe.
        let run = if joins { &run[..] } else { &run[run.iter().take_while(|it| !it.keyframe).count()..] };
        let Some(first) = run.first() else { continue };
        if !joins {
            begin_segment(rendition, first, started_unix_us);
        }
        append_run(folder, rendition, run)?;
    }
    Ok(())
}

/// It goes on with the last segment: the same parameters, and no hole.
fn joins(rendition: &Rendition, last: u64, first: &Found) -> bool {
    let init = rendition.segments.last().and_then(|segment| rendition.inits.get(&segment.generation));
    let gap = rendition.length(decode_time(rendition, first).saturating_sub(last));
    init.is_some_and(|init| init.bytes == first.config.init) && gap.as_micros() <= HOLE_MICROS as u128
}

fn begin_segment(rendition: &mut Rendition, first: &Found, started_unix_us: u64) {
    let known = rendition.inits.iter().find(|(_, init)| init.bytes == first.config.init);
    let generation = known.map(|(generation, _)| *generation);
    let next = rendition.inits.keys().next_back().map_or(0, |last| last + 1);
    let generation = generation.unwrap_or(next);
    rendition
        .inits
        .entry(generation)
        .or_insert_with(|| Init { about: first.config.about.clone(), bytes: first.config.init.to_vec() });
    let msn = rendition.segments.iter().filter_map(|it| it.msn).max().map_or(0, |last| last + 1);
    let at_us = first.pts.as_micros();
    rendition.segments.push(Segment {
        msn: Some(msn),
        generation,
        at_us,
        unix_us: started_unix_us.saturating_add_signed(at_us),
        discontinuity: msn > 0,
        independent: first.keyframe,
        closed: None,
    });
}

/// Appends one fragment to the last segment.
fn append_run(folder: &Path, rendition: &mut Rendition, run: &[&Found]) -> io::Result<()> {
    let Some((first, segment)) = run.first().zip(rendition.segments.last()) else { return Ok(()) };
    let Some(msn) = segment.msn else { return Ok(()) };
    let times: Vec<u64> = run.iter().map(|found| decode_time(rendition, found)).collect();
    let mut samples: Vec<Sample> = Vec::with_capacity(run.len());
    for (at, found) in run.iter().enumerate() {
        let step = times.get(at + 1).map(|next| next.saturating_sub(times[at]).max(1));
        let before = samples.last().map(|sample| u64::from(sample.duration));
        let told = (found.duration > 0).then(|| u64::from(found.duration));
        let duration = step.or(told).or(before).unwrap_or(u64::from(rendition.scale.hz()) / 30);
        samples.push(Sample {
            data: found.data.clone(),
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            composition_offset: found.pts.rescale(rendition.scale).ticks()
                - found.dts.rescale(rendition.scale).ticks(),
            keyframe: found.keyframe,
            discardable: found.discardable,
        });
    }
    let decode_time = decode_time(rendition, first);
    let Ok(fragment) = fmp4::fragment(rendition.kind.into(), u32::MAX, decode_time, &samples) else {
        return Ok(());
    };
    let path = rendition.path(folder, FileName::Segment(msn));
    let mut file = Appender::resume(path.clone(), segment.bytes())?;
    file.append(fragment.pieces())?;
    file.sync()?;
    let whole = scan::fragments(&mut BufReader::new(File::open(&path)?), file.len())?;
    let closed = measure(rendition, &whole, file.len(), None);
    if let Some(segment) = rendition.segments.last_mut() {
        segment.closed = Some(closed);
    }
    Ok(())
}

fn decode_time(rendition: &Rendition, found: &Found) -> u64 {
    let ticks = found.dts.rescale(rendition.scale).ticks().saturating_add(rendition.offset_ticks);
    u64::try_from(ticks).unwrap_or(0)
}

/// When the newest sample on disk is decoded.
fn last_decode_time(folder: &Path, rendition: &Rendition) -> io::Result<Option<u64>> {
    let newest = rendition.segments.iter().rev().find(|segment| segment.bytes() > 0);
    let Some(msn) = newest.and_then(|segment| segment.msn) else { return Ok(None) };
    let file = File::open(rendition.path(folder, FileName::Segment(msn)))?;
    let len = file.metadata()?.len();
    let fragments = scan::fragments(&mut BufReader::new(file), len)?;
    Ok(fragments.last().map(scan::Found::last_decode_time))
}
