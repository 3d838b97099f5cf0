//! x87 and SSE arithmetic with exact exception flags: pure functions.
