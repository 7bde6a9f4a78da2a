//! Every seed, through its target. What a fuzzer finds becomes a seed, so that it stays found.

use std::path::Path;

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for file in files {
        let path = file.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
    }
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(#[test] fn $target() { each(stringify!($target), tidegate_fuzz::$target::run); })*
    };
}

targets!(client config credentials data envelope forwarded names publish redis request sse websocket);
