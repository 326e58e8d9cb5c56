//! A recording that ended, as viewers get it: playlists over the segments that the live stream had, and one MP4 file.

mod file;
mod mp4;
mod object;
mod playlist;
mod range;
mod routes;

pub(crate) use mp4::make as mp4;
pub(crate) use playlist::{Extent, Vod, media, multivariant};
pub use routes::routes as vod_routes;
pub(crate) use routes::{DOWNLOAD, LISTED, content_type, disposition};

/// The name of the MP4 file in the folder of a recording, and in its URL.
pub(crate) const MP4: &str = "video.mp4";
