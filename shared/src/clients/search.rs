//! Finding clients by what people know of them. The index `clients_search` holds the words
//! (`client_search_terms`), the primary key the ids, an index of its own the usernames.

use diesel::{
    expression::BoxableExpression,
    pg::Pg,
    sql_types::{Bool, Text},
};

/// Fewest digits that are looked for as a phone number's.
const FEWEST_DIGITS: usize = 3;

/// Whether `column` is the id of a client whom a search finds. The ids are found first, by themselves, and
/// looked up: left to choose, PostgreSQL walks through all clients and makes the terms of each, or joins its way
/// past those before the first (test: a_search_of_many_clients_stays_in_its_index).
pub(crate) fn found_by<Source: 'static>(
    column: &str,
    search: &str,
) -> Box<dyn BoxableExpression<Source, Pg, SqlType = Bool>> {
    let prefix = format!("{}%", search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    let found = diesel::dsl::sql::<Bool>(&format!(
        "{column} = ANY (ARRAY(SELECT client_id FROM clients WHERE client_id LIKE "
    ))
    .bind::<Text, _>(prefix.clone())
    .sql(" UNION SELECT client_id FROM clients WHERE username IS NOT NULL AND username LIKE ")
    .bind::<Text, _>(prefix)
    .sql(
        " UNION SELECT client_id FROM clients
               WHERE (name IS NOT NULL OR email IS NOT NULL OR phone_number IS NOT NULL)
                 AND client_search_terms(name, email, phone_number) @@ lower(",
    )
    .bind::<Text, _>(query(search))
    .sql(")::tsquery))");
    Box::new(found)
}

/// A tsquery: something begins with each of the words, or a phone number with the digits.
fn query(search: &str) -> String {
    let begins = |word: &str| format!("'{}':*", word.replace('\\', "\\\\").replace('\'', "''"));
    let mut query = search.split_whitespace().map(begins).collect::<Vec<_>>().join(" & ");
    let sign = |character: char| character.is_ascii_digit() || "+()-./ x".contains(character);
    let digits: String = search.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    if search.chars().all(sign) && digits.len() >= FEWEST_DIGITS {
        query.push_str(&format!(" | '{digits}':*"));
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_numbers_are_phone_numbers_too() {
        assert_eq!(query("Ann O'Ne"), "'Ann':* & 'O''Ne':*");
        assert_eq!(query("a\\b | !c"), "'a\\\\b':* & '|':* & '!c':*");
        assert_eq!(query("(988) 652-68"), "'(988)':* & '652-68':* | '98865268':*");
        assert_eq!(query("+49"), "'+49':*");
    }
}
