//! The harness of the end-to-end tests: the real server on ports of the kernel's choice, real clients.
//!
//! ```text
//!   Stage (server, temporary data) ◄── rtmp, whip ── ffmpeg 5, ffmpeg 9, the demo, a browser
//!      └── gateway, WHEP, HLS ──► Chromium (node scripts in tests/browser), ffprobe, str0m
//! ```
//!
//! A browser test looks at pixels: the pictures carry a machine-readable strip with a frame counter and the
//! wall clock at which they were made. Nothing sleeps to synchronise; waits are for events, with a deadline.

pub mod backend;
pub mod browser;
pub mod bucket;
pub mod clapper;
pub mod container;
pub mod entrance;
pub mod exposition;
pub mod film;
pub mod gateway;
pub mod link;
pub mod log;
pub mod machine;
pub mod postgres;
pub mod process;
pub mod relay;
pub mod rendition;
pub mod rtmp;
pub mod sdp;
pub mod source;
pub mod spectator;
pub mod stage;
pub mod stranger;
pub mod tape;
pub mod viewer;
pub mod wait;
pub mod wire;

pub use browser::run_script;
pub use bucket::Bucket;
pub use entrance::Entrance;
pub use gateway::Gateway;
pub use link::Link;
pub use machine::Machine;
pub use process::Process;
pub use relay::Relay;
pub use stage::Stage;
pub use stranger::Stranger;
pub use tape::Tape;
pub use viewer::Viewer;
pub use wait::eventually;
pub use wire::Wire;
