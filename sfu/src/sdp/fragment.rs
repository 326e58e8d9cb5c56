//! Trickled candidates and ICE restarts (RFC 8840).

use super::Error;

/// Longest fragment read; longer ones are refused.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024;

/// A body of `application/trickle-ice-sdpfrag`: whose it is. We are ICE-lite and wait to be checked, so the
/// candidates in it are of no use to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The viewer's ufrag. Another one than in its offer means an ICE restart.
    pub ufrag: String,
    /// The viewer's password.
    pub pwd: String,
    /// Whether more candidates may follow.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it carries no credentials.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > FRAGMENT_BYTES_MAX {
            return Err(Error::Syntax(format!("{} bytes are more than {FRAGMENT_BYTES_MAX}", text.len())));
        }
        let value =
            |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::to_owned);
        match (value("a=ice-ufrag:"), value("a=ice-pwd:")) {
            (Some(ufrag), Some(pwd)) => {
                Ok(Self { ufrag, pwd, end_of_candidates: value("a=end-of-candidates").is_some() })
            }
            _ => Err(Error::Syntax("no a=ice-ufrag and a=ice-pwd".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_required() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 1 198.51.100.1 1 typ host\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(text).expect("credentials are there");
        assert_eq!(fragment.ufrag, "EsAw");
        assert!(fragment.end_of_candidates);
        assert!(Fragment::parse("m=audio 9 RTP/AVP 0\r\n").expect_err("none").is_syntax());
    }
}
