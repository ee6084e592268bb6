//! What the list of runs is narrowed to: chips, fields and the search box with its qualifiers, all in the
//! address. Actions on all that match read the same.

use super::{address::Address, fmt};
use crate::error::ApiResult;
use shared::{
    ids::{RunId, WorkerId},
    pagination::Cursor,
    runs::{RunState, queries::RunFilter, registry::Kind},
};

/// What the search box says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// As it was typed.
    pub text: String,
    kind: Option<String>,
    queue: Option<String>,
    error: Option<String>,
    flow: Option<RunId>,
    parent: Option<RunId>,
    worker: Option<WorkerId>,
    fingerprint: Option<String>,
    /// Words that mean nothing to us.
    pub unknown: Vec<String>,
}

impl Search {
    /// Reads `kind:ingest_chunk error:"time out" queue:ingest flow:<id>`; a word without a qualifier is
    /// a kind if there is such a kind, else part of the error's text.
    fn read(text: &str, kinds: &[Kind]) -> Self {
        let mut search = Self { text: text.trim().chars().take(400).collect(), ..Self::default() };
        let mut error = Vec::new();
        for word in words(&search.text) {
            let (name, value) = word.split_once(':').unwrap_or(("", &word));
            let understood = match name {
                "kind" => put(&mut search.kind, value),
                "queue" => put(&mut search.queue, value),
                "fingerprint" => put(&mut search.fingerprint, value),
                "flow" => put(&mut search.flow, value),
                "parent" => put(&mut search.parent, value),
                "worker" => put(&mut search.worker, value),
                "error" => {
                    error.push(value.to_owned());
                    true
                }
                _ if kinds.iter().any(|kind| kind.name == word) => put(&mut search.kind, &word),
                _ => {
                    error.push(word.clone());
                    true
                }
            };
            if !understood {
                search.unknown.push(word);
            }
        }
        search.error = Some(error.join(" ")).filter(|error| !error.is_empty());
        search
    }
}

fn put<T: std::str::FromStr>(place: &mut Option<T>, value: &str) -> bool {
    match value.parse() {
        Ok(value) => {
            *place = Some(value);
            true
        }
        Err(_) => false,
    }
}

/// Words, where quotes hold several together.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            '\0' => {}
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// What the address, or a form that repeats it, says.
pub struct Sought {
    /// The search box.
    pub search: Search,
    /// The kind that is chosen in the field.
    pub kind: Option<String>,
    /// All of it.
    pub filter: RunFilter,
    /// The list's address.
    pub here: Address,
    /// Where in the list.
    pub cursor: Option<Cursor>,
}

impl Sought {
    /// Reads a query's or a form's pairs; others are left alone.
    pub fn read(pairs: &[(String, String)], kinds: &[Kind]) -> ApiResult<Self> {
        let text = |name: &str| {
            let found =
                pairs.iter().find(|(n, value)| n == name && !value.is_empty() && !value.contains('\0'));
            found.map(|(_, value)| value.as_str())
        };
        let search = Search::read(text("q").unwrap_or_default(), kinds);
        let kind = text("kind").map(str::to_owned);
        let worker: Option<WorkerId> = text("worker").and_then(|id| id.parse().ok());
        let fingerprint = text("fingerprint").map(str::to_owned);
        let mut search = search;
        let mut states: Vec<RunState> = Vec::new();
        for one in text("state").unwrap_or_default().split(',').filter(|one| !one.is_empty()) {
            match one.parse() {
                Ok(state) => states.push(state),
                Err(_) => search.unknown.push(format!("state={one}")),
            }
        }
        if let Some(id) = text("worker").filter(|_| worker.is_none()) {
            search.unknown.push(format!("worker={id}"));
        }
        let filter = RunFilter {
            states,
            kind: kind.clone().or_else(|| search.kind.clone()),
            queue: search.queue.clone(),
            flow: search.flow,
            parent: search.parent,
            error: search.error.clone(),
            fingerprint: fingerprint.clone().or_else(|| search.fingerprint.clone()),
            worker: worker.or(search.worker),
        };
        let words: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        let state = words.join(",");
        let here = Address::new("/ui/runs")
            .with("state", &state)
            .maybe("kind", kind.as_deref())
            .maybe("fingerprint", fingerprint.as_deref())
            .maybe("worker", worker.map(|id| id.to_string()).as_deref())
            .with("q", &search.text);
        let cursor = text("cursor").map(Cursor::decode).transpose()?;
        Ok(Self { search, kind, filter, here, cursor })
    }

    /// Filters that no field shows, each with the way to the list without it.
    pub fn chips(&self) -> Vec<(String, String)> {
        let named = |name: &'static str, text: Option<String>| {
            text.filter(|_| self.here.has(name)).map(|text| (text, self.here.with(name, "").to_string()))
        };
        let failure =
            self.filter.fingerprint.as_ref().map(|print| format!("failure {}", fmt::cut(print, 60)));
        let worker = self.filter.worker.map(|id| id.to_string());
        let worker = worker.map(|id| format!("worker {}", &id[id.len() - 8..]));
        named("fingerprint", failure).into_iter().chain(named("worker", worker)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::runs::registry::KINDS;

    #[test]
    fn the_search_box_reads_qualifiers() {
        let search = Search::read("kind:plan_upload error:\"no header\" queue:ingest", KINDS);
        assert_eq!(search.kind.as_deref(), Some("plan_upload"));
        assert_eq!(search.error.as_deref(), Some("no header"));
        assert_eq!(search.queue.as_deref(), Some("ingest"));
        let search = Search::read("ingest_chunk disk full", KINDS);
        assert_eq!(search.kind.as_deref(), Some("ingest_chunk"));
        assert_eq!(search.error.as_deref(), Some("disk full"));
        assert_eq!(Search::read("flow:xyz", KINDS).unknown, ["flow:xyz"]);
    }

    #[test]
    fn a_filter_is_in_the_address_whole() {
        let pairs = [("state", "failed,nonsense"), ("fingerprint", "a: b&c"), ("q", "disk"), ("id", "7")];
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let sought = Sought::read(&pairs, KINDS).unwrap();
        assert_eq!(sought.here.to_string(), "/ui/runs?state=failed&fingerprint=a%3A+b%26c&q=disk");
        assert_eq!(sought.chips()[0].1, "/ui/runs?state=failed&q=disk");
    }
}
