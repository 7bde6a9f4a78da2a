//! Redis' answers, read as the broker reads them. The fuzz targets have no other way to these functions.
#![allow(missing_docs)]

use redis::Value;
use tidegate_broker::{Error, Page, Read, Receipt, Span};
use tidegate_protocol::{Epoch, Partition, Position};

use crate::connect::unexpected;
use crate::place::Place;
use crate::{history, window};

pub fn page(read: &Read, partition: Partition, answer: Value) -> Result<Page, Error> {
    if !matches!(read.span, Span::After { .. }) {
        return history::backwards(&read.topic, partition, answer);
    }
    let mut pages =
        history::forwards(&[read], partition, &Place::first(Epoch::NONE), window::parse(answer)?)?;
    pages.pop().ok_or_else(|| unexpected("a page is missing"))
}

pub fn receipt(answer: &Value, partition: Partition) -> Result<Receipt, Error> {
    crate::publish::receipt(answer, partition).map(|(receipt, _)| receipt)
}

pub fn place(answer: &Value) -> Result<(), Error> {
    Place::parse(answer).map(drop)
}

pub fn position(answer: &Value) -> Result<Position, Error> {
    crate::scripts::position(answer)
}
