//! The conformance suite of drivers on smol.

use std::future::Future;
use std::sync::Arc;

use async_executor::Executor;
use x0x_smol::Smol;

x0x_driver::conformance!(run);

fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Smol) -> F) {
    let executor = Arc::new(Executor::new());
    let test = executor.spawn(test(Smol(executor.clone())));
    async_io::block_on(executor.run(test));
}
