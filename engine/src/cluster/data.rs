//! A data connection as timely's network threads see it: one that never fails.
//!
//! timely panics where a connection breaks, and takes the process down with a message that helps nobody. So a break is kept from
//! it: the mesh is told which process is lost, what is written goes nowhere, and who reads waits for the end of the process.
//!
//! ```text
//!   timely:recv ─ read ──▶ DataStream ──▶ socket      header, bytes, header, bytes, … header of length 0, end
//!   timely:send ─ write ─▶     │                      └─ Frames tells an end from a break
//!                              └─ broken ─▶ Watch::lose
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use timely::communication::allocator::zero_copy::stream::Stream;

use super::mesh::Watch;

/// One direction or both of the data connection with a process.
pub(super) struct DataStream {
    watch: Arc<Watch>,
    process: usize,
    frames: Frames,
}

impl DataStream {
    pub(super) fn new(watch: &Arc<Watch>, process: usize) -> Self {
        DataStream { watch: Arc::clone(watch), process, frames: Frames::new() }
    }

    fn socket(&self) -> &TcpStream {
        self.watch.data(self.process)
    }
}

impl Read for DataStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket().read(buffer) {
                Ok(0) if self.frames.ended() => {
                    self.watch.end_of_data();
                    return Ok(0);
                }
                Ok(bytes) if bytes > 0 => {
                    self.frames.pass(&buffer[..bytes]);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.watch.lose_unless_explained(self.process);
        // Whatever is given back here timely takes for data, an end, or a reason to panic.
        loop {
            std::thread::park();
        }
    }
}

impl Write for DataStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.watch.lost().is_some() {
            return Ok(bytes.len());
        }
        match self.socket().write(bytes) {
            Ok(written) if written > 0 || bytes.is_empty() => Ok(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Ok(_) | Err(_) => {
                self.watch.lose_unless_explained(self.process);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for DataStream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(DataStream::new(&self.watch, self.process))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket().set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // One that is broken is shut down already.
        let _ = self.socket().shutdown(how);
        Ok(())
    }
}

/// timely's header: six numbers of 8 bytes, big endian (`MessageHeader` in timely_communication's `networking.rs`).
const HEADER: usize = 48;
/// Where in it the length of what follows stands.
const LENGTH: std::ops::Range<usize> = 32..40;

/// Follows timely's messages through the bytes of a connection: only after an empty one may it end.
struct Frames {
    header: [u8; HEADER],
    header_bytes: usize,
    /// Bytes of the message that are still to come.
    body: u64,
    last_was_empty: bool,
}

impl Frames {
    fn new() -> Self {
        Frames { header: [0; HEADER], header_bytes: 0, body: 0, last_was_empty: false }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let passed = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
                self.body -= passed as u64;
                bytes = &bytes[passed..];
                continue;
            }
            let passed = bytes.len().min(HEADER - self.header_bytes);
            self.header[self.header_bytes..][..passed].copy_from_slice(&bytes[..passed]);
            self.header_bytes += passed;
            bytes = &bytes[passed..];
            if self.header_bytes == HEADER {
                let length = self.header[LENGTH].try_into().expect("invariant: a length has 8 bytes");
                self.body = u64::from_be_bytes(length);
                self.last_was_empty = self.body == 0;
                self.header_bytes = 0;
            }
        }
    }

    fn ended(&self) -> bool {
        self.last_was_empty && self.header_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use timely::communication::networking::MessageHeader;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header =
            MessageHeader { channel: 3, source: 1, target_lower: 0, target_upper: 1, length, seqno: 9 };
        header.write_to(&mut bytes).unwrap();
        assert_eq!(bytes.len(), HEADER);
        // Bytes that could be taken for the header of an end.
        bytes.resize(HEADER + length, 0);
        bytes
    }

    #[test]
    fn only_an_empty_message_ends_a_connection() {
        let messages: Vec<u8> = [1, 500, 48, 96].into_iter().flat_map(message).collect();
        for step in [1, 7, 48, 49, 1000] {
            let mut frames = Frames::new();
            assert!(!frames.ended());
            for bytes in messages.chunks(step) {
                frames.pass(bytes);
                assert!(!frames.ended(), "in steps of {step}");
            }
            let end = message(0);
            frames.pass(&end[..20]);
            assert!(!frames.ended());
            frames.pass(&end[20..]);
            assert!(frames.ended(), "in steps of {step}");
        }
    }
}
