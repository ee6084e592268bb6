//! Reading requests: query parameters, path ids, JSON bodies, headers. Whatever cannot be read is a
//! problem that names the field. NUL is refused everywhere, because PostgreSQL has no text with it.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::de::DeserializeOwned;
use shared::{
    nul::place_of_nul,
    pagination::{Cursor, DEFAULT_LIMIT, InvalidCursor, MAX_LIMIT, PageRequest},
};
use std::{fmt::Display, str::FromStr};
use utoipa::IntoParams;

/// Longest text of a parameter.
const MAX_TEXT_CHARACTERS: usize = 200;

/// The query's parameters, before they are typed.
pub struct Params {
    pairs: Vec<(String, String)>,
    zone: Tz,
}

/// Parameters that a route knows: documented by `IntoParams`, typed here.
pub trait FromParams: IntoParams + Sized {
    /// Types the parameters; absent and empty ones are the same.
    fn from_params(params: &Params) -> ApiResult<Self>;
}

/// Parameters of a list: also what its cursors hold.
pub trait ListParams: FromParams {
    /// Whether a cursor's key is one of this list's.
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor>;
}

/// What every list takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only documents what `Params::page` reads")]
pub struct PageParams {
    /// Rows of the page, 1 to 500; 50 if absent.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<i64>,
    /// Where the page begins: `next` or `previous` of another page.
    cursor: Option<String>,
}

/// Typed query parameters; unknown ones are refused.
pub struct QueryOf<T>(pub T);

/// Typed query parameters of a list, and the page that is wanted.
pub struct ListQuery<T> {
    /// The parameters besides `limit` and `cursor`.
    pub params: T,
    /// The page.
    pub page: PageRequest,
    /// The request's target, for the links to other pages.
    pub uri: Uri,
}

fn names<T: IntoParams>() -> Vec<String> {
    T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
}

impl<T: FromParams> FromRequestParts<AppState> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let params = Params::read(&parts.uri, state.env.settings.zone, &names::<T>())?;
        T::from_params(&params).map(Self)
    }
}

impl<T: ListParams> FromRequestParts<AppState> for ListQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let known = [names::<T>(), names::<PageParams>()].concat();
        let params = Params::read(&parts.uri, state.env.settings.zone, &known)?;
        let page = params.page(T::check_cursor)?;
        Ok(Self { params: T::from_params(&params)?, page, uri: parts.uri.clone() })
    }
}

/// A route that takes no query parameters.
pub struct NoQuery;

impl FromRequestParts<AppState> for NoQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Params::read(&parts.uri, state.env.settings.zone, &[]).map(|_| Self)
    }
}

