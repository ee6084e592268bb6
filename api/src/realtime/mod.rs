//! What reaches browsers and programs by itself: the signal that refreshes pages (`sse`), and the feed (`feed`,
//! `subscription`) over WebSockets (`websocket`), as server-sent events (`stream`), and as far as it has come (`latest`).

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

pub mod feed;
pub mod latest;
pub mod sse;
pub mod stream;
pub mod subscription;
pub mod websocket;
