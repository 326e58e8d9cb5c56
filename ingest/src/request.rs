//! The question that every protocol asks before it takes media: may this encoder publish, and where?

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use media::{ChannelName, StreamWriter};
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};

/// How long an encoder waits for admission. OBS gives up on a WHIP answer after 8 s; a gate hook gets 5.
pub(crate) const ADMISSION_TIMEOUT: Duration = Duration::from_secs(6);

/// The protocol by which an encoder came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// RTMP over TCP.
    Rtmp,
    /// WebRTC-HTTP ingestion (RFC 9725).
    Whip,
}

impl Transport {
    /// `rtmp` or `whip`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Whip => "whip",
        }
    }
}

/// Why an encoder may not publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// No such stream key, or not for this Channel.
    UnknownKey,
    /// Somebody else is live on the Channel.
    Busy,
    /// The key is known, but it may not publish now; the text is for the streamer.
    Forbidden(String),
    /// Too many wrong keys came from where it is: the key was not looked at, so it may be good.
    TooMany {
        /// For the streamer.
        why: String,
        /// Until it is looked at again.
        seconds: u32,
    },
    /// The node has as many Streams as it takes.
    Capacity,
    /// The node cannot say: try again later.
    Unavailable,
}

impl Rejection {
    /// A sentence for the streamer: what is wrong and what to do.
    pub fn advice(&self) -> &str {
        match self {
            Self::UnknownKey => "Unknown stream key: copy the key of your channel into the encoder again",
            Self::Busy => "This channel is already live: stop the other encoder first",
            Self::Forbidden(why) | Self::TooMany { why, .. } => why,
            Self::Capacity => {
                "The server has as many streams as it takes: try again when another one has ended, or ask its operator"
            }
            Self::Unavailable => "The server cannot take streams at the moment: try again in a minute",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

/// Where an encoder wants to publish in its own words, which are those of RTMP: for backends that know the words.
/// WHIP says it in the same way: the path is that of the server URL, the bearer token the publish name.
///
/// ```text
/// rtmp://host/live      KEY           WHIP /whip           Bearer KEY   app live      stream KEY
/// rtmp://host/live/ana  KEY?a=b       WHIP /whip/ana?a=b   Bearer KEY   app live/ana  stream KEY  param ?a=b
/// rtmp://host/live      ana?key=KEY   WHIP /whip/ana?key=KEY            app live      stream ana  param ?key=KEY
/// ```
#[derive(Clone, Debug)]
pub struct Written {
    /// The path of the server URL, without its query.
    pub app: String,
    /// The publish name, without its query. It may be the key.
    pub stream: SecretString,
    /// All parameters with their `?`, or nothing. The key may be among them.
    pub param: SecretString,
}

/// An encoder at the door. Answer it with [`Self::accept`] or [`Self::reject`]; dropping it says
/// [`Rejection::Unavailable`].
pub struct PublishRequest {
    /// The Channel that the encoder named, if it named one. The key alone identifies the Channel; a name
    /// that does not fit the key is an unknown key.
    pub channel: Option<ChannelName>,
    /// The stream key.
    pub key: SecretString,
    /// By which protocol.
    pub transport: Transport,
    /// From where.
    pub remote: SocketAddr,
    /// What the encoder calls itself.
    pub encoder: Option<String>,
    /// Other parameters of the URL as `a=b&c=d`, without keys and tokens.
    pub params: Option<String>,
    /// What it wrote, as it wrote it.
    pub written: Written,
    reply: oneshot::Sender<Result<StreamWriter, Rejection>>,
}

impl PublishRequest {
    /// Lets the encoder write this Stream.
    pub fn accept(self, writer: StreamWriter) {
        // If the encoder has left meanwhile the writer comes back in the error and is dropped: the grace
        // window begins, as after any other loss.
        let _ = self.reply.send(Ok(writer));
    }

    /// Sends the encoder away.
    pub fn reject(self, why: Rejection) {
        let _ = self.reply.send(Err(why));
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("channel", &self.channel)
            .field("transport", &self.transport)
            .field("remote", &self.remote)
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

/// What an encoder says about itself; becomes a [`PublishRequest`].
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) channel: Option<ChannelName>,
    pub(crate) key: SecretString,
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    pub(crate) encoder: Option<String>,
    pub(crate) params: Option<String>,
    pub(crate) written: Written,
}

/// The way to whoever decides.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    requests: mpsc::Sender<PublishRequest>,
}

impl Admission {
    /// Asks through this queue. When it is full, an encoder waits here until [`ADMISSION_TIMEOUT`].
    pub(crate) fn new(requests: mpsc::Sender<PublishRequest>) -> Self {
        Self { requests }
    }

    /// Waits for the decision.
    pub(crate) async fn ask(&self, attempt: Attempt) -> Result<StreamWriter, Rejection> {
        let Attempt { channel, key, transport, remote, encoder, params, written } = attempt;
        let (reply, answer) = oneshot::channel();
        let request = PublishRequest { channel, key, transport, remote, encoder, params, written, reply };
        let decided = tokio::time::timeout(ADMISSION_TIMEOUT, async {
            self.requests.send(request).await.map_err(|_| Rejection::Unavailable)?;
            answer.await.unwrap_or(Err(Rejection::Unavailable))
        });
        decided.await.unwrap_or(Err(Rejection::Unavailable))
    }
}
