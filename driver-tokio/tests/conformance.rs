//! The conformance suite of drivers on tokio.

#![expect(clippy::unwrap_used, reason = "a test without a runtime has failed")]

use std::future::Future;

use tokio::runtime::Builder;
use x0x_tokio::Tokio;

x0x_driver::conformance!(run);

fn run<F: Future<Output = ()>>(test: impl FnOnce(Tokio) -> F) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Tokio).await });
}
