//! The moving picture: title, clock, frame number, colour bars under a sweeping light, water.

use std::f32::consts::TAU;

use transcode::picture::I420;

use super::font::Font;
use super::strip;

/// How long the square is white, and the beep is heard, from each whole second on.
pub const FLASH_MILLIS: u64 = 100;

/// A colour in limited-range ITU-R BT.709.
#[derive(Clone, Copy)]
struct Colour(u8, u8, u8);

const WHITE: Colour = Colour(235, 128, 128);

const fn rgb(red: u8, green: u8, blue: u8) -> Colour {
    let (r, g, b) = (red as i32, green as i32, blue as i32);
    // ITU-R BT.709 in 16.16 fixed point, scaled to 16..235 and 16..240.
    let y = 16 + ((11_966 * r + 40_254 * g + 4_064 * b + 32_768) >> 16);
    let u = 128 + ((-6_596 * r - 22_189 * g + 28_785 * b + 32_768) >> 16);
    let v = 128 + ((28_785 * r - 26_145 * g - 2_640 * b + 32_768) >> 16);
    Colour(y as u8, u as u8, v as u8)
}

/// The night sky behind everything, from top to bottom.
const SKY: [Colour; 2] = [rgb(10, 18, 42), rgb(16, 62, 86)];

/// 75 % colour bars, as every television engineer knows them.
const BARS: [Colour; 7] = [
    rgb(191, 191, 191),
    rgb(191, 191, 0),
    rgb(0, 191, 191),
    rgb(0, 191, 0),
    rgb(191, 0, 191),
    rgb(191, 0, 0),
    rgb(0, 0, 191),
];

/// Three waves, from the farthest to the nearest: colour, height of the crest below the top of the water,
/// amplitude, waves across the picture, pictures per second that they travel.
const WAVES: [(Colour, f32, f32, f32, f32); 3] = [
    (rgb(24, 110, 138), 0.22, 0.10, 2.0, 0.10),
    (rgb(30, 146, 160), 0.42, 0.12, 1.5, -0.14),
    (rgb(52, 190, 190), 0.66, 0.11, 2.5, 0.20),
];

/// Pixels of a streak of light on the water.
const GLINT_LENGTH: usize = 14;

/// Where the white square flashes: left, top and side, in pixels. Tests look there for the beep's picture.
pub fn flash_square(width: usize, height: usize) -> (usize, usize, usize) {
    (width * 39 / 64, height * 12 / 45, height * 5 / 45)
}

/// What a picture shows.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Frame number since the demo began.
    pub counter: u32,
    /// When it is made, for the strip.
    pub made_unix_millis: u64,
    /// When it is shown, on the clock that sound and flash share.
    pub shown_unix_millis: u64,
}

/// Draws pictures of one size. What does not move is drawn once.
pub struct Scene {
    background: I420,
    picture: I420,
    clock: Font,
    number: Font,
    /// Per column: where the wave that is being drawn begins, in rows below the top of the water.
    crests: Vec<f32>,
    glints: Vec<u8>,
}

impl Scene {
    /// Prepares the picture. `label`: the line below the title.
    pub fn new(width: usize, height: usize, label: &str) -> Self {
        let mut background = I420::new(width, height);
        let (width, height) = (background.width(), background.height());
        paint_sky(&mut background);
        let margin = width * 3 / 64;
        write(&mut background, &mut Font::new(height / 103), margin, height * 4 / 45, "Swiftwater demo");
        write(&mut background, &mut Font::new(height / 300), margin, height * 8 / 45, label);
        write(&mut background, &mut Font::new(height / 300), margin, height * 19 / 45, "UTC");
        paint_bars(&mut background, margin);
        let (left, top, side) = flash_square(width, height);
        fill(&mut background, left, top, side, side, rgb(6, 12, 28));
        let beep = Font::new(height / 360);
        let under = left + side.saturating_sub(4 * beep.advance()) / 2;
        write(&mut background, &mut { beep }, under, top + side + height / 60, "beep");
        paint_dial(&mut background);
        let crests = vec![0.0; width];
        let glints = make_glints(width, height - height * 3 / 4 / 2 * 2);
        let (clock, number) = (Font::new(height / 80), Font::new(height / 240));
        Self { picture: background.clone(), background, clock, number, crests, glints }
    }

