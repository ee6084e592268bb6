//! What is in a workbook's package: its sheets and where they are. Every part that calamine reads on
//! opening is read here first, and bounded.

use super::scan::{Part, walk};
use crate::uploads::formats::{FormatError, archive::normalised, decode::Growth};
use quick_xml::events::{BytesStart, Event};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::{Read, Seek},
};
use zip::ZipArchive;

/// A sheet.
#[derive(Debug)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// Its part.
    pub path: String,
    /// Whether people see it.
    pub visible: bool,
    /// Whether it is a worksheet, not a chart.
    pub has_rows: bool,
}

/// A workbook.
#[derive(Debug)]
pub struct Package {
    /// All sheets, in their order.
    pub sheets: Vec<Sheet>,
    /// The archive's names.
    pub parts: Parts,
}

/// The names of an archive's members as they are asked for.
#[derive(Debug)]
pub struct Parts(HashMap<String, String>);

impl Parts {
    fn of<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Self, FormatError> {
        let mut parts = HashMap::with_capacity(archive.len());
        for name in archive.file_names() {
            let name = name.map_err(|error| crate::uploads::formats::archive::refused(&error))?.into_owned();
            if parts.insert(normalised(&name), name).is_some() {
                return Err(damaged("two of its parts have one name"));
            }
        }
        Ok(Self(parts))
    }

    /// The member that is a part.
    pub fn find(&self, path: &str) -> Option<&str> {
        self.0.get(&path.to_ascii_lowercase()).map(String::as_str)
    }
}

fn damaged(why: &str) -> FormatError {
    FormatError::Refused(format!("The workbook is damaged ({why}); open it, save it anew and upload that."))
}

/// An attribute by its local name, as it is written.
pub(super) fn attribute<'e>(element: &'e BytesStart<'_>, wanted: &str) -> Option<Cow<'e, str>> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == wanted)
        .map(|attribute| attribute.value)
}

fn unescaped(text: &str) -> Result<String, FormatError> {
    quick_xml::escape::unescape(text).map(Cow::into_owned).map_err(|error| damaged(&error.to_string()))
}

/// Reads and bounds everything but the sheets.
pub fn check<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    growth: &mut Growth,
) -> Result<Package, FormatError> {
    let parts = Parts::of(archive)?;
    let mut document = None;
    let root = parts.find("_rels/.rels").ok_or_else(|| damaged("it has no _rels/.rels"))?;
    walk(archive, root, Part::Small, growth, |event, _| {
        if let Event::Start(element) = event
            && element.local_name().as_ref() == "Relationship"
            && attribute(element, "Type").is_some_and(|kind| kind.ends_with("/relationships/officeDocument"))
        {
            document = attribute(element, "Target").map(Cow::into_owned);
        }
        Ok(true)
    })?;
    let document = unescaped(&document.ok_or_else(|| damaged("it names no document"))?)?;
    let document = document.strip_prefix('/').unwrap_or(&document);
    let (folder, name) = document.rsplit_once('/').map_or(("", document), |(folder, name)| (folder, name));
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    for (path, part) in
        [("styles.xml", Part::Small), ("theme/theme1.xml", Part::Small), ("sharedStrings.xml", Part::Strings)]
    {
        if let Some(member) = parts.find(&format!("{folder}{path}")) {
            bounded(archive, member, part, growth)?;
        }
    }
    let targets = relationships(archive, &parts, &format!("{folder}_rels/{name}.rels"), growth)?;
    let sheets = sheets(archive, &parts, document, &folder, &targets, growth)?;
    Ok(Package { sheets, parts })
}

/// Memory that calamine may need for shared strings, which it holds while it reads: the one thing that
/// grows with the file.
const MAX_SHARED_BYTES: u64 = 96 << 20;
/// What a string needs besides its text's own bytes: its place in the list, and what the allocator adds
/// and rounds up.
const STRING_BYTES: u64 = 24 + 24;

