//! PostgreSQL's binary COPY format, written straight from typed rows: the generic writer costs several
//! times as much per value.

use crate::money::UNITS;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use std::pin::Pin;
use tokio_postgres::{CopyInSink, Error, Transaction};

/// Bytes collected before they are sent.
const FLUSH_BYTES: usize = 128 << 10;
/// 1970-01-01 as PostgreSQL counts, from 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A COPY in progress. Every row begins with [`CopyWriter::row`], then one call a column.
pub struct CopyWriter {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
}

impl CopyWriter {
    /// Begins `COPY … FROM STDIN BINARY`.
    pub async fn begin(transaction: &Transaction<'_>, statement: &str) -> Result<Self, Error> {
        let sink = Box::pin(transaction.copy_in(statement).await?);
        let mut buffer = BytesMut::with_capacity(FLUSH_BYTES + 4096);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_i32(0);
        buffer.put_i32(0);
        Ok(Self { sink, buffer })
    }

    /// Begins a row; sends what has collected.
    pub async fn row(&mut self, columns: i16) -> Result<(), Error> {
        if self.buffer.len() >= FLUSH_BYTES {
            let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(FLUSH_BYTES + 4096));
            self.sink.send(full.freeze()).await?;
        }
        self.buffer.put_i16(columns);
        Ok(())
    }

    /// Ends the COPY; returns the rows taken in.
    pub async fn finish(mut self) -> Result<u64, Error> {
        self.buffer.put_i16(-1);
        self.sink.send(self.buffer.split().freeze()).await?;
        self.sink.as_mut().finish().await
    }

    /// NULL.
    pub fn null(&mut self) {
        self.buffer.put_i32(-1);
    }

    /// text or bytea.
    pub fn bytes(&mut self, value: &[u8]) {
        self.buffer.put_i32(i32::try_from(value.len()).expect("fields are below 2 GiB"));
        self.buffer.put_slice(value);
    }

    /// text, or NULL.
    pub fn optional_bytes(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }

    /// bigint.
    pub fn bigint(&mut self, value: i64) {
        self.buffer.put_i32(8);
        self.buffer.put_i64(value);
    }

    /// integer.
    pub fn integer(&mut self, value: i32) {
        self.buffer.put_i32(4);
        self.buffer.put_i32(value);
    }

    /// boolean.
    pub fn boolean(&mut self, value: bool) {
        self.buffer.put_i32(1);
        self.buffer.put_u8(value.into());
    }

    /// uuid.
    pub fn uuid(&mut self, value: uuid::Uuid) {
        self.bytes(value.as_bytes());
    }

    /// timestamptz, from microseconds since 1970.
    pub fn instant(&mut self, micros: i64) {
        self.bigint(micros - POSTGRES_EPOCH_US);
    }

    /// numeric with four decimals, from units that are not negative.
    pub fn units(&mut self, units: i128) {
        // Base 10,000, most significant first: the last digit is just the four decimals.
        let mut digits = [0u16; 10];
        let (mut first, mut rest) = (digits.len(), units.unsigned_abs());
        while rest > 0 {
            first -= 1;
            digits[first] = (rest % UNITS.unsigned_abs()) as u16;
            rest /= UNITS.unsigned_abs();
        }
        let mut last = digits.len();
        while last > first && digits[last - 1] == 0 {
            last -= 1;
        }
        let count = last - first;
        self.buffer.put_i32(8 + 2 * count as i32);
        self.buffer.put_i16(count as i16);
        self.buffer.put_i16(digits.len() as i16 - 2 - first as i16);
        self.buffer.put_u16(if units < 0 { 0x4000 } else { 0 });
        self.buffer.put_u16(4);
        digits[first..last].iter().for_each(|&digit| self.buffer.put_u16(digit));
    }

    /// numeric with four decimals, or NULL.
    pub fn optional_units(&mut self, units: Option<i128>) {
        match units {
            Some(units) => self.units(units),
            None => self.null(),
        }
    }
}
