//! A body of fields as the replaced services read them: JSON, a form or a multipart form. What is missing or
//! cannot be read is said field by field.

use crate::{
    error::{ApiError, ApiResult, FieldError},
    intake::patient,
};
use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Digits before and after the decimal point that the services' decimals had.
const DECIMAL_DIGITS: (u32, u32) = (10, 2);

/// The fields of a body.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The texts of these fields; every one that is missing is named.
    pub fn texts<const N: usize>(&self, names: [&str; N]) -> ApiResult<[String; N]> {
        let mut errors = Vec::new();
        let texts = names.map(|name| {
            let (text, wrong) = match self.0.get(name) {
                None => ("", "This field is required."),
                Some(Value::Null) => ("", "This field may not be null."),
                Some(Value::String(text)) if text.trim().is_empty() => ("", "This field may not be blank."),
                Some(Value::String(text)) if text.contains('\0') => ("", "Null characters are not allowed."),
                Some(Value::String(text)) => (text.as_str(), ""),
                Some(_) => ("", "Not a valid string."),
            };
            if !wrong.is_empty() {
                errors.push(FieldError { field: name.to_owned(), detail: wrong.to_owned() });
            }
            text.to_owned()
        });
        if errors.is_empty() { Ok(texts) } else { Err(ApiError::bad_fields(errors)) }
    }

    /// Reads them one by one, and notes what is wrong with each.
    pub fn reading(&self) -> Reading<'_> {
        Reading { fields: self, errors: Vec::new() }
    }
}

/// Fields that are being read. What cannot be read is empty or zero, and an error.
pub struct Reading<'f> {
    fields: &'f Fields,
    errors: Vec<FieldError>,
}

impl Reading<'_> {
    /// A text of at most so many characters, without the blanks at its ends; a number is one too.
    pub fn text(&mut self, name: &str, longest: usize) -> String {
        let Some(text) = self.scalar(name, "Not a valid string.") else { return String::new() };
        let text = text.trim();
        if text.is_empty() {
            self.wrong(name, "This field may not be blank.");
        } else if text.chars().count() > longest {
            self.wrong(name, format!("Ensure this field has no more than {longest} characters."));
        } else {
            return text.to_owned();
        }
        String::new()
    }

    /// A decimal that is not negative, as a number or as text.
    pub fn decimal(&mut self, name: &str) -> Decimal {
        const INVALID: &str = "A valid number is required.";
        let Some(text) = self.scalar(name, INVALID) else { return Decimal::ZERO };
        let text = text.trim();
        let (whole, fraction) = DECIMAL_DIGITS;
        match Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)) {
            Err(_) => self.wrong(name, INVALID),
            Ok(value) if value < Decimal::ZERO => {
                self.wrong(name, "Ensure this value is greater than or equal to 0.0.");
            }
            Ok(value) if value.scale() > fraction => {
                self.wrong(name, format!("Ensure that there are no more than {fraction} decimal places."));
            }
            Ok(value) if value >= Decimal::from_i128_with_scale(10i128.pow(whole), 0) => self.wrong(
                name,
                format!("Ensure that there are no more than {whole} digits before the decimal point."),
            ),
            Ok(value) => return value,
        }
        Decimal::ZERO
    }

    /// A whole number of a range, as a number or as text; `5.0` is one.
    pub fn whole(&mut self, name: &str, range: RangeInclusive<i64>) -> i64 {
        const INVALID: &str = "A valid integer is required.";
        let Some(text) = self.scalar(name, INVALID) else { return 0 };
        let text = text.trim();
        let digits = match text.split_once('.') {
            Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
            _ => text,
        };
        match digits.parse::<i64>() {
            Err(_) => self.wrong(name, INVALID),
            Ok(value) if value < *range.start() => {
                self.wrong(name, format!("Ensure this value is greater than or equal to {}.", range.start()));
            }
            Ok(value) if value > *range.end() => {
                self.wrong(name, format!("Ensure this value is less than or equal to {}.", range.end()));
            }
            Ok(value) => return value,
        }
        0
    }

    /// The key of another object, a text or a number, as text.
    pub fn key(&mut self, name: &str) -> String {
        let kind = match self.fields.0.get(name) {
            Some(Value::Bool(_)) => "bool",
            Some(Value::Array(_)) => "list",
            _ => "dict",
        };
        let text = self.scalar(name, &format!("Incorrect type. Expected pk value, received {kind}."));
        let text = text.map(|text| text.trim().to_owned()).unwrap_or_default();
        if text.is_empty() {
            self.wrong(name, "This field may not be null.");
        }
        text
    }

    /// Words: an array of texts, or a text with commas between; at least one.
    pub fn words(&mut self, name: &str) -> Vec<String> {
        let words: Vec<String> = match self.fields.0.get(name) {
            Some(Value::Array(words)) => {
                let texts: Option<Vec<_>> =
                    words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
                let Some(texts) = texts else {
                    self.wrong(name, "Not a valid string.");
                    return Vec::new();
                };
                texts
            }
            Some(Value::String(text)) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            Some(Value::Null) => {
                self.wrong(name, "This field may not be null.");
                return Vec::new();
            }
            Some(other) => {
                let kind = if other.is_object() { "dict" } else { "scalar" };
                self.wrong(name, format!("Expected a list of items but got type \"{kind}\"."));
                return Vec::new();
            }
            None => {
                self.wrong(name, "This field is required.");
                return Vec::new();
            }
        };
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            self.wrong(name, "This list may not be empty.");
        }
        words
    }

    /// Whether a field is there, whatever it holds.
    pub fn has(&self, name: &str) -> bool {
        self.fields.0.contains_key(name)
    }

    /// Notes what is wrong with a field, unless something is already.
    pub fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        if !self.errors.iter().any(|error| error.field == name) {
            self.errors.push(FieldError { field: name.to_owned(), detail: detail.into() });
        }
    }

    /// Whether something is wrong.
    pub fn fails(&self) -> bool {
        !self.errors.is_empty()
    }

    /// 400, by field, if something is wrong.
    pub fn done(self) -> ApiResult<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::bad_fields(self.errors)) }
    }

    /// A text or a number as text; anything else is an error, `otherwise` in words.
    fn scalar(&mut self, name: &str, otherwise: &str) -> Option<String> {
        let wrong = match self.fields.0.get(name) {
            None => "This field is required.",
            Some(Value::Null) => "This field may not be null.",
            Some(Value::String(text)) if text.contains('\0') => "Null characters are not allowed.",
            Some(Value::String(text)) => return Some(text.clone()),
            Some(Value::Number(number)) => return Some(number.to_string()),
            Some(_) => otherwise,
        };
        self.wrong(name, wrong);
        None
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "multipart/form-data" {
            let form = Multipart::from_request(request, state).await;
            return of_form(form.map_err(|error| ApiError::bad_request(error.body_text()))?).await;
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("The body is larger than is accepted here."),
            _ => ApiError::bad_request(error.body_text()),
        })?;
        match kind.as_str() {
            // No body at all is a body without fields.
            _ if bytes.is_empty() => Ok(Self(Map::new())),
            "application/json" => match serde_json::from_slice(&bytes) {
                Ok(Value::Object(fields)) => Ok(Self(fields)),
                Ok(other) => Err(no_fields(&other)),
                Err(error) => Err(ApiError::bad_request(format!("JSON parse error - {error}"))),
            },
            "application/x-www-form-urlencoded" => {
                let pairs = url::form_urlencoded::parse(&bytes).into_owned();
                Ok(Self(pairs.map(|(name, value)| (name, Value::String(value))).collect()))
            }
            other => {
                let detail = format!("Unsupported media type {other:?} in request.");
                let (status, word) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
                Err(ApiError::new(status, word, "Unsupported media type", detail))
            }
        }
    }
}

