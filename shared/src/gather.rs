//! Doing together what is asked for at about the same time: while one batch is on its way (or as many as there are
//! lanes), the next gathers; alone, an item is a batch of one and waits for nobody. Commits are what this saves, or
//! statements.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Why a batch was not done.
#[derive(Debug)]
pub enum BatchError<E> {
    /// None of it can be done now, whatever it holds.
    All(E),
    /// Something in it cannot be done: each item is tried alone, so that no other suffers.
    Some(E),
}

/// Why an item was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError<E> {
    /// Too many wait already.
    Full,
    /// Whoever was doing it stopped; it may have been done or not.
    Lost,
    /// It was tried.
    Failed(E),
}

/// Gathers items `T`, each to be answered with `R`.
pub struct Gatherer<T, R, E> {
    inner: Arc<Mutex<Inner<T, R, E>>>,
    /// Weight of a batch, at most; an item that is heavier is a batch of its own.
    batch: usize,
    /// Weight that may wait.
    room: usize,
    /// Batches that may be on their way at the same time.
    lanes: usize,
    /// What nobody waits for any more is left out.
    drops_gone: bool,
}

type Answer<R, E> = oneshot::Sender<Result<R, AskError<E>>>;

struct Inner<T, R, E> {
    waiting: VecDeque<Waiting<T, R, E>>,
    /// The weight of all that wait.
    weight: usize,
    /// How many are at work and will take what waits.
    working: usize,
}

/// What an item takes of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    weight: usize,
    alone: bool,
}

impl Load {
    /// As much as so many.
    pub const fn of(weight: usize) -> Self {
        Self { weight, alone: false }
    }

    /// All of it, however much it weighs.
    pub const fn alone(weight: usize) -> Self {
        Self { weight, alone: true }
    }
}

struct Waiting<T, R, E> {
    item: T,
    load: Load,
    answer: Answer<R, E>,
}

impl<T, R, E> Gatherer<T, R, E>
where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
    E: Clone + Send + 'static,
{
    /// Batches of at most `batch` items; beyond `room` waiting ones, more are refused. Where items have weights, both
    /// are weights.
    pub fn new(batch: usize, room: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), weight: 0, working: 0 };
        Self { inner: Arc::new(Mutex::new(inner)), batch, room, lanes: 1, drops_gone: false }
    }

    /// Lets so many batches be on their way at the same time, where their order is no matter.
    pub fn with_lanes(self, lanes: usize) -> Self {
        Self { lanes, ..self }
    }

    /// Leaves out the items whose askers went away before their batch began. For questions: what is to be done is
    /// done all the same.
    pub fn without_the_gone(self) -> Self {
        Self { drops_gone: true, ..self }
    }

    /// Has `item` done by `work`, together with what else waits; `work` answers each item of a batch in its
    /// place. It goes on in a task of its own: an asker that goes away takes nobody's answer with it, and its
    /// item is done all the same.
    pub async fn ask<W, F>(&self, item: T, work: W) -> Result<R, AskError<E>>
    where
        W: Fn(Vec<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<R>, BatchError<E>>> + Send + 'static,
    {
        self.ask_with(item, Load::of(1), work).await
    }

    /// As [`Self::ask`], for an item that is more than one.
    pub async fn ask_with<W, F>(&self, item: T, load: Load, work: W) -> Result<R, AskError<E>>
    where
        W: Fn(Vec<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<R>, BatchError<E>>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        {
            let mut inner = lock(&self.inner);
            if inner.weight + load.weight > self.room {
                return Err(AskError::Full);
            }
            inner.weight += load.weight;
            inner.waiting.push_back(Waiting { item, load, answer });
            if inner.working < self.lanes {
                inner.working += 1;
                let turn = Turn(self.inner.clone());
                tokio::spawn(work_off(turn, self.batch, self.drops_gone, work));
            }
        }
        answered.await.unwrap_or(Err(AskError::Lost))
    }
}

fn lock<T, R, E>(inner: &Mutex<Inner<T, R, E>>) -> MutexGuard<'_, Inner<T, R, E>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Being at work. If that ends before all is done (a panic, the end of the runtime), and nobody else is at work, those
/// who wait are told.
struct Turn<T, R, E>(Arc<Mutex<Inner<T, R, E>>>);

impl<T, R, E> Drop for Turn<T, R, E> {
    fn drop(&mut self) {
        let mut inner = lock(&self.0);
        inner.working -= 1;
        if inner.working == 0 {
            inner.waiting.clear();
            inner.weight = 0;
        }
    }
}

