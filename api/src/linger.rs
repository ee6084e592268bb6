//! Bodies that are refused before they end. A connection that is closed while its sender still writes is reset, and the
//! answer that says why is lost with it; so what is left of such a body is read and thrown away, for a while.

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    extract::Request,
    http::header,
};
use futures::{Stream, StreamExt};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// So long the rest of a refused body is read: less than a process takes to end.
const LINGER: Duration = Duration::from_secs(5);
/// A sender that is silent for so long is not waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// So much of it is read.
const MOST_BYTES: usize = 256 << 20;
/// So many are read at the same time: anybody can be refused.
static SEATS: Semaphore = Semaphore::const_new(64);

/// The request, whose body is read on, within the bounds above, if its handler leaves some of it, while the answer is on
/// its way. A sender that asked first whether it shall send the body (`Expect: 100-continue`) is not made to.
pub fn lingering(request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let sent_unasked = !request.headers().contains_key(header::EXPECT);
    request
        .map(|body| Body::from_stream(Lingering { rest: Some(body.into_data_stream()), begun: sent_unasked }))
}

/// A body that goes on being read when it is dropped.
struct Lingering {
    /// None once it ended.
    rest: Option<BodyDataStream>,
    /// Whether its sender sends.
    begun: bool,
}

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begun = true;
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = rest.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.begun {
            return;
        }
        let Some(rest) = self.rest.take() else { return };
        if let (Ok(runtime), Ok(seat)) = (Handle::try_current(), SEATS.try_acquire()) {
            runtime.spawn(async move {
                let _ = timeout(LINGER, throw_away(rest)).await;
                drop(seat);
            });
        }
    }
}

async fn throw_away(mut rest: BodyDataStream) {
    let mut bytes = 0;
    while let Ok(Some(Ok(chunk))) = timeout(SILENCE, rest.next()).await
        && bytes < MOST_BYTES
    {
        bytes += chunk.len();
    }
}