    /// Draws the picture of a moment.
    pub fn draw(&mut self, moment: Moment) -> &I420 {
        let (width, height) = (self.picture.width(), self.picture.height());
        self.picture.copy_rows(&self.background, 0, height * 3 / 4);
        strip::draw(&mut self.picture, &strip::encode(moment.counter, moment.made_unix_millis));
        let millis = moment.shown_unix_millis;
        let (second, day) = (millis / 1000, millis / 1000 % 86_400);
        let margin = width * 3 / 64;
        let clock = format!("{:02}:{:02}:{:02}.{:03}", day / 3600, day / 60 % 60, day % 60, millis % 1000);
        write(&mut self.picture, &mut self.clock, margin, height * 13 / 45, &clock);
        let number = format!("frame {:07}", moment.counter);
        let right = margin + 6 * self.number.advance();
        write(&mut self.picture, &mut self.number, right, height * 75 / 180, &number);
        if millis % 1000 < FLASH_MILLIS {
            let (left, top, side) = flash_square(width, height);
            fill(&mut self.picture, left, top, side, side, WHITE);
        }
        let turn = (millis % 1000) as f32 / 1000.0;
        paint_hand(&mut self.picture, turn);
        // Once across in 4 s.
        let across = (second % 4) as f32 / 4.0 + turn / 4.0;
        paint_light(&mut self.picture, across);
        // The waves come round after 50 s at the latest, without a jump.
        self.paint_water((millis % 50_000) as f32 / 1000.0);
        &self.picture
    }

    fn paint_water(&mut self, seconds: f32) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let top = height * 3 / 4 / 2 * 2;
        let depth = (height - top) as f32;
        self.picture.copy_rows(&self.background, top, height);
        for (colour, level, amplitude, count, speed) in WAVES {
            for (x, crest) in self.crests.iter_mut().enumerate() {
                let along = x as f32 / width as f32;
                *crest = depth * (level - 0.12 + amplitude * (TAU * (count * along - speed * seconds)).sin());
            }
            // Only the rows between trough and crest are mixed pixel by pixel; below them all is water.
            let crest = (depth * (level - 0.12 - amplitude)).max(0.0) as usize;
            let trough = (depth * (level - 0.12 + amplitude)) as usize + 2;
            for row in top + crest..(top + trough).min(height) {
                let below = (row - top) as f32;
                for (pixel, crest) in self.picture.row_y_mut(row).iter_mut().zip(&self.crests) {
                    let luma = f32::from(*pixel);
                    *pixel = (luma + (f32::from(colour.0) - luma) * (below - crest).clamp(0.0, 1.0)) as u8;
                }
                if row % 2 == 1 {
                    continue;
                }
                let (us, vs) = self.picture.rows_uv_mut(row / 2);
                for ((u, v), crest) in us.iter_mut().zip(vs).zip(self.crests.iter().step_by(2)) {
                    if below >= *crest {
                        (*u, *v) = (colour.1, colour.2);
                    }
                }
            }
            let under = (top + trough).min(height);
            fill(&mut self.picture, 0, under, width, height - under, colour);
        }
        self.paint_glints(top, seconds);
    }

    /// Light on the nearest wave, faster the nearer it is: detail that moves, as cameras bring it, so that the
    /// stream has the bitrate that it says.
    fn paint_glints(&mut self, top: usize, seconds: f32) {
        let (width, height) = (self.picture.width(), self.picture.height());
        for row in top..height {
            let below = (row - top) as f32;
            // Whole turns in 50 s, as the waves.
            let turns = 1.0 + ((row - top) * 12 / (height - top)) as f32;
            let shift = (turns * seconds / 50.0).fract() * width as f32;
            let glints = &self.glints[(row - top) * width..][..width];
            let glints = glints.iter().cycle().skip(shift as usize);
            let luma = self.picture.row_y_mut(row).iter_mut();
            for ((pixel, glint), crest) in luma.zip(glints).zip(&self.crests) {
                if below > crest + 3.0 {
                    *pixel = pixel.saturating_add(*glint);
                }
            }
        }
    }
}

/// Soft streaks of light, one row per row of water, each joined to itself.
fn make_glints(width: usize, rows: usize) -> Vec<u8> {
    let mut dice = 0x9e37_79b9_u32;
    let mut noise: Vec<f32> = Vec::with_capacity(width * rows);
    for _ in 0..width * rows {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        noise.push(dice as f32 / u32::MAX as f32 - 0.5);
    }
    let smooth = |x: usize, row: usize| {
        let near = (0..GLINT_LENGTH).map(|i| noise[row * width + (x + i) % width]);
        let above = (0..GLINT_LENGTH).map(|i| noise[row.saturating_sub(1) * width + (x + i) % width]);
        near.chain(above).sum::<f32>()
    };
    let glint = |x, row| ((smooth(x, row) - 0.8).max(0.0) * 40.0).min(70.0) as u8;
    (0..rows).flat_map(|row| (0..width).map(move |x| (x, row))).map(|(x, row)| glint(x, row)).collect()
}

