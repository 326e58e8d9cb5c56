//! Another ICE session of a Peer: our half of an ICE restart (RFC 8445 section 9), and how it is told.

use std::fmt;
use std::sync::Arc;

use crate::Candidate;
use crate::candidate::write_candidates;

/// Our credentials for an ICE restart, and where we can be reached.
#[derive(Clone)]
pub struct IceSession {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) candidates: Arc<[Candidate]>,
}

impl IceSession {
    /// Our ufrag: it names the session (the ETag of WHIP and WHEP).
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Tells it as `application/trickle-ice-sdpfrag` (RFC 8840 section 9, RFC 9725 section 4.3.3). `head`: what
    /// [`Self::head_of`] found in the answer that the Peer got.
    pub fn fragment(&self, head: &str) -> String {
        let mut text =
            format!("a=ice-lite\r\n{head}a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ufrag, self.pwd);
        write_candidates(&mut text, &self.candidates);
        text
    }

    /// The m-line that carries the transport of the bundle, and its MID: what a fragment begins with.
    pub fn head_of(answer: &str) -> String {
        let sections = answer.split_inclusive("m=").skip(1);
        let mut head = String::new();
        for section in sections {
            let mut lines = section.lines();
            let Some(media) = lines.next().filter(|media| media.split(' ').nth(1) != Some("0")) else {
                continue;
            };
            head = format!("m={media}\r\n");
            if let Some(mid) = lines.find(|line| line.starts_with("a=mid:")) {
                head.push_str(mid);
                head.push_str("\r\n");
            }
            break;
        }
        head
    }

    /// Tells it as a whole answer: the one that the Peer got, with these credentials and the next version
    /// (RFC 9429 section 5.3.1). Nothing else changes with an ICE restart.
    pub fn answer(&self, before: &str) -> String {
        let mut text = String::with_capacity(before.len());
        for line in before.lines() {
            if line.starts_with("a=ice-ufrag:") {
                text.push_str("a=ice-ufrag:");
                text.push_str(&self.ufrag);
            } else if line.starts_with("a=ice-pwd:") {
                text.push_str("a=ice-pwd:");
                text.push_str(&self.pwd);
            } else if let Some(origin) = next_version(line) {
                text.push_str(&origin);
            } else {
                text.push_str(line);
            }
            text.push_str("\r\n");
        }
        text
    }
}

impl fmt::Debug for IceSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceSession").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// `o=` with the version after it.
fn next_version(line: &str) -> Option<String> {
    let mut fields = line.strip_prefix("o=")?.splitn(4, ' ');
    let (name, id, version, rest) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let version = version.parse::<u64>().ok()?.wrapping_add(1);
    Some(format!("o={name} {id} {version} {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 77 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1\r\na=ice-lite\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=inactive\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:old\r\na=ice-pwd:older\r\n\
        a=fingerprint:sha-256 AB\r\na=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\na=end-of-candidates\r\n";

    fn session() -> IceSession {
        let candidates = Candidate::of(&[([192, 0, 2, 1], 8189).into()], true).into();
        IceSession { ufrag: "fresh".to_owned(), pwd: "fresher".to_owned(), candidates }
    }

    #[test]
    fn a_fragment_belongs_to_the_section_with_the_transport() {
        let text = session().fragment(&IceSession::head_of(ANSWER));
        let begins = "a=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:fresh\r\n\
                      a=ice-pwd:fresher\r\na=candidate:1 1 udp ";
        assert!(text.starts_with(begins), "{text}");
        assert!(text.contains(" tcptype passive\r\n") && text.ends_with("a=end-of-candidates\r\n"), "{text}");
        assert_eq!(IceSession::head_of("v=0\r\n"), "");
    }

    #[test]
    fn an_answer_changes_in_its_credentials_and_version_only() {
        let text = session().answer(ANSWER);
        let expected = ANSWER
            .replace("o=- 77 1 IN", "o=- 77 2 IN")
            .replace("ufrag:old", "ufrag:fresh")
            .replace("pwd:older", "pwd:fresher");
        assert_eq!(text, expected);
        assert!(session().answer(&text).contains("o=- 77 3 IN"));
    }

    #[test]
    fn a_password_is_not_logged() {
        assert!(!format!("{:?}", session()).contains("fresher"));
    }
}