impl<T, R, E> Turn<T, R, E> {
    /// The next batch. Without one the turn ends, under the lock under which others look for it.
    fn next(&self, batch: usize, drops_gone: bool) -> (Vec<T>, Vec<Answer<R, E>>) {
        let mut inner = lock(&self.0);
        if drops_gone {
            let Inner { waiting, weight, .. } = &mut *inner;
            waiting.retain(|one| !one.answer.is_closed());
            *weight = waiting.iter().map(|one| one.load.weight).sum();
        }
        let (mut items, mut answers, mut weight, mut full) = (Vec::new(), Vec::new(), 0, false);
        while let Some(next) = inner.waiting.pop_front_if(|next| {
            items.is_empty() || (!full && !next.load.alone && weight + next.load.weight <= batch)
        }) {
            weight += next.load.weight;
            full = next.load.alone;
            items.push(next.item);
            answers.push(next.answer);
        }
        inner.weight -= weight;
        if items.is_empty() {
            inner.working -= 1;
        }
        (items, answers)
    }
}

async fn work_off<T, R, E, W, F>(turn: Turn<T, R, E>, batch: usize, drops_gone: bool, work: W)
where
    T: Clone,
    E: Clone,
    W: Fn(Vec<T>) -> F,
    F: Future<Output = Result<Vec<R>, BatchError<E>>>,
{
    loop {
        let (items, answers) = turn.next(batch, drops_gone);
        if items.is_empty() {
            // Another turn may have begun: this one must not end it.
            std::mem::forget(turn);
            return;
        }
        match work(items.clone()).await {
            Ok(results) => answer_all(answers, results),
            Err(BatchError::Some(_)) if items.len() > 1 => {
                for (item, answer) in items.into_iter().zip(answers) {
                    match work(vec![item]).await {
                        Ok(results) => answer_all(vec![answer], results),
                        Err(BatchError::All(error) | BatchError::Some(error)) => refuse(answer, error),
                    }
                }
            }
            Err(BatchError::All(error) | BatchError::Some(error)) => {
                answers.into_iter().for_each(|answer| refuse(answer, error.clone()));
            }
        }
    }
}

// Nobody hears an answer whose asker went away.

fn answer_all<R, E>(answers: Vec<Answer<R, E>>, results: Vec<R>) {
    for (answer, result) in answers.into_iter().zip(results) {
        let _ = answer.send(Ok(result));
    }
}