fn shade(row: usize, height: usize) -> Colour {
    let weight = row as f32 / height as f32;
    let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * weight).round() as u8;
    Colour(mix(SKY[0].0, SKY[1].0), mix(SKY[0].1, SKY[1].1), mix(SKY[0].2, SKY[1].2))
}

fn paint_sky(picture: &mut I420) {
    let (width, height) = (picture.width(), picture.height());
    for row in 0..height {
        fill(picture, 0, row, width, 1, shade(row, height));
    }
}

/// Rows of the colour bars, and of the grey ramp below them.
fn bars_rows(height: usize) -> (usize, usize, usize) {
    (height * 94 / 180, height * 115 / 180, height * 123 / 180)
}

fn paint_bars(picture: &mut I420, margin: usize) {
    let (width, height) = (picture.width(), picture.height());
    let (top, ramp, bottom) = bars_rows(height);
    let inner = width - 2 * margin;
    for (i, colour) in BARS.into_iter().enumerate() {
        let (left, right) = (margin + i * inner / 7, margin + (i + 1) * inner / 7);
        fill(picture, left, top, right - left, ramp - top, colour);
    }
    for step in 0..16 {
        let (left, right) = (margin + step * inner / 16, margin + (step + 1) * inner / 16);
        let luma = 16 + (219 * step / 15) as u8;
        fill(picture, left, ramp, right - left, bottom - ramp, Colour(luma, 128, 128));
    }
}

/// A soft light that sweeps over the bars.
fn paint_light(picture: &mut I420, across: f32) {
    let (width, height) = (picture.width(), picture.height());
    let margin = width * 3 / 64;
    let (top, _, bottom) = bars_rows(height);
    let centre = margin as f32 + across * (width - 2 * margin) as f32;
    let reach = width as f32 / 40.0;
    let from = (centre - reach).max(margin as f32) as usize;
    let to = ((centre + reach) as usize).min(width - margin);
    for row in top..bottom {
        for (x, pixel) in picture.row_y_mut(row).iter_mut().enumerate().take(to).skip(from) {
            let near = 1.0 - ((x as f32 - centre) / reach).abs();
            *pixel = (f32::from(*pixel) + (235.0 - f32::from(*pixel)) * near.clamp(0.0, 1.0).powi(2)) as u8;
        }
    }
}

/// Centre and radius of the dial whose hand goes round once per second.
fn dial(width: usize, height: usize) -> (f32, f32, f32) {
    (width as f32 * 0.84, height as f32 * 0.29, height as f32 * 0.17)
}

fn paint_dial(picture: &mut I420) {
    let (x, y, radius) = dial(picture.width(), picture.height());
    let line = radius / 48.0;
    around(picture, (x, y), radius + line, |off, distance| {
        let ring = 1.0 - ((distance - radius).abs() - line).clamp(0.0, 1.0);
        let tick = (off.1.atan2(off.0) / TAU * 10.0).rem_euclid(1.0);
        let near_tick = tick.min(1.0 - tick) / 10.0 * TAU * distance < line;
        let tick = if near_tick && distance > radius * 0.86 && distance < radius { 0.8 } else { 0.0 };
        f32::max(ring, tick)
    });
}

fn paint_hand(picture: &mut I420, turn: f32) {
    let (x, y, radius) = dial(picture.width(), picture.height());
    let line = radius / 22.0;
    let (sin, cos) = (turn * TAU).sin_cos();
    around(picture, (x, y), 3.0 * line, |_, distance| 1.0 - (distance - 2.5 * line).clamp(0.0, 1.0));
    // Drawn around its middle: a smaller square than the dial.
    let half = radius * 0.4;
    around(picture, (x + sin * half, y - cos * half), half + line, |off, _| {
        let (along, beside) = (off.0 * sin - off.1 * cos, off.0 * cos + off.1 * sin);
        if along.abs() < half { 1.0 - (beside.abs() - line).clamp(0.0, 1.0) } else { 0.0 }
    });
}

/// Blends white around a centre, as much as `cover` says for an offset and its length.
fn around(picture: &mut I420, centre: (f32, f32), reach: f32, cover: impl Fn((f32, f32), f32) -> f32) {
    let (left, top) = ((centre.0 - reach).max(0.0) as usize, (centre.1 - reach).max(0.0) as usize);
    let (right, bottom) = ((centre.0 + reach) as usize + 1, (centre.1 + reach) as usize + 1);
    for y in top..bottom.min(picture.height()) {
        for x in left..right.min(picture.width()) {
            let off = (x as f32 + 0.5 - centre.0, y as f32 + 0.5 - centre.1);
            let distance = off.0.hypot(off.1);
            let coverage = if distance <= reach + 1.0 { (cover(off, distance) * 255.0) as u8 } else { 0 };
            if coverage > 0 {
                blend(picture, x, y, coverage);
            }
        }
    }
}

