//! Waiting for what another task or process does.

use std::{future::Future, time::Duration};

/// Asks again every 20 ms until the answer is there; panics, naming what was awaited, after two
/// minutes: longer than anything takes, even on a busy machine.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(120), asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
