//! The node as the loop sees it. Each call that changes it passes here, so that it can be recorded.

use std::time::Instant;

use x0x_core::node::recording::{End, Header, Recorder};
use x0x_core::node::{CommandError, Input, Node, Output, Time};

use crate::StartError;
use crate::recording_file::{RecordingFile, RecordingSink, Written};

/// A node that may be recorded.
pub(crate) struct RecordingNode {
    node: Node,
    recording: Option<Box<Recording>>,
}

/// A recording that is under way.
struct Recording {
    recorder: Recorder,
    sink: RecordingSink,
}

impl RecordingNode {
    /// Starts a node, and its recording if there is a file for it.
    pub(crate) fn start(
        header: &Header,
        now: Instant,
        file: Option<RecordingFile>,
    ) -> Result<Self, StartError> {
        let node = header.node(now)?;
        let record = |file: RecordingFile| {
            let recorder = Recorder::new(header, now, file.bytes_max)?;
            Ok::<_, StartError>(Box::new(Recording { recorder, sink: file.open() }))
        };
        Ok(Self { node, recording: file.map(record).transpose()? })
    }

    /// Hands over an input. Only a command can fail.
    pub(crate) fn handle(&mut self, time: Time, input: Input) -> Result<(), CommandError> {
        let Some(recording) = &mut self.recording else { return self.node.handle(time, input) };
        recording.recorder.input(time, &input);
        let answer = self.node.handle(time, input);
        recording.recorder.answered(&answer);
        answer
    }

    pub(crate) fn poll_output(&mut self, buf: &mut Vec<u8>) -> Output {
        let output = self.node.poll_output(buf);
        if let Some(recording) = &mut self.recording {
            recording.recorder.polled(&output, buf);
        }
        output
    }

    /// Hands what was recorded to the file. The recording ends if the file cannot take it.
    pub(crate) fn flush(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        let bytes = recording.recorder.take();
        if !recording.sink.push(&bytes) {
            recording.recorder.finish(End::TooSlow);
        }
        if recording.recorder.end().is_some() || !recording.sink.is_writable() {
            // Nobody waits for the file.
            drop(self.finish(End::TooSlow));
        }
    }

    /// Ends the recording, if there is one. What is returned is ready when the file is whole.
    pub(crate) fn finish(&mut self, reason: End) -> Option<Written> {
        let Recording { mut recorder, sink } = *self.recording.take()?;
        recorder.finish(reason);
        let end = recorder.end().unwrap_or(reason);
        tracing::info!(bytes = recorder.size(), reason = %end, "the recording has ended");
        Some(sink.close(&recorder.take(), end))
    }
}
