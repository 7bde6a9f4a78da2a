//! Every parser of outside bytes, each under a name that is also its fuzz target's and its seeds' folder.
//!
//! A target takes any bytes and panics when something holds that must not. Without a fuzzer its binary runs the files that it is given: that
//! is how to repeat a finding.

pub mod client;
pub mod config;
pub mod credentials;
pub mod data;
pub mod envelope;
pub mod forwarded;
pub mod names;
pub mod publish;
pub mod redis;
pub mod request;
pub mod sse;
pub mod websocket;

/// The `main` of a target.
#[macro_export]
macro_rules! target {
    ($run:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $run(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $run(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}

/// The result of a future that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits for something"),
    }
}
