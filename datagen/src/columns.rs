//! Some columns of a part of a dataset, without the rest of its rows.

use crate::Error;
use crate::store::TraceReader;
use polars::prelude::*;
use std::io::Cursor;

/// The columns that were asked for, of one part.
pub(crate) struct Columns<'a> {
    table: DataFrame,
    reader: &'a TraceReader,
}

impl<'a> Columns<'a> {
    /// Reads `names`, which are in the order of the schema, from part `part` of the dataset, verified.
    pub(crate) fn read(reader: &'a TraceReader, part: usize, names: &[&str]) -> Result<Self, Error> {
        let columns = names.iter().map(|&name| name.to_owned()).collect();
        let file = Cursor::new(reader.ipc_file(part)?);
        let table = IpcReader::new(file).with_columns(Some(columns)).finish();
        Ok(Self { table: table.map_err(|source| failed(reader, source))?, reader })
    }

    pub(crate) fn rows(&self) -> usize {
        self.table.height()
    }

    pub(crate) fn into_table(self) -> DataFrame {
        self.table
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<&str>, Error> {
        let column = self.table.column(name).and_then(|column| column.str());
        let column = column.map_err(|source| failed(self.reader, source))?;
        Ok(column.iter().map(Option::unwrap_or_default).collect())
    }

    pub(crate) fn counts(&self, name: &str) -> Result<Vec<u32>, Error> {
        let column = self.table.column(name).and_then(|column| column.u32());
        let column = column.map_err(|source| failed(self.reader, source))?;
        Ok(column.iter().map(Option::unwrap_or_default).collect())
    }

    pub(crate) fn flags(&self, name: &str) -> Result<Vec<bool>, Error> {
        let column = self.table.column(name).and_then(|column| column.bool());
        let column = column.map_err(|source| failed(self.reader, source))?;
        Ok(column.iter().map(Option::unwrap_or_default).collect())
    }
}

/// The error of columns that could not be read or computed with.
pub(crate) fn failed(reader: &TraceReader, source: PolarsError) -> Error {
    Error::Statistics { path: reader.dir().into(), source: source.into() }
}
