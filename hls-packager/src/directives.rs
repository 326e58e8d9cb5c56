//! Delivery Directives (section 6.2.5): `_HLS_msn`, `_HLS_part`, `_HLS_skip`.

/// What a playlist request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Wait for this segment, or for this part of it.
    pub(crate) wait_for: Option<(u64, Option<u64>)>,
    /// `_HLS_skip`.
    pub(crate) skip: Skip,
}

/// Whether a delta update is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Skip {
    /// The full playlist.
    #[default]
    No,
    /// `_HLS_skip=YES`.
    Segments,
    /// `_HLS_skip=v2`.
    SegmentsAndDateRanges,
}

impl Directives {
    /// Reads a query string. Other parameters are ignored, unknown `_HLS_` ones too.
    ///
    /// # Errors
    /// What is wrong, for a 400.
    pub(crate) fn parse(query: &str) -> Result<Self, &'static str> {
        let (mut msn, mut part, mut skip) = (None, None, Skip::No);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => msn = Some(decimal(value).ok_or("_HLS_msn is not a decimal integer")?),
                "_HLS_part" => part = Some(decimal(value).ok_or("_HLS_part is not a decimal integer")?),
                "_HLS_skip" if value == "YES" => skip = Skip::Segments,
                "_HLS_skip" if value == "v2" => skip = Skip::SegmentsAndDateRanges,
                _ => {}
            }
        }
        let wait_for = match (msn, part) {
            (Some(msn), part) => Some((msn, part)),
            (None, None) => None,
            (None, Some(_)) => return Err("_HLS_part without _HLS_msn"),
        };
        Ok(Self { wait_for, skip })
    }
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hls_d01_d02_d15_directives_are_read_strictly() {
        for (query, wait_for) in [
            ("", Some(None)),
            ("_HLS_msn=7", Some(Some((7, None)))),
            ("_HLS_msn=7&_HLS_part=2&_HLS_new=x&token=a", Some(Some((7, Some(2))))),
            ("_HLS_part=2", None),
            ("_HLS_msn=-1", None),
            ("_HLS_msn=+1", None),
            ("_HLS_msn=0x1", None),
            ("_HLS_msn=", None),
            ("_HLS_msn=18446744073709551616", None),
            ("_HLS_msn=1&_HLS_part=1.5", None),
        ] {
            let parsed = Directives::parse(query).ok().map(|directives| directives.wait_for);
            assert_eq!(parsed, wait_for, "{query}");
        }
        assert_eq!(Directives::parse("_HLS_skip=YES").map(|read| read.skip), Ok(Skip::Segments));
        assert_eq!(Directives::parse("_HLS_skip=v2").map(|read| read.skip), Ok(Skip::SegmentsAndDateRanges));
        assert_eq!(Directives::parse("_HLS_skip=maybe").map(|read| read.skip), Ok(Skip::No));
    }
}
