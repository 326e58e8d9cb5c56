//! Trickled candidates and ICE restarts (RFC 8840).

use super::Error;
use crate::core::Credentials;

/// Longest fragment read; longer ones are refused.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024;
/// Longest ufrag and longest password (RFC 8839 section 5.4); longer ones are refused.
const CREDENTIAL_BYTES_MAX: usize = 256;

/// A body of `application/trickle-ice-sdpfrag`: whose it is. We are ICE-lite and wait to be checked, so the
/// candidates in it are of no use to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The client's half of the ICE session. Another ufrag than in its offer means an ICE restart.
    pub credentials: Credentials,
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
            (Some(ufrag), Some(pwd)) => Ok(Self {
                credentials: credentials(&ufrag, &pwd)?,
                end_of_candidates: value("a=end-of-candidates").is_some(),
            }),
            _ => Err(Error::Syntax("no a=ice-ufrag and a=ice-pwd".to_owned())),
        }
    }
}

/// What a client tells of its ICE session. It is not asked for more than that we can use it.
pub(super) fn credentials(ufrag: &str, pwd: &str) -> Result<Credentials, Error> {
    if [ufrag, pwd].iter().any(|text| !(1..=CREDENTIAL_BYTES_MAX).contains(&text.len())) {
        let why = format!("a=ice-ufrag and a=ice-pwd have 1 to {CREDENTIAL_BYTES_MAX} characters");
        return Err(Error::Syntax(why));
    }
    Ok(Credentials::new(ufrag.to_owned(), pwd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_required() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 1 198.51.100.1 1 typ host\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(text).expect("credentials are there");
        assert_eq!(fragment.credentials.ufrag(), "EsAw");
        assert!(!format!("{fragment:?}").contains("P2uYro"), "a password is not logged");
        assert!(fragment.end_of_candidates);
        assert!(Fragment::parse("m=audio 9 RTP/AVP 0\r\n").expect_err("none").is_syntax());
        for (ufrag, pwd, good) in
            [(4, 22, true), (256, 256, true), (257, 22, false), (4, 257, false), (0, 22, false)]
        {
            let text = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", "u".repeat(ufrag), "p".repeat(pwd));
            assert_eq!(Fragment::parse(&text).is_ok(), good, "{ufrag} {pwd}");
        }
    }
}
