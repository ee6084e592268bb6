//! Where a handler's panic came from: the hook notes it by task, the executor asks for it.

use std::{
    backtrace::Backtrace,
    collections::HashMap,
    sync::{Mutex, Once, PoisonError},
};
use tokio::task::Id;

static INSTALL: Once = Once::new();
static BACKTRACES: Mutex<Option<HashMap<Id, String>>> = Mutex::new(None);

/// Adds the hook, once a process; the hook that was there still runs.
pub(crate) fn install_hook() {
    INSTALL.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(task) = tokio::task::try_id() {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                let text = format!("at {place}\n{}", Backtrace::force_capture());
                let mut backtraces = BACKTRACES.lock().unwrap_or_else(PoisonError::into_inner);
                let backtraces = backtraces.get_or_insert_default();
                // Tasks that nobody asks for must not pile up.
                if backtraces.len() < 1000 {
                    backtraces.insert(task, text);
                }
            }
            before(panic);
        }));
    });
}

/// Where the task's panic came from.
pub(crate) fn backtrace_of(task: Id) -> Option<String> {
    BACKTRACES.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&task)
}