impl Params {
    /// Splits a query; refuses parameters that are not `known`, and NUL.
    pub fn read(uri: &Uri, zone: Tz, known: &[String]) -> ApiResult<Self> {
        let query = uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(name)) {
            let name = printable(name);
            let known = if known.is_empty() {
                "this path has none".to_owned()
            } else {
                format!("known are {}", known.join(", "))
            };
            let detail = format!("There is no query parameter {name:?} here; {known}.");
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "unknown-parameter",
                "Unknown parameter",
                detail,
            )
            .at(&name));
        }
        if let Some((name, _)) = pairs.iter().find(|(_, value)| value.contains('\0')) {
            return Err(nul(name));
        }
        Ok(Self { pairs, zone })
    }

    /// Parameters by hand, for what arrives in a form.
    pub fn of(pairs: Vec<(String, String)>, zone: Tz) -> Self {
        Self { pairs, zone }
    }

    /// A parameter that may be given once.
    fn one(&self, name: &str) -> ApiResult<Option<&str>> {
        let mut values = self.pairs.iter().filter(|(n, value)| n == name && !value.is_empty());
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::bad_parameter(name, format!("The parameter {name} may be given once.")));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// Text of at most 200 characters.
    pub fn text(&self, name: &str) -> ApiResult<Option<String>> {
        self.text_within(name, MAX_TEXT_CHARACTERS)
    }

    /// Text that we made ourselves, such as a fingerprint: at most 4,000 characters.
    pub fn long_text(&self, name: &str) -> ApiResult<Option<String>> {
        self.text_within(name, 4_000)
    }

    fn text_within(&self, name: &str, limit: usize) -> ApiResult<Option<String>> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        if value.chars().count() > limit {
            let detail = format!("The parameter {name} has at most {limit} characters.");
            return Err(ApiError::bad_parameter(name, detail));
        }
        Ok(Some(value.to_owned()))
    }

    /// A value of a type.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> ApiResult<Option<T>> {
        self.one(name)?.map(|value| parse(name, value)).transpose()
    }

    /// A value that `read` makes of text; it may be long, as a mapping is.
    pub fn made<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> ApiResult<Option<T>> {
        let Some(text) = self.text_within(name, 16_000)? else { return Ok(None) };
        read(&text).map(Some).map_err(|reason| {
            ApiError::bad_parameter(name, format!("The parameter {name} cannot be used: {reason}."))
        })
    }

    /// `true` or `false` (also 1, 0, on, off, yes, no); false if absent.
    pub fn flag(&self, name: &str) -> ApiResult<bool> {
        match self.one(name)?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0" | "off" | "no") => Ok(false),
            Some("true" | "1" | "on" | "yes") => Ok(true),
            Some(_) => Err(ApiError::bad_parameter(name, format!("The parameter {name} is true or false."))),
        }
    }

    /// Values of a type, repeated or separated by commas.
    pub fn list<T: FromStr<Err: Display>>(&self, name: &str) -> ApiResult<Vec<T>> {
        self.pairs
            .iter()
            .filter(|(n, _)| n == name)
            .flat_map(|(_, value)| value.split(','))
            .filter(|value| !value.is_empty())
            .map(|value| parse(name, value))
            .collect()
    }

    /// A day.
    pub fn date(&self, name: &str) -> ApiResult<Option<NaiveDate>> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        NaiveDate::from_str(value).ok().filter(|date| in_range(date.year())).map(Some).ok_or_else(|| {
            ApiError::bad_parameter(name, format!("The parameter {name} is a day such as 2026-01-31."))
        })
    }

    /// The instant that a range begins at: an instant itself, or the start of a day in the reporting
    /// zone.
    pub fn from(&self, name: &str) -> ApiResult<Option<DateTime<Utc>>> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        self.instant(name, value, 0).map(Some)
    }

    /// The instant that a range ends before: an instant itself, or the end of a day.
    pub fn until(&self, name: &str) -> ApiResult<Option<DateTime<Utc>>> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        self.instant(name, value, 1).map(Some)
    }

    fn instant(&self, name: &str, value: &str, days: i64) -> ApiResult<DateTime<Utc>> {
        // An unescaped plus arrives as a space.
        let read = || {
            if let Ok(day) = NaiveDate::from_str(value) {
                let start = start_of_day(self.zone, day.checked_add_signed(TimeDelta::days(days))?)?;
                // The last day of all is what people write for "no end".
                return Some(if in_range(day.year()) { start.min(end_of_time()) } else { start });
            }
            let zoned = DateTime::parse_from_rfc3339(value)
                .or_else(|_| DateTime::parse_from_rfc3339(&value.replace(' ', "+")));
            if let Ok(instant) = zoned {
                return Some(instant.to_utc());
            }
            local(self.zone, NaiveDateTime::from_str(&value.replace(' ', "T")).ok()?)
        };
        read().filter(|instant| in_range(instant.year())).ok_or_else(|| {
            let detail = format!(
                "The parameter {name} is a day (2026-01-31) or an instant (2026-01-31T10:00:00Z), from 1 to 9999."
            );
            ApiError::bad_parameter(name, detail)
        })
    }

    /// `limit` and `cursor`.
    pub fn page(&self, check: fn(&Cursor) -> Result<(), InvalidCursor>) -> ApiResult<PageRequest> {
        let limit = self.parsed::<i64>("limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let detail = format!("The parameter limit is a number from 1 to {MAX_LIMIT}.");
            return Err(ApiError::bad_parameter("limit", detail));
        }
        let Some(text) = self.one("cursor")? else {
            return Ok(PageRequest { limit, cursor: None });
        };
        let cursor = Cursor::decode(text)?;
        check(&cursor)?;
        if cursor.key.iter().any(|part| part.contains('\0')) {
            return Err(InvalidCursor.into());
        }
        Ok(PageRequest { limit, cursor: Some(cursor) })
    }
}

