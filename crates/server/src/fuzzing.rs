//! Requests, read as the routes read them. The fuzz targets have no other way to these functions.
#![allow(missing_docs)]

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;
use tidegate_protocol::Topic;

use crate::Problem;

pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    crate::policy::client_address(peer, headers, trusted)
}

pub fn events(headers: &HeaderMap, body: &[u8]) -> Result<Vec<(Vec<Topic>, String)>, Problem> {
    crate::publish::events(headers, body)
}

pub fn message(text: &str) -> Option<Problem> {
    crate::websocket::problem(text)
}
