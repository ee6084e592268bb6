//! How far the feed has come: its newest events, for whoever shows something before it listens.

use super::{
    feed::{Event, read_entries},
    subscription::Filter,
};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use shared::feed::{EventId, outbox};
use std::{slice, sync::Arc};

/// Rows of the outbox that are looked through, at most, and their bytes.
const LOOKED: (i64, i64) = (256, 2 << 20);

/// The newest events that a filter admits.
pub struct Latest {
    /// The newest first.
    pub events: Vec<Arc<Event>>,
    /// How many were looked at to find them.
    pub looked_at: usize,
    /// Whoever listens after this id hears all that comes after them.
    pub reach: EventId,
}

/// Looks through the newest events for at most so many.
pub async fn latest(conn: &mut AsyncPgConnection, filter: &Filter, most: usize) -> QueryResult<Latest> {
    // The epoch first. If another begins before the rows are read, their ids are none of it, and whoever listens
    // after them is told to begin anew.
    let epoch = outbox::extent(conn).await?.epoch();
    let entries = outbox::newest_within(conn, LOOKED.0, LOOKED.1).await?;
    let entry = entries.first().map_or(0, |newest| newest.id);
    let mut found =
        Latest { events: Vec::new(), looked_at: 0, reach: EventId { epoch, entry, index: u32::MAX } };
    for entry in &entries {
        for event in read_entries(epoch, slice::from_ref(entry)).into_iter().rev() {
            if found.events.len() == most {
                return Ok(found);
            }
            found.looked_at += 1;
            if filter.admits(&event) {
                found.events.push(event);
            }
        }
    }
    Ok(found)
}