/// The instant in a field of a form or a body: a day's beginning in the reporting zone, or an instant, with
/// or without its seconds (browsers leave them out). `None` if it is blank.
pub fn read_instant(zone: Tz, name: &str, typed: &str) -> ApiResult<Option<DateTime<Utc>>> {
    let typed = typed.trim();
    let whole =
        if typed.len() == "2026-01-31T10:00".len() { format!("{typed}:00") } else { typed.to_owned() };
    let params = Params::of(vec![(name.to_owned(), whole)], zone);
    params.from(name).map_err(|error| ApiError::invalid(name, error.problem().detail.clone()))
}

/// The last instant that is [`in_range`].
fn end_of_time() -> DateTime<Utc> {
    let midnight =
        NaiveDate::from_ymd_opt(10_000, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc();
    midnight - TimeDelta::microseconds(1)
}

/// Years that both chrono and PostgreSQL can write.
fn in_range(year: i32) -> bool {
    (1..=9999).contains(&year)
}

/// When a day begins in a zone.
pub(crate) fn start_of_day(zone: Tz, day: NaiveDate) -> Option<DateTime<Utc>> {
    local(zone, day.and_time(NaiveTime::MIN))
}

/// A local time as an instant; of two the earlier, and if the clock skipped it, the next there was.
pub(crate) fn local(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    (0..=4)
        .filter_map(|half_hours| time.checked_add_signed(TimeDelta::minutes(30 * half_hours)))
        .find_map(|time| zone.from_local_datetime(&time).earliest())
        .map(|instant| instant.to_utc())
}

fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> ApiResult<T> {
    value.trim().parse().map_err(|error: T::Err| {
        let value: String = printable(value);
        ApiError::bad_parameter(name, format!("The parameter {name} cannot be {value:?}: {error}."))
    })
}

fn nul(name: &str) -> ApiError {
    ApiError::bad_parameter(name, format!("The parameter {name} holds a NUL character."))
}

/// At most 80 characters, for messages.
fn printable(text: &str) -> String {
    text.chars().take(80).collect()
}

/// An id in the path.
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let PathText(text) = PathText::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|error: T::Err| {
            ApiError::bad_parameter("id", format!("{:?} is not an id: {error}.", printable(&text)))
        })
    }
}

/// An id in the path that is text.
pub struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad_parameter("id", error.body_text()))?;
        if text.contains('\0') {
            return Err(nul("id"));
        }
        Ok(Self(text))
    }
}

/// A JSON body: an object. serde would also take an array of its fields' values, in their order.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        json_bytes(request, state).await.and_then(|bytes| read_json(&bytes)).map(Self)
    }
}

/// A JSON body whose numbers are read digit by digit, and at once: without a look at what it does not hold.
pub struct ExactJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ExactJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let bytes = json_bytes(request, state).await?;
        // What cannot be read is read again, to say what is wrong with it.
        serde_json::from_slice(&bytes).or_else(|_| read_json(&bytes)).map(Self)
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> ApiResult<Bytes> {
    if !is_json(request.headers()) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            "The body is JSON; say so with `Content-Type: application/json`.",
        )
        .with(header::ACCEPT, "application/json"));
    }
    Bytes::from_request(request, state).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("The body is larger than is accepted here."),
        _ => ApiError::bad_request(format!("The body cannot be read: {}", error.body_text())),
    })
}

/// Reads a JSON object, and says what is wrong with it.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}.")).at("body"))?;
    if !value.is_object() {
        return Err(ApiError::invalid("body", "The body is a JSON object: {\"field\": value, …}."));
    }
    if let Some(place) = place_of_nul(&value) {
        let field = if place.is_empty() { "body" } else { &place };
        return Err(ApiError::invalid(field, "The body holds a text with a NUL character."));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, text) = (error.path().to_string(), error.inner().to_string());
        // What is missing or unknown may not be in the path; serde quotes its name.
        let named = ["missing field `", "unknown field `"].iter().find_map(|start| text.strip_prefix(start));
        let field = match (path.as_str(), named.and_then(|rest| rest.split('`').next())) {
            (".", name) => name.unwrap_or("body").to_owned(),
            (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
            (path, _) => path.to_owned(),
        };
        // What chrono says of a text that is no time.
        let is_time =
            ["input contains invalid characters", "premature end of input", "input is out of range"];
        let hint =
            if is_time.contains(&text.as_str()) { "; a time is written 2026-11-20T12:00:00Z" } else { "" };
        ApiError::invalid(&field, format!("The body has the wrong form: {text}{hint}."))
    })
}

