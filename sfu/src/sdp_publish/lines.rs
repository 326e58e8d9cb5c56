//! SDP as lines: attributes of the session and of each media section (RFC 8866 section 5).

use crate::sdp::Error;

/// Most media sections looked at: a publisher has one or two, and perhaps rejected ones.
const SECTIONS_MAX: usize = 16;

/// A description, split but not understood.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    attributes: Attributes<'a>,
    pub(super) sections: Vec<Media<'a>>,
}

/// One `m=` line and what belongs to it.
#[derive(Debug)]
pub(super) struct Media<'a> {
    /// `audio`, `video`, `application`.
    pub(super) kind: &'a str,
    pub(super) port: u32,
    pub(super) protocol: &'a str,
    pub(super) formats: Vec<&'a str>,
    pub(super) attributes: Attributes<'a>,
}

/// `a=` lines in their order.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    /// The values of every `a=key:value`.
    pub(super) fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.0.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The first value.
    pub(super) fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Whether the attribute is there at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }
}

impl<'a> Description<'a> {
    /// Splits `text`.
    pub(super) fn split(text: &'a str) -> Result<Self, Error> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(Error::Syntax("it does not begin with v=0".to_owned()));
        }
        let mut description = Self::default();
        for line in lines {
            let Some((letter, value)) = line.split_once('=').filter(|(letter, _)| letter.len() == 1) else {
                return Err(Error::Syntax(format!("not a line of SDP: {}", shorten(line))));
            };
            match letter {
                "m" => {
                    if description.sections.len() == SECTIONS_MAX {
                        return Err(Error::Unacceptable("too many media sections"));
                    }
                    description.sections.push(Media::parse(value)?);
                }
                "a" => {
                    let (key, value) = value.split_once(':').unwrap_or((value, ""));
                    let attributes = match description.sections.last_mut() {
                        Some(section) => &mut section.attributes,
                        None => &mut description.attributes,
                    };
                    attributes.0.push((key, value.trim()));
                }
                // What else there is (o= s= t= c= b= ...) says nothing that an answer depends on.
                _ => {}
            }
        }
        Ok(description)
    }

    /// Attributes of the session.
    pub(super) fn session(&self) -> &Attributes<'a> {
        &self.attributes
    }

    /// An attribute of a section, or else of the session: many may stand on either level.
    pub(super) fn inherited(&self, section: &Media<'a>, key: &str) -> Option<&'a str> {
        section.attributes.value(key).or_else(|| self.attributes.value(key))
    }
}

impl<'a> Media<'a> {
    /// RFC 8866 section 5.14: `m=<media> <port> <proto> <fmt> ...`.
    fn parse(value: &'a str) -> Result<Self, Error> {
        let mut words = value.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(Error::Syntax(format!("m= line is too short: {}", shorten(value))));
        };
        let port = port.split('/').next().unwrap_or(port);
        let Ok(port) = port.parse() else {
            return Err(Error::Syntax(format!("no port in the m= line: {}", shorten(value))));
        };
        Ok(Self { kind, port, protocol, formats: words.collect(), attributes: Attributes::default() })
    }
}

/// Enough of a line to find it, and no more: it goes into an HTTP body and a log.
fn shorten(line: &str) -> String {
    line.chars().take(60).filter(|c| !c.is_control()).collect()
}
