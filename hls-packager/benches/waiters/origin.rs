//! The server: the routes over a Hub with one source, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use hls_packager::{Config, Packager};
use media::{
    ChannelName, Codec, CodecConfig, Frame, Hub, MediaTime, NtpTime, Publication, Rid, Timescale, TrackSpec,
    h264,
};

use crate::http::Connection;
use crate::process::now_micros;

/// 1280x720, Main profile.
const SPS: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1f, 0xec, 0xa0, 0x28, 0x02, 0xdd, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00,
    0x00, 0x03, 0x01, 0xe0, 0x78, 0xc1, 0x8c, 0xb0,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x20];

/// 25 pictures per second, keyframes every 2 s: four parts to a segment. Together 500 kbit/s.
const FRAME: Duration = Duration::from_millis(40);
const GOP: i64 = 50;
const KEYFRAME_BYTES: usize = 20_000;
const FRAME_BYTES: usize = 2143;

/// Parts of a segment of this source.
pub(crate) const PARTS: u64 = 4;

/// The server process, as the clients see it. Ends when dropped.
pub(crate) struct Origin {
    child: Child,
    address: SocketAddr,
    births: Receiver<(u64, u64)>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this)
            .arg("origin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts itself");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address =
            lines.next().and_then(Result::ok).and_then(|line| line.parse().ok()).expect("an address");
        let (sender, births) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let numbers =
                    line.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let Some(birth) = numbers else { continue };
                if sender.send(birth).is_err() {
                    return;
                }
            }
        });
        Self { child, address, births }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of the video playlist, once there is one.
    pub(crate) async fn playlist(&self) -> String {
        let mut connection = Connection::open(self.address).await;
        loop {
            let answer = connection.get("/hls/ana/master.m3u8", false, true).await.expect("an answer");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            if let Some(uri) =
                text.lines().rfind(|line| !line.starts_with('#')).filter(|_| answer.status == 200)
            {
                return format!("/hls/ana/{uri}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Part number and time of birth of those born since the last call.
    pub(crate) fn births(&mut self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.births.try_iter()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server process itself: prints its address, then a line for each part: its number and when it was there.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let packager = Packager::new(Config::default());
        let hub = Hub::new(Duration::from_secs(10));
        let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
        listener.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = listener.listen(16_384).expect("listens");
        println!("{}", listener.local_addr().expect("bound"));
        let channel = ChannelName::parse("ana").expect("a name");
        let wall = NtpTime::from_unix_micros(now_micros());
        let now = tokio::time::Instant::now().into_std();
        let mut writer = hub.publish(&channel, Publication::default(), now, wall).expect("free");
        let attached = packager.attach(Arc::clone(writer.stream()), None);
        let app = hls_packager::routes(Arc::clone(&packager));
        let watched = Arc::clone(&packager);
        std::thread::spawn(move || report_births(&watched));
        let source = async {
            let spec = TrackSpec {
                codec: Codec::H264,
                timescale: Timescale::VIDEO,
                keyframes_on_request: false,
                derived: false,
            };
            let mut track = writer.track(spec);
            let sets = (vec![Bytes::from_static(SPS)], vec![Bytes::from_static(PPS)]);
            let config = h264::Config::from_parameter_sets(sets.0, sets.1).expect("a real SPS");
            let config = Arc::new(CodecConfig::H264(config));
            let mut clock = tokio::time::interval(FRAME);
            for n in 0_i64.. {
                let arrival = clock.tick().await.into_std();
                let dts = MediaTime::from_micros(n * 40_000, Timescale::VIDEO);
                let keyframe = n % GOP == 0;
                let bytes = if keyframe { KEYFRAME_BYTES } else { FRAME_BYTES };
                let frame = Frame {
                    dts,
                    pts: dts,
                    duration: 0,
                    keyframe,
                    discardable: false,
                    data: vec![0x41; bytes].into(),
                    config: Arc::clone(&config),
                    epoch: 0,
                    arrival,
                };
                track.write_frame(&Rid::single(), frame);
            }
        };
        let server = axum::serve(listener, app);
        tokio::select! {
            () = attached => {}
            () = source => {}
            _ = async { server.await } => {}
        }
    });
}

/// Looks every half millisecond, so births are told that much too late at most.
fn report_births(packager: &Packager) {
    let mut known = 0;
    let mut out = std::io::stdout();
    loop {
        let parts = packager.stats().parts_total;
        let at = now_micros();
        for number in known..parts {
            if writeln!(out, "{number} {at}").is_err() {
                return;
            }
        }
        known = parts;
        std::thread::sleep(Duration::from_micros(500));
    }
}
