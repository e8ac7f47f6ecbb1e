//! The `resource_*` entries of a request, one by one, and what their Resource says.

use bytes::Bytes;

use super::attribute::{key_of, string_of};
use super::reader::Reader;
use super::schema::number;
use super::{WireError, count};
use crate::Signal;

/// One `resource_*` entry of a request.
#[derive(Debug, Clone)]
pub struct Resource<'a> {
    /// A request with this entry alone: a slice of the request, not a copy.
    pub request: Bytes,
    /// Log records, data points or spans in it.
    pub items: u64,
    entry: Reader<'a>,
}

impl<'a> Resource<'a> {
    /// The Resource's attribute of that key, if its value is a string; of several, the first. `None` also where the
    /// bytes are no message, which [`super::check()`] would have said.
    pub fn attribute(&self, key: &str) -> Option<&'a str> {
        let mut entry = self.entry;
        while let Some(field) = entry.field().ok()? {
            if field.number() != number::RESOURCE {
                continue;
            }
            let mut resource = field.message().ok()?;
            while let Some(field) = resource.field().ok()? {
                if field.number() == number::RESOURCE_ATTRIBUTES && key_of(&field).ok()? == key.as_bytes() {
                    return string_of(&field).ok()?;
                }
            }
        }
        None
    }
}

/// The entries of a request in their order. Ends after the first error.
pub fn resources(signal: Signal, request: &Bytes) -> Resources<'_> {
    Resources { signal, request, reader: Reader::new(request) }
}

/// Iterator over the entries of a request: see [`resources`].
#[derive(Debug)]
pub struct Resources<'a> {
    signal: Signal,
    request: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Resources<'a> {
    fn entry(&mut self) -> Result<Option<Resource<'a>>, WireError> {
        while let Some(field) = self.reader.field()? {
            if field.number() == number::ENTRIES {
                let entry = field.message()?;
                let items = count::entry(self.signal, entry)?;
                return Ok(Some(Resource { request: self.request.slice_ref(field.whole()), items, entry }));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Resources<'a> {
    type Item = Result<Resource<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry();
        if entry.is_err() {
            self.reader = Reader::new(&[]);
        }
        entry.transpose()
    }
}
