//! Figures as text.

/// With so many digits behind the point; a dash for what was not measured.
pub(crate) fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

/// Several with slashes between.
pub(crate) fn joined(values: &[f64], digits: usize) -> String {
    values.iter().map(|value| number(*value, digits)).collect::<Vec<_>>().join(" / ")
}