/// Blends one pixel towards white.
fn blend(picture: &mut I420, x: usize, y: usize, coverage: u8) {
    if let Some(pixel) = picture.row_y_mut(y).get_mut(x) {
        *pixel = mix(*pixel, WHITE.0, coverage);
    }
    if x.is_multiple_of(2) && y.is_multiple_of(2) {
        let (u, v) = picture.rows_uv_mut(y / 2);
        if let (Some(u), Some(v)) = (u.get_mut(x / 2), v.get_mut(x / 2)) {
            (*u, *v) = (mix(*u, WHITE.1, coverage), mix(*v, WHITE.2, coverage));
        }
    }
}

fn mix(old: u8, new: u8, coverage: u8) -> u8 {
    let (old, new, weight) = (i32::from(old), i32::from(new), i32::from(coverage));
    (old + (new - old) * weight / 255) as u8
}

fn fill(picture: &mut I420, left: usize, top: usize, width: usize, height: usize, colour: Colour) {
    let right = (left + width).min(picture.width());
    for row in top..(top + height).min(picture.height()) {
        picture.row_y_mut(row)[left.min(right)..right].fill(colour.0);
        if row % 2 == 0 {
            let (u, v) = picture.rows_uv_mut(row / 2);
            u[left.min(right) / 2..right / 2].fill(colour.1);
            v[left.min(right) / 2..right / 2].fill(colour.2);
        }
    }
}

fn write(picture: &mut I420, font: &mut Font, left: usize, top: usize, text: &str) {
    let (advance, height) = (font.advance(), font.height());
    for (i, character) in text.chars().enumerate() {
        let glyph = font.glyph(character);
        let place = left + i * advance;
        for (row, coverage) in (top..top + height).zip(glyph.chunks(advance)) {
            let luma = picture.row_y_mut(row).iter_mut().skip(place);
            for (pixel, &coverage) in luma.zip(coverage).filter(|(_, coverage)| **coverage > 0) {
                *pixel = mix(*pixel, WHITE.0, coverage);
            }
            if row % 2 == 1 {
                continue;
            }
            let (us, vs) = picture.rows_uv_mut(row / 2);
            let chroma = us.iter_mut().zip(vs).skip(place / 2);
            for ((u, v), &coverage) in chroma.zip(coverage.iter().step_by(2)).filter(|(_, c)| **c > 0) {
                (*u, *v) = (mix(*u, WHITE.1, coverage), mix(*v, WHITE.2, coverage));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(picture: &I420, (left, top, side): (usize, usize, usize)) -> usize {
        let rows = (top..top + side).map(|row| &picture.y()[row * picture.width() + left..][..side]);
        rows.flatten().map(|&luma| usize::from(luma)).sum::<usize>() / (side * side)
    }

    #[test]
    fn says_its_number_and_flashes_on_the_second() {
        let mut scene = Scene::new(640, 360, "test");
        for (counter, shown, white) in
            [(1, 5_000, true), (2, 5_099, true), (3, 5_100, false), (4, 5_999, false)]
        {
            let moment = Moment { counter, made_unix_millis: shown + 7, shown_unix_millis: shown };
            let picture = scene.draw(moment);
            assert_eq!(strip::read(picture.y(), 640, 640, 360), Some((counter, shown + 7)));
            assert_eq!(mean(picture, flash_square(640, 360)) > 200, white, "at {shown}");
        }
    }

    #[test]
    fn something_moves_in_every_picture_and_any_size_is_drawn() {
        for (width, height) in [(1280, 720), (320, 180), (480, 854), (82, 16)] {
            let mut scene = Scene::new(width, height, "test");
            let at = |millis| Moment { counter: 0, made_unix_millis: 0, shown_unix_millis: millis };
            let first = scene.draw(at(200)).clone();
            let second = scene.draw(at(233));
            assert!(first != *second, "{width}x{height}");
        }
    }

    #[test]
    fn colours_are_those_of_bt709() {
        for ((r, g, b), (y, u, v)) in [
            ((0, 0, 0), (16, 128, 128)),
            ((255, 255, 255), (235, 128, 128)),
            ((255, 0, 0), (63, 102, 240)),
            ((0, 0, 255), (32, 240, 118)),
        ] {
            let colour = rgb(r, g, b);
            let near = |a: u8, b: i32| (i32::from(a) - b).abs() <= 1;
            assert!(near(colour.0, y) && near(colour.1, u) && near(colour.2, v), "{r} {g} {b}");
        }
    }
}
