//! Frames to fMP4 parts and segments to playlists.
