//! Redis' answers, read as the broker reads them. The fuzz targets have no other way to these functions.
#![allow(missing_docs)]

use redis::Value;
use tidegate_broker::{Error, Page, Read, Receipt};
use tidegate_protocol::{Partition, Position};

pub fn page(read: &Read, partition: Partition, answer: Value) -> Result<Page, Error> {
    crate::history::page(read, partition, answer)
}

pub fn receipt(answer: &Value, partition: Partition) -> Result<Receipt, Error> {
    crate::publish::receipt(answer, partition)
}

pub fn position(answer: &Value) -> Result<Position, Error> {
    crate::scripts::position(answer)
}
