//! Runs by the end of their id. The API finds runs by whole ids only; an end is looked for among the
//! newest runs, which are those that people see in lists.

use crate::{client::ApiClient, usage::Usage};
use anyhow::bail;
use uuid::Uuid;

/// Runs that are looked through.
const NEWEST: usize = 2000;
/// Shorter ends are too often those of other runs as well.
const SHORTEST: usize = 8;

/// The whole ids of runs that were named by ids or the ends of ids.
pub async fn whole_ids(client: &ApiClient, named: &[String]) -> anyhow::Result<Vec<String>> {
    for name in named {
        let letters = name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !letters || (name.parse::<Uuid>().is_err() && name.len() < SHORTEST) {
            return Err(Usage::new(format!(
                "{name:?} is neither a run's id nor its last {SHORTEST} characters"
            )));
        }
    }
    let ends = named.iter().any(|name| name.parse::<Uuid>().is_err());
    let newest = if ends { newest(client).await? } else { Vec::new() };
    named.iter().map(|name| whole_id(name, &newest)).collect()
}

async fn newest(client: &ApiClient) -> anyhow::Result<Vec<String>> {
    let (_, listing) = client.list(&["runs"], &[], NEWEST).await?;
    Ok(listing.items.iter().filter_map(|run| Some(run["id"].as_str()?.to_owned())).collect())
}

fn whole_id(name: &str, newest: &[String]) -> anyhow::Result<String> {
    if let Ok(id) = name.parse::<Uuid>() {
        return Ok(id.to_string());
    }
    let end = name.to_ascii_lowercase();
    let found: Vec<&String> = newest.iter().filter(|id| id.ends_with(&end)).collect();
    match found.as_slice() {
        [id] => Ok((*id).clone()),
        [] => bail!("none of the newest {NEWEST} runs ends in {name}; give the whole id"),
        several => bail!("{} runs end in {name}; give the whole id: {}", several.len(), join(several)),
    }
}

fn join(ids: &[&String]) -> String {
    ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::whole_id;

    #[test]
    fn an_end_stands_for_one_run_only() {
        let newest = ["01a1f828-3a35-74a3-8cf5-57ada783babe", "01a1f828-3a35-74a3-8cf5-00ada783babe"]
            .map(str::to_owned);
        assert_eq!(whole_id("57ADA783babe", &newest).unwrap(), newest[0]);
        assert!(whole_id("a783babe", &newest).unwrap_err().to_string().starts_with("2 runs end in a783babe"));
        assert!(whole_id("00000000", &newest).unwrap_err().to_string().contains("whole id"));
        assert_eq!(whole_id(&newest[1].to_uppercase(), &[]).unwrap(), newest[1]);
    }
}
