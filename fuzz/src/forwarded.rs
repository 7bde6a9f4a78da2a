//! Who a request's client is, by `X-Forwarded-For` and `Forwarded`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use tidegate_server::fuzzing::client_address;

pub fn run(input: &[u8]) {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let stranger = IpAddr::from([198, 51, 100, 1]);
    let client = IpAddr::from([192, 0, 2, 9]);
    for (name, told) in [
        ("x-forwarded-for", "192.0.2.9, 10.0.0.2"),
        ("forwarded", "for=192.0.2.9;proto=https, for=\"10.0.0.2:80\""),
    ] {
        let Ok(claimed) = HeaderValue::from_bytes(input) else { return };
        let mut headers = HeaderMap::new();
        headers.append(name, claimed);
        assert_eq!(client_address(stranger, &headers, &trusted), stranger);
        let read = client_address(proxy, &headers, &trusted);
        assert_eq!(read, read.to_canonical());
        // Whatever a client says about itself, on a line of its own or on the line that the proxy goes on writing.
        headers.append(name, HeaderValue::from_static(told));
        assert_eq!(client_address(proxy, &headers, &trusted), client);
        let line = [input, b", ", told.as_bytes()].concat();
        let Ok(line) = HeaderValue::from_bytes(&line) else { return };
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), line)]);
        let read = client_address(proxy, &headers, &trusted);
        // Bytes that are no text hide the whole line: then the proxy itself is the client.
        assert!(read == client || (read == proxy && !input.is_ascii()), "{read}");
    }
}
