//! What reaches browsers and programs by itself: the signal that refreshes pages (`sse`), and the feed (`feed`,
//! `subscription`) over WebSockets (`websocket`) and as server-sent events (`stream`).

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

pub mod feed;
pub mod sse;
pub mod stream;
pub mod subscription;
pub mod websocket;