/// The fields of a multipart form. Of a name that comes twice the last counts, as in the other form.
async fn of_form(mut form: Multipart) -> ApiResult<Fields> {
    let mut fields = Map::new();
    while let Some(field) = patient(form.next_field()).await?? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let bytes = patient(field.bytes()).await??;
        // A file is no text: an object will not be read as one.
        let text = std::str::from_utf8(&bytes).ok().filter(|_| !is_file);
        fields.insert(name, text.map_or_else(|| Value::Object(Map::new()), Value::from));
    }
    Ok(Fields(fields))
}

/// 400: the body is JSON, but no object.
fn no_fields(body: &Value) -> ApiError {
    let kind = match body {
        Value::Array(_) => "list",
        Value::String(_) => "str",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        _ => "null",
    };
    let detail = format!("Invalid data. Expected a dictionary, but got {kind}.");
    ApiError::bad_fields(vec![FieldError { field: "non_field_errors".to_owned(), detail }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(body: Value) -> Fields {
        match body {
            Value::Object(fields) => Fields(fields),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn numbers_are_read_as_numbers_and_as_texts() {
        let body = fields(json!({ "a": " 1000.50 ", "b": 1e3, "c": 7, "d": "5.0", "e": 5.0, "f": 12345 }));
        let mut reading = body.reading();
        assert_eq!(reading.decimal("a").to_string(), "1000.50");
        assert_eq!(reading.decimal("b"), Decimal::from(1000));
        assert_eq!(reading.decimal("c"), Decimal::from(7));
        assert_eq!((reading.whole("d", 1..=9), reading.whole("e", 1..=9)), (5, 5));
        assert_eq!(reading.text("f", 5), "12345");
        assert!(reading.done().is_ok());
    }

    #[test]
    fn each_field_says_what_is_wrong_with_it() {
        let body = fields(json!({
            "negative": -1, "places": "1.001", "digits": "10000000000", "word": "ten", "not": "NaN",
            "null": null, "truth": true, "zero": 0, "half": 0.5, "blank": "  ", "long": "abc", "nul": "a\u{0}"
        }));
        let mut reading = body.reading();
        for name in ["negative", "places", "digits", "word", "not", "absent"] {
            reading.decimal(name);
        }
        for name in ["null", "truth", "zero", "half"] {
            reading.whole(name, 1..=9);
        }
        for name in ["blank", "long", "nul"] {
            reading.text(name, 2);
        }
        reading.wrong("long", "said twice");
        let error = reading.done().unwrap_err();
        let said: Vec<String> =
            error.problem().errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        assert_eq!(
            said,
            [
                "negative: Ensure this value is greater than or equal to 0.0.",
                "places: Ensure that there are no more than 2 decimal places.",
                "digits: Ensure that there are no more than 10 digits before the decimal point.",
                "word: A valid number is required.",
                "not: A valid number is required.",
                "absent: This field is required.",
                "null: This field may not be null.",
                "truth: A valid integer is required.",
                "zero: Ensure this value is greater than or equal to 1.",
                "half: A valid integer is required.",
                "blank: This field may not be blank.",
                "long: Ensure this field has no more than 2 characters.",
                "nul: Null characters are not allowed.",
            ]
        );
    }
}
