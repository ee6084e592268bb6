//! Forms of single-line fields: each keeps what was typed and says what is wrong with it.

use super::pieces::{Icon, icon};
use crate::error::{ApiError, FieldError, Problem};
use askama::{Template, filters::HtmlSafe};
use axum::http::StatusCode;
use rust_decimal::Decimal;

/// A field; with choices it is one of a few words, else a line of text.
#[derive(Debug, Clone, Template)]
#[template(path = "partials/field.html")]
pub struct Field {
    name: &'static str,
    label: &'static str,
    typed: String,
    longest: usize,
    required: bool,
    mode: Option<&'static str>,
    list: Option<&'static str>,
    capitals: bool,
    placeholder: String,
    hint: String,
    choices: Vec<(&'static str, &'static str)>,
    complaint: Option<String>,
    /// What helps against the complaint: words and where they lead.
    way: Option<(String, String)>,
    icon: Icon,
}

impl HtmlSafe for Field {}

impl Field {
    /// A line of text that must be given.
    pub fn new(name: &'static str, label: &'static str, typed: &str, longest: usize) -> Self {
        Self {
            name,
            label,
            typed: typed.to_owned(),
            longest,
            required: true,
            mode: None,
            list: None,
            capitals: false,
            placeholder: String::new(),
            hint: String::new(),
            choices: Vec::new(),
            complaint: None,
            way: None,
            icon: icon("failed"),
        }
    }

    /// An amount or a price.
    pub fn decimal(name: &'static str, label: &'static str, typed: &str, example: &str) -> Self {
        Self { mode: Some("decimal"), ..Self::new(name, label, typed, 30) }.like(example)
    }

    /// A whole number.
    pub fn whole(name: &'static str, label: &'static str, typed: &str, example: &str) -> Self {
        Self { mode: Some("numeric"), ..Self::new(name, label, typed, 30) }.like(example)
    }

    /// One of a few words: each with what people read.
    pub fn choice(
        name: &'static str,
        label: &'static str,
        typed: &str,
        choices: Vec<(&'static str, &'static str)>,
    ) -> Self {
        Self { choices, ..Self::new(name, label, typed, 0) }
    }

    /// It may be left empty.
    pub fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    /// An example of what to type.
    pub fn like(self, example: &str) -> Self {
        Self { placeholder: example.to_owned(), ..self }
    }

    /// A word of help.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Its text is in capitals.
    pub fn capitals(self) -> Self {
        Self { capitals: true, ..self }
    }

    /// Which keyboard suits it.
    pub fn mode(self, mode: &'static str) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// The list in the page that it proposes from.
    pub fn proposing(self, list: &'static str) -> Self {
        Self { list: Some(list), ..self }
    }
}

/// A form.
#[derive(Debug, Clone)]
pub struct Form {
    /// Its fields.
    pub fields: Vec<Field>,
    /// What is wrong with it that is no single field's fault.
    pub complaint: Option<String>,
    /// What helps against that: words and where they lead.
    pub way: Option<(String, String)>,
}

impl Form {
    /// A form of these fields.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields, complaint: None, way: None }
    }

    /// Says at the fields what is wrong with them, and above them what is no field's fault.
    pub fn refuse(&mut self, problem: &Problem) {
        if problem.errors.is_empty() {
            self.complaint = Some(problem.detail.clone());
        }
        for error in &problem.errors {
            match self.fields.iter_mut().find(|field| field.name == error.field) {
                Some(field) => {
                    field.complaint.get_or_insert_with(|| error.detail.clone());
                }
                None => self.complaint = Some(error.detail.clone()),
            }
        }
    }

    /// Names, at a field, what helps against its fault.
    pub fn help(&mut self, field: &str, words: &str, href: String) {
        if let Some(field) = self.fields.iter_mut().find(|one| one.name == field) {
            field.way = Some((words.to_owned(), href));
        }
    }
}

/// Whether an error is about what was typed: the form comes again.
pub fn is_refusal(error: &ApiError) -> bool {
    matches!(error.status(), StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT)
}

/// Reads numbers and notes what cannot be read.
#[derive(Default)]
pub struct Reader {
    /// What is wrong.
    pub faults: Vec<FieldError>,
}

impl Reader {
    /// Notes what is wrong with a field.
    pub fn fault(&mut self, field: &str, detail: impl Into<String>) {
        self.faults.push(FieldError { field: field.to_owned(), detail: detail.into() });
    }

    /// A decimal; zero where there is none to read.
    pub fn decimal(&mut self, field: &str, typed: &str) -> Decimal {
        typed.trim().parse().unwrap_or_else(|_| {
            self.fault(field, "Write a number such as 150.25, without separators of thousands.");
            Decimal::ZERO
        })
    }

    /// A whole number; zero where there is none to read.
    pub fn whole(&mut self, field: &str, typed: &str) -> i64 {
        typed.trim().parse().unwrap_or_else(|_| {
            self.fault(field, "Write a whole number such as 1000, without separators of thousands.");
            0
        })
    }
}

/// A line as somebody typed it, without blanks at its ends; what no text can hold is left out.
pub fn line(typed: &str) -> String {
    typed.replace('\0', "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_stands_at_its_field_and_any_other_above_the_form() {
        let mut form = Form::new(vec![
            Field::new("name", "Name", "<b>", 10),
            Field::decimal("price", "Price", "x", "1"),
        ]);
        let mut reader = Reader::default();
        assert_eq!(reader.decimal("price", "1,5"), Decimal::ZERO);
        assert_eq!(reader.decimal("price", " 1.50 "), Decimal::new(150, 2));
        reader.fault("elsewhere", "What is this?");
        form.refuse(ApiError::invalid_fields(reader.faults).problem());
        assert_eq!(form.complaint.as_deref(), Some("What is this?"));
        let [name, price] = form.fields.as_slice() else { panic!("two fields") };
        assert!(name.complaint.is_none() && name.to_string().contains("value=\"&#60;b&#62;\""));
        assert!(price.to_string().contains("without separators"));
    }
}
