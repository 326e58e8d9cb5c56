//! A clapper: how much later the beep of a whole second is heard than the picture is shown that was made at that second.

use std::f64::consts::TAU;

use crate::film::{Film, Picture, RATE, Stretch};

/// Of the beep; under it lies a bed of 440 Hz.
const BEEP_HZ: f64 = 1000.0;
/// Five periods of the beep.
const WINDOW: usize = 240;
/// How finely it is listened: a quarter of a millisecond.
const STEP: usize = 12;
/// Between the beginnings of two beeps: one that flickers at the threshold is one.
const APART_MS: f64 = 300.0;
/// Pictures so near to a beep say when its second was.
const NEAR_MS: f64 = 400.0;
/// Fewer than that say nothing: the beep is at an end of the film.
const PICTURES_MIN: usize = 5;

/// How far apart sound and picture are at one second.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// When, in seconds since the film's first picture.
    pub second: f64,
    /// How much later the beep is than its picture.
    pub ms: f64,
}

/// One for each beep that has pictures around it.
pub fn offsets(film: &Film) -> Vec<Offset> {
    let Some(first) = film.pictures.first() else { return Vec::new() };
    let beeps = beeps(&film.sound).into_iter();
    let apart = beeps.filter_map(|beep_ms| {
        let near = film.pictures.iter().filter(|it| (it.at_ms - beep_ms).abs() < NEAR_MS);
        let mut late: Vec<f64> = near.map(|Picture { at_ms, made_ms, .. }| at_ms - made_ms).collect();
        late.sort_by(f64::total_cmp);
        // The middle one: single pictures are made late on a busy machine.
        let middle = late.get(late.len() / 2).filter(|_| late.len() >= PICTURES_MIN)?;
        let made_ms = beep_ms - middle;
        let ms = made_ms - 1000.0 * (made_ms / 1000.0).round();
        Some(Offset { second: (beep_ms - first.at_ms) / 1000.0, ms })
    });
    apart.collect()
}

/// When beeps begin.
fn beeps(sound: &[Stretch]) -> Vec<f64> {
    let samples: Vec<f32> = sound.iter().flat_map(|it| it.samples.iter().copied()).collect();
    let levels: Vec<f64> = samples.windows(WINDOW).step_by(STEP).map(level).collect();
    let loud = levels.iter().copied().fold(0.0, f64::max);
    // Half of the window is beep when it is half as loud: then it begins in the middle, whatever the level.
    let rising =
        levels.windows(2).enumerate().filter(|(_, pair)| pair[0] < loud / 2.0 && pair[1] >= loud / 2.0);
    let mut found: Vec<f64> = Vec::new();
    for at_ms in rising.map(|(step, _)| time_of(sound, (step + 1) * STEP + WINDOW / 2)) {
        if found.last().is_none_or(|last| at_ms - last > APART_MS) {
            found.push(at_ms);
        }
    }
    found
}

/// How loud the beep's tone is in a window (Goertzel).
fn level(window: &[f32]) -> f64 {
    let k = 2.0 * (TAU * BEEP_HZ / f64::from(RATE)).cos();
    let (a, b) = window.iter().fold((0.0, 0.0), |(a, b), value| (f64::from(*value) + k * a - b, a));
    (a * a + b * b - k * a * b).max(0.0).sqrt() * 2.0 / window.len() as f64
}

/// When the sample of that index is heard.
fn time_of(sound: &[Stretch], index: usize) -> f64 {
    let mut first = 0;
    for stretch in sound {
        if index < first + stretch.samples.len() {
            return stretch.at_ms + (index - first) as f64 * 1000.0 / f64::from(RATE);
        }
        first += stretch.samples.len();
    }
    f64::NAN
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE_MS: f64 = 1_795_327_200_250.0;

    /// Three seconds that begin at 250 ms of a second: pictures 40 ms after they were made, stretches of 20 ms of sound in which
    /// beeps begin with their seconds and which are labelled so that they are `late_ms` behind the pictures.
    fn film(late_ms: f64) -> Film {
        let picture = |number: u32| {
            let made_ms = MADE_MS + f64::from(number) * 1000.0 / 30.0;
            Picture { at_ms: made_ms + 40.0, made_ms: made_ms.floor(), number }
        };
        let stretch = |number: u32| {
            let sample = |it: u32| {
                let seconds = f64::from(number * 960 + it) / f64::from(RATE) + 0.25;
                let beep = if seconds % 1.0 < 0.1 { 0.3 * (TAU * BEEP_HZ * seconds).sin() } else { 0.0 };
                (beep + 0.02 * (TAU * 440.0 * seconds).sin()) as f32
            };
            let at_ms = MADE_MS + 40.0 + late_ms + 20.0 * f64::from(number);
            Stretch { at_ms, samples: (0..960).map(sample).collect() }
        };
        Film { pictures: (0..90).map(picture).collect(), sound: (0..150).map(stretch).collect() }
    }

    #[test]
    fn says_how_much_later_a_beep_is() {
        for late_ms in [0.0, 63.0, -150.0] {
            let offsets = offsets(&film(late_ms));
            assert_eq!(offsets.len(), 3, "{offsets:?}");
            assert!(offsets.iter().all(|it| (it.ms - late_ms).abs() < 1.0), "{late_ms}: {offsets:?}");
        }
    }

    #[test]
    fn pictures_that_are_drawn_late_are_those_of_when_they_were_due() {
        let mut film = film(63.0);
        for picture in film.pictures.iter_mut().filter(|it| it.number % 4 > 0) {
            picture.made_ms += 90.0;
        }
        assert!(offsets(&film).iter().all(|it| it.ms > 140.0));
        let offsets = offsets(&film.paced(30.0));
        assert!(offsets.iter().all(|it| (it.ms - 63.0).abs() < 1.5), "{offsets:?}");
    }

    #[test]
    fn a_film_without_sound_or_pictures_says_nothing() {
        let whole = film(0.0);
        assert!(offsets(&Film { sound: Vec::new(), ..whole.clone() }).is_empty());
        assert!(offsets(&Film { pictures: Vec::new(), ..whole }).is_empty());
    }
}
