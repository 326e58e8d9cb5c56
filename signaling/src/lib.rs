//! The one WebSocket gateway, and WHEP.
