//! Our end of the library's interceptor chain: everything decrypted comes out here.
//!
//! The library binds streams by what an offer declares; real offers declare too little (no SSRC at all, RTX
//! of simulcast layers). So the chain holds just this one link, which runs the library's own receiver
//! reports and transport-wide feedback for whatever arrives, and hands the packets over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, RTPHeaderExtension, ReceiverReportBuilder,
    ReceiverReportInterceptor, StreamInfo, TaggedPacket, TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

/// How often the sender hears how its packets arrive. RFC 3550 section 6.2 asks for seconds; encoders adapt
/// faster by shorter ones.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// RTCP waiting for the next flush. Feedback is paced by timers (see [`crate::core::up_track`]); beyond
/// it the newest is dropped, and the timer asks again.
const OUTBOUND_MAX: usize = 64;

/// Something that arrived, in plain text.
pub(super) enum Inbound {
    Rtp(rtc::rtp::Packet),
    Rtcp(Vec<Box<dyn rtc::rtcp::Packet>>),
}

/// Between the chain, which the peer connection owns, and the Peer, which owns that. Never contended.
#[derive(Default)]
struct Exchange {
    inbound: VecDeque<(Instant, Inbound)>,
    outbound: VecDeque<(Instant, Box<dyn rtc::rtcp::Packet>)>,
}

/// The Peer's side.
#[derive(Clone, Default)]
pub(super) struct TapHandle(Arc<Mutex<Exchange>>);

impl TapHandle {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing that arrived.
    pub(super) fn pop(&self) -> Option<(Instant, Inbound)> {
        self.lock().inbound.pop_front()
    }

    /// Sends feedback with the next flush.
    pub(super) fn push(&self, now: Instant, packet: Box<dyn rtc::rtcp::Packet>) {
        let mut exchange = self.lock();
        if exchange.outbound.len() < OUTBOUND_MAX {
            exchange.outbound.push_back((now, packet));
        }
    }
}

/// A payload type and what it says about its stream.
#[derive(Clone, Copy)]
pub(super) struct MediaFormat {
    pub(super) payload_type: u8,
    pub(super) clock_rate: u32,
}

/// The link in the chain.
pub(super) struct Tap {
    handle: TapHandle,
    formats: Vec<MediaFormat>,
    reported: Vec<u32>,
    reports: ReceiverReportInterceptor,
    transport_cc: TwccReceiverInterceptor,
}

impl Tap {
    pub(super) fn new(handle: TapHandle, formats: Vec<MediaFormat>, transport_cc_id: Option<u8>) -> Self {
        let mut transport_cc = TwccReceiverBuilder::new().build();
        if let Some(id) = transport_cc_id {
            // The number of the extension is the transport's: bound once, it holds for every SSRC.
            transport_cc.bind_remote_stream(&StreamInfo {
                rtp_header_extensions: vec![RTPHeaderExtension {
                    uri: crate::sdp_publish::Extension::TransportCc.uri().to_owned(),
                    id: id.into(),
                }],
                ..StreamInfo::default()
            });
        }
        let reports = ReceiverReportBuilder::new().with_interval(REPORT_INTERVAL).build();
        Self { handle, formats, reported: Vec::new(), reports, transport_cc }
    }

    /// Media streams are reported on; retransmissions are not. The number of SSRCs is bounded by the Peer.
    fn report_on(&mut self, packet: &rtc::rtp::Packet) {
        let ssrc = packet.header.ssrc;
        let format = self.formats.iter().find(|format| format.payload_type == packet.header.payload_type);
        if let Some(format) = format
            && !self.reported.contains(&ssrc)
        {
            self.reported.push(ssrc);
            self.reports.bind_remote_stream(&StreamInfo {
                ssrc,
                clock_rate: format.clock_rate,
                ..StreamInfo::default()
            });
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet {
            self.report_on(packet);
        }
        self.transport_cc.handle_read(message)?;
        while let Some(message) = self.transport_cc.poll_read() {
            self.reports.handle_read(message)?;
        }
        while let Some(message) = self.reports.poll_read() {
            let inbound = match message.message.packet {
                Packet::Rtp(packet) => Inbound::Rtp(packet),
                Packet::Rtcp(packets) => Inbound::Rtcp(packets),
                _ => continue,
            };
            self.handle.lock().inbound.push_back((message.now, inbound));
        }
        Ok(())
    }

    /// Nothing goes further: the Peer takes all of it from the handle.
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, _message: TaggedPacket) -> Result<(), Error> {
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        if let Some(feedback) = self.transport_cc.poll_write().or_else(|| self.reports.poll_write()) {
            return Some(feedback);
        }
        let (now, packet) = self.handle.lock().outbound.pop_front()?;
        Some(TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtcp(vec![packet])),
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.transport_cc.handle_timeout(now)?;
        self.reports.handle_timeout(now)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        [self.transport_cc.poll_timeout(), self.reports.poll_timeout()].into_iter().flatten().min()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
