//! Stores that are slow or fail.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use x0x_core::node::{CommandError, Event, Reply, StoreError};

use super::nodes::{LOOPBACK, block, config, next, sleep, within};
use super::test_store::TestStore;
use crate::{COMMANDS_MAX, Runtime, STORE_TASKS_MAX, start};
use x0x_core::node::control;

/// The application learns of it, and of nothing more.
pub async fn a_full_disk_halts_the_node_and_nobody_waits_for_ever<R: Runtime>(runtime: R) {
    let full = TestStore::new(|_| Err(StoreError::Full));
    let (node, mut events) = start(&runtime, config(1, &[LOOPBACK]), full).unwrap();
    let answer = within(&runtime, node.request(block(1))).await;
    assert_eq!(answer, Err(CommandError::Halted));
    let halted = |event| matches!(event, Event::Halted(_)).then_some(());
    within(&runtime, next(&mut events, halted)).await;
    within(&runtime, node.shut_down()).await;
    assert_eq!(events.next().await, None);
}

/// The thread of the store ends; so does the node.
pub async fn a_store_that_panics_halts_the_node<R: Runtime>(runtime: R) {
    let broken = TestStore::new(|_| panic!("this store is broken, as the test wants it"));
    let (node, mut events) = start(&runtime, config(1, &[LOOPBACK]), broken).unwrap();
    let answer = within(&runtime, node.request(block(1))).await;
    assert_eq!(answer, Err(CommandError::Halted));
    within(&runtime, node.shut_down()).await;
    assert_eq!(events.next().await, None);
}

/// The store does not finish its first write until more requests are there than can wait.
pub async fn a_store_that_lags_holds_up_requests_at_its_limit_and_loses_none<R: Runtime>(
    runtime: R,
) {
    // The node takes at most this many requests before it notices, and as many wait for it.
    const TAKEN_MAX: usize = STORE_TASKS_MAX + 2 * COMMANDS_MAX;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let before = gate.clone();
    let store = TestStore::new(move |_| {
        let (is_open, opened) = &*before;
        drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        Ok(())
    });
    let (node, _events) = start(&runtime, config(1, &[LOOPBACK]), store.clone()).unwrap();
    let mut answers = Vec::new();
    let mut number = 0;
    let waiting = loop {
        assert!(answers.len() <= TAKEN_MAX, "{} requests were taken", answers.len());
        let mut sending = Box::pin(node.send(block(number).into()));
        number += 1;
        if sending.as_mut().now_or_never().is_none() {
            // The loop has its turn. If it takes nothing in, the store is the reason.
            sleep(&runtime, Duration::from_millis(100)).await;
            match sending.as_mut().now_or_never() {
                Some(answer) => answers.push(answer.unwrap()),
                None => break sending,
            }
        }
    };
    let (is_open, opened) = &*gate;
    *is_open.lock().unwrap() = true;
    opened.notify_all();
    answers.push(within(&runtime, waiting).await.unwrap());
    for answer in within(&runtime, join_all(answers)).await {
        assert!(
            matches!(answer, Ok(Ok(Reply::Control(control::Reply::SetBlocked(_))))),
            "{answer:?}"
        );
    }
    assert!(store.len() >= number as usize);
    within(&runtime, node.shut_down()).await;
}
