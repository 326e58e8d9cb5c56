//! Whether a number that was sampled for a while stays where it is.

/// Share of the samples at the beginning that do not count: caches fill, the audience reaches its size.
const WARM_UP_SHARE: f64 = 0.25;
/// Samples that a verdict needs at least.
const SAMPLES_MIN: usize = 8;

/// What may grow, and how far, over the time that was looked at, before it counts as growth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// As share of the median.
    pub(crate) share: f64,
    /// And so much more.
    pub(crate) more: f64,
}

/// What the samples say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// In the middle.
    pub(crate) median: f64,
    /// From the first sample that counts to the last, along the slope.
    pub(crate) growth: f64,
    /// Per hour.
    pub(crate) per_hour: f64,
    pub(crate) flat: bool,
}

/// Looks at samples of (seconds, value), in order of time. `None`: there are too few to say.
///
/// The slope is the median of the slopes between all pairs (Theil and Sen): a spike, or a burst of viewers at the
/// moment of one sample, does not bend it.
pub(crate) fn trend(samples: &[(f64, f64)], allowance: Allowance) -> Option<Trend> {
    let samples = &samples[(samples.len() as f64 * WARM_UP_SHARE) as usize..];
    if samples.len() < SAMPLES_MIN {
        return None;
    }
    let pairs = samples.iter().enumerate().flat_map(|(at, first)| {
        samples[at + 1..].iter().map(move |second| (second.1 - first.1) / (second.0 - first.0))
    });
    let slope = median(pairs.filter(|slope| slope.is_finite()).collect())?;
    let middle = median(samples.iter().map(|(_, value)| *value).collect())?;
    let growth = slope * (samples[samples.len() - 1].0 - samples[0].0);
    let flat = growth <= middle * allowance.share + allowance.more;
    Some(Trend { median: middle, growth, per_hour: slope * 3600.0, flat })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { share: 0.05, more: 4.0 };

    fn samples(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..40).map(|at| (f64::from(at) * 10.0, value(f64::from(at) * 10.0))).collect()
    }

    #[test]
    fn growth_is_told_from_noise_spikes_and_the_beginning() {
        let saw = |at: f64| (at * 7.3) % 10.0;
        type Value<'a> = &'a dyn Fn(f64) -> f64;
        let table: [(&str, Value<'_>, bool); 6] = [
            ("constant", &|_| 100.0, true),
            ("noise", &|at| 100.0 + saw(at), true),
            ("grows at first only", &|at| 100.0 + at.min(80.0) * 5.0, true),
            ("falls", &|at| 200.0 - at * 0.1, true),
            ("one spike at the end", &|at| if at > 380.0 { 500.0 } else { 100.0 }, true),
            ("grows", &|at| 100.0 + at * 0.1 + saw(at), false),
        ];
        for (name, value, flat) in table {
            let trend = trend(&samples(value), ALLOWANCE).expect("enough samples");
            assert_eq!(trend.flat, flat, "{name}: {trend:?}");
        }
    }

    #[test]
    fn few_samples_say_nothing() {
        assert_eq!(trend(&samples(|_| 1.0)[..6], ALLOWANCE), None);
    }
}
