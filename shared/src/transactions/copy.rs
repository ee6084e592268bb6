//! PostgreSQL's binary COPY format, written straight from typed rows: the generic writer costs several
//! times as much per value.

use crate::money::UNITS;
use bytes::{BufMut, Bytes, BytesMut};
use ethnum::U256;
use futures::SinkExt;
use std::{error::Error as StdError, pin::Pin};
use tokio_postgres::{
    CopyInSink, Error, ToStatement, Transaction,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

/// The same, in days.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;
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
    pub async fn begin<S>(transaction: &Transaction<'_>, statement: &S) -> Result<Self, Error>
    where
        S: ?Sized + ToStatement,
    {
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

    /// integer, or NULL.
    pub fn optional_integer(&mut self, value: Option<i32>) {
        match value {
            Some(value) => self.integer(value),
            None => self.null(),
        }
    }

    /// uuid.
    pub fn uuid(&mut self, value: uuid::Uuid) {
        self.bytes(value.as_bytes());
    }

    /// uuid, or NULL.
    pub fn optional_uuid(&mut self, value: Option<uuid::Uuid>) {
        match value {
            Some(value) => self.uuid(value),
            None => self.null(),
        }
    }

    /// timestamptz, from microseconds since 1970.
    pub fn instant(&mut self, micros: i64) {
        self.bigint(micros - POSTGRES_EPOCH_US);
    }

    /// date, from days since 1970.
    pub fn day(&mut self, day: i32) {
        self.integer(day - POSTGRES_EPOCH_DAYS);
    }

    /// numeric with four decimals.
    pub fn units(&mut self, units: i128) {
        Numeric::of(units).write(&mut self.buffer, true);
    }

    /// numeric with eight decimals, from a sum of squared units.
    pub fn squared_units(&mut self, squares: U256) {
        Numeric::of_squares(squares).write(&mut self.buffer, true);
    }

    /// numeric with four decimals, or NULL.
    pub fn optional_units(&mut self, units: Option<i128>) {
        match units {
            Some(units) => self.units(units),
            None => self.null(),
        }
    }
}

/// PostgreSQL's numeric, from units or squared units; as a parameter it is a numeric, too.
#[derive(Debug, Clone, Copy)]
pub struct Numeric {
    /// Base 10,000, least significant first.
    digits: [u16; 20],
    count: usize,
    /// How many of them are after the point.
    decimals: i16,
    negative: bool,
}

impl Numeric {
    /// With four decimals, from units.
    pub fn of(units: i128) -> Self {
        // The first digit is just the four decimals.
        let mut digits = [0u16; 20];
        let (mut count, mut rest) = (0, units.unsigned_abs());
        while rest > 0 {
            digits[count] = (rest % UNITS.unsigned_abs()) as u16;
            rest /= UNITS.unsigned_abs();
            count += 1;
        }
        Self { digits, count, decimals: 1, negative: units < 0 }
    }

    /// With eight decimals, from a sum of squared units.
    pub fn of_squares(mut rest: U256) -> Self {
        let (base, mut digits, mut count) = (U256::from(UNITS.unsigned_abs()), [0u16; 20], 0);
        while rest > 0 {
            digits[count] = (rest % base).as_u16();
            rest /= base;
            count += 1;
        }
        Self { digits, count, decimals: 2, negative: false }
    }

    fn write(&self, buffer: &mut BytesMut, with_length: bool) {
        let digits = &self.digits[..self.count];
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        let count = digits.len() - zeros;
        if with_length {
            buffer.put_i32(8 + 2 * count as i32);
        }
        buffer.put_i16(count as i16);
        buffer.put_i16(digits.len() as i16 - 1 - self.decimals);
        buffer.put_u16(if self.negative { 0x4000 } else { 0 });
        buffer.put_u16(4 * self.decimals.unsigned_abs());
        digits[zeros..].iter().rev().for_each(|&digit| buffer.put_u16(digit));
    }
}

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, buffer: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.write(buffer, false);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::NUMERIC
    }

    to_sql_checked!();
}