/// Cell formats of a workbook, of each of which calamine holds some 200 bytes. Excel keeps 65,490, and
/// as many of named styles.
const MAX_FORMATS: u64 = 140_000;

/// Reads a part for its bounds alone. Of shared strings, their number must not be more than stated by
/// far (room is made for the stated number), and what they need in memory is bounded.
fn bounded<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    member: &str,
    part: Part,
    growth: &mut Growth,
) -> Result<(), FormatError> {
    let (mut stated, mut strings, mut held, mut formats) = (0u64, 0u64, 0u64, 0u64);
    walk(archive, member, part, growth, |event, _| {
        match event {
            Event::Start(element) => match element.local_name().as_ref() {
                "sst" => {
                    let number = attribute(element, "uniqueCount").and_then(|number| number.parse().ok());
                    stated = number.unwrap_or(0).max(stated);
                }
                "si" => {
                    strings += 1;
                    held += STRING_BYTES;
                }
                "xf" => formats += 1,
                _ => {}
            },
            Event::Text(text) => held += text.as_ref().len() as u64,
            Event::CData(text) => held += text.as_ref().len() as u64,
            _ => {}
        }
        if formats > MAX_FORMATS {
            return Err(FormatError::Refused(format!(
                "The workbook has more than {MAX_FORMATS} cell formats, which no spreadsheet program keeps; save the \
                 sheet as CSV."
            )));
        }
        if part == Part::Strings && held > MAX_SHARED_BYTES {
            return Err(FormatError::Refused(format!(
                "The workbook has too many different texts: its first {strings} need more than the {} MiB of memory \
                 that they may; save the sheet as CSV.",
                MAX_SHARED_BYTES >> 20
            )));
        }
        Ok(true)
    })?;
    if stated > strings * 4 + 100_000 {
        return Err(damaged(&format!("it has {strings} shared strings and states {stated}")));
    }
    Ok(())
}

/// Targets and types by id.
fn relationships<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    parts: &Parts,
    path: &str,
    growth: &mut Growth,
) -> Result<HashMap<String, (String, String)>, FormatError> {
    let member = parts.find(path).ok_or_else(|| damaged(&format!("{path} is not there")))?;
    let mut targets = HashMap::new();
    walk(archive, member, Part::Small, growth, |event, _| {
        if let Event::Start(element) = event
            && element.local_name().as_ref() == "Relationship"
            && let Some(id) = attribute(element, "Id")
        {
            let [target, kind] =
                ["Target", "Type"].map(|name| attribute(element, name).unwrap_or_default().into_owned());
            targets.insert(id.into_owned(), (target, kind));
        }
        Ok(true)
    })?;
    Ok(targets)
}

fn sheets<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    parts: &Parts,
    document: &str,
    folder: &str,
    targets: &HashMap<String, (String, String)>,
    growth: &mut Growth,
) -> Result<Vec<Sheet>, FormatError> {
    let member = parts.find(document).ok_or_else(|| damaged(&format!("{document} is not there")))?;
    let mut sheets = Vec::new();
    walk(archive, member, Part::Small, growth, |event, _| {
        if let Event::Start(element) = event
            && element.local_name().as_ref() == "sheet"
        {
            let id = attribute(element, "id").unwrap_or_default();
            let (target, kind) = targets.get(id.as_ref()).ok_or_else(|| damaged("a sheet has no part"))?;
            sheets.push(Sheet {
                name: unescaped(&attribute(element, "name").unwrap_or_default())?,
                path: target.strip_prefix('/').map_or_else(|| format!("{folder}{target}"), str::to_owned),
                visible: attribute(element, "state").is_none_or(|state| state == "visible"),
                has_rows: kind.ends_with("/worksheet"),
            });
        }
        Ok(true)
    })?;
    let names: HashSet<&str> = sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    if names.len() < sheets.len() {
        return Err(damaged("two of its sheets have one name"));
    }
    Ok(sheets)
}
