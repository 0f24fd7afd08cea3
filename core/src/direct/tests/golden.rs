//! The bytes of frames, compared with `tests/golden/direct.txt`.

use bytes::Bytes;

use super::super::RefuseReason;
use super::super::frames::{
    Frame, Open, Opened, Run, Verdict, decode, message_header, verdict_header,
};
use crate::identity::AgentId;
use crate::support::testing::{check_golden, hex};

/// A run of each verdict, with a number of each size.
fn runs() -> Vec<Run> {
    [
        (63, Verdict::Accepted),
        (64, Verdict::Refused(RefuseReason::Blocked)),
        (16_384, Verdict::Refused(RefuseReason::NotHere)),
        (1 << 30, Verdict::Refused(RefuseReason::Full)),
        ((1 << 62) - 1, Verdict::Forgotten),
    ]
    .map(|(through, verdict)| Run { through, verdict })
    .to_vec()
}

fn frames() -> Vec<(String, Frame, Bytes)> {
    let open = Open {
        channel: 63,
        conversation: 0x0102_0304_0506_0708,
        from: 2,
        to: AgentId([9; 32]),
        first: 70,
        attempt: 3,
        since: 2,
    };
    let mut frames = vec![("open".to_owned(), Frame::Open(open), open.encode())];
    for (name, runs) in [("opened", runs()), ("opened without verdicts", Vec::new())] {
        let bytes = Opened::encode(1, 2, &runs);
        let frame = Frame::Opened(Opened { channel: 1, born: 2, runs });
        frames.push((name.to_owned(), frame, bytes));
    }
    for (sequence, payload) in [(1, "hello"), (300, "")] {
        let bytes = [message_header(5, sequence).as_slice(), payload.as_bytes()].concat();
        let frame = Frame::Message { channel: 5, sequence, payload: payload.into() };
        frames.push((format!("message {sequence}"), frame, bytes.into()));
    }
    for run in runs() {
        let bytes = Bytes::copy_from_slice(verdict_header(5, run).as_slice());
        let name = format!("verdict through {}", run.through);
        frames.push((name, Frame::Verdict { channel: 5, run }, bytes));
    }
    frames
}

#[test]
fn the_bytes_of_direct_messages_do_not_change() {
    let mut text = String::from(
        "# Open: channel 63, conversation 0x0102030405060708, from 2, to 32 times 09, first 70,\n\
         # attempt 3, since 2. Opened: channel 1, born 2. Messages: channel 5, \"hello\" and nothing.\n\
         # Verdicts: channel 5; in the order of their codes.\n",
    );
    for (name, frame, bytes) in frames() {
        assert_eq!(decode(bytes.clone()), Ok(frame), "{name}");
        text += &format!("{name} = {}\n", hex(&bytes));
    }
    check_golden("direct.txt", &text);
}
