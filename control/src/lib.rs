//! The control plane's words and memory: channels, stream keys, grants, events.
