//! A publisher by RTMP whose frames carry numbers instead of pictures: what is lost can be told by name.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// 1280x720, Main profile; and its picture parameters.
const SPS: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1f, 0xec, 0xa0, 0x28, 0x02, 0xdd, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00,
    0x00, 0x03, 0x01, 0xe0, 0x78, 0xc1, 0x8c, 0xb0,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x20];

/// Announced before the first media message; every message fits into one chunk.
const CHUNK_BYTES: u32 = 65_536;

/// The server answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open publication.
pub struct Numbered {
    stream: TcpStream,
}

impl Numbered {
    /// Connects and publishes with `key`.
    ///
    /// # Errors
    /// What the connection says.
    pub fn publish(address: SocketAddr, key: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut hello = vec![7; 1537];
        hello[0] = 3;
        hello[1..9].fill(0);
        stream.write_all(&hello)?;
        let mut answer = vec![0; 1 + 2 * 1536];
        stream.read_exact(&mut answer)?;
        stream.write_all(&answer[1..1537])?;
        let mut publication = Self { stream };
        publication.message(2, 1, 0, 0, &CHUNK_BYTES.to_be_bytes())?;
        let url = format!("rtmp://{address}/live");
        let object = [field("app", "live"), field("tcUrl", &url), vec![0, 0, 9]].concat();
        publication.command(0, &[text("connect"), number(1.0), vec![3], object].concat())?;
        publication.command(0, &[text("createStream"), number(2.0), vec![5]].concat())?;
        let publish = [text("publish"), number(3.0), vec![5], text(key), text("live")].concat();
        publication.command(1, &publish)?;
        publication.until("NetStream.Publish.Start")?;
        let record = [
            &[0x17, 0, 0, 0, 0, 1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8],
            SPS,
            &[1, 0, PPS.len() as u8],
            PPS,
        ];
        publication.message(6, 9, 1, 0, &record.concat())?;
        // AAC, 44.1 kHz, stereo.
        publication.message(4, 8, 1, 0, &[0xaf, 0, 0x12, 0x10])?;
        Ok(publication)
    }

    /// Sends picture `number`, of `bytes` bytes, to be shown at `millis`.
    ///
    /// # Errors
    /// What the connection says.
    pub fn video(&mut self, number: u32, millis: u32, keyframe: bool, bytes: usize) -> io::Result<()> {
        let mut unit = vec![if keyframe { 0x65 } else { 0x41 }];
        unit.extend_from_slice(video_mark(number).as_bytes());
        unit.resize(bytes.max(32), 0x55);
        let length = u32::try_from(unit.len()).unwrap_or(0).to_be_bytes();
        let head = [if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0];
        self.message(6, 9, 1, millis, &[&head[..], &length, &unit].concat())
    }

    /// Sends 1024 samples of sound.
    ///
    /// # Errors
    /// What the connection says.
    pub fn audio(&mut self, number: u32, millis: u32) -> io::Result<()> {
        let mut body = vec![0xaf, 1];
        body.extend_from_slice(audio_mark(number).as_bytes());
        self.message(4, 8, 1, millis, &body)
    }

    fn command(&mut self, stream: u32, body: &[u8]) -> io::Result<()> {
        self.message(3, 20, stream, 0, body)
    }

    /// One message in one chunk with a full header.
    fn message(&mut self, chunk: u8, kind: u8, stream: u32, millis: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let time = millis.to_be_bytes();
        let head = [&[chunk], &time[1..], &length[1..], &[kind], &stream.to_le_bytes()[..]].concat();
        // Commands are shorter than the chunk size that holds before ours is known.
        self.stream.write_all(&[&head, body].concat())
    }

    fn until(&mut self, wanted: &str) -> io::Result<()> {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.windows(wanted.len()).any(|it| it == wanted.as_bytes()) {
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => seen.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    }
}

/// What stands in picture `number`.
pub fn video_mark(number: u32) -> String {
    format!("#picture{number:08}#")
}

/// What stands in sound frame `number`.
pub fn audio_mark(number: u32) -> String {
    format!("#sound{number:08}#")
}

fn text(value: &str) -> Vec<u8> {
    [&[2, 0, u8::try_from(value.len()).unwrap_or(0)], value.as_bytes()].concat()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, u8::try_from(name.len()).unwrap_or(0)], name.as_bytes(), &text(value)].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}
