//! Requests of a session that the node has not answered yet.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use x0x_core::node::Reply;
use x0x_tokio::Answer;

/// Requests without an answer, each with what it was about, in order.
pub(super) struct Answers<T>(VecDeque<(T, Answer)>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Answers<T> {
    pub(super) fn push(&mut self, about: T, answer: Answer) {
        self.0.push_back((about, answer));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the answers that are there, in the order of the requests; at least one. A request whose
    /// node is gone has none.
    pub(super) fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Vec<(T, Option<Reply>)>> {
        let mut ready = Vec::new();
        while let Some((_, answer)) = self.0.front_mut() {
            let Poll::Ready(reply) = answer.poll_unpin(context) else { break };
            let reply = reply.ok().and_then(Result::ok);
            ready.extend(self.0.pop_front().map(|(about, _)| (about, reply)));
        }
        if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready) }
    }
}
