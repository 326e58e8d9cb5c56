//! The MP4 file of a recording: the samples of its segments behind one `moov`, so that it plays before it is complete.
//!
//! Payload goes from file to file in the kernel where it can (`copy_file_range`): it is read once and written once.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use media::Kind;

use super::MP4;
use crate::file_name::FileName;
use crate::fmp4::movie::{self, Track};
use crate::fmp4::scan;
use crate::recording::{Plan, Rendition};
use crate::storage::disk::{sync, sync_folder};

/// Where a fragment's samples lie.
struct Source {
    msn: u64,
    at: u64,
    bytes: u64,
}

/// Makes the file and says how long it is. With `stopping` it gives up.
///
/// # Errors
/// What the disk says, or that there is nothing to put into it.
pub(crate) fn make(folder: &Path, plan: &Plan, stopping: &AtomicBool) -> io::Result<u64> {
    let temporary = folder.join(MP4).with_extension("mp4.tmp");
    let made = write(folder, plan, stopping, &temporary);
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
        return made;
    }
    fs::rename(&temporary, folder.join(MP4))?;
    sync_folder(&temporary)?;
    made
}

fn write(folder: &Path, plan: &Plan, stopping: &AtomicBool, to: &Path) -> io::Result<u64> {
    let renditions = chosen(plan);
    let mut tracks = Vec::new();
    let mut sources = Vec::new();
    for rendition in &renditions {
        let (track, found) = index(folder, rendition, stopping)?;
        tracks.push(track);
        sources.push(found);
    }
    let order = interleave(&tracks);
    let head = movie::head(&mut tracks, &order);
    let mut out = File::create(to)?;
    out.write_all(&head)?;
    let mut written = head.len() as u64;
    let mut next = vec![0; renditions.len()];
    let mut open: Vec<Option<(u64, File)>> = renditions.iter().map(|_| None).collect();
    for which in order {
        give_up(stopping)?;
        let source = &sources[which][next[which]];
        next[which] += 1;
        if open[which].as_ref().is_none_or(|(msn, _)| *msn != source.msn) {
            let path = renditions[which].path(folder, FileName::Segment(source.msn));
            open[which] = Some((source.msn, File::open(path)?));
        }
        let Some((_, file)) = &mut open[which] else { continue };
        file.seek(SeekFrom::Start(source.at))?;
        let copied = io::copy(&mut file.take(source.bytes), &mut out)?;
        if copied != source.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        written += copied;
    }
    sync(&out)?;
    Ok(written)
}

/// The largest picture, and the sound.
fn chosen(plan: &Plan) -> Vec<&Rendition> {
    let of = |kind| plan.playable().filter(move |it| media::Kind::from(it.kind) == kind);
    let area = |it: &&Rendition| {
        let size = it.about().and_then(|about| about.size);
        size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    };
    // The first of several that are equal.
    let video = of(Kind::Video).reduce(|best, it| if area(&it) > area(&best) { it } else { best });
    video.into_iter().chain(of(Kind::Audio).next()).collect()
}

/// Reads the heads of all fragments, not their samples.
fn index(folder: &Path, rendition: &Rendition, stopping: &AtomicBool) -> io::Result<(Track, Vec<Source>)> {
    let mut track = Track::new(rendition.kind.into(), rendition.scale);
    let mut sources = Vec::new();
    for segment in rendition.segments.iter().filter(|segment| !segment.is_hole()) {
        give_up(stopping)?;
        let Some(msn) = segment.msn else { continue };
        let init = rendition.inits.get(&segment.generation);
        let Some(description) = init.and_then(|init| track.description(&init.bytes)) else { continue };
        let file = File::open(rendition.path(folder, FileName::Segment(msn)))?;
        // A moof is a few hundred bytes; a larger buffer would read samples too.
        let mut file = BufReader::with_capacity(512, file);
        for fragment in scan::fragments(&mut file, segment.bytes())? {
            if !track.push(&fragment, description) {
                return Err(io::Error::other("it has too many frames"));
            }
            sources.push(Source { msn, at: fragment.payload_at, bytes: fragment.payload });
        }
    }
    if sources.is_empty() {
        return Err(io::Error::other("there is nothing in it"));
    }
    Ok((track, sources))
}

/// Which Track the chunks are of, in the order of time.
fn interleave(tracks: &[Track]) -> Vec<usize> {
    let mut next = vec![0; tracks.len()];
    let mut order = Vec::with_capacity(tracks.iter().map(|track| track.chunks.len()).sum());
    loop {
        let first = tracks
            .iter()
            .enumerate()
            .filter_map(|(which, track)| {
                let chunk = track.chunks.get(next[which])?;
                Some((track.in_movie(chunk.decode_time), which))
            })
            .min();
        let Some((_, which)) = first else { return order };
        next[which] += 1;
        order.push(which);
    }
}

fn give_up(stopping: &AtomicBool) -> io::Result<()> {
    if stopping.load(Ordering::Acquire) {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "the server stops"));
    }
    Ok(())
}