/// A JSON body that may be left out.
pub struct JsonOrNothing<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        use axum::body::HttpBody;
        if request.body().size_hint().exact() == Some(0) {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state).await.map(|Json(body)| Self(body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The header `Idempotency-Key`, if it is there.
pub struct IdempotencyKey(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let text = value.to_str().map(str::trim).unwrap_or_default();
        if !(1..=255).contains(&text.len()) {
            let detail = "An Idempotency-Key is 1 to 255 visible ASCII characters.";
            return Err(ApiError::bad_parameter("Idempotency-Key", detail));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Params::of(pairs, chrono_tz::Europe::Berlin)
    }

    #[test]
    fn unknown_parameters_are_named_with_the_known_ones() {
        let uri: Uri = "/x?stat=failed".parse().unwrap();
        let error = Params::read(&uri, Tz::UTC, &["state".to_owned(), "limit".to_owned()]).err().unwrap();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            error.problem().detail,
            "There is no query parameter \"stat\" here; known are state, limit."
        );
        assert_eq!(error.problem().field.as_deref(), Some("stat"));
    }

    #[test]
    fn a_day_ends_when_the_next_begins_in_the_reporting_zone() {
        let p =
            params("from=2026-03-29&to=2026-03-29&at=2026-03-29T10:00:00+02:00&naive=2026-03-29T10:00:00");
        assert_eq!(p.from("from").unwrap().unwrap().to_rfc3339(), "2026-03-28T23:00:00+00:00");
        // The day of the change to summer time has 23 hours.
        assert_eq!(p.until("to").unwrap().unwrap().to_rfc3339(), "2026-03-29T22:00:00+00:00");
        assert_eq!(p.from("at").unwrap().unwrap().to_rfc3339(), "2026-03-29T08:00:00+00:00");
        assert_eq!(p.from("naive").unwrap().unwrap().to_rfc3339(), "2026-03-29T08:00:00+00:00");
    }

    #[test]
    fn a_day_that_begins_at_one_o_clock_begins_there() {
        let day = NaiveDate::from_ymd_opt(2018, 11, 4).unwrap();
        let start = start_of_day(chrono_tz::America::Sao_Paulo, day).unwrap();
        assert_eq!(start.to_rfc3339(), "2018-11-04T03:00:00+00:00");
    }

    #[test]
    fn times_out_of_range_and_odd_values_are_refused() {
        let p = params("a=%2B262000-01-01&b=tomorrow&c=0000-01-01&d=x&d=y&e=maybe&f=-262143-01-01T00:00:00Z");
        for name in ["a", "b", "c", "f"] {
            assert_eq!(p.from(name).err().unwrap().status(), StatusCode::BAD_REQUEST, "{name}");
        }
        assert!(p.text("d").is_err());
        assert!(p.flag("e").is_err());
    }

    #[test]
    fn pages_have_limits_and_our_own_cursors() {
        let check = |cursor: &Cursor| cursor.single::<uuid::Uuid>().map(drop);
        assert_eq!(params("").page(check).unwrap().limit, DEFAULT_LIMIT);
        for query in
            ["limit=0", "limit=501", "limit=many", "limit=99999999999999999999", "cursor=zz", "cursor=00"]
        {
            assert!(params(query).page(check).is_err(), "{query}");
        }
        let foreign = Cursor { direction: shared::pagination::Direction::Older, key: vec!["7".to_owned()] };
        assert!(params(&format!("cursor={}", foreign.encode())).page(check).is_err());
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        assert_eq!(params("n=1,2&n=3&n=").list::<i32>("n").unwrap(), [1, 2, 3]);
        assert!(params("n=1,x").list::<i32>("n").is_err());
    }
}