fn refuse<R, E>(answer: Answer<R, E>, error: E) {
    let _ = answer.send(Err(AskError::Failed(error)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    type Numbers = Gatherer<u32, u32, String>;

    #[tokio::test]
    async fn what_comes_while_a_batch_is_on_its_way_is_the_next_batch() {
        let gatherer = Arc::new(Numbers::new(100, 1000));
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let ask = |item: u32| {
            let (gatherer, gate, batches) = (gatherer.clone(), gate.clone(), batches.clone());
            async move {
                let work = move |items: Vec<u32>| {
                    let (gate, batches) = (gate.clone(), batches.clone());
                    async move {
                        gate.acquire().await.unwrap().forget();
                        batches.lock().unwrap().push(items.len());
                        Ok(items.into_iter().map(|item| item * 2).collect())
                    }
                };
                gatherer.ask(item, work).await
            }
        };
        let first = tokio::spawn(ask(1));
        while lock(&gatherer.inner).working > 0 && !lock(&gatherer.inner).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let others: Vec<_> = (2..=60).map(|item| tokio::spawn(ask(item))).collect();
        while lock(&gatherer.inner).waiting.len() < 59 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(2));
        for (item, other) in (2..).zip(others) {
            assert_eq!(other.await.unwrap(), Ok(item * 2));
        }
        assert_eq!(*batches.lock().unwrap(), [1, 59]);
        assert_eq!(lock(&gatherer.inner).working, 0);
    }

    #[tokio::test]
    async fn one_that_cannot_be_done_takes_nobody_down() {
        let gatherer = Numbers::new(100, 1000);
        let work = async |items: Vec<u32>| {
            if items.contains(&3) {
                return Err(BatchError::Some("three".to_owned()));
            }
            Ok(items)
        };
        let work = move |items| Box::pin(work(items));
        let asked = futures::future::join_all((1..=5).map(|item| gatherer.ask(item, work))).await;
        let failed = AskError::Failed("three".to_owned());
        assert_eq!(asked, [Ok(1), Ok(2), Err(failed), Ok(4), Ok(5)]);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_next_one_is_served() {
        let gatherer = Numbers::new(100, 1000);
        let panics = |_: Vec<u32>| async { panic!("for the test") };
        assert_eq!(gatherer.ask(1, panics).await, Err(AskError::Lost));
        assert_eq!(gatherer.ask(1, |items| async { Ok(items) }).await, Ok(1));
    }

    #[tokio::test]
    async fn heavy_items_and_those_that_want_to_be_alone_are_batches_of_their_own() {
        let gatherer = Numbers::new(10, 30);
        let batches = Arc::new(Mutex::new(Vec::new()));
        let noted = batches.clone();
        let work = move |items: Vec<u32>| {
            noted.lock().unwrap().push(items.clone());
            async move { Ok(items) }
        };
        // All wait before the first batch begins: it does so in a task of its own.
        let of = |item: u32| if item == 3 { Load::alone(3) } else { Load::of(item as usize) };
        let asked = [4, 6, 12, 1, 3, 2].map(|item| gatherer.ask_with(item, of(item), work.clone()));
        assert_eq!(futures::future::join_all(asked).await, [Ok(4), Ok(6), Ok(12), Ok(1), Ok(3), Ok(2)]);
        assert_eq!(*batches.lock().unwrap(), [vec![4, 6], vec![12], vec![1], vec![3], vec![2]]);
        assert_eq!(gatherer.ask_with(31, of(31), work).await, Err(AskError::Full));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_left_out_where_it_is_a_question() {
        for (gatherer, done) in
            [(Numbers::new(1, 10), vec![1, 2, 3]), (Numbers::new(1, 10).without_the_gone(), vec![1, 3])]
        {
            let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
            let ask = |item: u32| {
                let (gate, batches) = (gate.clone(), batches.clone());
                gatherer.ask(item, move |items: Vec<u32>| {
                    let (gate, batches) = (gate.clone(), batches.clone());
                    async move {
                        gate.acquire().await.unwrap().forget();
                        batches.lock().unwrap().extend(items.clone());
                        Ok(items)
                    }
                })
            };
            let (mut first, mut gone, mut last) = (Box::pin(ask(1)), Box::pin(ask(2)), Box::pin(ask(3)));
            for asked in [&mut first, &mut gone, &mut last] {
                assert!(futures::poll!(asked).is_pending());
            }
            while lock(&gatherer.inner).waiting.len() > 2 {
                tokio::task::yield_now().await;
            }
            drop(gone);
            gate.add_permits(3);
            assert_eq!((first.await, last.await), (Ok(1), Ok(3)));
            assert_eq!(*batches.lock().unwrap(), done);
            assert_eq!(lock(&gatherer.inner).weight, 0);
        }
    }

    #[tokio::test]
    async fn lanes_work_at_the_same_time() {
        let gatherer = Arc::new(Numbers::new(1, 10).with_lanes(2));
        let gate = Arc::new(Semaphore::new(0));
        let ask = |item: u32| {
            let (gatherer, gate) = (gatherer.clone(), gate.clone());
            async move {
                let work = move |items: Vec<u32>| {
                    let gate = gate.clone();
                    async move {
                        if items == [1] {
                            gate.acquire().await.unwrap().forget();
                        }
                        Ok(items)
                    }
                };
                gatherer.ask(item, work).await
            }
        };
        let held_up = tokio::spawn(ask(1));
        while lock(&gatherer.inner).working == 0 || !lock(&gatherer.inner).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(futures::future::join_all((2..=5).map(ask)).await, [Ok(2), Ok(3), Ok(4), Ok(5)]);
        gate.add_permits(1);
        assert_eq!(held_up.await.unwrap(), Ok(1));
        assert_eq!(lock(&gatherer.inner).working, 0);
    }

    #[tokio::test]
    async fn beyond_the_room_items_are_refused() {
        let gatherer = Arc::new(Numbers::new(1, 1));
        let never = |_: Vec<u32>| std::future::pending();
        let ask = |item| {
            let gatherer = gatherer.clone();
            tokio::spawn(async move { gatherer.ask(item, never).await })
        };
        let _working = ask(1);
        while lock(&gatherer.inner).working == 0 || !lock(&gatherer.inner).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let _waiting = ask(2);
        while lock(&gatherer.inner).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(gatherer.ask(3, never).await, Err(AskError::Full));
    }
}
