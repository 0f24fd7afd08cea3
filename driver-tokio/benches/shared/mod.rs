//! The drivers that are measured side by side, each with one thread.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor;
use x0x_core::node::{Config, MemoryStore};
use x0x_tokio::{Events, Handle};

/// A driver with its runtime. One of them runs at a time, in `block_on`.
#[derive(Clone)]
pub(crate) enum Driver {
    Tokio(Arc<tokio::runtime::Runtime>),
    Smol(Arc<Executor<'static>>),
}

impl Driver {
    /// The drivers by their names.
    pub(crate) const NAMES: [&str; 2] = ["tokio", "smol"];

    pub(crate) fn new(name: &str) -> Self {
        if name == Self::NAMES[0] {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            Self::Tokio(Arc::new(builder.enable_all().build().unwrap()))
        } else {
            assert_eq!(name, Self::NAMES[1]);
            Self::Smol(Arc::new(Executor::new()))
        }
    }

    /// Starts a node with a store in memory.
    pub(crate) fn start(&self, config: Config) -> (Handle, Events) {
        let store = MemoryStore::default();
        match self {
            Self::Tokio(runtime) => {
                let _runtime = runtime.enter();
                x0x_tokio::start(config, store).unwrap()
            }
            Self::Smol(executor) => x0x_smol::start(executor, config, store).unwrap(),
        }
    }

    /// Runs an application beside the nodes until it ends.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        application: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self {
            Self::Tokio(runtime) => runtime.block_on(runtime.spawn(application)).unwrap(),
            Self::Smol(executor) => async_io::block_on(executor.run(executor.spawn(application))),
        }
    }
}

/// The processor time of all threads of these processes.
pub(crate) fn processor_time(processes: &[String]) -> Duration {
    let threads = processes
        .iter()
        .flat_map(|process| std::fs::read_dir(format!("/proc/{process}/task")).unwrap());
    let time = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    };
    threads.map(time).sum()
}

/// The middle one of an odd number of samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Prints the title of a table of rows.
pub(crate) fn title() {
    let [tokio, smol] = Driver::NAMES;
    println!("{:<10} {:<46} {tokio:>10} {smol:>10} {:>10} unit", "row", "of", "smol/tokio");
}

/// Prints what both drivers reached, and the ratio.
pub(crate) fn row(name: &str, of: &str, [tokio, smol]: [f64; 2], unit: &str) {
    let ratio = smol / tokio;
    println!("{name:<10} {of:<46} {tokio:>10.2} {smol:>10.2} {ratio:>10.2} {unit}");
}
