//! A rendition: what HLS serves of a picture or a sound, kept segment by segment as it is listed, byte for byte.
//!
//! Not by ffmpeg's own HLS reader: it goes on with the first header when another one follows, and a browser begins with a smaller
//! picture than it sends later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::eventually;

/// How long a segment may take on a busy machine, besides its own length.
const PATIENCE: Duration = Duration::from_secs(60);

/// One rendition of a channel.
pub struct Rendition {
    url: String,
    /// Of its files.
    name: &'static str,
    taken: BTreeSet<String>,
    seconds: f64,
    /// A header and the segments after it, as often as there is another header.
    files: Vec<(String, PathBuf, Vec<u8>)>,
}

impl Rendition {
    /// The picture and the sound that a multivariant playlist names first.
    pub async fn of(master: &str) -> [Self; 2] {
        let listed = async || text(master).await.filter(|text| text.contains("URI=\""));
        let text = eventually("a playlist", PATIENCE, listed).await;
        let picture =
            text.lines().find(|line| !line.starts_with('#') && !line.is_empty()).expect("a variant");
        let sound = quoted(&text, "URI=").expect("sound");
        let new = |name, uri| Self {
            url: beside(master, uri),
            name,
            taken: BTreeSet::new(),
            seconds: 0.0,
            files: Vec::new(),
        };
        [new("picture", picture), new("sound", sound)]
    }

    /// Keeps what is listed now and later, until it is that long; the files, in order.
    pub async fn keep(mut self, length: Duration, dir: &Path) -> Vec<PathBuf> {
        let what = format!("{length:?} of {}", self.url);
        let enough = async || {
            self.look(dir).await;
            (self.seconds >= length.as_secs_f64()).then_some(())
        };
        eventually(&what, length + PATIENCE, enough).await;
        let written = self.files.iter().map(|(_, file, data)| std::fs::write(file, data));
        written.collect::<Result<(), _>>().expect("a temporary directory");
        self.files.into_iter().map(|(_, file, _)| file).collect()
    }

    async fn look(&mut self, dir: &Path) {
        let Some(text) = text(&self.url).await else { return };
        let (mut header, mut seconds) = ("", 0.0);
        for line in text.lines() {
            if line.starts_with("#EXT-X-MAP:") {
                header = quoted(line, "URI=").expect("a header's address");
            } else if let Some(rest) = line.strip_prefix("#EXTINF:") {
                seconds = rest.split(',').next().and_then(|it| it.parse().ok()).expect("a duration");
            } else if !line.starts_with('#') && !line.is_empty() && self.taken.insert(line.to_owned()) {
                self.seconds += seconds;
                self.take(header, line, dir).await;
            }
        }
    }

    async fn take(&mut self, header: &str, segment: &str, dir: &Path) {
        if self.files.last().is_none_or(|(known, ..)| known != header) {
            let file = dir.join(format!("{}{}.mp4", self.name, self.files.len()));
            self.files.push((header.to_owned(), file, bytes(&beside(&self.url, header)).await));
        }
        let data = bytes(&beside(&self.url, segment)).await;
        self.files.last_mut().expect("just begun").2.extend(data);
    }
}

/// An address named by what is at another one.
fn beside(url: &str, uri: &str) -> String {
    reqwest::Url::parse(url).and_then(|url| url.join(uri)).expect("an address").to_string()
}

fn quoted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("{name}\""))?.1.split('"').next()
}

/// A playlist, if there is one yet.
async fn text(url: &str) -> Option<String> {
    let response = reqwest::get(url).await.expect("HTTP answers");
    if response.status().is_success() { Some(response.text().await.expect("text")) } else { None }
}

async fn bytes(url: &str) -> Vec<u8> {
    let response = reqwest::get(url).await.expect("HTTP answers");
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.bytes().await.expect("a body").to_vec()
}
